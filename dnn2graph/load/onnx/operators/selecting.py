"""Operators that pick elements, put some elsewhere, or add some around."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import operator
from .settings import attribute_or_input, axis, number, numbers, pairs
from .windows import padded

if TYPE_CHECKING:
    from ..module import Step

MODES = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}  # of ONNX, and of numpy


@operator("Slice")
def cut(step: Step, x: Tensor, *where: Tensor | None) -> Tensor:
    """From, to and in steps along axes; attributes before opset 10."""
    if step.opset < 10:
        starts, ends, axes, steps = step.get("starts"), step.get("ends"), step.get("axes"), None
    else:
        found = [numbers(step, place, tensor) for place, tensor in enumerate(where, 1)]
        starts, ends, axes, steps = (found + [None] * 4)[:4]
    axes = axes or list(range(len(starts)))
    for along, start, end, stride in zip(axes, starts, ends, steps or [1] * len(starts), strict=True):
        along %= x.dim()
        places = range(x.shape[along])[int(start) : int(end) : int(stride)]
        if stride > 0:
            stop = places[-1] + 1 if places else places.start
            x = x[(slice(None),) * along + (slice(places.start, stop, int(stride)),)]
        else:
            x = x.index_select(along, torch.tensor(places, dtype=torch.int64))
    return x


@operator("Gather")
def gather(step: Step, x: Tensor, places: Tensor) -> Tensor:
    """Slices at some places along an axis; those of a matrix's rows are an embedding."""
    along = axis(step, x, 0)
    if not step.depends[1]:
        places = torch.where(places < 0, places + x.shape[along], places)
        if places.dim() == 0:
            return x.select(along, number(step, 1, places))
    if along == 0 and x.dim() == 2 and not step.depends[0] and x.is_floating_point():
        return F.embedding(places.long(), x)
    shape = (*x.shape[:along], *places.shape, *x.shape[along + 1 :])
    step.afford([shape])
    return x.index_select(along, places.reshape(-1).long()).reshape(shape)


@operator("GatherElements")
def gather_elements(step: Step, x: Tensor, places: Tensor) -> Tensor:
    """One element for each place along an axis."""
    along = axis(step, x, 0)
    return x.gather(along, _from_front(step, places, x.shape[along]))


@operator("GatherND")
def gather_at(step: Step, x: Tensor, places: Tensor) -> Tensor:
    """Slices at tuples of places."""
    if step.get("batch_dims", 0):
        raise step.refuse("batch_dims other than 0")
    return x[tuple(places.unbind(-1))]


@operator("NonZero")
def places_of(step: Step, x: Tensor) -> Tensor:
    """The places that hold no zero, (axes, places)."""
    return torch.nonzero(x).t()


@operator("Compress")
def chosen(step: Step, x: Tensor, condition: Tensor) -> Tensor:
    """The slices along an axis, or the elements, that a condition is true for."""
    along = step.get("axis")
    x, along = (x.reshape(-1), 0) if along is None else (x, along)
    return x.index_select(along, torch.nonzero(condition).reshape(-1))


NAMES_IN_TORCH = {"add": "sum", "mul": "prod", "min": "amin", "max": "amax"}


@operator("ScatterND")
def put_at(step: Step, x: Tensor, places: Tensor, updates: Tensor) -> Tensor:
    """Overwrite slices at tuples of places, or bring them and what was there down to one."""
    reduction = _reduction(step)
    if reduction is None or not places.shape[-1]:
        return torch.index_put(x, tuple(places.unbind(-1)), updates)
    axes = places.shape[-1]
    numbered = torch.arange(x.shape[:axes].numel()).view(x.shape[:axes])
    rows, at = x.reshape(numbered.numel(), -1), numbered[tuple(places.unbind(-1))].reshape(-1, 1)
    made = rows.scatter_reduce(0, at.expand(-1, rows.shape[1]), updates.reshape(len(at), -1), reduction)
    return made.view(x.shape)


@operator("ScatterElements", "Scatter")
def put_elements(step: Step, x: Tensor, places: Tensor, updates: Tensor) -> Tensor:
    """Overwrite one element for each place along an axis, or bring it and what was there down to one."""
    reduction, along = _reduction(step), axis(step, x, 0)
    places = _from_front(step, places, x.shape[along])
    if reduction is None:
        return x.scatter(along, places, updates)
    return x.scatter_reduce(along, places, updates, reduction)


def _reduction(step: Step) -> str | None:
    """Name torch's reduction for what is put at a place; None where it overwrites."""
    given = step.get("reduction", "none")
    if given != "none" and given not in NAMES_IN_TORCH:
        raise step.refuse(f"reduction '{given}'")
    return NAMES_IN_TORCH.get(given)


def _from_front(step: Step, places: Tensor, length: int) -> Tensor:
    return places if step.depends[1] else torch.where(places < 0, places + length, places)


@operator("Pad")
def pad(step: Step, x: Tensor, lengths: Tensor | None = None, value: Tensor | None = None, *axes: Tensor) -> Tensor:
    """With a value, or with elements of the tensor itself."""
    given = pairs([int(n) for n in attribute_or_input(step, "pads", 1, lengths, since=11) or []])
    filling = step.get("value", 0.0) if step.opset < 11 else number(step, 2, value, 0)
    along = numbers(step, 3, axes[0]) if axes else list(range(x.dim()))
    every = [(0, 0)] * x.dim()
    for place, pair in zip(along or [], given, strict=True):
        every[place % x.dim()] = pair
    lengths_after = [length + sum(pair) for length, pair in zip(x.shape, every, strict=True)]
    step.afford([lengths_after])
    mode = step.get("mode", "constant")
    if mode == "constant":
        return padded(x, every, value=filling)
    for place, (before, behind) in enumerate(every):
        kept = np.arange(x.shape[place])[max(0, -before) : x.shape[place] - max(0, -behind)]
        if before or behind:
            places = np.pad(kept, (max(0, before), max(0, behind)), MODES[mode])  # type: ignore[call-overload]
            x = x.index_select(place, torch.from_numpy(places))
    return x


@operator("Trilu")
def triangle(step: Step, x: Tensor, diagonal: Tensor | None = None) -> Tensor:
    """The upper or lower triangle of matrices."""
    offset = number(step, 1, diagonal, 0)
    return x.triu(offset) if step.get("upper", 1) else x.tril(offset)
