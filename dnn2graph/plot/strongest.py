"""What of a graph is drawn where not all of it can be seen: the strongest edges and nodes, chosen in bounded memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from ..graph import NeuralGraph
from ..links import EdgeBlock, Links
from .columns import layer_grid

SCATTER = np.uint64(0x9E3779B97F4A7C15)  # of Fibonacci hashing
COPIES = 8  # edges that one entry of a kernel makes at different positions: so many show where it goes


def strongest_edges(
    graph: NeuralGraph, max_edges: int, kinds: Collection[str] | None = None, among: np.ndarray | None = None
) -> Iterator[tuple[Links, EdgeBlock]]:
    """Choose the edges to draw: of each links the strongest, weakest first.

    Links share ``max_edges`` evenly; what small ones leave goes to the others. Unless all are drawn, of the equal
    edges that an entry of a kernel makes at many positions only some are considered, evenly scattered. Links are
    listed in blocks, and little more than twice the chosen edges are kept at a time.

    Parameters
    ----------
    graph : NeuralGraph
    max_edges : int
        Of all links together.
    kinds : collection of str, optional
        Kinds of links; default all.
    among : bool array (nodes,), optional
        Only edges between these nodes are chosen.
    """
    selected = graph.select(kinds)
    counts = [links.nnz for links in selected]
    thinning = [_thinning(links) if sum(counts) > max_edges else 1 for links in selected]
    some = [count // thin for count, thin in zip(counts, thinning, strict=True)]
    for links, thin, count in zip(selected, thinning, shares(some, max_edges), strict=True):
        yield links, _strongest(links, count, thin, among)


def strongest_nodes(graph: NeuralGraph, values: np.ndarray, most: Sequence[int]) -> np.ndarray:
    """Choose of each layer the channels with the largest values, as many as ``most`` says for the layer.

    Parameters
    ----------
    graph : NeuralGraph
    values : float array (nodes,)
        Not negative. Those of a channel's positions are added.
    most : sequence of int (layers,)

    Returns
    -------
    bool array (nodes,)
    """
    chosen = np.zeros(len(values), bool)
    for layer, count in zip(graph.layers, most, strict=True):
        nodes = layer_grid(layer)
        order = np.argsort(-values[nodes].sum(axis=1), kind="stable")
        chosen[nodes[order[:count]]] = True
    return chosen


def shares(counts: Sequence[int], total: int) -> list[int]:
    """Share out a total evenly, to nobody more than its count; what small ones leave goes to the others.

    Examples
    --------
    >>> shares([100, 5, 100], 45), shares([1, 2], 45), shares([9, 9, 9], 2)
    ([20, 5, 20], [1, 2], [1, 1, 0])
    """
    given = [0] * len(counts)
    for waiting, place in zip(range(len(counts), 0, -1), np.argsort(counts, kind="stable"), strict=True):
        given[place] = min(counts[place], -(-total // waiting))
        total -= given[place]
    return given


def _thinning(links: Links) -> int:
    """Of how many edges one is considered: of one channel's positions, not of channels."""
    positions = layer_grid(links.target).shape[1] if links.target else 1
    return max(1, min(positions, int(links.map.multiplicities().max(initial=1))) // COPIES)


def _strongest(links: Links, count: int, thinning: int, among: np.ndarray | None) -> EdgeBlock:
    """Choose edges of one links, weakest first."""
    nothing = np.zeros(0, np.int64)
    kept = [EdgeBlock(nothing, nothing, np.zeros(0, np.float32))]
    held, least = 0, 0.0
    for block in links.blocks():
        strong = np.abs(block.weights) >= least
        if among is not None:
            strong &= among[block.sources] & among[block.targets]
        if thinning > 1:
            strong &= _anywhere(block) < np.uint64(2**64 - 1) // np.uint64(thinning)
        kept.append(EdgeBlock(*(part[strong] for part in block)))
        held += len(kept[-1].weights)
        if held > 2 * count:
            kept = [_cut(kept, count)]
            held, least = count, float(np.abs(kept[0].weights).min(initial=np.inf))
    return _cut(kept, count)


def _cut(blocks: list[EdgeBlock], count: int) -> EdgeBlock:
    """Keep the strongest of some edges, weakest first. Which of equals are kept does not depend on where they lie."""
    edges = EdgeBlock(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))
    order = np.lexsort((_anywhere(edges), np.abs(edges.weights)))[len(edges.weights) - min(count, len(edges.weights)) :]
    return EdgeBlock(*(part[order] for part in edges))


def _anywhere(edges: EdgeBlock) -> np.ndarray:
    """Scatter edges over the numbers of 64 bits, always in the same way."""
    mixed = edges.sources.astype(np.uint64) * SCATTER + edges.targets.astype(np.uint64)  # wraps around
    mixed ^= mixed >> np.uint64(29)
    return mixed * SCATTER
