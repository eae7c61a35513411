"""Where the nodes of a layered drawing stand: a column for each layer, its channels from top to bottom."""

from __future__ import annotations

from math import ceil, prod, sqrt
from typing import NamedTuple

import numpy as np

from ..graph import Layer, NeuralGraph
from ..measures.attributes import layer_shape

LONGEST = 16  # positions of a sequence in one line
FILLED = 0.85  # of the height that a channel has, a grid of its positions fills
WIDEST = 0.72  # of the distance between columns


class Column(NamedTuple):
    """The nodes of one layer that are drawn: channels one below the other, each a node or a grid of positions."""

    layer: Layer
    nodes: np.ndarray  # int64 (channels, positions)
    centres: np.ndarray  # float64 (channels,), from 0.5 at the top to -0.5
    spacing: float  # between channels
    grid: tuple[int, int]  # rows and columns of positions; (1, 1) for a node
    width: float  # of a grid; columns stand at 0, 1, 2, …

    @property
    def elided(self) -> int:
        """How many channels are not drawn."""
        return (self.layer.size - self.nodes.size) // max(1, self.nodes.shape[1])

    @property
    def is_map(self) -> bool:
        """Whether channels are grids of several positions."""
        return self.nodes.shape[1] > 1

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a position."""
        return self.width / self.grid[1], FILLED * self.spacing / self.grid[0]

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the coordinates of the nodes, float64 (channels, positions), of a column at 0."""
        row, column = np.divmod(np.arange(self.nodes.shape[1]), self.grid[1])
        width, height = self.cell
        across = (column - (self.grid[1] - 1) / 2) * width
        down = (row - (self.grid[0] - 1) / 2) * height
        return np.broadcast_to(across, self.nodes.shape), self.centres[:, None] - down


def columns(graph: NeuralGraph, chosen: np.ndarray, aspect: float) -> list[Column]:
    """Arrange the chosen nodes of each layer.

    Layers of few channels are shorter than those of many, but less so than in proportion.

    Parameters
    ----------
    graph : NeuralGraph
    chosen : bool array (nodes,)
        Of a channel all positions, or none.
    aspect : float
        The height of the drawing divided by the distance between columns: grids keep the shape of their image.

    Returns
    -------
    list of Column
    """
    nodes = [layer_grid(layer) for layer in graph.layers]
    drawn = [grid[chosen[grid].all(axis=1)] if grid.size else grid for grid in nodes]
    most = {True: 1, False: 1}  # of maps, and of plain nodes
    for grid in drawn:
        most[grid.shape[1] > 1] = max(most[grid.shape[1] > 1], len(grid))
    return [
        _column(layer, grid, most[grid.shape[1] > 1], aspect) for layer, grid in zip(graph.layers, drawn, strict=True)
    ]


def layer_grid(layer: Layer) -> np.ndarray:
    """Arrange the nodes of a layer by channel and position, int64 (channels, positions)."""
    shape = layer_shape(layer)
    axis = layer.channel_axis % len(shape)
    nodes = np.moveaxis(np.arange(layer.start, layer.stop).reshape(shape), axis, 0)
    return nodes.reshape(shape[axis], prod(shape) // max(1, shape[axis]))


def _column(layer: Layer, nodes: np.ndarray, most: int, aspect: float) -> Column:
    channels, positions = max(1, nodes.shape[0]), max(1, nodes.shape[1])
    span = sqrt(channels / most)
    if positions > 1:
        span = max(span, 0.5)
    spacing = span / channels
    across = _grid_width(layer, positions)
    rows = -(-positions // across)
    height = FILLED * spacing
    width = aspect * height * across / rows
    if width > WIDEST:
        spacing, width = spacing * max(WIDEST / width, 0.25), WIDEST
    centres = (np.arange(channels) - (channels - 1) / 2)[::-1] * spacing
    return Column(layer, nodes, centres[: len(nodes)], spacing, (rows, across), width)


def _grid_width(layer: Layer, positions: int) -> int:
    """Return the length of a line of positions: a sequence wraps, images keep their shape, volumes stack slices."""
    shape = layer_shape(layer)
    axis = layer.channel_axis % len(shape)
    others = shape[:axis] + shape[axis + 1 :]
    if positions == 1 or not others:
        return 1
    return ceil(sqrt(positions)) if len(others) == 1 and positions > LONGEST else max(1, others[-1])
