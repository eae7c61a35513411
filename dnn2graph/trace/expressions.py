"""Where tensors that are no neurons come from: parameters, what is computed from them, plain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_iter, tree_leaves, tree_map_only

from ..errors import ModelError
from ..weights import Call, Constant, Expression, Parameter, overwritten, take
from .hollow import REMEDY, Run, asks_for_shape, is_hollow
from .ids import storage_key, storage_length
from .overwriting import Overwriting, overwrites


class Expressions:
    """Weight expressions of the tensors seen so far.

    A tensor is known by its identity until something is written in place into its storage. From then on, one
    expression holds the whole storage, and every tensor on it is a window, as with node ids: views that were taken
    before the writing and after it come out right by themselves.

    Parameters
    ----------
    model : Module
        Its parameters and buffers are told by identity; of tied names the first counts.
    run : Run, optional
        Which tensors have no values.
    """

    def __init__(self, model: torch.nn.Module, run: Run | None = None) -> None:
        self._run = run or Run()
        self.weights: dict[str, Tensor] = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        self._learned = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        self._known: dict[int, tuple[Tensor, Expression]] = {}  # the tensor is kept alive, so that its id stays its own
        self._storages: dict[int, str] = {}
        # What storages hold that were written into, and a tensor that keeps each alive.
        self._memory: dict[int | None, tuple[Tensor, Expression]] = {}
        for name, tensor in self.weights.items():
            if id(tensor) not in self._known:
                self._known[id(tensor)] = (tensor, Parameter(name))
                key = storage_key(tensor)
                if key is not None:
                    self._storages.setdefault(key, name)

    def depends_on_parameters(self, tensors: Iterable[Any]) -> bool:
        """Whether any of the values is a parameter or computed from one."""
        return any(isinstance(t, Tensor) and self._is_known(t) for t in tensors)

    def _is_known(self, tensor: Tensor) -> bool:
        written = storage_key(tensor) in self._memory
        return written or id(tensor) in self._known or self._alias(tensor) is not None

    def of(self, tensor: Tensor) -> Expression:
        """Return how a tensor is computed from parameters; a constant where it is not.

        Raises
        ------
        ModelError
            If it is a constant whose values are not known, in a model without weights.
        """
        if storage_key(tensor) in self._memory:
            return Call(torch.as_strided, (self._memory[storage_key(tensor)][1], *_window(tensor)))
        if id(tensor) in self._known:
            return self._known[id(tensor)][1]
        name = self._alias(tensor)
        if name is None:
            if self._run.lacks_values(tensor):
                raise ModelError(f"the graph needs values that depend on those of activations or weights, and {REMEDY}")
            return Constant(tensor.detach().clone())
        whole = self.weights[name]  # an alias that no operation made, such as ``parameter.data``
        if tensor.shape == whole.shape and tensor.stride() == whole.stride():
            return Parameter(name)
        size, stride, offset = _window(tensor)
        within = (size, stride, offset - whole.storage_offset())
        return Call(torch.ops.aten.as_strided.default, (Parameter(name), *within))

    def _alias(self, tensor: Tensor) -> str | None:
        """Name the parameter whose storage a tensor is a window on."""
        key = storage_key(tensor)
        return self._storages.get(key) if key is not None and tensor.numel() else None

    def shape(self, expression: Expression) -> torch.Size:
        """Return the shape of what an expression gives."""
        return expression.detached(self.weights).shape

    def in_arguments(self, arguments: Any) -> Any:
        """Replace every tensor among nested arguments by its expression."""
        return tree_map_only(Tensor, self.of, arguments)

    def record(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Remember what an operation on parameters made."""
        if asks_for_shape(func) or not self.depends_on_parameters(tree_iter((args, kwargs))):
            return
        writes, overwriting = overwrites(func), Overwriting.of(func, args, kwargs)
        if overwriting is not None:
            func, args, kwargs = overwriting.form, overwriting.args, overwriting.kwargs
        call_args, call_kwargs = self.in_arguments(args), self.in_arguments(kwargs)
        if overwriting is not None and self._alias(overwriting.target) is None:
            if writes:
                self._write(overwriting.target, Call(func, call_args, call_kwargs))
            return
        leaves = tree_leaves(out)
        for place, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                select = None if isinstance(out, Tensor) else place
                self._known[id(leaf)] = (leaf, Call(func, call_args, call_kwargs, select))

    def prepare(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take down what a storage holds before an operation on parameters writes into it."""
        overwriting = Overwriting.of(func, args, kwargs)
        if overwriting is not None and self.depends_on_parameters(tree_iter((args, kwargs))):
            self._remember(overwriting.target)

    def beside(self, part: Tensor) -> tuple[Tensor, Tensor, Expression] | None:
        """Say what stays on a storage of what is computed from learned parameters, if part of it is overwritten.

        Returns
        -------
        whole : tensor (elements,)
            The storage.
        places : int64 tensor (elements that stay,)
        values : Expression
            Theirs. None in place of all three where nothing stays but buffers and constants.
        """
        if self._is_known(part):
            self._remember(part)
        held = self._memory.get(storage_key(part))
        if held is None or not self._learned.intersection(held[1].parameters()):
            return None
        whole = part.detach().as_strided((storage_length(part),), (1,), 0)
        stays = torch.ones(whole.shape, dtype=torch.bool)
        stays.as_strided(*_window(part)).fill_(False)
        places = stays.nonzero()[:, 0]
        if not len(places):
            return None
        values = Call(take, (held[1], 0, places))
        if whole.is_complex():  # pairs of neurons
            whole, values = torch.view_as_real(whole).view(-1), Call(torch.view_as_real, (values,))
            values = Call(torch.flatten, (values,))
            places = torch.stack((2 * places, 2 * places + 1), -1).flatten()
        return whole, places, values

    def _remember(self, part: Tensor) -> None:
        """Take down what the storage of a tensor holds, unless it is a parameter's own."""
        key = storage_key(part)
        if key in self._memory or self._alias(part) is not None:
            return
        elements = storage_length(part)
        held = torch.zeros(elements, dtype=part.dtype)
        if not is_hollow(part):
            held = part.detach().as_strided((elements,), (1,), 0).clone()
        memory: Expression = Constant(held)
        for tensor, expression in self._known.values():
            overlaps = any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True))
            if storage_key(tensor) == key and tensor.dtype == part.dtype and not overlaps:
                memory = Call(overwritten, (memory, expression, *_window(tensor)))
        self._memory[key] = (part, memory)

    def _write(self, part: Tensor, values: Expression) -> None:
        """Remember what was written into part of a storage."""
        key = storage_key(part)
        self._memory[key] = (part, Call(overwritten, (self._memory[key][1], values, *_window(part))))


def _window(tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Say where a tensor lies on its storage."""
    return tuple(tensor.size()), tensor.stride(), int(tensor.storage_offset())
