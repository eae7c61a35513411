"""Contract chains of operations into layers: convolution, batch-norm and ReLU become one.

Tracing gives every operation its nodes. Where a layer is read by nothing but the next operation, and passes its value
on without a function of its own, the two are one: the reader takes over its links. Nothing that the graph computes
changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import torch

from ..graph import Layer, Output
from ..links import Convolution, Links
from ..nodes import Nodes
from ..weights import UNSIGNED_AGGREGATES, Aggregation, Call, Constant, Expression, affine, scale_kernel

# Branches that a sum of several takes over: those that are sums of links themselves. Pools and constants stay layers.
MERGED_INTO_SUMS = ("conv", "linear", "norm", "scale", "sum")


class Draft:
    """Layers and links while they are being contracted.

    Parameters
    ----------
    layers, links
        As traced, layers in order of execution.
    output : Output
    """

    def __init__(self, layers: Sequence[Layer], links: Sequence[Links], output: Output) -> None:
        self.layers: dict[int, Layer] = {layer.origin: layer for layer in layers}
        self.output = output
        self.starts = np.array([layer.start for layer in layers])
        self._origins = [layer.origin for layer in layers]
        self.inbound: dict[int, list[Links]] = defaultdict(list)
        self.readers: dict[int, set[int]] = defaultdict(set)  # which layers read a layer
        self._read: dict[int, set[int]] = defaultdict(set)  # and which it reads
        self.kept: set[int] = set()  # layers that the model returns, and its inputs
        for each in links:
            (target,) = self.owners(each.target_nodes)
            self.inbound[target].append(each)
            self._reads(target, each.source_nodes)
        for layer in layers:
            for nodes in layer.operands:
                self._reads(layer.origin, nodes)
            if layer.kind == "input":
                self.kept.add(layer.origin)
        for nodes in output.nodes():
            self.kept.update(self.owners(nodes))
        self.renumber = Renumbering(self.starts)

    def owners(self, nodes: Nodes) -> list[int]:
        """Return the layers that some nodes belong to."""
        return [self._origins[place] for place in nodes.owners(self.starts)]

    def _reads(self, reader: int, nodes: Nodes) -> None:
        """Note that a layer reads some nodes."""
        for source in self.owners(nodes):
            self.readers[source].add(reader)
            self._read[reader].add(source)

    def absorb(self, source: int, target: int, inbound: list[Links], bias: Expression | None) -> None:
        """Let ``target`` take the place of ``source``, node for node."""
        old, new = self.layers.pop(source), self.layers[target]
        self.renumber.move(old.start, new.start)
        moved = [replace(each, target_nodes=_shifted(each.target_nodes, new.start - old.start)) for each in inbound]
        self.inbound[target] = moved + [each for each in self.inbound[target] if source not in self._sources(each)]
        for read in self._read.pop(source, ()):
            self.readers[read].discard(source)
            self.readers[read].add(target)
            self._read[target].add(read)
        self.inbound.pop(source, None)
        alone = len(self.inbound[target]) == len(moved)
        self.layers[target] = replace(
            new,
            bias=bias,
            name=old.name if alone else new.name,
            kind=old.kind if alone else new.kind,
            function=old.function or new.function,
            operands=old.operands or new.operands,
        )

    def _sources(self, links: Links) -> list[int]:
        return self.owners(links.source_nodes)


class Renumbering:
    """Where nodes go: each layer's stay together.

    Indexed by node ids, a slice or an array, as the table from old to new ids would be.

    Parameters
    ----------
    starts : int64 array
        The layers' first nodes, ascending.
    """

    def __init__(self, starts: np.ndarray) -> None:
        self._starts = starts
        self._to = starts.copy()

    def move(self, start: int, to: int) -> None:
        """Let the nodes of the layer that begins with ``start`` be ``to, to + 1, …``."""
        self._to[self._layer_of(start)] = to

    def __getitem__(self, nodes: slice | np.ndarray) -> np.ndarray:
        ids = np.arange(nodes.start, nodes.stop) if isinstance(nodes, slice) else nodes
        layer = self._layer_of(ids)
        return np.asarray(ids - self._starts[layer] + self._to[layer])

    def _layer_of(self, nodes: Any) -> Any:
        return np.searchsorted(self._starts, nodes, side="right") - 1


def simplify(draft: Draft, fold_norm: bool, aggregate: str | None) -> None:
    """Contract what can be contracted, in order of execution.

    Parameters
    ----------
    fold_norm : bool
        Whether a batch-norm's scale goes into the links before it.
    aggregate : str or None
        The aggregation of a channel graph; None in position granularity.
    """
    for origin in sorted(draft.layers):
        for links in list(draft.inbound[origin]):
            _contract(draft, origin, links, fold_norm, aggregate)
    _drop_unread(draft)


def _contract(draft: Draft, origin: int, links: Links, fold_norm: bool, aggregate: str | None) -> None:
    layer = draft.layers[origin]
    if layer.function is not None or links.kind not in ("unit", "weight"):
        return
    sources = draft.owners(links.source_nodes)
    if len(sources) != 1 or sources[0] not in draft.layers or sources[0] == origin:
        return
    before = draft.layers[sources[0]]
    alone = len(draft.inbound[origin]) == 1
    passes_on = (
        before.origin not in draft.kept
        and draft.readers[before.origin] == {origin}
        and before.activate is None
        and (before.function is None or alone)
        and _is_whole(links.source_nodes, before)
        and _is_whole(links.target_nodes, layer)
        and sum(before.origin in draft.owners(each.source_nodes) for each in draft.inbound[origin]) == 1
    )
    if not passes_on or not (alone or before.kind in MERGED_INTO_SUMS):
        return
    inbound = draft.inbound[before.origin]
    if _is_unit(links):
        if alone or not _parallel(draft, origin, inbound, links):
            draft.absorb(before.origin, origin, inbound, _sum(before, layer))
    elif alone and before.function is None and (layer.kind == "scale" or (layer.kind == "norm" and fold_norm)):
        scaled = [found for each in inbound if (found := _scaled(each, links, aggregate)) is not None]
        if scaled and len(scaled) == len(inbound) and _bias_fits(before, links):
            bias = layer.bias
            if before.bias is not None:
                per_node = Call(torch.reshape, (_with_sign(links.weight), _bias_shape(before, links)))
                scaled_before = replace(before, bias=Call(affine, (per_node, before.bias)))
                bias = _sum(scaled_before, layer)
            draft.absorb(before.origin, origin, scaled, bias)


def _is_whole(nodes: Nodes, layer: Layer) -> bool:
    """Whether the nodes are exactly the layer's, in order."""
    return nodes.is_range and nodes.start == layer.start and nodes.size == layer.size


def _is_unit(links: Links) -> bool:
    """Whether the links pass each value on unchanged."""
    return isinstance(links.weight, Constant) and links.map.kernel_shape == (1, 1) and float(links.weight.value) == 1.0


def _parallel(draft: Draft, origin: int, inbound: list[Links], links: Links) -> bool:
    """Whether the reader would get two links from the same layer."""
    others = {s for each in draft.inbound[origin] if each is not links for s in draft.owners(each.source_nodes)}
    return any(source in others for each in inbound for source in draft.owners(each.source_nodes))


def _sum(before: Layer, layer: Layer) -> Expression | None:
    """Add two biases that broadcast against their layers' shapes."""
    if before.bias is None or layer.bias is None:
        return _fitting(before, layer) if layer.bias is None else layer.bias
    return Call(torch.add, (_fitting(before, layer), layer.bias))


def _fitting(before: Layer, layer: Layer) -> Expression | None:
    """Let a bias broadcast against the next layer's shape."""
    if before.bias is None or before.tensor_shape == layer.tensor_shape:
        return before.bias
    full = Call(torch.broadcast_to, (before.bias, before.tensor_shape))
    return Call(torch.reshape, (full, layer.tensor_shape))


def _scaled(links: Links, scale: Links, aggregate: str | None) -> Links | None:
    """Multiply the links into a layer by one number per channel; None where that is no scaling of a kernel."""
    geometry, factor = links.map, scale.map
    if links.kind != "weight" or not isinstance(geometry, Convolution) or not isinstance(factor, Convolution):
        return None
    if factor.groups != factor.in_channels or not links.target_nodes.is_range:
        return None  # not elementwise
    channels = factor.out_channels
    same = geometry.out_channels == channels and geometry.copies == factor.copies
    if channels > 1 and not (same and prod(geometry.out_shape) == prod(factor.out_shape)):
        return None
    number = _with_sign(scale.weight)
    if isinstance(number, Call) and _is_aggregation(number.args[0]):
        return None  # a scale that differs between positions
    if isinstance(links.weight, Call) and _is_aggregation(links.weight):
        inner = Call(scale_kernel, (links.weight.args[0], number))
        return replace(links, weight=Call(links.weight.function, (inner,)))
    if aggregate in UNSIGNED_AGGREGATES:
        number = Call(torch.abs, (number,))
    return replace(links, weight=Call(scale_kernel, (links.weight, number)))


def _is_aggregation(expression: Any) -> bool:
    return isinstance(expression, Call) and isinstance(expression.function, Aggregation)


def _with_sign(scale: Expression) -> Expression:
    """Undo the absolute value that an unsigned aggregation takes of an elementwise weight."""
    return scale.args[0] if isinstance(scale, Call) and scale.function is torch.abs else scale


def _bias_shape(layer: Layer, scale: Links) -> tuple[int, ...]:
    """Shape in which a scale per channel broadcasts against a layer."""
    shape = [1] * len(layer.tensor_shape)
    if isinstance(scale.map, Convolution) and scale.map.out_channels > 1:
        lead, axis = 1, 0
        while lead < scale.map.copies:
            lead *= layer.tensor_shape[axis]
            axis += 1
        while layer.tensor_shape[axis] != scale.map.out_channels:
            axis += 1
        shape[axis] = -1
    return tuple(shape)


def _bias_fits(layer: Layer, scale: Links) -> bool:
    return isinstance(scale.map, Convolution) and (
        scale.map.out_channels == 1 or scale.map.out_channels in layer.tensor_shape
    )


def _shifted(nodes: Nodes, by: int) -> Nodes:
    if nodes.is_range:
        return Nodes(range(nodes.start + by, nodes.start + by + nodes.size), nodes.shape)
    return Nodes(nodes.ids + by)


def leave_out_gates(draft: Draft) -> None:
    """Drop gate links, and layers that are left without links and that no layer computes its values from."""
    gated: set[int] = set()
    linked, read = set(draft.kept), set[int]()
    for origin, layer in draft.layers.items():
        for nodes in layer.operands:
            read.update(draft.owners(nodes.renumbered(draft.renumber)))
        for links in draft.inbound[origin]:
            ends = {origin, *draft.owners(links.source_nodes.renumbered(draft.renumber))}
            (gated if links.kind == "gate" else linked).update(ends)
        draft.inbound[origin] = [links for links in draft.inbound[origin] if links.kind != "gate"]
    for origin in gated - linked - read:
        draft.layers.pop(origin, None)


def _drop_unread(draft: Draft) -> None:
    """Drop layers that no output depends on."""
    useful: set[int] = set()
    front = [origin for origin in draft.kept if origin in draft.layers]
    while front:
        origin = front.pop()
        if origin in useful:
            continue
        useful.add(origin)
        read = [each.source_nodes for each in draft.inbound[origin]] + list(draft.layers[origin].operands)
        for nodes in read:
            front += draft.owners(nodes.renumbered(draft.renumber))
    for origin in set(draft.layers) - useful:
        del draft.layers[origin]
        draft.inbound.pop(origin, None)


def finish(draft: Draft) -> tuple[list[Layer], list[Links], Output]:
    """Number the remaining nodes without gaps, in topological order."""
    final = Renumbering(draft.starts)
    layers: list[Layer] = []
    count = 0
    for origin in sorted(draft.layers):
        layer = draft.layers[origin]
        final.move(layer.start, count)
        layers.append(replace(layer, start=count, stop=count + layer.size))
        count += layer.size

    def moved(nodes: Nodes) -> Nodes:
        return nodes.renumbered(draft.renumber).renumbered(final)

    layers = [replace(layer, operands=tuple(moved(nodes) for nodes in layer.operands)) for layer in layers]
    links = [
        replace(each, source_nodes=moved(each.source_nodes), target_nodes=moved(each.target_nodes))
        for origin in sorted(draft.layers)
        for each in draft.inbound[origin]
    ]
    leaves: tuple[Any, ...] = tuple(moved(leaf) if isinstance(leaf, Nodes) else leaf for leaf in draft.output.leaves)
    return layers, links, replace(draft.output, leaves=leaves)
