"""Weave a graph's contents, the figures and the library that draws them into one file."""

from __future__ import annotations

import re
from collections.abc import Collection
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ...errors import ExportError, InputError
from ...export.files import replacing
from ...graph import NeuralGraph
from ..style import NEGATIVE, POSITIVE
from .contents import Contents, contents

SUFFIXES = (".html", ".htm")
ADDRESS = re.compile(r"(?:http|ws)s?://(?!www\.w3\.org/)")  # those of the W3C name XML vocabularies
SPARK = (72, 16)  # width and height of a histogram in the table
MAX_EDGES, MAX_NODES = 200_000, 20_000


def page(
    graph: NeuralGraph,
    path: str | Path,
    title: str | None = None,
    *,
    max_edges: int = MAX_EDGES,
    max_nodes: int = MAX_NODES,
    kinds: Collection[str] | None = None,
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

    shown = contents(graph, path.stem if title is None else title, max_edges, max_nodes, kinds)
    figures = {
        name: json_item(made, ID(name)) for name, made in (("network", network_figure()), ("bars", histogram_figure()))
    }
    parts = {
        "title": escape(shown.title),
        "summary": escape(_summary(shown)),
        "positive": POSITIVE,
        "negative": NEGATIVE,
        "rows": "\n".join(_row(place, row) for place, row in enumerate(shown.rows)),
        "style": _read("view.css"),
        "library": "\n".join(
            ADDRESS.sub("", script) for script in Resources(mode="inline", components=["bokeh"]).js_raw
        ),
        "graph": in_script(shown.data | {"positive": POSITIVE, "negative": NEGATIVE}),
        "figures": in_script(figures),
        "script": _read("view.js"),
    }
    text = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _read("view.html"))
    with replacing(path) as file:
        file.write(text.encode())


def check_page_path(path: str | Path) -> None:
    """Raise ExportError if no page can have that name: to be asked before long work."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ExportError(f"cannot write '{path}': give a page a name that ends in {SUFFIXES[0]}")


def in_script(value: Any) -> str:
    r"""Write a value as JSON that stands in a script element, whatever its texts are.

    Examples
    --------
    >>> print(in_script({"name": "</script><!--"}))
    {"name":"\u003c/script>\u003c!--"}
    """
    return orjson.dumps(value).decode().replace("<", "\\u003c")


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


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
        *(_number(row[key]) for key in ("fluctuation", "strength_mean")),
    ]
    cells = "".join(f"<td>{number}</td>" for number in numbers)
    kind = escape(" ".join(filter(None, (str(row["kind"]), str(row["activation"])))))
    return (
        f'<tr><th scope="row"><input type="checkbox" id="{identity}" class="layer" checked>'
        f'<label for="{identity}"><span class="swatch" style="background:{row["colour"]}"></span>{name}</label></th>'
        f"<td>{kind}</td>{cells}<td>{_spark(row['counts'], row['edges'])}</td></tr>"
    )


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.4g}".replace("-", "−")


def _spark(counts: np.ndarray, edges: np.ndarray) -> str:
    """Draw a small histogram."""
    width, height = SPARK
    tall = counts / max(1, counts.max(initial=0)) * height
    step = width / max(1, len(counts))
    bars = "".join(f"M{i * step:.1f} {height}v{-up:.1f}h{step:.1f}V{height}" for i, up in enumerate(tall) if up)
    label = f"strengths from {_number(float(edges[0]))} to {_number(float(edges[-1]))}"
    size = f'width="{width}" height="{height}"'
    return f'<svg {size} role="img" aria-label="{label}"><title>{label}</title><path d="{bars}"/></svg>'
