"""How much memory something takes: as Python and numpy ask for it, and of tensors."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_of(make: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, int]:
    """Call a function; give what it returns and the most bytes that were allocated meanwhile, torch's left out."""
    tracemalloc.start()
    try:
        return make(*args, **kwargs), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def tensors_peak_of(make: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, int]:
    """Call a function; give what it returns and the most bytes that its tensors and those it was given held at once."""
    with _Held() as held:
        made = make(*args, **kwargs)
    return made, held.most


class _Held(TorchDispatchMode):
    """Keep the most bytes of storages that were alive at once, of tensors that operations met."""

    most = 0

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in tree_leaves((args, kwargs, out)):
            if isinstance(each, torch.Tensor):
                storage = each.untyped_storage()
                self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._alive = {key: entry for key, entry in self._alive.items() if not entry[0].expired()}
        self.most = max(self.most, sum(size for _, size in self._alive.values()))
        return out
