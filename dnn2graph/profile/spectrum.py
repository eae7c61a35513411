"""Spectra: singular values of the linear maps between layers, and eigenvalues of the whole graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy

from .measure import Columns, measure
from .pairs import chosen_links, edges_of_links
from .paths import generations
from .undefined import undefined
from .view import View

DENSE_ENTRIES = 1 << 22  # up to which a matrix is decomposed whole
DENSE_SIDE = 1024  # rows or columns up to which its product with its transpose is
RESIDUAL = 1e-6  # at which an iteration ends; a symmetric matrix's eigenvalues are known to the square of it


# ---------------------------------------------------------------------- measures


@measure("links", weight="signed", source="Roy & Vetterli 2007, EUSIPCO (effective rank)")
def singular_values(view: View) -> Columns:
    """Singular values of the linear map between the layers that links join: the largest, which is the most that the map
    stretches anything; the stable rank, the sum of their squares over the largest square; and the effective rank, the
    exponential of the entropy of their shares of their sum. Links that join the same layers side by side are one map.
    """
    names = ("singular_values_largest", "singular_values_stable_rank", "singular_values_effective_rank")
    found = np.full((len(names), len(view.graph.links)), np.nan)
    for place in chosen_links(view):
        found[:, place] = _singular_values(view, edges_of_links(view, place))
    if len(chosen_links(view)) < len(view.graph.links):
        view.note("undefined for links of other kinds than the chosen ones")
    return dict(zip(names, found, strict=True))


@measure("graph", weight="signed")
def spectral_radius(view: View) -> Columns:
    """Largest absolute eigenvalue of the signed adjacency matrix. It is 0 for every graph without cycles, such as a
    feed-forward network, and above 1 activity grows in a linear recurrent one.
    """
    if not len(view.graph):
        return undefined(view, "the graph has no nodes", ("spectral_radius",))
    if generations(view.matrix) is not None:
        view.note("0, because the graph has no cycles")
        return {"spectral_radius": 0.0}
    return {"spectral_radius": _largest_of_cycles(view)}


@measure("graph", weight="abs")
def spectral_radius_undirected(view: View) -> Columns:
    """Largest eigenvalue of the undirected graph's adjacency matrix: |weight|, of both directions together."""
    if not view.matrix.nnz:
        return undefined(view, "the graph has no edges", ("spectral_radius_undirected",))
    both = view.matrix + view.matrix.T
    return {"spectral_radius_undirected": _eigenvalues(view, both, 1, "LA")[-1]}


@measure("graph", weight="abs", source="Chung 1997, Spectral Graph Theory")
def laplacian(view: View) -> Columns:
    """Eigenvalues of the normalised Laplacian I - D^(-1/2) W D^(-1/2) of the undirected |weight| W, on the largest
    weakly connected component: the eigengap, its smallest eigenvalue that is not zero (small if the component almost
    falls apart), and the largest, 2 if and only if the component is bipartite.
    """
    names = ("laplacian_gap", "laplacian_largest")
    both = (view.matrix + view.matrix.T).tocsr()
    _, component = scipy.sparse.csgraph.connected_components(both, directed=False)
    sizes = np.bincount(component)
    if not len(sizes) or sizes.max() < 2:
        return undefined(view, "no edge joins two nodes", names)
    nodes = np.flatnonzero(component == sizes.argmax())
    if len(nodes) < len(view.graph):
        view.note(f"of the largest of {len(sizes):,} components, {len(nodes):,} of {len(view.graph):,} nodes")
    part = both[nodes][:, nodes]
    scale = scipy.sparse.diags_array(1 / np.sqrt(np.asarray(part.sum(0))))
    normalised = (scale @ part @ scale).tocsr()
    gap, largest = 1 - _eigenvalues(view, normalised, 2, "LA")[-2], 1 - _eigenvalues(view, normalised, 1, "SA")[0]
    return {"laplacian_gap": gap, "laplacian_largest": largest}


# ---------------------------------------------------------------------- decompositions


def _singular_values(view: View, edges: scipy.sparse.csr_array) -> tuple[float, float, float]:
    """Largest singular value, stable rank, effective rank; NaN where there are no edges or too many values."""
    if not edges.nnz:
        _note_once(view, "undefined for links without edges")
        return np.nan, np.nan, np.nan
    if edges.shape[0] * edges.shape[1] <= DENSE_ENTRIES:
        values = np.linalg.svd(edges.toarray(), compute_uv=False)
    elif min(edges.shape) <= DENSE_SIDE:
        wide = edges if edges.shape[0] <= edges.shape[1] else edges.T
        values = np.sqrt(np.linalg.eigvalsh((wide @ wide.T).toarray())[::-1].clip(0))
    else:
        start = view.random.standard_normal(min(edges.shape))
        values = _converged(view, scipy.sparse.linalg.svds, edges, 1, v0=start, return_singular_vectors=False)
        _note_once(view, "no effective rank of large maps, which takes all singular values")
    share = values[values > 0] / values.sum()
    effective = float(np.exp(-(share @ np.log(share)))) if len(values) == min(edges.shape) else np.nan
    return float(values[0]), float(np.square(edges.data).sum() / values[0] ** 2), effective


def _eigenvalues(view: View, matrix: scipy.sparse.csr_array, count: int, which: str) -> list[float]:
    """Give the ``count`` largest ("LA") or smallest ("SA") eigenvalues of a symmetric matrix, ascending."""
    if matrix.shape[0] ** 2 <= DENSE_ENTRIES:
        found = np.linalg.eigvalsh(matrix.toarray())
        return found[-count:].tolist() if which == "LA" else found[:count].tolist()
    start = view.random.standard_normal(matrix.shape[0])
    options = {"which": which, "v0": start, "tol": RESIDUAL, "return_eigenvectors": False}
    return sorted(_converged(view, scipy.sparse.linalg.eigsh, matrix, count, **options).tolist())


def _largest_of_cycles(view: View) -> float:
    """Largest absolute eigenvalue: that of the strongly connected components, one by one."""
    _, component = scipy.sparse.csgraph.connected_components(view.matrix, connection="strong")
    sizes = np.bincount(component)
    largest = np.abs(view.matrix.diagonal()[sizes[component] == 1]).max(initial=0.0)  # a loop is an eigenvalue
    for place in np.flatnonzero(sizes > 1):
        nodes = np.flatnonzero(component == place)
        part = view.matrix[nodes][:, nodes]
        if len(nodes) ** 2 <= DENSE_ENTRIES:
            values = np.linalg.eigvals(part.toarray())
        else:
            start = view.random.standard_normal(len(nodes))
            values = _converged(view, scipy.sparse.linalg.eigs, part, 1, v0=start, return_eigenvectors=False)
        largest = max(largest, np.abs(values).max())
    return float(largest)


def _converged(view: View, decompose: Callable[..., np.ndarray], *args: Any, **options: Any) -> np.ndarray:
    """Run an iterative method for so many values; NaN, with a note, if it does not settle."""
    try:
        return decompose(*args, **options)
    except scipy.sparse.linalg.ArpackNoConvergence:
        _note_once(view, "undefined where the iteration for eigenvalues did not settle")
        return np.full(args[1], np.nan)


def _note_once(view: View, text: str) -> None:
    if text not in view.notes:
        view.note(text)
