"""The unrolled graph as a sparse matrix, filled in place: no list of edges, no sorting, no second copy."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ..estimate import check_memory
from ..graph import NeuralGraph
from ..links import KINDS, Links
from ..links.sums import as_numpy

if TYPE_CHECKING:
    import scipy.sparse


class Rows(NamedTuple):
    """Some rows of some links: the edges of one node after those of another."""

    nodes: np.ndarray  # (rows,) the node that each row leaves
    counts: np.ndarray  # (rows,) edges of each row
    targets: np.ndarray  # (edges,) to which ``shift`` is to be added
    shift: int
    weights: np.ndarray  # (edges,)


@dataclass(frozen=True, eq=False)
class Edges:
    """All edges of a graph, row by row, each pair of nodes once.

    Attributes
    ----------
    sources, targets : int arrays (edges,)
        Node ids, sorted by source, then target.
    weights : float array (edges,)
    kinds : int8 array (edges,)
        Place in :data:`dnn2graph.links.KINDS`.
    """

    sources: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    kinds: np.ndarray


def adjacency(
    graph: NeuralGraph, kinds: Collection[str] | None = None, *, memory: float | None = None
) -> scipy.sparse.csr_array:
    """Unroll the graph into its sparse adjacency matrix.

    Parameters
    ----------
    graph : NeuralGraph
    kinds : collection of str, optional
        Kinds of links; default all.
    memory : float, optional
        How many bytes it may take; default half of what is free.

    Returns
    -------
    csr_array (nodes, nodes)
        ``A[i, j]`` is the weight of the edge from node ``i`` to node ``j``, in the weights' own precision (half
        precision as float32). Parallel links are summed, exact zeros are no edges, column indices ascend.

    Raises
    ------
    MemoryBudgetError
        Before anything is allocated.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> _ = torch.nn.init.constant_(layer.weight, 0.5)
    >>> dg.from_torch(layer, torch.zeros(1, 2)).adjacency().toarray()
    array([[0. , 0. , 0.5],
           [0. , 0. , 0.5],
           [0. , 0. , 0. ]], dtype=float32)
    """
    matrix = unroll(graph, by_target(graph.select(kinds)), memory)[0]
    if not matrix.has_canonical_format:
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    return matrix


def edges(graph: NeuralGraph, kinds: Collection[str] | None = None, *, memory: float | None = None) -> Edges:
    """List all edges with their kinds, for libraries that take edges rather than a matrix.

    Links between the same two nodes are one edge: their weights are summed, and the edge is of the kind that comes
    first in :data:`dnn2graph.links.KINDS` ("weight" before all others).
    """
    chosen = by_target(graph.select(kinds))
    matrix, links = unroll(graph, chosen, memory, record_links=True)
    assert links is not None
    sources = np.repeat(np.arange(matrix.shape[0], dtype=matrix.indices.dtype), np.diff(matrix.indptr))
    kind = np.array([KINDS.index(each.kind) for each in chosen], np.int8)[links]
    found = Edges(sources, matrix.indices, matrix.data, kind)
    return found if matrix.has_canonical_format else _merged(found)


def unroll(
    graph: NeuralGraph, chosen: list[Links], memory: float | None, record_links: bool = False
) -> tuple[scipy.sparse.csr_array, np.ndarray | None]:
    """Fill a matrix whose entries may be unsorted or repeated; with ``record_links`` say which links made each."""
    import scipy.sparse

    nodes = graph.number_of_nodes()
    degrees = _out_degrees(chosen, nodes)
    total = int(degrees.sum())
    index = np.dtype(np.int32 if max(total, nodes) < 2**31 else np.int64)
    dtype = as_numpy(torch.zeros(0, dtype=graph.dtype)).dtype
    label = np.dtype(np.int32)
    per_edge = index.itemsize + dtype.itemsize + record_links * label.itemsize
    check_memory(graph, total * per_edge + (nodes + 1) * index.itemsize, "the adjacency matrix", memory)

    indptr = np.zeros(nodes + 1, index)
    np.cumsum(degrees, out=indptr[1:])
    indices, data = np.empty(total, index), np.empty(total, dtype)
    labels = np.empty(total, label) if record_links else None
    free = indptr[:-1].astype(np.int64)  # where the next edge of each node goes
    for number, links in enumerate(chosen):
        for rows in _rows(links, index):
            place = _reserve(free, rows)
            if isinstance(place, slice):
                np.add(rows.targets, rows.shift, out=indices[place], casting="unsafe")
            else:
                indices[place] = rows.targets + rows.shift
            data[place] = rows.weights
            if labels is not None:
                labels[place] = number
    return scipy.sparse.csr_array((data, indices, indptr), shape=(nodes, nodes)), labels


def by_target(chosen: Collection[Links]) -> list[Links]:
    """Order links so that, as a rule, the edges of each node come out sorted by target."""
    return sorted(chosen, key=lambda links: links.target.start if links.target else 0)


def _out_degrees(chosen: list[Links], nodes: int) -> np.ndarray:
    """Count the edges out of each node, int64 (nodes,): its out-strength, were every weight 1."""
    into, out_of = np.zeros(nodes), np.zeros(nodes)
    for links in chosen:
        links.add_strengths(into, out_of, "nonzero")
    return out_of.astype(np.int64)


def _rows(links: Links, index: np.dtype) -> Iterator[Rows]:
    """Unroll links, rows by rows."""
    kernel = as_numpy(links.kernel())
    if links.is_irregular or not kernel.all():
        for edges in links.blocks():
            if len(edges.weights):
                first = np.flatnonzero(np.diff(edges.sources, prepend=-1))
                counts = np.diff(first, append=len(edges.sources))
                yield Rows(edges.sources[first], counts, edges.targets, 0, edges.weights)
        return
    sources, targets = links.source_nodes.flat, links.target_nodes
    ids = None if targets.is_range else targets.flat.astype(index)
    for block in links.map.rows(kernel):
        nodes = sources[block.first : block.first + block.counts.size]
        elements = block.targets.reshape(-1)
        target, shift = (elements, targets.start) if ids is None else (ids[elements], 0)
        yield Rows(nodes, block.counts.reshape(-1), target, shift, block.weights.reshape(-1))


def _reserve(free: np.ndarray, rows: Rows) -> slice | np.ndarray:
    """Reserve the places of rows in the matrix: one slice if they follow each other there."""
    begin = free[rows.nodes]
    end = begin + rows.counts
    free[rows.nodes] = end
    if (begin[1:] == end[:-1]).all():
        return slice(int(begin[0]), int(end[-1]))
    offset = np.cumsum(rows.counts) - rows.counts  # of each row within these rows
    return np.repeat(begin - offset, rows.counts) + np.arange(len(rows.weights))


def _merged(edges: Edges) -> Edges:
    """Sum the weights of edges between the same two nodes."""
    order = np.lexsort((edges.kinds, edges.targets, edges.sources))
    sources, targets = edges.sources[order], edges.targets[order]
    first = np.flatnonzero(np.r_[True, (np.diff(sources) != 0) | (np.diff(targets) != 0)])
    weights = np.add.reduceat(edges.weights[order], first)
    first, weights = first[weights != 0], weights[weights != 0]
    return Edges(sources[first], targets[first], weights, edges.kinds[order][first])
