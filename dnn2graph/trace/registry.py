"""The table from ATen operation to rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .watch import Operation, Watch

Rule = Callable[["Watch", "Operation"], None]

RULES: dict[Any, Rule] = {}


def rule(*operations: Any) -> Callable[[Rule], Rule]:
    """Register how operations on neurons become layers and links.

    Parameters
    ----------
    *operations : OpOverload
        Such as ``torch.ops.aten.relu.default``; of in-place operations the out-of-place form.

    Examples
    --------
    An operation of your own, elementwise, needs no more than:

    >>> import torch, dnn2graph
    >>> from dnn2graph.trace.build import activation
    >>> @dnn2graph.rule(torch.ops.aten.erf.default)
    ... def _(watch, operation):
    ...     activation(watch, operation)
    """

    def register(function: Rule) -> Rule:
        for operation in operations:
            RULES[operation] = function
        return function

    return register


def rule_for(operation: Any) -> Rule | None:
    """Find the rule of an operation; every elementwise operation has one."""
    from . import rules

    found = RULES.get(operation)
    if found is None and torch.Tag.pointwise in operation.tags:
        return rules.pointwise.elementwise
    return found
