"""The nodes of a graph as rows of a file, some at a time: what every format writes about them, and which of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..graph import Layer, NeuralGraph
from ..measures.attributes import Places, node_numbers, places_of
from .layout import layered_positions
from .text import ROWS, clean

# In the order of their columns; every table of nodes has them under these names, beside id and label.
TEXTS = ("layer", "layer_index", "channel", "position", "kind", "activation")

ISOLATED = ("keep", "drop")


class NodeRows(NamedTuple):
    """Some nodes of one layer, in order."""

    layer: Layer
    layer_index: int
    nodes: np.ndarray  # their ids, int64
    places: Places

    def labels(self) -> list[str]:
        """Label each node; the labels of a graph are unique."""
        name = clean(self.layer.name)
        return [name + suffix for suffix in self.places.suffixes]


def node_rows(graph: NeuralGraph, rows: int = ROWS, shown: np.ndarray | None = None) -> Iterator[NodeRows]:
    """Yield the nodes in order, layer by layer, at most so many at a time.

    Parameters
    ----------
    graph : NeuralGraph
    rows : int
    shown : bool array (nodes,), optional
        Which nodes to yield; default all.
    """
    for index, layer in enumerate(graph.layers):
        for begin in range(0, layer.size, rows):
            end = min(begin + rows, layer.size)
            places, nodes = places_of(layer, begin, end), np.arange(layer.start + begin, layer.start + end)
            if shown is not None and not shown[nodes].all():
                chosen = np.flatnonzero(shown[nodes])
                nodes, places = nodes[chosen], _some(places, chosen)
            if len(nodes):
                yield NodeRows(layer, index, nodes, places)


def _some(places: Places, chosen: np.ndarray) -> Places:
    channels, *texts = places
    return Places(channels[chosen], *([each[i] for i in chosen.tolist()] for each in texts))


def shown_nodes(graph: NeuralGraph, isolated: str, kinds: Collection[str] | None = None) -> np.ndarray | None:
    """Mark the nodes that a file is to hold, bool (nodes,); None for all of them.

    Parameters
    ----------
    graph : NeuralGraph
    isolated : {"keep", "drop"}
        What to do with nodes that have no edge.
    kinds : collection of str, optional
        Kinds of links whose edges count; default all.

    Raises
    ------
    InputError
        If an option is unknown.
    """
    check_isolated(isolated)
    return None if isolated == "keep" else ~isolated_nodes(graph, kinds)


def check_isolated(isolated: str) -> None:
    """Raise InputError if the option is unknown."""
    if isolated not in ISOLATED:
        raise InputError(f"isolated={isolated!r} is unknown: choose from {', '.join(ISOLATED)}")


def isolated_nodes(graph: NeuralGraph, kinds: Collection[str] | None = None) -> np.ndarray:
    """Mark the nodes without an edge, bool (nodes,). A weight of exactly zero is no edge."""
    degree = np.zeros(graph.number_of_nodes())
    for links in graph.select(kinds):
        links.add_strengths(degree, degree, "nonzero")
    return np.asarray(degree == 0)


def drawn_numbers(graph: NeuralGraph, kinds: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Compute bias, strengths and place of every node: float64 (nodes,).

    Sums of weights are finite only if all weights are: this also checks every weight, without a pass of its own.

    Raises
    ------
    WeightsError
        If a weight or a bias is NaN or infinite; the message names the layer.
    """
    x, y = layered_positions(graph)
    return {**node_numbers(graph, kinds), "x": x, "y": y}
