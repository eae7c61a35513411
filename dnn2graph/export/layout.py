"""Where nodes stand in a drawing, and how they look: layers from left to right."""

from __future__ import annotations

from collections.abc import Collection
from math import ceil, prod, sqrt

import numpy as np

from ..graph import Layer, NeuralGraph
from ..measures.attributes import layer_shape
from ..measures.strength import strength

STEP = 24.0  # between neighbouring nodes: more than the diameter of the largest, so that none overlap
SIZES = (3.0, 10.0)  # radius of a node without links, and of the strongest
TALLEST = 32  # nodes in one column, unless the layer is so large that its block would become too wide
LONGEST = 16  # positions of a sequence in one line

# A gradient, not a cycling palette: colour then says depth, in layers of any number, to the colour-blind too.
# These are viridis at nine equal steps; it has no red or blue that could be mistaken for the sign of an edge.
GRADIENT = np.array(
    [
        (68, 1, 84),
        (71, 45, 123),
        (59, 82, 139),
        (44, 114, 142),
        (33, 145, 140),
        (40, 174, 128),
        (94, 201, 98),
        (173, 220, 48),
        (253, 231, 37),
    ]
)


def layered_positions(graph: NeuralGraph) -> tuple[np.ndarray, np.ndarray]:
    """Place the nodes: each layer is one block, blocks stand side by side, centred, and never overlap.

    Returns
    -------
    x, y : float64 arrays (nodes,)
        ``y`` points up, as in Gephi: the first node of a layer is the upper left.
    """
    x, y = np.zeros(graph.number_of_nodes()), np.zeros(graph.number_of_nodes())
    blocks = [_block(layer) for layer in graph.layers]
    gap = max(8.0, 0.25 * max((down.max(initial=0) for _, down in blocks), default=0.0))  # steep edges are unreadable
    left = 0.0
    for layer, (across, down) in zip(graph.layers, blocks, strict=True):
        nodes = slice(layer.start, layer.stop)
        x[nodes] = STEP * (left + across)
        y[nodes] = STEP * (down.max(initial=0) / 2 - down)
        left += across.max(initial=0) + gap
    return x, y


def layer_colours(graph: NeuralGraph) -> np.ndarray:
    """Colour the layers by depth: int array (layers, 3) of red, green, blue from 0 to 255."""
    depth = np.linspace(0, len(GRADIENT) - 1, len(graph.layers))
    steps = np.arange(len(GRADIENT))
    return np.stack([np.interp(depth, steps, GRADIENT[:, i]) for i in range(3)], 1).round().astype(np.int64)


def node_sizes(graph: NeuralGraph, kinds: Collection[str] | None = None) -> np.ndarray:
    """Scale the nodes: the area that their absolute strength adds is proportional to it; float64 (nodes,)."""
    values = np.nan_to_num(strength(graph, weight="abs", kinds=kinds))  # sums of huge finite weights may overflow
    share = values / (values.max(initial=0) or 1.0)
    smallest, largest = SIZES
    return np.sqrt(smallest**2 + share * (largest**2 - smallest**2)).round(3)


def _block(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Place the nodes of one layer, in steps to the right of and below its corner.

    Each channel is a little grid of its positions (a single cell, if it has none). Grids stand one below the other
    and wrap into further columns.
    """
    shape = layer_shape(layer)
    axis = layer.channel_axis % len(shape)
    channels, positions = shape[axis], prod(shape[:axis] + shape[axis + 1 :])
    nodes = np.moveaxis(np.arange(layer.size).reshape(shape), axis, 0).reshape(channels, positions)
    width = _grid_width(shape[:axis] + shape[axis + 1 :] or (1,))
    gap = 1 if positions > 1 else 0
    rows = max(1, min(channels, max(TALLEST if positions == 1 else 1, ceil(2 * sqrt(channels)))))
    channel, position = np.arange(channels)[:, None], np.arange(positions)
    across, down = np.empty(layer.size), np.empty(layer.size)
    across[nodes] = channel // rows * (width + gap) + position % width
    down[nodes] = channel % rows * (-(-positions // width) + gap) + position // width
    return across, down


def _grid_width(positions: tuple[int, ...]) -> int:
    """Return the length of a line of positions: a sequence wraps, images keep their shape, volumes stack slices."""
    if len(positions) == 1 and positions[0] > LONGEST:
        return ceil(sqrt(positions[0]))
    return max(1, positions[-1])
