"""Operations that only move elements about: the same operation runs on their node ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from ...nodes import NO_NODE
from ..aten import aten
from ..build import activation
from ..registry import rule
from ..watch import Operation, Refused, Watch
from .composed import by_definition
from .pointwise import elementwise, is_mask

PLACES = ("index", "indices", "mask")  # arguments that say where


@rule(
    aten.cat.default,
    aten.stack.default,
    aten.clone.default,
    aten.copy.default,
    aten._unsafe_view.default,
    aten.lift_fresh_copy.default,
    aten.repeat.default,
    aten.flip.default,
    aten.roll.default,
    aten.index_select.default,
    aten.gather.default,
    aten.slice_scatter.default,
    aten.select_scatter.default,
    aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default,
    aten.channel_shuffle.default,
    aten.reflection_pad1d.default,
    aten.reflection_pad2d.default,
    aten.reflection_pad3d.default,
    aten.replication_pad1d.default,
    aten.replication_pad2d.default,
    aten.replication_pad3d.default,
    aten.upsample_nearest1d.default,
    aten.upsample_nearest2d.default,
    aten.upsample_nearest3d.default,
    aten._upsample_nearest_exact1d.default,
    aten._upsample_nearest_exact2d.default,
    aten._upsample_nearest_exact3d.default,
    aten.im2col.default,
    aten.scatter.src,
    aten.scatter.value,
    aten.tril.default,
    aten.triu.default,
    aten.diagonal_scatter.default,
    aten.as_strided_scatter.default,
    aten.unfold_copy.default,
    aten.rot90.default,
    aten.diag_embed.default,
    aten.masked_scatter.default,
    aten.max_unpool2d.default,
    aten.max_unpool3d.default,
    aten._pack_padded_sequence.default,
    aten._pad_packed_sequence.default,
)
def move(watch: Watch, operation: Operation) -> None:
    """Run the operation on ids. Whatever it fills in is a constant and gets no node here."""
    if operation.argument("accumulate", False):
        raise Refused("values added at places")
    places = places_in(operation)
    chosen = any(watch.is_neuron(t) for t in places)
    try:
        moved = _on_ids(watch, operation, places, torch.int64)
    except (RuntimeError, NotImplementedError):  # torch has it for real numbers only; float64 holds ids exactly
        moved = _on_ids(watch, operation, places, torch.float64)
    if chosen:
        if all(bool((ids == NO_NODE).all()) for ids in tree_leaves(moved)):
            return  # constants, taken from places that depend on the input
        watch.note(operation.func)
    first = tree_leaves(operation.out)[0]
    for out, ids in zip(tree_leaves(operation.out), tree_leaves(moved), strict=True):
        if out.dtype == first.dtype:  # lengths and the like are no activations
            watch.node_ids.write(out, ids)


@rule(aten.constant_pad_nd.default)
def pad(watch: Watch, operation: Operation) -> None:
    """Pad with a constant."""
    x, padding = operation.args[:2]
    watch.node_ids.write(operation.out, aten.constant_pad_nd(watch.moved_ids(x), padding, NO_NODE))


@rule(aten.fill.Scalar, aten.fill.Tensor, aten.zero.default, aten.zeros_like.default, aten.ones_like.default)
def fill(watch: Watch, operation: Operation) -> None:
    """Overwrite with a constant: nothing of the neurons is left."""
    value = operation.args[1] if len(operation.args) > 1 else 0
    if watch.is_neuron(value):
        raise Refused("a fill value that depends on the input")
    watch.node_ids.write(operation.out, torch.tensor(NO_NODE))


@rule(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def masked_fill(watch: Watch, operation: Operation) -> None:
    """Overwrite some elements with a constant."""
    x, mask, value = operation.args[:3]
    if watch.is_neuron(mask) or watch.is_neuron(value):
        elementwise(watch, operation)
        return
    if is_mask(value):
        activation(watch, operation, "mask")
        return
    if watch.expressions.depends_on_parameters([value]):
        by_definition(watch, operation, lambda x, mask, value: torch.where(mask, value, x))
        return
    ids = watch.moved_ids(x).expand(operation.out.shape)
    watch.node_ids.write(operation.out, ids.masked_fill(mask.cpu(), NO_NODE))


@rule(aten._to_copy.default)
def convert(watch: Watch, operation: Operation) -> None:
    """Change precision or device; a conversion to integers or truth values is a function."""
    x = operation.args[0]
    if operation.out.is_floating_point() and x.is_floating_point():
        watch.node_ids.write(operation.out, watch.node_ids.read(x))
    else:
        activation(watch, operation)


@rule(
    aten.empty_like.default,
    aten.new_empty.default,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_full.default,
    aten.full_like.default,
)
def allocate(watch: Watch, operation: Operation) -> None:
    """Make a constant tensor like another."""
    operation.constant = True


def places_in(operation: Operation) -> list[Tensor]:
    """List the tensors among the arguments that say where, not what."""
    named = [operation.argument(name) for name in PLACES]
    return [t for t in tree_leaves(named) if isinstance(t, Tensor)]


def _on_ids(watch: Watch, operation: Operation, places: Sequence[Tensor], dtype: torch.dtype) -> Any:
    """Run the operation on ids, counted from 1: what it fills with 0 is no node."""
    where = {id(t) for t in places}

    def ids(t: Tensor) -> Tensor:
        if id(t) not in where and (watch.is_neuron(t) or t.is_floating_point()):
            return (watch.moved_ids(t) - NO_NODE).to(dtype)
        return t.cpu()

    args, kwargs = tree_map_only(Tensor, ids, (operation.args, operation.kwargs))
    kwargs = {name: value for name, value in kwargs.items() if name not in ("memory_format", "dtype", "device")}
    return tree_map_only(Tensor, lambda t: t.long() + NO_NODE, operation.func(*args, **kwargs))
