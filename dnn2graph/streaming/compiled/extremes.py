"""The smallest and the largest number, and how many are zero, from the bits that are stored. Needs numba.

Of bits a processor compares more at a time than of numbers in float64. They are in order but for the sign: the largest
integer is the largest number, if any is positive, and without a sign the most negative one, if any is negative. Else it
is the smallest integer, which is the number next to zero on the only side where there are any; few ask for that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .bits import as_in, decoded, larger_signed, larger_unsigned, smaller_signed, stored, zeros_in
from .vectors import in_line, in_one_row, largest_signed, largest_unsigned, line, widest_vectors


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
    ends, zeros = (one, one), 0
    if left < whole:
        first = stored(line(matrix[0], left))
        of_lines = first, first
        for i in range(len(matrix)):
            for j in range(left, whole, step):
                integers = stored(line(matrix[i], j))
                of_lines, zeros = extended(of_lines, integers), zeros + zeros_in(integers)
        ends = reduced(of_lines)
    for i in range(len(matrix)):
        for j in range(whole, right):
            integer = stored(matrix[i, j])
            ends, zeros = extended(ends, integer), zeros + zeros_in(integer)
    low, high = low_and_high(ends, matrix, left, right)
    return low, high, zeros


@njit(error_model="numpy")
def extended(ends: tuple[Any, Any], integers: Any) -> tuple[Any, Any]:
    """Let the largest integer and the largest without a sign reach as far as others: one or a vector."""
    most, least = ends
    return larger_signed(most, integers), larger_unsigned(least, integers)


@njit(error_model="numpy")
def reduced(ends: tuple[Any, Any]) -> tuple[int, int]:
    """Give the two integers for two vectors of them."""
    most, least = ends
    return largest_signed(most), largest_unsigned(least)


@njit(error_model="numpy")
def low_and_high(ends: tuple[int, int], matrix: np.ndarray, left: int, right: int) -> tuple[int, int]:
    """Tell what is stored between two columns as the smallest and as the largest number."""
    most, least = ends
    if least < 0 <= most:
        return least, most
    nearest = _smallest(matrix, left, right)
    return (least, nearest) if least < 0 else (nearest, most)


@njit(error_model="numpy")
def _smallest(matrix: np.ndarray, left: int, right: int) -> int:
    """Find the smallest integer that is stored between two columns."""
    found = stored(matrix[0, left])
    for i in range(len(matrix)):
        for j in range(left, right):
            found = smaller_signed(found, stored(matrix[i, j]))
    return found


@njit(error_model="numpy")
def add_extremes(found: np.ndarray, matrix: np.ndarray, low: Any, high: Any, zeros: int) -> None:
    """Bring the extremes and zeros of some weights of a matrix into the totals."""
    found[0] = min(found[0], decoded(as_in(matrix, low)))
    found[1] = max(found[1], decoded(as_in(matrix, high)))
    found[2] += zeros
