"""Convolutions and transposed ones along one, two or three axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor

from ..registry import operator
from .settings import pairs
from .windows import padded, windows

if TYPE_CHECKING:
    from ..module import Step

CONVOLUTION: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@operator("Conv")
def convolution(step: Step, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Padding that differs before and behind is added first."""
    w = windows(step, x, weight.shape[2:])
    padding = w.symmetric
    if padding is None:
        x, padding = padded(x, w.pads), (0,) * (x.dim() - 2)
    groups = step.get("group", 1)
    return CONVOLUTION[x.dim() - 2](x, weight, bias, w.stride, padding, w.dilation, groups)


@operator("ConvTranspose")
def transposed_convolution(step: Step, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Padding that differs before and behind is cut off afterwards."""
    axes = x.dim() - 2
    w = windows(step, x, weight.shape[2:])
    more = list(step.get("output_padding") or [0] * axes)
    spans = [d * (k - 1) + 1 for k, d in zip(w.kernel, w.dilation, strict=True)]
    whole = [(n - 1) * s + span for n, s, span in zip(x.shape[2:], w.stride, spans, strict=True)]
    step.afford([(x.shape[0], weight.shape[1] * step.get("group", 1), *whole)])
    pads = _cut(step, x, whole, more)
    groups = step.get("group", 1)
    transpose = TRANSPOSED[axes]
    if all(before == behind for before, behind in pads):
        padding = [before for before, _ in pads]
        return transpose(x, weight, bias, w.stride, padding, more, groups, w.dilation)
    out = transpose(x, weight, bias, w.stride, 0, more, groups, w.dilation)
    return padded(out, [(-before, -behind) for before, behind in pads])


def _cut(step: Step, x: Tensor, whole: list[int], more: list[int]) -> list[tuple[int, int]]:
    """Return how much is cut off before and behind, for each axis."""
    shape, automatic = step.get("output_shape"), step.get("auto_pad", "NOTSET")
    strides = step.get("strides") or [1] * len(whole)
    if shape is None and automatic in ("SAME_UPPER", "SAME_LOWER"):
        shape = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if shape is None:
        return [(0, 0)] * len(whole) if automatic == "VALID" else pairs(step.get("pads") or [0] * 2 * len(whole))
    pads = []
    for full, extra, wanted in zip(whole, more, shape[-len(whole) :], strict=True):
        cut = full + extra - wanted
        if cut < 0:
            raise step.refuse(f"output_shape {shape} is larger than what the kernels reach")
        pads.append((cut // 2, cut - cut // 2) if automatic == "SAME_UPPER" else (cut - cut // 2, cut // 2))
    return pads


