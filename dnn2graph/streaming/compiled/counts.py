"""Counting how often each pattern of 16 bits occurs, and the totals that follow from that. Needs numba.

To count takes other parts of a processor than arithmetic with vectors does, so that both go on at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from . import PATTERNS
from .bits import LONG, SHORT, decoded, zeros_in
from .extremes import add_extremes
from .vectors import (
    LANES,
    NUMBERS,
    WORD,
    Vector,
    absolute,
    address,
    constant,
    intrinsic,
    no_numbers,
    product_added,
    some,
    spread,
    total,
)

NEGATIVE = 1 << 15  # from here on
EACH = 4  # patterns in 64 bits


@intrinsic
def count(context: Any, counts: Any, array: Any, position: Any) -> Any:
    """Count the patterns of twice as many items of an array, from some item on, as there are float64 in a vector."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(counts)(context, build, args[0]).data
        place = address(context, build, array, args[1:], LONG)
        for word in range(2 * LANES // EACH):
            patterns = build.load(build.gep(place, [WORD(word)]), align=1)
            for item in range(EACH):
                pattern = build.trunc(build.lshr(patterns, LONG(16 * item)), SHORT)
                number = build.gep(data, [build.zext(pattern, LONG)])
                build.store(build.add(build.load(number), WORD(1)), number)
        return context.get_dummy_value()

    return types.none(counts, array, position), generate


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


@intrinsic
def _where_met(context: Any, counts: Any, numbers: Any) -> Any:
    """Leave zero of numbers that were not met, which may be NaN."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        counts, numbers = args
        met = build.icmp_unsigned("!=", counts, constant(counts.type, 0))
        return build.select(met, numbers, constant(numbers.type, 0))

    return numbers(counts, numbers), generate


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
        numbers = _where_met(times, decoded(_patterns_from(pattern, matrix)))
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
