"""DOT, the language of Graphviz, for graphs so small that one can read their drawing."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..graph import NeuralGraph
from ..progress import Progress
from .files import replacing
from .layout import layer_colours
from .nodes import drawn_numbers, node_rows, shown_nodes
from .text import SIGN_COLOURS, Column, EdgeMarkup, check_options, clean, edge_texts, texts, weave

LARGEST = 2000  # edges; beyond, Graphviz takes minutes and what it draws is black

HEADER = b"""digraph dnn2graph {
rankdir=LR;
ranksep=2;
node [shape=circle, style=filled, fontname="sans-serif", fontcolor=gray40];
"""


def write_dot(
    graph: NeuralGraph,
    path: str | Path,
    weight: str = "abs",
    *,
    kinds: Collection[str] | None = None,
    isolated: str = "keep",
    precision: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a small graph in the language of Graphviz: layers from left to right, an edge's colour is its sign.

    Parameters
    ----------
    graph, kinds, isolated, precision, progress
        As of :func:`dnn2graph.write_graphml`.
    path : str or Path
    weight : {"abs", "signed"}
        Of the edges' attribute ``weight``. "abs": Graphviz draws heavy edges short and straight, and takes no negative
        weight; ``signed_weight`` stands beside it. "signed": for other readers of the format.

    Raises
    ------
    InputError
        If the graph has more than 2000 edges, or an option is unknown.
    WeightsError, ExportError
        As of :func:`dnn2graph.write_graphml`.

    Examples
    --------
    >>> import tempfile, torch, dnn2graph as dg
    >>> from dnn2graph.export.dot import write_dot
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)), torch.zeros(1, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_dot(graph, f"{folder}/linear.dot")
    """
    check_options(weight, precision)
    shown = shown_nodes(graph, isolated, kinds)
    numbers = drawn_numbers(graph, kinds)
    total, done = graph.number_of_edges(kinds), 0
    if total > LARGEST:
        raise InputError(
            f"DOT is for graphs of at most {LARGEST:,} edges, and this one has {total:,}, too many to draw by it: "
            f"keep the strongest with sparsify(graph, max_edges={LARGEST}), on the command line --max-edges {LARGEST}, "
            "or write GraphML or GEXF for Gephi"
        )
    with replacing(path) as file:
        file.write(HEADER)
        file.write(_nodes(graph, numbers, shown))
        for links in graph.select(kinds):
            for count, text in edge_texts(links, _edge_markup(links.kind, weight), precision):
                file.write(text)
                if progress:
                    done += count
                    progress(done, total)
        file.write(b"}\n")


def _nodes(graph: NeuralGraph, numbers: dict[str, np.ndarray], shown: np.ndarray | None) -> bytes:
    """Write the nodes; those of a layer stand one below the other."""
    colours = layer_colours(graph).tolist()
    written = []
    for layer, index, nodes, places in node_rows(graph, shown=shown):
        name, suffixes = _quotable(layer.name), [suffix.encode() for suffix in places.suffixes]
        columns: list[Column] = [texts(nodes), b' [label="%b' % name, suffixes]
        columns += [b'", layer="%b", layer_index=%d, fillcolor="%b"' % (name, index, _hexadecimal(colours[index]))]
        for key in ("bias", "strength"):
            columns += [b", %b=" % key.encode(), [b'"%b"' % text for text in texts(numbers[key][nodes])]]
        written.append(b"{rank=same;\n" + weave([*columns, b"];\n"], len(suffixes)) + b"}\n")
    return b"".join(written)


def _quotable(name: str) -> bytes:
    """Escape a name for a quoted text; a backslash there begins an escape of Graphviz's own."""
    name = clean(name).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return name.encode()


def _hexadecimal(colour: Collection[int]) -> bytes:
    return b"#%02x%02x%02x" % tuple(colour)


def _edge_markup(kind: str, weight: str) -> EdgeMarkup:
    """Say what stands around the numbers of edges of one kind."""
    opening, closing = (b"", b" -> ", b' [weight="'), b'", kind=%b' % kind.encode()
    if weight == "signed":
        return EdgeMarkup(*opening, None, (closing + b"];\n", closing + b"];\n"))
    positive, negative = (closing + b', color="%b"];\n' % _hexadecimal(SIGN_COLOURS[sign]) for sign in (1, -1))
    return EdgeMarkup(*opening, b'", signed_weight="', (positive, negative))
