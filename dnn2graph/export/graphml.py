"""GraphML, in the dialect that Gephi, Gephi Lite, igraph, networkx, Cytoscape and yEd all read alike.

Key ids equal attribute names and are lower case (Gephi matches either, and lower-cases ids); types are int, double and
string; no defaults, which some readers do not convert; no edge ids, which must not repeat; no attribute named label on
edges, which would make each label an edge type; empty texts are left out.

Text is woven from columns: constants and lists of byte strings, one item for each row, are interleaved and joined. No
Python code runs for a single edge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import orjson

from ..errors import InputError
from ..graph import Layer, NeuralGraph
from ..links import EdgeBlock, Links
from ..measures.attributes import node_numbers, places_of
from .files import replacing
from .layout import layer_colours, layered_positions, node_sizes

Progress = Callable[[int, int], None]
Column = bytes | list[bytes]

WEIGHTS = ("abs", "signed")
PRECISIONS = ("float32", "float64")
ROWS = 2048  # woven at a time: the pieces of that many edges stay in the cache
BLOCK = 1 << 16  # edges listed at a time
TABLE = 1 << 16  # nodes whose texts are kept, at most
OPEN_WEIGHT = b'"><data key="weight">'

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
SIGN_COLOURS = {1: (33, 102, 172), -1: (178, 24, 43)}  # blue and red that the colour-blind tell apart

# What XML 1.0 cannot hold, even escaped, and the carriage return, which it turns into a line feed.
FORBIDDEN = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_graphml(
    graph: NeuralGraph,
    path: str | Path,
    weight: str = "abs",
    *,
    kinds: Collection[str] | None = None,
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
    if weight not in WEIGHTS:
        raise InputError(f"weight={weight!r} is unknown: choose from {', '.join(WEIGHTS)}")
    if precision is not None and precision not in PRECISIONS:
        raise InputError(f"precision={precision!r} is unknown: choose from {', '.join(PRECISIONS)}")
    x, y = layered_positions(graph)
    # Sums of weights are finite only if all weights are: this also checks every weight, without a pass of its own.
    numbers = {"x": x, "y": y, "size": node_sizes(graph, kinds), **node_numbers(graph, kinds)}
    total, done = (graph.number_of_edges(kinds) if progress else 0), 0
    with replacing(path) as file:
        file.write(_header(weight))
        _write_nodes(file, graph, numbers)
        for links in graph.select(kinds):
            edges = _Edges(links, weight, precision)
            for block in links.blocks(BLOCK):
                for count, text in edges.woven(block):
                    file.write(text)
                    if progress:
                        done += count
                        progress(done, total)
        file.write(b"</graph>\n</graphml>\n")


def _header(weight: str) -> bytes:
    keys = [("node", NODE_KEYS), ("edge", EDGE_KEYS[weight])]
    declared = "".join(
        f'<key id="{name}" for="{owner}" attr.name="{name}" attr.type="{kind}"/>\n'
        for owner, names in keys
        for name, kind in names.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
        f'{declared}<graph edgedefault="directed">\n'
    ).encode()


# ---------------------------------------------------------------------- nodes


def _write_nodes(file: BinaryIO, graph: NeuralGraph, numbers: dict[str, np.ndarray]) -> None:
    for index, (layer, colour) in enumerate(zip(graph.layers, layer_colours(graph).tolist(), strict=True)):
        common = {
            **dict(zip("rgb", colour, strict=True)),
            "layer": layer.name,
            "layer_index": index,
            "kind": layer.kind,
            "activation": layer.activation or "",
        }
        same = b"".join(_data(key, escape(str(value))) for key, value in common.items() if value != "")
        for begin in range(0, layer.size, ROWS):
            file.write(_weave_nodes(layer, begin, min(begin + ROWS, layer.size), numbers, same))


def _weave_nodes(layer: Layer, begin: int, end: int, numbers: dict[str, np.ndarray], same: bytes) -> bytes:
    """Write the nodes ``begin, …, end - 1`` of a layer."""
    nodes = slice(layer.start + begin, layer.start + end)
    places = places_of(layer, begin, end)
    name, suffixes = escape(layer.name), [suffix.encode() for suffix in places.suffixes]
    columns: list[Column] = [b'<node id="', texts(np.arange(nodes.start, nodes.stop)), b'">']
    for key in ("label", "name"):
        columns += [b'<data key="%b">%b' % (key.encode(), name), suffixes, b"</data>"]
    if places.positions[0]:
        columns += _data_column("position", [position.encode() for position in places.positions])
    columns += _data_column("channel", texts(places.channels))
    for key, values in numbers.items():
        columns += _data_column(key, texts(values[nodes]))
    return weave([*columns, same, b"</node>\n"], end - begin)


def _data(key: str, value: bytes) -> bytes:
    return b'<data key="%b">%b</data>' % (key.encode(), value)


def _data_column(key: str, values: list[bytes]) -> tuple[Column, ...]:
    return b'<data key="%b">' % key.encode(), values, b"</data>"


# ---------------------------------------------------------------------- edges


class _Edges:
    """Weaves the edges of one set of links."""

    def __init__(self, links: Links, weight: str, precision: str | None) -> None:
        self.weight, self.precision = weight, precision
        closing = _data("kind", links.kind.encode()) + b"</edge>\n"
        self.closing = b"</data>" + closing
        after_sign = []  # of a positive and of a negative edge
        for sign, colour in SIGN_COLOURS.items():
            data = {"sign": sign, **dict(zip("rgb", colour, strict=True))}
            after_sign.append(b"</data>" + b"".join(_data(key, b"%d" % value) for key, value in data.items()) + closing)
        self.after_sign = np.array(after_sign, object)
        signed = b'</data><data key="signed_weight">'
        self.before_sign = np.array([signed, signed + b"-"], object)
        self.targets = _TargetTexts(links)

    def woven(self, block: EdgeBlock) -> Iterator[tuple[int, bytes]]:
        """Weave a block, some rows at a time: their number and their text."""
        opened = _opened(block.sources)
        for begin in range(0, len(block.weights), ROWS):
            rows = slice(begin, begin + ROWS)
            columns: list[Column] = [opened[rows].tolist(), *self.targets(block.targets[rows])]
            weights = in_precision(block.weights[rows], self.precision)
            if self.weight == "signed":
                columns += [texts(weights), self.closing]
            else:
                size, negative = texts(np.abs(weights)), (weights < 0).view(np.int8)
                columns += [size, self.before_sign[negative].tolist(), size, self.after_sign[negative].tolist()]
            yield len(weights), weave(columns, len(weights))


def _opened(sources: np.ndarray) -> np.ndarray:
    """Open each edge. Edges of one node follow each other: the text is made once for all of them."""
    first = np.flatnonzero(np.diff(sources, prepend=-1))
    opened = np.array([b'<edge source="%d" target="' % source for source in sources[first].tolist()], object)
    return np.repeat(opened, np.diff(first, append=len(sources)))


class _TargetTexts:
    """What stands in an edge from its target to its weight: looked up where a table of all targets is small."""

    def __init__(self, links: Links) -> None:
        nodes, self.table = links.target_nodes.flat, None
        if 0 < len(nodes) <= min(TABLE, int(links.map.row_counts().sum()) // 4):
            self.first = int(nodes.min())
            ids = range(self.first, int(nodes.max()) + 1)
            self.table = np.array([b"%d%b" % (node, OPEN_WEIGHT) for node in ids], object)

    def __call__(self, targets: np.ndarray) -> tuple[Column, ...]:
        if self.table is None:
            return texts(targets), OPEN_WEIGHT
        return (self.table[targets - self.first].tolist(),)


def in_precision(weights: np.ndarray, precision: str | None) -> np.ndarray:
    """Convert weights; those beyond float32's range stay edges, finite and not zero."""
    if precision is None or weights.dtype == precision:
        return weights
    if precision == "float64":
        return weights.astype(np.float64)
    limits = np.finfo(np.float32)
    with np.errstate(over="ignore"):
        magnitudes = np.abs(weights).astype(np.float32).clip(limits.smallest_subnormal, limits.max)
    return np.copysign(magnitudes, weights).astype(np.float32)


# ---------------------------------------------------------------------- text


def weave(columns: Sequence[Column], count: int) -> bytes:
    """Join columns row by row; a column of bytes repeats in every row."""
    woven = [column if isinstance(column, bytes) else b"" for column in columns] * count
    for place, column in enumerate(columns):
        if not isinstance(column, bytes):
            woven[place :: len(columns)] = column
    return b"".join(woven)


def texts(numbers: np.ndarray) -> list[bytes]:
    """Write numbers as text, the shortest that reads back exactly."""
    if not len(numbers):
        return []
    listed = orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY)
    return listed[1:-1].split(b",")


def escape(text: str) -> bytes:
    """Make any text a valid XML 1.0 text, in UTF-8; what XML cannot hold becomes U+FFFD."""
    text = FORBIDDEN.sub("\ufffd", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&quot;").encode()
