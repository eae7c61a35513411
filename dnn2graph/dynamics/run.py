"""Reading recorded runs back."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .parts import COLUMNS, Part, list_parts, read_part

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def read_run(
    path: str | Path, runs: str | Collection[str] | None = None, measures: str | Collection[str] | None = None
) -> pd.DataFrame:
    """Read what a :class:`~dnn2graph.dynamics.Recorder` wrote.

    A snapshot whose file is damaged is left out, with a warning that names it.

    Parameters
    ----------
    path : path
        The folder.
    runs, measures : str or collection of str, optional
        Which to read; default all.

    Returns
    -------
    DataFrame
        Columns ``run`` (text), ``step`` (int64), ``layer`` (text, missing for values of the whole network), ``node``
        (Int64, missing for values of a layer or of the network), ``measure`` (text), ``value`` (float64). Sorted by
        run and step, and then as recorded.

    Raises
    ------
    InputError
        If the folder does not exist or holds no snapshot, or a run or a measure is not in it.
    """
    folder = Path(path)
    parts = _chosen(folder, runs)
    tables: list[pa.Table] = []
    for part in parts:
        try:
            tables.append(read_part(part.path))
        except (OSError, ValueError) as error:  # pyarrow's errors are among these
            cause = " ".join(str(error).split())[:200]
            warnings.warn(
                f"'{part.path}' is damaged and is left out ({cause}): delete it, or record step {part.step} of run "
                f"{part.run!r} again",
                stacklevel=2,
            )
    if not tables:
        raise InputError(f"none of the {len(parts)} snapshots in '{folder}' can be read: record them again")
    return _frame(_only(tables, measures, folder))


def recorded_runs(path: str | Path) -> tuple[str, ...]:
    """Give the names of the runs that are recorded in a folder, sorted.

    Raises
    ------
    InputError
        If the folder does not exist or holds no snapshot.
    """
    return tuple(dict.fromkeys(part.run for part in _chosen(Path(path), None)))


def recorded_steps(path: str | Path, run: str | None = None) -> np.ndarray:
    """Give the steps of which a snapshot is recorded, of one run or of any, int64, ascending.

    Raises
    ------
    InputError
        If the folder does not exist or holds no snapshot of the run.
    """
    return np.unique(np.array([part.step for part in _chosen(Path(path), run)], np.int64))


def _parts(folder: Path) -> list[Part]:
    """Give all snapshots of a folder."""
    if not folder.is_dir():
        why = "is a file, not the folder of a record" if folder.exists() else "does not exist"
        raise InputError(f"'{folder}' {why}: name a folder that a Recorder or 'dnn2graph record' wrote")
    parts, others = list_parts(folder)
    if others:
        warnings.warn(
            f"'{others[0]}'{f' and {len(others) - 1} more' if others[1:] else ''} is no snapshot by its name and is "
            "left out: keep other Parquet files elsewhere",
            stacklevel=4,
        )
    if not parts:
        raise InputError(f"'{folder}' holds no snapshot: record in it by a Recorder or 'dnn2graph record'")
    return parts


def _chosen(folder: Path, runs: str | Collection[str] | None) -> list[Part]:
    """Give the snapshots of some runs."""
    parts = _parts(folder)
    if runs is None:
        return parts
    wanted = {runs} if isinstance(runs, str) else set(runs)
    known = dict.fromkeys(part.run for part in parts)
    if missing := sorted(wanted - known.keys()):
        raise InputError(f"run {missing[0]!r} is not in '{folder}': there are {', '.join(map(repr, known))}")
    return [part for part in parts if part.run in wanted]


def _only(tables: list[pa.Table], measures: str | Collection[str] | None, folder: Path) -> pa.Table:
    """Put snapshots together, with some of their measures."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if measures is None:
        return pa.concat_tables(tables)
    wanted = pa.array([measures] if isinstance(measures, str) else list(measures), pa.string())
    whole = pa.concat_tables([table.filter(pc.is_in(table["measure"], wanted)) for table in tables])
    present = set(pc.unique(whole["measure"]).to_pylist())
    if missing := [name for name in wanted.to_pylist() if name not in present]:
        known = sorted({name for table in tables for name in pc.unique(table["measure"]).to_pylist()})
        raise InputError(f"measure {missing[0]!r} is not in '{folder}': there are {', '.join(map(repr, known))}")
    return whole


def _frame(table: pa.Table) -> pd.DataFrame:
    """Make a pandas table; node ids stay integers though some are missing."""
    import pandas as pd

    frame = table.drop_columns(["node"]).to_pandas()
    node = table["node"].combine_chunks()
    missing = np.asarray(node.is_null())
    frame["node"] = pd.arrays.IntegerArray(node.fill_null(0).to_numpy(), missing)
    return frame[list(COLUMNS)]
