"""Compare a channel graph's weights with the kernels of the position graph, aggregated by the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ..graph import NeuralGraph
from ..links import Convolution, Links
from ..links.sums import as_numpy
from ..trace import traced
from ..trace.watch import Options

Pairs = tuple[np.ndarray, np.ndarray]  # int64 ends (pairs, 2), in lexicographic order; weights (pairs,)


def channel_difference(
    model: nn.Module, graph: NeuralGraph, unrolled: NeuralGraph, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[float, tuple[str, ...]]:
    """Aggregate the position graph's kernels entry by entry and compare with the channel graph's edges.

    Which channel each position node belongs to comes from tracing the model once more in channel granularity and
    keeping, for every operation, the channel of each element of its output.

    Returns
    -------
    difference : float
        Largest difference relative to the largest weight.
    unchecked : tuple of str
        Names of target layers whose links could not be matched one to one.
    """
    options = Options(**{**graph.options, "shared": "unfold"})
    again, channels = traced(model, args, kwargs, options, keep_values=True)
    again = again.with_weights(graph.weights)
    of_node = np.full(unrolled.number_of_nodes(), -1)
    by_origin = {layer.origin: layer for layer in again.layers}
    for layer in unrolled.layers:
        counterpart, local = by_origin.get(layer.origin), channels[layer.origin]
        if counterpart is not None and not local.numel() and counterpart.size == layer.size:  # constants
            local = torch.arange(layer.size)
        if counterpart is not None and local.numel() == layer.size:
            nodes = local.reshape(-1).numpy()
            of_node[layer.start : layer.stop] = np.where(nodes >= 0, nodes + counterpart.start, -1)
    worst, unchecked = 0.0, []
    theirs = _by_target(again)
    for name, links in _by_target(unrolled).items():
        expected = _aggregated(links, of_node, graph.aggregate)
        if expected is None:
            unchecked.append(name)
            continue
        blocks = [block for each in theirs.get(name, []) for block in each.blocks()]
        found = _summed([(np.stack([block.sources, block.targets], 1), block.weights) for block in blocks])
        worst = max(worst, _pairwise_gap(expected, found))
    worst = max(worst, _weight_difference(graph, again))
    return worst, tuple(unchecked)


def _by_target(graph: NeuralGraph) -> dict[str, list[Links]]:
    """Group links by the layer that they enter."""
    groups: dict[str, list[Links]] = {}
    for links in graph.links:
        assert links.target is not None
        groups.setdefault(links.target.name, []).append(links)
    return groups


def _weight_difference(graph: NeuralGraph, unfolded: NeuralGraph) -> float:
    """Compare each links' kernel with that of the graph traced now; infinite where it has no counterpart.

    Links of a folded graph have a counterpart for each call of their module: the one with the same parameters.
    """
    if not graph.folded and len(graph.links) != len(unfolded.links):
        return float("inf")
    worst = 0.0
    for place, ours in enumerate(graph.links):
        names = tuple(ours.weight.parameters())
        if graph.folded and not names:
            continue  # sums of the same neuron, once for each call
        same = [each for each in unfolded.links if tuple(each.weight.parameters()) == names]
        counterparts = same if graph.folded else [unfolded.links[place]]
        worst = max(worst, min((_gap(ours, each) for each in counterparts), default=np.inf))
    return worst


def _gap(ours: Links, theirs: Links) -> float:
    one, other = as_numpy(ours.kernel()), as_numpy(theirs.kernel())
    if one.shape != other.shape:
        return float("inf")
    scale = float(np.abs(other).max(initial=0.0)) or 1.0
    return float(np.abs(one - other).max(initial=0.0)) / scale


def _aggregated(group: list[Links], of_node: np.ndarray, method: str) -> Pairs | None:
    """Aggregate, for each pair of channels, the different kernel entries that join positions of them."""
    parts = []
    for links in group:
        geometry = links.map
        if not isinstance(geometry, Convolution):
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
        ends = _unique_rows(ends[ends[:, 0] >= 0])  # each kernel entry once for each pair of channels
        entries = kernel[ends[:, 2], ends[:, 3]]  # (entries, taps)
        first = _first_of_each(ends[:, :2])
        weights = _reduced(entries, first, method)
        parts.append((ends[first, :2], weights))
    return _summed(parts)


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
    rows = rows[np.lexsort(rows.T[::-1])]
    return rows[_first_of_each(rows)]


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


