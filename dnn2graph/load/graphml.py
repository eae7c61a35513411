"""Reading back GraphML of ours, whose text is regular enough to be read many times faster than any XML is.

A file that another program saved again is not read: it may have changed anything.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from ..errors import LoadError
from ..topology import Topology, from_json
from .files import reading
from .stored import StoredEdges, StoredGraph, stored_graph

DESCRIPTION = re.compile(rb"<!--(\{.*\})-->\n")
NODE = re.compile(rb'<node id="(\d+)">[^\0]*?<data key="bias">([^<]+)</data>[^\0]*?</node>\n')
EDGE = {
    "signed": re.compile(
        rb'<edge source="(\d+)" target="(\d+)"><data key="weight">([^<]+)</data><data key="kind">(\w+)</data></edge>\n'
    ),
    "abs": re.compile(
        rb'<edge source="(\d+)" target="(\d+)"><data key="weight">[^<]+</data>'
        rb'<data key="signed_weight">([^<]+)</data>[^\n]*?<data key="kind">(\w+)</data></edge>\n'
    ),
}
END = b"</graph>\n</graphml>\n"
CHUNK = 1 << 22  # bytes read at a time


def read_graphml(path: Path) -> StoredGraph:
    """Read a file that :func:`dnn2graph.write_graphml` wrote; see :func:`dnn2graph.read`.

    Nodes without an edge that were left out are there again, but for their biases, which the file does not hold.
    """
    with reading(path, "it is truncated or damaged; copy it again, or write it again"), _opened(path) as file:
        topology = _topology(file, path)
        bias, edges = _numbers(file, topology, path)
    return stored_graph(topology, bias, edges, path)


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _topology(file: BinaryIO, path: Path) -> Topology:
    file.readline()  # the XML declaration
    found = DESCRIPTION.fullmatch(file.readline())
    if found is None:
        raise LoadError(
            f"'{path}' was not written by dnn2graph, or another program saved it again: only the file as "
            "dnn2graph.write_graphml wrote it can be read back; igraph and networkx read any"
        )
    return from_json(found[1], path)


def _numbers(file: BinaryIO, topology: Topology, path: Path) -> tuple[np.ndarray, StoredEdges]:
    """Read the bias of every node, and all edges."""
    pattern, kinds = EDGE[topology.extra["weight"]], {kind.encode(): i for i, kind in enumerate(topology.kinds)}
    nodes: list[tuple[bytes, ...]] = []
    columns: list[tuple[np.ndarray, ...]] = [tuple(np.zeros(0, t) for t in ("i8", "i8", topology.dtype, "i1"))]
    for records in _records(file, path):
        nodes += _found(NODE, records, b"</node>\n", path)
        if edges := _found(pattern, records, b"</edge>\n", path):
            source, target, weight, kind = zip(*edges, strict=True)
            ends = (np.array(each).astype(np.int64) for each in (source, target))
            # By way of float64: of the shortest text of a float32, that is exact.
            weights = np.array(weight).astype(np.float64).astype(topology.dtype)
            columns.append((*ends, weights, np.fromiter((kinds[each] for each in kind), np.int8, len(kind))))
    found = StoredEdges(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))
    return _bias(nodes, len(found.weights), topology, path), found


def _bias(nodes: list[tuple[bytes, ...]], edges: int, topology: Topology, path: Path) -> np.ndarray:
    """Give the bias of all nodes, 0 of those that were left out; raise LoadError if a node or an edge is missing."""
    shown = topology.extra.get("shown", topology.nodes)
    ids = np.array([node for node, _ in nodes] or np.zeros(0)).astype(np.int64)
    in_order = (np.diff(ids, prepend=-1) > 0).all() and ids.max(initial=-1) < topology.nodes
    if edges != topology.extra["edges"] or len(ids) != shown or not in_order:
        raise LoadError(
            f"'{path}' is damaged: it holds {len(ids):,} of {shown:,} nodes and {edges:,} of "
            f"{topology.extra['edges']:,} edges: write it again"
        )
    bias = np.zeros(topology.nodes)
    bias[ids] = np.array([value for _, value in nodes] or np.zeros(0)).astype(np.float64)
    return bias


def _records(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield the text of whole nodes and edges, some at a time. Escaped text has no angle bracket to mistake."""
    rest = b""
    while chunk := file.read(CHUNK):
        whole, between, last = (rest + chunk).rpartition(b">\n<")
        yield whole + between[:2]
        rest = between[2:] + last
    if not rest.endswith(END[-len(b"</graphml>\n") :]):
        raise LoadError(f"'{path}' is truncated: its end is missing: copy it again, or write it again")


def _found(pattern: re.Pattern[bytes], records: bytes, end: bytes, path: Path) -> list[tuple[bytes, ...]]:
    found = pattern.findall(records)
    if len(found) != records.count(end):
        what = end.decode().strip("</>\n")
        raise LoadError(
            f"'{path}' is damaged, or another program saved it again: a record of its {what}s is "
            "not as it was written"
        )
    return found
