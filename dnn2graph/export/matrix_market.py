"""Matrix Market (``.mtx``), the sparse matrix as text, which readers in every language know."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ..graph import NeuralGraph
from ..measures.attributes import node_numbers
from ..progress import Progress
from .files import replacing
from .text import EdgeMarkup, check_options, edge_texts

HEADER = b"""%%MatrixMarket matrix coordinate real general
% written by dnn2graph: row i and column j of an entry are nodes i - 1 and j - 1, the edge goes from row to column
"""


def write_matrix_market(
    graph: NeuralGraph,
    path: str | Path,
    weight: str = "signed",
    *,
    kinds: Collection[str] | None = None,
    precision: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the adjacency matrix in Matrix Market's coordinate format, in constant memory.

    Entry ``(i + 1, j + 1)`` is the weight of the edge from node ``i`` to node ``j``. Links of several kinds between
    the same two nodes are several entries, which readers add up. The file appears at its path only when it is complete.

    Parameters
    ----------
    graph, kinds, precision, progress
        As of :func:`dnn2graph.write_graphml`.
    path : str or Path
        Compressed if it ends in ``.gz``, which scipy reads directly.
    weight : {"signed", "abs"}
        The entries: the weights themselves, or their absolute values.

    Raises
    ------
    WeightsError, ExportError, InputError
        As of :func:`dnn2graph.write_graphml`.

    Examples
    --------
    >>> import tempfile, torch, scipy.io, dnn2graph as dg
    >>> from dnn2graph.export.matrix_market import write_matrix_market
    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> _ = torch.nn.init.constant_(layer.weight, 0.5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_matrix_market(dg.from_torch(layer, torch.zeros(1, 2)), f"{folder}/linear.mtx")
    ...     scipy.io.mmread(f"{folder}/linear.mtx").toarray()
    array([[0. , 0. , 0.5],
           [0. , 0. , 0.5],
           [0. , 0. , 0. ]])
    """
    check_options(weight, precision)
    node_numbers(graph, kinds)  # sums of weights are finite only if all weights are
    markup = EdgeMarkup(b"", b" ", b" ", None, (b"\n", b"\n"), absolute=weight == "abs", first_id=1)
    nodes, edges, done = graph.number_of_nodes(), graph.number_of_edges(kinds), 0
    with replacing(path) as file:
        file.write(HEADER + b"%d %d %d\n" % (nodes, nodes, edges))
        for links in graph.select(kinds):
            for count, text in edge_texts(links, markup, precision):
                file.write(text)
                if progress:
                    done += count
                    progress(done, edges)
