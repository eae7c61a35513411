"""Small patterns of signed edges that layered networks have: feed-forward loops and bi-fans, counted in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import scipy

from .measure import Columns, measure
from .pairs import Pair, edges_between, linked_layers, per_links
from .view import View

BLOCK_ENTRIES = 1 << 22  # of a product that are held at a time
DENSE = 1 / 16  # share of possible edges from which on dense products are the faster ones

# Mangan & Alon's types by the signs of i → j, j → k, i → k.
TYPES = {
    "c1": (1, 1, 1),
    "c2": (-1, 1, -1),
    "c3": (1, -1, -1),
    "c4": (-1, -1, 1),
    "i1": (1, -1, 1),
    "i2": (-1, -1, -1),
    "i3": (1, 1, -1),
    "i4": (-1, 1, 1),
}
Signs = tuple[int, int, int]


@measure("graph", weight="signed", source="Mangan & Alon 2003, doi:10.1073/pnas.2133841100")
def feed_forward_motifs(view: View) -> Columns:
    """Number of feed-forward loops: three nodes i, j, k with edges i → j, j → k and the shortcut i → k, whatever other
    edges join them. A loop is coherent if the detour has the sign of the shortcut (the product of all three signs is
    positive), else incoherent; c1 … c4 and i1 … i4 are the types of the source. Only networks whose links skip layers
    have any.
    """
    counts = {signs: int(found.sum()) for signs, found in _feed_forward(view).items()}
    by_type = {f"feed_forward_motifs_{name}": counts[signs] for name, signs in TYPES.items()}
    coherent = sum(number for signs, number in counts.items() if np.prod(signs) > 0)
    total = sum(counts.values())
    if not total:
        view.note("no feed-forward loops: no links skip a layer")
    return {
        "feed_forward_motifs": total,
        "feed_forward_motifs_coherent": coherent,
        "feed_forward_motifs_incoherent": total - coherent,
        **by_type,
    }


@measure("layer", weight="signed", source="Mangan & Alon 2003, doi:10.1073/pnas.2133841100")
def feed_forward_motifs_into(view: View) -> Columns:
    """Number of feed-forward loops (i → j, j → k, i → k) whose last node k is in the layer: coherent and incoherent."""
    coherent, incoherent = np.zeros(len(view.graph.layers)), np.zeros(len(view.graph.layers))
    for signs, counts in _feed_forward(view).items():
        (coherent if np.prod(signs) > 0 else incoherent)[:] += counts
    return {"feed_forward_motifs_into_coherent": coherent, "feed_forward_motifs_into_incoherent": incoherent}


@measure("links", weight="signed", source="Milo et al. 2002, doi:10.1126/science.298.5594.824")
def bifan_motifs_between(view: View) -> Columns:
    """Number of bi-fans of links: two sources that both lead to the same two targets, all four edges between the layers
    that the links join. A bi-fan is coherent if the product of its four signs is positive (the sources agree about
    both targets or disagree about both), else incoherent.
    """
    counts = _bifans(view)
    coherent = per_links(view, {pair: found[0] for pair, found in counts.items()})
    incoherent = per_links(view, {pair: found[1] for pair, found in counts.items()})
    return {"bifan_motifs_between_coherent": coherent, "bifan_motifs_between_incoherent": incoherent}


@measure("graph", weight="signed", source="Milo et al. 2002, doi:10.1126/science.298.5594.824")
def bifan_motifs(view: View) -> Columns:
    """Number of bi-fans (two sources that both lead to the same two targets) over all pairs of layers that links join,
    both sources in one layer and both targets in another; coherent if the product of the four signs is positive.
    """
    counts = [found for found in _bifans(view).values() if np.isfinite(found[0])]
    coherent, incoherent = (float(sum(column)) for column in zip((0.0, 0.0), *counts, strict=True))
    total = coherent + incoherent
    if not total:
        view.note("no bi-fans, of which a share could be coherent")
    return {
        "bifan_motifs": total,
        "bifan_motifs_coherent": coherent,
        "bifan_motifs_incoherent": incoherent,
        "bifan_motifs_coherent_share": coherent / total if total else float("nan"),
    }


def count_bifans(edges: scipy.sparse.csr_array) -> tuple[float, float]:
    """Count the coherent and the incoherent bi-fans of a signed bipartite graph.

    Two sources with ``p`` common targets about which their signs agree and ``q`` about which they differ make
    ``p (p - 1) / 2 + q (q - 1) / 2`` coherent and ``p q`` incoherent bi-fans. With ``c = p + q`` and ``d = p - q``,
    the entries of ``B Bᵀ`` and ``S Sᵀ`` (edges present, and their signs), all sums over pairs are squared norms.

    Parameters
    ----------
    edges : csr_array (sources, targets)

    Returns
    -------
    coherent, incoherent : float
        Whole numbers, exact up to 2⁵³.
    """
    signs = edges.sign()
    signs = (signs if edges.shape[0] <= edges.shape[1] else signs.T).tocsr()  # a bi-fan is one from either side
    present = abs(signs)
    degrees, popularity = present.sum(1), present.sum(0)
    common = differences = 0.0
    for block in _products(signs):
        differences += block
    for block in _products(present):
        common += block
    ordered = (common + differences) / 2 - np.square(popularity).sum() - (degrees * (degrees - 1)).sum()
    return float(ordered / 4), float((common - differences) / 8)


def _products(matrix: scipy.sparse.csr_array) -> Iterator[float]:
    """Yield squared norms of blocks of rows of ``M Mᵀ``, of whole numbers."""
    rows, columns = matrix.shape
    step = max(1, BLOCK_ENTRIES // max(1, rows))
    dense = matrix.nnz > DENSE * rows * columns
    if dense:
        whole = matrix.astype(np.float32).toarray()  # exact: no entry of the product passes 2²⁴
    for begin in range(0, rows, step):
        if dense:
            yield float(np.square(whole[begin : begin + step] @ whole.T, dtype=np.float64).sum())
        else:
            yield float(np.square((matrix[begin : begin + step] @ matrix.T).data).sum())


def _bifans(view: View) -> dict[Pair, tuple[float, float]]:
    found = {}
    for pair in linked_layers(view):
        if pair[0] == pair[1]:
            view.note(f"no bi-fans within the layer {view.graph.layers[pair[0]].name!r}, whose links lead to itself")
            found[pair] = (float("nan"), float("nan"))
        else:
            found[pair] = count_bifans(edges_between(view, pair))
    return found


def _feed_forward(view: View) -> dict[Signs, np.ndarray]:
    """Count feed-forward loops by the signs of i → j, j → k, i → k and the layer of k: int64 (layers,)."""
    counts = {signs: np.zeros(len(view.graph.layers), np.int64) for signs in TYPES.values()}
    pairs = set(linked_layers(view))
    for first, last in pairs:
        for middle in [target for source, target in pairs if source == first and (target, last) in pairs]:
            edges = [_without_loops(view, pair) for pair in ((first, middle), (middle, last), (first, last))]
            for signs, number in count_feed_forward(*edges).items():
                counts[signs][last] += number
    return counts


def count_feed_forward(
    to_middle: scipy.sparse.csr_array, from_middle: scipy.sparse.csr_array, shortcut: scipy.sparse.csr_array
) -> dict[Signs, int]:
    """Count the loops i → j → k with a shortcut i → k by the signs of i → j, j → k, i → k.

    Only at shortcuts are products needed: of the row of i and the column of k.

    Parameters
    ----------
    to_middle, from_middle, shortcut : csr_array (i, j), (j, k), (i, k)
    """
    counts = dict.fromkeys(TYPES.values(), 0)
    before, after = to_middle.sign(), from_middle.sign().T.tocsr()
    first, second = ({sign: (matrix * sign > 0).astype(float) for sign in (1, -1)} for matrix in (before, after))
    ends = shortcut.tocoo()
    longest = max(np.diff(before.indptr).max(initial=0), np.diff(after.indptr).max(initial=0))
    step = max(1, BLOCK_ENTRIES // max(1, int(longest)))
    for begin in range(0, ends.nnz, step):
        block = slice(begin, begin + step)
        i, k, positive = ends.row[block], ends.col[block], ends.data[block] > 0
        for s, t in product((1, -1), repeat=2):
            loops = first[s][i].multiply(second[t][k]).sum(1)
            counts[s, t, 1] += int(loops[positive].sum())
            counts[s, t, -1] += int(loops[~positive].sum())
    return counts


def _without_loops(view: View, pair: Pair) -> scipy.sparse.csr_array:
    edges = edges_between(view, pair)
    if pair[0] == pair[1]:
        edges = edges.copy()
        edges.setdiag(0)
        edges.eliminate_zeros()
    return edges
