"""The pass over float8 weights, for processors that look up and multiply bytes. Needs numba.

Such a weight is a whole number of units, and that is a product of two bytes: a digit with a sign, and a scale, which is
a power of two. So sums of rows, of columns and of absolute values are sums of such products, exact in integers. Higher
powers need float64, but of such a weight in float64 only two bytes are not zero. All these bytes are looked up.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import njit

from ..formats import FORMATS
from .bits import stored, zeros_in
from .extremes import add_extremes, extended, low_and_high, reduced
from .octets import at_least, fours, looked_up, no_counts, numbers, products_added, signed_as, with_sign_bit
from .sums import PANEL, sums, sums_between
from .vectors import LINE, line, no_numbers, prefetch, put, total, widest_vectors, with_powers

ROWS = 8  # taken at a time
BROAD = 256  # columns from which on this is faster than the general pass
OFTEN = 1 << 17  # rows after which sums of columns are taken out of 32 bits: eight weights add 28 672 at most
SIGNIFICANT = {"float8_e4m3fn": 4, "float8_e5m2": 3}  # binary digits of a weight
DIGIT, SMALL, LARGE, UPPER, LOWER = range(5)  # rows of the tables


def float8_sums(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, found: np.ndarray) -> None:
    """Add to the sums of rows and of columns and to the totals; see :func:`..moments.plain_sums`."""
    if matrix.shape[1] < BROAD:
        sums(matrix, rows, columns, found)
        return
    height, width = len(matrix) // ROWS * ROWS, matrix.shape[1] // LINE * LINE
    tables, limit, unit, factor = _tables(matrix.dtype.str)
    for top in range(0, height, OFTEN):
        few = slice(top, min(top + OFTEN, height))
        down = np.zeros((width // LINE, 4, 2, 4, 4), np.int32)
        _sums(matrix[few], rows[few], columns, found, down.reshape(-1), tables, limit, unit, factor)
        small, large = down.transpose(2, 0, 3, 1, 4).reshape(2, width)  # as :func:`.octets.fours` leaves the places
        columns[:width] += (small + factor * large) * unit
    for rest, of_rows, of_columns in (
        (np.ascontiguousarray(matrix[:height, width:]), rows[:height], columns[width:]),
        (matrix[height:], rows[height:], columns),
    ):
        if rest.size:
            sums(rest, of_rows, of_columns, found)


@cache
def _tables(bits: str) -> tuple[np.ndarray, int, float, float]:
    """List bytes by the 128 weights without a sign.

    Returns
    -------
    tables : uint8 array (5, 128)
        Digits of seven bits; scales where these are small, else 0; where they are large, over a factor, else 0; the
        upper and the lower of the two bytes of a float64.
    limit : int
        The first weight for which there are none: it is too large, or NaN.
    unit, factor : float
    """
    (format,) = (format for format in FORMATS.values() if np.dtype(format.bits).str == bits)
    with np.errstate(invalid="ignore"):  # NaN
        weights = format.decode(np.arange(128, dtype=np.uint8).view(format.bits)).astype(np.float64)
    unit = float(weights[1])
    step = 8 - SIGNIFICANT[format.name]  # digits have room for so many scales
    exponents = np.maximum(np.frexp(weights[np.isfinite(weights)] / unit)[1] - SIGNIFICANT[format.name], 0)
    limit = int(np.count_nonzero(exponents < 4 * step))  # weights are in order, NaN and infinity last
    weights, exponents = weights[:limit], exponents[:limit] // step * step
    factor = 2.0 ** (2 * step)
    scales = 2.0**exponents
    tables = np.zeros((5, 128), np.uint8)
    tables[DIGIT, :limit] = weights / unit / scales
    tables[SMALL, :limit] = np.where(scales < factor, scales, 0)
    tables[LARGE, :limit] = np.where(scales < factor, 0, scales / factor)
    tables[LOWER, :limit], tables[UPPER, :limit] = weights.view(np.uint8).reshape(-1, 8)[:, 6:].T
    return tables, limit, unit, factor


@njit(nogil=True, cache=True)
def _sums(
    matrix: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    found: np.ndarray,
    down: np.ndarray,
    tables: np.ndarray,
    limit: int,
    unit: float,
    factor: float,
) -> None:
    """Pass over rows, but not over columns beyond the last whole vector of bytes.

    Sums of columns go to ``down`` (2 for each); those of weights at or beyond the limit, to ``columns``.
    """
    height, width = matrix.shape
    for left in range(0, width // LINE * LINE, PANEL):
        right = min(left + PANEL, width // LINE * LINE)
        for top in range(0, height, ROWS):
            few, along = matrix[top : top + ROWS], rows[top : top + ROWS]
            absolute, second, third, fourth = _along(few, left, right, along, tables, unit, factor)
            low, high, zeros = _down(few, left, right, down[2 * left : 2 * right], tables)
            found[3] += absolute
            found[4] += second
            found[5] += third
            found[6] += fourth
            add_extremes(found, matrix, low, high, zeros)
            if max(low & 0x7F, high & 0x7F) >= limit:
                beyond, others = _beyond(few, left, right, limit), np.zeros(7)
                sums_between(0, right - left, beyond, beyond[0], along, columns[left:right], others)
                found[3:] += others[3:]


@njit(nogil=True)
def _beyond(matrix: np.ndarray, left: int, right: int, limit: int) -> np.ndarray:
    """Copy the weights at or beyond the limit, and zeros for the others."""
    beyond = np.empty((len(matrix), right - left), matrix.dtype)
    for i in range(len(matrix)):
        for j in range(0, right - left, LINE):
            put(beyond[i], j, at_least(line(matrix[i], left + j), limit))
    return beyond


@njit(nogil=True)
def _along(
    matrix: np.ndarray, left: int, right: int, rows: np.ndarray, tables: np.ndarray, unit: float, factor: float
) -> tuple[float, float, float, float]:
    """Add to the sums of rows, and sum up absolute values and higher powers. Meanwhile rows after these are fetched."""
    widest_vectors()
    digits, more_digits = line(tables[DIGIT], 0), line(tables[DIGIT], LINE)
    smalls, more_smalls = line(tables[SMALL], 0), line(tables[SMALL], LINE)
    larges, more_larges = line(tables[LARGE], 0), line(tables[LARGE], LINE)
    uppers, more_uppers = line(tables[UPPER], 0), line(tables[UPPER], LINE)
    lowers, more_lowers = line(tables[LOWER], 0), line(tables[LOWER], LINE)
    absolute_small = absolute_large = no_counts()
    one = other = another = no_numbers(), no_numbers(), no_numbers()
    for i in range(ROWS):
        small_sum = large_sum = no_counts()
        for j in range(left, right, LINE):
            prefetch(matrix[i], j + ROWS * matrix.shape[1])
            octets = line(matrix[i], j)
            digit = looked_up(octets, digits, more_digits)
            small, large = looked_up(octets, smalls, more_smalls), looked_up(octets, larges, more_larges)
            absolute_small = products_added(small, digit, absolute_small)
            absolute_large = products_added(large, digit, absolute_large)
            digit = signed_as(digit, octets)
            small_sum = products_added(small, digit, small_sum)
            large_sum = products_added(large, digit, large_sum)
            upper = with_sign_bit(looked_up(octets, uppers, more_uppers), octets)
            p, q, r, s, t, u, v, w = numbers(upper, looked_up(octets, lowers, more_lowers))
            one, other, another = with_powers(one, p), with_powers(other, q), with_powers(another, r)
            one, other, another = with_powers(one, s), with_powers(other, t), with_powers(another, u)
            one, other = with_powers(one, v), with_powers(other, w)
        rows[i] += (total(small_sum) + factor * total(large_sum)) * unit
    return (
        (total(absolute_small) + factor * total(absolute_large)) * unit,
        total(one[0] + other[0] + another[0]),
        total(one[1] + other[1] + another[1]),
        total(one[2] + other[2] + another[2]),
    )


@njit(nogil=True)
def _down(matrix: np.ndarray, left: int, right: int, down: np.ndarray, tables: np.ndarray) -> tuple[int, int, int]:
    """Add to the sums of columns; find what is stored as the smallest and as the largest number, and count zeros."""
    widest_vectors()
    digits, more_digits = line(tables[DIGIT], 0), line(tables[DIGIT], LINE)
    smalls, more_smalls = line(tables[SMALL], 0), line(tables[SMALL], LINE)
    larges, more_larges = line(tables[LARGE], 0), line(tables[LARGE], LINE)
    first = stored(line(matrix[0], left))
    ends, zeros = (first, first, first), 0
    for j in range(left, right, LINE):
        a, b, c, d = line(matrix[0], j), line(matrix[1], j), line(matrix[2], j), line(matrix[3], j)
        e, f, g, h = line(matrix[4], j), line(matrix[5], j), line(matrix[6], j), line(matrix[7], j)
        for octets in (a, b, c, d, e, f, g, h):
            ends, zeros = extended(ends, stored(octets)), zeros + zeros_in(stored(octets))
        p, q, r, s = fours(a, b, c, d)
        t, u, v, w = fours(e, f, g, h)
        place = 2 * (j - left)
        for upper, lower in ((p, t), (q, u), (r, v), (s, w)):
            of_upper = signed_as(looked_up(upper, digits, more_digits), upper)
            of_lower = signed_as(looked_up(lower, digits, more_digits), lower)
            small = products_added(looked_up(upper, smalls, more_smalls), of_upper, line(down, place))
            put(down, place, products_added(looked_up(lower, smalls, more_smalls), of_lower, small))
            place += LINE // 4
            large = products_added(looked_up(upper, larges, more_larges), of_upper, line(down, place))
            put(down, place, products_added(looked_up(lower, larges, more_larges), of_lower, large))
            place += LINE // 4
    low, high = low_and_high(reduced(ends))
    return low, high, zeros
