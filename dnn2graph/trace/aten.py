"""torch's operations by name: ``aten.relu.default``. Those of other versions of torch have names here, too."""

from __future__ import annotations

from typing import Any

import torch


class Lacking:
    """An operation that this version of torch lacks, and each of its overloads; no rule is registered for it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, overload: str) -> Lacking:
        if overload.startswith("__"):
            raise AttributeError(overload)
        return self


class Operations:
    """The operations of torch's own namespace."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(torch.ops.aten, name, None) or Lacking(name)


aten = Operations()
