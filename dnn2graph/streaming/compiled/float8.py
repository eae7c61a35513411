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
from .extremes import across, further, in_order, note
from .octets import SIZE, fours, looked_up, no_counts, numbers, products_added, signed_as, with_sign_bit
from .sums import PANEL, sums, sums_between
from .vectors import line, no_numbers, prefetch, product_added, put, total, widest_vectors

BROAD = 256  # columns from which on this is faster than the general pass
OFTEN = 1 << 17  # rows after which sums of columns are taken out of 32 bits: four weights add 14 336 at most
SIGNIFICANT = {"float8_e4m3fn": 4, "float8_e5m2": 3}  # binary digits of a weight
DIGIT, SMALL, LARGE, UPPER, LOWER = range(5)  # rows of the tables


def float8_sums(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, found: np.ndarray) -> None:
    """Add to the sums of rows and of columns and to the totals; see :func:`..moments.plain_sums`."""
    if matrix.shape[1] < BROAD:
        sums(matrix, rows, columns, found)
        return
    height, width = len(matrix) // 4 * 4, matrix.shape[1] // SIZE * SIZE
    tables, limit, unit, factor = _tables(matrix.dtype.str)
    for top in range(0, height, OFTEN):
        few = slice(top, min(top + OFTEN, height))
        down = np.zeros((width // SIZE, 4, 2, 4, 4), np.int32)
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
    """Pass over rows, four at a time, but not over columns beyond the last whole vector of bytes.

    Sums of columns go to ``down`` (2 for each); where there is a weight at or beyond the limit, to ``columns``.
    """
    height, width = matrix.shape
    width = width // SIZE * SIZE
    for left in range(0, width, PANEL):
        right = min(left + PANEL, width)
        for top in range(0, height, 4):
            a, b = matrix[top, left:right], matrix[top + 1, left:right]
            c, d = matrix[top + 2, left:right], matrix[top + 3, left:right]
            along, totals, (low, high, zeros) = _along(a, b, c, d, tables, unit, factor, 4 * matrix.shape[1])
            if max(low & 0x7F, high & 0x7F) >= limit:
                sums_between(left, right, matrix[top : top + 4], a, rows[top : top + 4], columns, found)
                continue
            note(found, matrix, low, high, zeros)
            _down(a, b, c, d, tables, down[2 * left : 2 * right])
            for k in range(4):
                rows[top + k] += along[k]
                found[3 + k] += totals[k]


@njit(nogil=True)
def _along(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    d: np.ndarray,
    tables: np.ndarray,
    unit: float,
    factor: float,
    ahead: int,
) -> tuple[tuple[float, float, float, float], tuple[float, float, float, float], tuple[int, int, int]]:
    """Sum up each of four rows, and all their absolute values and higher powers; find extremes and count zeros.

    Meanwhile the weights are fetched that lie so far ahead.
    """
    widest_vectors()
    digits, more_digits = line(tables[DIGIT], 0), line(tables[DIGIT], SIZE)
    smalls, more_smalls = line(tables[SMALL], 0), line(tables[SMALL], SIZE)
    larges, more_larges = line(tables[LARGE], 0), line(tables[LARGE], SIZE)
    uppers, more_uppers = line(tables[UPPER], 0), line(tables[UPPER], SIZE)
    lowers, more_lowers = line(tables[LOWER], 0), line(tables[LOWER], SIZE)
    along = 0.0, 0.0, 0.0, 0.0
    absolute_small = absolute_large = no_counts()
    one = other = another = no_numbers(), no_numbers(), no_numbers()
    first = stored(line(a, 0))
    ends, zeros = (first, first, first), 0
    for row in (a, b, c, d):
        small_sum = large_sum = no_counts()
        for j in range(0, len(row), SIZE):
            prefetch(row, j + ahead)
            octets = line(row, j)
            ends, zeros = further(ends, stored(octets)), zeros + zeros_in(stored(octets))
            digit = looked_up(octets, digits, more_digits)
            small, large = looked_up(octets, smalls, more_smalls), looked_up(octets, larges, more_larges)
            absolute_small = products_added(small, digit, absolute_small)
            absolute_large = products_added(large, digit, absolute_large)
            digit = signed_as(digit, octets)
            small_sum = products_added(small, digit, small_sum)
            large_sum = products_added(large, digit, large_sum)
            upper = with_sign_bit(looked_up(octets, uppers, more_uppers), octets)
            p, q, r, s, t, u, v, w = numbers(upper, looked_up(octets, lowers, more_lowers))
            one, other, another = _with(one, p), _with(other, q), _with(another, r)
            one, other, another = _with(one, s), _with(other, t), _with(another, u)
            one, other = _with(one, v), _with(other, w)
        along = along[1], along[2], along[3], (total(small_sum) + factor * total(large_sum)) * unit
    absolute = (total(absolute_small) + factor * total(absolute_large)) * unit
    second, third = total(one[0] + other[0] + another[0]), total(one[1] + other[1] + another[1])
    low, high = in_order(across(ends))
    return along, (absolute, second, third, total(one[2] + other[2] + another[2])), (low, high, zeros)


@njit(nogil=True)
def _with(powers, values):  # type: ignore[no-untyped-def]  # vectors: three powers, and values
    """Add the second to fourth powers of values."""
    second, third, fourth = powers
    square = values * values
    return second + square, product_added(square, values, third), product_added(square, square, fourth)


@njit(nogil=True)
def _down(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, tables: np.ndarray, down: np.ndarray) -> None:
    """Add four rows to the sums of columns."""
    widest_vectors()
    digits, more_digits = line(tables[DIGIT], 0), line(tables[DIGIT], SIZE)
    smalls, more_smalls = line(tables[SMALL], 0), line(tables[SMALL], SIZE)
    larges, more_larges = line(tables[LARGE], 0), line(tables[LARGE], SIZE)
    for j in range(0, len(a), SIZE):
        place = 2 * j
        for octets in fours(line(a, j), line(b, j), line(c, j), line(d, j)):
            digit = signed_as(looked_up(octets, digits, more_digits), octets)
            for scale in (looked_up(octets, smalls, more_smalls), looked_up(octets, larges, more_larges)):
                put(down, place, products_added(scale, digit, line(down, place)))
                place += SIZE // 4
