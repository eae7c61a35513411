"""Paths from the inputs to the outputs of a graph without cycles: how many, how long, and what they weigh together.

All values come from dynamic programming along the edges: what a node has is made of what its neighbours on one side
have. Sums that grow or shrink without bound are kept as logarithms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy

from ..errors import InputError
from .effective import effective_weights, strongest_outputs
from .measure import Columns, measure
from .undefined import undefined
from .view import View

MOST_EFFECTIVE = 1 << 26  # effective weights
CYCLIC = "the graph has cycles, and infinitely many paths"
NO_PATH = "no path leads from an input to an output"
PATHS = "Veit et al. 2016, arXiv:1605.06431"
NORM = "Neyshabur et al. 2015, arXiv:1503.00036"


# ---------------------------------------------------------------------- measures


@measure("node", weight="unweighted", source=PATHS)
def paths_through(view: View) -> Columns:
    """Number of paths from an input to an output that lead through a node, its decimal logarithm (which is finite where
    the number is not), and its share of all paths.
    """
    return _through(view, "paths_through")


@measure("graph", weight="unweighted", source=PATHS)
def path_count(view: View) -> Columns:
    """Number of paths from an input to an output, and its decimal logarithm (finite where the number is not)."""
    return _total(view, "path_count")


@measure("graph", weight="unweighted", source=PATHS)
def path_length(view: View) -> Columns:
    """Number of edges on the shortest and the longest path from an input to an output, and the mean over all paths."""
    names = ("path_length_shortest", "path_length_longest", "path_length_mean")
    order = generations(view.matrix)
    if order is None:
        return undefined(view, CYCLIC, names)
    shortest = fold(view.transposed, order, _start(view, view.inputs, 0, np.inf), np.minimum)[view.outputs]
    longest = fold(view.transposed, order, _start(view, view.inputs, 0, -np.inf), np.maximum)[view.outputs]
    into, out_of = _log_sums(view, order)
    total = _log_total(into, view.outputs)
    if total == -np.inf:
        return undefined(view, NO_PATH, names)
    visits = np.exp(into + out_of - total).sum()  # nodes on a path, on average
    return dict(zip(names, (float(shortest.min()), float(longest.max()), float(visits - 1)), strict=True))


@measure("node", weight="abs", source=NORM)
def path_norm_through(view: View) -> Columns:
    """Sum of |weight| over all paths from an input to an output that lead through a node, where a path weighs the
    product of its edges; its decimal logarithm; and its share of the sum over all paths, the L1 path norm.
    """
    return _through(view, "path_norm_through")


@measure("graph", weight="abs", source=NORM)
def path_norm(view: View) -> Columns:
    """L1 path norm: the sum over all paths from an input to an output of the product of the |weight| of their edges;
    and its decimal logarithm.
    """
    return _total(view, "path_norm")


@measure("node", weight="signed")
def path_weight(view: View) -> Columns:
    """Sum of the signed weights of all paths, each the product of its edges, that lead from the inputs to a node (in)
    and from the node to the outputs (out): what it answers, were all activations the identity, to a one at every input,
    and what a one there adds to the sum of the outputs.
    """
    order = generations(view.matrix)
    if order is None:
        return undefined(view, CYCLIC, ("path_weight_in", "path_weight_out"), len(view.graph))
    with np.errstate(over="ignore", invalid="ignore"):
        into = path_sums(view.transposed, order, _start(view, view.inputs, 1, 0))
        out_of = path_sums(view.matrix, order[::-1], _start(view, view.outputs, 1, 0))
    if not (np.isfinite(into).all() and np.isfinite(out_of).all()):
        view.note("some sums of paths pass the largest number there is")
        into, out_of = (np.where(np.isfinite(sums), sums, np.nan) for sums in (into, out_of))
    return {"path_weight_in": into, "path_weight_out": out_of}


@measure("node", weight="signed")
def supported_output(view: View) -> Columns:
    """The output that a node supports most: to which its paths, each weighing the product of its edges, have the
    largest sum; counted from 0 in the order of the nodes, with that sum. Undefined where no path leads to an output.
    """
    names = ("supported_output", "supported_output_weight")
    count = len(view.graph)
    if not len(view.outputs):
        return undefined(view, "the graph has no outputs", names, count)
    try:
        best = strongest_outputs(view.graph, view.kinds)
    except InputError as error:
        return undefined(view, str(error), names, count)
    if (best[0] < 0).any():
        view.note("undefined where no path leads to an output")
    return {names[0]: np.where(best[0] < 0, np.nan, best[0]), names[1]: np.where(best[0] < 0, np.nan, best[1])}


@measure("graph", weight="signed")
def effective_weight(view: View) -> Columns:
    """Weights from each input to each output in the network whose activations are the identity: sums over paths of the
    product of their edges. Their mean, standard deviation, Frobenius norm, largest singular value; and the agreement of
    paths: the sum of |effective weights| over the L1 path norm, 1 if no path cancels another.
    """
    names = tuple(f"effective_weight_{name}" for name in ("mean", "std", "norm", "largest", "agreement"))
    order = generations(view.matrix)
    if order is None:
        return undefined(view, CYCLIC, names)
    if len(view.inputs) * len(view.outputs) > MOST_EFFECTIVE:
        return undefined(view, f"left out: there are {len(view.inputs) * len(view.outputs):,} effective weights", names)
    try:
        found = effective_weights(view.graph, view.kinds)
    except InputError as error:
        return undefined(view, str(error), names)
    sizes = abs(view.matrix)
    norm = path_sums(sizes, order[::-1], _start(view, view.outputs, 1, 0))[view.inputs].sum()
    if not found.size or not norm:
        return undefined(view, NO_PATH, names)
    if not (np.isfinite(found).all() and np.isfinite(norm)):
        return undefined(view, "some sums of paths pass the largest number there is", names)
    values = (found.mean(), found.std(), np.linalg.norm(found), np.linalg.norm(found, 2), np.abs(found).sum() / norm)
    return {name: float(value) for name, value in zip(names, values, strict=True)}


# ---------------------------------------------------------------------- dynamic programming on a matrix


def generations(matrix: scipy.sparse.csr_array) -> list[np.ndarray] | None:
    """Divide the nodes of a directed graph into generations: every edge leads to a later one.

    Parameters
    ----------
    matrix : csr_array (nodes, nodes)
        Of edges; what they weigh is of no matter.

    Returns
    -------
    list of int64 arrays, or None
        Each node is in the first generation after all nodes with an edge to it. None if the graph has cycles.
    """
    missing = np.bincount(matrix.indices, minlength=matrix.shape[0])
    level = np.flatnonzero(missing == 0)
    found = []
    while len(level):
        found.append(level)
        targets, edges = np.unique(matrix[level].indices, return_counts=True)
        missing[targets] -= edges
        level = targets[missing[targets] == 0].astype(np.int64)
    return found if sum(map(len, found)) == matrix.shape[0] else None


def path_sums(rows: scipy.sparse.csr_array, order: Sequence[np.ndarray], start: np.ndarray) -> np.ndarray:
    """Sum over paths: the value of a node is what it starts with, and the weighted values of the nodes in its row.

    Parameters
    ----------
    rows : csr_array (nodes, nodes)
        Row j holds the edges into j if paths come from the inputs; of the transpose, the edges out of it, if they are
        followed backwards from the outputs.
    order : sequence of int arrays
        :func:`generations`, or their reverse.
    start : float64 array (nodes,) or (nodes, k)
    """
    values = start.copy()
    for level in order:
        values[level] += rows[level] @ values
    return values


def fold(rows: scipy.sparse.csr_array, order: Sequence[np.ndarray], start: np.ndarray, join: np.ufunc) -> np.ndarray:
    """Join paths as :func:`path_sums` does, but add what edges weigh and join with an operation instead of the sum.

    ``numpy.minimum`` gives shortest paths, ``numpy.maximum`` longest ones, ``numpy.logaddexp`` the logarithm of the sum
    over paths if edges weigh the logarithms of their weights.
    """
    values = start.copy()
    for level in order:
        part = rows[level]
        filled = np.diff(part.indptr) > 0
        if filled.any():
            joined = join.reduceat(values[part.indices] + part.data, part.indptr[:-1][filled])
            values[level[filled]] = join(values[level[filled]], joined)
    return values


def _start(view: View, nodes: np.ndarray, there: float, elsewhere: float) -> np.ndarray:
    start = np.full(len(view.graph), float(elsewhere))
    start[nodes] = there
    return start


def _log_sums(view: View, order: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the sums of all paths from the inputs to each node, and from it to the outputs."""
    sums = []
    for rows, along, ends in (
        (view.transposed, order, view.inputs),
        (view.matrix, order[::-1], view.outputs),
    ):
        logarithms = scipy.sparse.csr_array((np.log(rows.data), rows.indices, rows.indptr), shape=rows.shape)
        sums.append(fold(logarithms, along, _start(view, ends, 0, -np.inf), np.logaddexp))
    return sums[0], sums[1]


def _log_total(into: np.ndarray, outputs: np.ndarray) -> float:
    return float(np.logaddexp.reduce(into[outputs])) if len(outputs) else -np.inf


def _through(view: View, name: str) -> Columns:
    """Sum over the paths through each node: the sum itself, its logarithm, its share."""
    names = (name, f"{name}_log10", f"{name}_share")
    order = generations(view.matrix)
    if order is None:
        return undefined(view, CYCLIC, names, len(view.graph))
    log_into, log_out_of = _log_sums(view, order)
    logarithms, total = log_into + log_out_of, _log_total(log_into, view.outputs)
    if total == -np.inf:
        return undefined(view, NO_PATH, names, len(view.graph))
    with np.errstate(over="ignore", invalid="ignore"):
        into = path_sums(view.transposed, order, _start(view, view.inputs, 1, 0))
        out_of = path_sums(view.matrix, order[::-1], _start(view, view.outputs, 1, 0))
        values = np.where(logarithms == -np.inf, 0, into * out_of)  # exact while whole numbers are below 2⁵³
    if (logarithms == -np.inf).any():
        view.note("the logarithm is -inf where no path leads through a node")
    return dict(zip(names, (values, logarithms / np.log(10), np.exp(logarithms - total)), strict=True))


def _total(view: View, name: str) -> Columns:
    """Sum over all paths from the inputs to the outputs, and its logarithm."""
    order = generations(view.matrix)
    if order is None:
        return undefined(view, CYCLIC, (name, f"{name}_log10"))
    with np.errstate(over="ignore"):
        total = path_sums(view.transposed, order, _start(view, view.inputs, 1, 0))[view.outputs].sum()
    logarithm = _log_total(_log_sums(view, order)[0], view.outputs)
    if logarithm == -np.inf:
        view.note(NO_PATH)
        return {name: 0.0, f"{name}_log10": -np.inf}
    return {name: float(total), f"{name}_log10": logarithm / np.log(10)}
