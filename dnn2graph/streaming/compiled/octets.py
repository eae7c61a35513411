"""Vectors of 64 bytes, and what processors with AVX-512 (VBMI and VNNI) do with them. Needs numba."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .vectors import LINE, NUMBERS, Vector, called, constant, features, intrinsic, shuffled, spread, zeros_of

USABLE = {"avx512f", "avx512bw", "avx512vbmi", "avx512vnni"} <= features()

PART = 16  # most shuffles stay in such parts

no_counts = zeros_of(Vector(types.int32, LINE // 4))


@intrinsic
def looked_up(context: Any, octets: Any, first: Any, second: Any) -> Any:
    """Look up each byte, but for its highest bit, in a table of which there are the first half and the second."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        octets, first, second = args
        return called(build, "llvm.x86.avx512.vpermi2var.qi.512", octets.type, [first, octets, second])

    return octets(octets, first, second), generate


@intrinsic
def looked_up_in_half(context: Any, octets: Any, table: Any) -> Any:
    """Look up the six lowest bits of each byte."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        octets, table = args
        return called(build, "llvm.x86.avx512.permvar.qi.512", octets.type, [table, octets])

    return octets(octets, table), generate


@intrinsic
def where_second(context: Any, values: Any, octets: Any) -> Any:
    """Leave zero of bytes where others lie in the first half of a table."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        values, octets = args
        zero = constant(octets.type, 0)
        second = build.icmp_unsigned("!=", build.and_(octets, constant(octets.type, 0x40)), zero)
        return build.select(second, values, constant(values.type, 0))

    return values(values, octets), generate


@intrinsic
def products_added(context: Any, unsigned: Any, signed: Any, counts: Any) -> Any:
    """Add the products of bytes, four to each integer."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        unsigned, signed, counts = args
        words = [counts, build.bitcast(unsigned, counts.type), build.bitcast(signed, counts.type)]
        return called(build, "llvm.x86.avx512.vpdpbusd.512", counts.type, words)

    return counts(unsigned, signed, counts), generate


@intrinsic
def signed_as(context: Any, octets: Any, others: Any) -> Any:
    """Turn bytes into their negatives where others have their highest bit."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        zero = constant(args[0].type, 0)
        return build.select(build.icmp_signed("<", args[1], zero), build.sub(zero, args[0]), args[0])

    return octets(octets, others), generate


@intrinsic
def with_sign_bit(context: Any, octets: Any, others: Any) -> Any:
    """Set the highest bit of bytes where others have it."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        return build.or_(args[0], build.and_(args[1], constant(args[1].type, 0x80)))

    return octets(octets, others), generate


@intrinsic
def at_least(context: Any, octets: Any, limit: Any) -> Any:
    """Leave zero of bytes that are, but for their highest bit, below a limit."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        octets, limit = args
        kind = octets.type
        limits = spread(build, build.trunc(limit, kind.element), kind)
        below = build.icmp_unsigned("<", build.and_(octets, constant(kind, 0x7F)), limits)
        return build.select(below, constant(kind, 0), octets)

    return octets(octets, limit), generate


def _halves(build: Any, one: Any, other: Any, size: int) -> list[Any]:
    """Take items of so many bytes from two vectors in turns: from the first half of each part, then from the second."""

    def half(begin: int) -> Any:
        items = [part + item for part in range(begin, LINE, PART) for item in range(0, PART // 2, size)]
        return shuffled(build, one, other, [of + item + k for item in items for of in (0, LINE) for k in range(size)])

    return [half(0), half(PART // 2)]


@intrinsic
def fours(context: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Put the bytes at each place of four vectors side by side.

    The first of the four results has those at places 0 to 3 of each part, and so on.
    """

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        a, b, c, d = args
        pairs = zip(_halves(build, a, b, 1), _halves(build, c, d, 1), strict=True)
        found = [each for pair in pairs for each in _halves(build, *pair, 2)]
        return context.make_tuple(build, signature.return_type, found)

    return types.UniTuple(a, 4)(a, b, c, d), generate


@intrinsic
def numbers(context: Any, upper: Any, lower: Any) -> Any:
    """Give float64 of which only the two highest bytes are not zero: six vectors, in some order.

    Every fourth is left out, which :func:`.counts.count_fourths` is for.
    """

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        upper, lower = args
        long = ir.VectorType(ir.IntType(64), NUMBERS.lanes)
        found = []
        for pairs in _halves(build, lower, upper, 1):
            four = build.bitcast(pairs, long)
            moved = [build.shl(four, constant(long, shift)) for shift in (48, 16, 0)]  # not the second, by 32
            highest = [build.and_(each, constant(long, 0xFFFF << 48)) for each in moved]
            found += [build.bitcast(each, context.get_value_type(NUMBERS)) for each in highest]
        return context.make_tuple(build, signature.return_type, found)

    return types.UniTuple(NUMBERS, 6)(upper, lower), generate
