"""Models without weights: tensors that have a shape and no values, and what a run of a model can do with them.

The parameters of a model that was built on the meta device have no values. Neither has anything that is computed from
them; it is *hollow*. Everything else that the model computes, such as masks, positions and whatever depends on the
example alone, is computed as always: code that reads such a value, or branches on it, runs as it does with weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils._pytree import tree_iter, tree_map_only

from ..errors import ModelError
from .ids import Beside, storage_key, storage_length

LIKE = ("empty_like", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "new_empty")
STAND_INS = (0.6180339887, 1.7320508076)  # for values that are not there: what differs between both depends on them
REMEDY = (
    "a model on the meta device has no values: build and trace it with weights, which may be random ones where their "
    "values do not matter, and attach others with graph.with_weights(...)"
)


def needs_values(error: BaseException) -> bool:
    """Whether an error was raised because a tensor has no values."""
    if isinstance(error, DataDependentOutputException | DynamicOutputShapeException):
        return True
    return any(sign in str(error) for sign in ("FakeTensor", "tensor subclasses", "data pointer"))


def asks_for_shape(func: Any) -> bool:
    """Whether an operation looks at nothing of its operand but its shape and type."""
    return func._schema.name.split("::")[1] in LIKE


def is_hollow(tensor: Tensor) -> bool:
    """Whether a tensor was made without values."""
    return tensor.is_meta or isinstance(tensor, FakeTensor)


class Run:
    """Run the operations of a model, with or without weights.

    Attributes
    ----------
    hollow : bool
        Whether some of the model's parameters or buffers have no values.
    """

    def __init__(self, hollow: bool = False) -> None:
        self.hollow = hollow
        self.originals: dict[int, Tensor] = {}  # what stands in the model, by the id of what seems to lie on the CPU
        self._mode = FakeTensorMode(allow_non_fake_inputs=True) if hollow else None
        self._overwritten: dict[int | None, Tensor] = {}  # real tensors that hollow ones were written into, by storage
        self._constants = Beside(torch.float64, _values)  # of hollow tensors whose elements are not all neurons

    def __call__(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run one operation."""
        if self._mode is None:
            return func(*args, **kwargs)
        tensors = _tensors((args, kwargs))
        if not any(map(self.lacks_values, tensors)):
            return func(*args, **kwargs)
        if func.is_view and not any(map(is_hollow, tensors)):
            return func(*args, **kwargs)  # what is written into it must be written into what it is a view of
        if asks_for_shape(func):
            return func(*tree_map_only(Tensor, _like, tuple(args)), **kwargs)
        if any(t.is_meta for t in tensors):
            raise ModelError(
                "the model computes with a tensor on the meta device that is neither a parameter nor a buffer, so that "
                "no weights can be attached to it: register it as a buffer, or build the model with its weights"
            )
        try:
            with self._mode:
                out = func(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise ModelError(f"{func} depends on the values of activations or weights, and {REMEDY}") from error
        written = [
            value
            for parameter, value in zip(func._schema.arguments, args, strict=False)
            if parameter.is_write and isinstance(value, Tensor) and not isinstance(value, FakeTensor)
        ]
        for tensor in written:
            self._overwrite(tensor)
        return written[0] if len(written) == 1 and isinstance(out, Tensor) else out

    def weights_of(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the parameters and buffers of a model that runs, as they were before; tied ones by all names."""
        named = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        return {name: self.originals.get(id(tensor), tensor) for name, tensor in named.items()}

    def lacks_values(self, tensor: Tensor) -> bool:
        """Whether a tensor's values are unknown: it was made without, or something without was written into it."""
        return self.hollow and (is_hollow(tensor) or storage_key(tensor) in self._overwritten)

    def write(self, tensor: Tensor, values: Tensor) -> Tensor:
        """Overwrite a tensor in place."""
        if not self.lacks_values(values):
            return tensor.copy_(values)
        if not is_hollow(tensor):
            self._overwrite(tensor)
        if self._constants.knows(values):
            self._constants.write(tensor, self._constants.read(values))
        return tensor

    def _overwrite(self, tensor: Tensor) -> None:
        if storage_key(tensor) not in self._overwritten:
            if tensor.is_floating_point():
                self._constants.write(tensor, tensor.detach().double())
            self._overwritten[storage_key(tensor)] = tensor

    # ------------------------------------------------------------------ constants among neurons

    def values(self, tensor: Tensor) -> Tensor:
        """Return the values of a tensor, of which those of neurons and of parameters may be anything."""
        if not self.lacks_values(tensor):
            return tensor.detach().cpu()
        if not self._constants.knows(tensor):
            return torch.full((), torch.nan).expand(tensor.shape)
        return self._constants.read(tensor)

    def follow_constants(self, func: Any, args: Any, kwargs: Any, outputs: Sequence[Tensor]) -> None:
        """Compute the elements of hollow outputs that depend on constants alone; NaN are those that do not."""
        first, second = (_leaves(func, *self._with_values((args, kwargs), value)) for value in STAND_INS)
        for out, one, other in zip(outputs, first, second, strict=True):
            if self.lacks_values(out):
                known = torch.where(one == other, one.double(), torch.nan)
                self._constants.write(out, known)

    def _with_values(self, arguments: Any, stand_in: float) -> Any:
        def filled(t: Tensor) -> Tensor:
            if not self.lacks_values(t):
                return t.detach()
            known = self._constants.read(t) if self._constants.knows(t) else torch.tensor(torch.nan)
            return torch.where(known.isnan(), stand_in, known).to(t.dtype).expand(t.shape)

        return tree_map_only(Tensor, filled, arguments)


@contextmanager
def running(model: nn.Module) -> Iterator[Run]:
    """Let a model on the meta device run on any example: its parameters seem to lie on the CPU; put them back.

    Yields
    ------
    run : Run
    """
    places: list[tuple[dict[str, Any], str, Tensor]] = [
        (held, name, tensor)
        for module in model.modules()
        for held in (module._parameters, module._buffers)
        for name, tensor in held.items()
        if tensor is not None and is_hollow(tensor)
    ]
    run = Run(bool(places))
    made = constructed_buffers(model) if places else {}
    try:
        for held, name, tensor in places:
            if id(tensor) not in made:
                made[id(tensor)] = _seeming(run, tensor)
                run.originals[id(made[id(tensor)])] = tensor
            held[name] = made[id(tensor)]
        yield run
    finally:
        for held, name, tensor in places:
            held[name] = tensor


def _seeming(run: Run, tensor: Tensor) -> Tensor:
    """Make a hollow tensor on the CPU of the same shape and type."""
    assert run._mode is not None
    with run._mode:
        made = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cpu")
    return nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made


def constructed_buffers(model: nn.Module) -> dict[int, Tensor]:
    """Compute buffers that no file holds, where the model says how, by the ids of those without values.

    Models of the transformers library do, for instance for the frequencies of rotary embeddings.
    """
    made: dict[int, Tensor] = {}
    for owner in model.modules():
        initialise: Any = getattr(owner, "_init_weights", None)
        for module in owner.modules() if callable(initialise) else ():
            buffers = {name: buffer for name, buffer in module._buffers.items() if buffer is not None}
            hollow = {n: t for n, t in buffers.items() if n in module._non_persistent_buffers_set and is_hollow(t)}
            if not hollow or next(module.parameters(recurse=False), None) is not None:
                continue
            filled = copy(module)
            filled._buffers = {n: _unset(t) if n in hollow else t for n, t in buffers.items()}
            with torch.no_grad():
                initialise(filled)
            for name, tensor in hollow.items():
                found = filled._buffers[name]
                if found is not None and not torch.equal(found, _unset(tensor)) and not bool(found.isnan().any()):
                    made.setdefault(id(tensor), found)
    return made


def _unset(tensor: Tensor) -> Tensor:
    """Make a tensor of values that nobody sets."""
    value = torch.nan if tensor.is_floating_point() else 1 if tensor.dtype is torch.bool else -(2**7)
    return torch.full(tensor.shape, value, dtype=tensor.dtype)


def _tensors(arguments: Any) -> list[Tensor]:
    return [t for t in tree_iter(arguments) if isinstance(t, Tensor)]


def _leaves(func: Callable[..., Any], args: Any, kwargs: Any) -> list[Tensor]:
    return _tensors(func(*args, **kwargs))


def _like(tensor: Tensor) -> Tensor:
    return torch.empty((), dtype=tensor.dtype).expand(tensor.shape) if is_hollow(tensor) else tensor


def _values(tensor: Tensor) -> Tensor:
    """Give the values of all elements of a tensor's storage in one row; unknown ones are NaN."""
    elements = storage_length(tensor)
    if is_hollow(tensor):
        return torch.full((elements,), torch.nan, dtype=torch.float64)
    return tensor.detach().as_strided((elements,), (1,), 0).double()
