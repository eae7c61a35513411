"""Which nodes an input reaches, and the strongest paths to the outputs that would lose theirs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..graph import NeuralGraph
from ..links import Links
from ..nodes import Nodes
from .edges import Bounds, Edges, by_strength, joined, split, wanted
from .ranks import strong_bounds

UNREACHED = -1


def output_nodes(graph: NeuralGraph) -> np.ndarray:
    """List the nodes that the model returns, ascending; those of the last layer, where it returns none."""
    returned = [nodes.flat for nodes in graph.output.nodes()]
    if not returned:
        return graph.layers[-1].nodes.flat if graph.layers else np.zeros(0, np.int64)
    nodes = np.unique(np.concatenate(returned))
    return np.asarray(nodes[nodes >= 0])


def reached(graph: NeuralGraph, links: Sequence[Links], edges: Edges | None = None) -> np.ndarray:
    """Tell which nodes an input reaches along all edges of some links, or along some of them, and in which order.

    Returns
    -------
    int64 array (nodes,)
        0 at inputs, ``UNREACHED`` at what no input reaches. Elsewhere a number that tells the layer, and is larger
        than that of some node that an edge comes from: see :func:`_layer_of`. Going back along falling numbers ends
        at an input.
    """
    order = np.full(graph.number_of_nodes(), UNREACHED, np.int64)
    for layer in graph.inputs or graph.layers[:1]:
        order[layer.start : layer.stop] = 0
    entering: dict[str, list[Links | Edges]] = {layer.name: [] for layer in graph.layers}
    backwards = False
    parts: Sequence[Links | Edges] = links if edges is None else split(edges, len(links))
    for each, part in zip(links, parts, strict=True):
        assert each.target is not None
        entering[each.target.name].append(part)
        backwards |= any(source.start >= each.target.start for source in each.sources)
    number, changed = 1, True
    while changed:
        changed = False
        for layer in graph.layers:
            here = np.zeros(len(order), bool)
            for part in entering[layer.name]:
                _spread(part, order != UNREACHED, here)
            new = here & (order == UNREACHED)
            order[new] = number
            changed |= backwards and bool(new.any())
            number += 1
    return order


def _layer_of(graph: NeuralGraph, number: int) -> int:
    """Tell the place of the layer whose nodes :func:`reached` gave a number."""
    return (number - 1) % len(graph.layers)


def _spread(links: Links | Edges, reached: np.ndarray, here: np.ndarray) -> None:
    """Mark the nodes that edges from reached nodes lead to."""
    if isinstance(links, Edges):
        here[links.targets[reached[links.sources]]] = True
        return
    if links.is_irregular:
        for block in links.blocks():
            here[block.targets[reached[block.sources]]] = True
        return
    start = _at(links.source_nodes, reached)
    if not start.any():
        return
    if start.all():
        found = links.sums("nonzero")[0] > 0
    else:
        kernel = (links.kernel() != 0).float()
        x = torch.from_numpy(start.astype(np.float32)).reshape(1, *links.map.in_shape).to(kernel.device)
        found = links.map.apply(x, kernel)[0].cpu().numpy() > 0.5  # counts, of whole edges
    here[_where(links.target_nodes)] |= found.reshape(-1)


def _where(nodes: Nodes) -> slice | np.ndarray:
    return slice(nodes.start, nodes.start + nodes.size) if nodes.is_range else nodes.flat


def _at(nodes: Nodes, values: np.ndarray) -> np.ndarray:
    return np.asarray(values[_where(nodes)])


def missing_paths(
    graph: NeuralGraph, links: Sequence[Links], whole: np.ndarray, sparse: np.ndarray, outputs: np.ndarray
) -> Edges:
    """Find edges that join outputs to what the kept edges reach: backwards, always the strongest in-edge.

    Parameters
    ----------
    whole, sparse : int64 arrays (nodes,)
        What :func:`reached` says of all edges, and of those that are kept.
    outputs : int64 array
        Outputs that all edges together reach.
    """
    needed = np.zeros(len(whole), bool)
    needed[outputs] = sparse[outputs] == UNREACHED
    parts = []
    for number in range(int(whole[outputs].max(initial=0)), 0, -1):
        layer = graph.layers[_layer_of(graph, number)]
        here = slice(layer.start, layer.stop)
        nodes = layer.start + np.flatnonzero(needed[here] & (whole[here] == number))
        if len(nodes):
            entering = [(i, each) for i, each in enumerate(links) if each.target is layer]
            edges = _strongest_into(nodes, entering, whole)
            parts.append(edges)
            needed[edges.sources[sparse[edges.sources] == UNREACHED]] = True
    return joined(parts)


def _strongest_into(nodes: np.ndarray, links: Sequence[tuple[int, Links]], order: np.ndarray) -> Edges:
    """Find the strongest in-edge of each node from a node that was reached before it; links with their numbers."""
    links = [(number, each) for number, each in links if _any_at(each.source_nodes, order != UNREACHED)]
    nowhere = np.broadcast_to(np.inf, len(order))
    found, k = [], 1
    while len(nodes):
        parts = []
        for number, each in links:
            strong = np.zeros(len(order))
            strong_bounds(each, k, np.zeros(len(order)), strong)
            at_target = np.full(len(order), np.inf)
            at_target[nodes] = strong[nodes]
            parts += [_admissible(edges, order) for edges in wanted(each, number, Bounds(nowhere, at_target))]
        edges = _strongest_in_edges(joined(parts))
        found.append(edges)
        nodes = np.setdiff1d(nodes, edges.targets)
        k *= 4  # the strongest come from nodes that no input reaches
    return joined(found)


def _any_at(nodes: Nodes, marks: np.ndarray) -> bool:
    return bool(marks[nodes.flat[nodes.flat >= 0]].any() if nodes.has_gaps else _at(nodes, marks).any())


def _admissible(edges: Edges, order: np.ndarray) -> Edges:
    """Keep the edges that come from a node reached earlier than the one that they lead to."""
    source, target = order[edges.sources], order[edges.targets]
    return edges.take((source != UNREACHED) & (source < target))


def _strongest_in_edges(edges: Edges) -> Edges:
    """Keep the strongest edge into each node."""
    edges = edges.take(by_strength(edges))
    return edges.take(np.unique(edges.targets, return_index=True)[1])


def supporting(edges: Edges, order: np.ndarray, outputs: np.ndarray, most: int) -> np.ndarray:
    """Mark edges that give each output a path from an input: its strongest in-edge, and so on backwards.

    Parameters
    ----------
    edges : Edges
    order : int64 array (nodes,)
        What :func:`reached` says of these edges.
    outputs : int64 array
        Outputs that they reach.
    most : int
        How many edges may be marked. If paths to all outputs take more, those to the first outputs that fit are marked.
    """
    ranked = by_strength(edges)
    source, target = order[edges.sources[ranked]], order[edges.targets[ranked]]
    ranked = ranked[(source != UNREACHED) & (source < target)]
    nodes, first = np.unique(edges.targets[ranked], return_index=True)
    into = np.full(len(order), -1)  # the strongest edge into each node
    into[nodes] = ranked[first]

    def paths_to(ends: np.ndarray) -> np.ndarray:
        marked = np.zeros(edges.size, bool)
        while len(ends):
            step = into[ends[order[ends] > 0]]
            step = np.unique(step[~marked[step]])
            marked[step] = True
            ends = edges.sources[step]
        return marked

    marked = paths_to(outputs)
    if marked.sum() <= most:
        return marked
    fit, too_many = 0, len(outputs)
    while too_many - fit > 1:
        middle = (fit + too_many) // 2
        if paths_to(outputs[:middle]).sum() <= most:
            fit = middle
        else:
            too_many = middle
    return paths_to(outputs[:fit])
