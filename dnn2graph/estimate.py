"""What a form of the graph will cost, before it is built."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .errors import MemoryBudgetError

if TYPE_CHECKING:
    from .graph import NeuralGraph

IGRAPH_BYTES = (160, 90)  # per node, per edge, with weights; measured on graphs of 10^5 to 5 10^6 edges
NETWORKX_BYTES = (1200, 380)
GRAPHML_BYTES = (520, 260)
FRACTION_OF_FREE = 0.5
NATIVE = "the native measures (dnn2graph.strength and others, which never unroll), the streaming write_graphml"


@dataclass(frozen=True)
class Estimate:
    """Size of a graph and of its forms, in bytes.

    Attributes
    ----------
    nodes, edges : int
        Exact.
    csr : int
        Of the sparse matrix; exact.
    igraph, networkx : int
        In memory; typical.
    graphml : int
        Of the file, uncompressed; typical.
    """

    nodes: int
    edges: int
    csr: int
    igraph: int
    networkx: int
    graphml: int

    def as_dict(self) -> dict[str, int]:
        """Return the fields as a dictionary."""
        return asdict(self)


def estimate(graph: NeuralGraph, kinds: Collection[str] | None = None) -> Estimate:
    """Predict nodes, edges and bytes from the geometry of the links alone."""
    nodes, edges = graph.number_of_nodes(), graph.number_of_edges(kinds)
    index = 4 if max(nodes, edges) < 2**31 else 8
    weight = max(4, graph.dtype.itemsize)  # half precision is unrolled as float32
    return Estimate(
        nodes,
        edges,
        csr=edges * (index + weight) + (nodes + 1) * index,
        igraph=nodes * IGRAPH_BYTES[0] + edges * IGRAPH_BYTES[1],
        networkx=nodes * NETWORKX_BYTES[0] + edges * NETWORKX_BYTES[1],
        graphml=nodes * GRAPHML_BYTES[0] + edges * GRAPHML_BYTES[1],
    )


def check_memory(
    graph: NeuralGraph,
    needed: int,
    what: str,
    memory: float | None,
    instead: str = NATIVE,
    kinds: Collection[str] | None = None,
) -> None:
    """Raise if something takes more memory than allowed.

    Parameters
    ----------
    needed : int
        Bytes.
    what : str
        Its name in the message.
    memory : float, optional
        The budget in bytes; default half of what is free.
    instead : str
        What a reader may use that takes less.
    kinds : collection of str, optional
        Kinds of links that count; default all.

    Raises
    ------
    MemoryBudgetError
        With the number, the budget and the alternatives.
    """
    import psutil

    budget = psutil.virtual_memory().available * FRACTION_OF_FREE if memory is None else memory
    if needed <= budget:
        return
    coarser = "granularity='channel' (one node per channel), " if graph.granularity == "position" else ""
    raise MemoryBudgetError(
        f"{what} of {graph.number_of_edges(kinds):,} edges takes about {readable_bytes(needed)}, the budget is "
        f"{readable_bytes(budget)}: use {coarser}fewer link kinds, {instead}, or allow more with memory=<bytes>"
    )


def readable_bytes(count: float) -> str:
    """Write a number of bytes for a person: 1.4 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
