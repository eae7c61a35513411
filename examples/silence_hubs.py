"""Silence the hubs of a perceptron one by one, and other neurons at random: does a network need its hubs?

    python -m examples.silence_hubs -o silenced_hubs.png

A hub is a neuron of great strength: the sum of the absolute weights of its edges. On data there is another kind, a
neuron of great strength in the functional graph, whose edges weigh what they carry. The hubs of the whole network are
all in one layer, the first, whose neurons have the most edges, and no network does without a layer. So hubs are told
within each layer too, and the layers lose their neurons in equal numbers, as they do where neurons are drawn at random.
Beside that, every neuron is silenced alone. About a minute on one core.

The network is a published MNIST perceptron with five hidden layers of 100, which :mod:`tests.checkpoints` knows how to
load; ``--network digits_mlp`` takes the small one that is shipped under ``data/``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from PIL import Image
from scipy.stats import rankdata, spearmanr

import dnn2graph as dg
from dnn2graph.activity import accuracy_without, functional_graph, silence, silencing_order
from dnn2graph.plot import save_figure
from dnn2graph.plot.style import DISTINCT, FAINT, INK, MUTED, WIDTH, gradient, style
from examples.train_digits import digits, digits_mlp
from tests import checkpoints

ROOT = Path(__file__).resolve().parent.parent
MNIST = "mnist_mlp_6x100"
HEIGHT = 3.9  # inches
LABELS = {
    "whole": "hubs of the network",
    "hubs": "hubs of each layer",
    "functional": "hubs of each layer, on data",
    "weakest": "weakest of each layer",
}

Data = list[tuple[torch.Tensor, torch.Tensor]]


def main() -> None:
    """Silence, draw and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "silenced_hubs.png", help="the picture")
    parser.add_argument("--network", choices=(MNIST, "digits_mlp"), default=MNIST, help=f"default: {MNIST}")
    parser.add_argument("--images", type=int, default=2000, help="test images to classify (default: 2000)")
    parser.add_argument("--seeds", type=int, default=10, help="random orders to compare with (default: 10)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    graph, data = load(options.network, options.images)

    curves = silenced(graph, data, options.seeds)
    alone = silenced_alone(graph, data)
    samples = sum(len(labels) for _, labels in data)
    save_figure(draw(graph, curves, alone, f"{options.network}, {samples:,} test images"), options.output)
    if options.output.suffix == ".png":  # a third of the bytes, and no difference to be seen
        Image.open(options.output).convert("RGB").quantize(256).save(options.output, optimize=True)
    report(graph, curves, alone)
    print(f"wrote {options.output}")


def load(network: str, images: int) -> tuple[dg.NeuralGraph, Data]:
    """Give a perceptron's graph and the first images of its test set. A perceptron has one position per channel."""
    if network == MNIST:
        model = checkpoints.load_checkpoint(network)
        x, labels = checkpoints.images(network, images)
    else:
        model = digits_mlp()
        model.load_state_dict(torch.load(ROOT / "data" / f"{network}.pt", weights_only=True))
        x, labels = (each[:images] for each in digits("test", (64,)))
    data = list(zip(x.split(1000), labels.split(1000), strict=True))
    return dg.from_torch(model, x[:1], granularity="position"), data


def silenced(graph: dg.NeuralGraph, data: Data, seeds: int) -> pd.DataFrame:
    """Silence the hidden neurons in several orders: accuracy by the number of silenced neurons, a column per order."""
    strength = dg.strength(graph, weight="abs")
    carried = dg.strength(functional_graph(graph, data, activation="mean_abs"), weight="abs")
    scores = {
        "whole": strength,
        "hubs": within_layers(graph, strength),
        "functional": within_layers(graph, carried),
        "weakest": within_layers(graph, -strength),
    }
    for seed in range(seeds):
        scores[f"random {seed}"] = within_layers(graph, np.random.default_rng(seed).random(len(graph)))
    tables = {name: silence(graph, data, silencing_order(graph, each)) for name, each in scores.items()}
    return pd.DataFrame({name: table.set_index("silenced")["accuracy"] for name, table in tables.items()})


def within_layers(graph: dg.NeuralGraph, values: np.ndarray) -> np.ndarray:
    """Rank nodes within their layers: minus the number of nodes of the layer with a larger value."""
    return np.concatenate([1 - rankdata(-values[layer.start : layer.stop], "ordinal") for layer in graph.layers])


def silenced_alone(graph: dg.NeuralGraph, data: Data) -> pd.DataFrame:
    """Silence each hidden neuron alone: its layer, its strength, and the accuracy that is lost."""
    nodes = silencing_order(graph)
    whole = accuracy_without(graph, data)
    return pd.DataFrame(
        {
            "layer": graph.layer_of()[nodes],
            "strength": dg.strength(graph, weight="abs")[nodes],
            "lost": [whole - accuracy_without(graph, data, [node]) for node in nodes],
        },
        index=pd.Index(nodes, name="node"),
    )


def draw(graph: dg.NeuralGraph, curves: pd.DataFrame, alone: pd.DataFrame, title: str) -> Figure:
    """Draw accuracy as neurons are silenced in turn, and what is lost where each is silenced alone."""
    with style():
        figure = Figure((WIDTH, HEIGHT), layout="constrained")
        figure.suptitle(f"Silenced neurons: {title}", x=0.01, ha="left", weight="bold")
        in_turn, by_itself = figure.subplots(1, 2, width_ratios=[1.25, 1])
        draw_curves(in_turn, curves)
        figure.legend(*in_turn.get_legend_handles_labels(), loc="outside lower left", ncols=1 + len(LABELS))
        draw_alone(by_itself, graph, alone)
    return figure


def draw_curves(axes: Axes, curves: pd.DataFrame) -> None:
    """Draw the orders of interest as lines, and random ones as a band with their mean."""
    random = curves.filter(like="random")
    axes.fill_between(curves.index, random.min(axis=1), random.max(axis=1), color=FAINT, linewidth=0)
    label = f"at random in each layer ({random.shape[1]} orders)"
    axes.plot(curves.index, random.mean(axis=1), color=MUTED, label=label)
    for colour, (name, label) in zip(DISTINCT, LABELS.items(), strict=False):
        axes.plot(curves.index, curves[name], color=colour, label=label)
    axes.set_title("in turn, until none is left (grey: mean and range)")
    axes.set_xlabel("silenced hidden neurons")
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlim(0, curves.index.max())
    axes.set_ylim(0, 1)


def draw_alone(axes: Axes, graph: dg.NeuralGraph, alone: pd.DataFrame) -> None:
    """Draw each neuron by its strength and what is lost without it, coloured by its layer."""
    places = sorted(alone["layer"].unique())
    axes.axhline(0, color=INK, linewidth=0.6, zorder=0)
    for place, colour in zip(places, gradient(len(places)), strict=True):
        mine = alone[alone["layer"] == place]
        label = f"layer {graph.layers[place].name!r}"
        axes.scatter(mine["strength"], 100 * mine["lost"], s=14, color=colour, alpha=0.8, linewidths=0, label=label)
    axes.set_title("each neuron alone")
    axes.set_xlabel("strength of the neuron, Σ|w|")
    axes.set_ylabel("accuracy lost, percentage points")
    axes.grid(axis="y")
    axes.legend(loc="upper center", handletextpad=0.2)


def report(graph: dg.NeuralGraph, curves: pd.DataFrame, alone: pd.DataFrame) -> None:
    """Print the figure in words."""
    random = curves.filter(like="random")
    print(f"{len(curves) - 1} hidden neurons; accuracy with all of them {curves['whole'].iloc[0]:.1%}")
    for share in (0.05, 0.1, 0.2, 0.5):
        row = curves.index[round(share * (len(curves) - 1))]
        values = ", ".join(f"{label} {curves.at[row, name]:.1%}" for name, label in LABELS.items())
        mean, least, most = random.loc[row].agg(["mean", "min", "max"])
        print(f"{row} silenced: {values}, at random {mean:.1%} ({least:.1%} to {most:.1%})")
    worst = alone["lost"].idxmax()
    layer = graph.layers[alone.at[worst, "layer"]]
    rank = 1 + int((alone["strength"] > alone.at[worst, "strength"]).sum())
    correlation = spearmanr(alone["strength"], alone["lost"]).statistic
    print(
        f"alone, most is lost without neuron {worst - layer.start} of layer {layer.name!r}: "
        f"{alone.at[worst, 'lost']:.1%} (by strength it is number {rank}); "
        f"Spearman correlation of strength and loss {correlation:.2f}"
    )


if __name__ == "__main__":
    main()
