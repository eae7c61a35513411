"""Elementwise operations: activations, sums, constant factors, products and other functions of several neurons."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...weights import Call, Expression
from ..aten import aten
from ..build import activation, channel_axis, function, tensor_arguments, unique
from ..connect import connect_elementwise, connect_operands
from ..registry import rule
from ..watch import Operation, Refused, Watch

MASKED = -1e4  # what models add to a score so that nothing of it is left; the largest that half precision takes


@rule(
    aten.hardswish.default,
    aten.leaky_relu.default,
    aten._prelu_kernel.default,
    aten.log_sigmoid_forward.default,
    aten._softmax.default,
    aten._safe_softmax.default,
    aten._log_softmax.default,
)
def elementwise(watch: Watch, operation: Operation) -> None:
    """Any elementwise operation: an activation of one neuron operand, else a function of several.

    Softmax stands here too: it is a function of the layer's sums, though not of each by itself.
    """
    outs = [t for t in tensor_arguments(operation) if watch.is_neuron(t)]
    if len(unique(outs)) == 1 and outs[0].shape == _out(operation).shape:
        activation(watch, operation)
    else:
        function(watch, operation)


@rule(aten.rrelu_with_noise.default)
def leaky_relu(watch: Watch, operation: Operation) -> None:
    """Randomised leaky ReLU, in eval mode the leaky ReLU of its mean slope."""
    x, lower, upper = operation.args[0], operation.argument("lower"), operation.argument("upper")
    if operation.argument("training", False):
        raise Refused("random slopes; it must run in eval mode")
    activation(watch, Operation(aten.leaky_relu.default, (x, (lower + upper) / 2), {}, operation.out), "rrelu")


@rule(aten.add.Tensor, aten.add.Scalar, aten.sub.Tensor, aten.sub.Scalar)
def add(watch: Watch, operation: Operation) -> None:
    """``a ± alpha * b``: a sum of neurons, or a bias."""
    a, b = operation.args[:2]
    constants = [t for t in (a, b) if not watch.is_neuron(t)]
    if not watch.expressions.depends_on_parameters(constants) and any(is_mask(t) for t in constants):
        activation(watch, operation, "mask")
        return
    factor = operation.argument("alpha", 1) * (-1 if operation.name == "sub" else 1)
    combine(watch, operation, [(a, 1), (b, factor)])


def is_mask(value: Any) -> bool:
    """Whether a constant stands for minus infinity somewhere: it hides neurons, as attention masks do."""
    if isinstance(value, Tensor) and value.is_floating_point() and value.device.type != "meta":
        return value.numel() > 0 and float(value.min()) <= MASKED
    return isinstance(value, int | float) and value <= MASKED


@rule(aten.rsub.Scalar, aten.rsub.Tensor)
def subtract_from(watch: Watch, operation: Operation) -> None:
    """``b - alpha * a``."""
    a, b = operation.args[:2]
    combine(watch, operation, [(a, -operation.argument("alpha", 1)), (b, 1)])


@rule(aten.neg.default)
def negate(watch: Watch, operation: Operation) -> None:
    """``-a``."""
    combine(watch, operation, [(operation.args[0], -1)])


def combine(watch: Watch, operation: Operation, terms: list[tuple[Any, float]]) -> None:
    """Make a layer that sums terms ``factor * value``; what is no neuron becomes the bias."""
    out = operation.out
    neurons = [(t, factor) for t, factor in terms if watch.is_neuron(t)]
    bias: Expression | None = None
    for value, factor in terms:
        if not watch.is_neuron(value) and not (isinstance(value, int | float) and value == 0):
            bias = watch.expression(value)
            bias = bias if factor == 1 else Call(torch.mul, (bias, factor))
    sources = [watch.ids(t) for t, _ in neurons]
    new = watch.new_by_source(*(source.expand(out.shape) for source in sources), bias=bias)
    axis = channel_axis(watch, max((t for t, _ in neurons), key=torch.Tensor.numel), out)
    ids = watch.born(operation, out, "sum" if len(neurons) > 1 else "scale", new, bias=bias, channel_axis=axis)
    connect_operands(watch, sources, ids, "unit", [factor for _, factor in neurons])


@rule(aten.mul.Tensor, aten.mul.Scalar)
def multiply(watch: Watch, operation: Operation) -> None:
    """``a * b``: a product of neurons, or a scale."""
    a, b = operation.args[:2]
    if watch.is_neuron(a) and watch.is_neuron(b):
        function(watch, operation, "product")
    elif watch.is_neuron(a):
        scale(watch, operation, a, b)
    else:
        scale(watch, operation, b, a)


@rule(aten.div.Tensor, aten.div.Scalar)
def divide(watch: Watch, operation: Operation) -> None:
    """``a / b``: a scale where ``b`` is no neuron."""
    a, b = operation.args[:2]
    if watch.is_neuron(b):
        elementwise(watch, operation)
    elif isinstance(b, Tensor):
        divisor = watch.expression(b)
        if b.dtype != operation.out.dtype:  # else one over a whole number would be single precision
            divisor = Call(torch.Tensor.to, (divisor, operation.out.dtype))
        scale(watch, operation, a, Call(torch.reciprocal, (divisor,)))
    else:
        scale(watch, operation, a, 1 / b)


def scale(watch: Watch, operation: Operation, x: Tensor, factor: Any) -> None:
    """Make a layer that multiplies each neuron by a number, a constant or a parameter."""
    learned = isinstance(factor, Expression) or watch.expressions.depends_on_parameters([factor])
    if isinstance(factor, Tensor):
        factor = watch.expression(factor)
    source = watch.ids(x).expand(operation.out.shape)
    axis = channel_axis(watch, x, operation.out)
    ids = watch.born(operation, operation.out, "scale", watch.new_by_source(source), channel_axis=axis)
    connect_elementwise(watch, source, ids, "weight" if learned else "unit", factor)


def _out(operation: Operation) -> Tensor:
    return operation.out if isinstance(operation.out, Tensor) else operation.out[0]
