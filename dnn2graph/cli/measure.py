"""``dnn2graph measure``: strengths, fluctuations and link weights, without unrolling the graph, or without a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .failures import printable
from .options import Source, example, json_option, kinds_option, takes_model
from .terminal import print_json, print_table, progress_bar, working

if TYPE_CHECKING:
    from ..graph import NeuralGraph
    from ..streaming import MeasuredFile

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
SHOWN_OF_TENSORS = (
    *("tensor", "dtype", "shape", "count", "mean", "std", "skewness", "kurtosis", "min", "max"),
    *("row_fluctuation", "column_fluctuation"),
)
# Options that are about a graph, by the names of their parameters, and those that are about tensors.
OF_GRAPH = (
    *("arch", "input_shape", "granularity", "aggregate", "shared", "no_simplify", "no_fold_norm"),
    *("kinds", "convention", "nodes", "layers", "links"),
)
OF_TENSORS = ("tensors", "output", "strengths")
NAMED_AT_MOST = 6


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
@click.option("--nodes", type=click.Path(), help="Write a table of nodes here (.csv or .parquet).")
@click.option("--layers", type=click.Path(), help="Write the table of layers here.")
@click.option("--links", type=click.Path(), help="Write a table of link weights here.")
@click.option("--tensors", is_flag=True, help="Measure the tensors of a file one by one, without a graph.")
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    help="Write the table of tensors here (.csv, .parquet or .json).  [implies --tensors]",
)
@click.option(
    "--strengths",
    type=click.Path(),
    help="Write the sums of each tensor's rows and columns here.  [implies --tensors]",
)
@json_option
@click.pass_context
def measure(
    context: click.Context,
    source: Source,
    kinds: tuple[str, ...] | None,
    convention: str,
    nodes: str | None,
    layers: str | None,
    links: str | None,
    tensors: bool,
    output: str | None,
    strengths: str | None,
    as_json: bool,
) -> None:
    """Measure node strength, layer fluctuation and link weights, straight from the weights.

    Safetensors files, sharded ones too (name the folder or the index), can be larger than memory and need no model:
    with --tensors, and where no graph can be made of them, each tensor is measured by itself as it lies in the file:
    its link weights, and the sums of its rows and columns. In a linear layer or a convolution those are in- and
    out-strengths.
    """
    from ..errors import InputError
    from ..export.tables import check_table_path

    of_graph, of_tensors = (_given(context, names) for names in (OF_GRAPH, OF_TENSORS))
    if of_graph and of_tensors:
        raise InputError(f"{of_graph[0]} is of use with a graph only, {of_tensors[0]} without one: leave one out")
    for path in (nodes, layers, links):
        if path:
            check_table_path(path)
    opened = None if of_tensors else _opened(source, may_fail=not of_graph)
    if opened is None:
        _measure_tensors(source.path, output, strengths, as_json)
    else:
        _measure_graph(opened, kinds, convention, nodes, layers, links, as_json)


def _given(context: click.Context, names: tuple[str, ...]) -> list[str]:
    """List the options that were written on the command line."""
    written = click.core.ParameterSource.COMMANDLINE
    return [
        max(option.opts, key=len)
        for option in context.command.params
        if option.name in names and context.get_parameter_source(option.name) is written
    ]


def _opened(source: Source, may_fail: bool) -> NeuralGraph | None:
    """Make the graph; None if the file holds only tensors, of which none can be made, which is said."""
    from ..errors import Dnn2graphError
    from ..streaming.chain import why_no_graph
    from ..streaming.tensors import holds_tensors

    may_fail = may_fail and holds_tensors(source.path)
    reason = why_no_graph(source.path) if may_fail else None
    if reason is None:
        try:
            return source.open()[1]
        except Dnn2graphError as error:
            if not may_fail:
                raise
            reason = str(error)
    click.echo(f"no graph: {printable(' '.join(reason.split()))}; measuring tensor by tensor", err=True)
    return None


def _measure_graph(
    graph: NeuralGraph,
    kinds: tuple[str, ...] | None,
    convention: str,
    nodes_path: str | None,
    layers_path: str | None,
    links_path: str | None,
    as_json: bool,
) -> None:
    from ..export.tables import write_table
    from ..measures import layer_table, link_weights, node_table

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


def _measure_tensors(path: str, output: str | None, strengths: str | None, as_json: bool) -> None:
    from ..streaming import measure_file
    from ..streaming.write import check_path, write

    for each in (output, strengths):
        if each:
            check_path(each)
    with progress_bar(f"bytes of {printable(path)}") as progress:
        found = measure_file(path, progress=progress)
    table = found.table()
    with working("writing"):
        if output:
            write(table, output)
        if strengths:
            write(found.strengths(), strengths)
    if as_json:
        print_json({"tensors": table.to_dict("records"), "skipped": _skipped(found)})
        return
    titles = [title.replace("_", " ") for title in SHOWN_OF_TENSORS]
    print_table(titles, table[list(SHOWN_OF_TENSORS)].to_numpy(object).tolist())
    for line in _remarks(found):
        click.echo(printable(line), err=True)


def _skipped(found: MeasuredFile) -> list[dict[str, Any]]:
    return [{"tensor": each.name, "dtype": each.dtype, "shape": list(each.shape)} for each in found.skipped]


def _remarks(found: MeasuredFile) -> list[str]:
    """Say what is wrong with weights, and what is not in the table."""
    lines = []
    for tensor in found:
        if tensor.faults:
            faults = tensor.faults
            lines.append(
                f"{tensor.name} has {faults.nan:,} NaN and {faults.infinite:,} infinite weights, the first at index "
                f"{faults.first}: its link weights are not defined"
            )
    if found.skipped:
        named = ", ".join(f"{each.name} ({each.dtype})" for each in found.skipped[:NAMED_AT_MOST])
        more = ", …" if len(found.skipped) > NAMED_AT_MOST else ""
        lines.append(f"{len(found.skipped):,} tensor(s) skipped, no weights by their type: {named}{more}")
    return lines
