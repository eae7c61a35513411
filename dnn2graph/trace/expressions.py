"""Where tensors that are no neurons come from: parameters, what is computed from them, plain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_iter, tree_leaves, tree_map_only

from ..errors import ModelError
from ..weights import Call, Constant, Expression, Parameter
from .hollow import REMEDY, Run
from .ids import storage_key


class Expressions:
    """Weight expressions of the tensors seen so far.

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
        self._known: dict[int, tuple[Tensor, Expression]] = {}  # the tensor is kept alive, so that its id stays its own
        self._storages: dict[int, str] = {}
        for name, tensor in self.weights.items():
            if id(tensor) not in self._known:
                self._known[id(tensor)] = (tensor, Parameter(name))
                key = storage_key(tensor)
                if key is not None:
                    self._storages.setdefault(key, name)

    def depends_on_parameters(self, tensors: Iterable[Any]) -> bool:
        """Whether any of the values is a parameter or computed from one."""
        return any(isinstance(t, Tensor) and (id(t) in self._known or self._alias(t) is not None) for t in tensors)

    def of(self, tensor: Tensor) -> Expression:
        """Return how a tensor is computed from parameters; a constant where it is not.

        Raises
        ------
        ModelError
            If it is a constant whose values are not known, in a model without weights.
        """
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
        window = (tensor.size(), tensor.stride(), tensor.storage_offset() - whole.storage_offset())
        return Call(torch.ops.aten.as_strided.default, (Parameter(name), *window))

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
        if not self.depends_on_parameters(tree_iter((args, kwargs))):
            return
        function = functional(func) or func
        call_args, call_kwargs = self.in_arguments(args), self.in_arguments(kwargs)
        leaves = tree_leaves(out)
        for place, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                select = None if isinstance(out, Tensor) else place
                self._known[id(leaf)] = (leaf, Call(function, call_args, call_kwargs, select))


def functional(func: Any) -> Any | None:
    """Return the out-of-place form of an in-place operation, such as ``relu`` for ``relu_``; None if there is none."""
    namespace, name = func._schema.name.split("::")
    if not name.endswith("_") or name.endswith("__"):
        return None
    packet = getattr(getattr(torch.ops, namespace), name[:-1], None)
    return getattr(packet, func._overloadname, None) if packet is not None else None
