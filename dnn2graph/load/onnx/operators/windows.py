"""What convolutions and pooling share: kernels, strides, dilations and padding along the axes of a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from .settings import pairs

if TYPE_CHECKING:
    from ..module import Step


@dataclass(frozen=True)
class Windows:
    """How a kernel slides over a map.

    Attributes
    ----------
    kernel, stride, dilation : tuple of int
        One for each axis.
    pads : tuple of (int, int)
        Before and behind, for each axis.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    @property
    def symmetric(self) -> tuple[int, ...] | None:
        """The padding of each axis where it is the same before and behind; else None."""
        same_on_both = all(before == behind for before, behind in self.pads)
        return tuple(before for before, _ in self.pads) if same_on_both else None


def windows(step: Step, x: Tensor, kernel: Sequence[int] | None = None) -> Windows:
    """Read the attributes of a convolution or a pooling operator.

    Raises
    ------
    LoadError
        If they do not fit the map.
    """
    kernel = tuple(step.get("kernel_shape") or kernel or ())
    axes = x.dim() - 2
    stride, dilation = (tuple(step.get(name) or (1,) * axes) for name in ("strides", "dilations"))
    declared = step.get("pads") or [0] * 2 * axes
    if axes not in (1, 2, 3) or not len(kernel) == len(stride) == len(dilation) == axes == len(declared) / 2:
        raise step.refuse(f"kernel {kernel}, strides {stride}, dilations {dilation}, pads {declared} on {axes} axes")
    if min(*kernel, *stride, *dilation) < 1 or min(declared) < 0:
        raise step.refuse(f"kernel {kernel}, strides {stride}, dilations {dilation}, pads {declared} are out of range")
    pads = pairs(declared)
    automatic = step.get("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        pads = [
            same(n, k, s, d, automatic == "SAME_UPPER")
            for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)
        ]
    elif automatic == "VALID":
        pads = [(0, 0)] * axes
    padded = [length + sum(pad) for length, pad in zip(x.shape[2:], pads, strict=True)]
    step.afford([(*x.shape[:2], *padded)])
    return Windows(kernel, stride, dilation, tuple(pads))


def same(length: int, kernel: int, stride: int, dilation: int, more_behind: bool) -> tuple[int, int]:
    """Return the padding with which there are as many windows as ``length / stride``, rounded up."""
    whole = max(0, (-(-length // stride) - 1) * stride + dilation * (kernel - 1) + 1 - length)
    less, more = whole // 2, whole - whole // 2
    return (less, more) if more_behind else (more, less)


def padded(x: Tensor, pads: Sequence[tuple[int, int]], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Pad the last axes; torch wants the last axis first."""
    flat = [length for pair in reversed(pads) for length in pair]
    if not any(flat):
        return x
    return F.pad(x, flat, mode, value) if mode == "constant" else F.pad(x, flat, mode)
