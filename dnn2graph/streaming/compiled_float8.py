"""The pass over a matrix of float8 weights as compiled loops, faster than the general one. Needs numba.

A float8 has so few digits that sums of many are exact in float32, of which a processor adds twice as many at a time as
of float64; powers need float64. Extremes and zeros are found in the bits, of which it compares eight times as many.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .compiled import compiled_sums
from .intrinsics import (
    FAST,
    decoded,
    decoded_in_units,
    larger_signed,
    larger_unsigned,
    prefetch,
    widest_vectors,
    with_powers,
    with_zero,
)

ROWS = 32  # whose sums by column are exact: e4m3 other than NaN have 18 binary digits in all, e5m2 below 8 have 19
CHUNK = 1 << 10  # columns of four rows: as numbers they stay in the nearest cache
LINE = CHUNK + 160  # numbers from one decoded row to the next: some of a page apart, one would wait for the other
CACHE_LINE = 64  # bytes


def float8_sums(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, found: np.ndarray) -> None:
    """Add to the sums of rows and of columns and to the totals; see :func:`.moments.plain_sums`."""
    limit, unit = (0x7F, 256.0) if matrix.dtype == np.uint8 else (0x48, 1.0)  # the bits of NaN, and of 8 in e5m2
    room = np.zeros(6 * LINE + CACHE_LINE, np.float32)
    begin = -room.ctypes.data % CACHE_LINE // room.itemsize  # vectors that lie in two cache lines take longer
    fours = len(matrix) // 4 * 4
    _sums(matrix[:fours], rows[:fours], columns, found, limit, unit, room[begin : begin + 6 * LINE].reshape(6, LINE))
    if fours < len(matrix):
        compiled_sums(matrix[fours:], rows[fours:], columns, found)


@njit(fastmath=FAST, nogil=True, cache=True)
def _sums(
    matrix: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    found: np.ndarray,
    limit: int,
    unit: float,
    room: np.ndarray,
) -> None:
    """Pass over rows, four at a time; those with a number at or beyond the limit are left to the general loop.

    Parameters
    ----------
    limit : int
        Bits of a positive number.
    unit : float
        As :func:`.intrinsics.decoded_in_units` has it.
    room : float32 array (6, LINE)
        Zeros: four decoded rows, and sums by column, also of absolute values.
    """
    widest_vectors()
    height, width = matrix.shape
    zeros = np.zeros(width, np.uint8)
    second = third = fourth = 0.0
    for top in range(0, height, ROWS):
        bottom = min(top + ROWS, height)
        most, least = _extremes(matrix[top:bottom], zeros)
        if max(most & 0x7F, least & 0x7F) >= limit:
            zeros[:] = 0
            compiled_sums(matrix[top:bottom], rows[top:bottom], columns, found)
            continue
        if not most & 0x80:
            found[1] = max(found[1], decoded(most))
        if least & 0x80:
            found[0] = min(found[0], decoded(least))
        for left in range(0, width, CHUNK):
            right = min(left + CHUNK, width)
            for i in range(top, bottom, 4):
                sums, powers = _sweep(matrix, i, left, right, room)
                for k in range(4):
                    rows[i + k] += sums[k] * unit
                second += powers[0]
                third += powers[1]
                fourth += powers[2]
            none, total = _widen(columns[left:right], zeros[left:right], room, unit)
            found[2] += none
            found[3] += total * unit
    found[4] += second * unit**2
    found[5] += third * unit**3
    found[6] += fourth * unit**4


@njit(nogil=True)
def _extremes(matrix: np.ndarray, zeros: np.ndarray) -> tuple[int, int]:
    """Find the bits of the largest positive number and of the most negative one, and count each column's zeros.

    Where all numbers have one sign, the bits for the other are those of some number too.
    """
    widest_vectors()
    most = least = matrix[0, 0]
    for i in range(len(matrix)):
        row = matrix[i]
        for j in range(len(row)):
            most = larger_signed(most, row[j])
            least = larger_unsigned(least, row[j])
            zeros[j] = with_zero(zeros[j], row[j])
    return most, least


@njit(fastmath=FAST, nogil=True)
def _sweep(
    matrix: np.ndarray, i: int, left: int, right: int, room: np.ndarray
) -> tuple[tuple[float, float, float, float], tuple[float, float, float]]:
    """Sum up each of four rows between two columns, and all their powers; add to the sums by column in the room.

    Meanwhile the rows that come next are fetched, in two portions: a processor fetches few lines at a time.
    """
    widest_vectors()
    a, b, c, d = matrix[i, left:right], matrix[i + 1, left:right], matrix[i + 2, left:right], matrix[i + 3, left:right]
    line_a, line_b, line_c, line_d, down, absolute = room[0], room[1], room[2], room[3], room[4], room[5]
    ahead = ROWS * matrix.shape[1]
    for j in range(0, len(a), CACHE_LINE):
        prefetch(a, j + ahead)
        prefetch(b, j + ahead)
    for j in range(len(a)):
        p, q, r, s = decoded_in_units(a[j]), decoded_in_units(b[j]), decoded_in_units(c[j]), decoded_in_units(d[j])
        line_a[j], line_b[j], line_c[j], line_d[j] = p, q, r, s
        down[j] += (p + q) + (r + s)
        absolute[j] += (abs(p) + abs(q)) + (abs(r) + abs(s))
    for j in range(0, len(a), CACHE_LINE):
        prefetch(c, j + ahead)
        prefetch(d, j + ahead)
    sum_a = sum_b = sum_c = sum_d = 0.0
    second = third = fourth = 0.0
    for j in range(len(a)):
        w, x, y, z = np.float64(line_a[j]), np.float64(line_b[j]), np.float64(line_c[j]), np.float64(line_d[j])
        sum_a += w
        sum_b += x
        sum_c += y
        sum_d += z
        second, third, fourth = with_powers(w, second, third, fourth)
        second, third, fourth = with_powers(x, second, third, fourth)
        second, third, fourth = with_powers(y, second, third, fourth)
        second, third, fourth = with_powers(z, second, third, fourth)
    return (sum_a, sum_b, sum_c, sum_d), (second, third, fourth)


@njit(fastmath=FAST, nogil=True)
def _widen(columns: np.ndarray, zeros: np.ndarray, room: np.ndarray, unit: float) -> tuple[int, float]:
    """Add sums by column to those in float64, sum up zeros and absolute values, and begin all three anew."""
    widest_vectors()
    down, absolute = room[4], room[5]
    none, total = 0, 0.0
    for j in range(len(columns)):
        none += zeros[j]
        total += np.float64(absolute[j])
        columns[j] += np.float64(down[j]) * unit
        down[j], absolute[j], zeros[j] = 0, 0, 0
    return none, total
