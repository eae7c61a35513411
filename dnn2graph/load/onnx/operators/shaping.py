"""Operators that give the same elements another shape or order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..registry import operator
from .settings import attribute_or_input, axis, numbers

if TYPE_CHECKING:
    from ..module import Step

SIZES = ("Shape", "Size")  # their results depend on no value


@operator("Shape")
def shape(step: Step, x: Tensor) -> Tensor:
    """The lengths of the axes, or of some of them."""
    return torch.tensor(list(x.shape)[slice(step.get("start", 0), step.get("end"))], dtype=torch.int64)


@operator("Size")
def size(step: Step, x: Tensor) -> Tensor:
    """The number of elements."""
    return torch.tensor(x.numel())


@operator("Reshape")
def reshape(step: Step, x: Tensor, lengths: Tensor) -> Tensor:
    """To lengths of which one may be -1, for what is left, and those that are 0 stay."""
    target = numbers(step, 1, lengths) or []
    if not step.get("allowzero", 0):
        target = [x.shape[place] if length == 0 else length for place, length in enumerate(target)]
    return x.reshape(for_samples(step, x, target))


def for_samples(step: Step, x: Tensor, target: Sequence[int]) -> list[int]:
    """Let a shape that was written for a fixed number of samples be one for as many as there are."""
    changed = step.given != step.made_for and step.depends[0]
    if changed and target and target[0] == step.made_for and x.dim() and x.shape[0] == step.given:
        return [step.given, *target[1:]]
    return list(target)


@operator("Flatten")
def flatten(step: Step, x: Tensor) -> Tensor:
    """To a matrix, whose columns are the axes from ``axis`` on."""
    first = axis(step, x, 1)
    return x.reshape(x.shape[:first].numel(), x.shape[first:].numel())


@operator("Transpose")
def transpose(step: Step, x: Tensor) -> Tensor:
    """The axes in another order; the other way round if none is given."""
    return x.permute(step.get("perm", list(range(x.dim()))[::-1]))


@operator("Squeeze")
def squeeze(step: Step, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Without axes of length 1."""
    given = attribute_or_input(step, "axes", 1, axes, since=13)
    if given is None:
        return x.squeeze()
    drop = {each % x.dim() for each in given}
    return x.reshape([length for place, length in enumerate(x.shape) if place not in drop])


@operator("Unsqueeze")
def unsqueeze(step: Step, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """With axes of length 1 at these places of the result."""
    given = attribute_or_input(step, "axes", 1, axes, since=13) or []
    for place in sorted(each % (x.dim() + len(given)) for each in given):
        x = x.unsqueeze(place)
    return x


@operator("Concat")
def concatenate(step: Step, *inputs: Tensor) -> Tensor:
    """One behind the other."""
    along = axis(step, inputs[0], 0)
    step.afford([(*inputs[0].shape[:along], sum(x.shape[along] for x in inputs), *inputs[0].shape[along + 1 :])])
    return torch.cat(inputs, along)


@operator("Split")
def split(step: Step, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
    """Into parts of given lengths, or into equal ones of which the last may be shorter."""
    along = axis(step, x, 0)
    given = attribute_or_input(step, "split", 1, lengths, since=13)
    return tuple(x.split(given or -(-x.shape[along] // len(step.node.outputs)), along))


@operator("Expand")
def expand(step: Step, x: Tensor, lengths: Tensor) -> Tensor:
    """Broadcast with a shape, in both directions."""
    return x.expand(step.afford([x.shape, for_samples(step, x, numbers(step, 1, lengths) or [])]))


@operator("Tile")
def tile(step: Step, x: Tensor, repeats: Tensor) -> Tensor:
    """Copies one behind the other along each axis."""
    times = numbers(step, 1, repeats) or []
    step.afford([[length * count for length, count in zip(x.shape, times, strict=True)]])
    return x.repeat(times)


@operator("DepthToSpace")
def depth_to_space(step: Step, x: Tensor) -> Tensor:
    """Channels become blocks of positions."""
    n, c, h, w = x.shape
    b = step.get("blocksize")
    if step.get("mode", "DCR") == "DCR":
        return x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)
    return x.reshape(n, c // b**2, b, b, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // b**2, h * b, w * b)


@operator("SpaceToDepth")
def space_to_depth(step: Step, x: Tensor) -> Tensor:
    """Blocks of positions become channels."""
    n, c, h, w = x.shape
    b = step.get("blocksize")
    return x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)
