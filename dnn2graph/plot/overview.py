"""One figure that shows a network: its graph, the strengths of its nodes, the fluctuation of its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..graph import NeuralGraph
from ..measures import fluctuation, strength
from .network import BROADEST, draw_legend, draw_network, layer_label
from .style import FAINT, INK, gradient, plain, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EDGES_PER_LINKS = 400  # drawn at most, on average
HEIGHTS, HEADING = (4.4, 2.0, 1.4), 0.5  # inches


def overview(graph: NeuralGraph, title: str | None = None) -> Figure:
    """Draw the graph layer by layer, with the distribution of strengths and the fluctuation below each layer.

    The graph is drawn as :func:`dnn2graph.plot.network` draws it; the title says how much of it is left out.

    Parameters
    ----------
    graph : NeuralGraph
        Best in channel granularity.
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
    with style():
        from matplotlib.figure import Figure

        names = [layer_label(graph, place, 20) for place in range(len(graph.layers))]
        width = min(max(8.0, 0.62 * len(names)), BROADEST)
        figure = Figure((width, sum(HEIGHTS) + HEADING), layout="constrained")
        panels, strengths, fluctuations = figure.subplots(3, 1, height_ratios=HEIGHTS)
        drawn = draw_network(panels, graph, (width - 1, HEIGHTS[0]), max_edges=EDGES_PER_LINKS * len(graph.links))
        _draw_strengths(strengths, graph)
        _draw_fluctuation(fluctuations, graph, names)
        what = f"{drawn.all_nodes:,} nodes, {drawn.all_edges:,} edges"
        less = [
            *([f"{drawn.nodes:,} nodes"] if drawn.nodes < drawn.all_nodes else []),
            *([f"{drawn.edges:,} edges"] if drawn.edges < drawn.all_edges else []),
        ]
        note = f" (drawn are the strongest: {', '.join(less)})" if less else ""
        figure.suptitle(f"{plain(title)}: {what}{note}" if title else what + note)
        draw_legend(panels, drawn.skips, (1, 0))
        return figure


def _draw_strengths(axes: Axes, graph: NeuralGraph) -> None:
    """Draw each layer's strengths as points, with mean and one standard deviation."""
    values = strength(graph)
    random = np.random.default_rng(0)  # spreads the points sideways
    for place, (layer, colour) in enumerate(zip(graph.layers, gradient(len(graph.layers)), strict=True)):
        mine = values[layer.start : layer.stop]
        drawn = mine if len(mine) <= 2000 else random.choice(mine, 2000, replace=False)
        spread = random.uniform(-0.28, 0.28, len(drawn))
        axes.scatter(place + spread, drawn, s=5, color=colour, alpha=0.6, linewidths=0)
        axes.errorbar(place, mine.mean(), mine.std(), color=INK, capsize=3, marker="_", markersize=9, linewidth=1)
    axes.axhline(0, color=FAINT, linewidth=0.6, zorder=0)
    axes.set_ylabel("node strength")
    axes.set_xlim(-0.6, len(graph.layers) - 0.4)
    axes.set_xticks(range(len(graph.layers)), [])


def _draw_fluctuation(axes: Axes, graph: NeuralGraph, names: list[str]) -> None:
    """Draw each layer's fluctuation as a bar."""
    axes.bar(range(len(names)), fluctuation(graph), color=gradient(len(graph.layers)), width=0.6)
    axes.set_ylabel("fluctuation")
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
