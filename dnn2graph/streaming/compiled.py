"""The pass over a matrix of weights as a compiled loop, which takes each weight from memory once. Needs numba.

It computes what :func:`.moments.plain_sums` does, whose lines say it more plainly.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .intrinsics import FAST, decoded, is_zero, larger, negative, smaller, widest_vectors, with_powers, zero_like

PANEL = 1 << 13  # columns summed in one go: their sums stay in the cache, and counts of zeros are exact in float32


@njit(fastmath=FAST, nogil=True, cache=True)
def compiled_sums(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, found: np.ndarray) -> None:
    """Add to the sums of rows and of columns and to the totals; see :func:`.moments.plain_sums`.

    How fast it is depends on arithmetic more than on memory: eleven operations for each weight, most in float64.
    Therefore sums of absolute values come from those of negative weights, which a processor with masks adds at once,
    and sums of squares from fused products, which use other units than the additions do.
    """
    widest_vectors()
    height, width = matrix.shape
    low = high = decoded(matrix[0, 0])
    zeros = total = below = second = third = fourth = 0.0
    blank = np.zeros(width, matrix.dtype)  # in place of up to three rows after the last: an extreme of 0 may be its
    for left in range(0, width, PANEL):
        right = min(left + PANEL, width)
        down = columns[left:right]
        for i in range(0, height, 4):  # four rows a sweep: sums of columns are loaded and stored a quarter as often
            a = matrix[i, left:right]
            b = (matrix[i + 1] if i + 1 < height else blank)[left:right]
            c = (matrix[i + 2] if i + 2 < height else blank)[left:right]
            d = (matrix[i + 3] if i + 3 < height else blank)[left:right]
            sum_a = sum_b = sum_c = sum_d = 0.0
            none = zero_like(low)
            for j in range(right - left):
                p, q, r, s = decoded(a[j]), decoded(b[j]), decoded(c[j]), decoded(d[j])
                low = smaller(smaller(smaller(p, q), smaller(r, s)), low)
                high = larger(larger(larger(p, q), larger(r, s)), high)
                none += (is_zero(p) + is_zero(q)) + (is_zero(r) + is_zero(s))
                w, x, y, z = np.float64(p), np.float64(q), np.float64(r), np.float64(s)
                sum_a += w
                sum_b += x
                sum_c += y
                sum_d += z
                down[j] += (w + x) + (y + z)
                below += negative(p, w)
                below += negative(q, x)
                below += negative(r, y)
                below += negative(s, z)
                second, third, fourth = with_powers(w, second, third, fourth)
                second, third, fourth = with_powers(x, second, third, fourth)
                second, third, fourth = with_powers(y, second, third, fourth)
                second, third, fourth = with_powers(z, second, third, fourth)
            sums = sum_a, sum_b, sum_c, sum_d
            for k in range(i, min(i + 4, height)):
                rows[k] += sums[k - i]
                total += sums[k - i]
            zeros += none
    zeros -= -height % 4 * width
    found[0], found[1] = min(found[0], low), max(found[1], high)
    found[2] += zeros
    found[3] += total - 2 * below
    found[4] += second
    found[5] += third
    found[6] += fourth
