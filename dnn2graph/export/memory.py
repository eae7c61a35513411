"""The graph as an object of the libraries that network scientists use."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import InputError
from ..estimate import check_memory
from ..graph import NeuralGraph
from ..links import KINDS
from ..measures.attributes import node_attributes, node_numbers, places_of
from .matrix import Edges, edges
from .text import check_options

if TYPE_CHECKING:
    import igraph
    import networkit
    import networkx
    import torch_geometric.data

NETWORKIT_BYTES, PYG_BYTES = 80, 60  # per edge, with what is made on the way
CHUNK = 1 << 14  # edges turned into Python objects at a time
_KIND_NAMES = np.array(KINDS, object)


def to_igraph(
    graph: NeuralGraph, weight: str = "signed", kinds: Collection[str] | None = None, *, memory: float | None = None
) -> igraph.Graph:
    """Build an igraph graph.

    Parameters
    ----------
    graph : NeuralGraph
    weight : {"signed", "abs"}
        What the edge attribute ``weight`` is: the weight itself, or its absolute value, which shortest paths, random
        walks and most community detection need.
    kinds : collection of str, optional
        Kinds of links; default all.
    memory : float, optional
        How many bytes it may take; default half of what is free.

    Returns
    -------
    igraph.Graph
        Directed; vertex ``i`` is node ``i``. Vertices have the columns of :func:`.node_attributes`, and the label
        again as ``name``, by which igraph finds vertices and which yEd shows. Edges have ``weight`` and ``kind``, and
        are sorted by source, then target. Links between the same two nodes are one edge: weights are summed, the kind
        is the first of weight, unit, pool, gate, recurrent among them.

    Raises
    ------
    MemoryBudgetError
        Before anything is built.
    WeightsError
        If a weight or a bias is NaN or infinite.
    InputError
        If an option is unknown.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)), torch.zeros(1, 2)).to_igraph()
    >>> graph.vs["name"], graph.get_edgelist()
    (['input[0]', 'input[1]', '0[0]'], [(0, 2), (1, 2)])
    """
    import igraph

    columns, listed = _parts(graph, weight, kinds, memory, "igraph")
    columns["name"] = columns["label"]
    with paused_collector():
        # Tuples are what igraph reads fastest; from an array of edges it takes several times as long.
        made = igraph.Graph(graph.number_of_nodes(), edges=_pairs(listed), directed=True, vertex_attrs=columns)
        made.es["weight"] = listed.weights.tolist()
        made.es["kind"] = _KIND_NAMES[listed.kinds].tolist()
    return made


def to_networkx(
    graph: NeuralGraph, weight: str = "signed", kinds: Collection[str] | None = None, *, memory: float | None = None
) -> networkx.DiGraph:
    """Build a networkx graph.

    Parameters
    ----------
    graph, weight, kinds, memory
        As of :func:`to_igraph`.

    Returns
    -------
    networkx.DiGraph
        Nodes ``0, …, n - 1`` with the columns of :func:`.node_attributes`; edges with ``weight`` and ``kind``, as of
        :func:`to_igraph`. All values are plain Python numbers and strings.

    Raises
    ------
    MemoryBudgetError, WeightsError, InputError
        As of :func:`to_igraph`.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)), torch.zeros(1, 2)).to_networkx()
    >>> graph.nodes[2]["label"], list(graph.edges)
    ('0[0]', [(0, 2), (1, 2)])
    """
    import networkx

    columns, listed = _parts(graph, weight, kinds, memory, "networkx")
    names = list(columns)
    made = networkx.DiGraph()
    with paused_collector():
        rows = zip(*columns.values(), strict=True)
        made.add_nodes_from((node, dict(zip(names, row, strict=True))) for node, row in enumerate(rows))
        attributes = zip(listed.weights.tolist(), _KIND_NAMES[listed.kinds].tolist(), strict=True)
        made.add_edges_from(
            (source, target, {"weight": weight, "kind": kind})
            for (source, target), (weight, kind) in zip(_pairs(listed), attributes, strict=True)
        )
    return made


def to_networkit(
    graph: NeuralGraph, weight: str = "signed", kinds: Collection[str] | None = None, *, memory: float | None = None
) -> networkit.Graph:
    """Build a NetworKit graph.

    Parameters
    ----------
    graph, weight, kinds, memory
        As of :func:`to_igraph`.

    Returns
    -------
    networkit.Graph
        Directed and weighted; node ``i`` is node ``i``, and :func:`dnn2graph.node_table` tells what it is. Links
        between the same two nodes are one edge, their weights are summed. NetworKit's weights are float64.

    Raises
    ------
    MemoryBudgetError, WeightsError
        As of :func:`to_igraph`.
    InputError
        If NetworKit is not installed, or an option is unknown.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.export.memory import to_networkit
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)), torch.zeros(1, 2))
    >>> to_networkit(graph).numberOfEdges()  # doctest: +SKIP
    2
    """
    try:
        import networkit
    except ImportError as error:
        raise _not_installed("to_networkit", "networkit", error) from error
    listed = _checked_edges(graph, weight, kinds, memory, NETWORKIT_BYTES, "the NetworKit graph")
    # It reads other types of numbers as if they were these, and crashes.
    ends = listed.sources.astype(np.uint64), listed.targets.astype(np.uint64)
    coo = (listed.weights.astype(np.float64), ends)
    return networkit.GraphFromCoo(coo, n=graph.number_of_nodes(), weighted=True, directed=True)


def to_pyg(
    graph: NeuralGraph, weight: str = "signed", kinds: Collection[str] | None = None, *, memory: float | None = None
) -> torch_geometric.data.Data:
    """Build a graph of PyTorch Geometric, for networks that learn from networks.

    Parameters
    ----------
    graph, weight, kinds, memory
        As of :func:`to_igraph`.

    Returns
    -------
    torch_geometric.data.Data
        ``edge_index`` int64 (2, edges), ``edge_weight`` (edges,) in the weights' own precision, ``edge_type`` int64
        (edges,), the place of an edge's kind in :data:`dnn2graph.links.KINDS`; ``x`` float32 (nodes, 3) with the
        columns bias, strength_in and strength_out; ``layer_index`` and ``channel``, int64 (nodes,). Edges are those of
        :func:`to_igraph`.

    Raises
    ------
    MemoryBudgetError, WeightsError
        As of :func:`to_igraph`.
    InputError
        If torch_geometric is not installed, or an option is unknown.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.export.memory import to_pyg
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)), torch.zeros(1, 2))
    >>> to_pyg(graph).edge_index.tolist()  # doctest: +SKIP
    [[0, 1], [2, 2]]
    """
    try:
        from torch_geometric.data import Data
    except ImportError as error:
        raise _not_installed("to_pyg", "torch_geometric", error) from error
    listed = _checked_edges(graph, weight, kinds, memory, PYG_BYTES, "the graph of PyTorch Geometric")
    numbers = node_numbers(graph, kinds)
    features = np.stack([numbers[name] for name in ("bias", "strength_in", "strength_out")], 1)
    channels = [np.zeros(0, np.int64), *(places_of(layer).channels for layer in graph.layers)]
    return Data(
        x=torch.from_numpy(features.astype(np.float32)),
        edge_index=torch.from_numpy(np.stack([listed.sources, listed.targets]).astype(np.int64)),
        edge_weight=torch.from_numpy(listed.weights),
        edge_type=torch.from_numpy(listed.kinds.astype(np.int64)),
        layer_index=torch.from_numpy(graph.layer_of()),
        channel=torch.from_numpy(np.concatenate(channels)),
        num_nodes=graph.number_of_nodes(),
    )


@contextmanager
def paused_collector() -> Iterator[None]:
    """Pause Python's garbage collector, which would look at millions of new objects over and over."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _parts(
    graph: NeuralGraph, weight: str, kinds: Collection[str] | None, memory: float | None, library: str
) -> tuple[dict[str, list[Any]], Edges]:
    """Collect node attributes and edges with the weights asked for, if the library's graph will fit the memory."""
    check_options(weight, None)
    size = graph.estimate(kinds)
    check_memory(graph, getattr(size, library) + size.csr, f"the {library} graph", memory)
    columns = {key: values.tolist() for key, values in node_attributes(graph, kinds).items()}  # finite, or it raises
    return columns, _weighted(graph, weight, kinds, memory)


def _checked_edges(
    graph: NeuralGraph, weight: str, kinds: Collection[str] | None, memory: float | None, per_edge: int, what: str
) -> Edges:
    """List the edges with the weights asked for, all finite, if what is made of them will fit the memory."""
    check_options(weight, None)
    size = graph.estimate(kinds)
    check_memory(graph, size.edges * per_edge + size.csr, what, memory)
    node_numbers(graph, kinds)  # finite, or it raises
    return _weighted(graph, weight, kinds, memory)


def _weighted(graph: NeuralGraph, weight: str, kinds: Collection[str] | None, memory: float | None) -> Edges:
    listed = edges(graph, kinds, memory=memory)
    return replace(listed, weights=np.abs(listed.weights)) if weight == "abs" else listed


def _not_installed(function: str, package: str, error: ImportError) -> InputError:
    return InputError(f"{function} needs {package}, which cannot be imported ({error}): pip install {package}")


def _pairs(listed: Edges) -> Iterator[tuple[int, int]]:
    """Iterate over the edges as pairs of Python numbers, never more than a chunk of them alive."""
    starts = range(0, len(listed.weights), CHUNK)
    return chain.from_iterable(
        zip(listed.sources[i : i + CHUNK].tolist(), listed.targets[i : i + CHUNK].tolist(), strict=True) for i in starts
    )
