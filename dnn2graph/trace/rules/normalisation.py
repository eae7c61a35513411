"""Normalisation: by fixed statistics, a scale and a shift for each channel; by the sample's own, gates beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...weights import Call, Expression, Value, normalisation_scale, normalisation_shift
from ..aten import aten
from ..build import as_expression, channel_axis, operand_nodes
from ..connect import connect_elementwise
from ..mixing import mix
from ..registry import rule
from ..watch import Operation, Refused, Watch
from .composed import by_definition

BATCH_STATISTICS = "batch-norm by batch statistics; it must run in eval mode with running statistics"


@rule(aten.native_batch_norm.default, aten.cudnn_batch_norm.default, aten.miopen_batch_norm.default)
def batch_norm(watch: Watch, operation: Operation) -> None:
    """``weight * (x - running_mean) / sqrt(running_var + eps) + bias``."""
    x, weight, bias, mean, variance, training = operation.args[:6]
    _normalise(watch, operation, x, weight, bias, mean, variance, training, operation.args[7])


@rule(aten._native_batch_norm_legit_no_training.default)
def batch_norm_without_training(watch: Watch, operation: Operation) -> None:
    """The same, as exported programs hold it."""
    x, weight, bias, mean, variance, _, epsilon = operation.args
    _normalise(watch, operation, x, weight, bias, mean, variance, False, epsilon)


@rule(aten.native_layer_norm.default)
def layer_norm(watch: Watch, operation: Operation) -> None:
    """Normalise over the last axes by their own mean and variance."""
    x, shape = operation.args[:2]
    kept = x.dim() - len(shape)
    _by_own_statistics(watch, operation, x, tuple(range(kept, x.dim())), shape)


@rule(aten._fused_rms_norm.default)
def rms_norm(watch: Watch, operation: Operation) -> None:
    """Divide by the root of the mean square over the last axes."""
    layer_norm(watch, operation)


@rule(aten.native_group_norm.default)
def group_norm(watch: Watch, operation: Operation) -> None:
    """Normalise each group of channels by its own mean and variance."""
    x, groups = operation.args[0], operation.argument("group")
    _by_own_statistics(watch, operation, x, tuple(range(1, x.dim())), (-1, *[1] * (x.dim() - 2)), groups)


@rule(aten._native_batch_norm_legit.no_stats)
def instance_norm(watch: Watch, operation: Operation) -> None:
    """Normalise each channel by the sample's own statistics.

    With one sample torch runs the same operation for a batch-norm without running statistics, which is refused.
    """
    if watch.modules.joins_samples:
        raise Refused(BATCH_STATISTICS)
    x = operation.args[0]
    _by_own_statistics(watch, operation, x, (0, *range(2, x.dim())), (-1, *[1] * (x.dim() - 2)))


def _affine_by_neurons(watch: Watch, operation: Operation, shape: Sequence[int]) -> bool:
    """Normalise alone, and scale and shift then, where scale or shift are neurons; say whether they are."""
    affine = weight, bias = operation.argument("weight"), operation.argument("bias")
    if not any(map(watch.is_neuron, affine)):
        return False

    def definition(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        plain, *others = operation.func(*(None if any(each is t for t in affine) else each for each in args), **kwargs)
        scaled = plain if weight is None else plain * weight.reshape(shape)
        return (scaled if bias is None else scaled + bias.reshape(shape), *others)

    by_definition(watch, operation, definition)
    return True


def _by_own_statistics(
    watch: Watch, operation: Operation, x: Tensor, over: tuple[int, ...], shape: Sequence[int], groups: int = 1
) -> None:
    """Scale each neuron by a learned weight, gated by a normaliser that reads all neurons along some axes.

    Parameters
    ----------
    over : tuple of int
        The axes that share a normaliser; axis 1 is divided into ``groups``.
    shape : sequence of int
        In which the learned weight broadcasts against ``x``.
    """
    if _affine_by_neurons(watch, operation, tuple(shape)):
        return
    source, out = watch.ids(x), operation.out[0]
    function = as_expression(watch, operation, [x])
    split = source.unflatten(1, (groups, -1)) if groups > 1 else source
    axes = tuple(axis + 1 for axis in over) if groups > 1 else over
    kept = [1 if axis in axes else length for axis, length in enumerate(split.shape)]
    read = split.movedim(axes, tuple(range(split.dim() - len(axes), split.dim())))
    read = read.reshape(*read.shape[: split.dim() - len(axes)], -1).reshape(*kept, -1)
    centred, epsilon = operation.func is not aten._fused_rms_norm.default, operation.argument("eps")
    statistic = normaliser_of(x, over, groups, epsilon, centred)
    gates = mix(
        watch,
        Operation(operation.func, operation.args, operation.kwargs, statistic, "normaliser"),
        statistic,
        [read],
        Call(normaliser_of, (Value(0), over, groups, epsilon, centred)),
        [source],
        channel_axis=1,
    )
    gates = gates.expand(split.shape).reshape(x.shape)
    weight = operation.argument("weight")
    ids = watch.born(
        operation,
        out,
        "norm",
        watch.new_by_source(source, gates),
        function=function,
        operands=operand_nodes(watch, [source]),
        channel_axis=channel_axis(watch, x, out),
    )
    if weight is None:
        connect_elementwise(watch, source, ids)
    else:
        connect_elementwise(watch, source, ids, "weight", Call(torch.reshape, (watch.expression(weight), tuple(shape))))
    connect_elementwise(watch, gates, ids, "gate")


def normaliser_of(x: Tensor, over: tuple[int, ...], groups: int, epsilon: float | None, centred: bool) -> Tensor:
    """Return one over the standard deviation along some axes, or the root mean square: what gates the neurons there."""
    if groups > 1:
        x, over = x.unflatten(1, (groups, -1)), tuple(axis + 1 for axis in over)
    epsilon = torch.finfo(x.dtype).eps if epsilon is None else epsilon
    square = x.var(over, correction=0, keepdim=True) if centred else x.square().mean(over, keepdim=True)
    return torch.rsqrt(square + epsilon)


def _normalise(
    watch: Watch,
    operation: Operation,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    training: bool,
    epsilon: float,
) -> None:
    if mean is None or variance is None:
        instance_norm(watch, operation)
        return
    if training:
        raise Refused(BATCH_STATISTICS)
    if watch.is_neuron(mean) or watch.is_neuron(variance):
        raise Refused("running statistics that depend on the input")
    shape = (-1, *[1] * (x.dim() - 2))
    if _affine_by_neurons(watch, operation, shape):
        return

    def expression(t: Tensor | None) -> Expression | None:
        return None if t is None else watch.expression(t)

    scale = Call(normalisation_scale, (expression(weight), expression(variance), epsilon))
    shift = Call(normalisation_shift, (expression(bias), expression(mean), scale))
    out = operation.out[0]
    source = watch.ids(x)
    moved = Call(torch.reshape, (shift, shape))
    new = watch.new_by_source(source, bias=moved)
    ids = watch.born(operation, out, "norm", new, bias=moved, channel_axis=1)
    connect_elementwise(watch, source, ids, "weight", Call(torch.reshape, (scale, shape)))
