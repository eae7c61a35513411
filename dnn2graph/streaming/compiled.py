"""The pass over a matrix of weights as a compiled loop, which runs about as fast as memory is read. Needs numba.

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
    """Read the bits as a float16, whose exponent has a bias that is larger by 8."""
    wide = build.zext(bits, SHORT)
    magnitude, sign = build.and_(wide, SHORT(0x7F)), build.and_(wide, SHORT(0x80))
    half = build.or_(build.shl(magnitude, SHORT(7)), build.shl(sign, SHORT(8)))
    value = build.fmul(_half(build, half), FLOAT(256.0))
    return build.select(build.icmp_unsigned("==", magnitude, SHORT(0x7F)), FLOAT(np.nan), value)


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
def zero_like(context: Any, value: Any) -> Any:
    """Give the zero of a number's own type."""
    return value(value), lambda context, build, signature, args: args[0].type(0.0)


@njit(fastmath=FAST, nogil=True, cache=True)
def compiled_sums(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, found: np.ndarray) -> None:
    """Add the sums of rows and of columns, and write the totals; see :func:`.moments.plain_sums`."""
    height, width = matrix.shape
    whole = height - height % 4
    low, high = decoded(matrix[0, 0]), decoded(matrix[0, 0])
    zeros = l1 = second = third = fourth = 0.0
    for left in range(0, width, PANEL):
        right = min(left + PANEL, width)
        down = columns[left:right]
        for i in range(0, whole, 4):  # four rows a sweep: sums of columns are loaded and stored a quarter as often
            a, b = matrix[i, left:right], matrix[i + 1, left:right]
            c, d = matrix[i + 2, left:right], matrix[i + 3, left:right]
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
                l1 += (abs(w) + abs(x)) + (abs(y) + abs(z))
                ww, xx, yy, zz = w * w, x * x, y * y, z * z
                second += (ww + xx) + (yy + zz)
                third += (ww * w + xx * x) + (yy * y + zz * z)
                fourth += (ww * ww + xx * xx) + (yy * yy + zz * zz)
            rows[i] += sum_a
            rows[i + 1] += sum_b
            rows[i + 2] += sum_c
            rows[i + 3] += sum_d
            zeros += none
        for i in range(whole, height):
            a = matrix[i, left:right]
            sum_a = 0.0
            none = zero_like(low)
            for j in range(right - left):
                p = decoded(a[j])
                low, high = smaller(p, low), larger(p, high)
                none += is_zero(p)
                w = np.float64(p)
                ww = w * w
                sum_a += w
                down[j] += w
                l1 += abs(w)
                second += ww
                third += ww * w
                fourth += ww * ww
            rows[i] += sum_a
            zeros += none
    found[0], found[1], found[2], found[3] = low, high, zeros, l1
    found[4], found[5], found[6] = second, third, fourth
