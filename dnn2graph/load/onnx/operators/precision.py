"""Operators that change the type of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..registry import operator
from ..tensors import DTYPES
from .settings import axis

if TYPE_CHECKING:
    from ..module import Step


@operator("Cast")
def cast(step: Step, x: Tensor) -> Tensor:
    """To a type."""
    if step.get("to") not in DTYPES:
        raise step.refuse(f"torch has no type for number {step.get('to')} of ONNX")
    return x.to(DTYPES[step.get("to")])


@operator("CastLike")
def cast_like(step: Step, x: Tensor, like: Tensor) -> Tensor:
    """To the type of another tensor."""
    return x.to(like.dtype)


@operator("DequantizeLinear")
def dequantise(step: Step, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """``(x - zero) * scale``, each for the whole tensor or along one axis."""
    number = x.to(scale.dtype)
    if zero is not None:
        number = number - _along(step, x, zero).to(scale.dtype)
    return number * _along(step, x, scale)


@operator("QuantizeLinear")
def quantise(step: Step, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """``round(x / scale) + zero``, within the range of the type."""
    dtype = torch.uint8 if zero is None else zero.dtype
    if dtype.is_floating_point:
        raise step.refuse("quantisation to 8-bit floating point numbers")
    level = torch.round(x / _along(step, x, scale))
    if zero is not None:
        level = level + _along(step, x, zero).to(x.dtype)
    bounds = torch.iinfo(dtype)
    return level.clamp(bounds.min, bounds.max).to(dtype)


def _along(step: Step, x: Tensor, setting: Tensor) -> Tensor:
    """Shape one setting, or one for each place along an axis, so that it broadcasts."""
    if step.get("block_size", 0) or setting.dim() > 1:
        raise step.refuse("quantisation in blocks")
    if setting.numel() == 1:
        return setting.reshape(())
    return setting.view(-1, *[1] * (x.dim() - 1 - axis(step, x, 1)))
