"""The smallest and the largest number, and how many are zero, from the bits that are stored. Needs numba.

Of bits a processor compares more at a time than of numbers in float64. They are in order but for the sign: the largest
integer is the largest number, if any is positive, and without a sign the most negative one, if any is negative. Else it
is the smallest integer, which is the number next to zero on the only side where there are any.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .bits import as_in, decoded, larger_signed, larger_unsigned, smaller_signed, stored, zeros_in
from .vectors import in_line, in_one_row, largest_signed, largest_unsigned, line, smallest_signed, widest_vectors


@njit(error_model="numpy")
def extremes(matrix: np.ndarray, left: int, right: int) -> tuple[int, int, int]:
    """Find what is stored between two columns as the smallest and as the largest number, and count zeros."""
    widest_vectors()
    if right - left == matrix.shape[1]:  # one long row has few weights beyond its last whole line
        matrix = in_one_row(matrix)
        left, right = 0, matrix.shape[1]
    step = in_line(matrix)
    whole = left + (right - left) // step * step
    one = stored(matrix[0, left])
    ends, zeros = (one, one, one), 0
    if left < whole:
        first = stored(line(matrix[0], left))
        of_lines = first, first, first
        for i in range(len(matrix)):
            for j in range(left, whole, step):
                integers = stored(line(matrix[i], j))
                of_lines, zeros = extended(of_lines, integers), zeros + zeros_in(integers)
        ends = reduced(of_lines)
    for i in range(len(matrix)):
        for j in range(whole, right):
            integer = stored(matrix[i, j])
            ends, zeros = extended(ends, integer), zeros + zeros_in(integer)
    low, high = low_and_high(ends)
    return low, high, zeros


@njit(error_model="numpy")
def extended(ends: tuple[Any, Any, Any], integers: Any) -> tuple[Any, Any, Any]:
    """Let the largest integer, the largest without a sign, and the smallest reach as far as others: one or a vector."""
    most, least, nearest = ends
    return larger_signed(most, integers), larger_unsigned(least, integers), smaller_signed(nearest, integers)


@njit(error_model="numpy")
def reduced(ends: tuple[Any, Any, Any]) -> tuple[int, int, int]:
    """Give the three integers for three vectors of them."""
    most, least, nearest = ends
    return largest_signed(most), largest_unsigned(least), smallest_signed(nearest)


@njit(error_model="numpy")
def low_and_high(ends: tuple[int, int, int]) -> tuple[int, int]:
    """Tell what is stored as the smallest and as the largest number."""
    most, least, nearest = ends
    return least if least < 0 else nearest, most if most >= 0 else nearest


@njit(error_model="numpy")
def add_extremes(found: np.ndarray, matrix: np.ndarray, low: int, high: int, zeros: int) -> None:
    """Bring the extremes and zeros of some weights of a matrix into the totals."""
    found[0] = min(found[0], decoded(as_in(matrix, low)))
    found[1] = max(found[1], decoded(as_in(matrix, high)))
    found[2] += zeros
