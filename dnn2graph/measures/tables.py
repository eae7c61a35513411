"""Tables of nodes and layers, for people and for pandas."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from ..graph import NeuralGraph
from .attributes import node_attributes
from .moments import moments
from .strength import strength

if TYPE_CHECKING:
    import pandas as pd


def layer_table(
    graph: NeuralGraph, kinds: Collection[str] | None = None, *, convention: str = "formula"
) -> pd.DataFrame:
    """One row per layer: what it is, and the statistics of its nodes' strengths.

    Parameters
    ----------
    graph : NeuralGraph
    kinds, convention
        As of :func:`dnn2graph.strength`.

    Returns
    -------
    DataFrame
        Columns ``layer``, ``kind``, ``shape``, ``activation``, ``nodes``, ``in_edges``, ``fluctuation`` (the standard
        deviation of strength), ``strength_mean``, ``strength_skewness``, ``strength_kurtosis``, ``strength_min``,
        ``strength_max``.
    """
    import pandas as pd

    values = strength(graph, kinds=kinds, convention=convention)
    edges: dict[str, int] = {}
    for links in graph.select(kinds):
        assert links.target is not None
        edges[links.target.name] = edges.get(links.target.name, 0) + links.nnz
    rows = [
        {
            "layer": layer.name,
            "kind": layer.kind,
            "shape": "x".join(map(str, layer.shape)),
            "activation": layer.activation or "",
            "nodes": layer.size,
            "in_edges": edges.get(layer.name, 0),
            **_strength_columns(values[layer.start : layer.stop]),
        }
        for layer in graph.layers
    ]
    return pd.DataFrame(rows)


def _strength_columns(values: np.ndarray) -> dict[str, float]:
    """Describe the strengths of one layer's nodes."""
    found = moments(lambda: iter([(values, np.ones(1, np.int64))]), zeros=True)
    return {
        "fluctuation": found.std,
        "strength_mean": found.mean,
        "strength_skewness": found.skewness,
        "strength_kurtosis": found.kurtosis,
        "strength_min": found.min,
        "strength_max": found.max,
    }


def node_table(
    graph: NeuralGraph, kinds: Collection[str] | None = None, *, convention: str = "formula"
) -> pd.DataFrame:
    """One row per node: where it stands, its bias and its strengths; the index is the node id.

    Parameters
    ----------
    graph, kinds, convention
        As of :func:`dnn2graph.strength`.

    Returns
    -------
    DataFrame
        The columns are those that every export writes as node attributes: see :func:`.node_attributes`.
    """
    import pandas as pd

    return pd.DataFrame(node_attributes(graph, kinds, convention=convention)).rename_axis("node")
