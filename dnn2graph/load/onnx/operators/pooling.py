"""Pooling over windows and over whole maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import operator
from .windows import Windows, padded, windows

if TYPE_CHECKING:
    from ..module import Step

MAXIMUM: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
CONVOLUTION: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@operator("MaxPool")
def max_pool(step: Step, x: Tensor) -> Tensor:
    """Maximum over windows."""
    w = windows(step, x)
    pads = _native(w)
    if pads is None:
        # The element at the border is in every window that reaches beyond it, so repeating it changes no maximum; but
        # not where windows have gaps.
        gaps = any(dilation > 1 for dilation in w.dilation)
        x = padded(x, w.pads, value=-torch.inf) if gaps else _repeated(x, w)
        pads = (0,) * (x.dim() - 2)
    return MAXIMUM[x.dim() - 2](x, w.kernel, w.stride, pads, w.dilation, bool(step.get("ceil_mode", 0)))


def _repeated(x: Tensor, w: Windows) -> Tensor:
    """Pad with the elements at the border."""
    for axis, (before, behind) in enumerate(w.pads, 2):
        places = torch.arange(-before, x.shape[axis] + behind).clamp(0, x.shape[axis] - 1)
        x = x.index_select(axis, places) if before or behind else x
    return x


def _native(w: Windows) -> tuple[int, ...] | None:
    """Return the padding as torch's pooling takes it: the same on both sides, at most half of the kernel."""
    pads = w.symmetric
    fits = pads is not None and all(pad <= kernel // 2 for pad, kernel in zip(pads, w.kernel, strict=True))
    return pads if fits else None


@operator("AveragePool")
def average_pool(step: Step, x: Tensor) -> Tensor:
    """Average over windows, counting padding or not."""
    w = windows(step, x)
    counted, ceil = bool(step.get("count_include_pad", 0)), bool(step.get("ceil_mode", 0))
    pads = _native(w)
    if pads is not None and all(dilation == 1 for dilation in w.dilation):
        return AVERAGE[x.dim() - 2](x, w.kernel, w.stride, pads, ceil, counted)
    if ceil:
        raise step.refuse("ceil_mode with padding that differs before and behind, or with gaps")
    found = _mean(padded(x, w.pads), w)
    if counted:
        return found
    present = _mean(padded(torch.ones(1, 1, *x.shape[2:], dtype=x.dtype), w.pads), w)
    return found * (1 / present)


def _mean(x: Tensor, w: Windows) -> Tensor:
    """Average over windows, without padding."""
    if all(dilation == 1 for dilation in w.dilation):
        return AVERAGE[x.dim() - 2](x, w.kernel, w.stride)
    channels = x.shape[1]
    share = torch.full((channels, 1, *w.kernel), 1 / torch.Size(w.kernel).numel(), dtype=x.dtype)
    return CONVOLUTION[x.dim() - 2](x, share, None, w.stride, 0, w.dilation, channels)


@operator("LpPool")
def power_pool(step: Step, x: Tensor) -> Tensor:
    """The p-norm of windows."""
    w, p = windows(step, x), step.get("p", 2)
    if step.get("ceil_mode", 0):
        raise step.refuse("ceil_mode")
    size = torch.Size(w.kernel).numel()
    return (_mean(padded(x.abs() ** p, w.pads), w) * size) ** (1 / p)


@operator("GlobalAveragePool")
def global_average_pool(step: Step, x: Tensor) -> Tensor:
    """Average over all positions."""
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


@operator("GlobalMaxPool")
def global_max_pool(step: Step, x: Tensor) -> Tensor:
    """Maximum over all positions."""
    return x.amax(tuple(range(2, x.dim())), keepdim=True)


@operator("GlobalLpPool")
def global_power_pool(step: Step, x: Tensor) -> Tensor:
    """The p-norm of all positions."""
    p = step.get("p", 2)
    return (x.abs() ** p).sum(tuple(range(2, x.dim())), keepdim=True) ** (1 / p)
