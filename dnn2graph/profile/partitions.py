"""How good a division of the nodes into communities is, under three null models, and how far two divisions agree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy


def modularity(edges: scipy.sparse.csr_array, community: np.ndarray) -> float:
    """Modularity of a division of an undirected graph: weight within communities, less what chance would put there.

    Parameters
    ----------
    edges : csr_array (nodes, nodes)
        Weights that are not negative; ``edges[i, j]`` and ``edges[j, i]`` are added.
    community : int array (nodes,)
        Ids from 0.

    Returns
    -------
    float
        NaN without edges.

    References
    ----------
    Newman & Girvan 2004, doi:10.1103/PhysRevE.69.026113.
    """
    total = edges.sum()
    if not total:
        return float("nan")
    strength = np.asarray(edges.sum(0) + edges.sum(1))
    shares = np.bincount(community, strength) / (2 * total)
    return float(_within(edges, community) / total - np.square(shares).sum())


def layered_modularity(edges: scipy.sparse.csr_array, community: np.ndarray, layer_of: np.ndarray) -> float:
    """Modularity where chance, too, links only layers that are linked.

    Between each two layers the expected weight from i to j is ``s_out[i] s_in[j] / m``, of the strengths and the total
    weight between these two layers alone: Barber's null model of a bipartite graph, for each pair of layers.

    Parameters
    ----------
    edges : csr_array (nodes, nodes)
        Directed; weights that are not negative.
    community, layer_of : int arrays (nodes,)

    Returns
    -------
    float
        NaN without edges.

    References
    ----------
    Barber 2007, doi:10.1103/PhysRevE.76.066102.
    """
    total = edges.sum()
    if not total:
        return float("nan")
    sources, targets = np.repeat(np.arange(edges.shape[0]), np.diff(edges.indptr)), edges.indices
    layers = int(layer_of.max()) + 1
    _, pair = np.unique(layer_of[sources].astype(np.int64) * layers + layer_of[targets], return_inverse=True)
    shape = (int(pair.max()) + 1, int(community.max()) + 1)
    out_of = scipy.sparse.coo_array((edges.data, (pair, community[sources])), shape).tocsr()
    into = scipy.sparse.coo_array((edges.data, (pair, community[targets])), shape).tocsr()
    expected = out_of.multiply(into).sum(1) / np.bincount(pair, edges.data)
    return float((_within(edges, community) - expected.sum()) / total)


class SignedModularity(NamedTuple):
    """Modularity of a signed graph, and its parts."""

    total: float
    positive: float  # of the positive weights alone: high if they lie within communities
    negative: float  # of the absolute negative weights alone: low if they lie between communities


def signed_modularity(edges: scipy.sparse.csr_array, community: np.ndarray) -> SignedModularity:
    """Modularity of signed weights: positive ones should lie within communities, negative ones between.

    ``Q = (w⁺ Q⁺ - w⁻ Q⁻) / (w⁺ + w⁻)``, where each part has the total weight and the null model of its own sign.

    Parameters
    ----------
    edges : csr_array (nodes, nodes)
        ``edges[i, j]`` and ``edges[j, i]`` count as two edges.
    community : int array (nodes,)

    Returns
    -------
    SignedModularity
        NaN for the part of a sign that no weight has; it then counts 0 in the total, which is NaN without edges.

    References
    ----------
    Gómez, Jensen & Arenas 2009, doi:10.1103/PhysRevE.80.016114.
    """
    parts, totals = [], []
    for sign in (1, -1):
        part = (edges * sign).maximum(0).tocsr()
        parts.append(modularity(part, community))
        totals.append(float(part.sum()))
    if not sum(totals):
        return SignedModularity(float("nan"), *parts)
    weighted = [total * part if total else 0.0 for total, part in zip(totals, parts, strict=True)]
    return SignedModularity((weighted[0] - weighted[1]) / sum(totals), *parts)


def _within(edges: scipy.sparse.csr_array, community: np.ndarray) -> float:
    """Sum the weights of edges within communities."""
    same = np.repeat(community, np.diff(edges.indptr)) == community[edges.indices]
    return float(edges.data[same].sum())


# ---------------------------------------------------------------------- agreement


class Agreement(NamedTuple):
    """How far two divisions of the same nodes agree: 1 if they are the same."""

    nmi: float  # normalised mutual information: 0 if independent, but grows with the number of parts
    ami: float  # the same, adjusted: 0 is what chance gives
    ari: float  # adjusted Rand index: 0 is what chance gives


def agreement(first: np.ndarray, second: np.ndarray) -> Agreement:
    """Compare two divisions of the same nodes.

    Mutual information is normalised by the mean of the two entropies. Divisions into one part each, or of nothing,
    agree by convention.

    Parameters
    ----------
    first, second : int arrays (nodes,)

    References
    ----------
    Vinh, Epps & Bailey 2010, "Information Theoretic Measures for Clusterings Comparison", JMLR 11;
    Hubert & Arabie 1985, doi:10.1007/BF01908075.
    """
    (_, row), (_, column) = (np.unique(each, return_inverse=True) for each in (first, second))
    count = len(row)
    rows, columns = np.bincount(row), np.bincount(column)
    if len(rows) == len(columns) and len(rows) in (0, 1, count):
        return Agreement(1.0, 1.0, 1.0)
    table = scipy.sparse.coo_array((np.ones(count), (row, column))).tocsr().tocoo()
    cells = table.data
    information = float(cells @ np.log(cells * count / (rows[table.row] * columns[table.col])) / count)
    mean_entropy = (_entropy(rows) + _entropy(columns)) / 2
    chance = _expected_information(rows, columns)
    pairs, of_rows, of_columns = (float((n * (n - 1)).sum()) for n in (cells, rows, columns))
    expected = of_rows * of_columns / (count * (count - 1))
    return Agreement(
        information / mean_entropy,
        (information - chance) / (mean_entropy - chance),
        (pairs - expected) / ((of_rows + of_columns) / 2 - expected),
    )


def _entropy(sizes: np.ndarray) -> float:
    share = sizes / sizes.sum()
    return float(-(share @ np.log(share)))


def _expected_information(rows: np.ndarray, columns: np.ndarray) -> float:
    """Mean mutual information over all divisions with these sizes: a cell's count is hypergeometric."""
    from scipy.stats import hypergeom

    count, total = int(rows.sum()), 0.0
    for a, times in zip(*np.unique(rows, return_counts=True), strict=True):
        for b, again in zip(*np.unique(columns, return_counts=True), strict=True):
            n = np.arange(max(1, a + b - count), min(a, b) + 1)
            chance = hypergeom.pmf(n, count, a, b)
            total += times * again * float(chance @ (n * np.log(n * count / (a * b)))) / count
    return total
