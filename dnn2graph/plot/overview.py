"""One figure that shows a network: its graph, the strengths of its nodes, the fluctuation of its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..export.layout import layer_colours, layered_positions, node_sizes
from ..graph import NeuralGraph
from ..measures import fluctuation, strength
from .style import NEGATIVE, POSITIVE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EDGES_PER_LINKS = 400  # of each links the strongest; more than a figure can show is ink


def overview(graph: NeuralGraph, title: str | None = None) -> Figure:
    """Draw the graph layer by layer, with the distribution of strengths and the fluctuation below each layer.

    Of each links only the strongest edges are drawn; the caption says how many of how many.

    Parameters
    ----------
    graph : NeuralGraph
        Small enough to look at: best in channel granularity.
    title : str, optional

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    InputError
        If matplotlib is not installed.
    WeightsError
        If weights are NaN or infinite.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("drawing needs matplotlib: pip install 'dnn2graph[plot]'") from None
    names = [layer.name for layer in graph.layers]
    figure = Figure(figsize=(max(8.0, 0.62 * len(names)), 8.4), layout="constrained")
    network, strengths, fluctuations = figure.subplots(3, 1, height_ratios=[3.2, 1.6, 1.1])
    shown, total = _draw_network(network, graph)
    _draw_strengths(strengths, graph)
    _draw_fluctuation(fluctuations, graph, names)
    what = f"{graph.number_of_nodes():,} nodes, {total:,} edges"
    note = "" if shown == total else f" (the {shown:,} strongest are drawn)"
    figure.suptitle(f"{title}: {what}{note}" if title else what + note, fontsize=11)
    return figure


def _draw_network(axes: Axes, graph: NeuralGraph) -> tuple[int, int]:
    """Draw nodes by layer and edges by sign; return how many edges are drawn and how many there are."""
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    x, y = layered_positions(graph)
    depth = {layer.name: place for place, layer in enumerate(graph.layers)}
    shown = total = 0
    for links in graph.links:
        edges = links.coo()
        total += len(edges.weights)
        strongest = np.argsort(-np.abs(edges.weights), kind="stable")[:EDGES_PER_LINKS][::-1]
        shown += len(strongest)
        sources, targets, weights = (part[strongest] for part in edges)
        share = np.abs(weights) / (np.abs(weights).max(initial=0) or 1.0)
        skips = links.target is not None and any(depth[links.target.name] - depth[s.name] > 1 for s in links.sources)
        lines = list(_curves(x, y, sources, targets, bend=0.35 if skips else 0.0))
        colours = np.where(weights > 0, POSITIVE, NEGATIVE)
        axes.add_collection(LineCollection(lines, colors=colours, linewidths=0.2 + share, alpha=0.08 + 0.5 * share))
    colours = np.repeat(layer_colours(graph) / 255, [layer.size for layer in graph.layers], axis=0)
    axes.scatter(x, y, s=2.2 * node_sizes(graph), c=colours, edgecolors="white", linewidths=0.3, zorder=3)
    axes.autoscale()
    axes.axis("off")
    signs = {"positive weight": POSITIVE, "negative": NEGATIVE}
    handles = [Line2D([], [], color=colour, label=label) for label, colour in signs.items()]
    axes.legend(handles=handles, loc="lower right", frameon=False, fontsize=8, ncols=2, bbox_to_anchor=(1, -0.08))
    return shown, total


def _curves(x: np.ndarray, y: np.ndarray, sources: np.ndarray, targets: np.ndarray, bend: float) -> np.ndarray:
    """Lines from node to node, (edges, points, 2); those that pass over a layer bend upwards, clear of its nodes."""
    along = np.linspace(0, 1, 25 if bend else 2)
    across = x[sources, None] + (x[targets] - x[sources])[:, None] * along
    rise = bend * np.abs(x[targets] - x[sources])[:, None] * 4 * along * (1 - along)
    return np.stack([across, y[sources, None] + (y[targets] - y[sources])[:, None] * along + rise], -1)


def _draw_strengths(axes: Axes, graph: NeuralGraph) -> None:
    """Draw each layer's strengths as points, with mean and one standard deviation."""
    values = strength(graph)
    random = np.random.default_rng(0)  # spreads the points sideways
    for place, (layer, colour) in enumerate(zip(graph.layers, layer_colours(graph) / 255, strict=True)):
        mine = values[layer.start : layer.stop]
        drawn = mine if len(mine) <= 2000 else random.choice(mine, 2000, replace=False)
        spread = random.uniform(-0.28, 0.28, len(drawn))
        axes.scatter(place + spread, drawn, s=5, color=colour, alpha=0.6, linewidths=0)
        axes.errorbar(place, mine.mean(), mine.std(), color="black", capsize=3, marker="_", markersize=9, linewidth=1)
    axes.axhline(0, color="0.7", linewidth=0.6, zorder=0)
    axes.set_ylabel("node strength")
    axes.set_xlim(-0.6, len(graph.layers) - 0.4)
    axes.set_xticks(range(len(graph.layers)), [])
    axes.spines[["top", "right"]].set_visible(False)


def _draw_fluctuation(axes: Axes, graph: NeuralGraph, names: list[str]) -> None:
    """Draw each layer's fluctuation as a bar."""
    axes.bar(range(len(names)), fluctuation(graph), color=layer_colours(graph) / 255, width=0.6)
    axes.set_ylabel("fluctuation")
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


