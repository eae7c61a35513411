"""Dense layers: a matrix product of neurons with a parameter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...weights import Call, Expression, transposed
from ..connect import connect_convolution
from ..registry import rule
from ..watch import Operation, Refused, Watch

aten = torch.ops.aten


@rule(aten.mm.default, aten.bmm.default, aten.mv.default, aten.dot.default)
def product(watch: Watch, operation: Operation) -> None:
    """``x @ W`` or ``W @ x``."""
    _product(watch, operation, *operation.args)


@rule(aten.addmm.default, aten.baddbmm.default, aten.addmv.default)
def biased_product(watch: Watch, operation: Operation) -> None:
    """``beta * bias + alpha * (x @ W)``."""
    bias, one, other = operation.args
    beta, alpha = operation.argument("beta", 1), operation.argument("alpha", 1)
    if watch.is_neuron(bias):
        raise Refused("a matrix product is added to neurons in one operation")
    expression = watch.expression(bias)
    _product(watch, operation, one, other, expression if beta == 1 else Call(torch.mul, (expression, beta)), alpha)


@rule(aten.linear.default)
def linear(watch: Watch, operation: Operation) -> None:
    """``x @ weight.T + bias``, where torch does not split it."""
    x, weight = operation.args[:2]
    bias = operation.argument("bias")
    if not watch.is_neuron(x) or watch.is_neuron(weight) or watch.is_neuron(bias):
        raise Refused("neurons times neurons")
    _dense(watch, operation, x, watch.expression(weight), None if bias is None else watch.expression(bias))


def _product(
    watch: Watch, operation: Operation, one: Tensor, other: Tensor, bias: Expression | None = None, alpha: Any = 1
) -> None:
    if watch.is_neuron(one) and watch.is_neuron(other):
        raise Refused("neurons times neurons")
    neurons_first = watch.is_neuron(one)
    x, matrix = (one, other) if neurons_first else (other, one)
    weight = watch.expression(matrix)
    if alpha != 1:
        weight = Call(torch.mul, (weight, alpha))
    if matrix.dim() == 3:  # a matrix for each entry of the batch
        if matrix.shape[0] > 1 and matrix.stride(0) != 0:
            raise Refused("a different matrix for each entry of a batch")
        weight = Call(torch.select, (weight, 0, 0))
    if matrix.dim() == 1:
        weight = Call(torch.unsqueeze, (weight, 1 if neurons_first else 0))
    if neurons_first:
        weight = transposed(weight)
        _dense(watch, operation, x, weight, bias)  # x (…, in), weight (out, in)
    else:
        _dense(watch, operation, x, weight, bias, axis=-1 if x.dim() == 1 else -2)  # x (…, in, columns)


def _dense(
    watch: Watch, operation: Operation, x: Tensor, weight: Expression, bias: Expression | None, axis: int = -1
) -> None:
    """Link along one axis of the input; every other axis counts copies of the same links."""
    source = watch.ids(x).movedim(axis, -1)
    out = operation.out
    scalar = out.dim() < x.dim()  # a matrix-vector product drops the axis
    shaped = out.unsqueeze(axis) if scalar else out
    new = watch.new_by_axis(shaped.shape, axis)
    ids = watch.born(operation, shaped, "linear", new, bias=bias, channel_axis=axis % shaped.dim())
    target = ids.movedim(axis, -1)
    copies = source.shape[:-1].numel()
    connect_convolution(
        watch, source.reshape(copies, source.shape[-1]), target.reshape(copies, target.shape[-1]), (), 1, weight
    )
