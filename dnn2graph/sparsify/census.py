"""What there is before anything is taken away: edges, absolute weight and strengths, without unrolling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ..graph import NeuralGraph
from ..links import Convolution, Links
from ..progress import Progress


@dataclass(frozen=True, eq=False)
class Census:
    """The links that are sparsified, and what they hold.

    Attributes
    ----------
    links : tuple of Links
    counts : int64 array (links,)
        Edges.
    masses : float64 array (links,)
        Sum of |w|.
    into, out_of : float64 arrays (nodes,)
        Sum of |w| of each node's in-edges and out-edges.
    """

    links: tuple[Links, ...]
    counts: np.ndarray
    masses: np.ndarray
    into: np.ndarray
    out_of: np.ndarray

    @property
    def nodes(self) -> int:
        """Number of nodes of the graph."""
        return len(self.into)


def census(graph: NeuralGraph, links: Sequence[Links]) -> Census:
    """Count and add up.

    Raises
    ------
    WeightsError
        If weights are NaN or infinite; the message names the layer.
    """
    nodes = graph.number_of_nodes()
    counts, masses = np.zeros(len(links), np.int64), np.zeros(len(links))
    into, out_of = np.zeros(nodes), np.zeros(nodes)
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are reported below, by layer
        for number, each in enumerate(links):
            if each.is_irregular:
                for block in each.blocks():
                    magnitudes = np.abs(block.weights).astype(np.float64)
                    counts[number] += len(magnitudes)
                    masses[number] += magnitudes.sum()
                    np.add.at(into, block.targets, magnitudes)
                    np.add.at(out_of, block.sources, magnitudes)
                continue
            per_output, per_input = each.sums("abs")
            counts[number], masses[number] = each.nnz, per_output.sum()
            each.target_nodes.add_to(into, per_output)
            each.source_nodes.add_to(out_of, per_input)
        if not np.isfinite(masses.sum()):
            graph.check_finite()
    return Census(tuple(links), counts, masses, into, out_of)


def degrees(links: Sequence[Links], nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Count the in-edges and the out-edges of every node, float64 (nodes,)."""
    into, out_of = np.zeros(nodes), np.zeros(nodes)
    for each in links:
        each.add_strengths(into, out_of, "nonzero")
    return into, out_of


class Steps:
    """Tell how much is done, in pairs of nodes that links join."""

    def __init__(self, links: Sequence[Links], passes: int, progress: Progress | None) -> None:
        self.progress, self.done = progress, 0
        self.total = passes * sum(map(_pairs, links))

    def advance(self, links: Links) -> None:
        """Say that one pass over some links is done."""
        self.done += _pairs(links)
        if self.progress:
            self.progress(self.done, self.total)


def _pairs(links: Links) -> int:
    geometry = links.map
    if not isinstance(geometry, Convolution):
        return prod(geometry.kernel_shape)
    return int(geometry.multiplicities().sum()) * prod(geometry.kernel_shape[:2])
