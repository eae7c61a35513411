"""``dnn2graph export``: a graph file for Gephi and the libraries of network science."""

from __future__ import annotations

from pathlib import Path

import click

from .options import Source, example, json_option, kinds_option, takes_model
from .terminal import print_json, progress_bar

SUFFIXES = (".graphml", ".graphml.gz")


@click.command(epilog=example("dnn2graph export data/digits_cnn.pt2 -o digits_cnn.graphml.gz"))
@takes_model
@click.option("-o", "--output", required=True, type=click.Path(), help=f"The file: {' or '.join(SUFFIXES)}.")
@click.option(
    "--weight",
    type=click.Choice(("abs", "signed")),
    default="abs",
    show_default=True,
    help="abs for viewing, with the sign beside it; signed for analysis.",
)
@kinds_option
@json_option
def export(source: Source, output: str, weight: str, kinds: tuple[str, ...] | None, as_json: bool) -> None:
    """Write a network's graph as GraphML, which Gephi, igraph, networkx and Cytoscape read.

    The file appears at its path only when it is complete.
    """
    from ..errors import ExportError
    from ..estimate import readable_bytes
    from ..export.graphml import write_graphml

    path = Path(output)
    if not path.name.lower().endswith(SUFFIXES):
        raise ExportError(f"cannot write '{path}': this version writes GraphML, give a name that ends in {SUFFIXES[0]}")
    _, graph = source.open()
    with progress_bar(f"writing {path.name}") as progress:
        write_graphml(graph, path, weight, kinds=kinds, progress=progress)
    nodes, edges, size = graph.number_of_nodes(), graph.number_of_edges(kinds), path.stat().st_size
    if as_json:
        print_json({"path": str(path), "nodes": nodes, "edges": edges, "bytes": size})
    else:
        click.echo(f"wrote {path}: {nodes:,} nodes, {edges:,} edges, {readable_bytes(size)}")
