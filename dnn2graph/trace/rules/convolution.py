"""Convolutions of any dimension: stride, padding, dilation, groups, transposed."""

from __future__ import annotations

import torch

from ...links import Axis
from ...weights import Call, Expression
from ..connect import connect_convolution
from ..registry import rule
from ..watch import Operation, Refused, Watch

aten = torch.ops.aten


@rule(aten.convolution.default)
def convolution(watch: Watch, operation: Operation) -> None:
    """Slide a kernel over (samples, channels, *positions)."""
    x, kernel, bias, stride, padding, dilation, transposed, _, groups = operation.args
    if not watch.is_neuron(x) or watch.is_neuron(kernel) or watch.is_neuron(bias):
        raise Refused("a kernel made of neurons")
    out, weight = operation.out, watch.expression(kernel)
    axes = [
        (Axis.transposed if transposed else Axis.convolution)(
            x.shape[2 + i],
            out.shape[2 + i],
            kernel.shape[2 + i],
            stride=_at(stride, i),
            dilation=_at(dilation, i),
            padding=_at(padding, i),
        )
        for i in range(x.dim() - 2)
    ]
    if transposed:  # torch keeps (in, out / groups, *taps)
        weight = Call(to_out_first, (weight, groups))
    shift: Expression | None = None
    if bias is not None:
        shift = Call(torch.reshape, (watch.expression(bias), (-1, *[1] * (x.dim() - 2))))
    source = watch.ids(x)
    ids = watch.born(operation, out, "conv", watch.new_by_axis(out.shape, 1), bias=shift, channel_axis=1)
    connect_convolution(watch, source, ids, axes, groups, weight)


def to_out_first(kernel: torch.Tensor, groups: int) -> torch.Tensor:
    """Bring a transposed convolution's kernel (in, out / groups, *taps) to (out, in / groups, *taps)."""
    grouped = kernel.reshape(groups, -1, *kernel.shape[1:])  # (groups, in, out, *taps)
    return grouped.transpose(1, 2).flatten(0, 1)


def _at(setting: list[int], axis: int) -> int:
    """Return the setting of an axis; torch lets one number stand for all."""
    return setting[axis] if len(setting) > 1 else setting[0]
