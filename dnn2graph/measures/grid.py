"""A grid of points, and counts of values in the narrow cells between them: what adds up over blocks of a sample."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from ..errors import InputError

MOMENTS = 6  # kept of each cell: the sums of offset**0 ... offset**5
CELLS_PER_BANDWIDTH = 128  # at least
MOST_CELLS = 1 << 23  # between the smallest and the largest value: 400 MB of moments
FINEST = 1 << 34  # cells of a grid: float64 still places a value within one to 1e-6 of its width
BLOCK = 1 << 15  # values that are counted at a time, at least: they stay in the cache


@dataclass(frozen=True)
class Grid:
    """Evenly spaced points, and the cells between them in which values are counted.

    Grids that differ in ``refine`` only have the same points: densities of samples of different width can be estimated
    each from cells of their own, and still be compared.

    Attributes
    ----------
    low, high : float
        First and last point; values outside cannot be counted.
    points : int
        Where densities are evaluated.
    refine : int
        Cells per step. The narrowest bandwidth decides it: see :meth:`covering`.

    Raises
    ------
    InputError
        If the range is empty or not finite, or the cells would be too small for float64.

    Examples
    --------
    A density of values that arrive in two blocks, the bandwidth from their pooled moments:

    >>> import numpy as np
    >>> from dnn2graph.measures.density import density, scott
    >>> bandwidth = scott(4, np.std([0, 1, 2, 3], ddof=1))
    >>> grid = Grid.covering(-3, 6, bandwidth, points=10)
    >>> counts = grid.count([0.0, 1.0]) + grid.count([2.0, 3.0])
    >>> density(counts, grid, bandwidth).round(2)
    array([0.  , 0.01, 0.07, 0.18, 0.24, 0.24, 0.18, 0.07, 0.01, 0.  ])
    """

    low: float
    high: float
    points: int = 1000
    refine: int = 1

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise InputError(f"a grid from {self.low} to {self.high} has no points: low must be finite and below high")
        if self.points < 2 or self.refine < 1:
            raise InputError(f"points={self.points} and refine={self.refine} must be at least 2 and 1")
        if self.step <= np.spacing(max(abs(self.low), abs(self.high))):
            raise InputError(f"{self.points} numbers between {self.low} and {self.high} do not exist in float64")
        if self.cells > FINEST:
            raise InputError(
                f"a grid from {self.low:g} to {self.high:g} would need {self.cells:,} cells, at most {FINEST:,} can be "
                "told apart: the bandwidth is too small for this range, give a larger one"
            )

    @classmethod
    def covering(cls, low: float, high: float, bandwidth: float | np.ndarray, points: int = 1000) -> Grid:
        """Make the coarsest grid whose counts allow these bandwidths, and all wider ones.

        Parameters
        ----------
        low, high : float
        bandwidth : float or array
            Of the densities that will be estimated; NaN (no density) does not count.
        points : int
        """
        known = np.asarray(bandwidth, np.float64)
        known = known[~np.isnan(known)]
        if not (known > 0).all():
            raise InputError(f"bandwidth={known.min()} must be positive")
        narrowest = float(known.min()) if known.size else np.inf
        cells = (high - low) / max(points - 1, 1) / narrowest * CELLS_PER_BANDWIDTH
        # A power of two, so that cells can be joined in pairs for wider bandwidths.
        return cls(float(low), float(high), points, 1 << int(np.ceil(np.log2(np.clip(cells, 1, 2.0**60)))))

    @property
    def cells(self) -> int:
        """Number of cells from ``low`` to ``high``."""
        return (self.points - 1) * self.refine

    @property
    def step(self) -> float:
        """Distance of the points."""
        return (self.high - self.low) / (self.points - 1)

    @property
    def x(self) -> np.ndarray:
        """The points, float64 (points,)."""
        return np.linspace(self.low, self.high, self.points)

    def count(self, values: np.ndarray) -> Counts:
        """Count values. Counts of blocks of values, of processes and of networks are added with ``+``.

        Parameters
        ----------
        values : array of any shape

        Returns
        -------
        Counts

        Raises
        ------
        InputError
            If a value is NaN or outside the grid, or the values spread over more cells than fit into memory.
        """
        values = np.asarray(values).reshape(-1)
        if not values.size:
            return Counts(self, 0, np.zeros((MOMENTS, 0)))
        least, greatest = float(values.min()), float(values.max())
        if not (least >= self.low and greatest <= self.high):  # NaN neither
            wrong = values[~((values >= self.low) & (values <= self.high))]
            raise InputError(
                f"{len(wrong)} value(s), the first {wrong[0]}, are NaN or outside the grid, which covers "
                f"{self.low:g} to {self.high:g}: find the range of all values first, and leave out NaN"
            )
        first, last = self._place(np.array([least, greatest]))[0].tolist()
        counts = Counts.empty(self, first, last + 1)
        size = max(BLOCK, last + 1 - first)  # adding a block's counts takes no longer than counting it
        for begin in range(0, len(values), size):
            cell, offset = self._place(values[begin : begin + size].astype(np.float64))
            counts.add(cell - first, offset)
        return counts

    def _place(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the cell of each value, and its place from -0.5 to 0.5 within."""
        position = (values - self.low) * (self.cells / (self.high - self.low))
        cell = np.minimum(position.astype(np.int64), self.cells - 1)
        return cell, position - cell - 0.5


@dataclass(frozen=True, eq=False)
class Counts:
    """Moments of the values in each cell of a grid, from the first to the last cell that has any.

    Attributes
    ----------
    grid : Grid
    first : int
        Cell of the first column.
    moments : float64 array (6, columns)
        Sums of the 0th to the 5th powers of the values' distance from their cell's centre, in cells; the first row is
        how many values a cell has.
    """

    grid: Grid
    first: int
    moments: np.ndarray

    @classmethod
    def empty(cls, grid: Grid, first: int, stop: int) -> Counts:
        """Make counts of nothing for a range of cells."""
        if stop - first > MOST_CELLS:
            raise InputError(
                f"the values spread over {stop - first:,} cells, each a small part of the bandwidth; {MOST_CELLS:,} "
                "fit into memory: use a larger bandwidth (Grid.covering), or pool the narrow and the wide values apart"
            )
        return cls(grid, first, np.zeros((MOMENTS, stop - first)))

    @property
    def number(self) -> int:
        """How many values were counted."""
        return int(self.moments[0].sum())

    def add(self, cell: np.ndarray, offset: np.ndarray) -> None:
        """Count values, by column and place within the cell."""
        columns = self.moments.shape[1]
        self.moments[0] += np.bincount(cell, minlength=columns)
        power = offset.copy()
        for order in range(1, MOMENTS):
            self.moments[order] += np.bincount(cell, power, columns)
            power *= offset

    def __add__(self, other: Counts) -> Counts:
        if self.grid != other.grid:
            raise InputError(f"counts of two grids cannot be added: {self.grid} and {other.grid}")
        parts = [part for part in (self, other) if part.moments.shape[1]]
        if len(parts) < 2:
            return parts[0] if parts else self
        stop = max(part.first + part.moments.shape[1] for part in parts)
        total = Counts.empty(self.grid, min(part.first for part in parts), stop)
        for part in parts:
            begin = part.first - total.first
            total.moments[:, begin : begin + part.moments.shape[1]] += part.moments
        return total

    def halved(self) -> Counts:
        """Join cells in pairs, exactly: counts of the grid with half as many."""
        left = self.first % 2
        right = (left + self.moments.shape[1]) % 2
        moments = np.pad(self.moments, [(0, 0), (left, right)])
        grid = Grid(self.grid.low, self.grid.high, self.grid.points, self.grid.refine // 2)
        return Counts(grid, self.first // 2, _LEFT @ moments[:, 0::2] + _RIGHT @ moments[:, 1::2])


def _halving(centre: float) -> np.ndarray:
    """The matrix that turns moments about a cell's centre into moments about that of a cell twice as wide."""
    orders = range(MOMENTS)
    return np.array([[comb(k, j) * centre ** max(k - j, 0) * 0.5**j for j in orders] for k in orders])


_LEFT, _RIGHT = _halving(-0.25), _halving(0.25)
