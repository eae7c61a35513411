"""Several networks in one picture, each as its graph: ``python -m examples.contact_sheet -o networks.png``.

Two networks are shipped under ``data/``. The others are published checkpoints, which :mod:`tests.checkpoints` knows
how to build; those whose weights are not at hand are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image

import dnn2graph as dg
from dnn2graph.plot import save_figure
from dnn2graph.plot.network import draw_legend, draw_panel
from dnn2graph.plot.style import style
from tests import checkpoints

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEADING = 10.0, 0.4  # of the sheet and of its legend, in inches
HEIGHT, WIDE_HEIGHT = 3.4, 4.2  # of a row of several networks, and of one
PANELS = (  # rows of (network, granularity, title, edges drawn)
    (
        ("digits_cnn", "channel", "Digits: convolutions, a node per channel", 600),
        ("digits_cnn", "position", "The same, a node per pixel", 1000),
    ),
    (
        ("mnist_mlp_6x100", "channel", "MNIST: a perceptron of 6 layers", 1500),
        ("mnist_cnn", "position", "MNIST: convolutions, a node per pixel", 1200),
    ),
    (("resnet20", "channel", "CIFAR-10: ResNet-20, a node per channel", 2000),),
)

Panel = tuple[dg.NeuralGraph, str, int]


def main() -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "networks.png", help="the picture")
    output = parser.parse_args().output
    rows = [row for names in PANELS if (row := list(panels(names)))]
    save_figure(contact_sheet(rows), output)
    if output.suffix == ".png":  # a third of the bytes, and no difference to be seen
        Image.open(output).convert("RGB").quantize(256).save(output, optimize=True)
    print(f"wrote {output}: {sum(map(len, rows))} networks")


def contact_sheet(rows: list[list[Panel]]) -> Figure:
    """Draw graphs in rows."""
    with style():
        heights = [HEIGHT if len(row) > 1 else WIDE_HEIGHT for row in rows]
        figure = Figure((WIDTH, HEADING + sum(heights)))
        top, *parts = figure.subfigures(1 + len(rows), 1, height_ratios=[HEADING, *heights])
        draw_legend(top, True, (0.97, 0.6))
        for part, height, row in zip(parts, heights, rows, strict=True):
            widths = [4 + len(graph.layers) for graph, _, _ in row]  # more layers need more width
            ends = [WIDTH * sum(widths[:i]) / sum(widths) for i in range(len(row) + 1)]
            places = part.subfigures(1, len(row), width_ratios=widths, squeeze=False)[0]
            for place, (begin, end), (graph, title, edges) in zip(places, pairwise(ends), row, strict=True):
                draw_panel(place, (end - begin, height), graph, title, max_edges=edges, explained=False)
    return figure


def panels(names: tuple[tuple[str, str, str, int], ...]) -> Iterator[Panel]:
    """Load the graphs of one row that are at hand."""
    for name, granularity, title, edges in names:
        shipped = ROOT / "data" / f"{name}.pt2"
        if shipped.exists():
            yield dg.load(shipped, granularity=granularity), title, edges
        elif checkpoints.checkpoint_path(name).exists():
            example = torch.zeros(checkpoints.CHECKPOINTS[name].input_shape)
            model = checkpoints.load_checkpoint(name)
            yield dg.from_torch(model, example, granularity=granularity), title, edges


if __name__ == "__main__":
    main()
