"""Maps in another resolution: every element is a weighted sum of a few along each axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import operator
from .settings import numbers

if TYPE_CHECKING:
    from ..module import Step

Floats = np.ndarray
# From the place of a target to that on the source: (place, scale, source length, target length).
COORDINATES: dict[str, Callable[[Floats, float, int, int], Floats]] = {
    "half_pixel": lambda x, scale, n, m: (x + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda x, scale, n, m: (x + 0.5) / scale - 0.5 if m > 1 else x * 0,
    "asymmetric": lambda x, scale, n, m: x / scale,
    "align_corners": lambda x, scale, n, m: x * (n - 1) / (m - 1) if m > 1 else x * 0,
    "half_pixel_symmetric": lambda x, scale, n, m: (n * (1 - m / (n * scale)) / 2) + (x + 0.5) / scale - 0.5,
}
NEAREST: dict[str, Callable[[Floats], Floats]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


@operator("Resize", "Upsample")
def resize(step: Step, x: Tensor, *settings: Tensor | None) -> Tensor:
    """By the nearest element, linearly, or cubically."""
    scales, lengths, axes = _target(step, x, settings)
    target = dict(zip(axes, lengths, strict=True))
    step.afford([[target.get(axis, length) for axis, length in enumerate(x.shape)]])
    mode = step.get("mode", "nearest").replace("bilinear", "linear")
    coordinates = step.get("coordinate_transformation_mode", "half_pixel" if step.opset > 10 else "asymmetric")
    if mode not in ("nearest", "linear", "cubic") or coordinates not in COORDINATES or step.get("antialias", 0):
        raise step.refuse(f"mode '{mode}' with coordinates '{coordinates}', antialias {step.get('antialias', 0)}")
    if step.get("exclude_outside", 0):
        raise step.refuse("exclude_outside")
    along = [(a, s, m) for a, s, m in zip(axes, scales, lengths, strict=True) if m != x.shape[a] or s != 1]
    native = _native(step, x, mode, coordinates, along)
    if native is not None:
        return native
    for axis, scale, length in along:
        x = _along(step, x, axis, COORDINATES[coordinates](np.arange(length), scale, x.shape[axis], length), mode)
    return x


def _target(
    step: Step, x: Tensor, settings: tuple[Tensor | None, ...]
) -> tuple[list[float], list[int], list[int]]:
    """Return scale, length and axis of each axis that is named."""
    if step.node.operator == "Upsample" or step.opset < 11:
        scales, lengths = (numbers(step, 1, settings[0]) if settings else step.get("scales")), None
    else:
        given = [numbers(step, place, tensor) for place, tensor in enumerate(settings, 1)]
        _, scales, lengths = (given + [None] * 3)[:3]
    axes = [a % x.dim() for a in step.get("axes", range(x.dim()))]
    if lengths:
        if step.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise step.refuse(f"keep_aspect_ratio_policy '{step.get('keep_aspect_ratio_policy')}'")
        if axes[0] == 0 and step.given != step.made_for and lengths[0] == step.made_for:
            lengths[0] = x.shape[0]
        scales = [m / x.shape[a] for m, a in zip(lengths, axes, strict=True)]
    elif scales:
        # in float32, as the scales are stored: 5 times 1.4 is 7 there
        lengths = [int(np.float32(x.shape[a]) * np.float32(s)) for s, a in zip(scales, axes, strict=True)]
    else:
        raise step.refuse("neither scales nor sizes are given")
    return scales, [int(m) for m in lengths], axes


def _native(step: Step, x: Tensor, mode: str, coordinates: str, along: list[tuple[int, float, int]]) -> Tensor | None:
    """Use torch's own interpolation where it is the same; else return None."""
    maps = mode == "linear" and x.dim() in LINEAR and all(axis > 1 for axis, _, _ in along)
    # torch counts scales from lengths; they are the same where lengths are whole multiples
    exact = all(m == x.shape[axis] * scale for axis, scale, m in along)
    aligned = coordinates == "align_corners"
    if not maps or not exact or not (aligned or coordinates in ("half_pixel", "pytorch_half_pixel")):
        return None
    if coordinates == "pytorch_half_pixel" and any(m == 1 for _, _, m in along):
        return None
    size = list(x.shape[2:])
    for axis, _, length in along:
        size[axis - 2] = length
    return F.interpolate(x, size, mode=LINEAR[x.dim()], align_corners=aligned)


def _along(step: Step, x: Tensor, axis: int, places: Floats, mode: str) -> Tensor:
    """Interpolate along one axis at places that are counted in elements."""
    last = x.shape[axis] - 1
    if mode == "nearest":
        rounded = NEAREST[step.get("nearest_mode", "round_prefer_floor" if step.opset > 10 else "floor")](places)
        return x.index_select(axis, torch.from_numpy(rounded.clip(0, last).astype(np.int64)))
    floor = np.floor(places)
    part = places - floor
    taps = {0: 1 - part, 1: part} if mode == "linear" else _cubic(part, step.get("cubic_coeff_a", -0.75))
    found = None
    for shift, share in taps.items():
        chosen = torch.from_numpy((floor + shift).clip(0, last).astype(np.int64))
        factor = torch.from_numpy(share).to(x.dtype).view(-1, *[1] * (x.dim() - 1 - axis))
        term = x.index_select(axis, chosen) * factor
        found = term if found is None else found + term
    assert found is not None
    return found


def _cubic(part: Floats, a: float) -> dict[int, Floats]:
    """Return the shares of four neighbours (Keys' kernel)."""

    def near(d: Floats) -> Floats:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Floats) -> Floats:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return {-1: far(part + 1), 0: near(part), 1: near(1 - part), 2: far(2 - part)}
