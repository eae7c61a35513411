"""A population from the checkpoints of networks that were trained elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import InputError
from ..load import read_state_dict
from ..load.files import existing_file, reading
from ..load.state_dict import load_weights
from ..progress import Progress
from .store import DESCRIPTION, Checkpoints, Store, stack_path, write_description, write_stack

if TYPE_CHECKING:
    import pandas as pd

STACKED = 64  # networks in a file
STEP_WORDS = r"(?:steps?|epochs?|ep|iterations?|iter|it|batch)[-_=. ]*(\d+)"
UNKNOWN = {"accuracy": float("nan"), "initialisation": None, "support": float("nan"), "seed": -1}


def gather(
    checkpoints: Iterable[str | Path],
    architecture: str,
    input_shapes: Sequence[Sequence[int]],
    folder: str | Path,
    accuracies: pd.DataFrame | str | Path | None = None,
    *,
    progress: Progress | None = None,
) -> Store:
    """Make a population of checkpoints of one architecture.

    Which network a file holds, and at which step, is told by its name: by its last two numbers
    (``net3_step100.pt``); the only number is a step after a word such as "epoch", and then the network is that of the
    folder, else a network at step 0. Files without a number are networks in the order given. A table says otherwise.

    Parameters
    ----------
    checkpoints : iterable of path
        State dicts, as of :func:`dnn2graph.load.read_state_dict`.
    architecture : str
        ``package.module:callable``, called without arguments. It is kept, so that the population can be measured.
    input_shapes : sequence of sequence of int
        One sample of each input, without the batch axis.
    folder : path
        Where the population is written, in the form of :func:`.train_population`.
    accuracies : DataFrame or path of a CSV file, optional
        A column ``checkpoint`` (paths or file names) and any of accuracy, network, step, initialisation, support and
        seed. What it does not say is unknown.
    progress : callable, optional
        Called with the number of checkpoints read and their total.

    Returns
    -------
    Store

    Raises
    ------
    LoadError
        If a checkpoint is missing, damaged or of another architecture.
    InputError
        If two checkpoints would be the same network at the same step, or the table does not fit.
    """
    paths, folder = [Path(path) for path in checkpoints], Path(folder)
    if not paths:
        raise InputError("there are no checkpoints to gather: name one at least")
    if (folder / DESCRIPTION).exists():
        raise InputError(f"'{folder}' holds a population already: choose another folder")
    origin = Checkpoints(architecture, tuple(tuple(shape) for shape in input_shapes))
    members = _members(paths, accuracies)
    done = 0
    written: list[Path] = []
    try:
        for path, places in _stacks(folder, members):
            states = []
            for k in places:
                states.append(_state(origin, paths[k]))
                done += 1
                if progress:
                    progress(done, len(paths))
            weights = {name: torch.stack([state[name] for state in states]) for name in states[0]}
            written.append(path)
            write_stack(path, weights, {name: [members[k][name] for k in places] for name in members[0]})
        write_description(folder, origin)  # last: without it there is no population
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        for empty in [*{path.parent for path in written}, folder]:
            with suppress(OSError):  # something else is in it
                empty.rmdir()
        raise
    return Store(folder)


def _stacks(folder: Path, members: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Path, list[int]]]:
    """Yield the files of a population, and the places of the members that each holds."""
    files: dict[Path, list[int]] = {}
    for k in sorted(range(len(members)), key=lambda k: members[k]["network"]):
        path = stack_path(folder, members[k]["network"] // STACKED, members[k]["step"])
        files.setdefault(path, []).append(k)
    yield from files.items()


def _state(origin: Checkpoints, path: Path) -> dict[str, Tensor]:
    """Read one checkpoint as the state of its architecture, buffers included."""
    model = origin.model()
    load_weights(model, read_state_dict(path), path)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _members(paths: Sequence[Path], table: pd.DataFrame | str | Path | None) -> list[dict[str, Any]]:
    """Tell what each checkpoint is, by its name and by the table."""
    folders = sorted({path.parent for path in paths})
    members: list[dict[str, Any]] = []
    for place, path in enumerate(paths):
        numbers = [int(number) for number in re.findall(r"\d+", path.stem)]
        at_step = re.search(STEP_WORDS, path.stem, re.IGNORECASE)
        if len(numbers) >= 2:
            network, step = numbers[-2:]
        elif at_step:
            network, step = folders.index(path.parent), numbers[0]
        else:
            network, step = (numbers or [place])[0], 0
        members.append({"network": network, "step": step, **UNKNOWN})
    if table is not None:
        said = _said(paths, table)
        members = [{**member, **said.get(k, {})} for k, member in enumerate(members)]
    seen: dict[tuple[int, int], Path] = {}
    for member, path in zip(members, paths, strict=True):
        other = seen.setdefault((member["network"], member["step"]), path)
        if other is not path:
            raise InputError(
                f"'{path}' and '{other}' would both be network {member['network']} at step {member['step']}: "
                "give a table with the columns checkpoint, network and step"
            )
    return members


def _said(paths: Sequence[Path], table: pd.DataFrame | str | Path) -> dict[int, dict[str, Any]]:
    """Read what a table says of each checkpoint, by its place among them."""
    import pandas as pd

    where = "the table"
    if not isinstance(table, pd.DataFrame):
        where = f"'{table}'"
        with reading(existing_file(table), "name a CSV file with the columns checkpoint and accuracy"):
            table = pd.read_csv(table)
    if "checkpoint" not in table:
        raise InputError(
            f"{where} has no column 'checkpoint', only {', '.join(map(str, table.columns))}: name the files"
        )
    known = [name for name in ("network", "step", *UNKNOWN) if name in table]
    said = {}
    for row in table.to_dict("records"):
        named = str(row["checkpoint"])
        found = [k for k, path in enumerate(paths) if Path(named) == path] or [
            k for k, path in enumerate(paths) if named == path.name
        ]
        if len(found) != 1:
            many = f"{len(found)} checkpoints are" if found else "no checkpoint is"
            raise InputError(
                f"{where} speaks of {named!r}, and {many} of that name: give the paths as they are gathered"
            )
        said[found[0]] = {name: _plain(name, row[name], where) for name in known}
    return said


def _plain(name: str, value: Any, where: str) -> Any:
    """Give a cell in the type of its column."""
    kind = {"network": int, "step": int, "seed": int, "initialisation": str}.get(name, float)
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} has {value!r} in its column {name!r}: {kind.__name__} is wanted") from error
