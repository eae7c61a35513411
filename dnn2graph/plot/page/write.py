"""Weave a graph's contents, the figures and the library that draws them into one file."""

from __future__ import annotations

import re
from collections.abc import Collection
from html import escape
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...graph import NeuralGraph
from ...progress import Progress
from ..style import NEGATIVE, POSITIVE
from .contents import Contents, contents
from .template import check_page_path, filled, number, resource, spark, write_page

ADDRESS = re.compile(r"(?:http|ws)s?://(?!www\.w3\.org/)")  # those of the W3C name XML vocabularies
MAX_EDGES, MAX_NODES = 200_000, 20_000


def page(
    graph: NeuralGraph,
    path: str | Path,
    title: str | None = None,
    *,
    max_edges: int = MAX_EDGES,
    max_nodes: int = MAX_NODES,
    kinds: Collection[str] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a page that shows the graph in a browser; the file appears at its path only when it is complete.

    One file, which loads nothing from anywhere: its content security policy forbids it. The graph can be zoomed and
    dragged, by mouse and by keyboard; nodes tell their numbers, edges are filtered by layer, sign and size, nodes
    coloured by depth, strength or sign. Beside it stand the table of layers and histograms of strengths.

    Parameters
    ----------
    graph : NeuralGraph
        Of any size: it is never unrolled as a whole. The numbers of nodes and layers are those of the whole graph.
    path : str or Path
        Ends in ``.html``.
    title : str, optional
        Default: the name of the file.
    max_edges, max_nodes : int
        How many are shown at most; of each links the strongest edges, of each layer the strongest channels.
    kinds : collection of str, optional
        Kinds of links that are shown and count for strengths; default all.
    progress : callable, optional
        Called with the number of links whose edges are chosen, and of all.

    Raises
    ------
    ExportError
        If the name has another ending, or the file cannot be written.
    InputError
        If bokeh is not installed, or a number is negative.
    WeightsError
        If weights are NaN or infinite.
    """
    path = Path(path)
    check_page_path(path)
    for name, value in (("max_edges", max_edges), ("max_nodes", max_nodes)):
        if value < 0:
            raise InputError(f"{name}={value} must not be negative")
    try:
        from bokeh.core.types import ID
        from bokeh.embed import json_item
        from bokeh.resources import Resources
    except ImportError:
        raise InputError("pages need bokeh: pip install 'dnn2graph[view]'") from None
    from .figures import histogram_figure, network_figure

    shown = contents(graph, path.stem if title is None else title, max_edges, max_nodes, kinds, progress)
    figures = {
        name: json_item(made, ID(name)) for name, made in (("network", network_figure()), ("bars", histogram_figure()))
    }
    parts = {
        "title": escape(shown.title),
        "summary": escape(_summary(shown)),
        "rows": "\n".join(_row(place, row) for place, row in enumerate(shown.rows)),
    }
    library = "\n".join(ADDRESS.sub("", script) for script in Resources(mode="inline", components=["bokeh"]).js_raw)
    write_page(
        path,
        shown.title,
        filled(resource("view.html"), parts),
        style=resource("view.css"),
        data={"graph": shown.data | {"positive": POSITIVE, "negative": NEGATIVE}, "figures": figures},
        scripts=[library, resource("view.js")],
    )


def _summary(shown: Contents) -> str:
    """Say how much of the graph is shown."""
    nodes, edges = f"{shown.nodes:,} nodes", f"{shown.edges:,} edges"
    less = [
        *([f"the {shown.nodes_shown:,} nodes of the strongest channels"] if shown.nodes_shown < shown.nodes else []),
        *([f"of all links the strongest edges, {shown.edges_shown:,}"] if shown.edges_shown < shown.edges else []),
    ]
    whole = " Numbers are those of the whole graph." if less else ""
    return f"{nodes}, {edges}." + (f" Shown are {' and '.join(less)}.{whole}" if less else "")


def _row(place: int, row: dict[str, Any]) -> str:
    """Write a row of the table of layers."""
    name, identity = escape(str(row["layer"])), f"layer-{place}"
    numbers = [
        f"{row['nodes']:,}",
        f"{row['in_edges']:,}",
        *(number(row[key]) for key in ("fluctuation", "strength_mean")),
    ]
    cells = "".join(f"<td>{number}</td>" for number in numbers)
    kind = escape(" ".join(filter(None, (str(row["kind"]), str(row["activation"])))))
    return (
        f'<tr><th scope="row"><input type="checkbox" id="{identity}" class="layer" checked>'
        f'<label for="{identity}"><span class="swatch" style="background:{row["colour"]}"></span>{name}</label></th>'
        f"<td>{kind}</td>{cells}<td>{spark(row['counts'], row['edges'])}</td></tr>"
    )
