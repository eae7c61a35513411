"""``dnn2graph view``: a network as one page for the browser."""

from __future__ import annotations

from pathlib import Path

import click

from .failures import printable
from .options import Source, example, json_option, kinds_option, takes_model
from .terminal import print_json, progress_bar

# Written out, since the library's own numbers come with numpy, and help should not wait for it.
MAX_EDGES, MAX_NODES = 200_000, 20_000


@click.command(epilog=example("dnn2graph view data/digits_cnn.pt2 -o digits.html"))
@takes_model
@click.option("-o", "--output", required=True, type=click.Path(), help="The page: .html.")
@click.option(
    "--max-edges", type=click.IntRange(0), default=MAX_EDGES, show_default=True, help="How many edges it shows at most."
)
@click.option(
    "--max-nodes", type=click.IntRange(0), default=MAX_NODES, show_default=True, help="How many nodes it shows at most."
)
@click.option("--title", help="Of the page.  [name of the file]")
@kinds_option
@json_option
def view(
    source: Source,
    output: str,
    max_edges: int,
    max_nodes: int,
    title: str | None,
    kinds: tuple[str, ...] | None,
    as_json: bool,
) -> None:
    """Write a page on which a network's graph can be zoomed, filtered and asked for its numbers.

    The page is one file that needs nothing else, no network and no server. It appears at its path only when it is
    complete.
    """
    from ..plot.page import page
    from ..plot.page.template import check_page_path

    path = Path(output)
    check_page_path(path)
    _, graph = source.open()
    with progress_bar(f"writing {path.name}") as progress:
        title = Path(source.path).stem if title is None else title
        page(graph, path, title, max_edges=max_edges, max_nodes=max_nodes, kinds=kinds, progress=progress)
    if as_json:
        print_json(
            {
                "path": str(path),
                "nodes": len(graph),
                "edges": graph.number_of_edges(kinds),
                "bytes": path.stat().st_size,
            }
        )
    else:
        click.echo(printable(f"wrote {path}: open it in a browser"))
