"""The bits of numbers, single ones or vectors of them: which numbers they are, and in what order. Needs numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from .vectors import LANES, NUMBERS, WORD, Vector, constant, intrinsic, shaped, shuffled

HALF, FLOAT, DOUBLE = ir.HalfType(), ir.FloatType(), ir.DoubleType()
SHORT, LONG = ir.IntType(16), ir.IntType(64)


def _brain(build: Any, bits: Any) -> Any:
    wide = build.zext(bits, shaped(WORD, bits.type))
    return build.bitcast(build.shl(wide, constant(wide.type, 16)), shaped(FLOAT, bits.type))


def _half(build: Any, bits: Any) -> Any:
    return build.fpext(build.bitcast(bits, shaped(HALF, bits.type)), shaped(FLOAT, bits.type))


def _e5m2(build: Any, bits: Any) -> Any:
    wide = build.zext(bits, shaped(SHORT, bits.type))
    return _half(build, build.shl(wide, constant(wide.type, 8)))


def _e4m3(build: Any, bits: Any) -> Any:
    """Read the bits as a float16, whose exponent is longer by a bit and has a bias that is larger by 8."""
    wide = build.sext(bits, shaped(SHORT, bits.type))
    kind = wide.type
    half = build.and_(build.shl(wide, constant(kind, 7)), constant(kind, 0xBFFF))
    largest = build.icmp_unsigned("==", build.and_(half, constant(kind, 0x7FFF)), constant(kind, 0x3F80))
    value = _half(build, build.select(largest, constant(kind, 0x7E00), half))  # this is NaN
    return build.fmul(value, constant(value.type, 256.0))


DECODERS = {types.uint16: _brain, types.int16: _half, types.uint8: _e4m3, types.int8: _e5m2}  # as in formats.FORMATS
INTEGERS = {8: types.int8, 16: types.int16, 32: types.int32, 64: types.int64}


def _element(kind: Any) -> Any:
    return kind.element if isinstance(kind, Vector) else kind


def _of(element: Any, like: Any) -> Any:
    return like.of(element) if isinstance(like, Vector) else element


@intrinsic
def decoded(context: Any, bits: Any) -> Any:
    """Turn bits into numbers in float64."""
    decode = DECODERS.get(_element(bits), lambda build, numbers: numbers)

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        wide = shaped(DOUBLE, args[0].type)
        number = decode(build, args[0])
        return number if number.type == wide else build.fpext(number, wide)

    return _of(types.float64, bits)(bits), generate


@intrinsic
def decoded_apart(context: Any, bits: Any) -> Any:
    """Turn vectors of bits, of two bytes each, into two vectors of numbers, in whichever order takes least.

    That is :func:`apart`'s. Of two bfloat16 in 32 bits each is a float32 once the other is gone.
    """

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        (values,) = args
        if bits.element == types.uint16:
            pairs = build.bitcast(values, ir.VectorType(WORD, LANES))
            even = build.shl(pairs, constant(pairs.type, 16))
            odd = build.and_(pairs, constant(pairs.type, 0xFFFF << 16))
            found = [build.bitcast(each, shaped(FLOAT, each.type)) for each in (even, odd)]
        else:
            halves = (shuffled(build, values, values, range(begin, begin + LANES)) for begin in (0, LANES))
            found = [_half(build, each) for each in halves]
        found = [build.fpext(each, context.get_value_type(NUMBERS)) for each in found]
        return context.make_tuple(build, signature.return_type, found)

    return types.UniTuple(NUMBERS, 2)(bits), generate


def _ordering(brain_order: list[int]) -> Any:
    @intrinsic
    def ordered(context: Any, bits: Any, one: Any, other: Any) -> Any:
        def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
            _, one, other = args
            order = brain_order if bits.element == types.uint16 else list(range(2 * LANES))
            found = [shuffled(build, one, other, order[begin : begin + LANES]) for begin in (0, LANES)]
            return context.make_tuple(build, signature.return_type, found)

        return types.UniTuple(NUMBERS, 2)(bits, one, other), generate

    return ordered


# Bring two vectors that lie side by side into the order of decoded_apart, and back.
apart = _ordering([*range(0, 2 * LANES, 2), *range(1, 2 * LANES, 2)])
in_order = _ordering([of + item for item in range(LANES) for of in (0, LANES)])


@intrinsic
def stored(context: Any, values: Any) -> Any:
    """Give what is stored, whatever its format, as integers with a sign."""
    integers = _of(INTEGERS[_element(values).bitwidth], values)

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        return build.bitcast(args[0], context.get_value_type(integers))

    return integers(values), generate


@intrinsic
def as_in(context: Any, array: Any, integer: Any) -> Any:
    """Undo :func:`stored` for a single value of an array."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        return build.bitcast(args[1], context.get_value_type(array.dtype))

    return array.dtype(array, integer), generate


@intrinsic
def zeros_in(context: Any, integers: Any) -> Any:
    """Count zeros of either sign."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        zero = build.icmp_unsigned("==", build.shl(args[0], constant(kind, 1)), constant(kind, 0))  # but for the sign
        count = build.ctpop(build.bitcast(zero, ir.IntType(getattr(kind, "count", 1))))
        return count if count.type == LONG else build.zext(count, LONG)

    return types.int64(integers), generate


def _choosing(compare: Callable[..., Any]) -> Any:
    @intrinsic
    def chosen(context: Any, one: Any, other: Any) -> Any:
        def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
            return build.select(compare(build, *args), *args)

        return one(one, other), generate

    return chosen


# Choose one of two integers.
larger_signed = _choosing(lambda build, one, other: build.icmp_signed(">", one, other))
larger_unsigned = _choosing(lambda build, one, other: build.icmp_unsigned(">", one, other))
smaller_signed = _choosing(lambda build, one, other: build.icmp_signed("<", one, other))
