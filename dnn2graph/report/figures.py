"""The figures of a report: strengths, weights, the backbone, communities; each as the text of an SVG file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph import NeuralGraph
from ..measures import strength
from ..plot.network import BROADEST, layer_label, network
from ..plot.style import DISTINCT, FAINT, INK, MUTED, gradient, plain, shortened, style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..sparsify import SparseGraph

HEIGHT, NARROWEST, LAYER, ROOM = 3.0, 6.4, 0.42, 0.9  # inches: of a figure, at least, of a layer, beside the layers
MOST_POINTS, SPREAD = 6000, 0.3  # in a figure; half the width that points of a layer are spread over
PIXELS = 96  # of an inch on a web page


@dataclass(frozen=True)
class Picture:
    """A figure for a page."""

    svg: bytes
    width: int  # on the page, in pixels
    alt: str  # what it shows, for who cannot see it


def strengths(graph: NeuralGraph, kinds: Collection[str] | None = None) -> Picture:
    """Draw each layer's strengths as points, with mean and one standard deviation, which is the fluctuation."""
    values = strength(graph, kinds=kinds)
    random = np.random.default_rng(0)  # spreads the points sideways
    most = max(20, MOST_POINTS // max(1, len(graph.layers)))

    def draw(axes: Axes) -> None:
        for place, (layer, colour) in enumerate(zip(graph.layers, gradient(len(graph.layers)), strict=True)):
            mine = values[layer.start : layer.stop]
            if not len(mine):
                continue
            drawn = mine if len(mine) <= most else random.choice(mine, most, replace=False)
            across = place + random.uniform(-SPREAD, SPREAD, len(drawn))
            axes.scatter(across, drawn, s=5, color=colour, alpha=0.5, linewidths=0)
            axes.errorbar(place, mine.mean(), mine.std(), color=INK, capsize=3, marker="_", markersize=9, linewidth=1)
        axes.set_ylabel("node strength")

    names = [layer_label(graph, place, 20) for place in range(len(graph.layers))]
    alt = "Strength of the nodes of each layer as points, with mean and deviation; the numbers are in the tables"
    return _by_place(draw, names, alt)


def weights(histograms: pd.DataFrame) -> Picture:
    """Draw how the weights of each links are distributed, from a table of histograms, where they are not all equal."""
    groups = [group for _, group in histograms.groupby("links", sort=True) if len(group) > 1]

    def draw(axes: Axes) -> None:
        for place, (group, colour) in enumerate(zip(groups, gradient(len(groups)), strict=True)):
            density = group["edges"] / np.maximum(group["high"] - group["low"], 1e-300)
            half = 0.42 * (density / (density.max() or 1)).to_numpy()
            heights = np.repeat(np.append(group["low"].to_numpy(), group["high"].to_numpy()[-1:]), 2)[1:-1]
            across = np.repeat(half, 2)
            axes.fill_betweenx(heights, place - across, place + across, color=colour, alpha=0.85, linewidth=0.3)
        axes.set_ylabel("weight")

    names = [plain(shortened(str(group["target"].iloc[0]), 20)) for group in groups]
    alt = "Distribution of the weights that lead to each layer; the numbers are in the tables"
    return _by_place(draw, names, alt)


def backbone(sparse: SparseGraph) -> Picture:
    """Draw a sparsified graph, layers from left to right."""
    return _picture(
        network(sparse, max_edges=sparse.number_of_edges()),
        "The graph's backbone, layer by layer: positive edges blue, negative ones red",
    )


def communities(graph: NeuralGraph, community: np.ndarray, shown: int) -> Picture:
    """Draw which share of each layer's nodes is in which of the largest communities."""
    counts = np.zeros((shown + 1, len(graph.layers)))
    np.add.at(counts, (np.minimum(community, shown), graph.layer_of()), 1)
    shares = counts / np.maximum(1, counts.sum(axis=0))

    def draw(axes: Axes) -> None:
        below = np.zeros(len(graph.layers))
        for number, share in enumerate(shares):
            last = number == shown
            if share.any():
                axes.bar(
                    range(len(share)),
                    share,
                    0.8,
                    below,
                    color=FAINT if last else DISTINCT[number],
                    label="others" if last else str(number),
                    edgecolor="white",
                    linewidth=0.5,
                )
            below += share
        axes.set_ylabel("share of nodes")
        axes.set_ylim(0, 1)
        axes.legend(title="community", loc="upper left", bbox_to_anchor=(1, 1))

    names = [layer_label(graph, place, 20) for place in range(len(graph.layers))]
    alt = "Share of each layer's nodes in the largest communities; the numbers are in the tables"
    return _by_place(draw, names, alt)


def _by_place(draw: Callable[[Axes], None], names: Sequence[str], alt: str) -> Picture:
    """Draw something for each layer or links, side by side above their names."""
    with style():
        from matplotlib.figure import Figure

        width = min(BROADEST, max(NARROWEST, LAYER * len(names) + ROOM))
        figure = Figure((width, HEIGHT), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.axhline(0, color=FAINT, linewidth=0.6, zorder=0)
        axes.set_xlim(-0.6, max(1, len(names)) - 0.4)
        turned: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if len(names) > 4 else {}
        axes.set_xticks(range(len(names)), names, **turned)
        axes.tick_params(axis="x", length=0, labelcolor=INK, color=MUTED)
        return _picture(figure, alt)


def _picture(figure: Figure, alt: str) -> Picture:
    """Write a figure as SVG, with letters as outlines: the same wherever it is looked at."""
    with style():
        import matplotlib

        written = BytesIO()
        with matplotlib.rc_context({"svg.fonttype": "path"}):
            figure.savefig(written, format="svg", metadata={"Date": None})
    return Picture(written.getvalue(), round(figure.get_figwidth() * PIXELS), alt)
