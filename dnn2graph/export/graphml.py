"""GraphML, in the dialect that Gephi, Gephi Lite, igraph, networkx, Cytoscape and yEd all read alike.

Key ids equal attribute names and are lower case (Gephi matches either, and lower-cases ids); types are int, double and
string; no defaults, which some readers do not convert; no edge ids, which must not repeat; no attribute named label on
edges, which would make each label an edge type; empty texts are left out. What the graph is, for reading it back
(:func:`dnn2graph.read`), stands in a comment, which all others skip.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..graph import NeuralGraph
from ..measures.attributes import node_numbers
from ..progress import Progress
from ..topology import to_json
from .files import replacing
from .layout import layer_colours, layered_positions, node_sizes
from .nodes import NodeRows, node_rows, shown_nodes
from .text import (
    SIGN_COLOURS,
    Column,
    EdgeMarkup,
    check_options,
    edge_texts,
    escape,
    texts,
    weave,
    weight_dtype,
)

NODE_KEYS = {
    "label": "string",  # shown by Gephi
    "name": "string",  # shown by yEd, and what igraph finds vertices by
    "x": "double",
    "y": "double",
    "size": "double",
    "r": "int",
    "g": "int",
    "b": "int",
    "layer": "string",
    "layer_index": "int",
    "channel": "int",
    "position": "string",
    "kind": "string",
    "activation": "string",
    "bias": "double",
    "strength": "double",
    "strength_in": "double",
    "strength_out": "double",
}
EDGE_KEYS = {
    "signed": {"weight": "double", "kind": "string"},
    "abs": {
        "weight": "double",
        "signed_weight": "double",
        "sign": "int",
        "r": "int",
        "g": "int",
        "b": "int",
        "kind": "string",
    },
}


def write_graphml(
    graph: NeuralGraph,
    path: str | Path,
    weight: str = "abs",
    *,
    kinds: Collection[str] | None = None,
    isolated: str = "keep",
    precision: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the graph as GraphML, in constant memory.

    Nodes carry a label, their layer and place, bias and strengths, and for viewers coordinates (layers from left to
    right), a colour (depth) and a size (absolute strength). The file appears at its path only when it is complete.

    Parameters
    ----------
    graph : NeuralGraph
    path : str or Path
        Compressed if it ends in ``.gz``, which Gephi opens directly.
    weight : {"abs", "signed"}
        "abs", for viewing: ``weight`` is the absolute value, with ``signed_weight``, ``sign`` (-1 or 1) and the edge's
        colour (red if negative, blue if positive) beside it. Gephi draws a negative weight thinnest and its layouts
        fail on it. "signed", for analysis: ``weight`` is the weight itself.
    kinds : collection of str, optional
        Kinds of links; default all. Links of several kinds between the same two nodes are several edges.
    isolated : {"keep", "drop"}
        Whether nodes without an edge, of which a sparsified graph has many, are written. The others keep their ids,
        labels and places.
    precision : {"float32", "float64"}, optional
        Of weights. Their text is the shortest that reads back exactly in that type; default the weights' own type.
    progress : callable, optional
        Called with the number of edges written and their total.

    Raises
    ------
    WeightsError
        If a weight or a bias is NaN or infinite; readers would silently take such a weight for 1.
    ExportError
        If the file cannot be written; the old file at that path is untouched.
    InputError
        If an option is unknown.

    Examples
    --------
    >>> import tempfile, torch, igraph, dnn2graph as dg
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)), torch.zeros(1, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     graph.write_graphml(f"{folder}/linear.graphml")
    ...     igraph.Graph.Read_GraphML(f"{folder}/linear.graphml").vs["label"]
    ['input[0]', 'input[1]', '0[0]']
    """
    check_options(weight, precision)
    shown = shown_nodes(graph, isolated, kinds)
    x, y = layered_positions(graph)
    # Sums of weights are finite only if all weights are: this also checks every weight, without a pass of its own.
    numbers = {"x": x, "y": y, "size": node_sizes(graph, kinds), **node_numbers(graph, kinds)}
    total, done = graph.number_of_edges(kinds), 0
    description: dict[str, Any] = {"weight": weight, "edges": total}
    if shown is not None:
        description["shown"] = int(shown.sum())
    with replacing(path) as file:
        file.write(_header(weight, to_json(graph, weight_dtype(graph, precision), **description)))
        _write_nodes(file, graph, numbers, shown)
        for links in graph.select(kinds):
            for count, text in edge_texts(links, _edge_markup(links.kind, weight), precision):
                file.write(text)
                if progress:
                    done += count
                    progress(done, total)
        file.write(b"</graph>\n</graphml>\n")


def _header(weight: str, description: str) -> bytes:
    keys = [("node", NODE_KEYS), ("edge", EDGE_KEYS[weight])]
    declared = "".join(
        f'<key id="{name}" for="{owner}" attr.name="{name}" attr.type="{kind}"/>\n'
        for owner, names in keys
        for name, kind in names.items()
    )
    escaped = description.replace("--", "-\\u002d")  # which no comment may hold, and in JSON only texts do
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<!--{escaped}-->\n"
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
        f'{declared}<graph edgedefault="directed">\n'
    ).encode()


# ---------------------------------------------------------------------- nodes


def _write_nodes(file: BinaryIO, graph: NeuralGraph, numbers: dict[str, np.ndarray], shown: np.ndarray | None) -> None:
    colours = layer_colours(graph).tolist()
    for rows in node_rows(graph, shown=shown):
        file.write(_weave_nodes(rows, numbers, _same(rows, colours[rows.layer_index])))


def _same(rows: NodeRows, colour: list[int]) -> bytes:
    """Write what all nodes of a layer have in common."""
    common = {
        **dict(zip("rgb", colour, strict=True)),
        "layer": rows.layer.name,
        "layer_index": rows.layer_index,
        "kind": rows.layer.kind,
        "activation": rows.layer.activation or "",
    }
    return b"".join(_data(key, escape(str(value))) for key, value in common.items() if value != "")


def _weave_nodes(rows: NodeRows, numbers: dict[str, np.ndarray], same: bytes) -> bytes:
    """Write some nodes of a layer."""
    nodes, places = rows.nodes, rows.places
    name, suffixes = escape(rows.layer.name), [suffix.encode() for suffix in places.suffixes]
    columns: list[Column] = [b'<node id="', texts(nodes), b'">']
    for key in ("label", "name"):
        columns += [b'<data key="%b">%b' % (key.encode(), name), suffixes, b"</data>"]
    if places.positions[0]:
        columns += _data_column("position", [position.encode() for position in places.positions])
    columns += _data_column("channel", texts(places.channels))
    for key, values in numbers.items():
        columns += _data_column(key, texts(values[nodes]))
    return weave([*columns, same, b"</node>\n"], len(nodes))


def _data(key: str, value: bytes) -> bytes:
    return b'<data key="%b">%b</data>' % (key.encode(), value)


def _data_column(key: str, values: list[bytes]) -> tuple[Column, ...]:
    return b'<data key="%b">' % key.encode(), values, b"</data>"


# ---------------------------------------------------------------------- edges


def _edge_markup(kind: str, weight: str) -> EdgeMarkup:
    """Say what stands around the numbers of edges of one kind."""
    closing = _data("kind", kind.encode()) + b"</edge>\n"
    opening = b'<edge source="', b'" target="', b'"><data key="weight">'
    if weight == "signed":
        return EdgeMarkup(*opening, None, (b"</data>" + closing, b"</data>" + closing))
    after_sign = {}
    for sign, colour in SIGN_COLOURS.items():
        data = {"sign": sign, **dict(zip("rgb", colour, strict=True))}
        after_sign[sign] = b"</data>" + b"".join(_data(key, b"%d" % value) for key, value in data.items()) + closing
    return EdgeMarkup(*opening, b'</data><data key="signed_weight">', (after_sign[1], after_sign[-1]))
