"""A recorded training run, as files and figures take it: a table, and its node measures step by step."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import InputError
from ..graph import NeuralGraph

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("run", "step", "layer", "node", "measure", "value")


class Series(NamedTuple):
    """One measure of the nodes along a run."""

    measure: str
    steps: np.ndarray  # int64 (steps,), ascending
    values: np.ndarray  # float64 (steps, nodes); NaN where nothing was recorded


def run_table(run: pd.DataFrame | str | Path) -> pd.DataFrame:
    """Give the table of recorded runs: the one given, or what was recorded in a folder.

    Raises
    ------
    InputError
        If a column is missing, or nothing was recorded.
    """
    if isinstance(run, str | Path):
        from ..dynamics.run import read_run

        run = read_run(run)
    if missing := [name for name in COLUMNS if name not in run]:
        raise InputError(f"the table of a run lacks the column(s) {', '.join(missing)}: it needs {', '.join(COLUMNS)}")
    if not len(run):
        raise InputError("the table of the run is empty: nothing was recorded, or nothing of what was asked for")
    return run


def one_run(table: pd.DataFrame) -> pd.DataFrame:
    """Give back a table of one run.

    Raises
    ------
    InputError
        If there are several; the message names them.
    """
    names = [str(name) for name in table["run"].unique()]
    if len(names) > 1:
        raise InputError(
            f"the table holds {len(names)} runs ({listed(names)}): choose one, such as "
            f"run[run['run'] == {names[0]!r}], or on the command line by --run-name"
        )
    return table


def node_series(graph: NeuralGraph, table: pd.DataFrame, measures: Collection[str] | None = None) -> list[Series]:
    """Arrange what one run recorded of a graph's nodes by measure and step.

    Raises
    ------
    InputError
        If the table holds no values of nodes, or they are of another graph.
    """
    table = table[table["node"].notna()]
    known = [str(name) for name in table["measure"].unique()]
    if not known:
        raise InputError("the run holds no values of nodes: record a measure of nodes, such as 'strength'")
    wanted = known if measures is None else [measures] if isinstance(measures, str) else list(measures)
    if unknown := [name for name in wanted if name not in known]:
        raise InputError(f"the run has no node measure {unknown[0]!r}: it has {listed(known)}")
    _check_graph(graph, table)
    return [_series(name, table[table["measure"] == name], len(graph)) for name in wanted]


def _check_graph(graph: NeuralGraph, table: pd.DataFrame) -> None:
    """Raise if values of nodes are not of this graph's nodes."""
    remedy = "give the graph of the model that was recorded, in the same granularity"
    recorded = int(table["node"].max()) + 1
    if recorded != len(graph):
        raise InputError(f"the run is of {recorded:,} nodes, the graph has {len(graph):,}: {remedy}")
    layers = {layer.name for layer in graph.layers}
    if other := [str(name) for name in table["layer"].unique() if name not in layers]:
        raise InputError(f"the run has values of the layer(s) {listed(other)}, which the graph has not: {remedy}")


def _series(measure: str, rows: pd.DataFrame, nodes: int) -> Series:
    steps, place = np.unique(rows["step"].to_numpy(np.int64), return_inverse=True)
    values = np.full((len(steps), nodes), np.nan)
    values[place, rows["node"].to_numpy(np.int64)] = rows["value"].to_numpy(np.float64)
    return Series(measure, steps, values)


def listed(names: list[str]) -> str:
    """Name a few of many."""
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
