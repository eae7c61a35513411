"""One pass over a matrix of weights: sums of rows and columns, and the sums that link-weight moments follow from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..measures.moments import Moments
from ..measures.moments import moments as moments_in_two_passes
from .formats import Format

BLOCK = 1 << 17  # weights that plain numpy widens to float64 at a time
# Beyond this, powers of the weights themselves say little about their spread: those of distances from the mean do.
FAR = 4.0  # mean**2 / variance

Sums = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]


@dataclass(frozen=True, eq=False)
class Totals:
    """What one pass finds out about some weights; parts of a tensor add up.

    Attributes
    ----------
    size : int
    low, high : float
        The extremes, which may be zero; meaningless beside NaN.
    zeros : int
    l1 : float
        Sum of absolute values.
    powers : float64 array (4,)
        Sums of the first to fourth powers.
    """

    size: int
    low: float
    high: float
    zeros: int
    l1: float
    powers: np.ndarray

    @property
    def finite(self) -> bool:
        """Whether no weight is NaN or infinite."""
        return bool(np.isfinite(self.l1))

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.size + other.size,
            min(self.low, other.low),
            max(self.high, other.high),
            self.zeros + other.zeros,
            self.l1 + other.l1,
            self.powers + other.powers,
        )


NOTHING = Totals(0, np.inf, -np.inf, 0, 0.0, np.zeros(4))


def totals(
    matrix: np.ndarray, format: Format, rows: np.ndarray, columns: np.ndarray, fast: Sums | None = None
) -> Totals:
    """Pass over a matrix once.

    Parameters
    ----------
    matrix : array (height, width) of the format's bits
        Row after row in memory, not empty.
    format : Format
    rows : float64 array (height,)
        Zeros, to which the sums of the rows are added.
    columns : float64 array (width,)
        To which the sums of the columns are added.
    fast : callable, optional
        As :func:`.native.fast_sums` gives it; default :func:`plain_sums`.
    """
    found = np.array([np.inf, -np.inf, 0, 0, 0, 0, 0])
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are told of by whoever asks for the totals
        if fast is not None:
            fast(matrix, rows, columns, found)
        else:
            plain_sums(format.decode, matrix, rows, columns, found)
        low, high, zeros, l1, *higher = found.tolist()
        powers = np.array([rows.sum(), *higher])
    return Totals(matrix.size, low, high, int(zeros) if np.isfinite(l1) else 0, l1, powers)


def written_zeros(size: int, dtype: str = "f8") -> np.ndarray:
    """Make zeros as ``numpy.zeros`` does, but in memory that is the thread's own at once.

    Else the system gives it at the first write, and asks all threads of the process before: on some virtual machines
    each page takes a millisecond.
    """
    found = np.empty(size, dtype)
    found.fill(0)
    return found


def plain_sums(
    decode: Callable[[np.ndarray], np.ndarray],
    matrix: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    found: np.ndarray,
) -> None:
    """Pass over a matrix in blocks that are widened to float64.

    ``found`` (7,) is added to: the smallest and the largest weight, the number of zeros, and the sums of absolute
    values and of second, third and fourth powers.
    """
    for down, across in blocks(matrix.shape):
        weights = decode(matrix[down, across]).astype(np.float64)
        rows[down] += weights.sum(1)
        columns[across] += weights.sum(0)
        found[:2] = min(found[0], weights.min()), max(found[1], weights.max())
        square = np.square(weights)
        flat, squares = weights.reshape(-1), square.reshape(-1)
        zeros = weights.size - np.count_nonzero(weights)
        found[2:] += zeros, np.abs(flat).sum(), squares.sum(), squares @ flat, squares @ squares


def blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Cut a matrix into blocks of about ``BLOCK`` weights, whole rows where they are not longer than that."""
    height, width = shape
    across = min(width, BLOCK)
    down = max(1, BLOCK // max(1, across))
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield slice(top, top + down), slice(left, left + across)


def moments(found: Totals, weights: Callable[[], Iterator[np.ndarray]]) -> Moments:
    """Compute the statistics of the weights that are not zero, as :func:`dnn2graph.link_weights` does.

    Parameters
    ----------
    found : Totals
    weights : callable
        Starts another pass: an iterator over arrays of numbers. It is needed where all weights have one sign or lie far
        from zero for their spread, as the scales of a normalisation do.

    Returns
    -------
    Moments
        NaN if a weight is NaN or infinite.
    """
    count = found.size - found.zeros
    if not found.finite:
        nan = float("nan")
        return Moments(nan, nan, nan, nan, nan, nan, l1=nan, l2=nan, count=count)
    first, second, third, fourth = (found.powers / max(1, count)).tolist()
    variance = second - first**2
    extreme_is_zero = 0 in (found.low, found.high)
    if extreme_is_zero or not variance * FAR > first**2:
        return moments_in_two_passes(lambda: ((each, np.ones(1, np.int64)) for each in weights()))
    about_mean = third - 3 * first * second + 2 * first**3
    fourth_about_mean = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
    return Moments(
        mean=first,
        std=variance**0.5,
        skewness=about_mean / variance**1.5,
        kurtosis=fourth_about_mean / variance**2 - 3,
        min=found.low,
        max=found.high,
        l1=found.l1,
        l2=float(found.powers[1] ** 0.5),
        count=count,
    )
