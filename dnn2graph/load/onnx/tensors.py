"""Tensors of an ONNX file, whose declared sizes must be those of the bytes that are there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from ...errors import LoadError
from ..files import existing_file

P = onnx.TensorProto
DTYPES: dict[int, torch.dtype] = {
    P.FLOAT: torch.float32,
    P.DOUBLE: torch.float64,
    P.FLOAT16: torch.float16,
    P.BFLOAT16: torch.bfloat16,
    P.INT8: torch.int8,
    P.INT16: torch.int16,
    P.INT32: torch.int32,
    P.INT64: torch.int64,
    P.UINT8: torch.uint8,
    P.UINT16: torch.uint16,
    P.UINT32: torch.uint32,
    P.UINT64: torch.uint64,
    P.BOOL: torch.bool,
    P.FLOAT8E4M3FN: torch.float8_e4m3fn,
    P.FLOAT8E5M2: torch.float8_e5m2,
}
# The list of numbers that holds each type where there are no raw bytes, and the type whose bytes are its values.
FIELDS: dict[int, tuple[str, Any]] = {
    P.FLOAT: ("float_data", np.float32),
    P.DOUBLE: ("double_data", np.float64),
    P.INT64: ("int64_data", np.int64),
    P.UINT64: ("uint64_data", np.uint64),
    P.UINT32: ("uint64_data", np.uint32),
    **dict.fromkeys((P.INT8, P.UINT8, P.BOOL, P.FLOAT8E4M3FN, P.FLOAT8E5M2), ("int32_data", np.uint8)),
    **dict.fromkeys((P.INT16, P.UINT16, P.FLOAT16, P.BFLOAT16), ("int32_data", np.uint16)),
    P.INT32: ("int32_data", np.int32),
}
ELEMENTS_AT_MOST = 1 << 28  # of a tensor that a few bytes of a file ask for
COPY = "copy it again, or export the model again"


def dtype_of(path: Path, number: int, what: str) -> torch.dtype:
    """Return the torch type that a number of the format stands for.

    Raises
    ------
    LoadError
        If torch has none.
    """
    if number not in DTYPES:
        name = P.DataType.Name(number) if number in P.DataType.values() else f"number {number}"
        raise LoadError(f"'{path}': {what} is of type {name}, which is no type of torch tensors: convert it to FLOAT")
    return DTYPES[number]


def affordable(shape: Sequence[int], what: str) -> tuple[int, ...]:
    """Return a shape that a file asks for, if its elements are few enough to be allocated.

    Raises
    ------
    LoadError
        If an axis is negative, or there are more than 2**28 elements.
    """
    if any(length < 0 for length in shape) or math.prod(shape) > ELEMENTS_AT_MOST:
        raise LoadError(
            f"{what} would be of shape {tuple(shape)}: at most {ELEMENTS_AT_MOST:,} elements are made from sizes "
            "alone; check the file, or name smaller inputs (--input-shape)"
        )
    return tuple(shape)


def broadcast(shapes: Sequence[Sequence[int]], what: str) -> tuple[int, ...]:
    """Return the shape that several tensors have together, if it is affordable."""
    return affordable(torch.broadcast_shapes(*shapes), what)


def read_tensor(path: Path, stored: onnx.TensorProto) -> Tensor:
    """Read a tensor of a file, or of a data file beside it.

    Raises
    ------
    LoadError
        If the sizes are not those of the stored bytes, or the data file is missing or outside of the folder.
    """
    what = f"tensor '{stored.name}'"
    dtype, shape = dtype_of(path, stored.data_type, what), tuple(stored.dims)
    count = math.prod(shape)
    if any(length < 0 for length in shape):
        raise LoadError(f"'{path}' is damaged: {what} declares the shape {shape}: {COPY}")
    if stored.data_location == P.EXTERNAL:
        return _external(path, stored, count * dtype.itemsize).view(dtype).view(shape)
    if stored.HasField("raw_data"):
        _check_size(path, what, shape, count * dtype.itemsize, len(stored.raw_data), "bytes")
        raw = torch.frombuffer(bytearray(stored.raw_data), dtype=torch.uint8) if count else torch.zeros(0).byte()
    else:
        field, integer = FIELDS[stored.data_type]
        numbers = getattr(stored, field)
        _check_size(path, what, shape, count, len(numbers), "values")
        wide = np.array(numbers, None if count else integer)
        raw = torch.from_numpy(wide.astype(integer, copy=False).view(np.uint8).copy())
    return raw.view(dtype).view(shape)


def _external(path: Path, stored: onnx.TensorProto, size: int) -> Tensor:
    """Map a part of a data file into memory, as bytes: pages are read when they are used, and never written."""
    what = f"tensor '{stored.name}'"
    entries = {entry.key: entry.value for entry in stored.external_data}
    location = entries.get("location", "")
    folder = path.parent.resolve()
    target = (folder / location).resolve()
    if not location or "\0" in location or not target.is_relative_to(folder):
        raise LoadError(
            f"'{path}' is refused: {what} names the data file {location!r} outside of its folder: copy the data file "
            "beside the model, and no link to it"
        )
    data = existing_file(target)
    numbers = [entries.get("offset", "0"), entries.get("length", str(size))]
    if not all(number.isdecimal() and len(number) < 20 for number in numbers):
        where = f"byte {numbers[0]!r} and on for {numbers[1]!r}"
        raise LoadError(f"'{path}' is damaged: {what} lies in '{location}' at {where}: {COPY}")
    offset, length = map(int, numbers)
    _check_size(path, what, tuple(stored.dims), size, length, "bytes")
    if offset + length > data.stat().st_size:
        raise LoadError(
            f"'{data}' is truncated: {what} of '{path.name}' ends at byte {offset + length:,}, the file at "
            f"{data.stat().st_size:,}: copy it again"
        )
    if not size:
        return torch.zeros(0, dtype=torch.uint8)
    mapped: Any = np.memmap(data, np.uint8, "c", offset, (size,))
    # torch reads numbers at whole multiples of their size only
    return torch.from_numpy(mapped if offset % 8 == 0 else np.array(mapped))


def _check_size(path: Path, what: str, shape: tuple[int, ...], declared: int, found: int, unit: str) -> None:
    if declared != found:
        raise LoadError(
            f"'{path}' is damaged: {what} of shape {shape} takes {declared:,} {unit}, but {found:,} are there: {COPY}"
        )
