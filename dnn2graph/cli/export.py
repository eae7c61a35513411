"""``dnn2graph export``: a graph file for Gephi and the libraries of network science."""

from __future__ import annotations

from pathlib import Path

import click

from .options import Source, example, json_option, kinds_option, takes_model
from .plot import read_recorded
from .terminal import print_json, progress_bar

GRAPHML, GEXF = (".graphml", ".graphml.gz"), (".gexf", ".gexf.gz")


@click.command(
    epilog=example(
        "dnn2graph export data/digits_cnn.pt2 -o digits_cnn.graphml.gz",
        "dnn2graph export data/digits_cnn.pt2 -o digits_cnn.gexf",
    )
)
@takes_model
@click.option("-o", "--output", required=True, type=click.Path(), help=f"The file: {', '.join(GRAPHML + GEXF)}.")
@click.option(
    "--weight",
    type=click.Choice(("abs", "signed")),
    default="abs",
    show_default=True,
    help="abs for viewing, with the sign beside it; signed for analysis.",
)
@click.option("--run", "folder", metavar="RUN", type=click.Path(), help="GEXF: folder of a recorded training run.")
@click.option("--run-name", "name", help="Which of several runs in that folder.")
@click.option("--flat", is_flag=True, help="A column for each recorded step, for readers that ignore time.")
@kinds_option
@json_option
def export(
    source: Source,
    output: str,
    weight: str,
    folder: str | None,
    name: str | None,
    flat: bool,
    kinds: tuple[str, ...] | None,
    as_json: bool,
) -> None:
    """Write a network's graph as GraphML, which Gephi, igraph, networkx and Cytoscape read, or as GEXF.

    With --run, the GEXF file shows in Gephi how the measures of each node changed while the network learned; the edges
    are those of MODEL, normally the run's last snapshot. The file appears at its path only when it is complete.
    """
    from ..errors import ExportError, InputError
    from ..estimate import readable_bytes
    from ..export.gexf import write_gexf
    from ..export.graphml import write_graphml

    path = Path(output)
    if not path.name.lower().endswith(GRAPHML + GEXF):
        raise ExportError(f"cannot write '{path}': give a name that ends in {', '.join(GRAPHML + GEXF)}")
    timeless = path.name.lower().endswith(GRAPHML)
    if folder is None and (flat or name):
        raise InputError(f"{'--flat' if flat else '--run-name'} is about a recorded run: name its folder with --run")
    if folder is not None and timeless:
        raise InputError(f"cannot write a run to '{path}': GraphML knows no time, give a name that ends in {GEXF[0]}")
    run = None if folder is None else read_recorded(folder, name or None)
    _, graph = source.open()
    with progress_bar(f"writing {path.name}") as progress:
        if timeless:
            write_graphml(graph, path, weight, kinds=kinds, progress=progress)
        else:
            write_gexf(graph, path, run, weight=weight, kinds=kinds, flat=flat, progress=progress)
    nodes, edges, size = graph.number_of_nodes(), graph.number_of_edges(kinds), path.stat().st_size
    steps = 0 if run is None else run["step"].nunique()
    if as_json:
        found = {"path": str(path), "nodes": nodes, "edges": edges, "bytes": size}
        print_json(found | ({"steps": steps} if steps else {}))
    else:
        during = f" at {steps:,} steps" if steps else ""
        click.echo(f"wrote {path}: {nodes:,} nodes{during}, {edges:,} edges, {readable_bytes(size)}")
