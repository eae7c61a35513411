"""Maps that are read at computed places, and windows that are put together to maps."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from ..registry import operator
from .settings import numbers

if TYPE_CHECKING:
    from ..module import Step


@operator("GridSample")
def grid_sample(step: Step, x: Tensor, grid: Tensor) -> Tensor:
    """Read (samples, channels, *positions) at coordinates from -1 to 1, (samples, *places, axes)."""
    mode = step.get("mode", "linear").removeprefix("bi")
    if mode not in ("linear", "nearest", "cubic") or not 4 <= x.dim() <= 5:
        raise step.refuse(f"mode '{mode}' in {x.dim() - 2} dimensions")
    step.afford([(*x.shape[:2], *grid.shape[1:-1])])
    native = mode if mode == "nearest" else f"bi{mode}"
    return F.grid_sample(x, grid, native, step.get("padding_mode", "zeros"), bool(step.get("align_corners", 0)))


@operator("AffineGrid")
def affine_grid(step: Step, theta: Tensor, size: Tensor) -> Tensor:
    """Coordinates of all places, by a matrix for each sample."""
    shape = numbers(step, 1, size) or []
    step.afford([(*shape, len(shape) - 2)])
    return F.affine_grid(theta, shape, bool(step.get("align_corners", 0)))


@operator("Col2Im")
def put_together(step: Step, windows: Tensor, image_shape: Tensor, block_shape: Tensor) -> Tensor:
    """Add windows (samples, channels * window, windows) up where they overlap."""
    image, block = numbers(step, 1, image_shape) or [], numbers(step, 2, block_shape) or []
    if len(image) != 2 or len(block) != 2:
        raise step.refuse(f"{len(image)} dimensions")
    (top, left, bottom, right) = step.get("pads", [0] * 4)
    whole = (image[0] + top + bottom, image[1] + left + right)
    step.afford([(len(windows), windows.shape[1] // max(1, prod(block)), *whole)])
    made = F.fold(windows, whole, (block[0], block[1]), step.get("dilations", 1), 0, step.get("strides", 1))
    return made[..., top : top + image[0], left : left + image[1]]
