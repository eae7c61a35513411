"""Pajek's network format (``.net``), as Pajek, igraph and networkx read it: vertices from 1, then weighted arcs.

The format has no escape that all readers know: a label's double quotes become single ones and its backslashes slashes.
networkx takes labels for the names of nodes, so they stay unique. Behind the coordinates stands a shape, where networkx
expects one.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..graph import NeuralGraph
from ..progress import Progress
from .files import replacing
from .nodes import drawn_numbers, node_rows
from .text import Column, EdgeMarkup, check_options, clean, edge_texts, texts, weave

MARGIN = 0.05  # around a drawing, of whose width and height Pajek sees 0 to 1
SPACES = str.maketrans("\t\n\x85\u2028\u2029", "     ")  # would end a line or a label to one reader or another


def write_pajek(
    graph: NeuralGraph,
    path: str | Path,
    weight: str = "signed",
    *,
    kinds: Collection[str] | None = None,
    precision: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the graph in Pajek's format, in constant memory.

    Node ``i`` is vertex ``i + 1``, with its label and coordinates (layers from left to right). The file appears at its
    path only when it is complete.

    Parameters
    ----------
    graph : NeuralGraph
    path : str or Path
        Compressed if it ends in ``.gz``.
    weight : {"signed", "abs"}
        The value of an arc: the weight itself, or its absolute value.
    kinds : collection of str, optional
        Kinds of links; default all. Links of several kinds between the same two nodes are several arcs.
    precision : {"float32", "float64"}, optional
        Of weights. Their text is the shortest that reads back exactly in that type; default the weights' own type.
    progress : callable, optional
        Called with the number of edges written and their total.

    Raises
    ------
    WeightsError
        If a weight or a bias is NaN or infinite.
    ExportError
        If the file cannot be written; the old file at that path is untouched.
    InputError
        If an option is unknown.

    Examples
    --------
    >>> import tempfile, torch, igraph, dnn2graph as dg
    >>> from dnn2graph.export.pajek import write_pajek
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)), torch.zeros(1, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_pajek(graph, f"{folder}/linear.net")
    ...     igraph.Graph.Read_Pajek(f"{folder}/linear.net").vs["name"]
    ['input[0]', 'input[1]', '0[0]']
    """
    check_options(weight, precision)
    numbers = drawn_numbers(graph, kinds)
    x, y = _within(numbers["x"]), _within(-numbers["y"])  # in Pajek, y points down
    markup = EdgeMarkup(b"", b" ", b" ", None, (b"\n", b"\n"), absolute=weight == "abs", first_id=1)
    total, done = (graph.number_of_edges(kinds) if progress else 0), 0
    with replacing(path) as file:
        _write_vertices(file, graph, x, y)
        file.write(b"*Arcs\n")
        for links in graph.select(kinds):
            for count, text in edge_texts(links, markup, precision):
                file.write(text)
                if progress:
                    done += count
                    progress(done, total)


def _write_vertices(file: BinaryIO, graph: NeuralGraph, x: np.ndarray, y: np.ndarray) -> None:
    names = _quotable_names([layer.name for layer in graph.layers])
    file.write(b"*Vertices %d\n" % len(graph))
    for rows in node_rows(graph):
        suffixes = [text.encode() for text in rows.places.suffixes]
        columns: list[Column] = [texts(rows.nodes + 1), b' "', names[rows.layer_index], suffixes, b'" ']
        columns += [texts(x[rows.nodes]), b" ", texts(y[rows.nodes]), b" ellipse\n"]
        file.write(weave(columns, len(suffixes)))


def _quotable_names(names: list[str]) -> list[bytes]:
    """Make names that may stand between quotes and stay different from each other."""
    found: dict[str, None] = {}
    for name in names:
        quotable = clean(name).replace('"', "'").replace("\\", "/").translate(SPACES)
        again = 2
        unique = quotable
        while unique in found:
            unique, again = f"{quotable} ({again})", again + 1
        found[unique] = None
    return [name.encode() for name in found]


def _within(places: np.ndarray) -> np.ndarray:
    """Scale coordinates into a drawing of width 1; all in the middle if they do not differ."""
    if not len(places):
        return places
    low, extent = places.min(), float(np.ptp(places))
    share = (places - low) / extent if extent else np.full(len(places), 0.5)
    return (MARGIN + (1 - 2 * MARGIN) * share).round(6)
