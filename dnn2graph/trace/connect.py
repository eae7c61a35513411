"""How links are made: from the node ids on either side and a weight expression, in either granularity."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch

from ..links import Axis, Convolution, Listed
from ..nodes import NO_NODE
from ..weights import UNSIGNED_AGGREGATES, Aggregation, Call, Constant, Expression, pick, take
from .ids import changes_along, collapse, distinct, distinct_rows, fill_gaps
from .watch import Ids, Watch


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
    if not source.numel() or not target.numel():
        return
    out = target.movedim(1, 0).reshape(target.shape[1], -1)[:, 0]  # one node per out-channel
    source = fill_gaps(source, [0, *range(2, source.dim())])
    small = collapse(source)[0]
    one_node_each = small.numel() == small.shape[1]  # nothing varies but along the channels
    nodes = small.expand(1, channels, *small.shape[2:]).reshape(-1) if one_node_each else small.reshape(-1)
    if groups > 1 and not (one_node_each and bool((nodes >= 0).all()) and len(torch.unique(nodes)) == channels):
        _connect_grouped(watch, source, out, groups, weight, kind)
        return
    if not one_node_each:  # several nodes meet the same in-channel: each of them meets its taps
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
    geometry = Convolution(len(sources), len(out), (), groups)
    method = watch.options.aggregate
    if axes or not own or method in UNSIGNED_AGGREGATES:  # else each weight is the only one of its pair
        weight = Call(Aggregation(method, None if own else tuple(segments.tolist())), (weight,))
    watch.link(kind, sources, out, geometry, weight)


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
    edges, segment = distinct_rows(ends)
    geometry = Listed(len(sources), len(out), edges[:, 0].numpy(), edges[:, 1].numpy())
    order = torch.argsort(segment, stable=True)
    entries = Call(pick, (weight, place[order], within[order]))  # (1, triples, taps)
    aggregation = Aggregation(watch.options.aggregate, tuple(segment[order].tolist()))
    watch.link(kind, sources, out, geometry, Call(torch.select, (Call(aggregation, (entries,)), 0, 0)))


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
        shape = watch.expressions.shape(coefficient)
        shape = torch.Size([1] * (source.dim() - len(shape)) + list(shape))
        varying = [axis for axis, length in enumerate(shape) if length > 1]
        spread = range(varying[0], varying[-1] + 1) if varying else range(0)
        if any(source.shape[axis] > 1 and axis not in varying for axis in spread):
            order = [*varying, *(axis for axis in range(source.dim()) if axis not in varying)]
            source, target = source.permute(order), target.permute(order)
            spread = range(len(varying))
        # Gaps stay in the source, so that the kernel keeps one entry for each of the coefficient.
        channels = prod(shape[axis] for axis in varying)
        lengths = list(source.shape)
        copies = prod(lengths[: spread[0]]) if varying else source.numel()
        positions = prod(lengths[spread[-1] + 1 :]) if varying else 1
        axes = (Axis.identity(positions),) if positions > 1 else ()
        geometry = Convolution(channels, channels, axes, channels, copies)
        watch.link(kind, source, target, geometry, Call(torch.reshape, (coefficient, geometry.kernel_shape)))
        return
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
            number: Expression = Constant(torch.full((1, 1), float(coefficient), dtype=torch.float64))
            if unsigned and coefficient < 0:
                number = Call(torch.abs, (number,))
            watch.link(kind, pairs[:, 0], pairs[:, 1], geometry, number)
        return
    shape = watch.expressions.shape(coefficient)
    shape = torch.Size([1] * (source.dim() - len(shape)) + list(shape))
    # Along these axes every pair of nodes meets all entries of the coefficient: its taps.
    tapped = [i for i, n in enumerate(shape) if n > 1 and not changes_along(source, i) and not changes_along(target, i)]
    for axis in tapped:
        source, target = source.narrow(axis, 0, 1), target.narrow(axis, 0, 1)
    kept = torch.Size(1 if axis in tapped else n for axis, n in enumerate(shape))
    triples, _ = distinct(source, target, watch.new_by_element(kept).expand(source.shape))
    triples = triples[triples[:, 0] >= 0]
    if not len(triples):
        return
    pairs, segment = distinct_rows(triples[:, :2])
    geometry = Convolution(len(pairs), len(pairs), groups=len(pairs))
    if tapped:
        order = [axis for axis in range(len(shape)) if axis not in tapped] + tapped
        last = Call(torch.permute, (Call(torch.reshape, (coefficient, tuple(shape))), order))
        kernel = Call(torch.reshape, (last, (kept.numel(), -1)))
    else:
        kernel = Call(torch.reshape, (coefficient, (-1,)))
    if not torch.equal(triples[:, 2], torch.arange(kept.numel())):
        kernel = Call(take, (kernel, 0, triples[:, 2].clone()))
    shared = len(pairs) < len(triples)
    if shared or tapped:
        aggregation = Aggregation(watch.options.aggregate, tuple(segment.tolist()) if shared else None)
        kernel = Call(aggregation, (Call(torch.reshape, (kernel, (1, len(triples), -1))),))
    kernel = Call(torch.reshape, (kernel, (-1, 1)))
    if unsigned and not shared and not tapped:
        kernel = Call(torch.abs, (kernel,))  # outermost: what folds the scale away needs its sign
    watch.link(kind, pairs[:, 0], pairs[:, 1], geometry, kernel)


def connect_operands(
    watch: Watch, operands: Sequence[Ids], target: Ids, kind: str, coefficients: Sequence[float]
) -> None:
    """Link several operands elementwise to one target, each pair of nodes once: ``x + x`` is one edge of weight 2.

    In channel granularity, positions of a channel may be added and taken away. Those edges stay apart where they would
    cancel: the channel is read all the same.
    """
    expanded = [operand.expand(target.shape) for operand in operands]
    if not watch.by_position:
        *expanded, target = collapse(*expanded, target)
    weights = [torch.full(target.shape, c, dtype=torch.float64) for c in coefficients]
    for later in range(1, len(expanded)):
        for earlier in range(later):
            same = (expanded[earlier] == expanded[later]) & (expanded[later] >= 0)
            one, other = weights[earlier], weights[later]
            if not watch.by_position and watch.options.aggregate in UNSIGNED_AGGREGATES:
                one, other = one.abs(), other.abs()
            if kind != "gate" and not watch.by_position:
                same &= one + other != 0
            if bool(same.any()):
                if kind != "gate":
                    weights[earlier] = torch.where(same, one + other, weights[earlier])
                expanded[later] = torch.where(same, NO_NODE, expanded[later])
    for source, weight in zip(expanded, weights, strict=True):
        levels = torch.unique(weight).tolist()
        if watch.by_position and len(levels) > 1:
            connect_elementwise(watch, source, target, kind, Constant(collapse(weight)[0]))
            continue
        for level in levels:  # each is one tap, at however many positions
            there = source if len(levels) == 1 else source.masked_fill(weight != level, NO_NODE)
            connect_elementwise(watch, there, target, kind, level)
