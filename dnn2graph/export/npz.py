"""One numpy archive (``.npz``): the sparse matrix as scipy reads it, and beside it what the graph is."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..graph import NeuralGraph
from ..links import KINDS, Links
from ..measures.attributes import node_numbers, places_of
from ..progress import Progress
from ..topology import to_json
from .files import replacing
from .matrix import by_target, unroll
from .nodes import node_rows
from .text import check_options, clean, in_precision, weight_dtype

if TYPE_CHECKING:
    import scipy.sparse

CHUNK = 1 << 20  # elements of an array written at a time


def save_npz(
    graph: NeuralGraph,
    path: str | Path,
    *,
    kinds: Collection[str] | None = None,
    precision: str | None = None,
    memory: float | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the adjacency matrix, the nodes and the layers as one numpy archive, which :func:`dnn2graph.read` reads.

    ``scipy.sparse.load_npz`` gives the matrix of signed weights, a csr_array. ``numpy.load`` gives its arrays, and of
    the nodes ``node_label``, ``node_layer_index``, ``node_channel``, ``node_position``, ``node_bias``,
    ``node_strength_in``, ``node_strength_out`` and ``node_strength``; of the edges, in the order of the matrix,
    ``edge_kind``, the place of their kind of links in ``kinds``; and ``dnn2graph``, the bytes of a JSON document with
    the layers and the version of the format. Nothing in the archive is pickled.

    Parameters
    ----------
    graph : NeuralGraph
    path : str or Path
    kinds : collection of str, optional
        Kinds of links; default all. Links of several kinds between the same two nodes are several entries of the
        matrix, which scipy adds up.
    precision : {"float32", "float64"}, optional
        Of weights; default their own type.
    memory : float, optional
        How many bytes the matrix may take, which is built before it is written; default half of what is free.
    progress : callable, optional
        Called with the number of edges written and their total.

    Raises
    ------
    MemoryBudgetError
        Before anything is allocated.
    WeightsError, ExportError, InputError
        As of :func:`dnn2graph.write_graphml`.

    Examples
    --------
    >>> import tempfile, torch, scipy.sparse, dnn2graph as dg
    >>> from dnn2graph.export.npz import save_npz
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)), torch.zeros(1, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_npz(graph, f"{folder}/linear.npz")
    ...     scipy.sparse.load_npz(f"{folder}/linear.npz").shape
    (3, 3)
    """
    check_options("signed", precision)
    numbers = node_numbers(graph, kinds)
    dtype = weight_dtype(graph, precision)
    chosen = by_target(graph.select(kinds))
    table = _kind_by_layers(graph, chosen)
    matrix, labels = unroll(graph, chosen, memory, record_links=table is None)
    edges = len(matrix.data)
    if table is None:
        assert labels is not None
        kind_of_links = np.array([KINDS.index(links.kind) for links in chosen], np.int8)
        edge_kinds: Iterable[np.ndarray] = (kind_of_links[labels[part]] for part in _parts(edges))
    else:
        edge_kinds = _edge_kinds(graph, matrix, table)
    weights = (in_precision(matrix.data[part], str(dtype)) for part in _parts(edges))
    members = [
        _whole("format", np.array(b"csr")),
        _whole("_is_array", np.array(True)),
        _whole("shape", np.array(matrix.shape)),
        _whole("indptr", matrix.indptr),
        _Member("indices", (edges,), matrix.indices.dtype, (matrix.indices[part] for part in _parts(edges))),
        _Member("data", (edges,), dtype, weights),
        _Member("edge_kind", (edges,), np.dtype(np.int8), edge_kinds),
        _whole("kinds", np.array(KINDS)),
        *_node_members(graph, numbers),
        _whole("dnn2graph", np.frombuffer(to_json(graph, dtype).encode(), np.uint8)),
    ]
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for member in members:
            counted = progress if member.name == "data" else None
            _write(archive, member, counted)


class _Member(NamedTuple):
    """An array of the archive, made a piece at a time."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    pieces: Iterable[np.ndarray]


def _whole(name: str, array: np.ndarray) -> _Member:
    return _Member(name, array.shape, array.dtype, (array,))


def _parts(count: int) -> Iterator[slice]:
    return (slice(begin, min(begin + CHUNK, count)) for begin in range(0, count, CHUNK))


def _write(archive: zipfile.ZipFile, member: _Member, progress: Progress | None) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(member.dtype), "fortran_order": False, "shape": member.shape}
    done = 0
    name = zipfile.ZipInfo(f"{member.name}.npy")  # without the time: equal graphs make equal files
    with archive.open(name, "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for piece in member.pieces:
            file.write(np.ascontiguousarray(piece, member.dtype).tobytes())
            if progress:
                done += piece.size
                progress(done, member.shape[0])


# ---------------------------------------------------------------------- nodes


def _node_members(graph: NeuralGraph, numbers: dict[str, np.ndarray]) -> Iterator[_Member]:
    """Describe the nodes; texts are made a few nodes at a time."""
    last = [(clean(layer.name), places_of(layer, layer.size - 1)) for layer in graph.layers if layer.size]
    longest_label = max((len(name) + len(place.suffixes[0]) for name, place in last), default=1)
    longest_position = max((len(place.positions[0]) for _, place in last), default=1)

    def text(name: str, longest: int, texts: Callable[..., list[str]]) -> _Member:
        dtype = np.dtype(f"<U{max(1, longest)}")
        return _Member(name, (len(graph),), dtype, (np.array(texts(rows), dtype) for rows in node_rows(graph)))

    yield text("node_label", longest_label, lambda rows: rows.labels())
    yield _whole("node_layer_index", graph.layer_of())
    channels = (rows.places.channels for rows in node_rows(graph))
    yield _Member("node_channel", (len(graph),), np.dtype(np.int64), channels)
    yield text("node_position", longest_position, lambda rows: rows.places.positions)
    for name, values in numbers.items():
        yield _whole(f"node_{name}", values)


# ---------------------------------------------------------------------- edges


def _kind_by_layers(graph: NeuralGraph, chosen: Collection[Links]) -> np.ndarray | None:
    """Tell the kind of links from layer to layer, int8 (layers, layers); None where links of two kinds join a pair."""
    index = {layer.name: place for place, layer in enumerate(graph.layers)}
    table = np.full((len(graph.layers), len(graph.layers)), -1, np.int8)
    for links in chosen:
        assert links.target is not None
        kind, target = KINDS.index(links.kind), index[links.target.name]
        for source in links.sources:
            if table[index[source.name], target] not in (-1, kind):
                return None
            table[index[source.name], target] = kind
    return table


def _edge_kinds(graph: NeuralGraph, matrix: scipy.sparse.csr_array, table: np.ndarray) -> Iterator[np.ndarray]:
    """Look up the kinds of the matrix's entries by the layers that they join."""
    layer_of = graph.layer_of()
    for part in _parts(len(matrix.data)):
        first = int(np.searchsorted(matrix.indptr, part.start, side="right")) - 1  # rows that the part lies in
        last = int(np.searchsorted(matrix.indptr, part.stop, side="left"))
        counts = np.diff(matrix.indptr[first : last + 1].clip(part.start, part.stop))
        yield table[np.repeat(layer_of[first:last], counts), layer_of[matrix.indices[part]]]
