"""Operations that overwrite a tensor: what they compute, out of place, and where they write it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor


@dataclass
class Overwriting:
    """An operation that overwrites one tensor: ``x.relu_()``, ``torch.add(x, y, out=z)``."""

    form: Any  # the same operation out of place
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    target: Tensor

    @classmethod
    def of(cls, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Overwriting | None:
        """Take an operation apart; None if it overwrites nothing, or has no form that does not."""
        form, out = out_of_place(func)
        target = next(iter(args), None) if out is None else kwargs.get(out)
        if form is None or not isinstance(target, Tensor):
            return None
        others = {name: value for name, value in kwargs.items() if name != out}
        return cls(form, args, others, target)


def overwrites(func: Any) -> bool:
    """Whether an operation overwrites elements; ``x.t_()`` overwrites only how they are looked at."""
    return func._schema.is_mutable and torch.Tag.inplace_view not in func.tags


@cache
def out_of_place(func: Any) -> tuple[Any | None, str | None]:
    """Find the out-of-place form of an operation, such as ``relu`` for ``relu_``, and the name of what it writes to.

    It is told by what it takes: ``pow_.Scalar`` is ``pow.Tensor_Scalar``, and there is another ``pow.Scalar``.
    """
    namespace, name = func._schema.name.split("::")
    outs = [argument.name for argument in func._schema.arguments if argument.is_out]
    in_place = name.endswith("_") and not name.endswith("__")
    if not func._schema.is_mutable or in_place == bool(outs) or len(outs) > 1:
        return None, None
    packet = getattr(getattr(torch.ops, namespace), name.removesuffix("_") if in_place else name, None)
    forms = [] if packet is None else [getattr(packet, overload) for overload in packet.overloads()]
    alike = (form for form in forms if not form._schema.is_mutable and _taken(form) == _taken(func))
    return next(alike, None), outs[0] if outs else None


def _taken(func: Any) -> list[tuple[str, str]]:
    """List what an operation takes: names and types."""
    return [(each.name, str(each.type)) for each in func._schema.arguments if not each.is_out]
