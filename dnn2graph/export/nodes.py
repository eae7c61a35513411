"""The nodes of a graph as rows of a file, some at a time: what every format that is no XML writes about them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from ..graph import Layer, NeuralGraph
from ..measures.attributes import Places, node_numbers, places_of
from .layout import layered_positions
from .text import ROWS, clean

# In the order of their columns; every table of nodes has them under these names, beside id and label.
TEXTS = ("layer", "layer_index", "channel", "position", "kind", "activation")


class NodeRows(NamedTuple):
    """Consecutive nodes of one layer."""

    layer: Layer
    layer_index: int
    nodes: slice  # their ids
    places: Places

    def labels(self) -> list[str]:
        """Label each node; the labels of a graph are unique."""
        name = clean(self.layer.name)
        return [name + suffix for suffix in self.places.suffixes]


def node_rows(graph: NeuralGraph, rows: int = ROWS) -> Iterator[NodeRows]:
    """Yield the nodes in order, layer by layer, at most so many at a time."""
    for index, layer in enumerate(graph.layers):
        for begin in range(0, layer.size, rows):
            end = min(begin + rows, layer.size)
            yield NodeRows(layer, index, slice(layer.start + begin, layer.start + end), places_of(layer, begin, end))


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
