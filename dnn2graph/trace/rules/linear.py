"""Dense layers: a matrix product of neurons with a parameter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...links import Axis
from ...weights import Call, Expression, transposed
from ..aten import aten
from ..build import as_expression, unique
from ..connect import connect_convolution
from ..mixing import mix
from ..registry import rule
from ..watch import Operation, Watch
from .composed import by_definition


@rule(aten.mm.default, aten.bmm.default, aten.mv.default, aten.dot.default)
def product(watch: Watch, operation: Operation) -> None:
    """``x @ W`` or ``W @ x``."""
    _product(watch, operation, *operation.args)


@rule(aten.addmm.default, aten.baddbmm.default, aten.addmv.default)
def biased_product(watch: Watch, operation: Operation) -> None:
    """``beta * bias + alpha * (x @ W)``."""
    bias, one, other = operation.args
    beta, alpha = operation.argument("beta", 1), operation.argument("alpha", 1)
    if watch.is_neuron(one) and watch.is_neuron(other):
        _contract(watch, operation, one, other, bias)
        return
    if watch.is_neuron(bias):
        by_definition(watch, operation, lambda bias, one, other, **_: beta * bias + alpha * (one @ other))
        return
    expression = watch.expression(bias)
    _product(watch, operation, one, other, expression if beta == 1 else Call(torch.mul, (expression, beta)), alpha)


@rule(aten.linear.default)
def linear(watch: Watch, operation: Operation) -> None:
    """``x @ weight.T + bias``, where torch does not split it."""
    x, weight = operation.args[:2]
    bias = operation.argument("bias")
    if not watch.is_neuron(x) or watch.is_neuron(weight) or watch.is_neuron(bias):
        by_definition(watch, operation, lambda x, weight, _=None: x @ weight.t() + (0 if bias is None else bias))
        return
    dense(watch, operation, x, watch.expression(weight), None if bias is None else watch.expression(bias))


def _product(
    watch: Watch, operation: Operation, one: Tensor, other: Tensor, bias: Expression | None = None, alpha: Any = 1
) -> None:
    if watch.is_neuron(one) and watch.is_neuron(other):
        _contract(watch, operation, one, other)
        return
    neurons_first = watch.is_neuron(one)
    x, matrix = (one, other) if neurons_first else (other, one)
    weight = watch.expression(matrix)
    if alpha != 1:
        weight = Call(torch.mul, (weight, alpha))
    if matrix.dim() == 3:  # a matrix for each entry of the batch
        if matrix.shape[0] > 1 and matrix.stride(0) != 0:
            _grouped(watch, operation, x, weight, neurons_first, bias)
            return
        weight = Call(torch.select, (weight, 0, 0))
    if matrix.dim() == 1:
        weight = Call(torch.unsqueeze, (weight, 1 if neurons_first else 0))
    if neurons_first:
        weight = transposed(weight)
        dense(watch, operation, x, weight, bias)  # x (…, in), weight (out, in)
    else:
        dense(watch, operation, x, weight, bias, axis=-1 if x.dim() == 1 else -2)  # x (…, in, columns)


def dense(
    watch: Watch, operation: Operation, x: Tensor, weight: Expression, bias: Expression | None, axis: int = -1
) -> None:
    """Link along one axis of the input; every other axis counts copies of the same links."""
    source = watch.ids(x).movedim(axis, -1)
    out = operation.out
    scalar = out.dim() < x.dim()  # a matrix-vector product drops the axis
    shaped = out.unsqueeze(axis) if scalar else out
    if scalar and bias is not None and len(watch.expressions.shape(bias)) == out.dim():
        bias = Call(torch.unsqueeze, (bias, axis))
    new = watch.new_by_axis(shaped.shape, axis)
    ids = watch.born(operation, shaped, "linear", new, bias=bias, channel_axis=axis % shaped.dim())
    target = ids.movedim(axis, -1)
    copies = source.shape[:-1].numel()
    connect_convolution(
        watch, source.reshape(copies, source.shape[-1]), target.reshape(copies, target.shape[-1]), (), 1, weight
    )


def _contract(watch: Watch, operation: Operation, one: Tensor, other: Tensor, added: Any = None) -> None:
    """Multiply neurons (…, rows, summed) by neurons (…, summed, columns): every product of a sum is gated by both."""
    a, b = watch.ids(one), watch.ids(other)
    operands = unique([one, other])
    if watch.is_neuron(added):
        operands = unique([*operands, added])
    if one.dim() == 1:  # (summed,) · (summed,)
        reads = [a, b]
    elif other.dim() == 1:
        reads = [a, b[None]]
    else:
        reads = [a.unsqueeze(-2), b.transpose(-1, -2).unsqueeze(-3)]  # (…, rows, columns, summed)
    if watch.is_neuron(added):
        reads.append(watch.ids(added).expand(operation.out.shape).unsqueeze(-1))
    mix(
        watch,
        operation,
        operation.out,
        reads,
        as_expression(watch, operation, operands),
        [watch.ids(t) for t in operands],
        kind="product",
        channel_axis=-1,
    )


def _grouped(
    watch: Watch, operation: Operation, x: Tensor, weight: Expression, neurons_first: bool, bias: Expression | None
) -> None:
    """Link each entry of a batch through a matrix of its own: a grouped convolution.

    ``x`` is (groups, columns, in) and the weight (groups, in, out), or (groups, in, columns) and (groups, out, in).
    """
    out, groups = operation.out, x.shape[0]
    axis = 2 if neurons_first else 1
    source = watch.ids(x).movedim(axis, 1)  # (groups, in, columns)
    if watch.by_position:
        local = watch.new_by_element(out.shape)
    else:
        local = torch.arange(groups * out.shape[axis]).view([groups, 1, -1] if neurons_first else [groups, -1, 1])
        local = local.expand(out.shape)
    ids = watch.born(operation, out, "linear", local, bias=bias, channel_axis=axis)
    target = ids.movedim(axis, 1)  # (groups, out, columns)
    if neurons_first:
        weight = Call(torch.transpose, (weight, 1, 2))  # (groups, out, in)
    kernel = Call(torch.flatten, (weight, 0, 1))  # (groups * out, in)
    columns = source.shape[2]
    kernel = Call(torch.unsqueeze, (kernel, -1))
    connect_convolution(
        watch, source.flatten(0, 1)[None], target.flatten(0, 1)[None], [Axis.identity(columns)], groups, kernel
    )
