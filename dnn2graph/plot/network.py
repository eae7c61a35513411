"""A network as its graph, layer by layer: the drawing that other figures are built around, and a figure of it alone."""

from __future__ import annotations

from collections.abc import Collection
from math import radians, sin
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..graph import NeuralGraph
from ..links import EdgeBlock, Links
from ..measures import strength
from .columns import FILLED, Column, columns, layer_grid
from .strongest import strongest_edges, strongest_nodes
from .style import INK, MUTED, NEGATIVE, POSITIVE, gradient, plain, shortened, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

HEIGHT, MARGIN, NARROWEST, BROADEST = 5.4, 0.35, 7.0, 60.0  # of the figure, in inches
PITCH = (0.52, 1.5)  # between columns, at least and at most, in inches
USUAL_WIDTH = 10.0  # up to which columns keep more than the least distance
HEADING, SIZES, CAPTION, LINE = 0.45, 0.2, 0.2, 0.16  # inches
LETTER, ANGLE = 0.068, 38  # of a layer's name: inches of a letter, degrees
LETTERS = 17.5  # of the caption in an inch
MAX_NODES, MAX_MAPS = 64, 10  # channels in a column
RADII = (0.9, 4.6)  # of nodes, in points
BOTTOM, SIDE = -0.56, 0.6  # of the axes: columns reach from -0.5 to 0.5, and stand at 0, 1, 2, …
ROOMY = 1.25  # inches between columns, from which on shapes of maps are written below them
STRAIGHT, CURVED = 2, 33  # points of a line
FIXED = 0.25  # width and opacity, from 0 to 1, of edges that all weigh the same

Size = tuple[float, float]


class Drawn(NamedTuple):
    """What a drawing shows of how much."""

    edges: int
    all_edges: int
    nodes: int
    all_nodes: int
    columns: list[Column]
    skips: bool  # whether there are edges that pass over layers

    def caption(self) -> tuple[str, str]:
        """Say what is drawn, of how much, and what sizes mean."""
        nodes, edges = f"{self.all_nodes:,} nodes", f"{self.all_edges:,} edges"
        if self.nodes < self.all_nodes:
            nodes = f"{self.nodes:,} of {nodes} (the strongest channels)"
        if self.edges < self.all_edges:
            edges = f"{self.edges:,} of {edges} (of all links the strongest)"
        how = "Edges are the wider and darker the larger |w|, nodes the larger their absolute strength, within a layer."
        return f"Drawn: {nodes}, {edges}.", how


def network(
    graph: NeuralGraph,
    title: str | None = None,
    *,
    max_edges: int = 2000,
    max_nodes: int | None = None,
    kinds: Collection[str] | None = None,
) -> Figure:
    """Draw the graph: layers from left to right, channels from top to bottom.

    Edges are blue where a weight is positive and red where it is negative, the wider and the more opaque the larger the
    weight is among the weights of its links. Edges that pass over a layer are curved. Nodes are coloured by depth, and
    their area is their absolute strength relative to the strongest of their layer. In position granularity each channel
    is an image, the darker the stronger a position is. Of each links the strongest edges are drawn, and of a wide layer
    the strongest channels; numbers below the layer and the caption say how many of how many.

    Parameters
    ----------
    graph : NeuralGraph
        Of any size: it is never unrolled as a whole.
    title : str, optional
    max_edges : int
        How many edges are drawn, of all layers together.
    max_nodes : int, optional
        How many channels of a layer are drawn. Default 64, or 10 where channels have positions.
    kinds : collection of str, optional
        Kinds of links that are drawn and count for strengths; default all.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    InputError
        If matplotlib is not installed, or a number is negative.
    WeightsError
        If weights are NaN or infinite.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.plot.network import network
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(4, 3)), torch.zeros(1, 4))
    >>> network(graph, "a layer").texts[-1].get_text()
    'Drawn: 7 nodes, 12 edges...'
    """
    with style():
        from matplotlib.figure import Figure

        layers = max(1, len(graph.layers))
        pitch = min(max(USUAL_WIDTH / layers, PITCH[0]), PITCH[1])
        width = min(max(NARROWEST, 2 * MARGIN + pitch * layers), BROADEST)
        figure = Figure((width, HEIGHT))
        draw_panel(figure, (width, HEIGHT), graph, title, max_edges=max_edges, max_nodes=max_nodes, kinds=kinds)
        return figure


def draw_panel(
    part: FigureBase,
    size: Size,
    graph: NeuralGraph,
    title: str | None = None,
    *,
    max_edges: int = 2000,
    max_nodes: int | None = None,
    kinds: Collection[str] | None = None,
    explained: bool = True,
) -> Drawn:
    """Draw a graph into a figure, or a part of one, of a size in inches: title, drawing, names of layers, caption.

    ``explained`` adds what lines and sizes mean, which needs to be said once in a figure.
    """
    width, height = size
    inner = width - 2 * MARGIN
    names = [layer_label(graph, place, 20) for place in range(len(graph.layers))]
    longest = LETTER * max(map(len, names), default=0)
    angled = longest > 0.95 * inner / max(1, len(names))
    below = SIZES + (longest * sin(radians(ANGLE)) + 0.1 if angled else LINE)
    left, right, top = MARGIN / width, 1 - MARGIN / width, 1 - 0.14 / height
    axes = part.add_axes((left, 0, 1 - 2 * left, 1))
    tall = height - HEADING - below - CAPTION - 2 * LINE
    drawn = draw_network(axes, graph, (inner, tall), max_edges=max_edges, max_nodes=max_nodes, kinds=kinds)
    caption = drawn.caption() if explained else drawn.caption()[:1]
    lines = [line for sentence in caption for line in wrap(sentence, int(inner * LETTERS))]
    foot = below + CAPTION + LINE * len(lines)
    axes.set_position((left, foot / height, 1 - 2 * left, 1 - (foot + HEADING) / height))
    _name_layers(axes, names, drawn.columns, angled, inner > ROOMY * len(names))
    if title is not None:
        part.text(left, top, plain(title), weight="bold", fontsize=11, va="top")
    if explained:
        draw_legend(part, drawn.skips, (right, top))
    part.text(left, 0.1 / height, "\n".join(lines), color=MUTED, fontsize=8, linespacing=1.35)
    return drawn


def draw_network(
    axes: Axes,
    graph: NeuralGraph,
    size: Size,
    *,
    max_edges: int = 2000,
    max_nodes: int | None = None,
    kinds: Collection[str] | None = None,
) -> Drawn:
    """Draw a graph into axes of a size in inches; layer ``i`` stands at ``x = i``."""
    for name, value in (("max_edges", max_edges), ("max_nodes", max_nodes)):
        if value is not None and value < 0:
            raise InputError(f"{name}={value} must not be negative")
    values = strength(graph, weight="abs", kinds=kinds)  # finite, or it raises
    grids = [layer_grid(layer) for layer in graph.layers]
    most = [max_nodes if max_nodes is not None else MAX_NODES if grid.shape[1] == 1 else MAX_MAPS for grid in grids]
    chosen = strongest_nodes(graph, values, most)
    pitch = size[0] / (len(grids) - 1 + 2 * SIDE) if grids else size[0]
    arranged = columns(graph, chosen, size[1] / pitch)
    top = _top(graph, arranged, kinds)
    arranged = columns(graph, chosen, size[1] / pitch / (top - BOTTOM))
    x, y = np.zeros(len(values)), np.zeros(len(values))
    for place, column in enumerate(arranged):
        across, y[column.nodes] = column.places()
        x[column.nodes] = place + across
    shown, skips = 0, False
    for links, edges in strongest_edges(graph, max_edges, kinds, None if chosen.all() else chosen):
        if not len(edges.weights):
            continue
        lift = _lift(links, graph, arranged)
        lines = _lines(x, y, edges, lift)
        skips, shown = skips or lift is not None, shown + len(lines)
        _draw_edges(axes, links, edges, lines)
    for place, (column, colour) in enumerate(zip(arranged, gradient(len(arranged)), strict=True)):
        draw = _draw_maps if column.is_map else _draw_nodes
        draw(axes, place, column, values, colour, size[1] / (top - BOTTOM))
        if column.elided:
            bottom = column.centres.min(initial=0) - column.spacing / 2
            axes.annotate(
                "⋮", (place, bottom), (0, 3), textcoords="offset points", ha="center", va="top", color=MUTED, fontsize=7
            )
    axes.set_xlim(-SIDE, len(arranged) - 1 + SIDE)
    axes.set_ylim(BOTTOM, top)
    axes.axis("off")
    return Drawn(shown, graph.number_of_edges(kinds), int(chosen.sum()), len(values), arranged, skips)


def draw_legend(part: FigureBase, skips: bool, corner: tuple[float, float]) -> None:
    """Explain the lines, in one row whose upper right corner is given."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=POSITIVE, label="positive weight"),
        Line2D([], [], color=NEGATIVE, label="negative"),
    ]
    if skips:
        handles.append(
            Line2D([], [], color=MUTED, marker=r"$\frown$", markersize=14, ls="", label="passes over layers")
        )
    part.legend(handles=handles, loc="upper right", bbox_to_anchor=corner, ncols=3, borderaxespad=0, borderpad=0)


def layer_label(graph: NeuralGraph, place: int, length: int) -> str:
    """Name a layer in a figure."""
    return plain(shortened(graph.layers[place].name, length))


# ---------------------------------------------------------------------- edges


def _lift(links: Links, graph: NeuralGraph, arranged: list[Column]) -> float | None:
    """Say how high the control points of edges must be that pass over layers; None for those between neighbours."""
    depth = {layer.name: place for place, layer in enumerate(graph.layers)}
    if links.target is None or not links.sources:
        return None
    ends = [depth[links.target.name], *(depth[layer.name] for layer in links.sources)]
    if 0 < max(ends) - min(ends) <= 1 and ends[0] == max(ends):
        return None
    passed = arranged[min(ends) : max(ends) + 1]
    tallest = max(column.centres.max(initial=0) + column.spacing / 2 for column in passed)
    lowest = min(column.centres.min(initial=0) for column in passed)
    return float((tallest + 0.04 - lowest / 4) / 0.75)  # a cubic curve is at its middle 3/4 of the way to its controls


def _top(graph: NeuralGraph, arranged: list[Column], kinds: Collection[str] | None) -> float:
    """Find the upper end of the drawing: of the columns, or of the curves above them."""
    lifts = [lift for links in graph.select(kinds) if (lift := _lift(links, graph, arranged)) is not None]
    return max([0.5, *(0.75 * lift + 0.25 * 0.5 for lift in lifts)]) + 0.03


def _lines(x: np.ndarray, y: np.ndarray, edges: EdgeBlock, lift: float | None) -> np.ndarray:
    """Draw lines from node to node, (edges, points, 2): straight, or bundled in curves above the layers they pass."""
    start = np.stack([x[edges.sources], y[edges.sources]], -1)[:, None]  # (edges, 1, 2)
    end = np.stack([x[edges.targets], y[edges.targets]], -1)[:, None]
    along = np.linspace(0, 1, STRAIGHT if lift is None else CURVED)[:, None]  # (points, 1)
    if lift is None:
        return start + (end - start) * along
    first, second = start + 0.3 * (end - start), start + 0.7 * (end - start)
    first[..., 1] = second[..., 1] = lift
    bernstein = [(1 - along) ** 3, 3 * along * (1 - along) ** 2, 3 * along**2 * (1 - along), along**3]
    return sum((part * point for part, point in zip(bernstein, (start, first, second, end), strict=True)), 0 * start)


def _draw_edges(axes: Axes, links: Links, edges: EdgeBlock, lines: np.ndarray) -> None:
    from matplotlib.collections import LineCollection

    size = np.abs(edges.weights.astype(np.float64))
    low, high = size.min(initial=np.inf), size.max(initial=0)
    share = (size - low) / (high - low) if high > low else np.full(len(size), FIXED)
    colours = np.where(edges.weights > 0, POSITIVE, NEGATIVE)
    opacity = 0.12 + 0.75 * share**1.5
    axes.add_collection(
        LineCollection(list(lines), colors=colours, linewidths=0.25 + 1.1 * share, alpha=opacity, zorder=1)
    )


# ---------------------------------------------------------------------- nodes


def _draw_nodes(axes: Axes, place: int, column: Column, values: np.ndarray, colour: np.ndarray, height: float) -> None:
    """Draw a column of nodes, none larger than the distance between them."""
    largest = min(RADII[1], max(RADII[0], 0.45 * column.spacing * height * 72))
    share = _share(values[column.nodes[:, 0]])
    radius = np.sqrt(RADII[0] ** 2 + share * (largest**2 - RADII[0] ** 2))
    across = np.full(len(share), float(place))
    axes.scatter(
        across,
        column.centres,
        (2 * radius) ** 2,
        color=colour,
        edgecolors="white",
        linewidths=0.4,
        zorder=3,
        clip_on=False,
    )


def _draw_maps(axes: Axes, place: int, column: Column, values: np.ndarray, colour: np.ndarray, height: float) -> None:
    """Draw a column of images, whose positions are the more opaque the stronger they are."""
    share = _share(values[column.nodes])
    tall = FILLED * column.spacing / 2
    for centre, mine in zip(column.centres, share, strict=True):
        image = np.ones((column.grid[0] * column.grid[1], 4))
        image[: len(mine), :3] = 1 - (0.1 + 0.9 * mine[:, None]) * (1 - colour)
        image[len(mine) :, 3] = 0
        box = (place - column.width / 2, place + column.width / 2, centre - tall, centre + tall)
        axes.imshow(image.reshape(*column.grid, 4), extent=box, aspect="auto", interpolation="nearest", zorder=2)


def _share(values: np.ndarray) -> np.ndarray:
    """Relate values to the largest of their layer."""
    return np.asarray(values / (values.max(initial=0) or 1.0))


def _name_layers(axes: Axes, names: list[str], arranged: list[Column], angled: bool, roomy: bool) -> None:
    """Write the sizes and the names of layers below them."""
    for place, (name, column) in enumerate(zip(names, arranged, strict=True)):
        channels = len(column.nodes)
        size = f"{channels:,} of {channels + column.elided:,}" if column.elided else f"{channels:,}"
        if column.is_map and roomy:
            size += " × " + "×".join(map(str, column.grid))
        where: Any = {"xy": (place, 0), "xycoords": axes.get_xaxis_transform(), "textcoords": "offset points"}
        axes.annotate(size, xytext=(0, -3), ha="center", va="top", color=MUTED, fontsize=7, **where)
        turn: Any = {"xytext": (0, -14), "ha": "center", "va": "top"}
        if angled:
            turn = {"xytext": (3, -14), "rotation": ANGLE, "rotation_mode": "anchor", "ha": "right", "va": "center"}
        axes.annotate(name, fontsize=8, color=INK, **where, **turn)
