"""The compiled pass over weights, from machine code that is kept: to load that takes neither numba nor its memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from ctypes import CFUNCTYPE, c_ssize_t, c_void_p
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from threading import local
from typing import Any

import numpy as np

from ..errors import ExportError
from ..export.files import replacing
from .compiled import NAME, PANEL, ROWS, integers_for
from .formats import Format
from .moments import Sums, written_zeros

WIDE = 1 << 16  # columns, up to which a thread keeps its room
DIGEST = sha256().digest_size
FUNCTION = CFUNCTYPE(None, c_void_p, c_ssize_t, c_ssize_t, *[c_void_p] * 6)  # lets other threads run meanwhile


@cache
def fast_sums(format: Format) -> Sums | None:
    """Give the compiled pass, or None without the ``speed`` extra, or where a processor lacks too much.

    The first call of all for a format compiles for some seconds.
    """
    try:
        code = _code(format)
    except ImportError:
        return None
    return _loaded(code) if code else None


def _code(format: Format) -> bytes:
    """Take machine code from where it is kept, or make and keep it."""
    name = f"{format.name}-{_circumstances()}.code"
    folders = list(_folders())
    for folder in folders:
        with suppress(OSError):
            content = (folder / name).read_bytes()
            if sha256(content[DIGEST:]).digest() == content[:DIGEST]:
                return content[DIGEST:]
    from .compiled.code import machine_code

    code = machine_code(format)
    for folder in folders:
        with suppress(OSError, ExportError):
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / name) as file:
                file.write(sha256(code).digest() + code)
            break
    return code


def _circumstances() -> str:
    """Tell apart what machine code depends on: the lines it is made of, what makes it, and the processor."""
    import llvmlite.binding as llvm

    here = Path(__file__).parent
    sources = [each.read_bytes() for each in (here / "formats.py", *sorted((here / "compiled").glob("*.py")))]
    numba = [version(each) for each in ("numba", "llvmlite")] + [
        f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("NUMBA_")
    ]
    processor = [llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    told = b"\0".join(sources + [each.encode() for each in numba + processor])
    return sha256(told).hexdigest()[:32]


def _folders() -> Iterator[Path]:
    """Name where code may be kept: beside this file, as Python keeps its own, else where a user keeps such things."""
    yield Path(__file__).parent / "__pycache__"
    told = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    with suppress(RuntimeError):  # there may be no home
        yield (Path(told) if told else Path.home() / ".cache") / "dnn2graph"


class _Room:
    """What the pass needs beside what it is given; it leaves zeros where there were."""

    def __init__(self, width: int, dtype: np.dtype) -> None:
        self.width = width
        counts, of_column = integers_for(dtype.itemsize)
        blank, integers = written_zeros(width, dtype.str), written_zeros(counts + of_column * width, "i4")
        self.arrays = blank, integers, np.empty((ROWS, PANEL), dtype)
        self.places = [each.ctypes.data for each in self.arrays]


def _loaded(code: bytes) -> Sums:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    function: Any = FUNCTION(engine.get_function_address(NAME))
    function.engine = engine  # owns the code
    kept = local()  # a thread's room: to make it anew for each tile is seen in the time that a file takes

    def apply(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, found: np.ndarray) -> None:
        height, width = matrix.shape
        room = getattr(kept, "room", None)
        if room is None or room.width != width:
            room = _Room(width, matrix.dtype)
            kept.room = room if width <= WIDE else None
        given = [each.ctypes.data for each in (matrix, rows, columns, found)]
        function(given[0], height, width, *given[1:], *room.places)

    return apply
