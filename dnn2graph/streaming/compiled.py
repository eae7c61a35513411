"""The pass over a matrix of weights as a compiled loop, which takes each weight from memory once. Needs numba.

It computes what :func:`.moments.plain_sums` does, whose lines say it more plainly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit, types

intrinsic: Any = extending.intrinsic  # what it makes is called with numbers, whatever its annotations say

PANEL = 1 << 13  # columns summed in one go: their sums stay in the cache, and counts of zeros are exact in float32
# Reassociation lets the compiler vectorise the sums; NaN and infinity keep their meaning.
FAST = {"reassoc", "nsz", "contract", "arcp"}

HALF, FLOAT = ir.HalfType(), ir.FloatType()
SHORT, WORD = ir.IntType(16), ir.IntType(32)


def _brain(build: Any, bits: Any) -> Any:
    return build.bitcast(build.shl(build.zext(bits, WORD), WORD(16)), FLOAT)


def _half(build: Any, bits: Any) -> Any:
    return build.fpext(build.bitcast(bits, HALF), FLOAT)


def _e5m2(build: Any, bits: Any) -> Any:
    return _half(build, build.shl(build.zext(bits, SHORT), SHORT(8)))


def _e4m3(build: Any, bits: Any) -> Any:
    """Read the bits as a float16, whose exponent is longer by a bit and has a bias that is larger by 8."""
    half = build.and_(build.shl(build.sext(bits, SHORT), SHORT(7)), SHORT(0xBFFF))
    largest = build.icmp_unsigned("==", build.and_(half, SHORT(0x7FFF)), SHORT(0x3F80))
    return build.fmul(_half(build, build.select(largest, SHORT(0x7E00), half)), FLOAT(256.0))  # 0x7E00 is NaN


DECODERS = {types.uint16: _brain, types.int16: _half, types.uint8: _e4m3, types.int8: _e5m2}  # as in formats.FORMATS


@intrinsic
def decoded(context: Any, bits: Any) -> Any:
    """Turn the bits of a number into that number."""
    decode = DECODERS.get(bits)

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        return decode(build, args[0]) if decode else args[0]

    return (types.float32 if decode else bits)(bits), generate


def _choosing(comparison: str) -> Any:
    """Choose one of two numbers, neither of which is NaN: else the compiler would not do it for many at a time."""

    @intrinsic
    def chosen(context: Any, one: Any, other: Any) -> Any:
        def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
            wins = build.fcmp_ordered(comparison, *args, flags=("nnan", "nsz"))
            return build.select(wins, *args, flags=("nnan", "nsz"))

        return one(one, one), generate

    return chosen


smaller, larger = _choosing("<"), _choosing(">")


@intrinsic
def is_zero(context: Any, value: Any) -> Any:
    """Give 1 for zero and 0 for any other number, in the number's own type."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        return build.select(build.fcmp_ordered("==", args[0], kind(0.0)), kind(1.0), kind(0.0))

    return value(value), generate


@intrinsic
def negative(context: Any, value: Any, wide: Any) -> Any:
    """Give a widened value where it is negative, else zero; -0 adds nothing to any number, which saves an operation."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        value, wide = args
        return build.select(build.fcmp_ordered("<", value, value.type(0.0)), wide, wide.type(-0.0))

    return wide(value, wide), generate


@intrinsic
def product_added(context: Any, one: Any, other: Any, total: Any) -> Any:
    """Add a product in one operation where the processor can, even if the product is needed elsewhere too."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        function = build.module.declare_intrinsic("llvm.fmuladd", [kind], ir.FunctionType(kind, [kind] * 3))
        return build.call(function, args, fastmath=tuple(FAST))

    return total(one, other, total), generate


@njit(fastmath=FAST)
def with_powers(value: float, second: float, third: float, fourth: float) -> tuple[float, float, float]:
    """Add the powers of a value."""
    square = value * value
    return (
        product_added(value, value, second),
        product_added(square, value, third),
        product_added(square, square, fourth),
    )


@intrinsic
def zero_like(context: Any, value: Any) -> Any:
    """Give the zero of a number's own type."""
    return value(value), lambda context, build, signature, args: args[0].type(0.0)


@intrinsic
def widest_vectors(context: Any) -> Any:
    """Let the function that calls this use the widest vectors there are: unasked, LLVM takes half of them on Intel's.

    The attribute goes round llvmlite's list of those it knows.
    """

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        set.add(build.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), generate


@njit(fastmath=FAST, nogil=True, cache=True)
def compiled_sums(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, found: np.ndarray) -> None:
    """Add the sums of rows and of columns, and write the totals; see :func:`.moments.plain_sums`.

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
    found[0], found[1], found[2], found[3] = low, high, zeros, total - 2 * below
    found[4], found[5], found[6] = second, third, fourth
