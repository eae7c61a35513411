"""Which layers are linked, the edges between two of them, and values of links from values of pairs of layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .view import View

if TYPE_CHECKING:
    import scipy.sparse

Pair = tuple[int, int]  # places of the layer that edges leave and of the layer that they enter


def linked_layers(view: View) -> list[Pair]:
    """List the pairs of layers that links join, each once, in order."""
    return sorted({pair for pairs in _pairs_of_links(view).values() for pair in pairs})


def edges_between(view: View, pair: Pair) -> scipy.sparse.csr_array:
    """Cut the edges from one layer to another out of the matrix: (nodes of the one, nodes of the other)."""
    source, target = (view.graph.layers[place] for place in pair)
    return view.matrix[source.start : source.stop, target.start : target.stop]


def per_links(view: View, values: Mapping[Pair, float]) -> np.ndarray:
    """Add up the values of the pairs of layers that each links join, float64 (links,); NaN for links not chosen.

    Links that join the same two layers side by side share a value.
    """
    found = np.full(len(view.graph.links), np.nan)
    for place, pairs in _pairs_of_links(view).items():
        found[place] = sum(values[pair] for pair in pairs)
    return found


def chosen_links(view: View) -> list[int]:
    """List the places, in the graph, of the links of the view's kinds."""
    return list(_pairs_of_links(view))


def edges_of_links(view: View, place: int) -> scipy.sparse.csr_array:
    """Cut the edges between the layers that links join out of the matrix: (nodes of all source layers, of the target).

    Of links that join the same two layers side by side, all edges are there.
    """
    import scipy.sparse

    pairs = _pairs_of_links(view)[place]
    return scipy.sparse.vstack([edges_between(view, pair) for pair in pairs], format="csr")


def _pairs_of_links(view: View) -> dict[int, list[Pair]]:
    """Give the pairs of layers that each of the chosen links joins, by the place of the links in the graph."""
    place_of = {layer.name: place for place, layer in enumerate(view.graph.layers)}
    chosen = {id(links) for links in view.graph.select(view.kinds)}
    found: dict[int, list[Pair]] = {}
    for place, links in enumerate(view.graph.links):
        if id(links) in chosen:
            assert links.target is not None
            target = place_of[links.target.name]
            found[place] = [(place_of[source.name], target) for source in links.sources]
    return found
