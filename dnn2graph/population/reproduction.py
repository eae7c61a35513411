"""The paper by command: train its populations, analyse them, and write down what holds and what does not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..export.files import replacing
from ..export.tables import write_table
from ..progress import Progress
from .claims import Finding, findings
from .design import INITIALISATIONS, Design, snapshot_steps
from .ensemble import Analysis, analyse
from .measuring import Measured, measure
from .store import Store, make_folder
from .training import train_population

SUPPORTS = (0.05, 0.5, 5.0)
SNAPSHOTS = 10
BATCH_SIZE = 32
GROUP_SIZES = {"fc": 12, "cnn": 1}  # what calibrations choose, in whole cycles of initialisations and supports
Watching = Callable[[str], AbstractContextManager[Progress | None]]


@dataclass(frozen=True)
class Experiment:
    """One population of the paper.

    Attributes
    ----------
    name : str
        Of its folder and figures.
    title : str
    design : Design
    group_size : int
        Networks that are trained at once. The last bits of weights depend on it: it is not left to a calibration.
    """

    name: str
    title: str
    design: Design
    group_size: int


def _experiment(
    name: str, title: str, data_set: str, architecture: str, width: int, networks: int, steps: int
) -> Experiment:
    design = Design(
        data_set=data_set,
        architecture=architecture,
        width=width,
        networks=networks,
        steps=steps,
        snapshots=snapshot_steps(steps, SNAPSHOTS),
        initialisations=INITIALISATIONS,
        supports=SUPPORTS,
        batch_size=BATCH_SIZE,
    )
    return Experiment(name, title, design, GROUP_SIZES[architecture])


_POPULATIONS = (
    ("mnist-fc-small", "MNIST, fully connected, 32 hidden neurons", "mnist", "fc", 32),
    ("mnist-fc-medium", "MNIST, fully connected, 256 hidden neurons", "mnist", "fc", 256),
    ("mnist-cnn", "MNIST, convolutional, 10 channels", "mnist", "cnn", 10),
    ("cifar10-cnn", "CIFAR-10, convolutional, 10 channels", "cifar10", "cnn", 10),
)
_SIZES: Mapping[str, tuple[tuple[int, int], ...]] = {  # networks and steps of each population
    "quick": ((120, 2000), (96, 1500), (72, 1500), (72, 1500)),
    "full": ((600, 20_000), (600, 20_000), (240, 10_000), (240, 20_000)),
}
SCALES = {
    scale: tuple(_experiment(*fixed, *size) for fixed, size in zip(_POPULATIONS, sizes, strict=True))
    for scale, sizes in _SIZES.items()
}


@dataclass(frozen=True, eq=False)
class Result:
    """What came of one experiment."""

    experiment: Experiment
    store: Store
    measured: Measured
    analysis: Analysis
    findings: tuple[Finding, ...]
    pooled: tuple[str, float]  # initialisation and support of the members that were pooled into densities
    seconds: float  # of everything, where nothing had been trained before


def reproduce(
    output: str | Path,
    scale: str = "quick",
    *,
    work: str | Path = "out/reproduction",
    data: str | os.PathLike[str] | None = None,
    jobs: int | None = 1,
    watching: Watching | None = None,
) -> list[Result]:
    """Reproduce the ensemble analysis of the paper.

    Parameters
    ----------
    output : path
        The document, Markdown; its figures and tables go into the folder beside it that has its name.
    scale : {"quick", "full"}
        How many networks, trained how long: "quick" takes ten minutes on two cores, "full" three hours.
    work : path
        Where the trained populations are kept; what is there is not trained again.
    data : path, optional
        Folder of the data sets, as of :func:`dnn2graph.datasets.load`.
    jobs : int, optional
        Processes; see :func:`.each`.
    watching : callable, optional
        Called with what is being done, for a context that gives a progress callable.

    Returns
    -------
    list of Result

    Raises
    ------
    InputError
        If the scale is unknown.
    DataError
        If a data set is missing.

    References
    ----------
    La Malfa et al. 2021 (arXiv 2110.02628).
    """
    if scale not in SCALES:
        raise InputError(f"scale={scale!r} is unknown: choose from {', '.join(SCALES)}")
    from ..plot.population import write_figures
    from .document import document

    output, watching = Path(output), watching or _unwatched
    beside = output.with_suffix("")
    make_folder(beside)
    results = []
    for experiment in SCALES[scale]:
        result = run(experiment, Path(work) / scale / experiment.name, data, jobs, watching)
        pooled = "{}, support {:g}".format(*result.pooled)
        write_figures(result.measured, result.analysis, beside, experiment.title, pooled, f"{experiment.name}-")
        write_table(result.analysis.separation.round(6), beside / f"{experiment.name}-separation.csv")
        results.append(result)
    with replacing(output) as file:
        file.write("\n".join(document(results, scale, jobs, beside.name)).encode())
    return results


def run(
    experiment: Experiment,
    folder: Path,
    data: str | os.PathLike[str] | None = None,
    jobs: int | None = 1,
    watching: Watching | None = None,
) -> Result:
    """Train, measure and analyse one population."""
    watching = watching or _unwatched
    begun = time.perf_counter()
    with watching(f"training {experiment.name}") as progress:
        store = train_population(
            experiment.design, folder, data=data, group_size=experiment.group_size, jobs=jobs, progress=progress
        )
    with watching(f"measuring {experiment.name}") as progress:
        measured = measure(folder, jobs=jobs, progress=progress)
    initialisation, support = _widest(measured)
    with watching(f"analysing {experiment.name}") as progress:
        members = measured.members
        pool = ((members["initialisation"] == initialisation) & (members["support"] == support)).to_numpy()
        analysis = analyse(measured, folder, pool=pool, jobs=jobs, progress=progress)
    seconds = time.perf_counter() - begun
    return Result(experiment, store, measured, analysis, tuple(findings(analysis)), (initialisation, support), seconds)


def _unwatched(what: str) -> AbstractContextManager[Progress | None]:
    return nullcontext()


def _widest(measured: Measured) -> tuple[str, float]:
    """Choose the initialisation and support whose networks reach the widest range of accuracies.

    Pooled with others, their densities would show how networks began, not how accurate they are.
    """
    sound = measured.members[measured.finite()]
    alike = sound.groupby(["initialisation", "support"])["accuracy"]
    initialisation, support = (alike.max() - alike.min()).idxmax()
    return str(initialisation), float(support)
