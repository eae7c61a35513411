"""``dnn2graph export``: a graph file for Gephi and the libraries of network science."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .checkpoints import Checkpoints, in_steps, load_alike, steps_option
from .options import Source, example, json_option, kinds_option, takes_models
from .plot import read_recorded
from .terminal import print_json, progress_bar

if TYPE_CHECKING:
    from ..export.snapshots import Snapshot
    from ..graph import NeuralGraph
    from ..load import LoadedModel

# Written out, since the library's own lists come with torch, and help should not wait for it.
METHODS = ("mass", "disparity", "topk", "quantile", "threshold")
SUFFIXES = (".graphml", ".gexf", ".csv", ".dot", ".gv", ".net", ".mtx", ".parquet", ".npz")
MAX_EDGES = 200_000


@click.command(
    epilog=example(
        "dnn2graph export data/digits_cnn.pt2 -o digits_cnn.graphml.gz",
        "dnn2graph export data/digits_cnn.pt2 -o digits_cnn.gexf --max-edges 100 --drop-isolated",
        "dnn2graph export data/digits_cnn.pt2 -o digits_cnn.parquet --granularity position",
    )
)
@takes_models
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
@click.option("--drop-isolated", is_flag=True, help="Leave out nodes without an edge, in formats for viewers.")
@steps_option
@click.option("--run", "folder", metavar="RUN", type=click.Path(), help="GEXF: folder of a recorded training run.")
@click.option("--run-name", "name", help="Which of several runs in that folder.")
@click.option("--flat", is_flag=True, help="A column for each recorded step, for readers that ignore time.")
@kinds_option
@json_option
def export(
    sources: Sequence[Source],
    output: str,
    weight: str | None,
    precision: str | None,
    max_edges: int | None,
    method: str | None,
    everything: bool,
    drop_isolated: bool,
    steps: tuple[int, ...] | None,
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
    are those of MODEL, normally the run's last snapshot. With several MODELs, checkpoints of one training such as
    epoch_*.pt, the weights of the edges change too: the graph is that of the last step, and of too many edges those
    that are the strongest there are written, with their weights at every step. A file appears at its path only when it
    is complete.
    """
    from ..errors import InputError
    from ..estimate import readable_bytes
    from ..export.formats import format_of, write
    from ..export.zeros import zero_weights

    path, chosen, over_time = Path(output), format_of(output), len(sources) > 1
    isolated = "drop" if drop_isolated else "keep"
    chosen.check_isolated(isolated)
    if everything and (max_edges or method):
        raise InputError(f"--all writes all edges: leave {'--max-edges' if max_edges else '--method'} out")
    _check_time(path, over_time, folder, name, flat, steps)
    checkpoints = in_steps(sources, steps)
    run = None if folder is None else read_recorded(folder, name or None)
    loaded, whole = checkpoints.last.open()
    options: dict[str, Any] = {} if weight is None else {"weight": weight}
    if run is not None or over_time:
        options |= {"run": run, "flat": flat}
    if over_time:
        options["snapshots"] = _snapshots(checkpoints, loaded)
        if checkpoints.note:
            click.echo(f"dnn2graph: {checkpoints.note}", err=True)
    limit = None if everything else max_edges or chosen.most_edges or (MAX_EDGES if method else None)
    graph = _within(whole, limit, method, kinds, chosen.name)
    with progress_bar(f"writing {path.name}") as progress:
        write(graph, path, kinds=kinds, precision=precision, isolated=isolated, progress=progress, **options)
    nodes, edges = _counted(graph, kinds, drop_isolated, options.get("snapshots"))
    if nodes < len(graph):
        click.echo(f"left out {len(graph) - nodes:,} of {len(graph):,} nodes, which have no edge", err=True)
    moments = {*(checkpoints.steps if over_time else ()), *([] if run is None else run["step"].unique().tolist())}
    zeros = zero_weights(whole, kinds)
    more = {"steps": len(moments), "isolated": len(graph) - nodes, "zero_weights": zeros}
    found = {"path": str(path), "nodes": nodes, "edges": edges, "bytes": _size(path)}
    if as_json:
        print_json(found | {what: count for what, count in more.items() if count})
    else:
        during = f" at {len(moments):,} steps" if moments else ""
        no_edges = f"; {zeros:,} weights are exactly zero, which are no edges" if zeros else ""
        click.echo(f"wrote {path}: {nodes:,} nodes{during}, {edges:,} edges, {readable_bytes(_size(path))}{no_edges}")


def _check_time(
    path: Path, over_time: bool, folder: str | None, name: str | None, flat: bool, steps: tuple[int, ...] | None
) -> None:
    """Raise InputError if options about a training do not fit together, or the format."""
    from ..errors import InputError
    from ..export.formats import format_of

    if folder is None and (name or (flat and not over_time)):
        raise InputError(f"{'--run-name' if name else '--flat'} is about a recorded run: name its folder with --run")
    if steps and not over_time:
        raise InputError("--steps is about several models: name the checkpoints of one training")
    if (folder is not None or over_time) and format_of(path).name != "GEXF":
        raise InputError(
            f"cannot write {'several models' if over_time else 'a run'} to '{path}': {format_of(path).name} knows no "
            "time, give a name that ends in .gexf"
        )


def _snapshots(checkpoints: Checkpoints, last: LoadedModel) -> dict[int, Snapshot]:
    """Say how the weights of each step are read, of the network that the last one is of."""

    def reading(source: Source) -> Snapshot:
        if source is checkpoints.last:
            return last.model
        return lambda: load_alike(source, last, checkpoints.last).model

    return {step: reading(source) for step, source in zip(checkpoints.steps, checkpoints.sources, strict=True)}


def _counted(
    graph: NeuralGraph, kinds: tuple[str, ...] | None, drop_isolated: bool, snapshots: Mapping[int, Snapshot] | None
) -> tuple[int, int]:
    """Count the nodes and edges that were written."""
    from ..export.nodes import isolated_nodes
    from ..export.snapshots import Snapshots

    if snapshots is None:
        nodes = len(graph) - int(isolated_nodes(graph, kinds).sum() if drop_isolated else 0)
        return nodes, graph.number_of_edges(kinds)
    over_time = Snapshots(graph, snapshots)
    nodes = len(graph) - int(over_time.survey(kinds).isolated.sum() if drop_isolated else 0)
    return nodes, over_time.number_of_edges(kinds)


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
