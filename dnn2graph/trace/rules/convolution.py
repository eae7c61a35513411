"""Convolutions of any dimension: stride, padding, dilation, groups, transposed."""

from __future__ import annotations

import torch

from ...links import Axis
from ...nodes import NO_NODE
from ...weights import Call, Expression
from ..aten import aten
from ..build import as_expression
from ..connect import connect_convolution
from ..mixing import mix
from ..registry import rule
from ..watch import Operation, Refused, Watch


@rule(aten.convolution.default)
def convolution(watch: Watch, operation: Operation) -> None:
    """Slide a kernel over (samples, channels, *positions)."""
    x, kernel, bias, stride, padding, dilation, transposed, _, groups = operation.args
    if not watch.is_neuron(x) or watch.is_neuron(kernel) or watch.is_neuron(bias):
        _with_neurons_as_kernel(watch, operation)
        return
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


def _with_neurons_as_kernel(watch: Watch, operation: Operation) -> None:
    """Gate what the kernel slides over by the kernel's own neurons."""
    x, kernel, bias, stride, padding, dilation, transposed, _, groups = operation.args
    if transposed:
        raise Refused("a kernel made of neurons, transposed")
    out, dims = operation.out, x.dim() - 2
    operands = [t for t in (x, kernel, bias) if watch.is_neuron(t)]
    reads = []
    if watch.is_neuron(x):
        ends = [_at(padding, axis) for axis in reversed(range(dims)) for _ in range(2)]
        ids = torch.constant_pad_nd(watch.ids(x), ends, NO_NODE)
        for axis in range(dims):
            reach = (kernel.shape[2 + axis] - 1) * _at(dilation, axis) + 1
            ids = ids.unfold(2 + axis, reach, _at(stride, axis))[..., :: _at(dilation, axis)]
        ids = ids.unflatten(1, (groups, -1)).movedim(2, -1 - dims)  # (samples, groups, *out, in, *taps)
        ids = ids.flatten(-1 - dims).unsqueeze(2)
        reads.append(ids.expand(-1, -1, out.shape[1] // groups, *ids.shape[3:]).flatten(1, 2))
    if watch.is_neuron(kernel):
        reads.append(watch.ids(kernel).flatten(1).view(1, out.shape[1], *[1] * dims, -1))
    if watch.is_neuron(bias):
        reads.append(watch.ids(bias).view(1, -1, *[1] * dims, 1))
    function = as_expression(watch, operation, operands)
    sources = [watch.ids(t) for t in operands]
    mix(watch, operation, out, reads, function, sources, kind="product", channel_axis=1)


def to_out_first(kernel: torch.Tensor, groups: int) -> torch.Tensor:
    """Bring a transposed convolution's kernel (in, out / groups, *taps) to (out, in / groups, *taps)."""
    grouped = kernel.reshape(groups, -1, *kernel.shape[1:])  # (groups, in, out, *taps)
    return grouped.transpose(1, 2).flatten(0, 1)


def _at(setting: list[int], axis: int) -> int:
    """Return the setting of an axis; torch lets one number stand for all."""
    return setting[axis] if len(setting) > 1 else setting[0]
