"""Machine code of the pass over weights of a format, which needs nothing but a processor like this one. Needs numba."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import cfunc, from_dtype, njit, types
from numba.core.registry import cpu_target

from ..formats import Format
from . import NAME, PANEL, ROWS, float8, integers_for, octets
from .float16 import float16_sums
from .sums import sums
from .vectors import USABLE, array_at


def machine_code(format: Format) -> bytes:
    """Compile the pass over weights of a format.

    Returns
    -------
    bytes
        An object file with one function, :data:`NAME`. It takes a pointer to a matrix, the matrix's height and width,
        and pointers to what else :func:`.float8.sums_of` says. Empty where the processor lacks too much.
    """
    if not USABLE or os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return b""
    options: Any = {"error_model": "numpy", "_nrt": False}  # nothing raises, nothing is allocated
    made = cfunc(_signature(format), **options)(_function(format))
    module = llvm.parse_assembly(made.inspect_llvm())
    for function in module.functions:
        if not function.is_declaration:
            function.linkage = "internal"
    entry = module.get_function(made.native_name)
    entry.name, entry.linkage = NAME, "external"
    triple, processor, features = cpu_target.target_context.codegen().magic_tuple()
    reloc = "static" if triple.startswith("x86") else "default"  # as numba has it, and constants are at hand
    machine = llvm.Target.from_triple(triple).create_target_machine(
        processor, features, opt=3, reloc=reloc, codemodel="jitdefault", jit=True
    )
    # As nobody else calls these functions, LLVM finds that none of them fails, and drops what would tell Python of it.
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
    builder.getModulePassManager().run(module, builder)
    needed = {each.name for each in module.functions if each.is_declaration and not each.name.startswith("llvm.")}
    return b"" if needed else machine.emit_object(module)  # what is numba's is not there when the code is used


def _signature(format: Format) -> Any:
    weights, numbers = types.CPointer(from_dtype(np.dtype(format.bits))), types.CPointer(types.float64)
    counts, size = types.CPointer(types.int32), types.intp
    return types.void(weights, size, size, numbers, numbers, numbers, weights, counts, weights)


def _function(format: Format) -> Callable[..., None]:
    itemsize = np.dtype(format.bits).itemsize
    counts, of_column = integers_for(itemsize)
    if itemsize == 1 and octets.USABLE:
        add = float8.sums_of(format)
    elif itemsize == 2:
        add = _given(6, float16_sums)
    else:
        add = _given(5, sums)

    def function(
        matrix: Any,
        height: Any,
        width: Any,
        rows: Any,
        columns: Any,
        found: Any,
        blank: Any,
        integers: Any,
        beyond: Any,
    ) -> None:
        add(
            array_at(matrix, (height, width)),
            array_at(rows, (height,)),
            array_at(columns, (width,)),
            array_at(found, (7,)),
            array_at(blank, (width,)),
            array_at(integers, (counts + of_column * width,)),
            array_at(beyond, (ROWS, PANEL)),
        )

    return function


def _given(count: int, add: Callable[..., None]) -> Callable[..., None]:
    """Give a pass no more than so many of the arrays that there are."""

    @njit(error_model="numpy")
    def given(*arrays: np.ndarray) -> None:
        add(*arrays[:count])

    return given
