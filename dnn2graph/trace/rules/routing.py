"""Neurons sent to places and added there: mixtures of experts, scattered sums."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ...links import Listed
from ...nodes import NO_NODE
from ...weights import Call, Constant, Expression, transposed
from ..aten import aten
from ..build import as_expression, channel_axis
from ..connect import connect_convolution
from ..ids import distinct_rows
from ..mixing import gather_rows, mix
from ..registry import rule
from ..watch import Ids, Operation, Refused, Watch
from .moves import move, places_in


@rule(aten.index_put.default)
def put(watch: Watch, operation: Operation) -> None:
    """Overwrite neurons at some places, or add to them."""
    if not operation.argument("accumulate", False):
        move(watch, operation)
        return
    x, places, added = operation.args[:3]
    _add_at(watch, operation, x, added, _numbers(x)[tuple(places)], tuple(range(len(places))))


@rule(aten.index_add.default)
def index_add(watch: Watch, operation: Operation) -> None:
    """Add slices along an axis to those at given places."""
    x, axis, places, added = operation.args[:4]
    target = _numbers(x).index_select(axis, places.cpu())
    _add_at(watch, operation, x, added, target, (axis % max(1, x.dim()),), operation.argument("alpha", 1))


@rule(aten.scatter_add.default)
def scatter_add(watch: Watch, operation: Operation) -> None:
    """Add each element to the one at a place along an axis."""
    x, axis, places, added = operation.args[:4]
    added = added[tuple(slice(length) for length in places.shape)]
    _add_at(watch, operation, x, added, _numbers(x).gather(axis, places.cpu()), (axis % max(1, x.dim()),))


@rule(aten.scatter_reduce.two)
def scatter_reduce(watch: Watch, operation: Operation) -> None:
    """Bring each element and those that are sent to its place down to one: by their sum, mean, product or maximum."""
    x, axis, places, added = operation.args[:4]
    if not (watch.is_neuron(x) or watch.is_neuron(added)):
        return  # only places depend on the input
    added_ids = watch.as_neurons(added)[tuple(slice(length) for length in places.shape)]
    target = _numbers(x).gather(axis, places.cpu())
    source, target = added_ids.reshape(-1), target.reshape(-1)
    operands = [t for t in (x, added) if watch.is_neuron(t)]
    if watch.is_neuron(x):
        stays = torch.ones(x.numel(), dtype=torch.bool)
        stays[target] = bool(operation.argument("include_self", True))
        source = torch.cat([source, watch.ids(x).reshape(-1)[stays]])
        target = torch.cat([target, _numbers(x).reshape(-1)[stays]])
    if any(watch.is_neuron(t) for t in places_in(operation)):
        watch.note(operation.func)
    out = operation.out
    kept = list(out.shape)
    if kept and not watch.by_position:  # the places along the axis are alike
        kept[axis] = 1
        target = _numbers(torch.empty(kept)).expand(out.shape).reshape(-1)[target]
    table = _sources_of_each(target, source, prod(kept)).view(*kept, -1)
    function = as_expression(watch, operation, operands)
    mix(watch, operation, out, [table], function, [watch.ids(t) for t in operands])


@rule(aten.col2im.default)
def fold(watch: Watch, operation: Operation) -> None:
    """Add windows (samples, channels * window, windows) up where they overlap."""
    added, out = operation.args[0], operation.out
    windows = [operation.argument(name) for name in ("kernel_size", "dilation", "padding", "stride")]
    numbers = torch.arange(1, out.numel() + 1, dtype=torch.float64).view(out.shape)
    target = aten.im2col(numbers, *windows).long() - 1  # -1 in the padding
    over = tuple(range(out.dim() - 2, out.dim()))
    _add_at(watch, operation, torch.zeros(out.shape, dtype=out.dtype), added, target.view(added.shape), over)


def _add_at(
    watch: Watch,
    operation: Operation,
    x: Tensor,
    added: Tensor,
    target: Tensor,
    over: tuple[int, ...],
    factor: float = 1.0,
) -> None:
    """Make the layer of sums of ``x`` and of what is added to it; numbers that are no neurons are its bias.

    Parameters
    ----------
    target : int64 tensor of the shape of ``added``
        To which element of ``x``, in row-major order, each is added.
    over : tuple of int
        The axes along which places are chosen; in channel granularity the places along them are alike.
    """
    if not (watch.is_neuron(x) or watch.is_neuron(added)):
        return  # only places depend on the input
    if any(watch.is_neuron(t) for t in places_in(operation)):
        watch.note(operation.func)
    out = operation.out
    bias = _constants(watch, operation, x, added)
    own, other = (watch.moved_ids(t) if watch.is_neuron(t) else torch.full(t.shape, NO_NODE) for t in (x, added))
    other = other.expand(target.shape)
    axis = channel_axis(watch, x if watch.is_neuron(x) else added, out)
    outside = target < 0
    other, target = other.masked_fill(outside, NO_NODE), target.clamp(min=0)
    pairs = torch.cat([torch.stack(ends, -1).reshape(-1, 2) for ends in ((own, _numbers(out)), (other, target))])
    if not watch.by_position:
        kept = [1 if place in over else length for place, length in enumerate(out.shape)]
        alike = _numbers(torch.empty(kept)).expand(out.shape).reshape(-1)
        table = _sources_of_each(alike[pairs[:, 1]], pairs[:, 0], prod(kept))
        gather_rows(watch, operation, out, [table.view(*kept, -1)], "sum", "unit", channel_axis=axis, bias=bias)
        return
    ids = watch.born(operation, out, "sum", watch.new_by_element(out.shape), bias=bias, channel_axis=axis)
    weights = torch.cat([torch.ones(own.numel()), torch.full((other.numel(),), float(factor))]).double()
    _link_listed(watch, pairs, weights, ids)


def _constants(watch: Watch, operation: Operation, x: Tensor, added: Tensor) -> Expression | None:
    """Say what the operation gives where neurons are zero; None if that is zero."""
    numbers = [t for t in (x, added) if not watch.is_neuron(t)]
    if not (watch.expressions.depends_on_parameters(numbers) or any(bool(t.any()) for t in numbers)):
        return None

    def without_neurons(t: Tensor) -> Expression:
        if not t.is_floating_point():  # places
            return Constant(t.detach().clone())
        return Constant(torch.zeros(t.shape, dtype=t.dtype)) if watch.is_neuron(t) else watch.expression(t)

    return Call(operation.func, *tree_map_only(Tensor, without_neurons, (operation.args, operation.kwargs)))


def _sources_of_each(target: Tensor, source: Tensor, count: int) -> Tensor:
    """List the different nodes that are added to each of ``count`` targets, in order: (targets, most), -1 behind."""
    pairs, _ = distinct_rows(torch.stack([target, source], 1)[source >= 0])
    counts = torch.bincount(pairs[:, 0], minlength=count)
    place = torch.arange(len(pairs)) - (torch.cumsum(counts, 0) - counts)[pairs[:, 0]]
    table = torch.full((count, max(1, int(counts.max()))), NO_NODE)
    table[pairs[:, 0], place] = pairs[:, 1]
    return table


def _link_listed(watch: Watch, pairs: Tensor, weights: Tensor, ids: Ids) -> None:
    """Link pairs (source node, target element), summing the weights of equal ones."""
    present = pairs[:, 0] >= 0
    edges, which = distinct_rows(pairs[present])
    total = torch.zeros(len(edges), dtype=torch.float64).index_add(0, which, weights[present])
    sources, source = torch.unique(edges[:, 0], return_inverse=True)
    geometry = Listed(len(sources), ids.numel(), source.numpy(), edges[:, 1].contiguous().numpy())
    watch.link("unit", sources, ids.reshape(-1), geometry, Constant(total))


def _numbers(x: Tensor) -> Tensor:
    """Number the elements in row-major order."""
    return torch.arange(x.numel()).view(x.shape)


@rule(aten._grouped_mm.default)
def grouped_product(watch: Watch, operation: Operation) -> None:
    """Multiply consecutive rows (rows, in) by the matrix (experts, in, out) of the expert that they were sent to."""
    x, matrices = operation.args[:2]
    ends, out = operation.argument("offs"), operation.out
    if ends is None or x.dim() != 2 or not watch.is_neuron(x) or watch.is_neuron(matrices):
        raise Refused("a grouped product of another form than rows of neurons times a matrix for each group")
    source, weight = watch.ids(x), watch.expression(matrices)
    stops = [min(stop, len(x)) for stop in ends.tolist()]
    spans = [(start, stop) for start, stop in zip([0, *stops[:-1]], stops, strict=True)]
    used = [expert for expert, (start, stop) in enumerate(spans) if stop > start]
    local = torch.full(out.shape, NO_NODE)
    for place, expert in enumerate(used):
        local[slice(*spans[expert])] = torch.arange(out.shape[1]) + place * out.shape[1]
    if watch.by_position:
        local = watch.new_by_element(out.shape)
    ids = watch.born(operation, out, "linear", local, channel_axis=-1)
    for expert in used:
        rows = slice(*spans[expert])
        kernel = transposed(Call(torch.select, (weight, 0, expert)))  # (out, in)
        connect_convolution(watch, source[rows], ids[rows], (), 1, kernel)
