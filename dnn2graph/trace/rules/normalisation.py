"""Batch normalisation in eval mode: a scale and a shift for each channel."""

from __future__ import annotations

import torch
from torch import Tensor

from ...weights import Call, Expression, normalisation_scale, normalisation_shift
from ..connect import connect_elementwise
from ..registry import rule
from ..watch import Operation, Refused, Watch

aten = torch.ops.aten


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


@rule(aten._native_batch_norm_legit.no_stats)
def instance_norm(watch: Watch, operation: Operation) -> None:
    """Statistics of the sample itself are not a fixed scale."""
    raise Refused("normalisation by the sample's own statistics")


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
    if training or mean is None or variance is None:
        raise Refused("batch-norm by batch statistics; it must run in eval mode with running statistics")
    shape = (-1, *[1] * (x.dim() - 2))

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
