"""Tables of nodes and edges as a pair of CSV files, in the column names by which Gephi and Cytoscape import them.

Gephi matches names without regard to case and takes an edge column named ``kind`` for the type of parallel edges, so
the kind of links is called ``link_kind`` there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from ..errors import ExportError
from ..graph import NeuralGraph
from ..progress import Progress
from .nodes import TEXTS, drawn_numbers, node_rows, shown_nodes
from .text import Column, EdgeMarkup, check_options, clean, edge_texts, texts, weave
from .together import replacing_together

SUFFIXES = (".csv", ".csv.gz")
EDGE_COLUMNS = {
    "signed": ("Source", "Target", "Type", "Weight", "link_kind"),
    "abs": ("Source", "Target", "Type", "Weight", "signed_weight", "sign", "link_kind"),
}


def write_csv(
    graph: NeuralGraph,
    path: str | Path,
    weight: str = "abs",
    *,
    kinds: Collection[str] | None = None,
    isolated: str = "keep",
    precision: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the graph as two CSV files, of nodes and of edges, in constant memory.

    The nodes have the columns ``Id``, ``Label``, ``layer``, ``layer_index``, ``channel``, ``position``, ``kind``,
    ``activation``, ``bias``, the strengths, and coordinates ``x`` and ``y``; the edges ``Source``, ``Target``,
    ``Type`` (always Directed), ``Weight`` and ``link_kind``. Both files appear when both are complete, or neither;
    only a process that is killed between their last steps, two renames, leaves a new file of nodes beside an old one of
    edges: then write them again.

    Parameters
    ----------
    graph, kinds, isolated, precision, progress
        As of :func:`dnn2graph.write_graphml`.
    path : str or Path
        ``net.csv`` makes ``net_nodes.csv`` and ``net_edges.csv``; ``net.csv.gz`` compresses them.
    weight : {"abs", "signed"}
        "abs", for viewing: ``Weight`` is the absolute value, with the columns ``signed_weight`` and ``sign`` beside it.
        "signed", for analysis: ``Weight`` is the weight itself.

    Raises
    ------
    WeightsError, InputError
        As of :func:`dnn2graph.write_graphml`.
    ExportError
        If a file cannot be written, or the name has another ending; old files at those paths are untouched.

    Examples
    --------
    >>> import tempfile, torch, pandas as pd, dnn2graph as dg
    >>> from dnn2graph.export.edge_tables import write_csv
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)), torch.zeros(1, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_csv(graph, f"{folder}/linear.csv")
    ...     pd.read_csv(f"{folder}/linear_edges.csv")[["Source", "Target", "Type"]].values.tolist()
    [[0, 2, 'Directed'], [1, 2, 'Directed']]
    """
    check_options(weight, precision)
    shown = shown_nodes(graph, isolated, kinds)
    numbers = drawn_numbers(graph, kinds)
    total, done = (graph.number_of_edges(kinds) if progress else 0), 0
    with replacing_together(*table_paths(path)) as (nodes, edges):
        nodes.write(_row(["Id", "Label", *TEXTS, *numbers]))
        for text in _node_texts(graph, numbers, shown):
            nodes.write(text)
        edges.write(_row(EDGE_COLUMNS[weight]))
        for links in graph.select(kinds):
            for count, text in edge_texts(links, _edge_markup(links.kind, weight), precision):
                edges.write(text)
                if progress:
                    done += count
                    progress(done, total)


def table_paths(path: str | Path) -> tuple[Path, Path]:
    """Name the files of nodes and of edges.

    Raises
    ------
    ExportError
        If the name has another ending.
    """
    path = Path(path)
    for suffix in reversed(SUFFIXES):
        if path.name.lower().endswith(suffix):
            stem, ending = path.name[: -len(suffix)], path.name[-len(suffix) :]
            return path.with_name(f"{stem}_nodes{ending}"), path.with_name(f"{stem}_edges{ending}")
    raise ExportError(f"cannot write '{path}': give a name that ends in {', '.join(SUFFIXES)}")


def _node_texts(graph: NeuralGraph, numbers: dict[str, np.ndarray], shown: np.ndarray | None) -> Iterator[bytes]:
    for layer, index, nodes, places in node_rows(graph, shown=shown):
        name = clean(layer.name)
        # No suffix has a quote: only the name is to be escaped.
        suffixes = [suffix.encode() + b'",' for suffix in places.suffixes]
        columns: list[Column] = [texts(nodes), b',"', _doubled(name), suffixes]
        columns += [b"%b,%d," % (_quoted(name), index), texts(places.channels), b","]
        columns += [[_quoted(position) for position in places.positions]]
        columns += [b",%b,%b" % (_quoted(layer.kind), _quoted(layer.activation or ""))]
        for values in numbers.values():
            columns += [b",", texts(values[nodes])]
        yield weave([*columns, b"\n"], len(suffixes))


def _row(names: Collection[str]) -> bytes:
    return ",".join(names).encode() + b"\n"


def _quoted(text: str) -> bytes:
    return b'"' + _doubled(text) + b'"' if text else b""


def _doubled(text: str) -> bytes:
    return text.replace('"', '""').encode()


def _edge_markup(kind: str, weight: str) -> EdgeMarkup:
    """Say what stands around the numbers of edges of one kind."""
    opening, closing = (b"", b",", b",Directed,"), b",%b\n" % kind.encode()
    if weight == "signed":
        return EdgeMarkup(*opening, None, (closing, closing))
    return EdgeMarkup(*opening, b",", (b",1" + closing, b",-1" + closing))
