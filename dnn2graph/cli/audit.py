"""``dnn2graph audit``: what viewers will do with a graph file."""

from __future__ import annotations

from pathlib import Path

import click

from .failures import debug_option
from .options import example, json_option
from .terminal import print_json, print_table, progress_bar

LOST = 1


@click.command(
    epilog=example(
        "dnn2graph export data/digits_cnn.pt2 -o digits_cnn.graphml && dnn2graph audit digits_cnn.graphml",
    )
)
@click.argument("file", type=click.Path())
@json_option
@debug_option
@click.pass_context
def audit(context: click.Context, file: str, as_json: bool) -> None:
    """Predict what Gephi, Gephi Lite, igraph and networkx will do with a GraphML or GEXF file, ours or not.

    Exit code 1 if one of them would lose something, or refuse the file for it.
    """
    from ..audit import audit as audit_file
    from ..estimate import readable_bytes

    with progress_bar(f"reading {Path(file).name}") as progress:
        found = audit_file(file, progress=progress)
    if as_json:
        print_json(found.as_dict())
    else:
        rows = [
            (each.severity, each.viewer, each.count, each.message, _place(each.line, each.example)) for each in found
        ]
        size = readable_bytes(found.bytes)
        click.echo(f"{file}: {found.format}, {found.nodes:,} nodes, {found.edges:,} edges, {size}")
        if rows:
            print_table(("", "viewer", "count", "what happens, and what to do", "first"), rows)
        memory = ", ".join(f"{viewer} {readable_bytes(size)}" for viewer, size in found.memory.items())
        click.echo(f"memory to open it, about: {memory}")
        lost = len(found.of("loss"))
        click.echo(f"{lost} finding(s) of loss" if lost else "nothing is lost")
    if not found.ok:
        context.exit(LOST)


def _place(line: int | None, example: str) -> str:
    """Say where the first example is."""
    place = f"line {line:,}" if line else ""
    return ": ".join(part for part in (place, example[:40]) if part)
