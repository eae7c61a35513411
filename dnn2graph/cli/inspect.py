"""``dnn2graph inspect``: what a network's graph is made of, and what its forms would cost."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import click

from .options import Source, example, json_option, kinds_option, takes_model
from .terminal import print_json, print_table, working

if TYPE_CHECKING:
    from torch import nn

    from ..graph import NeuralGraph

NAMED_AT_MOST = 6


@click.command(
    epilog=example(
        "dnn2graph inspect data/digits_cnn.pt2",
        "dnn2graph inspect data/digits_cnn.pt2 --coverage",
        "dnn2graph inspect data/digits_cnn.pt --arch examples.train_digits:digits_cnn --input-shape 1,8,8",
    )
)
@takes_model
@kinds_option
@click.option(
    "--coverage",
    "of_model",
    is_flag=True,
    help="Show what of the model the graph represents instead: parameters, and operations with their rules. "
    "Exit code 1 if anything is not.",
)
@json_option
def inspect(source: Source, kinds: tuple[str, ...] | None, of_model: bool, as_json: bool) -> None:
    """Show the layers and links of a network's graph, its size, and what its forms would cost."""
    if of_model:
        _show_coverage(source, as_json)
        return
    loaded, graph = source.open()
    with working("counting edges"):
        found = describe(graph, loaded.model, kinds)
    if as_json:
        print_json({"file": source.path, **found})
        return
    layers = [
        (each["name"], each["kind"], "x".join(map(str, each["shape"])), each["activation"] or "", each["nodes"])
        for each in found["layers"]
    ]
    print_table(("layer", "kind", "shape", "activation", "nodes"), layers, "layers")
    links = [(", ".join(each["sources"]), each["target"], each["kind"], each["edges"]) for each in found["links"]]
    print_table(("from", "to", "kind", "edges"), links, "links")
    _print_summary(graph, found)


def _show_coverage(source: Source, as_json: bool) -> None:
    from ..coverage import coverage
    from .failures import printable

    with working("tracing"):
        loaded = source.load()
        found = coverage(loaded.model, loaded.args, example_kwargs=loaded.kwargs, **source.options)
    if as_json:
        print_json({"file": source.path, **found.as_dict()})
    else:
        for line in str(found).splitlines():
            click.echo(printable(line))
    if not found.ok:
        click.get_current_context().exit(1)


def describe(graph: NeuralGraph, model: nn.Module, kinds: Collection[str] | None) -> dict[str, Any]:
    """Collect what the command shows, in plain values."""
    links = [
        {
            "sources": [layer.name for layer in each.sources],
            "target": each.target.name if each.target else None,
            "kind": each.kind,
            "kernel": list(each.map.kernel_shape),
            "edges": each.nnz,
        }
        for each in graph.select(kinds)
    ]
    seen = set(graph.parameters())
    parameters = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return {
        "granularity": graph.granularity,
        "aggregate": graph.aggregate,
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "shape": list(layer.shape),
                "activation": layer.activation,
                "nodes": layer.size,
                "start": layer.start,
                "stop": layer.stop,
            }
            for layer in graph.layers
        ],
        "links": links,
        "nodes": graph.number_of_nodes(),
        "edges": sum(each["edges"] for each in links),
        "parameters": {
            "represented": sum(count for name, count in parameters.items() if name in seen),
            "total": sum(parameters.values()),
            "missing": [name for name in parameters if name not in seen],
        },
        "bytes": {
            form: size for form, size in graph.estimate(kinds).as_dict().items() if form not in ("nodes", "edges")
        },
    }


def _print_summary(graph: NeuralGraph, found: dict[str, Any]) -> None:
    from ..estimate import readable_bytes
    from .failures import printable

    parameters = found["parameters"]
    missing = parameters["missing"]
    names = ", ".join(missing[:NAMED_AT_MOST]) + (", …" if len(missing) > NAMED_AT_MOST else "")
    click.echo(f"{found['nodes']:,} nodes, {found['edges']:,} edges, granularity {graph.granularity}")
    click.echo(
        f"{parameters['represented']:,} of {parameters['total']:,} parameters represented"
        + (f"; not: {printable(names)}" if missing else "")
    )
    click.echo("would take " + ", ".join(f"{form} {readable_bytes(size)}" for form, size in found["bytes"].items()))
