"""How central a node is: to walks, to eigenvectors, to shortest paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from .measure import Columns, measure
from .sources import Sources, sources
from .undefined import undefined
from .view import View

if TYPE_CHECKING:
    import scipy.sparse

NO_EDGES = "NaN: there are no edges"
DAMPING = 0.85
ATTENUATION = 0.5  # of Katz's walks, for each step, relative to the most that always converges
DENSE = 500  # nodes up to which all eigenvectors are found
LANCZOS = 64  # vectors between restarts; many, since the largest eigenvalues of equal layers are close
BLOCK = 1 << 22  # distances in memory at a time


@measure("node", weight="abs", source="Brin & Page 1998, Comput. Netw. ISDN Syst. 30:107")
def pagerank(view: View) -> Columns:
    """Share of its time that a random walk spends at a node: it follows edges in proportion to |w|, and begins anew at
    any node with probability 0.15, or where no edge goes on.
    """
    ranks = view.igraph.pagerank(damping=DAMPING, weights="weight") if view.matrix.shape[0] else []
    return {"pagerank": np.array(ranks, float)}


@measure("node", weight="abs", source="Kleinberg 1999, J. ACM 46:604")
def hits(view: View) -> Columns:
    """Hub and authority: the leading eigenvectors of A Aᵀ and Aᵀ A, with A of |w|, scaled to a maximum of 1. Good hubs
    lead to good authorities. Between layers that no path of alternating edges joins, only the strongest part is not 0.
    """
    matrix, transposed = view.matrix, view.transposed
    found = _leading(lambda x: matrix @ (transposed @ x), matrix)
    if found is None:
        return undefined(view, NO_EDGES, ("hits_hub", "hits_authority"), matrix.shape[0])
    hub = found[1]
    return {"hits_hub": hub, "hits_authority": _scaled(transposed @ hub)}


@measure("node", weight="abs", source="Bonacich 1972, J. Math. Sociol. 2:113")
def eigenvector(view: View) -> Columns:
    """The leading eigenvector of A + Aᵀ, with A of |w|, scaled to a maximum of 1: the edges are taken as undirected,
    since the eigenvector of a directed graph without cycles is zero everywhere. It is 0 outside of the strongest
    component.
    """
    matrix, transposed = view.matrix, view.transposed
    found = _leading(lambda x: matrix @ x + transposed @ x, matrix)
    if found is None:
        return undefined(view, NO_EDGES, ("eigenvector",), matrix.shape[0])
    return {"eigenvector": found[1]}


@measure("node", weight="abs", source="Katz 1953, Psychometrika 18:39")
def katz(view: View) -> Columns:
    """Total of the walks that end at a node, each the product of its |w| and of α for each step; the empty walk counts
    1. α is half of 1/σ, with σ the largest singular value of A: below 1/(spectral radius) of any graph. (Without cycles
    the sum is finite for every α.)
    """
    matrix, transposed = view.matrix, view.transposed
    found = _leading(lambda x: matrix @ (transposed @ x), matrix)
    alpha = ATTENUATION / np.sqrt(found[0]) if found else 0.0
    walks = step = np.ones(matrix.shape[0])
    while step.any() and step.max() > np.finfo(float).eps * walks.max():
        step = alpha * (transposed @ step)  # walks of one step more
        walks = walks + step
    if found:
        view.note(f"α = {alpha:.6g}")
    return {"katz": walks}


@measure("node", weight="distance", source="Freeman 1977, Sociometry 40:35; Brandes 2001, J. Math. Sociol. 25:163")
def betweenness(view: View) -> Columns:
    """Share of all ordered pairs of other nodes whose shortest path leads through a node; of several shortest paths,
    the fraction. The length of an edge is 1/|w|. ``betweenness_error`` bounds what sampling costs; 0 where exact.
    """
    count = view.matrix.shape[0]
    if count < 3:
        return undefined(view, "NaN: fewer than three nodes", ("betweenness", "betweenness_error"), count)
    chosen = sources(view)
    through = view.igraph.betweenness(weights="weight", sources=chosen.nodes.tolist())
    # One source adds at most n - 2 targets to a node; itself it adds nothing.
    error = chosen.error * count / (count - 1)
    return {
        "betweenness": np.array(through) * chosen.scale / ((count - 1) * (count - 2)),
        "betweenness_error": np.full(count, error),
    }


@measure("node", weight="distance", source="Wasserman & Faust 1994, Social Network Analysis, equation 5.22")
def closeness(view: View) -> Columns:
    """One over the mean distance from the nodes that reach a node (in), or to those that it reaches (out), times the
    share of all other nodes that these are; 0 if there are none. The length of an edge is 1/|w|. Exact or missing.
    """
    chosen = sources(view)
    if not chosen.is_exact:
        # One weak edge makes a distance arbitrarily long: no sample bounds the error of a mean of distances.
        missing = "NaN: it is not sampled, since nothing bounds the error of a sampled mean of distances; harmonic is"
        view.notes.clear()
        why = f"{missing} (sample={chosen.total} makes both exact)"
        return undefined(view, why, ("closeness_in", "closeness_out"), chosen.total)
    return {"closeness_in": _closeness(view.matrix), "closeness_out": _closeness(view.transposed)}


@measure("node", weight="distance", source="Marchiori & Latora 2000, Physica A 285:539; Rochat 2009")
def harmonic(view: View) -> Columns:
    """Harmonic closeness: the mean, over all other nodes, of one over the distance from them (in) or to them (out),
    which is 0 where there is no path, as between most pairs of a feed-forward graph. The length of an edge is 1/|w|.
    The columns ``_error`` bound what sampling costs; 0 where exact.
    """
    chosen = sources(view)
    columns = {}
    for side, matrix in (("in", view.matrix), ("out", view.transposed)):
        columns[f"harmonic_{side}"] = _harmonic(matrix, chosen)
        nearest = np.full(chosen.total, np.inf)  # no node is nearer than the nearest neighbour
        np.minimum.at(nearest, matrix.indices, matrix.data)
        columns[f"harmonic_{side}_error"] = chosen.error / nearest * chosen.total / max(1, chosen.total - 1)
    return columns


def _closeness(distance: scipy.sparse.csr_array) -> np.ndarray:
    """Closeness of every node by the distances from all others."""
    count = distance.shape[0]
    reaching, total = np.zeros(count), np.zeros(count)
    for found in _distances(distance, np.arange(count)):
        finite = np.isfinite(found)
        reaching += finite.sum(axis=0)
        total += np.where(finite, found, 0).sum(axis=0)
    others = reaching - 1  # a node reaches itself
    return np.divide(others, total, out=np.zeros(count), where=others > 0) * others / max(1, count - 1)


def _harmonic(distance: scipy.sparse.csr_array, chosen: Sources) -> np.ndarray:
    """Harmonic closeness of every node by the distances from some others."""
    total = np.zeros(chosen.total)
    for found in _distances(distance, chosen.nodes):
        total += np.divide(1, found, out=np.zeros_like(found), where=found > 0).sum(axis=0)
    return total * chosen.scale / max(1, chosen.total - 1)


def _distances(distance: scipy.sparse.csr_array, nodes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the distances from some nodes to all nodes, (some nodes, all nodes); infinite where there is no path."""
    from scipy.sparse.csgraph import dijkstra

    step = max(1, BLOCK // max(1, distance.shape[0]))
    for begin in range(0, len(nodes), step):
        yield dijkstra(distance, indices=nodes[begin : begin + step])


def _leading(
    operator: Callable[[np.ndarray], np.ndarray], matrix: scipy.sparse.csr_array
) -> tuple[float, np.ndarray] | None:
    """Find the largest eigenvalue of a symmetric operator without negative entries, and its eigenvector.

    Of several eigenvectors, it is the one that walks from all nodes alike converge to. None if there are no edges.
    """
    count = matrix.shape[0]
    if not matrix.nnz:
        return None
    ones = np.ones(count)
    if count <= DENSE:
        values, vectors = np.linalg.eigh(operator(np.eye(count)))
        leading = vectors[:, values >= values[-1] * (1 - 1e-9)]
        return float(values[-1]), _scaled(leading @ (leading.T @ ones))
    from scipy.sparse.linalg import LinearOperator, eigsh

    linear = LinearOperator((count, count), matvec=operator, dtype=np.float64)
    values, vectors = eigsh(linear, k=1, which="LA", v0=ones, ncv=min(count, LANCZOS))
    return float(values[0]), _scaled(vectors[:, 0])


def _scaled(vector: np.ndarray) -> np.ndarray:
    """Scale a vector whose entries have one sign, but for rounding, to a maximum of 1."""
    vector = np.abs(vector)
    return vector / vector.max()

