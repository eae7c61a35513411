"""The pass over weights of two bytes. Needs numba.

What takes long is arithmetic. Sums of rows and of columns need every weight, but those of absolute values and of powers
no more than how often each number occurs: so one row of four is counted, which takes no arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from . import PANEL
from .bits import apart, decoded_apart, in_order, stored, zeros_in
from .counts import add_counted, count
from .extremes import add_extremes, extended, low_and_high, reduced
from .sums import sums, sums_around
from .vectors import LANES, in_line, no_numbers, prefetch, put, some, total, twice, widest_vectors, with_all

ROWS = 4  # taken at a time
STEP = 2 * LANES  # columns taken at a time
BROAD = 96  # columns from which on this is faster than the general pass
MANY = 1 << 17  # weights from which on it is: to look through what was counted takes some time


@njit(error_model="numpy")
def float16_sums(
    matrix: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    found: np.ndarray,
    blank: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Add what :func:`.sums.sums` does; ``counts`` (PATTERNS,) are zeros, and are left so."""
    if matrix.shape[1] < BROAD or matrix.size < MANY:
        sums(matrix, rows, columns, found, blank)
        return
    height, width = len(matrix) // ROWS * ROWS, matrix.shape[1] // STEP * STEP
    for left in range(0, width, PANEL):
        right = min(left + PANEL, width)
        for j in range(left, right, STEP):
            _put_both(columns, j, apart(twice(matrix[0], j), *_both(columns, j)))
        for top in range(0, height, ROWS):
            four = slice(top, top + ROWS)
            _add_rows(left, right, matrix[four], rows[four], columns, found, counts)
        for j in range(left, right, STEP):
            _put_both(columns, j, in_order(twice(matrix[0], j), *_both(columns, j)))
    add_counted(found, counts, matrix)
    sums_around(height, width, matrix, blank, rows, columns, found)


@njit(error_model="numpy")
def _both(columns: np.ndarray, j: int) -> tuple[Any, Any]:
    return some(columns, j), some(columns, j + LANES)


@njit(error_model="numpy")
def _put_both(columns: np.ndarray, j: int, sums: tuple[Any, Any]) -> None:
    put(columns, j, sums[0])
    put(columns, j + LANES, sums[1])


@njit(error_model="numpy")
def _add_rows(
    left: int,
    right: int,
    matrix: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    found: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Pass over four rows; columns are in the order of :func:`.bits.apart`. Meanwhile later rows are fetched."""
    widest_vectors()
    none = no_numbers()
    one = other = none, none, none, none
    a, b, c, d = matrix[0], matrix[1], matrix[2], matrix[3]
    of_a = of_b = of_c = of_d = none
    first = stored(twice(b, left))
    ends, zeros = (first, first), 0
    for j in range(left, right, STEP):
        if not j % in_line(a):
            for row in range(ROWS):
                prefetch(matrix[row], j + ROWS * matrix.shape[1])
        down = _both(columns, j)
        w, x = decoded_apart(twice(a, j))
        of_a, down = of_a + w + x, (down[0] + w, down[1] + x)
        count(counts, a, j)
        of_b, down, one, other, ends, zeros = _with_row(twice(b, j), of_b, down, one, other, ends, zeros)
        of_c, down, one, other, ends, zeros = _with_row(twice(c, j), of_c, down, one, other, ends, zeros)
        of_d, down, one, other, ends, zeros = _with_row(twice(d, j), of_d, down, one, other, ends, zeros)
        _put_both(columns, j, down)
    for row, along in enumerate((of_a, of_b, of_c, of_d)):
        rows[row] += total(along)
    found[3] += total(one[0] + other[0])
    found[4] += total(one[1] + other[1])
    found[5] += total(one[2] + other[2])
    found[6] += total(one[3] + other[3])
    low, high = low_and_high(reduced(ends), matrix[1:], left, right)
    add_extremes(found, matrix, low, high, zeros)


@njit(error_model="numpy")
def _with_row(bits: Any, along: Any, down: Any, one: Any, other: Any, ends: Any, zeros: int) -> Any:
    """Add some weights of a row to sums of each kind, and look at their bits."""
    w, x = decoded_apart(bits)
    integers = stored(bits)
    return (
        along + w + x,
        (down[0] + w, down[1] + x),
        with_all(one, w),
        with_all(other, x),
        extended(ends, integers),
        zeros + zeros_in(integers),
    )
