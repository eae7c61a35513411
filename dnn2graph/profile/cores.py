"""Cores: what is left when weakly tied nodes are taken away again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .measure import Columns, measure
from .view import View

if TYPE_CHECKING:
    import scipy.sparse


@measure("node", weight="unweighted", source="Seidman 1983, Soc. Netw. 5:269; Batagelj & Zaversnik 2003")
def k_core(view: View) -> Columns:
    """The largest k such that a node belongs to a subgraph in which every node has at least k edges, into it or out of
    it. (By edges into nodes alone, a feed-forward graph has no core: its inputs have none, and all follow them.)
    """
    return {"k_core": np.array(view.igraph.coreness(mode="all"), np.int64)}


@measure("node", weight="abs", source="Eidsaa & Almaas 2013, Phys. Rev. E 88:062819")
def s_core(view: View) -> Columns:
    """The largest s such that a node belongs to a subgraph in which every node's edges, into it and out of it, have
    absolute weights of at least s together: the core of strength.
    """
    return {"s_core": _core(view.matrix + view.transposed)}


def _core(matrix: scipy.sparse.csr_array) -> np.ndarray:
    """Take the weakest node away, over and over; its core is the most that the weakest had until then."""
    strength = matrix.sum(axis=1)
    cores, core = np.zeros(len(strength)), 0.0
    for _ in range(len(strength)):
        weakest = int(strength.argmin())
        core = max(core, float(strength[weakest]))
        cores[weakest] = core
        edges = slice(matrix.indptr[weakest], matrix.indptr[weakest + 1])
        strength[matrix.indices[edges]] -= matrix.data[edges]  # of nodes that are gone it stays infinite
        strength[weakest] = np.inf
    return cores
