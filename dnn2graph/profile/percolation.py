"""Percolation: how long outputs stay reachable, and the graph in one piece, while hidden neurons are removed."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import scipy

from ..errors import InputError
from ..graph import NeuralGraph
from .measure import Columns, measure
from .view import Unrolled, View

if TYPE_CHECKING:
    import pandas as pd

ORDERS = ("strength", "betweenness", "random")
SOURCE = "Schneider et al. 2011, doi:10.1073/pnas.1009440108"
DRAWS = 10  # random orders
MOST_STEPS = 4e9  # of a search for shortest paths: nodes times edges; about ten seconds
AMONG = 1e-12  # relative difference up to which strengths are equal: they are sums of floats


def percolation(
    graph: NeuralGraph,
    order: str = "strength",
    kinds: Collection[str] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    memory: float | None = None,
) -> pd.DataFrame:
    r"""Remove hidden neurons one by one, and see what holds.

    Inputs and outputs stay; the order is found once, on the whole graph.

    Parameters
    ----------
    graph : NeuralGraph
    order : {"strength", "betweenness", "random"}
        Which go first: those of largest total strength of \|w\|; of largest betweenness, where an edge has the length
        1/\|w\|; or any.
    kinds : collection of str, optional
        Kinds of links; default all.
    draws : int
        How many random orders.
    seed : int
        Of the random orders.
    memory : float, optional
        How many bytes the unrolled graph may take; default half of what is free.

    Returns
    -------
    DataFrame
        ``draw`` (from 0), ``removed`` (how many, from 0 to all), ``fraction`` (of the hidden neurons), ``node`` (that
        was removed last, -1 at first), ``outputs`` (fraction of the outputs that a path from an input reaches) and
        ``component`` (fraction of all nodes that are in the largest weakly connected component).

    Raises
    ------
    InputError
        If the order is unknown.

    References
    ----------
    Albert, Jeong & Barabási 2000, doi:10.1038/35019019.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.profile.percolation import percolation
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    >>> percolation(dg.from_torch(model, torch.zeros(1, 1)))[["removed", "outputs", "component"]]
       removed  outputs  component
    0        0      1.0       1.00
    1        1      1.0       0.75
    2        2      0.0       0.25
    """
    import pandas as pd

    if order not in ORDERS:
        raise InputError(f"order={order!r} is unknown: choose from {', '.join(ORDERS)}")
    view = View(Unrolled(graph, kinds, seed=seed, memory=memory), "abs", "percolation")
    hidden = hidden_nodes(view)
    tables = []
    for draw in range(draws if order == "random" else 1):
        nodes = removal_order(view, hidden, order)
        outputs, component = curves(view, nodes)
        removed = np.arange(len(nodes) + 1)
        tables.append({
            "draw": np.full(len(removed), draw),
            "removed": removed,
            "fraction": removed / max(1, len(nodes)),
            "node": np.r_[-1, nodes],
            "outputs": outputs,
            "component": component,
        })  # fmt: skip
    return pd.DataFrame({name: np.concatenate([table[name] for table in tables]) for name in tables[0]})


@measure("graph", weight="abs", source=SOURCE)
def robustness(view: View) -> Columns:
    """Mean, over the removal of hidden neurons one by one, of the fraction of outputs that a path from an input still
    reaches, and of the fraction of nodes in the largest weakly connected component; removed by total strength of
    |weight|, by betweenness (distance 1/|weight|), and at random (mean of ten orders). Inputs and outputs stay.
    """
    hidden, columns = hidden_nodes(view), {}
    if not len(hidden):
        view.note("no hidden neurons to remove")
    elif not len(view.outputs):
        view.note("the graph has no outputs")
    for order in ORDERS:
        areas = []
        for _ in range(DRAWS if order == "random" else 1):
            if len(hidden) and (order != "betweenness" or _is_quick(view)):
                outputs, component = curves(view, removal_order(view, hidden, order))
                areas.append((outputs[1:].mean(), component[1:].mean()))
        for place, name in enumerate(("outputs", "component")):
            columns[f"robustness_{name}_{order}"] = float(np.mean([area[place] for area in areas])) if areas else np.nan
    if not _is_quick(view):
        view.note("left out: betweenness in a graph of this size takes long")
    return columns


def hidden_nodes(view: View) -> np.ndarray:
    """List the nodes that are neither inputs nor outputs."""
    hidden = np.ones(len(view.graph), bool)
    hidden[view.inputs] = hidden[view.outputs] = False
    return np.flatnonzero(hidden)


def removal_order(view: View, hidden: np.ndarray, order: str) -> np.ndarray:
    """Sort hidden nodes by when they are removed; nodes of equal rank by their ids."""
    if order == "random":
        return view.random.permutation(hidden)
    if order == "strength":
        rank = np.asarray(view.matrix.sum(0) + view.matrix.sum(1))
    else:
        distances = (1 / view.matrix.data).tolist()
        rank = np.array(view.igraph.betweenness(directed=True, weights=distances))
    rank = np.round(rank / (AMONG * rank.max())) if rank.max(initial=0) else rank
    return hidden[np.argsort(-rank[hidden], kind="stable")]


def curves(view: View, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Follow both fractions while nodes are removed in an order.

    Returns
    -------
    outputs, component : float64 arrays (removals + 1,)
        Fraction of outputs that an input reaches, and of all nodes in the largest weakly connected component.
    """
    lifetime = np.full(len(view.graph), len(order) + 1)  # how many removals end it; the others outlast all
    lifetime[order] = np.arange(1, len(order) + 1)
    return _reached_outputs(view, lifetime, len(order)), _largest_components(view, lifetime, len(order))


def _reached_outputs(view: View, lifetime: np.ndarray, removals: int) -> np.ndarray:
    """Tell for each number of removals which fraction of outputs is reached.

    A path lasts as long as its shortest-lived node, and a node is reached while the longest-lived path to it lasts:
    nodes take this from their neighbours, over and over until nothing changes; once per layer in a feed-forward graph.
    """
    if not len(view.outputs):
        return np.full(removals + 1, np.nan)
    reached = np.zeros(len(lifetime), lifetime.dtype)
    reached[view.inputs] = lifetime[view.inputs]
    changed = view.inputs
    while len(changed):
        edges = view.matrix[changed]
        found = np.zeros_like(reached)
        np.maximum.at(found, edges.indices, np.repeat(reached[changed], np.diff(edges.indptr)))
        found = np.minimum(found, lifetime)
        changed = np.flatnonzero(found > reached)
        reached[changed] = found[changed]
    ends = np.bincount(reached[view.outputs], minlength=removals + 2)  # by the number of removals that cuts them off
    return 1 - np.cumsum(ends)[: removals + 1] / len(view.outputs)


def _largest_components(view: View, lifetime: np.ndarray, removals: int) -> np.ndarray:
    """Tell for each number of removals which fraction of nodes is in the largest weakly connected component.

    Backwards: nodes come back one by one and join components. An edge lasts as long as both its ends, and only those
    of a spanning forest of the longest-lived edges ever join two components.
    """
    nodes = len(lifetime)
    if not nodes:
        return np.full(removals + 1, np.nan)
    sources = np.repeat(np.arange(nodes), np.diff(view.matrix.indptr))
    lasts = np.minimum(lifetime[sources], lifetime[view.matrix.indices])
    costs = (removals + 2 - lasts).astype(float)
    cost = scipy.sparse.csr_array((costs, view.matrix.indices, view.matrix.indptr), shape=(nodes, nodes))
    forest = scipy.sparse.csgraph.minimum_spanning_tree(cost).tocoo()
    when = removals + 2 - forest.data.astype(np.int64)
    parent, size = list(range(nodes)), [1] * nodes

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    largest = np.zeros(removals + 2, np.int64)
    largest[lifetime] = 1  # a node that is there is a component
    for place in np.argsort(-when, kind="stable").tolist():
        a, b = root(int(forest.row[place])), root(int(forest.col[place]))
        if size[a] < size[b]:
            a, b = b, a
        parent[b] = a
        size[a] += size[b]
        largest[when[place]] = max(largest[when[place]], size[a])
    # What lasts until removal k is there after k - 1 of them, and after fewer.
    return np.maximum.accumulate(largest[::-1])[::-1][1:] / nodes


def _is_quick(view: View) -> bool:
    return len(view.graph) * view.matrix.nnz <= MOST_STEPS
