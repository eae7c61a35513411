"""The pass over weights of any format. Needs numba."""

from __future__ import annotations

import numpy as np
from numba import njit

from . import PANEL
from .bits import decoded
from .extremes import add_extremes, extremes
from .vectors import LANES, in_line, no_numbers, prefetch, put, some, total, widest_vectors, with_all

BLOCK = 4 * PANEL  # weights that are looked at twice: they stay in the cache


@njit(error_model="numpy")
def sums(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, found: np.ndarray, blank: np.ndarray) -> None:
    """Add to the sums of rows and of columns and to the totals; see :func:`..moments.plain_sums`.

    ``blank`` is a row of zeros.
    """
    height, width = matrix.shape
    for left in range(0, width, PANEL):
        right = min(left + PANEL, width)
        step = max(1, BLOCK // (4 * (right - left))) * 4
        top = 0
        while top < height:
            bottom = min(top + step, height)
            sums_between(left, right, matrix[top:bottom], blank, rows[top:bottom], columns, found)
            top = bottom


@njit(error_model="numpy")
def sums_between(
    left: int,
    right: int,
    matrix: np.ndarray,
    blank: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    found: np.ndarray,
) -> None:
    """Do so between two columns; a blank row stands in place of up to three after the last.

    How fast it is depends on arithmetic as much as on memory: meanwhile the rows are fetched that come next.
    """
    widest_vectors()
    height, width = matrix.shape
    whole = left + (right - left) // LANES * LANES
    none = no_numbers()
    one = other = none, none, none, none  # two of each, as each addition waits for the one before
    single = 0.0, 0.0, 0.0, 0.0
    for i in range(0, height, 4):  # four rows at a time: sums of columns are loaded and stored less often
        a = matrix[i]
        b = matrix[i + 1] if i + 1 < height else blank
        c = matrix[i + 2] if i + 2 < height else blank
        d = matrix[i + 3] if i + 3 < height else blank
        along = 0.0, 0.0, 0.0, 0.0
        if left < whole:
            of_a = of_b = of_c = of_d = none
            for j in range(left, whole, LANES):
                if not j % in_line(a):
                    prefetch(a, j + 4 * width)
                    prefetch(b, j + 4 * width)
                    prefetch(c, j + 4 * width)
                    prefetch(d, j + 4 * width)
                w, x, y, z = decoded(some(a, j)), decoded(some(b, j)), decoded(some(c, j)), decoded(some(d, j))
                of_a += w
                of_b += x
                of_c += y
                of_d += z
                put(columns, j, some(columns, j) + ((w + x) + (y + z)))
                one, other = with_all(with_all(one, w), y), with_all(with_all(other, x), z)
            along = total(of_a), total(of_b), total(of_c), total(of_d)
        for j in range(whole, right):
            w, x, y, z = decoded(a[j]), decoded(b[j]), decoded(c[j]), decoded(d[j])
            along = along[0] + w, along[1] + x, along[2] + y, along[3] + z
            columns[j] += (w + x) + (y + z)
            single = with_all(with_all(with_all(with_all(single, w), x), y), z)
        rows[i] += along[0]
        if i + 1 < height:
            rows[i + 1] += along[1]
        if i + 2 < height:
            rows[i + 2] += along[2]
        if i + 3 < height:
            rows[i + 3] += along[3]
    found[3] += total(one[0] + other[0]) + single[0]
    found[4] += total(one[1] + other[1]) + single[1]
    found[5] += total(one[2] + other[2]) + single[2]
    found[6] += total(one[3] + other[3]) + single[3]
    low, high, zeros = extremes(matrix, left, right)
    add_extremes(found, matrix, low, high, zeros)


@njit(error_model="numpy")
def sums_around(
    height: int,
    width: int,
    matrix: np.ndarray,
    blank: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    found: np.ndarray,
) -> None:
    """Do so for what is left of a matrix beyond some rows and columns, which a pass over whole vectors has done."""
    if width < matrix.shape[1]:
        sums_between(width, matrix.shape[1], matrix[:height], blank, rows[:height], columns, found)
    if height < len(matrix):
        sums(matrix[height:], rows[height:], columns, found, blank)
