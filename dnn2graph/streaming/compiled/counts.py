"""Counting how often each pattern of bits occurs, and the totals that follow from that. Needs numba.

To count takes other parts of a processor than arithmetic with vectors does, so that both go on at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from . import COUNTS
from .bits import LONG, SHORT, decoded, zeros_in
from .extremes import add_extremes
from .octets import PART
from .vectors import (
    BYTE,
    LANES,
    NUMBERS,
    WORD,
    Vector,
    absolute,
    address,
    intrinsic,
    no_numbers,
    product_added,
    some,
    spread,
    total,
)

PATTERNS = COUNTS[2]
NEGATIVE = PATTERNS // 2  # from here on
OCTETS = 1 << 8


@intrinsic
def count(context: Any, counts: Any, array: Any, position: Any) -> Any:
    """Count twice as many items of an array, from some item on, as there are float64 in a vector."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        table = address(context, build, counts, [args[0], LONG(0)], WORD)
        for first in range(0, 2 * LANES, 4):
            place = address(context, build, array, [args[1], build.add(args[2], LONG(first))], LONG)
            _count(build, place, SHORT, dict.fromkeys((0, 16, 32, 48), table))
        return context.get_dummy_value()

    return types.none(counts, array, position), generate


@intrinsic
def count_fourths(context: Any, counts: Any, array: Any, position: Any, part: Any) -> Any:
    """Count the second of every four bytes in one part of a line, each in a table of its own.

    To count again what was counted just before takes long.
    """

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        counts_, array_, position, part = args
        tables = address(context, build, counts, [counts_, build.mul(part, LONG(4 * OCTETS))], WORD)
        begin = build.add(position, build.mul(part, LONG(PART)))
        for word in (0, 1):
            place = address(context, build, array, [array_, build.add(begin, LONG(8 * word))], LONG)
            of_word = [build.gep(tables, [WORD((2 * word + item) * OCTETS)]) for item in (0, 1)]
            _count(build, place, BYTE, {8: of_word[0], 40: of_word[1]})
        return context.get_dummy_value()

    return types.none(counts, array, position, part), generate


def _count(build: Any, place: Any, kind: Any, tables: Mapping[int, Any]) -> None:
    """Count the patterns that begin at some of the 64 bits at a place, each in a table."""
    bits = build.load(place, align=1)
    for begin, table in tables.items():
        pattern = build.trunc(build.lshr(bits, LONG(begin)), kind)
        number = build.gep(table, [build.zext(pattern, LONG)])
        build.store(build.add(build.load(number), WORD(1)), number)


@intrinsic
def _patterns_from(context: Any, first: Any, like: Any) -> Any:
    """Give as many patterns one after another as there are float64 in a vector, as weights of an array's format."""
    vector = Vector(like.dtype, LANES)

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(vector)
        return build.add(spread(build, build.trunc(args[0], SHORT), kind), ir.Constant(kind, list(range(LANES))))

    return vector(first, like), generate


@intrinsic
def _as_numbers(context: Any, counts: Any) -> Any:
    """Turn counts into float64."""
    return NUMBERS(counts), lambda context, build, signature, args: build.uitofp(
        args[0], context.get_value_type(NUMBERS)
    )


@njit(error_model="numpy")
def add_counted(found: np.ndarray, counts: np.ndarray, matrix: np.ndarray) -> None:
    """Add to the totals what was counted, and leave zeros of the counts.

    The matrix, whatever it holds, says which numbers patterns are.
    """
    zeros = counts[0] + counts[NEGATIVE]
    least, most = _add_met(found, counts, matrix, 0, NEGATIVE)
    least_negative, most_negative = _add_met(found, counts, matrix, NEGATIVE, PATTERNS)
    if most < 0 and most_negative < 0:
        return
    low = least if most_negative < 0 else most_negative
    high = least_negative if most < 0 else most
    add_extremes(found, matrix, np.int16(low), np.int16(high), zeros)


@njit(error_model="numpy")
def _add_met(found: np.ndarray, counts: np.ndarray, matrix: np.ndarray, begin: int, end: int) -> tuple[int, int]:
    """Add sums over patterns of one sign, and forget their counts; tell which is the first and the last met, or -1."""
    sums = no_numbers(), no_numbers(), no_numbers(), no_numbers()
    first = last = -1
    for pattern in range(begin, end, LANES):
        times = some(counts, pattern)
        if zeros_in(times) == LANES:
            continue
        numbers = decoded(_patterns_from(pattern, matrix))  # all finite, or none: infinity is the first of a vector
        sums = _with_times(sums, numbers, _as_numbers(times))
        for each in range(pattern, pattern + LANES):
            if counts[each]:
                first, last = each if first < 0 else first, each
                counts[each] = 0
    found[3] += total(sums[0])
    found[4] += total(sums[1])
    found[5] += total(sums[2])
    found[6] += total(sums[3])
    return first, last


@njit(error_model="numpy")
def _with_times(sums: tuple[Any, Any, Any, Any], values: Any, times: Any) -> tuple[Any, Any, Any, Any]:
    """Add absolute values and powers so many times."""
    first, second, third, fourth = sums
    square = values * values
    first, second = product_added(times, absolute(values), first), product_added(times, square, second)
    return first, second, product_added(times, square * values, third), product_added(times, square * square, fourth)
