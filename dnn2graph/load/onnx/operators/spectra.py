"""Fourier transforms; complex numbers are pairs of real ones along the last axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..registry import operator
from .settings import number

if TYPE_CHECKING:
    from ..module import Step


@operator("DFT")
def transform(step: Step, x: Tensor, length: Tensor | None = None, axis: Tensor | None = None) -> Tensor:
    """Along one axis, of real or complex numbers, there or back."""
    along = step.get("axis", 1) if step.opset < 20 else int(number(step, 2, axis, -2))
    if along < 0:
        along += x.dim()
    count = number(step, 1, length)
    step.afford([[count or size if place == along else size for place, size in enumerate(x.shape)]])
    inverse, half = step.get("inverse", 0), step.get("onesided", 0)
    if half and (inverse or x.shape[-1] != 1):
        raise step.refuse("half of a spectrum turned back, or of complex numbers")
    signal = x[..., 0] if x.shape[-1] == 1 else torch.view_as_complex(x.contiguous())
    function = torch.fft.rfft if half else torch.fft.ifft if inverse else torch.fft.fft
    return torch.view_as_real(function(signal, count, along))
