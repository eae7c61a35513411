"""How layers are made: activations, functions of several neurons, pooling."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from ..links import Axis, Convolution, Window
from ..nodes import NO_NODE, Nodes
from ..weights import Aggregation, Call, Constant, Expression, Value
from .connect import connect_elementwise, connect_operands
from .ids import collapse, distinct_rows, fill_gaps, unexpanded, without_repeats
from .watch import Ids, Operation, Watch


def activation(watch: Watch, operation: Operation, name: str | None = None) -> None:
    """Make the output a layer that applies the operation to its one neuron operand, element by element."""
    (operand,) = unique([t for t in tensor_arguments(operation) if watch.is_neuron(t)])
    out = operation.out if isinstance(operation.out, Tensor) else operation.out[0]
    source = watch.ids(operand).expand(out.shape)
    name = name or activation_name(operation)
    ids = watch.born(
        operation,
        out,
        "activation",
        watch.new_by_source(source),
        activation=name,
        activate=as_expression(watch, operation, [operand]),
        channel_axis=channel_axis(watch, operand, out),
    )
    connect_elementwise(watch, source, ids)


def function(watch: Watch, operation: Operation, kind: str = "function") -> None:
    """Make the output a layer that computes the operation from several neuron operands, linked as gates."""
    operands = unique([t for t in tensor_arguments(operation) if watch.is_neuron(t)])
    out = operation.out if isinstance(operation.out, Tensor) else operation.out[0]
    sources = [watch.ids(operand) for operand in operands]
    ids = watch.born(
        operation,
        out,
        kind,
        watch.new_by_source(*(source.expand(out.shape) for source in sources)),
        function=as_expression(watch, operation, operands),
        operands=operand_nodes(watch, sources),
        channel_axis=channel_axis(watch, operands[0], out),
    )
    connect_operands(watch, sources, ids, "gate", [1.0] * len(sources))


def operand_nodes(watch: Watch, sources: Sequence[Ids]) -> Any:
    """Return the nodes that a layer function reads; in channel granularity, where none is computed, each once."""
    if not watch.by_position:
        sources = [without_repeats(*collapse(source))[0][0] for source in sources]
    return tuple(Nodes(source.contiguous().numpy()) for source in sources)


def as_expression(watch: Watch, operation: Operation, operands: Sequence[Tensor]) -> Expression:
    """Turn an operation into an expression of the given operands' values."""

    def part(t: Tensor) -> Expression:
        for place, operand in enumerate(operands):
            if t is operand:
                value: Expression = Value(place)
                return value if t.dtype.is_floating_point else Call(torch.Tensor.to, (value, t.dtype))
        return watch.expression(t)

    args, kwargs = tree_map_only(Tensor, part, (operation.args, operation.kwargs))
    select = None if isinstance(operation.out, Tensor) else 0
    return Call(operation.func, args, kwargs, select)


def activation_name(operation: Operation) -> str:
    """Name an activation as its users do."""
    bounds = [a for a in operation.args[1:] if isinstance(a, int | float)]
    return "relu6" if operation.name == "hardtanh" and bounds == [0.0, 6.0] else operation.name


def tensor_arguments(operation: Operation) -> list[Tensor]:
    """List the tensors among an operation's arguments."""
    return [t for t in tree_leaves((operation.args, operation.kwargs)) if isinstance(t, Tensor)]


def unique(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Drop repetitions of the same tensor object."""
    return list({id(t): t for t in tensors}.values())


def channel_axis(watch: Watch, operand: Tensor, out: Tensor) -> int:
    """Tell which axis of an output counts channels: that of the layer it comes from, if it has its shape."""
    ids = watch.node_ids.read(operand)
    first = int(unexpanded(ids).reshape(-1)[0]) if ids.numel() else NO_NODE
    place = bisect_right(watch.layers, first, key=lambda layer: layer.start) - 1
    if place >= 0:
        layer = watch.layers[place]
        if first < layer.stop and layer.tensor_shape == tuple(out.shape):
            return layer.channel_axis + (len(layer.tensor_shape) - len(layer.shape))
    return 1 if out.dim() > 2 else -1


def pool(
    watch: Watch,
    operation: Operation,
    x: Tensor,
    out: Tensor,
    windows: Mapping[int, Sequence[Window]],
    kind: str,
    **fields: Any,
) -> None:
    """Make the output a layer whose nodes gather windows of the input's elements.

    Parameters
    ----------
    windows : mapping from axis of ``x`` to its windows, one for each output position
        Other axes go through unchanged.
    kind : {"pool", "unit"}
    """
    source = watch.ids(x)
    if not windows:  # one number, brought down to itself
        watch.node_ids.write(out, source)
        return
    kept = tuple(len(windows[i]) if i in windows else n for i, n in enumerate(x.shape))  # as with keepdim
    if watch.by_position:
        fields.setdefault("channel_axis", channel_axis(watch, x, out))
        ids = watch.born(operation, out, "pool", watch.new_by_element(out.shape), **fields).reshape(kept)
        first = min(windows)
        axes, kernel = [], torch.ones(1, 1, dtype=torch.float64)
        for axis in range(first, x.dim()):
            if axis in windows:
                made, shares = Axis.windows(x.shape[axis], windows[axis])
                kernel = kernel[..., None] * torch.from_numpy(shares)
            else:
                made, kernel = Axis.identity(x.shape[axis]), kernel[..., None]
            axes.append(made)
        geometry = Convolution(1, 1, tuple(axes), copies=prod(x.shape[:first]))
        watch.link(kind, source, ids, geometry, Constant(kernel))
        return
    gathered, taps = _gather_windows(source, windows)  # (*axes, window)
    tuples, which = distinct_rows(gathered.reshape(-1, gathered.shape[-1]))
    constant = (tuples < 0).all(1)
    new = torch.where(constant, NO_NODE, torch.cumsum(~constant, 0) - 1)
    local = new[which.reshape(gathered.shape[:-1])].expand(kept).reshape(out.shape)
    ids = watch.born(operation, out, "pool", local, **fields)
    if not ids.numel():
        return
    first_node = int(ids.max()) - int(new.max())
    rows = torch.stack([tuples, (new[:, None] + first_node).expand_as(tuples)], -1)[~constant].reshape(-1, 2)
    pairs, count = torch.unique(rows[rows[:, 0] >= 0], dim=0, return_counts=True)
    nominal = prod(1 / _widest(axis).divisor for axis in windows.values())
    aggregation = Aggregation(watch.options.aggregate)
    levels, level = torch.unique(count, return_inverse=True)
    alike = [torch.full((1, 1, n * taps), nominal, dtype=torch.float64) for n in levels.tolist()]
    joined = torch.cat([aggregation(each) for each in alike])[level]
    groups = len(pairs)
    watch.link(kind, pairs[:, 0], pairs[:, 1], Convolution(groups, groups, groups=groups), Constant(joined))


def _widest(windows: Sequence[Window]) -> Window:
    """Return the window that stands for its axis in channel granularity."""
    return max(windows, key=lambda window: window.reach)


def _gather_windows(source: Ids, windows: Mapping[int, Sequence[Window]]) -> tuple[Ids, int]:
    """Collect the nodes in each window, (*axes, window); and how many taps of a window are one and the same node."""
    gathered, taps = collapse(fill_gaps(source, windows))[0][..., None], 1
    for axis, along in windows.items():
        if gathered.shape[axis] == 1:
            taps *= _widest(along).reach
            continue
        place = torch.full((len(along), max(len(window.members) for window in along)), -1)
        for row, window in enumerate(along):
            place[row, : len(window.members)] = torch.from_numpy(window.members)
        picked = gathered.index_select(axis, place.clamp(min=0).reshape(-1))
        picked = picked.reshape(*gathered.shape[:axis], *place.shape, *gathered.shape[axis + 1 :])
        absent = (place < 0).view(*[1] * axis, *place.shape, *[1] * (gathered.dim() - axis - 1))
        picked = picked.masked_fill(absent, NO_NODE).movedim(axis + 1, -1)
        gathered = picked.reshape(*picked.shape[:-2], -1)
    return gathered, taps
