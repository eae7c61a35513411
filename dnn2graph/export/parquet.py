"""A folder of Parquet tables, for pandas, polars, DuckDB, Spark and Dask: nodes, and edges partitioned by layer.

::

    net.parquet/
        dnn2graph.json                            what the graph is: layers, precision, version of the format
        nodes.parquet                             a row per node
        edges/target_layer=2/links-0001.parquet   a row per edge that enters the layer of index 2
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..graph import NeuralGraph
from ..links import EdgeBlock, Links
from ..progress import Progress
from ..topology import DOCUMENT, to_json
from .files import complete, explaining
from .nodes import NodeRows, drawn_numbers, node_rows
from .text import check_options, clean, in_precision, weight_dtype
from .together import replacing_folder

if TYPE_CHECKING:
    import pyarrow as pa

NODES, EDGES = "nodes.parquet", "edges"
ROWS = 1 << 18  # edges of a row group: what a reader needs in memory at a time
NODE_ROWS = 1 << 15
TEXTS = {"label": False, "layer": True, "position": False, "kind": True, "activation": True}  # whether few differ


def write_parquet(
    graph: NeuralGraph,
    folder: str | Path,
    *,
    kinds: Collection[str] | None = None,
    precision: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the graph as a folder of Parquet tables, in constant memory; :func:`dnn2graph.read` reads it back.

    ``nodes.parquet`` has the columns ``node``, ``label``, ``layer``, ``layer_index``, ``channel``, ``position``,
    ``kind``, ``activation``, ``bias``, the strengths, and coordinates ``x`` and ``y``. The tables in ``edges`` have
    ``source``, ``target`` (int64), ``weight`` (signed), ``kind`` and ``source_layer``; in the names of their folders
    stands ``target_layer``, the index of the layer that the edges enter, which readers take for a column. The folder
    appears at its path only when it is complete.

    Parameters
    ----------
    graph, kinds, progress
        As of :func:`dnn2graph.write_graphml`.
    folder : str or Path
        An older folder of this kind is replaced; any other is left alone.
    precision : {"float32", "float64"}, optional
        Of weights; default their own type.

    Raises
    ------
    WeightsError, InputError
        As of :func:`dnn2graph.write_graphml`.
    ExportError
        If the folder cannot be written, or holds other files; what is at that path is untouched.

    Examples
    --------
    >>> import tempfile, torch, pandas as pd, dnn2graph as dg
    >>> from dnn2graph.export.parquet import write_parquet
    >>> graph = dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)), torch.zeros(1, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_parquet(graph, f"{folder}/linear.parquet")
    ...     edges = pd.read_parquet(f"{folder}/linear.parquet/edges")
    >>> edges[["source", "target"]].values.tolist()
    [[0, 2], [1, 2]]
    """
    check_options("signed", precision)
    numbers = drawn_numbers(graph, kinds)
    dtype = weight_dtype(graph, precision)
    total, done = (graph.number_of_edges(kinds) if progress else 0), 0
    parts = []
    with replacing_folder(folder, (DOCUMENT, NODES, EDGES)) as unfinished, explaining(Path(folder)):
        with complete(unfinished / NODES, NODES) as file:
            _write_nodes(file, graph, numbers)
        for number, links in enumerate(graph.select(kinds)):
            name, written = _part(graph, number, links), 0
            (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
            with complete(unfinished / name, name) as file, _edge_writer(file, graph, dtype) as write:
                for block in _slices(links):
                    write(links, block)
                    written += len(block.weights)
                    if progress:
                        done += len(block.weights)
                        progress(done, total)
            parts.append([name, written])
        with complete(unfinished / DOCUMENT, DOCUMENT) as file:
            file.write(to_json(graph, dtype, nodes=NODES, parts=parts).encode())


def _part(graph: NeuralGraph, number: int, links: Links) -> str:
    """Name the file of some links. The name of a layer may hold anything, its index makes a name for all systems."""
    assert links.target is not None
    index = next(index for index, layer in enumerate(graph.layers) if layer.start == links.target.start)
    return f"{EDGES}/target_layer={index}/links-{number:04}.parquet"


def _slices(links: Links) -> Iterator[EdgeBlock]:
    """List the edges in blocks of at most one row group."""
    for sources, targets, weights in links.blocks(ROWS):
        for begin in range(0, len(weights), ROWS):
            rows = slice(begin, begin + ROWS)
            yield EdgeBlock(sources[rows], targets[rows], weights[rows])


# ---------------------------------------------------------------------- nodes


def _write_nodes(file: BinaryIO, graph: NeuralGraph, numbers: dict[str, np.ndarray]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    few = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        [
            ("node", pa.int64()),
            ("label", pa.string()),
            ("layer", few),
            ("layer_index", pa.int32()),
            ("channel", pa.int64()),
            ("position", pa.string()),
            ("kind", few),
            ("activation", few),
            *((name, pa.float64()) for name in numbers),
        ]
    )
    with pq.ParquetWriter(file, schema) as writer:
        pending: list[pa.RecordBatch] = []
        for rows in node_rows(graph):  # a small layer is no row group of its own
            pending.append(_node_batch(rows, numbers, schema))
            if sum(map(len, pending)) >= NODE_ROWS:
                writer.write_table(pa.Table.from_batches(pending))
                pending = []
        writer.write_table(pa.Table.from_batches(pending, schema))


def _node_batch(rows: NodeRows, numbers: dict[str, np.ndarray], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    count = len(rows.nodes)

    def repeated(text: str | None) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [text or ""])

    columns = [
        rows.nodes,
        rows.labels(),
        repeated(clean(rows.layer.name)),
        np.full(count, rows.layer_index, np.int32),
        rows.places.channels.astype(np.int64),
        rows.places.positions,
        repeated(rows.layer.kind),
        repeated(rows.layer.activation),
        *(values[rows.nodes] for values in numbers.values()),
    ]
    arrays = [pa.array(each, field.type) for each, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


# ---------------------------------------------------------------------- edges


@contextmanager
def _edge_writer(file: BinaryIO, graph: NeuralGraph, dtype: np.dtype) -> Iterator[Any]:
    """Yield a function that writes a block of edges of some links."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("source", pa.int64()),
            ("target", pa.int64()),
            ("weight", pa.from_numpy_dtype(dtype)),
            ("kind", pa.dictionary(pa.int32(), pa.string())),
            ("source_layer", pa.int32()),
        ]
    )
    layer_of = graph.layer_of().astype(np.int32)
    repetitive = [name for name in schema.names if name != "weight"]  # weights hardly repeat and do not compress
    compression = dict.fromkeys(repetitive, "snappy") | {"weight": "none"}
    with pq.ParquetWriter(file, schema, use_dictionary=repetitive, compression=compression) as writer:

        def write(links: Links, block: EdgeBlock) -> None:
            count = len(block.weights)
            arrays = [
                pa.array(block.sources),
                pa.array(block.targets),
                pa.array(in_precision(block.weights, str(dtype))),
                pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [links.kind]),
                pa.array(layer_of[block.sources]),
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=ROWS)

        yield write
