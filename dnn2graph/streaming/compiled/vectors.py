"""Vectors: some numbers that a processor works on at once, as values that a compiled loop can hold. Needs numba.

Left to itself the compiler makes vectors of a plain loop, but of none that also says what to fetch next.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from platform import machine
from typing import Any

from llvmlite import ir
from numba import extending, njit, types
from numba.core.cgutils import get_or_insert_function, unpack_tuple
from numba.core.registry import cpu_target
from numba.extending import models, overload, register_model
from numba.np.arrayobj import populate_array

intrinsic: Any = extending.intrinsic  # what it makes is called with numbers, whatever its annotations say

BYTE, WORD = ir.IntType(8), ir.IntType(32)
LINE = 64  # bytes that memory gives at a time


def features() -> set[str]:
    """Name what numba makes use of in this processor, in LLVM's words."""
    *_, told = cpu_target.target_context.codegen().magic_tuple()
    return {feature[1:] for feature in told.split(",") if feature.startswith("+")}


# Every processor with AVX2 widens float16 itself; for another, LLVM calls a function that numba does not have.
USABLE = "f16c" in features() or machine() not in ("x86_64", "AMD64")
LANES = 8 if "avx512f" in features() else 4  # float64 in a vector


class Vector(types.Type):
    """The type of so many numbers of one type."""

    def __init__(self, element: types.Type, lanes: int) -> None:
        self.element, self.lanes = element, lanes
        super().__init__(name=f"Vector({element}, {lanes})")

    def of(self, element: types.Type) -> Vector:
        """Give the type of as many numbers of another type."""
        return Vector(element, self.lanes)


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, ir.VectorType(manager[vector.element].get_value_type(), vector.lanes))


NUMBERS = Vector(types.float64, LANES)


# --- what LLVM is told -----------------------------------------------------------------------------------------------


def shaped(element: Any, like: Any) -> Any:
    """Give LLVM's type for so many elements as another type has, which may be that of a single number."""
    return ir.VectorType(element, like.count) if isinstance(like, ir.VectorType) else element


def constant(kind: Any, value: float) -> Any:
    """Give a number, or a vector of nothing else."""
    return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)


def called(build: Any, name: str, result: Any, args: Sequence[Any], **options: Any) -> Any:
    """Call an operation of LLVM's."""
    function = get_or_insert_function(build.module, ir.FunctionType(result, [arg.type for arg in args]), name)
    return build.call(function, args, **options)


def shuffled(build: Any, one: Any, other: Any, places: Sequence[int]) -> Any:
    """Take items of two vectors, of which the other's are counted on from the one's."""
    return build.shuffle_vector(one, other, ir.Constant(ir.VectorType(WORD, len(places)), list(places)))


def spread(build: Any, number: Any, kind: Any) -> Any:
    """Give a vector of nothing but a number."""
    first = build.insert_element(constant(kind, 0), number, WORD(0))
    return shuffled(build, first, first, [0] * kind.count)


def _suffix(kind: Any) -> str:
    return f"v{kind.count}{_suffix(kind.element)}" if isinstance(kind, ir.VectorType) else kind.intrinsic_name


@intrinsic
def widest_vectors(context: Any) -> Any:
    """Let the function that calls this use the widest vectors there are: unasked, LLVM takes half of them on Intel's.

    The attribute goes round llvmlite's list of those it knows.
    """

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        set.add(build.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), generate


# --- from memory and back --------------------------------------------------------------------------------------------


@intrinsic
def array_at(context: Any, place: Any, shape: Any) -> Any:
    """Take what lies at a pointer as a contiguous array, aligned or not, which nobody owns."""
    kind = types.Array(place.dtype, len(shape), "C", aligned=False)

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        return _array(context, build, kind, args[0], unpack_tuple(build, args[1]))

    return kind(place, shape), generate


@intrinsic
def in_one_row(context: Any, matrix: Any) -> Any:
    """Take a contiguous matrix as one of a single row."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        found = context.make_array(matrix)(context, build, args[0])
        return _array(context, build, matrix, found.data, [found.nitems.type(1), found.nitems])

    return matrix(matrix), generate


def _array(context: Any, build: Any, kind: Any, data: Any, shape: list[Any]) -> Any:
    array = context.make_array(kind)(context, build)
    size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    strides = [shape[0].type(size)]
    for length in reversed(shape[1:]):
        strides.insert(0, build.mul(strides[0], length))
    data = build.bitcast(data, array.data.type)
    populate_array(array, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
    return array._getvalue()


def address(context: Any, build: Any, array: Any, args: Any, kind: Any) -> Any:
    """Point to an item of a contiguous array, as to something of any kind."""
    data = context.make_array(array)(context, build, args[0]).data
    return build.bitcast(build.gep(data, [args[1]]), ir.PointerType(kind))


def _alignment(array: Any) -> int:
    return array.dtype.bitwidth // 8 if array.aligned else 1


def _taking(count: Callable[[Any], int]) -> Any:
    @intrinsic
    def taken(context: Any, array: Any, position: Any) -> Any:
        vector = Vector(array.dtype, count(array.dtype))

        def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
            place = address(context, build, array, args, context.get_value_type(vector))
            return build.load(place, align=_alignment(array))

        return vector(array, position), generate

    return taken


# Take items of a contiguous array, from some item on: as many or twice as many as a vector has float64, or 64 bytes.
some = _taking(lambda element: LANES)
twice = _taking(lambda element: 2 * LANES)
line = _taking(lambda element: LINE * 8 // element.bitwidth)


@intrinsic
def in_line(context: Any, array: Any) -> Any:
    """Count the items of an array that 64 bytes hold: a constant, which a range may have as its step."""
    return types.intp(array), lambda context, build, signature, args: context.get_constant(
        types.intp, LINE * 8 // array.dtype.bitwidth
    )


@intrinsic
def put(context: Any, array: Any, position: Any, vector: Any) -> Any:
    """Store a vector in a contiguous array, from some item on."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        build.store(args[2], address(context, build, array, args, args[2].type), align=_alignment(array))
        return context.get_dummy_value()

    return types.none(array, position, vector), generate


@intrinsic
def prefetch(context: Any, array: Any, position: Any) -> Any:
    """Ask for an item of a contiguous array to be brought near, and do not wait; it may lie beyond the array's end."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        place = address(context, build, array, args, BYTE)
        kinds = [place.type, WORD, WORD, WORD]
        function = build.module.declare_intrinsic("llvm.prefetch", [place.type], ir.FunctionType(ir.VoidType(), kinds))
        build.call(function, [place, WORD(0), WORD(3), WORD(1)])
        return context.get_dummy_value()

    return types.none(array, position), generate


# --- arithmetic ------------------------------------------------------------------------------------------------------


def _of_two(operation: str) -> Any:
    @intrinsic
    def result(context: Any, one: Any, other: Any) -> Any:
        name = f"f{operation}" if isinstance(one.element, types.Float) else operation
        return one(one, other), lambda context, build, signature, args: getattr(build, name)(*args)

    return result


_sum, _product = _of_two("add"), _of_two("mul")


@overload(operator.add, strict=False)
@overload(operator.iadd, strict=False)
def _add(one: Any, other: Any) -> Any:
    return (lambda one, other: _sum(one, other)) if isinstance(one, Vector) else None


@overload(operator.mul, strict=False)
def _multiply(one: Any, other: Any) -> Any:
    return (lambda one, other: _product(one, other)) if isinstance(one, Vector) else None


@intrinsic
def product_added(context: Any, one: Any, other: Any, total: Any) -> Any:
    """Add a product in one operation where the processor can, even if the product is needed elsewhere too."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        return called(build, f"llvm.fmuladd.{_suffix(kind)}", kind, args)

    return total(one, other, total), generate


@njit(error_model="numpy")
def with_powers(sums: tuple[Any, Any, Any], values: Any) -> tuple[Any, Any, Any]:
    """Add the second to fourth powers of numbers, or of vectors of them."""
    second, third, fourth = sums
    square = values * values
    second = product_added(values, values, second)  # no slower than to add the square, and faster beside other sums
    return second, product_added(square, values, third), product_added(square, square, fourth)


@intrinsic
def absolute(context: Any, values: Any) -> Any:
    """Give values without their signs."""

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        return called(build, f"llvm.fabs.{_suffix(args[0].type)}", args[0].type, args)

    return values(values), generate


@njit(error_model="numpy")
def with_all(sums: tuple[Any, Any, Any, Any], values: Any) -> tuple[Any, Any, Any, Any]:
    """Add absolute values and the second to fourth powers."""
    first, second, third, fourth = sums
    second, third, fourth = with_powers((second, third, fourth), values)
    return first + absolute(values), second, third, fourth


def zeros_of(vector: Vector) -> Any:
    """Make an operation that gives a vector of zeros."""

    @intrinsic
    def zeros(context: Any) -> Any:
        return vector(), lambda context, build, signature, args: constant(context.get_value_type(vector), 0)

    return zeros


no_numbers = zeros_of(NUMBERS)


def _over(integers: str) -> Any:
    @intrinsic
    def reduced(context: Any, vector: Any) -> Any:
        def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
            kind = args[0].type
            name = f"llvm.vector.reduce.{integers}.{_suffix(kind)}"
            if not isinstance(vector.element, types.Float):
                return called(build, name, kind.element, args)
            name = name.replace(integers, f"f{integers}")
            return called(build, name, kind.element, [kind.element(-0.0), *args], fastmath=("reassoc",))

        return vector.element(vector), generate

    return reduced


# Reduce a vector to one number.
total, largest_signed, largest_unsigned = _over("add"), _over("smax"), _over("umax")
