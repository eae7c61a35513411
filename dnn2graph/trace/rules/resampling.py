"""Interpolation between positions: a linear map along each axis."""

from __future__ import annotations

from math import prod

import torch

from ...links import Axis, Convolution
from ...weights import Constant
from ..aten import aten
from ..build import channel_axis
from ..connect import connect_elementwise
from ..ids import changes_along, fill_gaps
from ..registry import rule
from ..watch import Operation, Watch


@rule(
    aten.upsample_linear1d.default,
    aten.upsample_bilinear2d.default,
    aten._upsample_bilinear2d_aa.default,
    aten.upsample_bicubic2d.default,
    aten._upsample_bicubic2d_aa.default,
    aten.upsample_trilinear3d.default,
)
def interpolate(watch: Watch, operation: Operation) -> None:
    """Average neighbouring positions of (samples, channels, *positions); the shares of each sum to 1."""
    x, out = operation.args[0], operation.out
    source = watch.ids(x)
    axes = list(range(2, x.dim()))
    if not watch.by_position:  # each channel is linked to itself, unless its positions are different nodes
        source = fill_gaps(source, axes)
        axes = [axis for axis in axes if changes_along(source, axis)]
        if not axes:
            source = source[(slice(None), slice(None), *[slice(1)] * (x.dim() - 2))].expand(out.shape)
            ids = watch.born(operation, out, "pool", watch.new_by_source(source), channel_axis=1)
            connect_elementwise(watch, source, ids, "pool")
            return
    kept = [length if axis < 2 or axis in axes else 1 for axis, length in enumerate(out.shape)]
    local = watch.new_by_element(kept).expand(out.shape)
    ids = watch.born(operation, out, "pool", local, channel_axis=channel_axis(watch, x, out))
    for axis in set(range(2, x.dim())) - set(axes):
        source, ids = source.narrow(axis, 0, 1), ids.narrow(axis, 0, 1)
    windows, kernel = [], torch.ones(1, 1, dtype=torch.float64)
    for axis in axes:
        window, weights = Axis.linear(_matrix(operation, axis).numpy())
        windows.append(window)
        kernel = kernel[..., None] * torch.from_numpy(weights)
    geometry = Convolution(1, 1, tuple(windows), copies=prod(x.shape[:2]))
    watch.link("pool", source, ids, geometry, Constant(kernel))


def _matrix(operation: Operation, axis: int) -> torch.Tensor:
    """Measure the map along one axis, float64 (outputs, inputs), on unit vectors that are the same along the others."""
    x = operation.args[0]
    size, others = x.shape[axis], x.shape[2:]
    unit = torch.eye(size, dtype=torch.float64).view(size, 1, *(size if i == axis else 1 for i in range(2, x.dim())))
    unit = unit.expand(size, 1, *others).contiguous()
    result = operation.func(unit, *operation.args[1:], **operation.kwargs)
    for other in reversed(range(2, x.dim())):
        if other != axis:
            result = result.select(other, 0)
    return result[:, 0].T
