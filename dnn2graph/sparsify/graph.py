"""A graph of some of another graph's edges, each still tied to the parameters that its weight comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..export.nodes import isolated_nodes
from ..graph import NeuralGraph
from ..links import Links, Listed
from ..nodes import NO_NODE, Nodes
from ..weights import Call
from .edges import Edges, split
from .receipt import Receipt
from .unroll import BLOCK_EDGES


@dataclass(frozen=True, eq=False, repr=False)
class SparseGraph(NeuralGraph):
    """Some edges of a graph, on the same layers and nodes; made by :func:`dnn2graph.sparsify`.

    It is a graph like any other: every measure, file and picture takes it. Its weights are still those of the
    parameters, so that :meth:`with_weights` gives the same edges other weights: one backbone serves all snapshots of a
    training run (the receipt then still speaks of the weights that it was chosen by). As a network it is another one
    than the model: :meth:`replay` computes what the kept edges alone compute, and :func:`dnn2graph.verify` says where
    that departs from the model.

    Attributes
    ----------
    receipt : Receipt
        What was kept and what was lost.
    """

    receipt: Receipt | None = None

    def isolated(self) -> np.ndarray:
        """Mark the nodes without an edge, bool (nodes,); files for viewers leave them out with ``isolated="drop"``."""
        return isolated_nodes(self)

    def __repr__(self) -> str:
        kept = f"{self.receipt.kept:,} of {self.receipt.edges:,} edges, " if self.receipt else ""
        return (
            f"SparseGraph({len(self.layers)} layers, {self.number_of_nodes():,} nodes, {kept}"
            f"{len(self.links)} links, granularity={self.granularity!r})"
        )


def graph_of(graph: NeuralGraph, links: Sequence[Links], edges: Edges, receipt: Receipt) -> SparseGraph:
    """Keep only the given edges; of links that keep none, an empty list stays."""
    made = tuple(_listed(each, part) for each, part in zip(links, split(edges, len(links)), strict=True))
    names = NeuralGraph.__dataclass_fields__
    return SparseGraph(**{**{name: getattr(graph, name) for name in names}, "links": made}, receipt=receipt)


def _listed(links: Links, edges: Edges) -> Links:
    """List some edges of links, sorted by source and target, with weights picked from the kernel of the links."""
    sources, source = _nodes(links.source_nodes, edges.sources)
    targets, target = _nodes(links.target_nodes, edges.targets)
    if links.is_irregular:
        place, entry = _entries_between(links, edges)
        weight = Call(summed_entries, (links.weight, links.map.kernel_shape, entry, place, edges.size))
    else:
        entry = torch.from_numpy(np.ascontiguousarray(edges.entries))
        weight = Call(picked_entries, (links.weight, links.map.kernel_shape, entry))
    scale = links.source_scale(edges.sources)
    if scale is not None:
        weight = Call(scaled_entries, (weight, torch.from_numpy(scale)))
    geometry = Listed(sources.size, targets.size, source, target)
    return replace(links, source_nodes=sources, target_nodes=targets, map=geometry, weight=weight)


def _nodes(nodes: Nodes, chosen: np.ndarray) -> tuple[Nodes, np.ndarray]:
    """List the nodes of a tensor's elements, each once, and find the places of some of them in the list."""
    if nodes.is_range:
        return nodes.reshape(nodes.size), chosen - nodes.start
    ids = np.unique(nodes.flat)
    ids = ids[ids != NO_NODE]
    return Nodes(ids), np.searchsorted(ids, chosen)


def _entries_between(links: Links, edges: Edges) -> tuple[Tensor, Tensor]:
    """Find all kernel entries that join the ends of some edges: which edge, and which entry."""
    span = int(links.target_nodes.flat.max(initial=0)) + 1
    wanted = edges.sources * span + edges.targets  # ascends
    numbers = np.arange(int(np.prod(links.map.kernel_shape))).reshape(links.map.kernel_shape)
    places, entries = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for block in links.map.rows(numbers, BLOCK_EDGES) if len(wanted) else ():
        row = np.repeat(np.arange(block.first, block.first + block.counts.size), block.counts.reshape(-1))
        source, target = links.source_nodes.flat[row], links.target_nodes.flat[block.targets.reshape(-1)]
        key = np.where(source == NO_NODE, -1, source * span + target)
        place = np.minimum(np.searchsorted(wanted, key), len(wanted) - 1)
        found = np.flatnonzero(wanted[place] == key)
        places.append(place[found])
        entries.append(block.weights.reshape(-1)[found])
    return torch.from_numpy(np.concatenate(places)), torch.from_numpy(np.concatenate(entries))


def picked_entries(kernel: Tensor, shape: tuple[int, ...], entry: Tensor) -> Tensor:
    """Pick entries of a kernel, which may have to be broadcast to its shape, by their places in it."""
    kernel, entry = kernel.expand(shape), entry.to(kernel.device)
    if kernel.is_contiguous():
        return kernel.view(-1)[entry]
    return kernel[torch.unravel_index(entry, shape)]


def summed_entries(kernel: Tensor, shape: tuple[int, ...], entry: Tensor, place: Tensor, count: int) -> Tensor:
    """Sum the entries of a kernel that make each of ``count`` edges."""
    picked = picked_entries(kernel, shape, entry)
    return picked.new_zeros(count).index_add(0, place.to(kernel.device), picked)


def scaled_entries(weights: Tensor, scale: Tensor) -> Tensor:
    """Multiply weights in their own precision; a product that is too small for it stays an edge."""
    exact = weights.double() * scale.to(weights.device)
    scaled, limits = exact.to(weights.dtype), torch.finfo(weights.dtype)
    smallest = torch.full_like(scaled, limits.smallest_normal * limits.eps).copysign(scaled)
    return torch.where((scaled == 0) & (exact != 0), smallest, scaled)
