"""Degree, strength, and how evenly a node's weight is spread over its edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .measure import Columns, measure
from .view import View, reweighted

if TYPE_CHECKING:
    import scipy.sparse

WIRED = "La Malfa et al. 2021, arXiv 2110.02628 (Nodes Strength)"
BARRAT = "Barrat, Barthélemy, Pastor-Satorras & Vespignani 2004, PNAS 101:3747"
BACKBONE = "Barthélemy, Gondran & Guichard 2003, Physica A 319:633; Serrano, Boguñá & Vespignani 2009, PNAS 106:6483"


@measure("node", weight="unweighted", source="Newman 2010, Networks")
def degree(view: View) -> Columns:
    """Number of edges of a node: into it, out of it, and both."""
    into, out_of = np.diff(view.transposed.indptr), np.diff(view.matrix.indptr)
    return {"degree_in": into, "degree_out": out_of, "degree": into + out_of}


@measure("node", weight="signed", source=WIRED)
def strength(view: View) -> Columns:
    """Sum of the weights of a node's edges: into it, out of it, and both; and the same of its positive weights alone
    and of its negative weights alone (which is negative or zero).
    """
    signed = view.matrix
    parts = {"": signed.data, "_positive": np.maximum(signed.data, 0), "_negative": np.minimum(signed.data, 0)}
    columns: dict[str, np.ndarray] = {}
    for part, weights in parts.items():
        columns |= _both_ways(f"strength{part}", reweighted(signed, weights))
    return columns


@measure("node", weight="abs", source=BARRAT)
def strength_abs(view: View) -> Columns:
    """Sum of the absolute weights of a node's edges: into it, out of it, and both."""
    return _both_ways("strength_abs", view.matrix)


@measure("node", weight="abs", source=BACKBONE)
def disparity(view: View) -> Columns:
    """Sum of the squared shares that each edge into a node (out of it) has in their total: 1/k where all k weigh the
    same, 1 where one edge carries everything.
    """
    return _of_shares(view, "disparity", np.square)


@measure("node", weight="abs", source="Shannon 1948; Eagle, Macy & Claxton 2010, Science 328:1029")
def entropy(view: View) -> Columns:
    """Shannon entropy, in nats, of the shares that each edge into a node (out of it) has in their total: ln k where all
    k weigh the same, 0 where one edge carries everything.
    """
    return _of_shares(view, "entropy", lambda share: -share * np.log(np.maximum(share, np.finfo(float).tiny)))


def _both_ways(name: str, matrix: scipy.sparse.csr_array) -> dict[str, np.ndarray]:
    into, out_of = matrix.sum(axis=0), matrix.sum(axis=1)
    return {f"{name}_in": into, f"{name}_out": out_of, name: into + out_of}


def _of_shares(view: View, name: str, value: Callable[[np.ndarray], np.ndarray]) -> Columns:
    """Sum a value of each edge's share, over the edges into and out of each node; NaN where there are none."""
    columns = {}
    for side, matrix in (("in", view.transposed), ("out", view.matrix)):
        counts = np.diff(matrix.indptr)
        node = np.repeat(np.arange(len(counts)), counts)
        total = np.bincount(node, matrix.data, len(counts))
        share = matrix.data / total[node]
        summed = np.bincount(node, value(share), len(counts))
        columns[f"{name}_{side}"] = np.where(counts > 0, summed, np.nan)
    if any(np.isnan(values).any() for values in columns.values()):
        view.note("NaN: no edge on that side")
    return columns
