"""Graphs that fit: of the edges of a network, those that matter, and a receipt that says what was lost."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from ..errors import InputError
from ..graph import NeuralGraph
from ..links import Links
from ..progress import Progress
from .by_links import mass
from .by_links import quantile as by_quantile
from .by_links import threshold as by_threshold
from .by_node import disparity, top_k
from .census import Census, Steps, census
from .edges import Edges, best, joined
from .graph import SparseGraph, graph_of
from .reach import UNREACHED, missing_paths, output_nodes, reached, supporting
from .receipt import LayerReceipt, LinksReceipt, Receipt, receipt_of

__all__ = ["METHODS", "LayerReceipt", "LinksReceipt", "Receipt", "SparseGraph", "sparsify"]

PARAMETERS = {"mass": None, "disparity": "alpha", "topk": "k", "quantile": "quantile", "threshold": "threshold"}
METHODS = tuple(PARAMETERS)
PASSES = {"mass": 2, "disparity": 1, "topk": 2, "quantile": 2, "threshold": 2}  # over the weights, at most


def sparsify(
    graph: NeuralGraph,
    max_edges: int | None = None,
    method: str = "mass",
    *,
    kinds: Collection[str] | None = None,
    alpha: float | None = None,
    k: int | None = None,
    quantile: float | None = None,
    threshold: float | None = None,
    keep_outputs: bool = True,
    progress: Progress | None = None,
) -> SparseGraph:
    r"""Keep the edges that matter, on the same layers and nodes.

    The graph is never unrolled: what is too weak is found on the kernels, and only the edges that may stay are listed.
    The same graph and options always give the same edges: ties go to the larger \|w\|, then to the smaller source
    node, the smaller target node, the earlier links.

    Parameters
    ----------
    graph : NeuralGraph
    max_edges : int, optional
        The budget. It always holds, and is used up wherever the method's own parameter lets it.
    method : {"mass", "disparity", "topk", "quantile", "threshold"}
        ``mass``: of each links the strongest edges, so many that every links keeps the same share of its absolute
        weight: the share that uses up the budget. One threshold for all would empty wide layers.

        ``disparity``: edges that are significant at their source or at their target. At a node of strength s (sum of
        \|w\|) with k edges of that direction, an edge has the p-value ``(1 - |w| / s) ** (k - 1)`` [1]_. It is kept if
        either is below ``alpha``; a budget keeps the smallest.

        ``topk``: the ``k`` strongest out-edges and the ``k`` strongest in-edges of every node. A budget keeps the
        edges of the best rank at either end, and of those with the last rank the strongest.

        ``quantile``: of each links the strongest edges, above that quantile of its \|w\|: of n edges
        ``ceil((1 - quantile) * n)``. A budget keeps the same share of the edges of each links.

        ``threshold``: edges with \|w\| of at least ``threshold``. A budget keeps the strongest of all.
    kinds : collection of str, optional
        Kinds of links that count, such as ``("weight",)``; those of other kinds are left out. Default all.
    alpha, k, quantile, threshold : number, optional
        The parameter of the method of that name (``k`` of topk, ``alpha`` of disparity). With ``max_edges`` both hold.
    keep_outputs : bool
        Give each output node that would lose all its paths from the inputs the strongest in-edge, backwards until a
        node that has a path: it is kept whatever the method says. Where the budget is used up, the edges of the worst
        rank make room, none that an output needs; if even the paths alone take more than the budget, the first outputs
        whose paths fit keep them.
    progress : callable, optional
        Called with the number of pairs of nodes that are done, and of all.

    Returns
    -------
    SparseGraph
        A :class:`NeuralGraph` with the kept edges and the same layers and node ids; ``receipt`` says what was lost.
        Nodes that lose all edges stay, as isolated nodes; files for viewers leave them out with ``isolated="drop"``.

    Raises
    ------
    InputError
        If an option is unknown, out of range, missing, or belongs to another method.
    WeightsError
        If weights are NaN or infinite; the message names the layer.

    References
    ----------
    .. [1] Serrano, Boguñá, Vespignani 2009, "Extracting the multiscale backbone of complex weighted networks",
       PNAS 106(16), 6483-6488.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.sparsify import sparsify
    >>> layer = torch.nn.Linear(3, 1, bias=False)
    >>> layer.weight.data = torch.tensor([[0.25, -1.0, 0.5]])
    >>> sparse = sparsify(dg.from_torch(layer, torch.zeros(1, 3)), max_edges=2)
    >>> sparse.adjacency().toarray()[:, 3]
    array([ 0. , -1. ,  0.5, 0. ], dtype=float32)
    >>> round(sparse.receipt.mass, 3)
    0.857
    """
    given = {"alpha": alpha, "k": k, "quantile": quantile, "threshold": threshold}
    _check(method, max_edges, given)
    links = graph.select(kinds)
    whole = census(graph, links)
    total = int(whole.counts.sum())
    steps = Steps(links, PASSES[method], progress)
    budget = max_edges if max_edges is not None and max_edges < total else None  # None: it holds by itself
    edges, scores = _chosen(whole, method, budget, given, steps)

    before = reached(graph, links)
    outputs = output_nodes(graph)
    outputs = outputs[before[outputs] != UNREACHED]
    after = reached(graph, links, edges)
    if keep_outputs and (after[outputs] == UNREACHED).any():
        edges = _with_paths(graph, links, edges, scores, max_edges, outputs, before, after)
        after = reached(graph, links, edges)
    options = {"max_edges": max_edges, **given, "keep_outputs": keep_outputs, "kinds": kinds}
    options = {name: value for name, value in options.items() if value is not None}
    return graph_of(graph, links, edges, receipt_of(graph, whole, edges, method, options, outputs, after))


def _check(method: str, max_edges: int | None, given: dict[str, Any]) -> None:
    """Raise InputError if options do not fit together."""
    if method not in PARAMETERS:
        raise InputError(f"method={method!r} is unknown: choose from {', '.join(METHODS)}")
    own = PARAMETERS[method]
    for name, value in given.items():
        if value is not None and name != own:
            of = next(other for other, parameter in PARAMETERS.items() if parameter == name)
            raise InputError(f"{name}={value!r} belongs to method={of!r}, the method is {method!r}: leave it out")
    if max_edges is None and (own is None or given[own] is None):
        needed = "max_edges" if own is None else f"max_edges or {own}"
        raise InputError(f"nothing says how many edges method={method!r} is to keep: give {needed}")
    if max_edges is not None and (max_edges < 1 or max_edges != int(max_edges)):
        raise InputError(f"max_edges={max_edges!r} is not a positive whole number")
    ranges = {
        "alpha": ("above 0 and at most 1", lambda x: 0 < x <= 1),
        "k": ("a positive whole number", lambda x: x >= 1 and x == int(x)),
        "quantile": ("at least 0 and below 1", lambda x: 0 <= x < 1),
        "threshold": ("at least 0 and finite", lambda x: 0 <= x < np.inf),
    }
    for name, value in given.items():
        if value is not None and not ranges[name][1](value):
            raise InputError(f"{name}={value!r} is out of range: it must be {ranges[name][0]}")


def _chosen(
    whole: Census, method: str, budget: int | None, given: dict[str, Any], steps: Steps
) -> tuple[Edges, np.ndarray]:
    """Apply a method: the edges that it keeps, and their scores, the lowest first to stay."""
    own = PARAMETERS[method]
    parameter = None if own is None else given[own]
    if budget is None and parameter is None:
        return by_threshold(whole, 0.0, None, steps)  # everything
    match method:
        case "mass":
            assert budget is not None
            return mass(whole, budget, steps)
        case "disparity":
            return disparity(whole, parameter, budget, steps)
        case "topk":
            return top_k(whole, parameter, budget, steps)
        case "quantile":
            return by_quantile(whole, parameter, budget, steps)
        case _:
            return by_threshold(whole, parameter or 0.0, budget, steps)


def _with_paths(
    graph: NeuralGraph,
    links: tuple[Links, ...],
    edges: Edges,
    scores: np.ndarray,
    max_edges: int | None,
    outputs: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
) -> Edges:
    """Add what gives all outputs a path, and take away what the budget does not allow."""
    added = missing_paths(graph, links, before, after, outputs)

    def key(each: Edges) -> np.ndarray:
        return np.asarray((each.sources * len(before) + each.targets) * len(links) + each.links)

    added = added.take(~np.isin(key(added), key(edges)))
    everything = joined([edges, added])
    if max_edges is None or everything.size <= max_edges:
        return everything
    needed = supporting(everything, reached(graph, links, everything), outputs, max_edges)
    others = np.flatnonzero(~needed[: edges.size])
    staying = others[best(edges.take(others), scores[others], max_edges - int(needed.sum()))]
    return everything.take(np.sort(np.concatenate([np.flatnonzero(needed), staying])))
