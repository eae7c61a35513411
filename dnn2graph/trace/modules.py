"""Where in the model an operation runs: the stack of module calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .recurrence import State, stepwise
from .substitutes import visible


@dataclass
class ModuleCall:
    """One call of one module that is under way."""

    name: str
    module: nn.Module | None
    key: tuple[Hashable, ...]  # where the call stands; calls of a shared module have the same key
    is_part: bool = False  # a named step within a module's call: one layer, by that name
    operations: int = 0
    calls: Counter[str] = field(default_factory=Counter)


class ModuleStack:
    """Follow the calls of a model's modules through hooks.

    Every operation gets a key: the modules around it and its number within them. A module with parameters has the
    same key each time it is called, so that its operations, when it is shared, can be told to be the same neurons;
    a module without (one ReLU object used after every convolution) has a new key for each call within its parent.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._stack = [ModuleCall("", model, ())]
        self._names: set[str] = set()
        self._numbers: Counter[str] = Counter()  # of layers by one name
        # What a watcher does with the values that a recurrent loop begins and ends with, its steps, and branches.
        self.on_initial_state: Callable[[Tensor], Tensor] = lambda state: state
        self.on_choice: Callable[[str], None] = lambda name: None
        self.joins_samples = False  # whether a batch-norm by the statistics of the batch runs now
        self.on_final_state: Callable[[Tensor, Tensor, int], None] = lambda begin, end, since: None
        self.on_step: Callable[[Callable[[], State], Sequence[Tensor]], State] = lambda compute, reads: compute()
        self.number_of_links: Callable[[], int] = lambda: 0  # so far

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Name what is computed inside as a part of the module that runs; called again, it is the same part."""
        parent = self._stack[-1]
        whole = ".".join(each for each in (parent.name, name) if each)
        self._stack.append(ModuleCall(whole, None, (*parent.key, name), is_part=True))
        try:
            yield
        finally:
            self._stack.pop()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hook all modules, in eval mode; put everything back at the end."""
        handles = []
        training = {module: module.training for module in self._model.modules()}
        fast_path = torch.backends.mha.get_fastpath_enabled()
        try:
            torch.backends.mha.set_fastpath_enabled(False)  # fused encoder kernels would hide the layers
            for module in training:
                module.training = False  # eval() is refused by exported modules, and may be one of the model's own
            for name, module in self._model.named_modules():
                if name and not isinstance(module, torch.jit.ScriptModule):  # those take no hooks
                    handles.append(module.register_forward_pre_hook(self._entering(name)))
                    handles.append(module.register_forward_hook(self._leave, always_call=True))
            with stepwise(self._model, self), visible(self):
                yield
        finally:
            for handle in handles:
                handle.remove()
            for module, mode in training.items():
                module.training = mode
            torch.backends.mha.set_fastpath_enabled(fast_path)

    def _entering(self, name: str) -> Any:
        def enter(module: nn.Module, args: Any) -> None:
            parent = self._stack[-1]
            parent.calls[name] += 1
            has_parameters = next(module.parameters(), None) is not None
            key = (*parent.key, name) if has_parameters else (*parent.key, name, parent.calls[name])
            self._stack.append(ModuleCall(name, module, key))

        return enter

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if len(self._stack) > 1 and self._stack[-1].module is module:
            self._stack.pop()

    @property
    def name(self) -> str:
        """Path of the module that runs now; "" for the model itself."""
        return self._stack[-1].name

    @property
    def key(self) -> tuple[Hashable, ...]:
        """Where the call that runs now stands; calls of a shared module have the same key."""
        return self._stack[-1].key

    def next_key(self) -> tuple[Hashable, ...]:
        """Return the key of the operation that runs now."""
        call = self._stack[-1]
        call.operations += 1
        return (*call.key, call.operations)

    def unique_name(self, operation: str, of_module: bool = True) -> str:
        """Name a layer after the module if that does one thing, else after the operation in it."""
        call = self._stack[-1]
        leaf = call.is_part or (of_module and call.name and _has_no_children(call.module))
        base = call.name if leaf else ".".join(part for part in (call.name, operation) if part)
        name = base
        while name in self._names:  # once, unless a module is called like a number
            self._numbers[base] += 1
            name = f"{base}#{self._numbers[base] + 1}"
        self._names.add(name)
        return name


def _has_no_children(module: nn.Module | None) -> bool:
    return module is not None and next(module.children(), None) is None
