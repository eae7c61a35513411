"""Reading back the graphs that this package wrote: numpy archives, Parquet folders and GraphML files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import LoadError
from ..topology import DOCUMENT, Topology, from_json, listed
from .files import check_archive, existing_file, reading
from .formats import SUFFIXES, suffix_of
from .graphml import read_graphml
from .stored import StoredEdges, StoredGraph, stored_graph

if TYPE_CHECKING:
    import pyarrow.parquet as pq

KNOWN = ".npz, .graphml, .graphml.gz and folders of Parquet tables"
MEMBERS = ("dnn2graph", "data", "indices", "indptr", "edge_kind", "node_bias")
BATCH = 1 << 18  # edges
COLUMNS = ("source", "target", "weight", "kind")
REMEDY = "it is truncated or damaged; copy it again, or write it again"


def read(path: str | Path) -> StoredGraph:
    """Read back a graph that this package wrote; nothing in a file is ever run or unpickled.

    Parameters
    ----------
    path : str or Path
        What :func:`dnn2graph.save_npz`, :func:`dnn2graph.write_parquet` or :func:`dnn2graph.write_graphml` wrote.

    Returns
    -------
    StoredGraph
        A :class:`.NeuralGraph` with the same nodes and layers, the weights and biases of the file, bit for bit, and
        one set of links from layer to layer for each kind. Measures, tables, exports and figures take it as any other;
        it cannot be replayed, since activation functions are known by name only. Nodes that were left out of a GraphML
        file with ``isolated="drop"`` are there again, without their biases.

    Raises
    ------
    LoadError
        If it is missing, damaged, of another version, or was not written by this package.

    Examples
    --------
    >>> import tempfile, torch, dnn2graph as dg
    >>> from dnn2graph.export.npz import save_npz
    >>> from dnn2graph.load.graphs import read
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)), torch.zeros(1, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_npz(graph, f"{folder}/linear.npz")
    ...     again = read(f"{folder}/linear.npz")
    >>> bool((dg.strength(again) == dg.strength(graph)).all())
    True
    """
    path = Path(path)
    name = path.name.lower()
    if path.is_dir():
        return _read_parquet(path)
    if name.endswith(".npz"):
        return _read_npz(existing_file(path))
    if name.endswith((".graphml", ".graphml.gz")):
        return read_graphml(existing_file(path))
    if suffix_of(path) in SUFFIXES:
        raise LoadError(f"'{path}' has the name of a model, not of a graph: load it with dnn2graph.load")
    existing_file(path)
    raise LoadError(f"'{path}' cannot be read back; known are {KNOWN} that dnn2graph wrote")


# ---------------------------------------------------------------------- numpy archives


def _read_npz(path: Path) -> StoredGraph:
    check_archive(path)  # all of it, of which not all is read
    with reading(path, REMEDY), np.load(path, allow_pickle=False) as archive:
        if missing := [name for name in MEMBERS if name not in archive]:
            raise LoadError(
                f"'{path}' lacks the arrays {listed(missing)}: only what dnn2graph.save_npz wrote can be read back; "
                f"it holds {listed(archive.files[:8])}"
            )
        topology = from_json(archive["dnn2graph"].tobytes(), path)
        indptr, weights = archive["indptr"], archive["data"]
        _check_rows(topology, indptr, len(weights), path)
        sources = np.repeat(np.arange(topology.nodes, dtype=indptr.dtype), np.diff(indptr))
        edges = StoredEdges(sources, archive["indices"], weights, archive["edge_kind"])
        bias = archive["node_bias"]
    return stored_graph(topology, bias, edges, path)


def _check_rows(topology: Topology, indptr: np.ndarray, edges: int, path: Path) -> None:
    """Raise LoadError unless the matrix has a row for each node and its rows hold all edges."""
    fits = len(indptr) == topology.nodes + 1 and indptr[0] == 0 and indptr[-1] == edges and (np.diff(indptr) >= 0).all()
    if not fits:
        raise LoadError(f"'{path}' is damaged: its matrix is not one of {topology.nodes:,} nodes: write it again")


# ---------------------------------------------------------------------- folders of Parquet tables


def _read_parquet(folder: Path) -> StoredGraph:
    if not (folder / DOCUMENT).is_file():
        raise LoadError(
            f"the folder '{folder}' has no {DOCUMENT}: only what dnn2graph.write_parquet wrote can be read back"
        )
    with reading(folder / DOCUMENT, REMEDY):
        topology = from_json((folder / DOCUMENT).read_bytes(), folder / DOCUMENT)
        nodes, parts = topology.extra["nodes"], topology.extra["parts"]
    table = _opened(folder, nodes, ["bias"])
    with reading(folder / str(nodes), REMEDY):
        bias = table.read(["bias"]).column("bias").to_numpy()
    nothing = tuple(np.zeros(0, dtype) for dtype in ("int32", "int32", topology.dtype, "int8"))
    batches = [nothing, *(batch for name, edges in parts for batch in _edge_batches(folder, name, edges, topology))]
    found = StoredEdges(*(np.concatenate(column) for column in zip(*batches, strict=True)))
    del batches
    return stored_graph(topology, bias, found, folder)


def _edge_batches(folder: Path, name: str, edges: int, topology: Topology) -> Iterator[tuple[np.ndarray, ...]]:
    """Read the edges of one file, some at a time: sources, targets, weights and kinds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = _opened(folder, name, COLUMNS)
    if table.metadata.num_rows != edges:
        raise LoadError(f"'{folder / name}' holds {table.metadata.num_rows:,} edges, not {edges:,}: write it again")
    index = np.int32 if topology.nodes < 2**31 else np.int64
    known = pa.array(topology.kinds)
    with reading(folder / name, REMEDY):
        for batch in table.iter_batches(BATCH, columns=list(COLUMNS)):
            source, target, weight, kind = batch.columns
            kinds = pc.index_in(kind, value_set=known).fill_null(-1)
            ends = (each.to_numpy().astype(index) for each in (source, target))
            yield *ends, weight.to_numpy(zero_copy_only=False), kinds.to_numpy().astype(np.int8)


def _opened(folder: Path, name: str, columns: Collection[str]) -> pq.ParquetFile:
    """Open a table of a folder, which must have certain columns."""
    import pyarrow.parquet as pq

    path = folder / str(name)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise LoadError(f"'{folder}' is damaged: its {DOCUMENT} names a file outside of it, {name!r}: write it again")
    path = existing_file(path)
    with reading(path, REMEDY):
        table = pq.ParquetFile(path)
    if missing := [column for column in columns if column not in table.schema_arrow.names]:
        raise LoadError(f"'{path}' lacks the columns {listed(missing)}: write the folder again")
    return table
