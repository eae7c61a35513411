"""The linear map that is a plain list of edges, for what has no regular structure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .convolution import BLOCK_EDGES, RowBlock
from .sums import TENSOR_PARTS, part_of


@dataclass(frozen=True, eq=False)
class Listed:
    """Edges ``source[k] -> target[k]`` with weight ``kernel[k]``, no pair twice.

    Parameters
    ----------
    inputs, outputs : int
        Number of elements on either side.
    source, target : int64 arrays (edges,)
        Sorted by source, then target.
    """

    inputs: int
    outputs: int
    source: np.ndarray
    target: np.ndarray

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(inputs,)."""
        return (self.inputs,)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(outputs,)."""
        return (self.outputs,)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """(edges,)."""
        return self.source.shape

    def apply(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Map (batch, inputs) to (batch, outputs)."""
        source, target = (torch.from_numpy(ends).to(x.device) for ends in (self.source, self.target))
        return x.new_zeros(len(x), self.outputs).index_add(1, target, x[:, source] * kernel)

    def sums(self, kernel: Tensor, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Sum the edges into each output and out of each input; see :meth:`.Convolution.sums`."""
        into, out_of = np.zeros(self.outputs), np.zeros(self.inputs)
        size = max(BLOCK_EDGES, self.inputs + self.outputs)  # a copy in float64 of all weights could be too much
        for begin in range(0, len(self.source), size):
            block = slice(begin, begin + size)
            weights = part_of(kernel[block].detach().double().cpu().numpy(), part)
            into += np.bincount(self.target[block], weights, self.outputs)
            out_of += np.bincount(self.source[block], weights, self.inputs)
        return into, out_of

    def tensor_sums(self, kernel: Tensor, part: str) -> tuple[Tensor, Tensor]:
        """Sum as :meth:`sums` does, in torch operations that autograd follows; see :meth:`.Convolution.tensor_sums`."""
        weights = TENSOR_PARTS[part](kernel)
        source, target = (torch.from_numpy(ends).to(weights.device) for ends in (self.source, self.target))
        into = weights.new_zeros(self.outputs).index_add(0, target, weights)
        out_of = weights.new_zeros(self.inputs).index_add(0, source, weights)
        return into, out_of

    def multiplicities(self) -> np.ndarray:
        """Every weight is carried by one edge."""
        return np.ones(1, np.int64)

    def row_counts(self) -> np.ndarray:
        """Count the edges out of each input, int64 (inputs,)."""
        return np.bincount(self.source, minlength=self.inputs)

    def rows(self, kernel: np.ndarray, block_edges: int = BLOCK_EDGES) -> Iterator[RowBlock]:
        """Yield the edges input by input, in blocks of at most ``block_edges``, or one input's if those are more.

        See :meth:`.Convolution.rows`.
        """
        counts = self.row_counts()
        ends = np.cumsum(counts)
        begin = first = 0  # of the block: its first edge and its first input
        while begin < len(kernel):
            last = max(int(np.searchsorted(ends, begin + block_edges, side="right")), first + 1)
            end = int(ends[last - 1])
            if end > begin:
                yield RowBlock(first, counts[None, first:last], self.target[None, begin:end], kernel[None, begin:end])
            begin, first = end, last
