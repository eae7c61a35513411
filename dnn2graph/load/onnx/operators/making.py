"""Operators that make tensors out of sizes and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..registry import operator
from ..tensors import dtype_of
from .settings import number, numbers

if TYPE_CHECKING:
    from ..module import Step

NUMBERS = {
    **dict.fromkeys(("value_float", "value_floats"), torch.float32),
    **dict.fromkeys(("value_int", "value_ints"), torch.int64),
}


@operator("Constant")
def constant(step: Step) -> Tensor:
    """What stands in the file."""
    for name, value in step.node.attributes.items():
        if name == "value":
            return value
        if name in NUMBERS:
            return torch.tensor(value, dtype=NUMBERS[name])
    raise step.refuse(f"its value is of the form {', '.join(step.node.attributes)}")


@operator("ConstantOfShape")
def filled(step: Step, lengths: Tensor) -> Tensor:
    """One value everywhere."""
    value = step.get("value", torch.zeros(1))
    shape = step.afford([numbers(step, 0, lengths) or []])
    return torch.full(shape, value.item(), dtype=value.dtype)


@operator("Range")
def number_range(step: Step, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """From, to, in steps."""
    first, last, stride = (number(step, place, each) for place, each in enumerate((start, limit, delta)))
    step.afford([[max(0, int((last - first) / stride) + 1)]])
    if (last - first) * stride <= 0:
        return torch.zeros(0, dtype=start.dtype)
    return torch.arange(first, last, stride, dtype=start.dtype)


@operator("EyeLike")
def identity_matrix(step: Step, x: Tensor) -> Tensor:
    """Ones on a diagonal, of the shape of another matrix."""
    kind = step.get("dtype")
    dtype = x.dtype if kind is None else dtype_of("", kind, "the output of EyeLike")  # type: ignore[arg-type]
    rows, columns = torch.arange(x.shape[0])[:, None], torch.arange(x.shape[1])
    return (columns - rows == step.get("k", 0)).to(dtype)


@operator("OneHot")
def one_hot(step: Step, places: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    """One value at each place, another elsewhere."""
    count = number(step, 1, depth)
    step.afford([[places.numel(), int(count)]])
    off, on = numbers(step, 2, values) or (0, 1)
    along = step.get("axis", -1) % (places.dim() + 1)
    every = torch.arange(int(count)).view(-1, *[1] * (places.dim() - along))
    hit = torch.where(places < 0, places + count, places).unsqueeze(along) == every
    return torch.where(hit, torch.tensor(on, dtype=values.dtype), torch.tensor(off, dtype=values.dtype))
