"""Train the networks of a design, group by group, into a folder from which a training that was stopped goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..datasets import data_folder
from ..errors import InputError
from ..progress import Progress
from .batches import Batches, held_out_split, train_split
from .calibration import calibrate
from .design import Design
from .group import Group
from .initialisation import initial_weights
from .store import DESCRIPTION, Store, read_stack, stack_path, write_description, write_stack
from .workers import in_turn, in_workers, one_thread

AUTO = "auto"


def train_population(
    design: Design,
    folder: str | Path,
    *,
    data: str | os.PathLike[str] | None = None,
    group_size: int | str = AUTO,
    jobs: int | None = 1,
    progress: Progress | None = None,
) -> Store:
    """Train a population of networks, and keep all of them at each snapshot.

    Whatever stops a training, what was kept is whole, and the same call goes on from there to the same networks: to
    the bit on the same machine, by the same version of torch.

    Parameters
    ----------
    design : Design
    folder : path
        Created if need be: ``population.json``, and for each group of networks and snapshot a file such as
        ``group-0003/step-000000100.safetensors``, see :class:`.Store`.
    data : path, optional
        Folder of the data sets, as of :func:`dnn2graph.datasets.load`.
    group_size : int or "auto"
        How many networks are trained at once, as stacked parameters. "auto" tries a few sizes for a second or two and
        takes the fastest, which is 1 (an ordinary loop) for most convolutions. The last bits of weights depend on it:
        a folder keeps the size that it was begun with.
    jobs : int, optional
        Processes that groups are spread over, one thread each; 1 trains in this one. See :func:`.each`.
    progress : callable, optional
        Called with the number of network-steps done and their total.

    Returns
    -------
    Store
        Networks whose training diverges are kept like others, and marked in its members.

    Raises
    ------
    InputError
        If the folder holds a population of another design, or an option does not fit.
    DataError
        If the data set is missing.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> design = Design("digits", width=8, networks=2, steps=3, batch_size=32)
    >>> store = train_population(design, folder, group_size=2)
    >>> store.stacks()[-1].name
    'step-000000003.safetensors'
    >>> store.members()[["network", "step", "initialisation", "support", "seed"]].tail(2).values.tolist()
    [[0, 3, 'normal', 0.05, 0], [1, 3, 'normal', 0.05, 1]]
    """
    folder, data = Path(folder), str(data_folder(data).resolve())
    processes = _processes(jobs)
    with one_thread():
        train_split(design, data)  # what is wrong with it is said before anything is written
        size = _begin(design, folder, data, group_size, processes)
        groups = range(-(-design.networks // size))
        train = partial(train_group, design, folder, data, size)

        def report(steps: Iterable[int]) -> None:  # done by each group
            if progress:
                done = sum(int(each) * len(_networks(design, size, group)) for group, each in enumerate(steps))
                progress(done, design.networks * design.steps)

        if processes > 1:
            in_workers(train, groups, jobs, report)
        else:
            in_turn(train, groups, report)
    return Store(folder)


def train_group(design: Design, folder: Path, data: str, size: int, number: int, report: Callable[[int], None]) -> None:
    """Train one group, from its last snapshot on.

    Parameters
    ----------
    design, folder, data
        As of :func:`train_population`.
    size, number : int
        Networks in a group, and which group.
    report : callable
        Called with the number of steps done.
    """
    networks = _networks(design, size, number)
    paths = {step: stack_path(folder, number, step) for step in design.snapshots}
    _drop_unfinished(paths[0].parent)
    missing = next((step for step, path in paths.items() if not path.exists()), None)
    if missing is None:
        report(design.steps)
        return
    begun = max((step for step in design.snapshots if step < missing), default=None)
    group = Group(design.model(), initial_weights(design, networks) if begun is None else read_stack(paths[begun]))
    batches = Batches(design, networks, *train_split(design, data))
    test_images, test_labels = held_out_split(design, data)

    initialisations, supports, seeds = zip(*map(design.network, networks), strict=True)

    def keep(step: int) -> None:
        members: dict[str, Sequence[Any]] = {
            "network": list(networks),
            "step": [step] * len(networks),
            "accuracy": group.accuracies(test_images, test_labels),
            "initialisation": initialisations,
            "support": supports,
            "seed": seeds,
        }
        write_stack(paths[step], group.weights, members)

    if begun is None:
        keep(0)
    for step in range(begun or 0, design.steps):
        report(step)
        group.learn(*batches.at(step), design.learning_rate)
        if step + 1 in paths:
            keep(step + 1)
    report(design.steps)


def _networks(design: Design, size: int, group: int) -> range:
    return range(group * size, min((group + 1) * size, design.networks))


def _processes(jobs: int | None) -> int:
    """Count the processes that joblib would use."""
    if jobs == 1:
        return 1
    if jobs == 0:
        raise InputError("jobs=0 would train nothing: give a number of processes, or -1 for one on each core")
    import joblib

    processes: int = joblib.effective_n_jobs(jobs)
    return processes


def _begin(design: Design, folder: Path, data: str, wanted: int | str, processes: int) -> int:
    """Find what the folder holds, or start it; give the number of networks in a group.

    Raises
    ------
    InputError
        If the folder holds something else.
    """
    if wanted != AUTO and (isinstance(wanted, bool | str) or wanted < 1):
        raise InputError(f"group_size={wanted!r} must be {AUTO!r} or a number of networks, 1 or more")
    if (folder / DESCRIPTION).exists():
        store = Store(folder)
        if differences := design.differences(store.design):
            raise InputError(
                f"'{folder}' holds a population of another design ({'; '.join(differences)}): choose another folder, "
                "or the same design to go on with it"
            )
        size: int = store.description["group_size"]
        if wanted not in (AUTO, size):
            raise InputError(
                f"'{folder}' was begun with groups of {size}, not {wanted}: choose another folder, or leave it {AUTO!r}"
            )
        return size
    if isinstance(wanted, str):
        size = calibrate(design, *train_split(design, data), most=-(-design.networks // processes))
    else:
        size = min(wanted, design.networks)
    details = {"group_size": size, "threads": 1, "dnn2graph": __version__, "torch": torch.__version__}
    write_description(folder, design, **details)
    return size


def _drop_unfinished(folder: Path) -> None:
    """Remove what a process left that was killed while it wrote."""
    for path in folder.glob(".dnn2graph-*.tmp"):
        path.unlink(missing_ok=True)
