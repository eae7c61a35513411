"""The pass over float8 weights, for processors that look up and multiply bytes. Needs numba.

Such a weight is a whole number of units, and that is a product of two bytes: a digit with a sign, and a scale, which is
a power of two; where weights are large, it is taken over a factor. So sums of rows, of columns and of absolute values
are sums of such products, exact in integers. Higher powers need float64, but of such a weight in float64 only two bytes
are not zero. All these bytes are looked up. Powers of every fourth weight follow from how often each was met, which is
counted meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import from_dtype, njit, types

from ..formats import Format
from . import COUNTS, PANEL, ROWS
from .bits import stored, zeros_in
from .counts import OCTETS, count_fourths
from .extremes import add_extremes, extended, low_and_high, reduced
from .octets import (
    PART,
    at_least,
    fours,
    looked_up,
    looked_up_in_half,
    no_counts,
    numbers,
    products_added,
    signed_as,
    where_second,
    with_sign_bit,
)
from .sums import sums, sums_around, sums_between
from .vectors import LINE, constant, intrinsic, line, no_numbers, prefetch, put, total, widest_vectors, with_powers

COUNTED = COUNTS[1]
BROAD = 256  # columns from which on this is faster than the general pass
OFTEN = 1 << 17  # rows after which sums of columns are taken out of 32 bits: eight weights add 114 688 at most
SIGNIFICANT = {"float8_e4m3fn": 4, "float8_e5m2": 3}  # binary digits of a weight
FIRST = {types.uint8: 0, types.int8: 12}  # place of the weight 0 in tables, by how a format is stored: see _tables
DIGIT, SCALE, UPPER, LOWER = range(4)  # rows of the tables


def sums_of(format: Format) -> Callable[..., None]:
    """Make the pass over weights of a format.

    It takes what :func:`.sums.sums` does; zeros in ``integers`` (COUNTED + 2 * width,), which it leaves there;
    and ``beyond`` (ROWS, PANEL), to write to.
    """
    tables, magnitudes, limit, unit, factor = _tables(format)

    @njit(error_model="numpy")
    def float8_sums(
        matrix: np.ndarray,
        rows: np.ndarray,
        columns: np.ndarray,
        found: np.ndarray,
        blank: np.ndarray,
        integers: np.ndarray,
        beyond: np.ndarray,
    ) -> None:
        if matrix.shape[1] < BROAD:
            sums(matrix, rows, columns, found, blank)
            return
        counts, down = integers[:COUNTED], integers[COUNTED:]
        height, width = len(matrix) // ROWS * ROWS, matrix.shape[1] // LINE * LINE
        for top in range(0, height, OFTEN):
            few = slice(top, min(top + OFTEN, height))
            _sums(matrix[few], rows[few], columns, found, counts, down, beyond, tables, limit, unit, factor)
            _add_columns(down, columns, width, unit, factor)
        _add_counted(found, counts, magnitudes)
        sums_around(height, width, matrix, blank, rows, columns, found)

    return float8_sums


@njit(error_model="numpy")
def _add_columns(down: np.ndarray, columns: np.ndarray, width: int, unit: float, factor: float) -> None:
    """Take sums of columns out of the order in which :func:`.octets.fours` leaves them, and out of their integers."""
    for left in range(0, width, LINE):
        for place in range(4):
            for part in range(4):
                for item in range(4):
                    at = 2 * left + LINE // 2 * place + 4 * part + item
                    whole = down[at] + (factor - 1) * down[at + LINE // 4]
                    columns[left + PART * part + 4 * place + item] += whole * unit
                    down[at] = down[at + LINE // 4] = 0


@njit(error_model="numpy")
def _add_counted(found: np.ndarray, counts: np.ndarray, magnitudes: np.ndarray) -> None:
    """Add the powers of the weights that were counted, and leave zeros of the counts."""
    for bits, number in enumerate(magnitudes):
        positive = negative = 0
        for table in range(0, COUNTED, OCTETS):
            positive += counts[table + bits]
            negative += counts[table + bits + OCTETS // 2]
        square = number * number
        found[4] += (positive + negative) * square
        found[5] += (positive - negative) * square * number
        found[6] += (positive + negative) * square * square
    counts[:] = 0


def _tables(format: Format) -> tuple[np.ndarray, np.ndarray, int, float, float]:
    """List bytes by the places of weights without a sign.

    Places are the bits of weights, moved so that both halves hold as many weights as digits and scales allow.

    Returns
    -------
    tables : uint8 array (4, 128)
        Digits of seven bits; scales, the same in both halves, but over a factor in the second; the upper and the lower
        of the two bytes of a float64.
    magnitudes : float64 array (128,)
        Weights without a sign by their bits, not by places.
    limit : int
        The first weight for which there are none: it is too large, or NaN.
    unit, factor : float
    """
    significant, first = SIGNIFICANT[format.name], FIRST[from_dtype(np.dtype(format.bits))]
    room = 7 - significant  # for exponents, in digits
    with np.errstate(invalid="ignore"):  # NaN
        weights = format.decode(np.arange(128, dtype=np.uint8).view(format.bits)).astype(np.float64)
    weights, unit = weights[np.isfinite(weights)][: 128 - first], float(weights[1])  # they are in order
    places = first + np.arange(len(weights))
    exponents = np.zeros((2, 64), np.int64)
    exponents.reshape(-1)[places] = np.maximum(np.frexp(weights / unit)[1] - significant, 0)
    base = exponents[1, 0]
    exponents[1] = np.maximum(exponents[1] - base, 0)
    scales = np.clip(exponents.max(0) - room, 0, 7)
    beyond = (exponents > scales + room).reshape(-1)[places]
    limit = int(min([len(weights), *np.flatnonzero(beyond)]))
    places, weights = places[:limit], weights[:limit]
    tables = np.zeros((4, 128), np.uint8)
    tables[SCALE] = np.tile(2**scales, 2)
    tables[DIGIT, places] = weights / unit / 2.0 ** (np.tile(scales, 2)[places] + base * (places >= 64))
    tables[LOWER, places], tables[UPPER, places] = weights.view(np.uint8).reshape(-1, 8)[:, 6:].T
    magnitudes = np.zeros(128)
    magnitudes[:limit] = weights
    return tables, magnitudes, limit, unit, 2.0**base


@intrinsic
def _places(context: Any, octets: Any) -> Any:
    """Give the places of weights in tables."""
    first = FIRST[octets.element]
    return octets(octets), lambda context, build, signature, args: build.add(args[0], constant(args[0].type, first))


@njit(error_model="numpy")
def _sums(
    matrix: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    found: np.ndarray,
    counts: np.ndarray,
    down: np.ndarray,
    beyond: np.ndarray,
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
            absolute, second, third, fourth = _along(few, left, right, along, counts, tables, unit, factor)
            low, high, zeros = _down(few, left, right, down[2 * left : 2 * right], tables)
            found[3] += absolute
            found[4] += second
            found[5] += third
            found[6] += fourth
            add_extremes(found, matrix, low, high, zeros)
            if max(low & 0x7F, high & 0x7F) >= limit:
                _copy_beyond(few, left, right, limit, beyond)
                before = found[0], found[1], found[2]
                zero = left - left  # a literal, and numba would compile this once more
                sums_between(zero, right - left, beyond, beyond[0], along, columns[left:right], found)
                found[0], found[1], found[2] = before


@njit(error_model="numpy")
def _copy_beyond(matrix: np.ndarray, left: int, right: int, limit: int, beyond: np.ndarray) -> None:
    """Copy the weights at or beyond the limit, and zeros for the others."""
    for i in range(len(matrix)):
        for j in range(0, right - left, LINE):
            put(beyond[i], j, at_least(line(matrix[i], left + j), limit))


@njit(error_model="numpy")
def _along(
    matrix: np.ndarray,
    left: int,
    right: int,
    rows: np.ndarray,
    counts: np.ndarray,
    tables: np.ndarray,
    unit: float,
    factor: float,
) -> tuple[float, float, float, float]:
    """Add to the sums of rows, and sum up absolute values and higher powers. Meanwhile rows after these are fetched."""
    widest_vectors()
    digits, more_digits = line(tables[DIGIT], 0), line(tables[DIGIT], LINE)
    scales = line(tables[SCALE], 0)
    uppers, more_uppers = line(tables[UPPER], 0), line(tables[UPPER], LINE)
    lowers, more_lowers = line(tables[LOWER], 0), line(tables[LOWER], LINE)
    absolute = absolute_large = no_counts()
    one = other = another = no_numbers(), no_numbers(), no_numbers()
    for i in range(ROWS):
        along = along_large = no_counts()
        for j in range(left, right, LINE):
            prefetch(matrix[i], j + ROWS * matrix.shape[1])
            octets = line(matrix[i], j)
            places = _places(octets)
            digit, scale = looked_up(places, digits, more_digits), looked_up_in_half(places, scales)
            large = where_second(scale, places)
            absolute = products_added(scale, digit, absolute)
            absolute_large = products_added(large, digit, absolute_large)
            digit = signed_as(digit, octets)
            along = products_added(scale, digit, along)
            along_large = products_added(large, digit, along_large)
            upper = with_sign_bit(looked_up(places, uppers, more_uppers), octets)
            p, q, r, s, t, u = numbers(upper, looked_up(places, lowers, more_lowers))
            one = with_powers(one, p)
            count_fourths(counts, matrix[i], j, 0)
            other = with_powers(other, q)
            count_fourths(counts, matrix[i], j, 1)
            another, one = with_powers(another, r), with_powers(one, s)
            count_fourths(counts, matrix[i], j, 2)
            other = with_powers(other, t)
            count_fourths(counts, matrix[i], j, 3)
            another = with_powers(another, u)
        rows[i] += (total(along) + (factor - 1) * total(along_large)) * unit
    return (
        (total(absolute) + (factor - 1) * total(absolute_large)) * unit,
        total(one[0] + other[0] + another[0]),
        total(one[1] + other[1] + another[1]),
        total(one[2] + other[2] + another[2]),
    )


@njit(error_model="numpy")
def _down(matrix: np.ndarray, left: int, right: int, down: np.ndarray, tables: np.ndarray) -> tuple[int, int, int]:
    """Add to the sums of columns; find what is stored as the smallest and as the largest number, and count zeros."""
    widest_vectors()
    digits, more_digits = line(tables[DIGIT], 0), line(tables[DIGIT], LINE)
    scales = line(tables[SCALE], 0)
    first = stored(line(matrix[0], left))
    ends, zeros = (first, first), 0
    for j in range(left, right, LINE):
        a, b, c, d = line(matrix[0], j), line(matrix[1], j), line(matrix[2], j), line(matrix[3], j)
        e, f, g, h = line(matrix[4], j), line(matrix[5], j), line(matrix[6], j), line(matrix[7], j)
        for octets in (a, b, c, d, e, f, g, h):
            ends, zeros = extended(ends, stored(octets)), zeros + zeros_in(stored(octets))
        p, q, r, s = fours(a, b, c, d)
        t, u, v, w = fours(e, f, g, h)
        place = 2 * (j - left)
        for upper, lower in ((p, t), (q, u), (r, v), (s, w)):
            first, second = _places(upper), _places(lower)
            of_upper = signed_as(looked_up(first, digits, more_digits), upper)
            of_lower = signed_as(looked_up(second, digits, more_digits), lower)
            to_upper, to_lower = looked_up_in_half(first, scales), looked_up_in_half(second, scales)
            put(down, place, products_added(to_lower, of_lower, products_added(to_upper, of_upper, line(down, place))))
            place += LINE // 4
            to_upper, to_lower = where_second(to_upper, first), where_second(to_lower, second)
            put(down, place, products_added(to_lower, of_lower, products_added(to_upper, of_upper, line(down, place))))
            place += LINE // 4
    low, high = low_and_high(reduced(ends), matrix, left, right)
    return low, high, zeros
