"""The table from ATen operation to rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from .aten import Lacking

if TYPE_CHECKING:
    from .watch import Operation, Watch

Rule = Callable[["Watch", "Operation"], None]

RULES: dict[Any, Rule] = {}
COMPLEX_RULES: dict[Any, Rule] = {}  # where operands or results are complex numbers
LACKING: set[str] = set()  # names of operations that rules are for, and that this version of torch lacks


def _elementwise() -> Rule:
    from .rules.pointwise import elementwise

    return elementwise


def _by_parts() -> Rule:
    from .rules.composed import by_parts

    return by_parts


def _by_decomposition() -> Rule:
    from .rules.composed import by_decomposition

    return by_decomposition


def _has_decomposition(operation: Any) -> bool:
    from torch._decomp import decomposition_table

    drawn = torch.Tag.nondeterministic_seeded in operation.tags
    return operation in decomposition_table and not drawn


# Of operations that the table does not hold: which, how to tell them, and their rule.
DEFAULTS: tuple[tuple[str, Callable[[Any], bool], Callable[[], Rule]], ...] = (
    ("any other elementwise operation", lambda operation: torch.Tag.pointwise in operation.tags, _elementwise),
    ("any other that torch makes of others", lambda operation: bool(operation._can_decompose()), _by_parts),
    ("any other that torch can take apart", _has_decomposition, _by_decomposition),
)


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
    return _registering(RULES, operations)


def complex_rule(*operations: Any) -> Callable[[Rule], Rule]:
    """Register how operations become layers and links where complex numbers take part; see :func:`rule`."""
    return _registering(COMPLEX_RULES, operations)


def _registering(table: dict[Any, Rule], operations: Sequence[Any]) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        for operation in operations:
            if isinstance(operation, Lacking):
                LACKING.add(operation.name)
            else:
                table[operation] = function
        return function

    return register


def rule_for(operation: Any, is_complex: bool = False) -> Rule | None:
    """Find the rule of an operation, its own or a default."""
    own = (COMPLEX_RULES if is_complex else RULES).get(operation)
    if own is not None:
        return own
    for _, holds, default in DEFAULTS:
        if holds(operation) and not (is_complex and default is _elementwise):  # of a pair, no number is an element
            return default()
    return None


def name_of(rule: Rule) -> str:
    """Name a rule: its function and the file that it stands in."""
    return f"{rule.__module__.removeprefix(f'{__package__}.rules.')}.{rule.__name__}"
