"""Inputs that set an operator up: sizes, places, bounds. They are numbers, and may not depend on activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from ..module import Step


def numbers(step: Step, place: int, tensor: Tensor | None) -> list[Any] | None:
    """Return the numbers in an input of a step; None if it is left out.

    Raises
    ------
    LoadError
        If they depend on the model's input.
    """
    if tensor is None:
        return None
    if step.depends[place]:
        raise step.refuse(f"its input {place + 1} sets sizes, places or bounds, and depends on the model's input")
    return tensor.reshape(-1).tolist()


def number(step: Step, place: int, tensor: Tensor | None, default: Any = None) -> Any:
    """Return the one number in an input of a step."""
    found = numbers(step, place, tensor)
    return found[0] if found else default


def attribute_or_input(step: Step, name: str, place: int, tensor: Tensor | None, since: int) -> list[Any] | None:
    """Return numbers that were an attribute before some opset, and are an input from then on."""
    found: list[Any] | None = step.get(name) if step.opset < since else numbers(step, place, tensor)
    return found


def axis(step: Step, x: Tensor, default: int) -> int:
    """Return the attribute ``axis``, counted from the front."""
    found = step.get("axis", default)
    if not -x.dim() <= found <= x.dim():
        raise step.refuse(f"axis {found} of a tensor of {x.dim()} axes")
    return int(found + x.dim() if found < 0 else found)


def pairs(values: Sequence[int]) -> list[tuple[int, int]]:
    """Regroup "all begins, then all ends" into one (begin, end) for each axis."""
    half = len(values) // 2
    return list(zip(values[:half], values[half:], strict=True))
