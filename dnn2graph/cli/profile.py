"""``dnn2graph profile``: the standard measures of complex-network theory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .failures import printable
from .options import Separated, Source, example, json_option, kinds_option, takes_model
from .terminal import print_json, print_table, progress_bar

if TYPE_CHECKING:
    from ..graph import NeuralGraph
    from ..profile import Profile

# Written out, since the library's own list comes with torch, and help should not wait for it.
FORMATS = ("csv", "parquet")

# What is shown, where it was measured: node measures averaged over each layer, and rankings of nodes.
OF_LAYERS = ("degree_in", "degree_out", "strength", "strength_abs", "disparity_in", "betweenness", "k_core")
RANKINGS = ("strength_abs", "pagerank", "betweenness", "closeness_out", "katz", "s_core")
BEST = 5


def _list_measures(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    """Print what can be measured, and end."""
    if not wanted:
        return
    from ..profile import MEASURES

    rows = [
        (each.name, each.group, each.level, each.weight, "yes" if each.default else "no", each.definition)
        for each in MEASURES.values()
    ]
    print_table(("measure", "group", "of each", "weights", "default", "definition"), rows)
    context.exit()


@click.command(
    epilog=example(
        "dnn2graph profile data/digits_cnn.pt2",
        "dnn2graph profile data/digits_mlp.pt --measures degrees,betweenness -o profile",
        "dnn2graph profile --list",
    )
)
@takes_model
@kinds_option
@click.option(
    "--measures",
    type=Separated("strength,cores", str),
    help="Measures, or groups of them: see --list.  [the default ones]",
)
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_list_measures, help="List all measures."
)
@click.option(
    "--sample", type=click.IntRange(min=1), help="Nodes that shortest paths start from.  [all, where that is quick]"
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option("--max-edges", type=click.IntRange(min=1), help="Keep the strongest edges only, so many.  [all]")
@click.option("-o", "--output", type=click.Path(), help="A folder for all tables, or a file for that of nodes.")
@click.option("--format", type=click.Choice(FORMATS), default="csv", show_default=True, help="Of the folder's tables.")
@json_option
def profile(
    source: Source,
    kinds: tuple[str, ...] | None,
    measures: tuple[str, ...] | None,
    sample: int | None,
    seed: int,
    max_edges: int | None,
    output: str | None,
    format: str,
    as_json: bool,
) -> None:
    """Measure a network as a complex network: hubs, centralities, cores, clustering, mixing and more.

    Each measure is given the weights that it is defined on: 1, w, |w| or the distance 1/|w|. A name that ends in .csv,
    .csv.gz or .parquet gets the table of nodes; any other becomes a folder of all tables.
    """
    from ..export.tables import SUFFIXES, write_table
    from ..profile import profile as measure_graph
    from ..profile.measure import chosen

    chosen(measures)  # an unknown name is told before the model is read
    _, graph = source.open()
    if max_edges is not None:
        graph = _backbone(graph, max_edges, kinds)
    with progress_bar("measuring") as progress:
        found = measure_graph(graph, measures, kinds=kinds, sample=sample, seed=seed, progress=progress)
    if output and Path(output).name.lower().endswith(SUFFIXES):
        write_table(found.nodes, output, index=True)
    elif output:
        found.write(output, format)
    if as_json:
        print_json(found.to_dict())
        return
    _print_numbers(found)
    _print_layers(found)
    _print_hubs(found)
    for row in found.measures.itertuples():
        if row.note:
            click.echo(printable(f"{row.measure}: {row.note}"))
    if output:
        click.echo(f"wrote {output}: {len(found.measures)} measures of {len(found.nodes):,} nodes")


def _backbone(graph: NeuralGraph, edges: int, kinds: tuple[str, ...] | None) -> NeuralGraph:
    """Keep the strongest edges, and say on stderr what was lost."""
    from ..sparsify import sparsify

    with progress_bar("choosing the strongest edges") as progress:
        sparse = sparsify(graph, edges, kinds=kinds, progress=progress)
    click.echo(str(sparse.receipt), err=True)
    return sparse


def _print_numbers(found: Profile) -> None:
    if len(found.graph):
        print_table(("measure", "value"), list(found.graph.items()), "the whole graph")


def _print_layers(found: Profile) -> None:
    """Show the columns of layers, and means over the nodes of each."""
    shown = [name for name in OF_LAYERS if name in found.nodes]
    columns = [*found.layers, *(name for name in shown if name not in found.layers)]
    means = found.nodes.groupby("layer_index")[shown].mean().reindex(range(len(found.layers)))
    table = found.layers.join(means[[name for name in shown if name not in found.layers]])
    titles = [name.replace("_", " ") for name in columns]
    print_table(titles, table[columns].to_numpy(object).tolist(), "layers, with means over their nodes")


def _print_hubs(found: Profile) -> None:
    """Show the first nodes of each ranking."""
    rankings = [name for name in RANKINGS if name in found.nodes and found.nodes[name].notna().any()]
    best: list[list[str]] = []
    for name in rankings:
        first = found.nodes.nlargest(BEST, name)
        best.append([f"{label} ({value:.4g})" for label, value in zip(first["label"], first[name], strict=True)])
    if best:
        rows: list[Any] = [(place + 1, *row) for place, row in enumerate(zip(*best, strict=True))]
        print_table(["hubs by", *(name.replace("_", " ") for name in rankings)], rows, "the most central nodes")
