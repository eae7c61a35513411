"""Compare a channel graph's weights with the kernels of the position graph, aggregated by the definition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..graph import NeuralGraph
from ..links import Axis, Convolution, Links
from ..links.sums import as_numpy
from ..nodes import Nodes
from ..trace import traced
from ..trace.ids import distinct_rows
from ..trace.watch import Options

Pairs = tuple[np.ndarray, np.ndarray]  # int64 ends (pairs, 2), in lexicographic order; weights (pairs,)


def channel_difference(
    model: nn.Module, graph: NeuralGraph, unrolled: NeuralGraph, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[float, tuple[str, ...]]:
    """Aggregate the position graph's kernels entry by entry and compare with the channel graph's edges.

    Both are traced anew, operation by operation, and compared; then once more simplified, layer by layer wherever
    simplifying took the same course in both; then the graph at hand with those.

    Returns
    -------
    difference : float
        Largest difference relative to the largest weight.
    unchecked : tuple of str
        Names of layers some of whose links have no counterpart to compare with: a channel of the kernel that is
        several channels of the graph, edges that leave constants.
    """
    options = {**graph.options, "shared": "unfold"}

    def trace(**others: Any) -> tuple[NeuralGraph, list[Tensor]]:
        made, values = traced(model, args, kwargs, Options(**{**options, **others}), keep_values=True)
        return made.with_weights(graph.weights), values

    plain, elements = trace(simplify=False)
    plain_unrolled = trace(simplify=False, granularity="position")[0]
    operations = [{layer.origin: layer.name for layer in each.layers} for each in (plain_unrolled, plain)]
    worst, unchecked = _compare(plain_unrolled, plain, elements, *operations)
    references = [plain]
    if graph.options["simplify"]:
        simplified, elements = trace()
        worst = max(worst, _compare(unrolled, simplified, elements, *operations)[0])
        references.insert(0, simplified)
    if graph.folded:  # what leads back has no counterpart where a loop runs once
        references.append(trace(shared=graph.options["shared"])[0])
    return max(worst, _weight_difference(graph, references)), unchecked


def _compare(
    positions: NeuralGraph,
    channels: NeuralGraph,
    elements: list[Tensor],
    position_operations: dict[int, str],
    channel_operations: dict[int, str],
) -> tuple[float, tuple[str, ...]]:
    """Compare the aggregated kernels of a position graph with a channel graph of the same layers.

    Layers correspond if the same operation made their final values; ``position_operations`` and
    ``channel_operations`` name the operations by ``Layer.origin``. ``elements`` holds, for every operation of the
    channel graph, which of its layer's nodes each element belongs to.
    """
    of_node = np.full(positions.number_of_nodes(), -1)
    counterparts = {channel_operations[layer.origin]: layer for layer in channels.layers}
    for layer in positions.layers:
        counterpart = counterparts.get(position_operations[layer.origin])
        if counterpart is None:
            continue
        local = elements[counterpart.origin]
        if not local.numel() and counterpart.size == layer.size:  # constants
            local = torch.arange(layer.size)
        if local.numel() == layer.size:
            nodes = local.reshape(-1).numpy()
            of_node[layer.start : layer.stop] = np.where(nodes >= 0, nodes + counterpart.start, -1)
    constants = np.repeat([layer.kind == "constant" for layer in channels.layers], [n.size for n in channels.layers])
    worst, unchecked = 0.0, []
    theirs = _by_target(channels, channel_operations)
    for operation, links in _by_target(positions, position_operations).items():
        others = theirs.get(operation, [])
        if _course(links) != _course(others):
            continue  # simplifying went further in one of them
        expected = _aggregated(links, of_node, channels.aggregate)
        if expected is None:
            unchecked.append(operation)
            continue
        gates = [_joined_channels(links) for links in others if links.kind == "gate"]
        blocks = [block for links in others if links.kind != "gate" for block in links.blocks()]
        parts = [(np.stack([block.sources, block.targets], 1), block.weights) for block in blocks]
        found = _summed([*parts, _joined(gates)])
        if len(constants) and (constants[expected[0][:, 0]].any() or constants[found[0][:, 0]].any()):
            unchecked.append(operation)
            expected, found = (_without(constants, pairs) for pairs in (expected, found))
        worst = max(worst, _pairwise_gap(expected, found))
    return worst, tuple(unchecked)


def _without(constants: np.ndarray, pairs: Pairs) -> Pairs:
    """Leave out the edges that leave constants."""
    keep = ~constants[pairs[0][:, 0]]
    return pairs[0][keep], pairs[1][keep]


def _by_target(graph: NeuralGraph, operations: dict[int, str]) -> dict[str, list[Links]]:
    """Group links by the operation that made the layer that they enter."""
    groups: dict[str, list[Links]] = {}
    for links in graph.links:
        assert links.target is not None
        groups.setdefault(operations[links.target.origin], []).append(links)
    return groups


def _course(group: list[Links]) -> set[tuple[Any, ...]]:
    """Tell which layers and parameters some links come from, constants aside."""
    found = set()
    for links in group:
        sources = frozenset(layer.name for layer in links.sources if layer.kind != "constant")
        if sources:
            found.add((sources, tuple(links.weight.parameters())))
    return found


def _weight_difference(graph: NeuralGraph, references: list[NeuralGraph]) -> float:
    """Compare each links' kernel with that of graphs traced now; infinite where it has no counterpart.

    Links of a folded graph have a counterpart for each call of their module: the one with the same parameters.
    """
    if not graph.folded and len(graph.links) != len(references[0].links):
        return float("inf")
    worst = 0.0
    for place, ours in enumerate(graph.links):
        names = tuple(ours.weight.parameters())
        if graph.folded and not names:
            continue  # sums of the same neuron, once for each call
        if graph.folded:
            same = [each for g in references for each in g.links if tuple(each.weight.parameters()) == names]
        else:
            same = [references[0].links[place]]
        worst = max(worst, min((_gap(ours, each) for each in same), default=np.inf))
    return worst


def _gap(ours: Links, theirs: Links) -> float:
    one, other = as_numpy(ours.kernel()), as_numpy(theirs.kernel())
    if one.shape != other.shape:
        return float("inf")
    scale = float(np.abs(other).max(initial=0.0)) or 1.0
    return float(np.abs(one - other).max(initial=0.0)) / scale


def _aggregated(group: list[Links], of_node: np.ndarray, method: str) -> Pairs | None:
    """Aggregate, for each pair of channels, the different kernel entries that join positions of them."""
    parts, gates = [], []
    for links in group:
        links = _without_repeats(links, of_node)
        if links.kind == "gate":
            gates.append(_joined_channels(links, of_node))
            continue
        geometry = links.map
        if not isinstance(geometry, Convolution) or any(map(_is_repeated, geometry.axes)):
            return None
        source = _channel_of_rows(links.source_nodes.ids, of_node)
        target = _channel_of_rows(links.target_nodes.ids, of_node)
        if source is None or target is None:  # a channel of the kernel meets several channels of the graph
            return None
        kernel = as_numpy(links.kernel()).astype(np.float64)
        for place, axis in enumerate(geometry.axes):  # (out, in, *taps): a pooling window stands for all its positions
            if axis.reach is not None:
                widest = int(axis.reach.argmax())
                kernel = kernel.take([widest] * int(axis.reach[widest]), axis=2 + place)
        kernel = kernel.reshape(*kernel.shape[:2], -1)  # (out, in, taps)
        per_in, per_out = geometry.in_channels // geometry.groups, geometry.out_channels // geometry.groups
        copy, channel = (a.reshape(-1) for a in np.indices(source.shape))
        out = (channel // per_in * per_out)[:, None] + np.arange(per_out)  # (copies * in, out of the group)
        into = np.broadcast_to(channel[:, None] % per_in, out.shape)
        start = np.broadcast_to(source.reshape(-1)[:, None], out.shape)
        ends = np.stack([start, target[copy[:, None], out], out, into], -1).reshape(-1, 4)
        ends = _unique_rows(ends[(ends[:, :2] >= 0).all(1)])  # each kernel entry once for each pair of channels
        entries = kernel[ends[:, 2], ends[:, 3]]  # (entries, taps)
        first = _first_of_each(ends[:, :2])
        weights = _reduced(entries, first, method)
        parts.append((ends[first, :2], weights))
    return _summed([*parts, _joined(gates)])


def _is_repeated(axis: Axis) -> bool:
    """Whether positions of an irregular axis meet more than one tap, so that its taps are not those of a kernel."""
    return axis.is_irregular and (axis.taps > 1 or bool((axis.met_by_target > 1).any()))


def _without_repeats(links: Links, of_node: np.ndarray) -> Links:
    """Keep one of all copies of a map that join the same channels, such as those for the tokens of a sequence."""
    geometry = links.map
    if not isinstance(geometry, Convolution) or geometry.copies == 1:
        return links
    ends = [nodes.flat.reshape(geometry.copies, -1) for nodes in (links.source_nodes, links.target_nodes)]
    channels = np.concatenate([np.where(nodes >= 0, of_node[nodes], -1) for nodes in ends], 1)
    _, kind = distinct_rows(torch.from_numpy(channels))
    _, first = np.unique(kind.numpy(), return_index=True)
    geometry = replace(geometry, copies=len(first))
    source, target = Nodes(ends[0][first], geometry.in_shape), Nodes(ends[1][first], geometry.out_shape)
    return replace(links, map=geometry, source_nodes=source, target_nodes=target)


def _joined_channels(links: Links, of_node: np.ndarray | None = None) -> np.ndarray:
    """List the pairs of channels that gates join, int64 (pairs, 2); None for ``of_node`` if nodes are channels."""
    found = [np.zeros((0, 2), np.int64)]
    for block in links.blocks():
        ends = np.stack([block.sources, block.targets], 1)
        ends = ends if of_node is None else of_node[ends]
        found.append(_unique_rows(ends[(ends >= 0).all(1)]))
    return np.concatenate(found)


def _joined(gates: list[np.ndarray]) -> Pairs:
    """Give each pair of channels that gates join the weight 1, however many of their positions they join."""
    pairs = _unique_rows(np.concatenate([np.zeros((0, 2), np.int64), *gates]))
    return pairs, np.ones(len(pairs))


def _reduced(entries: np.ndarray, first: np.ndarray, method: str) -> np.ndarray:
    """Aggregate runs of entries (entries, taps) that begin at ``first``."""
    if method == "maxabs":
        return np.maximum.reduceat(np.abs(entries).max(1), first) if len(first) else np.zeros(0)
    amounts = {"l1": np.abs, "l2": np.square}.get(method, np.asarray)(entries).sum(1)
    total = np.add.reduceat(amounts, first) if len(first) else np.zeros(0)
    if method == "mean":
        return total / (np.diff(np.r_[first, len(entries)]) * entries.shape[1])
    return np.sqrt(total) if method == "l2" else total


def _summed(parts: list[Pairs]) -> Pairs:
    """Sum the weights of equal pairs; those of weight zero are no edges."""
    ends = np.concatenate([np.zeros((0, 2), np.int64), *(part[0] for part in parts)])
    weights = np.concatenate([np.zeros(0), *(part[1] for part in parts)])
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    ends, weights = ends[order], weights[order]
    first = _first_of_each(ends)
    total = np.add.reduceat(weights, first) if len(first) else weights
    return ends[first][total != 0], total[total != 0]


def _pairwise_gap(expected: Pairs, found: Pairs) -> float:
    """Largest difference of two sets of weights, relative to the largest of the first."""
    difference = _summed([expected, (found[0], -found[1])])[1]
    scale = float(np.abs(expected[1]).max(initial=0.0)) or 1.0
    return float(np.abs(difference).max(initial=0.0)) / scale


def _unique_rows(rows: np.ndarray) -> np.ndarray:
    return distinct_rows(torch.from_numpy(rows))[0].numpy()


def _first_of_each(rows: np.ndarray) -> np.ndarray:
    """Index where each run of equal rows begins."""
    if not len(rows):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]).any(1)])


def _channel_of_rows(nodes: np.ndarray, of_node: np.ndarray) -> np.ndarray | None:
    """Return the channel of (copies, channels, *positions) nodes as (copies, channels); None where it varies."""
    channels = np.where(nodes >= 0, of_node[nodes], -1).reshape(*nodes.shape[:2], -1)
    if not channels.size:
        return None
    highest = channels.max(-1)
    same = (channels == highest[..., None]) | (channels < 0)
    return highest if bool(same.all()) else None


