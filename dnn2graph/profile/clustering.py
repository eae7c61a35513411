"""Clustering: whether the neighbours of a node are tied to each other, by triangles and by squares.

A feed-forward graph has no directed cycle, and edges from layer to next layer alone make no triangle of any kind: only
links that skip a layer, such as those of residual networks, close triangles. What two consecutive layers do make is
squares, 4-cycles of two sources and two targets. So squares are the clustering of layered graphs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .measure import Columns, measure
from .view import View, reweighted

if TYPE_CHECKING:
    import scipy.sparse

BLOCK = 1 << 21  # entries of a product of matrices in memory at a time
DENSE = 0.25  # share of pairs that are joined from which on dense products are the faster

FAGIOLO = "Fagiolo 2007, Phys. Rev. E 76:026107; Onnela, Saramäki, Kertész & Kaski 2005, Phys. Rev. E 71:065103"
ROBINS = "Robins & Alexander 2004, Comput. Math. Organ. Theory 10:69"
HORVATH = "Zhang & Horvath 2005, Stat. Appl. Genet. Mol. Biol. 4:17"


@measure("node", weight="abs", source=FAGIOLO)
def clustering(view: View) -> Columns:
    """Triangles of any direction at a node, each the geometric mean of its three |w| over the largest |w| of the graph,
    as a share of the triangles that its edges could be in. Zero wherever no link skips a layer: links from layer to
    next layer make no triangles. Directed cycles of three do not exist in a feed-forward graph.
    """
    import scipy.sparse

    count = view.matrix.shape[0]
    others = (view.matrix - scipy.sparse.diags_array(view.matrix.diagonal())).tocsr()
    others.eliminate_zeros()  # self-loops
    if not _layers_make_triangles(view):
        view.note("0: no triangles, since links join consecutive layers only")
        return {"clustering": np.zeros(count)}
    root = reweighted(others, np.cbrt(others.data / view.matrix.data.max()))
    both, triangles = (root + root.T).tocsr(), np.zeros(count)
    for begin, end in _blocks(count, count):
        triangles[begin:end] = (both[begin:end] @ both).multiply(both[begin:end]).sum(axis=1)
    pattern = reweighted(others, np.ones(others.nnz))
    degree = pattern.sum(axis=0) + pattern.sum(axis=1)
    mutual = pattern.multiply(pattern.T).sum(axis=1)
    possible = 2 * (degree * (degree - 1) - 2 * mutual)
    return {"clustering": np.divide(triangles, possible, out=np.zeros(count), where=possible > 0)}


@measure("node", weight="unweighted", source=ROBINS)
def squares(view: View) -> Columns:
    """Share of the paths of three edges which start at a node, and lead to and fro between its layer and all layers
    that lead to it (in), or that it leads to (out), which an edge closes to a square. 1 between dense layers.
    """
    return _of_layers(view, "squares")


@measure("node", weight="abs", source=f"{ROBINS}; weights as in {HORVATH}")
def squares_weighted(view: View) -> Columns:
    """The same share of paths, each counted by the product of its three |w|, and closed by the |w| of the fourth edge
    over the largest |w| between these layers.
    """
    return _of_layers(view, "squares_weighted")


@measure("links", weight="unweighted", source=ROBINS)
def robins_alexander(view: View) -> Columns:
    """Bipartite clustering coefficient of the nodes that links join: four times the number of 4-cycles over the number
    of paths of three edges. 1 for dense links.
    """
    return _of_links(view, "robins_alexander")


@measure("links", weight="abs", source=f"{ROBINS}; weights as in {HORVATH}")
def robins_alexander_weighted(view: View) -> Columns:
    """The same share of paths, each counted by the product of its three |w|, and closed by the |w| of the fourth edge
    over the largest |w| of the links.
    """
    return _of_links(view, "robins_alexander_weighted")


def _layers_make_triangles(view: View) -> bool:
    """Whether three layers, or fewer, are joined in a triangle."""
    layers = len(view.graph.layers)
    source = np.repeat(view.layer_of, np.diff(view.matrix.indptr))
    joined = np.zeros((layers, layers))
    joined[source, view.layer_of[view.matrix.indices]] = 1
    joined = np.maximum(joined, joined.T)
    return bool(((joined @ joined) * joined).any())


def _of_layers(view: View, name: str) -> Columns:
    """Squares at each node, on either side of its layer."""
    columns = {}
    for side, matrix in (("in", view.transposed), ("out", view.matrix)):
        values = np.full(matrix.shape[0], np.nan)
        for layer in view.graph.layers:
            closed, paths = _closed_paths(_used_columns(matrix[layer.start : layer.stop]))
            values[layer.start : layer.stop] = _share(closed, paths)
        columns[f"{name}_{side}"] = values
    if any(np.isnan(values).any() for values in columns.values()):
        view.note("NaN: no path of three edges starts there")
    return columns


def _of_links(view: View, name: str) -> Columns:
    """Squares of each links as a whole."""
    values = np.full(len(view.graph.links), np.nan)
    chosen = {id(links) for links in view.graph.select(view.kinds)}
    for number, links in enumerate(view.graph.links):
        if id(links) not in chosen:
            continue
        nodes = np.unique(links.source_nodes.flat)
        block = view.matrix[nodes[nodes >= 0]][:, np.unique(links.target_nodes.flat)]
        closed, paths = _closed_paths(block)
        values[number] = _share(closed.sum(), paths.sum())
    if np.isnan(values).any():
        view.note("NaN: links without a path of three edges, or of a kind that does not count")
    return {name: values}


def _used_columns(matrix: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """Drop empty columns."""
    import scipy.sparse

    used, place = np.unique(matrix.indices, return_inverse=True)
    return scipy.sparse.csr_array((matrix.data, place, matrix.indptr), shape=(matrix.shape[0], len(used)))


def _closed_paths(matrix: scipy.sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Sum the products of weights along paths u - k - v - l (v ≠ u, l ≠ k) from each row u, closed by l - u or not.

    ``matrix[u, k]`` is the weight between u and k. With G = W Wᵀ, the closed paths by way of v weigh
    G[u, v]² - Σ_k W[u, k]² W[v, k]²: all pairs k, l but for k = l.

    Returns
    -------
    closed, paths : float64 arrays (rows,)
        Zero, exactly, where there are no paths.
    """
    rows, columns = matrix.shape
    weights = matrix / matrix.data.max() if matrix.nnz else matrix
    pattern = reweighted(matrix, np.ones(matrix.nnz))
    counts = _paths(pattern)
    paths = np.where(counts > 0, _paths(weights), 0)
    if matrix.nnz == rows * columns and (weights.data == 1).all():
        return paths, paths  # all are joined: every path is closed
    closed = np.zeros(rows)
    squared = weights.power(2)
    if matrix.nnz > DENSE * rows * columns:
        weights, squared = weights.toarray(), squared.toarray()
    for begin, end in _blocks(rows, rows):
        joint = weights[begin:end] @ weights.T
        same = squared[begin:end] @ squared.T
        total = (joint**2 if isinstance(joint, np.ndarray) else joint.power(2)) - same
        here = np.arange(begin, end)
        closed[begin:end] = total.sum(axis=1) - total[here - begin, here]
    return np.clip(closed, 0, paths), paths  # only rounding leads beyond


def _paths(weights: scipy.sparse.csr_array) -> np.ndarray:
    """Sum the products of weights along the paths u - k - v - l (v ≠ u, l ≠ k) from each row u."""
    rows, columns = weights.shape
    u, k, w = np.repeat(np.arange(rows), np.diff(weights.indptr)), weights.indices, weights.data
    rest = w * (weights.sum(axis=1)[u] - w)  # of an edge u - k, and on from u by another
    onward = np.bincount(k, rest, columns)
    return np.bincount(u, w * np.maximum(onward[k] - rest, 0), rows)


def _share(closed: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Divide; NaN where there are no paths."""
    closed, paths = np.asarray(closed, float), np.asarray(paths, float)
    return np.divide(closed, paths, out=np.full(paths.shape, np.nan), where=paths > 0)


def _blocks(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """Cut rows into blocks of at most ``BLOCK`` entries."""
    step = max(1, BLOCK // max(1, columns))
    return ((begin, min(rows, begin + step)) for begin in range(0, rows, step))
