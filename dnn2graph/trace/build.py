"""What rules are made of: births of layers and the links that lead to them, in either granularity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ..links import Axis, Convolution, Listed, Window
from ..nodes import NO_NODE
from ..weights import UNSIGNED_AGGREGATES, Aggregation, Call, Constant, Expression, Value, pick, take
from .ids import collapse, distinct
from .watch import Ids, Operation, Watch

# ---------------------------------------------------------------------- convolutions and dense layers


def connect_convolution(
    watch: Watch, source: Ids, target: Ids, axes: Sequence[Axis], groups: int, weight: Expression, kind: str = "weight"
) -> None:
    """Link neurons through a kernel (out, in / groups, *taps).

    Parameters
    ----------
    source : int64 tensor (copies, in, *input positions)
    target : int64 tensor (copies, out, *output positions)
    """
    copies, channels = source.shape[:2]
    if watch.by_position:
        geometry = Convolution(channels, target.shape[1], tuple(axes), groups, copies)
        watch.link(kind, source, target, geometry, weight)
        return
    out = target.movedim(1, 0).reshape(target.shape[1], -1)[:, 0]  # one node per out-channel
    small = collapse(source)[0]
    whole = small.numel() == channels and bool((small >= 0).all())
    if groups > 1 and not (whole and len(torch.unique(small)) == channels):
        _connect_grouped(watch, source, out, groups, weight, kind)
        return
    if small.numel() == channels:
        nodes = small.reshape(-1)
    else:  # several nodes meet the same in-channel: each of them meets its taps
        channel = torch.arange(channels).view(1, -1, *[1] * (source.dim() - 2)).expand(source.shape)
        pairs, _ = distinct(source, channel)
        nodes = pairs[:, 0]
        weight = Call(take, (weight, 1, pairs[:, 1]))
    members, segment = torch.unique(nodes[nodes >= 0], return_inverse=True)
    segments = torch.full_like(nodes, NO_NODE)
    segments[nodes >= 0] = segment
    if not len(members):
        return
    own = groups > 1 or torch.equal(segments, torch.arange(len(nodes)))
    sources = nodes if own else members
    aggregation = Aggregation(watch.options.aggregate, None if own else tuple(segments.tolist()))
    geometry = Convolution(len(sources), len(out), (), groups)
    watch.link(kind, sources, out, geometry, Call(aggregation, (weight,)))


def _connect_grouped(watch: Watch, source: Ids, out: Ids, groups: int, weight: Expression, kind: str) -> None:
    """Channel links of a grouped convolution whose in-channels are not one node each: an explicit list."""
    channels = source.shape[1]
    channel = torch.arange(channels).view(1, -1, *[1] * (source.dim() - 2)).expand(source.shape)
    pairs, _ = distinct(source, channel)
    pairs = pairs[pairs[:, 0] >= 0]
    per_in, per_out = channels // groups, len(out) // groups
    place = (pairs[:, 1:] // per_in * per_out + torch.arange(per_out)).reshape(-1)  # out-channel of each triple
    within = (pairs[:, 1] % per_in).repeat_interleave(per_out)
    sources, first = torch.unique(pairs[:, 0], return_inverse=True)
    ends = torch.stack([first.repeat_interleave(per_out), place], 1)
    edges, segment = torch.unique(ends, dim=0, return_inverse=True)
    geometry = Listed(len(sources), len(out), edges[:, 0].numpy(), edges[:, 1].numpy())
    order = torch.argsort(segment, stable=True)
    entries = Call(pick, (weight, place[order], within[order]))  # (1, triples, taps)
    aggregation = Aggregation(watch.options.aggregate, tuple(segment[order].tolist()))
    watch.link(kind, sources, out, geometry, Call(torch.select, (Call(aggregation, (entries,)), 0, 0)))


# ---------------------------------------------------------------------- elementwise links


def connect_elementwise(
    watch: Watch, source: Ids, target: Ids, kind: str = "unit", coefficient: float | Expression = 1.0
) -> None:
    """Link neurons element by element.

    Parameters
    ----------
    source, target : int64 tensors of one shape
        Where the source is -1 there is no link.
    coefficient : float or Expression
        The weights; an expression broadcasts against that shape.
    """
    if not watch.by_position:
        _connect_pairs(watch, source, target, kind, coefficient)
        return
    keep = (source >= 0).reshape(-1)
    if isinstance(coefficient, Expression):
        shape = coefficient.evaluate(watch.expressions.weights).shape
        shape = torch.Size([1] * (source.dim() - len(shape)) + list(shape))
        varying = [axis for axis, length in enumerate(shape) if length > 1]
        if len(varying) <= 1 and bool(keep.all()):
            axis = varying[0] if varying else 0
            channels = shape[axis] if varying else 1
            copies, positions = prod(source.shape[:axis]), prod(source.shape[axis + 1 :])
            if not varying:
                copies, positions = source.numel(), 1
            axes = (Axis.identity(positions),) if positions > 1 else ()
            geometry = Convolution(channels, channels, axes, channels, copies)
            watch.link(kind, source, target, geometry, Call(torch.reshape, (coefficient, geometry.kernel_shape)))
            return
        kernel: Expression = Call(torch.reshape, (Call(torch.broadcast_to, (coefficient, tuple(source.shape))), (-1, 1)))
        if not bool(keep.all()):
            kernel = Call(take, (kernel, 0, keep.nonzero().reshape(-1)))
        count = int(keep.sum())
        geometry = Convolution(count, count, (), count)
    else:
        kernel = Constant(torch.full((1, 1), float(coefficient), dtype=torch.float64))
        geometry = Convolution(1, 1, copies=int(keep.sum()))
    if bool(keep.any()):
        watch.link(kind, source.reshape(-1)[keep], target.reshape(-1)[keep], geometry, kernel)


def _connect_pairs(watch: Watch, source: Ids, target: Ids, kind: str, coefficient: float | Expression) -> None:
    """Elementwise links in channel granularity: each pair of nodes once, its weights aggregated."""
    unsigned = watch.options.aggregate in UNSIGNED_AGGREGATES
    if not isinstance(coefficient, Expression):
        pairs, _ = distinct(source, target)
        pairs = pairs[pairs[:, 0] >= 0]
        if len(pairs):
            geometry = Convolution(1, 1, copies=len(pairs))
            weight = abs(coefficient) if unsigned else coefficient
            kernel = Constant(torch.full((1, 1), float(weight), dtype=torch.float64))
            watch.link(kind, pairs[:, 0], pairs[:, 1], geometry, kernel)
        return
    value = coefficient.evaluate(watch.expressions.weights)
    entry = torch.arange(value.numel()).view(value.shape).expand(source.shape)
    triples, _ = distinct(source, target, entry)
    triples = triples[triples[:, 0] >= 0]
    if not len(triples):
        return
    pairs, segment = torch.unique(triples[:, :2], dim=0, return_inverse=True)
    geometry = Convolution(len(pairs), len(pairs), groups=len(pairs))
    kernel = Call(torch.reshape, (coefficient, (-1,)))
    if not torch.equal(triples[:, 2], torch.arange(value.numel())):
        kernel = Call(take, (kernel, 0, triples[:, 2]))
    if len(pairs) < len(triples):
        aggregation = Aggregation(watch.options.aggregate, tuple(segment.tolist()))
        kernel = Call(aggregation, (Call(torch.reshape, (kernel, (1, -1, 1))),))
    elif unsigned:
        kernel = Call(torch.abs, (kernel,))
    watch.link(kind, pairs[:, 0], pairs[:, 1], geometry, Call(torch.reshape, (kernel, (-1, 1))))


def connect_operands(watch: Watch, operands: Sequence[Ids], target: Ids, kind: str, coefficients: Sequence[float]) -> None:
    """Link several operands elementwise to one target, each pair of nodes once: ``x + x`` is one edge of weight 2."""
    expanded = [operand.expand(target.shape) for operand in operands]
    weights = [torch.full(target.shape, c, dtype=torch.float64) for c in coefficients]
    for later in range(1, len(expanded)):
        for earlier in range(later):
            same = (expanded[earlier] == expanded[later]) & (expanded[later] >= 0)
            if bool(same.any()):
                if kind != "gate":
                    weights[earlier] = torch.where(same, weights[earlier] + weights[later], weights[earlier])
                expanded[later] = torch.where(same, NO_NODE, expanded[later])
    for source, weight in zip(expanded, weights, strict=True):
        small = collapse(weight)[0]
        if small.numel() == 1:
            connect_elementwise(watch, source, target, kind, float(small))
        elif small.numel():
            connect_elementwise(watch, source, target, kind, Constant(small))


# ---------------------------------------------------------------------- functions of neurons


def activation(watch: Watch, operation: Operation, name: str | None = None) -> None:
    """Make the output a layer that applies the operation to its one neuron operand, element by element."""
    (operand,) = [t for t in tensor_arguments(operation) if watch.is_neuron(t)]
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
        operands=operand_nodes(sources),
        channel_axis=channel_axis(watch, operands[0], out),
    )
    connect_operands(watch, sources, ids, "gate", [1.0] * len(sources))


def operand_nodes(sources: Sequence[Ids]) -> Any:
    """Return the nodes that a layer function reads."""
    from ..nodes import Nodes

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
    from torch.utils._pytree import tree_leaves

    return [t for t in tree_leaves((operation.args, operation.kwargs)) if isinstance(t, Tensor)]


def unique(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Drop repetitions of the same tensor object."""
    return list({id(t): t for t in tensors}.values())


def channel_axis(watch: Watch, operand: Tensor, out: Tensor) -> int:
    """Tell which axis of an output counts channels: that of the layer it comes from, if it has its shape."""
    ids = watch.node_ids.read(operand)
    first = int(ids.reshape(-1)[0]) if ids.numel() else NO_NODE
    for layer in reversed(watch.layers):
        if layer.start <= first < layer.stop and layer.tensor_shape == tuple(out.shape):
            return layer.channel_axis + (len(layer.tensor_shape) - len(layer.shape))
    return 1 if out.dim() > 2 else -1


# ---------------------------------------------------------------------- pooling windows


def pool(
    watch: Watch, operation: Operation, x: Tensor, out: Tensor, windows: Mapping[int, Sequence[Window]], kind: str, **fields: Any
) -> None:
    """Make the output a layer whose nodes gather windows of the input's elements.

    Parameters
    ----------
    windows : mapping from axis of ``x`` to its windows, one for each output position
        Other axes go through unchanged.
    kind : {"pool", "unit"}
    """
    source = watch.ids(x)
    kept = tuple(len(windows[i]) if i in windows else n for i, n in enumerate(x.shape))  # as with keepdim
    if watch.by_position:
        fields.setdefault("channel_axis", channel_axis(watch, x, out))
        ids = watch.born(operation, out, "pool", watch.new_by_element(out.shape), **fields).reshape(kept)
        first = min(windows)
        axes, weights = [], []
        for axis in range(first, x.dim()):
            made, weight = (
                Axis.windows(x.shape[axis], windows[axis]) if axis in windows else (Axis.identity(x.shape[axis]), [1.0])
            )
            axes.append(made)
            weights.append(torch.as_tensor(weight, dtype=torch.float64))
        geometry = Convolution(1, 1, tuple(axes), copies=prod(x.shape[:first]))
        kernel = torch.ones(1, 1, dtype=torch.float64)
        for weight in weights:
            kernel = kernel[..., None] * weight
        watch.link(kind, source, ids, geometry, Constant(kernel))
        return
    gathered, taps = _gather_windows(source, windows)  # (*axes, window)
    tuples, which = torch.unique(gathered.reshape(-1, gathered.shape[-1]), dim=0, return_inverse=True)
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
    joined = torch.stack([aggregation(torch.full((1, 1, int(c) * taps), nominal, dtype=torch.float64))[0] for c in count])
    groups = len(pairs)
    watch.link(kind, pairs[:, 0], pairs[:, 1], Convolution(groups, groups, groups=groups), Constant(joined))


def _widest(windows: Sequence[Window]) -> Window:
    """Return the window that stands for its axis in channel granularity."""
    return max(windows, key=lambda window: window.reach)


def _gather_windows(source: Ids, windows: Mapping[int, Sequence[Window]]) -> tuple[Ids, int]:
    """Collect the nodes in each window, (*axes, window); and how many taps of a window are one and the same node."""
    gathered, taps = collapse(source)[0][..., None], 1
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
