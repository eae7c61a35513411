"""The table from ONNX operator to torch operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Operator = Callable[..., Any]

OPERATORS: dict[str, Operator] = {}


def operator(*names: str) -> Callable[[Operator], Operator]:
    """Register what computes operators of the standard domain.

    The function is given the :class:`.Step` that the node became, with its attributes, and the node's inputs as
    tensors, None where an optional one is left out. It returns a tensor, or a tuple of as many as the node has outputs.
    """

    def register(function: Operator) -> Operator:
        for name in names:
            OPERATORS[name] = function
        return function

    return register
