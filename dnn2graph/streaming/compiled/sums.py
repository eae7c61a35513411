"""The pass over weights of any format. Needs numba."""

from __future__ import annotations

import numpy as np
from numba import njit

from .bits import decoded
from .extremes import extremes, note
from .vectors import LANES, LINE, negative, no_numbers, prefetch, product_added, put, some, total, widest_vectors

PANEL = 1 << 12  # columns summed in one go: their sums stay in the cache


@njit(nogil=True, cache=True)
def sums(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, found: np.ndarray) -> None:
    """Add to the sums of rows and of columns and to the totals; see :func:`..moments.plain_sums`."""
    height, width = matrix.shape
    blank = np.zeros(width, matrix.dtype)  # in place of up to three rows after the last
    for left in range(0, width, PANEL):
        right = min(left + PANEL, width)
        for top in range(0, height, 4):  # four rows a sweep: sums of columns are loaded and stored a quarter as often
            bottom = min(top + 4, height)
            along, totals = sweep(
                matrix[top, left:right],
                (matrix[top + 1] if top + 1 < height else blank)[left:right],
                (matrix[top + 2] if top + 2 < height else blank)[left:right],
                (matrix[top + 3] if top + 3 < height else blank)[left:right],
                columns[left:right],
                4 * width,
            )
            for k in range(top, bottom):
                rows[k] += along[k - top]
            for k in range(4):
                found[3 + k] += totals[k]
            low, high, zeros = extremes(matrix[top:bottom], left, right)
            note(found, matrix, low, high, zeros)


@njit(nogil=True)
def sweep(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, down: np.ndarray, ahead: int
) -> tuple[tuple[float, float, float, float], tuple[float, float, float, float]]:
    """Sum up each of four rows, and all their absolute values and higher powers; add to the sums of columns.

    How fast it is depends on arithmetic as much as on memory. So meanwhile the weights are fetched that lie so far
    ahead; sums of absolute values come from those of negative weights, which a processor with masks adds at once; and
    sums of squares from fused products, which use other units than the additions do.
    """
    widest_vectors()
    of_a = of_b = of_c = of_d = no_numbers()
    one = other = no_numbers(), no_numbers(), no_numbers(), no_numbers()
    whole = len(a) // LANES * LANES
    for j in range(0, whole, LANES):
        if not j % (LINE // a.itemsize):
            prefetch(a, j + ahead)
            prefetch(b, j + ahead)
            prefetch(c, j + ahead)
            prefetch(d, j + ahead)
        w, x, y, z = decoded(some(a, j)), decoded(some(b, j)), decoded(some(c, j)), decoded(some(d, j))
        of_a += w
        of_b += x
        of_c += y
        of_d += z
        put(down, j, some(down, j) + ((w + x) + (y + z)))
        one, other = _with(_with(one, w), y), _with(_with(other, x), z)
    along = total(of_a), total(of_b), total(of_c), total(of_d)
    powers = total(one[0] + other[0]), total(one[1] + other[1]), total(one[2] + other[2]), total(one[3] + other[3])
    for j in range(whole, len(a)):
        w, x, y, z = decoded(a[j]), decoded(b[j]), decoded(c[j]), decoded(d[j])
        along = along[0] + w, along[1] + x, along[2] + y, along[3] + z
        down[j] += (w + x) + (y + z)
        powers = _with(_with(_with(_with(powers, w), x), y), z)
    below, second, third, fourth = powers
    return along, ((along[0] + along[1]) + (along[2] + along[3]) - 2 * below, second, third, fourth)


@njit(nogil=True)
def _with(powers, values):  # type: ignore[no-untyped-def]  # a number or a vector, four of the same
    """Add values where they are negative, and their powers."""
    below, second, third, fourth = powers
    square = values * values
    return (
        below + negative(values),
        product_added(values, values, second),
        product_added(square, values, third),
        product_added(square, square, fourth),
    )
