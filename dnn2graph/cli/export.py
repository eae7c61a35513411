"""``dnn2graph export``: a graph file for Gephi and the libraries of network science."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import Source, example, json_option, kinds_option, takes_model
from .plot import read_recorded
from .terminal import print_json, progress_bar

if TYPE_CHECKING:
    from ..graph import NeuralGraph

# Written out, since the library's own lists come with torch, and help should not wait for it.
METHODS = ("mass", "disparity", "topk", "quantile", "threshold")
SUFFIXES = (".graphml", ".gexf", ".csv", ".dot", ".gv", ".net", ".mtx", ".parquet", ".npz")
MAX_EDGES = 200_000


@click.command(
    epilog=example(
        "dnn2graph export data/digits_cnn.pt2 -o digits_cnn.graphml.gz",
        "dnn2graph export data/digits_cnn.pt2 -o digits_cnn.gexf",
        "dnn2graph export data/digits_cnn.pt2 -o digits_cnn.parquet --granularity position",
    )
)
@takes_model
@click.option("-o", "--output", required=True, type=click.Path(), help=f"The file: {', '.join(SUFFIXES)}.")
@click.option(
    "--weight",
    type=click.Choice(("abs", "signed")),
    help="abs for viewing, with the sign beside it; signed for analysis.  [abs for .graphml .gexf .csv .dot]",
)
@click.option("--precision", type=click.Choice(("float32", "float64")), help="Of weights.  [their own]")
@click.option(
    "--max-edges",
    type=click.IntRange(min=1),
    help=f"Keep the strongest edges only, so many.  [{MAX_EDGES} for .graphml .gexf .csv, 2000 for .dot, else all]",
)
@click.option("--method", type=click.Choice(METHODS), help="How the strongest edges are chosen.  [mass]")
@click.option("--all", "everything", is_flag=True, help="Write all edges, however many.")
@click.option("--run", "folder", metavar="RUN", type=click.Path(), help="GEXF: folder of a recorded training run.")
@click.option("--run-name", "name", help="Which of several runs in that folder.")
@click.option("--flat", is_flag=True, help="A column for each recorded step, for readers that ignore time.")
@kinds_option
@json_option
def export(
    source: Source,
    output: str,
    weight: str | None,
    precision: str | None,
    max_edges: int | None,
    method: str | None,
    everything: bool,
    folder: str | None,
    name: str | None,
    flat: bool,
    kinds: tuple[str, ...] | None,
    as_json: bool,
) -> None:
    """Write a network's graph in the format that the name of the file says.

    .graphml, .gexf, .dot and .csv (a pair of tables) are for programs to look at graphs, such as Gephi and Cytoscape:
    of a graph of more than 200 000 edges they get the strongest, and what was kept is said on stderr. .net (Pajek),
    .mtx (Matrix Market), .parquet (a folder of tables) and .npz are for analysis. Text is compressed if .gz follows.

    With --run, a GEXF file shows in Gephi how the measures of each node changed while the network learned; the edges
    are those of MODEL, normally the run's last snapshot. A file appears at its path only when it is complete.
    """
    from ..errors import InputError
    from ..estimate import readable_bytes
    from ..export.formats import format_of, write
    from ..export.zeros import zero_weights

    path, chosen = Path(output), format_of(output)
    if folder is None and (flat or name):
        raise InputError(f"{'--flat' if flat else '--run-name'} is about a recorded run: name its folder with --run")
    if folder is not None and chosen.name != "GEXF":
        raise InputError(f"cannot write a run to '{path}': {chosen.name} knows no time, give a name that ends in .gexf")
    if everything and (max_edges or method):
        raise InputError(f"--all writes all edges: leave {'--max-edges' if max_edges else '--method'} out")
    run = None if folder is None else read_recorded(folder, name or None)
    _, whole = source.open()
    options: dict[str, Any] = {} if run is None else {"run": run, "flat": flat}
    if weight is not None:
        options["weight"] = weight
    limit = None if everything else max_edges or chosen.most_edges or (MAX_EDGES if method else None)
    graph = _within(whole, limit, method, kinds, chosen.name)
    with progress_bar(f"writing {path.name}") as progress:
        write(graph, path, kinds=kinds, precision=precision, progress=progress, **options)
    found = {"path": str(path), "nodes": len(graph), "edges": graph.number_of_edges(kinds), "bytes": _size(path)}
    steps = 0 if run is None else run["step"].nunique()
    zeros = zero_weights(whole, kinds)
    if as_json:
        print_json(found | ({"steps": steps} if steps else {}) | ({"zero_weights": zeros} if zeros else {}))
    else:
        during = f" at {steps:,} steps" if steps else ""
        left_out = f"; {zeros:,} weights are exactly zero, which are no edges" if zeros else ""
        nodes, edges, size = found["nodes"], found["edges"], readable_bytes(_size(path))
        click.echo(f"wrote {path}: {nodes:,} nodes{during}, {edges:,} edges, {size}{left_out}")


def _within(
    graph: NeuralGraph, limit: int | None, method: str | None, kinds: tuple[str, ...] | None, format_name: str
) -> NeuralGraph:
    """Keep the strongest edges of a graph that has more than the limit, and say so on stderr."""
    if limit is None or graph.number_of_edges(kinds) <= limit:
        return graph
    from ..sparsify import sparsify

    with progress_bar("choosing the strongest edges") as progress:
        sparse = sparsify(graph, limit, method or METHODS[0], kinds=kinds, progress=progress)
    click.echo(
        f"{graph.number_of_edges(kinds):,} edges are many for {format_name}: the strongest are written (--max-edges N "
        f"for another number, --all for all)\n{sparse.receipt}",
        err=True,
    )
    return sparse


def _size(path: Path) -> int:
    """Count the bytes of what was written."""
    from ..export.edge_tables import SUFFIXES, table_paths

    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    if path.name.lower().endswith(SUFFIXES):
        return sum(file.stat().st_size for file in table_paths(path))
    return path.stat().st_size
