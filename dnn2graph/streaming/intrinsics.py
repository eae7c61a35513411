"""Operations on single numbers for compiled loops, put so that the compiler does many at a time. Needs numba.

Compiled loops are kept in ``__pycache__`` until their own files change: who changes something here has to delete them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending, njit, types

intrinsic: Any = extending.intrinsic  # what it makes is called with numbers, whatever its annotations say

# Reassociation lets the compiler vectorise the sums; NaN and infinity keep their meaning.
FAST = {"reassoc", "nsz", "contract", "arcp"}

HALF, FLOAT = ir.HalfType(), ir.FloatType()
BYTE, SHORT, WORD = ir.IntType(8), ir.IntType(16), ir.IntType(32)


def _brain(build: Any, bits: Any) -> Any:
    return build.bitcast(build.shl(build.zext(bits, WORD), WORD(16)), FLOAT)


def _half(build: Any, bits: Any) -> Any:
    return build.fpext(build.bitcast(bits, HALF), FLOAT)


def _e5m2(build: Any, bits: Any) -> Any:
    return _half(build, build.shl(build.zext(bits, SHORT), SHORT(8)))


def _over_256(build: Any, bits: Any) -> Any:
    """Read the bits of an e4m3 as a float16, whose exponent is longer by a bit and has a bias that is larger by 8."""
    return build.and_(build.shl(build.sext(bits, SHORT), SHORT(7)), SHORT(0xBFFF))


def _e4m3(build: Any, bits: Any) -> Any:
    half = _over_256(build, bits)
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


@intrinsic
def decoded_in_units(context: Any, bits: Any) -> Any:
    """Turn the bits of a float8 other than NaN into that number, in units of 256 for e4m3, as that is faster."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        return _half(build, _over_256(build, args[0])) if bits == types.uint8 else _e5m2(build, args[0])

    return types.float32(bits), generate


def _choosing(compare: Callable[..., Any]) -> Any:
    """Choose one of two numbers, neither of which is NaN: else the compiler would not do it for many at a time."""

    @intrinsic
    def chosen(context: Any, one: Any, other: Any) -> Any:
        flags = ("nnan", "nsz") if isinstance(one, types.Float) else ()

        def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
            return build.select(compare(build, *args, flags), *args, flags=flags)

        return one(one, other), generate

    return chosen


smaller = _choosing(lambda build, one, other, flags: build.fcmp_ordered("<", one, other, flags=flags))
larger = _choosing(lambda build, one, other, flags: build.fcmp_ordered(">", one, other, flags=flags))
larger_signed = _choosing(lambda build, one, other, flags: build.icmp_signed(">", one, other))
larger_unsigned = _choosing(lambda build, one, other, flags: build.icmp_unsigned(">", one, other))


@intrinsic
def with_zero(context: Any, count: Any, bits: Any) -> Any:
    """Count the bits of a float8 if they are those of a zero of either sign; a count is a byte."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        count, bits = args
        none = build.icmp_unsigned("==", build.and_(bits, BYTE(0x7F)), BYTE(0))
        return build.select(none, build.add(count, BYTE(1)), count)

    return count(count, bits), generate


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


@intrinsic
def prefetch(context: Any, line: Any, position: Any) -> Any:
    """Ask for an item of a contiguous array to be brought near, and do not wait; it may lie beyond the array's end."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(line)(context, build, args[0]).data
        place = build.bitcast(build.gep(data, [args[1]]), ir.PointerType(BYTE))
        kinds = [place.type, WORD, WORD, WORD]
        function = build.module.declare_intrinsic("llvm.prefetch", [place.type], ir.FunctionType(ir.VoidType(), kinds))
        build.call(function, [place, WORD(0), WORD(2), WORD(1)])
        return context.get_dummy_value()

    return types.none(line, position), generate
