"""Gaussian kernel density estimates on a grid, exact in their tails, from counts that add up over blocks of a sample.

What scipy sums over all values, ``f(x) = Σ exp(-(x - value)² / 2h²) / (n h √2π)``, is summed here over narrow cells
(1/128 of the bandwidth h or less). Of the values in a cell the first moments are kept, which is what adds up over
blocks, processes and networks; six weights on the edges around the cell that have the same moments then stand for its
values, and a direct convolution with the kernel sums them. No Fourier transform: its rounding noise is relative to the
largest density, and would drown the tails on which a divergence depends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from .grid import CELLS_PER_BANDWIDTH, MOMENTS, Counts, Grid

__all__ = ["Counts", "Grid", "densities_of", "density", "density_of", "log_density", "scott"]

NEAR = 9.0  # bandwidths: all that a point with values around it needs
REACH = 40.0  # bandwidths that the convolution covers at most; beyond, the nearest cells are summed as logarithms
LIFT = 100.0  # the kernel is multiplied by exp(LIFT), so that no density that float64 can hold underflows on the way
FAINT = 1e-290  # lifted sums below this are left to the logarithms

_NODES = np.arange(MOMENTS) - 2.5  # the edges around a cell, in cells from its centre
_SPREAD = np.linalg.inv(np.vander(_NODES, increasing=True).T)  # (nodes, moments): weights that have these moments


def scott(count: np.ndarray | float, std: np.ndarray | float) -> np.ndarray:
    """Scott's bandwidth in one dimension: ``std * count ** (-1/5)``, scipy's default.

    Parameters
    ----------
    count : int or array
        Number of values.
    std : float or array
        Their standard deviation with ddof=1, as pooled moments give it.

    Returns
    -------
    float64 array
        NaN where there is no density to estimate: fewer than two values, or all of them equal.

    References
    ----------
    D.W. Scott 1992, "Multivariate Density Estimation".

    Examples
    --------
    >>> scott(32, 3.0)
    array(1.5)
    """
    count, std = np.asarray(count, np.float64), np.asarray(std, np.float64)
    known = (count >= 2) & (std > 0)
    return np.where(known, std * np.where(known, count, 1.0) ** -0.2, np.nan)


def density(counts: Counts, grid: Grid, bandwidth: float) -> np.ndarray:
    """Gaussian kernel density at the points of a grid.

    Equal to that of ``scipy.stats.gaussian_kde`` to 1e-5 of its value, tails included; 0 where float64 has no smaller
    number. For divergences take :func:`log_density`, which has no such end.

    Parameters
    ----------
    counts : Counts
        What :meth:`.Grid.count` returned, or a sum of it.
    grid : Grid
        The same.
    bandwidth : float
        Standard deviation of the kernel, in the values' units; such as :func:`scott`'s. NaN gives NaN.

    Returns
    -------
    float64 array (points,)
        NaN if nothing was counted.

    Raises
    ------
    InputError
        If the counts are of another grid, or the bandwidth is too narrow for it.
    """
    return np.exp(log_density(counts, grid, bandwidth))


def log_density(counts: Counts, grid: Grid, bandwidth: float) -> np.ndarray:
    """Natural logarithm of :func:`density`, finite at any distance from the values.

    Equal to ``scipy.stats.gaussian_kde.logpdf`` to 1e-5 of its value; nearer than 39 bandwidths to a value, to 1e-5.

    Parameters
    ----------
    counts, grid, bandwidth
        As of :func:`density`.

    Returns
    -------
    float64 array (points,)
        NaN if nothing was counted.
    """
    if counts.grid != grid:
        raise InputError(f"counts of {counts.grid} are not of {grid}")
    number = counts.number
    if number == 0 or np.isnan(bandwidth):
        return np.full(grid.points, np.nan)
    if not 0 < bandwidth < np.inf:
        raise InputError(f"bandwidth={bandwidth} must be positive and finite")
    width = bandwidth / grid.step * grid.refine  # of the kernel, in cells
    if width < CELLS_PER_BANDWIDTH * (1 - 1e-9):
        raise InputError(
            f"bandwidth={bandwidth:g} is too narrow for the {grid.refine} cell(s) per step of this grid: "
            "make it with Grid.covering(low, high, bandwidth)"
        )
    while counts.grid.refine % 2 == 0 and width >= 2 * CELLS_PER_BANDWIDTH:
        counts, width = counts.halved(), width / 2
    at = np.arange(grid.points) * counts.grid.refine - counts.first  # the points, in cells from the first column
    sums = _sum_kernels(counts.moments, at, width)
    near = sums > FAINT
    logarithm = np.log(np.where(near, sums, 1.0)) - LIFT
    if not near.all():
        logarithm[~near] = _log_tails(counts.moments, at[~near], width)
    return logarithm - np.log(number * bandwidth * np.sqrt(2 * np.pi))


def density_of(
    sample: np.ndarray, points: int = 1000, *, extend: float = 3.0, bandwidth: float | None = None, log: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian kernel density of one sample.

    Parameters
    ----------
    sample : array of any shape
    points : int
        Where it is evaluated, evenly spaced.
    extend : float
        How many bandwidths the points reach beyond the smallest and the largest value: beyond three, less than 0.14 %
        of a value's kernel is left. The paper's code stopped at the values themselves: ``extend=0``.
    bandwidth : float, optional
        Standard deviation of the kernel; default Scott's.
    log : bool
        Return the logarithm of the density.

    Returns
    -------
    x, density : float64 arrays (points,)

    Raises
    ------
    InputError
        If the sample is empty, has NaN or infinite values, or has no bandwidth because all its values are equal.

    Examples
    --------
    >>> x, p = density_of([0.0, 1.0], points=5, extend=0, bandwidth=1.0)
    >>> p.round(3)
    array([0.32 , 0.344, 0.352, 0.344, 0.32 ])
    """
    given = None if bandwidth is None else [bandwidth]
    x, found = densities_of([sample], points, extend=extend, bandwidths=given, log=log)
    return x, found[0]


def densities_of(
    samples: Sequence[np.ndarray],
    points: int = 1000,
    *,
    extend: float = 3.0,
    bandwidths: Sequence[float] | None = None,
    log: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian kernel densities of several samples at the same points, as divergences need them.

    Parameters
    ----------
    samples : sequence of arrays of any shape
        Such as the strengths of a layer's nodes, pooled by accuracy.
    points, extend, log
        As of :func:`density_of`; the points reach around all samples. Sums over the points approximate integrals well
        where the step is not larger than the bandwidth: give more points if a narrow sample is to be seen in a wide
        range.
    bandwidths : sequence of float, optional
        One for each sample; default Scott's.

    Returns
    -------
    x : float64 array (points,)
    densities : float64 array (samples, points)
        NaN for a sample without a density: empty, or, unless its bandwidth is given, of equal values.

    Raises
    ------
    InputError
        If there are no two different values in all samples together, or a value is NaN or infinite.
    """
    flat = [np.asarray(sample).reshape(-1) for sample in samples]
    for index, values in enumerate(flat):
        if not np.isfinite(values).all():
            raise InputError(f"sample {index} has values that are NaN or infinite: leave them out first")
    if bandwidths is None:
        chosen = np.array([float(scott(v.size, _deviation(v))) for v in flat])
    else:
        chosen = np.array([h if v.size else np.nan for v, h in zip(flat, bandwidths, strict=True)], np.float64)
    margins = extend * np.nan_to_num(chosen)
    ends = [(v.min() - margin, v.max() + margin) for v, margin in zip(flat, margins, strict=True) if v.size]
    low, high = (min(end[0] for end in ends), max(end[1] for end in ends)) if ends else (0.0, 0.0)
    if low == high:
        cause = f"all values are {low:g}" if ends else "there are no values"
        raise InputError(f"{len(flat)} sample(s) have no density: {cause}; a bandwidth may be given for equal values")
    found = np.full((len(flat), points), np.nan)
    for i in np.flatnonzero(~np.isnan(chosen)):
        grid = Grid.covering(low, high, chosen[i], points)  # of the same points, with cells for this sample
        found[i] = log_density(grid.count(flat[i]), grid, chosen[i])
    return np.linspace(low, high, points), found if log else np.exp(found)


def _deviation(values: np.ndarray) -> float:
    """Standard deviation (ddof=1) in float64; 0 for equal values, of whose mean rounding may leave a little."""
    return float(values.std(ddof=1, dtype=np.float64)) if values.size > 1 and np.ptp(values) > 0 else 0.0


def _sum_kernels(moments: np.ndarray, at: np.ndarray, width: float) -> np.ndarray:
    """Sum the lifted kernels at points that are cell edges."""
    cells = moments.shape[1]
    nodes = np.zeros(cells + MOMENTS - 1)  # cell c spreads over the edges c - 2 ... c + 3; edge e is stored at e + 2
    for node, weights in enumerate(_SPREAD @ moments):
        nodes[node : node + cells] += weights
    sums = _convolve(nodes, at + 2, width, NEAR)
    # What all values together could add from farther away is less than 1e-7 of a sum above this bound.
    missing = np.flatnonzero(sums < 1e7 * moments[0].sum() * np.exp(LIFT - 0.5 * NEAR**2))
    sums[missing] = _convolve(nodes, at[missing] + 2, width, REACH)
    return sums


def _convolve(nodes: np.ndarray, at: np.ndarray, width: float, bandwidths: float) -> np.ndarray:
    """Sum the kernels of the nodes that are at most so many bandwidths away, point by point."""
    sums = np.zeros(len(at))
    if not at.size:
        return sums
    farthest = max(int(np.abs(at).max()), int(np.abs(len(nodes) - at).max()))
    reach = min(int(np.ceil(bandwidths * width)), farthest)
    kernel = np.exp(LIFT - 0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    begin, end = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(nodes))
    for point in np.flatnonzero(begin < end).tolist():
        a, b, start = begin[point], end[point], at[point] - reach
        sums[point] = nodes[a:b] @ kernel[a - start : b - start]
    return sums


def _log_tails(moments: np.ndarray, at: np.ndarray, width: float) -> np.ndarray:
    """Logarithm of the sum of kernels where all values are far.

    There a value that is one bandwidth farther than the nearest counts less than exp(-39) of it: the occupied cells
    within one bandwidth of the nearest, on either side, decide. In the logarithm a cell's values are replaced by their
    mean and variance, and never by more than if all lay at the cell's near edge.
    """
    occupied = np.flatnonzero(moments[0])
    number = moments[0, occupied]
    mean = moments[1, occupied] / number
    variance = np.maximum(moments[2, occupied] / number - mean**2, 0.0)
    depth = min(int(np.ceil(width)), len(occupied))
    found = []
    for part in np.array_split(at, -(-len(at) // 1024)):
        cell = np.searchsorted(occupied, part)[:, None] + np.arange(-depth, depth)  # (points, 2 * depth)
        absent = (cell < 0) | (cell >= len(occupied))
        cell = np.clip(cell, 0, len(occupied) - 1)
        z = (part[:, None] - (occupied[cell] + 0.5 + mean[cell])) / width
        nearest = np.abs(z) * (0.5 - np.sign(z) * mean[cell]) / width
        terms = np.log(number[cell]) - 0.5 * z**2 + np.minimum(0.5 * variance[cell] * (z / width) ** 2, nearest)
        terms[absent] = -np.inf
        largest = terms.max(axis=1)
        found.append(largest + np.log(np.exp(terms - largest[:, None]).sum(axis=1)))
    return np.concatenate(found)
