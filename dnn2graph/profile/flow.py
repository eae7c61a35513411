"""How much could flow from the inputs to the outputs if every edge carried up to its |weight|, and where it jams."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..export.memory import paused_collector
from .measure import Columns, measure
from .undefined import undefined
from .view import View

MOST_EDGES = 2_000_000  # that a maximum flow is searched in; some minutes
SOURCE = "Ford & Fulkerson 1956, doi:10.4153/CJM-1956-045-5"


@measure("layer", weight="abs", source=SOURCE)
def cut_capacity(view: View) -> Columns:
    """Capacity of the cut behind a layer: the sum of |weight| over all edges that lead from it or an earlier layer to a
    later one. Every flow from the inputs to the outputs passes it. Undefined where a cut does not separate all inputs
    from all outputs.
    """
    capacity = _capacities(view)
    if np.isnan(capacity).any():
        view.note("undefined behind layers that are not between all inputs and all outputs")
    return {"cut_capacity": capacity}


@measure("layer", weight="abs", source=SOURCE)
def min_cut_into(view: View) -> Columns:
    """Sum of |weight| over the edges of a minimum cut that lead into the layer: the flow jams there. A cut takes edges
    away so that no path leads from an input to an output; a minimum one takes away the least |weight|. The cut is the
    one nearest to the inputs if there are several.
    """
    found = _maximum_flow(view)
    if isinstance(found, str):
        return undefined(view, found, ("min_cut_into",), len(view.graph.layers))
    return {"min_cut_into": found.cut_into}


@measure("graph", weight="abs", source=SOURCE)
def max_flow(view: View) -> Columns:
    """Largest flow from all inputs to all outputs where every edge carries up to its |weight|; its share of the
    smallest capacity behind a layer (1 if that whole layer is the bottleneck, less if single neurons are); and the
    bottleneck, the index of the layer into which most of a minimum cut leads.
    """
    names = ("max_flow", "max_flow_share", "max_flow_bottleneck")
    found = _maximum_flow(view)
    if isinstance(found, str):
        return undefined(view, found, names)
    if not found.value:
        view.note("no path leads from an input to an output")
        return {"max_flow": 0.0, "max_flow_share": float("nan"), "max_flow_bottleneck": float("nan")}
    capacities = _capacities(view)
    known = capacities[np.isfinite(capacities)]
    if not len(known):
        view.note("no cut between layers separates the inputs from the outputs")
    share = found.value / known.min() if len(known) else float("nan")
    return dict(zip(names, (found.value, float(share), int(found.cut_into.argmax())), strict=True))


class Flow(NamedTuple):
    """A maximum flow."""

    value: float
    cut_into: np.ndarray  # (layers,) |weight| of the edges of the minimum cut that lead into each layer


def _maximum_flow(view: View) -> Flow | str:
    """Find a maximum flow and the minimum cut nearest to the inputs, or say why there is none."""
    import igraph

    matrix, nodes = view.matrix, len(view.graph)
    if not len(view.inputs) or not len(view.outputs):
        return "the graph has no inputs or no outputs"
    if np.intersect1d(view.inputs, view.outputs).size:
        return "an input is an output, and what flows there has no bound"
    if matrix.nnz > MOST_EDGES:
        return f"left out: a maximum flow over {matrix.nnz:,} edges takes long"
    sources = np.repeat(np.arange(nodes), np.diff(matrix.indptr))
    all_sources = np.concatenate([sources, np.full(len(view.inputs), nodes), view.outputs])
    all_targets = np.concatenate([matrix.indices, view.inputs, np.full(len(view.outputs), nodes + 1)])
    unbound = np.full(len(view.inputs) + len(view.outputs), matrix.data.sum() + 1)
    with paused_collector():
        made = igraph.Graph(nodes + 2, zip(all_sources.tolist(), all_targets.tolist(), strict=True), directed=True)
        flow = made.maxflow(nodes, nodes + 1, capacity=[*matrix.data.tolist(), *unbound.tolist()])
    near = _reachable(view, np.asarray(flow.flow[: matrix.nnz]), sources)
    cut = near[sources] & ~near[matrix.indices]
    layers = view.layer_of[matrix.indices[cut]]
    return Flow(float(flow.value), np.bincount(layers, matrix.data[cut], len(view.graph.layers)))


def _reachable(view: View, flow: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Tell which nodes could get more from the inputs than they do: along edges not full, or by sending flow back."""
    import scipy.sparse

    matrix = view.matrix
    small = 1e-9 * matrix.data.max(initial=0)  # flows are sums of floats
    room, back = matrix.data - flow > small, flow > small
    ends = (
        np.concatenate([sources[room], matrix.indices[back]]),
        np.concatenate([matrix.indices[room], sources[back]]),
    )
    nodes = matrix.shape[0]
    start = (np.full(len(view.inputs), nodes), view.inputs)
    rows, columns = (np.concatenate([a, b]) for a, b in zip(ends, start, strict=True))
    residual = scipy.sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(nodes + 1, nodes + 1))
    reached = np.zeros(nodes + 1, bool)
    reached[scipy.sparse.csgraph.breadth_first_order(residual, nodes, return_predecessors=False)] = True
    return reached[:-1]


def _capacities(view: View) -> np.ndarray:
    """Sum |weight| over the cut behind each layer, float64 (layers,); NaN where it does not separate the ends."""
    layers = len(view.graph.layers)
    capacity = np.full(layers, np.nan)
    if not len(view.inputs) or not len(view.outputs):
        return capacity
    sources = np.repeat(view.layer_of, np.diff(view.matrix.indptr))
    targets = view.layer_of[view.matrix.indices]
    ahead = targets > sources
    begins = np.bincount(sources[ahead], view.matrix.data[ahead], layers)
    ends = np.bincount(targets[ahead], view.matrix.data[ahead], layers)
    first, last = view.layer_of[view.inputs].max(), view.layer_of[view.outputs].min()
    capacity[first:last] = np.cumsum(begins - ends)[first:last]
    return capacity
