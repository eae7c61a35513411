"""Sums, means, extremes and norms along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..registry import operator
from .settings import axis, number, numbers

if TYPE_CHECKING:
    from ..module import Step

Reduction = Callable[[Tensor, list[int], bool], Tensor]

REDUCTIONS: dict[str, Reduction] = {
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keep),
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keep),
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keep),
    "ReduceL2": lambda x, axes, keep: (x * x).sum(axes, keep).sqrt(),
    "ReduceSumSquare": lambda x, axes, keep: (x * x).sum(axes, keep),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, axes, keep),
    "ReduceProd": lambda x, axes, keep: _product(x, axes, keep),
}
AXES_ARE_INPUTS = {"ReduceSum": 13}  # the others: since opset 18


@operator(*REDUCTIONS)
def reduce(step: Step, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Along the axes that are given, else along all, or with ``noop_with_empty_axes`` along none."""
    name = step.node.operator
    given = numbers(step, 1, axes) if step.opset >= AXES_ARE_INPUTS.get(name, 18) else step.get("axes")
    if not given and step.get("noop_with_empty_axes", 0):
        return x
    dims = sorted(int(each) % x.dim() for each in given) if given else list(range(x.dim()))
    return REDUCTIONS[name](x, dims, bool(step.get("keepdims", 1)))


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for along in reversed(axes):
        x = x.prod(along, keep)
    return x


@operator("ArgMax", "ArgMin")
def place_of_extreme(step: Step, x: Tensor) -> Tensor:
    """The first place of an extreme, or with ``select_last_index`` the last."""
    along, keep = axis(step, x, 0), bool(step.get("keepdims", 1))
    find = torch.argmax if step.node.operator == "ArgMax" else torch.argmin
    if step.get("select_last_index", 0):
        return x.shape[along] - 1 - find(x.flip(along), along, keep)
    return find(x, along, keep)


@operator("TopK")
def largest(step: Step, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The largest, or smallest, and their places; of equal ones the first."""
    count, along = step.get("k") if step.opset < 10 else number(step, 1, k), axis(step, x, -1)
    values, places = torch.sort(x, dim=along, descending=bool(step.get("largest", 1)), stable=True)
    return values.narrow(along, 0, count), places.narrow(along, 0, count)


@operator("CumSum")
def running_total(step: Step, x: Tensor, along: Tensor) -> Tensor:
    """From the front or the back, with each element itself or without."""
    dim = number(step, 1, along) % x.dim()
    backwards, exclusive = step.get("reverse", 0), step.get("exclusive", 0)
    x = x.flip(dim) if backwards else x
    total = x.cumsum(dim)
    if exclusive:
        total = torch.cat([torch.zeros_like(x.narrow(dim, 0, 1)), total.narrow(dim, 0, x.shape[dim] - 1)], dim)
    return total.flip(dim) if backwards else total
