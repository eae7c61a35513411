"""Weights that are exactly zero, which are no edges."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ..graph import NeuralGraph
from ..links.sums import as_numpy


def zero_weights(graph: NeuralGraph, kinds: Collection[str] | None = None) -> int:
    """Count the pairs of nodes that a map joins by a weight of exactly zero, without unrolling.

    Links in which a node stands in several elements are not counted: there, weights may also cancel.
    """
    zeros = 0
    for links in graph.select(kinds):
        if not links.is_irregular:
            kernel, counts = as_numpy(links.kernel()), links.map.multiplicities()
            if counts.size == 1:  # alike for all entries of the kernel
                zeros += int(kernel.size - np.count_nonzero(kernel)) * int(counts.flat[0])
            else:
                zeros += int(((kernel == 0).sum(axis=(0, 1)) * counts[0, 0]).sum())
    return zeros
