"""Ensemble analysis: what distinguishes accurate networks from poor ones, by layer and by measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..measures.density import densities_of, log_density, scott
from ..measures.divergence import divergence_matrix
from ..measures.grid import Counts, Grid
from ..progress import Progress
from .measuring import Measured, Measuring
from .parallel import each
from .separation import accuracy_bins, separation
from .store import Store

if TYPE_CHECKING:
    import pandas as pd

POINTS = 1000  # of a density, as in the paper
BIN_WIDTH = 0.1
REACH = 3.0  # bandwidths that densities are shown beyond all values
CONTROLS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "time": ("step",),
    "initialisation": ("initialisation", "support"),
    "time and initialisation": ("step", "initialisation", "support"),
}


@dataclass(frozen=True, eq=False)
class Pooled:
    """One measure in one layer: the values of all networks of an accuracy bin, pooled, as a density for each bin.

    Attributes
    ----------
    measure : {"strength", "link_weights"}
    layer : str
        Link weights are those of the links that enter it.
    x : float64 array (points,)
    log_density : float64 array (bins, points)
        Natural logarithms, so that the far tails are there; NaN for a bin without networks.
    """

    measure: str
    layer: str
    x: np.ndarray
    log_density: np.ndarray

    @property
    def density(self) -> np.ndarray:
        """Densities, float64 (bins, points)."""
        return np.exp(self.log_density)

    def divergence(self, kind: str = "symmetric-kl") -> np.ndarray:
        """Divergence between all pairs of bins, (bins, bins); see :func:`.divergence_matrix`."""
        return divergence_matrix(self.log_density, float(self.x[1] - self.x[0]), kind, log=True)


@dataclass(frozen=True, eq=False)
class Analysis:
    """The ensemble analysis of a population.

    Attributes
    ----------
    edges : float64 array (bins + 1,)
        Of the accuracy bins.
    networks : int array (bins,)
        Members in each bin.
    pooled : tuple of Pooled
        For each measure, layer by layer.
    separation : DataFrame
        How well each feature separates low from high accuracy, under each control (column ``control``); see
        :func:`.separation`.
    diverged : int
        Members that were left out because their weights are not finite.
    """

    edges: np.ndarray
    networks: np.ndarray
    pooled: tuple[Pooled, ...]
    separation: pd.DataFrame
    diverged: int

    def of(self, measure: str) -> list[Pooled]:
        """Return the densities of one measure, in the order of the layers."""
        return [each for each in self.pooled if each.measure == measure]

    def divergences(self) -> pd.DataFrame:
        """Both divergences as a tidy table: measure, layer, kind, low and high (lower edges of two bins), value."""
        import pandas as pd

        rows = [
            (pooled.measure, pooled.layer, kind, self.edges[i], self.edges[j], matrix[i, j])
            for pooled in self.pooled
            for kind in ("symmetric-kl", "jensen-shannon")
            for matrix in [pooled.divergence(kind)]
            for i in range(len(matrix))
            for j in range(i + 1, len(matrix))
            if not np.isnan(matrix[i, j])
        ]
        return pd.DataFrame(rows, columns=["measure", "layer", "kind", "low", "high", "value"])


def analyse(
    measured: Measured,
    folder: str | Path | None = None,
    *,
    pool: np.ndarray | None = None,
    bin_width: float = BIN_WIDTH,
    bootstrap: int = 1000,
    seed: int = 0,
    jobs: int | None = 1,
    progress: Progress | None = None,
) -> Analysis:
    """Analyse a population as La Malfa et al. do, with intervals and controls.

    Members are binned by accuracy. In each layer the strengths of all nodes of all networks of a bin are pooled into
    one density, and so are the link weights; divergences between bins follow. Beside that, each network is summarised
    by features (mean, deviation, skewness, … of its strengths and link weights in each layer), and each feature is
    asked how well it separates low from high accuracy: over all members, among those trained equally long, among those
    of equal initialisation, and among those of both.

    Parameters
    ----------
    measured : Measured
    folder : path, optional
        Of the population, which is read once more for the densities of link weights; without it these are left out.
    pool : bool array (members,), optional
        Which members are pooled into densities, such as those of one support; default all. Features are compared over
        all members in any case.
    bin_width : float
        Of accuracy; the paper has 0.025.
    bootstrap, seed
        As of :func:`.separation`.
    jobs, progress
        As of :func:`.measure`.

    Returns
    -------
    Analysis

    Raises
    ------
    InputError
        If fewer than two members are finite and have an accuracy.
    """
    import pandas as pd

    kept = measured.finite() & np.isfinite(measured.members["accuracy"].to_numpy(float))
    if kept.sum() < 2:
        raise InputError(f"{kept.sum()} of {len(measured)} members are finite and have an accuracy: 2 are needed")
    accuracy = measured.members["accuracy"].to_numpy(np.float64)
    edges, bins = accuracy_bins(np.where(kept if pool is None else kept & pool, accuracy, np.nan), width=bin_width)
    pooled = [*_pooled_strengths(measured, bins, len(edges) - 1)]
    if folder is not None:
        pooled += _pooled_link_weights(measured, Path(folder), bins, len(edges) - 1, jobs, progress)
    sound, tables = measured.where(kept), []
    for control, within in CONTROLS.items():
        found = separation(sound.features, sound.members, within=within, bootstrap=bootstrap, seed=seed)
        tables.append(found.assign(control=control))
    networks = np.bincount(bins[bins >= 0], minlength=len(edges) - 1)
    return Analysis(edges, networks, tuple(pooled), pd.concat(tables, ignore_index=True), int((~kept).sum()))


def _pooled_strengths(measured: Measured, bins: np.ndarray, count: int) -> Iterator[Pooled]:
    for layer in measured.graph.layers:
        values = measured.strength[:, layer.start : layer.stop]
        samples = [values[bins == number] for number in range(count)]
        if any(sample.size and sample.min() < sample.max() for sample in samples):
            yield Pooled("strength", layer.name, *densities_of(samples, POINTS, log=True))


def _pooled_link_weights(
    measured: Measured, folder: Path, bins: np.ndarray, count: int, jobs: int | None, progress: Progress | None
) -> Iterator[Pooled]:
    """Pool link weights without holding them: the grid follows from the members' moments, then counts are added up."""
    bandwidths: dict[tuple[str, int], float] = {}
    grids: dict[tuple[str, int], Grid] = {}
    layers = _weights_per_member(measured)
    for name, weights in layers.items():
        moments = measured.features[[f"link_weights:{name}:{key}" for key in ("mean", "std", "min", "max")]].to_numpy()
        chosen = [moments[bins == number] for number in range(count)]
        found = [float(scott(len(rows) * weights, _pooled_std(rows, weights))) for rows in chosen]
        bandwidths.update({(name, number): h for number, h in enumerate(found) if not np.isnan(h)})
        if np.isnan(found).all():
            continue
        reach = REACH * np.nanmax(found)
        low, high = moments[bins >= 0, 2].min() - reach, moments[bins >= 0, 3].max() + reach
        for number, bandwidth in enumerate(found):  # of the same points, so that densities compare
            if not np.isnan(bandwidth):
                grids[name, number] = Grid.covering(low, high, bandwidth, POINTS)
    totals: dict[tuple[str, int], Counts] = {}
    tasks = _bins_by_stack(folder, bins)
    counting = partial(_count_stack, Measuring(folder, measured.graph.granularity), grids)
    for _, counts in each(counting, tasks, jobs, progress):
        for key, counted in counts.items():
            totals[key] = totals[key] + counted if key in totals else counted
    for name in layers:
        of_layer = {number: grid for (layer, number), grid in grids.items() if layer == name}
        if of_layer:
            rows = np.full((count, POINTS), np.nan)
            for number, grid in of_layer.items():
                rows[number] = log_density(totals[name, number], grid, bandwidths[name, number])
            yield Pooled("link_weights", name, next(iter(of_layer.values())).x, rows)


def _bins_by_stack(folder: Path, bins: np.ndarray) -> list[tuple[Path, np.ndarray]]:
    """Give the bins of the members in each file of a population."""
    store = Store(folder)
    stacks = store.stacks()
    ends = np.cumsum([len(store.members_of(stack)) for stack in stacks])
    return list(zip(stacks, np.split(bins, ends[:-1]), strict=True))


def _weights_per_member(measured: Measured) -> dict[str, int]:
    """Count the link weights that enter each layer of one member."""
    counts: dict[str, int] = {}
    for links in measured.graph.select("weight"):
        assert links.target is not None
        counts[links.target.name] = counts.get(links.target.name, 0) + links.kernel().numel()
    return counts


def _pooled_std(moments: np.ndarray, weights: int) -> float:
    """Standard deviation (ddof=1) of pooled samples of equal size, from the mean and deviation (ddof=0) of each."""
    number = len(moments) * weights
    if number < 2:
        return float("nan")
    mean, std = moments[:, 0], moments[:, 1]
    variance = np.square(std).mean() + np.square(mean - mean.mean()).mean()
    return float(np.sqrt(variance * number / (number - 1)))


def _count_stack(
    measuring: Measuring, grids: Mapping[tuple[str, int], Grid], task: tuple[Path, np.ndarray]
) -> dict[tuple[str, int], Counts]:
    """Count the link weights of one file, for each layer and bin."""
    stack, bins = task
    weights = measuring.population(stack).link_weights()
    present = set(bins.tolist())
    return {
        (name, number): grid.count(weights[name][bins == number])
        for (name, number), grid in grids.items()
        if number in present
    }
