"""Pooling and reductions: average, maximum, adaptive and global; sums and means along axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ...links import Window
from ..aten import aten
from ..build import as_expression, operand_nodes, pool
from ..registry import rule
from ..watch import Operation, Watch


@rule(aten.avg_pool1d.default, aten.avg_pool2d.default, aten.avg_pool3d.default)
def average_pool(watch: Watch, operation: Operation) -> None:
    """Average over sliding windows, counting padding or not."""
    x, out = operation.args[0], operation.out
    padded, divisor = operation.argument("count_include_pad", True), operation.argument("divisor_override")
    windows: dict[int, list[Window]] = {}
    for place, (axis, (kernel, stride, padding, _)) in enumerate(_slides(operation, x).items()):
        starts = np.arange(out.shape[axis]) * stride - padding
        stops = np.minimum(starts + kernel, x.shape[axis] + padding)
        windows[axis] = []
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            members = np.arange(max(start, 0), min(stop, x.shape[axis]))
            size = stop - start if padded else len(members)
            share = size if divisor is None else divisor if place == 0 else 1
            windows[axis].append(Window(members, share, size))
    pool(watch, operation, x, out, windows, "pool")


@rule(aten.max_pool1d.default, aten.max_pool2d_with_indices.default, aten.max_pool3d_with_indices.default)
def max_pool(watch: Watch, operation: Operation) -> None:
    """Maximum over sliding windows."""
    x, out = operation.args[0], _first(operation.out)
    windows = {}
    for axis, (kernel, stride, padding, dilation) in _slides(operation, x).items():
        places = np.arange(out.shape[axis])[:, None] * stride - padding + np.arange(kernel) * dilation
        windows[axis] = [Window(row[(row >= 0) & (row < x.shape[axis])], kernel, kernel) for row in places]
    _maximum(watch, operation, x, out, windows)


@rule(aten._adaptive_avg_pool2d.default, aten._adaptive_avg_pool3d.default, aten.adaptive_avg_pool1d.default)
def adaptive_average_pool(watch: Watch, operation: Operation) -> None:
    """Average over as many windows as asked for."""
    pool(watch, operation, operation.args[0], operation.out, _adaptive(operation), "pool")


@rule(aten.adaptive_max_pool2d.default, aten.adaptive_max_pool3d.default)
def adaptive_max_pool(watch: Watch, operation: Operation) -> None:
    """Maximum over as many windows as asked for."""
    x, out = operation.args[0], operation.out[0]
    _maximum(watch, operation, x, out, _adaptive(operation))


@rule(aten.mean.dim, aten.mean.default)
def mean(watch: Watch, operation: Operation) -> None:
    """Average along axes."""
    x = operation.args[0]
    windows = {axis: _whole(x.shape[axis], x.shape[axis]) for axis in _axes(operation, x)}
    pool(watch, operation, x, operation.out, windows, "pool")


@rule(aten.sum.dim_IntList, aten.sum.default)
def total(watch: Watch, operation: Operation) -> None:
    """Sum along axes."""
    x = operation.args[0]
    windows = {axis: _whole(x.shape[axis], 1) for axis in _axes(operation, x)}
    pool(watch, operation, x, operation.out, windows, "unit")


@rule(aten.amax.default, aten.amin.default, aten.max.dim, aten.min.dim, aten.max.default, aten.min.default)
def extreme(watch: Watch, operation: Operation) -> None:
    """Maximum or minimum along axes."""
    x = operation.args[0]
    windows = {axis: _whole(x.shape[axis], x.shape[axis]) for axis in _axes(operation, x)}
    _maximum(watch, operation, x, _first(operation.out), windows)


def _maximum(watch: Watch, operation: Operation, x: Tensor, out: Tensor, windows: dict[int, list[Window]]) -> None:
    """Pool by a function that is not linear; its links carry the nominal share ``1 / window size``."""
    expression = as_expression(watch, operation, [x])
    pool(watch, operation, x, out, windows, "pool", function=expression, operands=operand_nodes(watch, [watch.ids(x)]))


def _slides(operation: Operation, x: Tensor) -> dict[int, tuple[int, int, int, int]]:
    """Return kernel size, stride, padding and dilation for each pooled axis."""
    kernel = _sequence(operation.argument("kernel_size"))
    count = _pooled_axes(operation)

    def setting(name: str, default: Sequence[int]) -> list[int]:
        given = _sequence(operation.argument(name)) or list(default)
        return given if len(given) == count else given * count

    kernel = kernel if len(kernel) == count else kernel * count
    stride, padding = setting("stride", kernel), setting("padding", [0])
    dilation = setting("dilation", [1])
    return {x.dim() - count + i: (kernel[i], stride[i], padding[i], dilation[i]) for i in range(count)}


def _pooled_axes(operation: Operation) -> int:
    """Count the axes that an operation such as ``avg_pool2d`` pools along, the last ones."""
    return int(operation.func._schema.name.split("pool")[1][0])


def _adaptive(operation: Operation) -> dict[int, list[Window]]:
    x, out, windows = operation.args[0], _first(operation.out), {}
    for axis in range(x.dim() - _pooled_axes(operation), x.dim()):
        inputs, outputs = x.shape[axis], out.shape[axis]
        members = [np.arange(i * inputs // outputs, -(-(i + 1) * inputs // outputs)) for i in range(outputs)]
        windows[axis] = [Window(m, len(m), len(m)) for m in members]
    return windows


def _axes(operation: Operation, x: Tensor) -> list[int]:
    """Return the axes that a reduction runs over; all of them where none is given."""
    dims = operation.argument("dim") if x.dim() else None
    dims = [dims] if isinstance(dims, int) else dims
    return sorted(d % x.dim() for d in dims) if dims else list(range(x.dim()))


def _whole(length: int, divisor: int) -> list[Window]:
    return [Window(np.arange(length), divisor, length)]


def _sequence(value: Any) -> list[int]:
    return [] if value is None else [value] if isinstance(value, int) else list(value)


def _first(out: Any) -> Tensor:
    return out if isinstance(out, Tensor) else out[0]
