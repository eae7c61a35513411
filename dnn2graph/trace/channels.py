"""Which elements of an input are one channel: those that the first layer to read them takes as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from .hollow import Run
from .ids import NodeIds
from .modules import ModuleStack
from .registry import RULES
from .rules import convolution, embedding, linear, moves, normalisation
from .watch import Operation

CHANNEL_AXIS = {
    convolution.convolution: 1,  # of (samples, channels, *positions)
    normalisation.batch_norm: 1,
    normalisation.group_norm: 1,
    normalisation.instance_norm: 1,
    normalisation.layer_norm: -1,
    normalisation.rms_norm: -1,
    linear.product: -1,
    linear.biased_product: -1,
    linear.linear: -1,
}


class _Found(BaseException):
    """Every input's channels are known: the run may stop."""


class Probe(TorchDispatchMode):
    """Follow the inputs' elements to the first layers that read them."""

    def __init__(self, inputs: Sequence[Tensor], run: Run) -> None:
        super().__init__()
        self.run = run
        self.node_ids = NodeIds()
        self.complete = False
        self.classes = [torch.full((x.numel(),), -1) for x in inputs]
        self._starts = [0]
        for x in inputs:
            self.node_ids.write(x, torch.arange(self._starts[-1], self._starts[-1] + x.numel()).view(x.shape))
            self._starts.append(self._starts[-1] + x.numel())

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":
            return func(*args, **kwargs)
        followed = [t for t in tree_iter((args, kwargs)) if isinstance(t, Tensor) and self.node_ids.knows(t)]
        out = self.run(func, args, kwargs)
        is_complex = any(isinstance(t, Tensor) and t.is_complex() for t in (*followed, out))
        if not followed or func.is_view or func._schema.is_mutable or is_complex:
            return out
        rule = RULES.get(func)
        index = _looked_up(func, args)
        if index is not None and self.node_ids.knows(index):
            self._classify(self.node_ids.read(index), None)
        elif rule in CHANNEL_AXIS:
            operand = followed[0]
            axis = CHANNEL_AXIS[rule]
            if rule in (normalisation.layer_norm, normalisation.rms_norm):
                axis = -len(args[1])  # the first of the axes that are normalised together
            if rule is linear.product and operand is not args[0]:
                axis = -2 if operand.dim() > 1 else -1
            if axis >= operand.dim():  # a scale for each channel, predicted from the input
                axis = -1
            self._classify(self.node_ids.read(operand), axis)
        elif (learned := _learned_axis(func, followed[0], args)) is not None:
            self._classify(self.node_ids.read(followed[0]), learned)
        elif isinstance(out, Tensor):
            if rule in (moves.move, embedding.index):
                moves.move(self, Operation(func, args, kwargs, out))  # type: ignore[arg-type]
            elif torch.Tag.pointwise in func.tags and followed[0].shape == out.shape:
                self.node_ids.write(out, self.node_ids.read(followed[0]))
        return out

    def is_neuron(self, value: Any) -> bool:
        """As :meth:`.Watch.is_neuron`, for moving operations."""
        return isinstance(value, Tensor) and self.node_ids.knows(value)

    def moved_ids(self, tensor: Tensor) -> Tensor:
        """As :meth:`.Watch.moved_ids`, for moving operations."""
        return self.node_ids.read(tensor) if self.node_ids.knows(tensor) else torch.full(tensor.shape, -1)

    def note(self, operation: object) -> None:
        """As :meth:`.Watch.note`; the watcher tells it later."""

    def _classify(self, ids: Tensor, axis: int | None) -> None:
        """Let the places along an axis be channels; None: all elements are one."""
        if axis is None or not ids.dim():
            ids, axis = ids.reshape(1, -1), 0
        channel = torch.arange(ids.shape[axis]).view([-1 if i == axis % ids.dim() else 1 for i in range(ids.dim())])
        channel, ids = channel.expand(ids.shape).reshape(-1), ids.reshape(-1)
        for place, known in enumerate(self.classes):
            mine = (ids >= self._starts[place]) & (ids < self._starts[place + 1])
            elements = ids[mine] - self._starts[place]
            new = known[elements] < 0  # what an earlier layer read keeps the channels that it had there
            known[elements[new]] = channel[mine][new]
        self.complete = all(bool((known >= 0).all()) for known in self.classes)
        if self.complete:
            raise _Found


def _looked_up(func: Any, args: Sequence[Any]) -> Tensor | None:
    """Return the indices of a vocabulary among an operation's arguments, if it looks any up."""
    if func not in embedding.LOOKUPS:
        return None
    if func is torch.ops.aten.index.Tensor:
        return args[1][0] if embedding.is_lookup(*args[:2]) else None
    return args[1]


def _learned_axis(func: Any, operand: Tensor, args: Sequence[Any]) -> int | None:
    """Return the axis along which a parameter weighs or shifts elements, if an operation does that and nothing more."""
    if torch.Tag.pointwise not in func.tags:
        return None
    learned = [t for t in args if isinstance(t, nn.Parameter) and t.dim() <= operand.dim() and t.numel() > 1]
    for parameter in learned:
        axes = [axis - parameter.dim() for axis, length in enumerate(parameter.shape) if length > 1]
        if len(axes) == 1:
            return axes[0]
    return None


def channel_classes(
    model: nn.Module, args: Sequence[Any], kwargs: dict[str, Any], inputs: Sequence[Tensor], run: Run | None = None
) -> list[Tensor]:
    """Number the channel of every element of each input, int64 of the input's shape.

    For an image that a convolution reads, the channels are its colour planes; for one that is flattened into a dense
    layer, they are its pixels; for tokens, their features; indices of a vocabulary are one channel. An element that no
    layer reads counts along axis 1.
    """
    probe = Probe(inputs, run or Run())
    try:
        with torch.no_grad(), ModuleStack(model).watching(), probe:
            model(*args, **kwargs)
    except BaseException:  # on its way through compiled code, what was raised may become something else
        if not probe.complete:
            raise
    classes = []
    for x, found in zip(inputs, probe.classes, strict=True):
        if not x.dim():
            found = torch.zeros(())
        elif bool((found < 0).any()):
            axis = 1 if x.dim() > 1 else 0
            found = torch.arange(x.shape[axis]).view([-1 if i == axis else 1 for i in range(x.dim())]).expand(x.shape)
        _, which = torch.unique(found, return_inverse=True)
        classes.append(which.view(x.shape))
    return classes
