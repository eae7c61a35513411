"""``dnn2graph measure``: strengths, fluctuations and link weights, without unrolling the graph."""

from __future__ import annotations

import click

from .options import Source, example, json_option, kinds_option, takes_model
from .terminal import print_json, print_table, working

SHOWN = (
    "layer",
    "kind",
    "nodes",
    "in_edges",
    "fluctuation",
    "strength_mean",
    "strength_skewness",
    "strength_kurtosis",
    "strength_min",
    "strength_max",
)


@click.command(
    epilog=example(
        "dnn2graph measure data/digits_cnn.pt2",
        "dnn2graph measure data/digits_mlp.pt --kinds weight --nodes nodes.csv --links links.csv",
    )
)
@takes_model
@kinds_option
@click.option(
    "--convention",
    type=click.Choice(("formula", "reference")),
    default="formula",
    show_default=True,
    help="The paper's formulas, or the numbers of its published code.",
)
@click.option("--nodes", "nodes_path", type=click.Path(), help="Write a table of nodes here (.csv or .parquet).")
@click.option("--layers", "layers_path", type=click.Path(), help="Write the table of layers here.")
@click.option("--links", "links_path", type=click.Path(), help="Write a table of link weights here.")
@json_option
def measure(
    source: Source,
    kinds: tuple[str, ...] | None,
    convention: str,
    nodes_path: str | None,
    layers_path: str | None,
    links_path: str | None,
    as_json: bool,
) -> None:
    """Measure node strength, layer fluctuation and link weights, straight from the weights."""
    from ..export.tables import check_table_path, write_table
    from ..measures import layer_table, link_weights, node_table

    for path in (nodes_path, layers_path, links_path):
        if path:
            check_table_path(path)
    _, graph = source.open()
    with working("measuring"):
        layers = layer_table(graph, kinds, convention=convention)
        links = link_weights(graph, kinds) if links_path or as_json else None
        if nodes_path:
            write_table(node_table(graph, kinds, convention=convention), nodes_path, index=True)
        if layers_path:
            write_table(layers, layers_path)
        if links_path and links is not None:
            write_table(links, links_path)
    if as_json and links is not None:
        print_json({"layers": layers.to_dict("records"), "links": links.to_dict("records")})
    else:
        print_table([title.replace("_", " ") for title in SHOWN], layers[list(SHOWN)].to_numpy(object).tolist())
