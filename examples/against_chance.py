"""What of a trained network is more than chance: ResNet-20 against its null models.

    python -m examples.against_chance -o against_chance.png

Each null model keeps something of the network and draws the rest at random: what a measure of the network shares with
its nulls follows from what they keep. A number is how many standard deviations of the nulls the network is away from
their mean; fat ones are significant at 5 %, after Holm's correction for the rows of a column. The fluctuations come
from the weights alone and have more nulls than the other measures, for which every null is unrolled. About six minutes
on one core.

The network is a published checkpoint, which :mod:`tests.checkpoints` knows how to load; ``--network digits_cnn`` takes
the small one that is shipped under ``data/``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from PIL import Image

import dnn2graph as dg
from dnn2graph.plot import save_figure
from dnn2graph.plot.style import FAINT, INK, MUTED, WIDTH, style
from tests import checkpoints

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 50.0  # beyond, colours do not change
COLOURS = "RdBu_r"  # of scores: red above chance, blue below
NULLS = {  # what each keeps
    "weight-shuffle": "weights of\neach links",
    "in-weight-shuffle": "weights into\neach node",
    "sign-shuffle": "|w| of\neach edge",
    "gaussian": "mean, std of\neach links",
    "initialisation": "architecture",
}
MEASURES = {  # measure of a profile: its columns, and what a reader calls them
    "bifan_motifs": {"bifan_motifs_coherent_share": "coherent bi-fans"},
    "feed_forward_motifs": {"feed_forward_motifs_coherent": "coherent feed-forward loops"},
    "assortativity_strength": {"assortativity_strength_out_in": "assortativity by strength"},
    "rich_club_weighted": {"rich_club_weighted_20": "rich club, 20 %"},
    "spectral_radius_undirected": {"spectral_radius_undirected": "spectral radius of |A|"},
    "path_norm": {"path_norm_log10": "path norm, log"},
    "effective_weight": {"effective_weight_agreement": "agreement of path signs"},
}


def main() -> None:
    """Compare, draw and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "against_chance.png", help="the picture")
    parser.add_argument("--network", choices=("resnet20", "digits_cnn"), default="resnet20", help="default: resnet20")
    parser.add_argument("--nulls", type=int, default=999, help="graphs of each null model, for fluctuations")
    parser.add_argument("--unrolled", type=int, default=199, help="graphs of each null model, for all other measures")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    options = parser.parse_args()
    graph = load(options.network)
    scores = compared(graph, options.nulls, options.unrolled, options.jobs)
    save_figure(draw(scores, options.network), options.output)
    if options.output.suffix == ".png":  # a third of the bytes, and no difference to be seen
        Image.open(options.output).convert("RGB").quantize(256).save(options.output, optimize=True)
    for (measure, kind), row in scores.iterrows():
        if row["pvalue"] < 0.05:
            print(f"{measure}: {row['z']:+.1f} sd from nulls of {kind} (p = {row['pvalue']:.2g}, corrected)")
    print(f"wrote {options.output}")


def load(network: str) -> dg.NeuralGraph:
    """Give the graph of a network, a node per channel."""
    if network == "digits_cnn":
        return dg.load(ROOT / "data" / "digits_cnn.pt2")
    return dg.from_torch(checkpoints.load_checkpoint(network), checkpoints.images(network, 1)[0])


def compared(graph: dg.NeuralGraph, nulls: int, unrolled: int, jobs: int) -> pd.DataFrame:
    """Compare the fluctuation of each layer, and measures of the whole graph, with each null model.

    Returns
    -------
    DataFrame
        By measure and null model: ``z``, NaN where the null model keeps the measure, and ``pvalue``, corrected.
    """
    rows = []
    for kind in NULLS:
        by_layer = dg.significance(graph, "fluctuation", kind, n=nulls, jobs=jobs).table
        rows += [(f"fluctuation of {r.place}", kind, r.z, r.pvalue_corrected) for r in by_layer.itertuples()]
        whole = dg.significance(graph, numbers, kind, n=unrolled, jobs=jobs).table
        rows += [(r.measure, kind, r.z, r.pvalue_corrected) for r in whole.itertuples()]
    return pd.DataFrame(rows, columns=["measure", "kind", "z", "pvalue"]).set_index(["measure", "kind"])


def numbers(graph: dg.NeuralGraph) -> dict[str, float]:
    """Measure the whole graph."""
    found = dg.profile(graph, list(MEASURES)).graph
    return {label: float(found[column]) for columns in MEASURES.values() for column, label in columns.items()}


def draw(scores: pd.DataFrame, network: str) -> Figure:
    """Draw a table of z-scores: fat where significant, an equals sign where the null model keeps the measure."""
    z = scores["z"].unstack("kind", sort=False)
    significant = scores["pvalue"].unstack("kind", sort=False) < 0.05
    with style():
        figure = Figure((WIDTH * 0.75, 0.9 + 0.2 * len(z)), layout="constrained")
        axes = figure.subplots()
        norm = SymLogNorm(2, vmin=-LIMIT, vmax=LIMIT)
        axes.imshow(z.to_numpy(float), cmap=COLOURS, norm=norm, aspect="auto")
        for row, measure in enumerate(z.index):
            for column, kind in enumerate(z.columns):
                value = z.loc[measure, kind]
                text = "=" if np.isnan(value) else f"{value:+.1f}" if abs(value) < 100 else f"{value:+.0f}"
                sure = bool(significant.loc[measure, kind])
                colour = "white" if abs(value) > 8 else INK if sure else MUTED
                axes.text(column, row, text, ha="center", va="center", color=colour, weight="bold" if sure else None)
        axes.set_xticks(range(len(z.columns)), [NULLS[kind] for kind in z.columns])
        axes.set_yticks(range(len(z.index)), z.index)
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        axes.grid(False)
        for spine in axes.spines.values():
            spine.set_color(FAINT)
        axes.set_title(f"{network}: standard deviations from nulls that keep …", loc="left")
    return figure


if __name__ == "__main__":
    main()
