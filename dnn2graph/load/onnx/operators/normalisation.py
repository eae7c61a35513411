"""Normalisation by stored statistics, or by those of the sample itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, finfo

from ..registry import operator
from .settings import axis

if TYPE_CHECKING:
    from ..module import Step


@operator("BatchNormalization")
def batch_norm(step: Step, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """By the stored statistics, whatever ``momentum`` says."""
    if step.get("training_mode", 0):
        raise step.refuse("it normalises by the statistics of the batch (training_mode)")
    return F.batch_norm(x, mean, variance, scale, bias, eps=step.get("epsilon", 1e-5))


@operator("InstanceNormalization")
def instance_norm(step: Step, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Each channel of each sample by its own statistics."""
    return F.group_norm(x, x.shape[1], scale, bias, step.get("epsilon", 1e-5))


@operator("LayerNormalization")
def layer_norm(step: Step, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """Over the axes from ``axis`` on."""
    shape = x.shape[axis(step, x, -1) :]
    bias = None if bias is None else bias.expand(shape)
    return F.layer_norm(x, shape, scale.expand(shape), bias, step.get("epsilon", 1e-5))


@operator("RMSNormalization")
def rms_norm(step: Step, x: Tensor, scale: Tensor) -> Tensor:
    """Over the axes from ``axis`` on, without centring."""
    shape = x.shape[axis(step, x, -1) :]
    return F.rms_norm(x, shape, scale.expand(shape), step.get("epsilon", 1e-5))


@operator("GroupNormalization")
def group_norm(step: Step, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Over groups of channels; scale and bias are given for each group before opset 21, then for each channel."""
    groups = step.get("num_groups")
    if step.opset < 21:
        scale, bias = (t.unsqueeze(1).expand(-1, x.shape[1] // groups).reshape(-1) for t in (scale, bias))
    return F.group_norm(x, groups, scale, bias, step.get("epsilon", 1e-5))


@operator("LRN")
def local_response_norm(step: Step, x: Tensor) -> Tensor:
    """By the squares of neighbouring channels."""
    size, alpha = step.get("size"), step.get("alpha", 1e-4)
    beta, k = step.get("beta", 0.75), step.get("bias", 1.0)
    before = (size - 1) // 2
    squares = F.pad(x * x, [0, 0] * (x.dim() - 2) + [before, size - 1 - before])
    total = squares.narrow(1, 0, x.shape[1])
    for shift in range(1, size):
        total = total + squares.narrow(1, shift, x.shape[1])
    return x / (total * (alpha / size) + k) ** beta


@operator("LpNormalization")
def power_norm(step: Step, x: Tensor) -> Tensor:
    """By the sum of absolute values, or the root of squares, along one axis."""
    along = axis(step, x, -1)
    p = step.get("p", 2)
    norm = x.abs().sum(along, keepdim=True) if p == 1 else (x * x).sum(along, keepdim=True).sqrt()
    return x / norm.clamp(min=finfo(norm.dtype).tiny)  # zeros stay zeros


@operator("MeanVarianceNormalization")
def standardise(step: Step, x: Tensor) -> Tensor:
    """To mean 0 and variance 1 along some axes."""
    axes = step.get("axes", [0, 2, 3])
    centred = x - x.mean(axes, keepdim=True)
    return centred / ((centred * centred).mean(axes, keepdim=True).sqrt() + 1e-9)


