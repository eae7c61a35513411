"""Links: one linear map between nodes, with its weight and its geometry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..nodes import Nodes
from ..weights import Constant, Expression, Weights
from .axis import Axis, Sliding, Window
from .convolution import BLOCK_EDGES, Convolution
from .listed import Listed
from .scaled import Scaled
from .sums import PARTS, as_numpy, part_of

if TYPE_CHECKING:
    from ..graph import Layer

__all__ = ["KINDS", "PARTS", "Axis", "Convolution", "EdgeBlock", "Links", "Listed", "Scaled", "Sliding", "Window"]

KINDS = ("weight", "unit", "pool", "gate", "recurrent")


class EdgeBlock(NamedTuple):
    """Some edges of the graph: arrays of equal length."""

    sources: np.ndarray  # node ids, int64
    targets: np.ndarray  # node ids, int64
    weights: np.ndarray  # signed, in the weights' own precision


@dataclass(frozen=True, eq=False)
class Links:
    """One linear map between nodes of the graph.

    Attributes
    ----------
    kind : {"weight", "unit", "pool", "gate", "recurrent"}
        "weight" is learned; "unit" a fixed elementwise connection (residual sum, identity, constant factor); "pool" a
        pooling window (a maximum is not linear: each position of its window nominally weighs ``1 / window size``);
        "gate" an operand of a product or of another function of several neurons; "recurrent" leads to an earlier layer.
    source_nodes, target_nodes : Nodes
        The node of each element of the map's input and output.
    map : Convolution, Listed or Scaled
        The geometry.
    weight : Expression
        The kernel, of shape ``map.kernel_shape``.
    sources : tuple of Layer
        The layers that the links leave.
    target : Layer
        The layer that they enter.
    """

    kind: str
    source_nodes: Nodes
    target_nodes: Nodes
    map: Convolution | Listed | Scaled
    weight: Expression
    weights: Weights = field(default_factory=dict, repr=False)
    dtype: torch.dtype = torch.float32
    sources: tuple[Layer, ...] = ()
    target: Layer | None = None

    def with_weights(self, weights: Weights, dtype: torch.dtype) -> Links:
        """Bind the links to other parameters."""
        return replace(self, weights=weights, dtype=dtype)

    def kernel(self) -> Tensor:
        """Evaluate the weight expression: shape ``map.kernel_shape``, in the graph's precision."""
        return self._in_shape(self.weight.detached(self.weights))

    def kernel_of(self, weights: Weights) -> Tensor:
        """Evaluate the weight expression with other parameters, which autograd and ``torch.vmap`` follow."""
        return self._in_shape(self.weight.evaluate(weights))

    def _in_shape(self, kernel: Tensor) -> Tensor:
        kernel = kernel if kernel.dtype == self.dtype else kernel.to(self.dtype)
        return kernel if kernel.shape == self.map.kernel_shape else kernel.expand(self.map.kernel_shape)

    @property
    def is_irregular(self) -> bool:
        """Whether the weights of edges cannot be read off the kernel by geometry alone: :meth:`blocks` lists them.

        So it is where an element of the input is no node, or a node stands in several elements: two taps may join the
        same pair of nodes, and they are one edge whose weight is their sum. So it is too where the map scales each
        element of the input by itself.
        """
        return isinstance(self.map, Scaled) or self.meets_again

    @property
    def meets_again(self) -> bool:
        """Whether an element of the input is no node, or a node stands in several elements."""
        return self.source_nodes.has_gaps or self.source_nodes.has_repeats or self.target_nodes.has_repeats

    def source_scale(self, sources: np.ndarray) -> np.ndarray | None:
        """By what the map multiplies the edges that leave some nodes, beside entries of the kernel; None for nothing.

        Float64 of the shape of ``sources``, nodes that the links leave.
        """
        if not isinstance(self.map, Scaled):
            return None
        scale, nodes = self.map.scale.reshape(-1), self.source_nodes
        if nodes.is_range:
            return np.asarray(scale[sources - nodes.start])
        order = np.argsort(nodes.flat, kind="stable")  # a node that stands in several elements has one scale
        return np.asarray(scale[order[np.searchsorted(nodes.flat, sources, sorter=order)]])

    def apply(self, x: Tensor) -> Tensor:
        """Apply the linear map ``L``: (batch, *map.in_shape) to (batch, *map.out_shape)."""
        return self.map.apply(x, self.kernel().to(x.dtype))

    def transpose(self, y: Tensor) -> Tensor:
        """Apply the adjoint ``Lᵀ``: (batch, *map.out_shape) to (batch, *map.in_shape)."""
        anywhere = y.new_zeros(len(y), *self.map.in_shape)  # a linear map has the same derivative everywhere
        with torch.enable_grad():
            return torch.func.vjp(self.apply, anywhere)[1](y)[0]

    @property
    def has_values(self) -> bool:
        """Whether the weights are known: those of a model on the meta device are not, until some are attached."""
        return not any(self.weights[name].is_meta for name in self.weight.parameters())

    @property
    def nnz(self) -> int:
        """Number of edges: pairs of nodes joined by a weight that is not zero; of unknown weights none counts as zero.

        So the number for a graph without weights is the most that it can be.
        """
        if not self.has_values:
            ones = Constant(torch.ones((), dtype=self.dtype).expand(self.map.kernel_shape))
            return replace(self, weight=ones).nnz
        if self.meets_again:
            return sum(len(block.weights) for block in self.blocks())
        if isinstance(self.map, Scaled):
            return round(float(self.sums("nonzero")[1].sum()))
        kernel, counts = as_numpy(self.kernel()), self.map.multiplicities()
        if counts.size == 1:
            return int(np.count_nonzero(kernel)) * int(counts.flat[0])
        per_tap = np.count_nonzero(kernel, axis=(0, 1))
        return int((per_tap * counts[0, 0]).sum())

    def sums(self, part: str = "signed") -> tuple[np.ndarray, np.ndarray]:
        """In-strength of each output element and out-strength of each input element, ``L(1)`` and ``Lᵀ(1)``.

        Float64 arrays of shapes ``map.out_shape`` and ``map.in_shape``; ``part`` as in ``PARTS``.
        """
        return self.map.sums(self.kernel(), part)

    def add_strengths(self, into: np.ndarray, out_of: np.ndarray, part: str) -> None:
        """Add the links' share to the in- and out-strengths of all nodes, float64 arrays (nodes,)."""
        if self.meets_again:
            for block in self.blocks():
                weights = part_of(block.weights.astype(np.float64), part)
                np.add.at(into, block.targets, weights)
                np.add.at(out_of, block.sources, weights)
            return
        per_output, per_input = self.sums(part)
        self.target_nodes.add_to(into, per_output)
        self.source_nodes.add_to(out_of, per_input)

    def blocks(self, block_edges: int = BLOCK_EDGES) -> Iterator[EdgeBlock]:
        """List the edges in blocks of about ``block_edges``; exact zeros are no edges."""
        repeated = self._repeated_elements()
        merged: list[EdgeBlock] = []
        for row, (source, target, weight) in self._rows(as_numpy(self.kernel()), block_edges):
            keep = weight != 0
            if self.source_nodes.has_gaps:
                keep &= source >= 0
            if repeated is not None:
                again = repeated[row] & keep
                merged.append(EdgeBlock(source[again], target[again], weight[again]))
                keep &= ~again
            if not keep.all():
                source, target, weight = source[keep], target[keep], weight[keep]
            yield EdgeBlock(source, target, weight)
        if merged:
            yield _merge([np.concatenate(parts) for parts in zip(*merged, strict=True)])

    def entries(self) -> EdgeBlock:
        """List all pairs of nodes that the map joins, each with the kernel entry between them as its weight (int64).

        Unlike an edge, a pair may occur several times where the links are irregular, and may weigh zero. Where
        :meth:`source_scale` has something to say, the entry is not yet multiplied by it.
        """
        numbers = np.arange(prod(self.map.kernel_shape)).reshape(self.map.kernel_shape)
        blocks = [block for _, block in self._rows(numbers, BLOCK_EDGES)] or [_no_edges(torch.int64)]
        source, target, entry = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        node = source >= 0
        return EdgeBlock(source[node], target[node], entry[node])

    def _rows(self, kernel: np.ndarray, block_edges: int) -> Iterator[tuple[np.ndarray, EdgeBlock]]:
        """Unroll a kernel in blocks of about ``block_edges``: the input element of each pair of nodes, and the pair."""
        sources, targets = self.source_nodes.flat, self.target_nodes
        for block in self.map.rows(kernel, block_edges):
            rows = np.arange(block.first, block.first + block.counts.size)
            row = np.repeat(rows, block.counts.reshape(-1))
            target = block.targets.reshape(-1)
            target = target + targets.start if targets.is_range else targets.flat[target]
            yield row, EdgeBlock(sources[row], target, block.weights.reshape(-1))

    def coo(self) -> EdgeBlock:
        """List all edges at once; sorted by nothing in particular, no pair twice."""
        blocks = list(self.blocks()) or [_no_edges(self.dtype)]
        return EdgeBlock(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))

    def _repeated_elements(self) -> np.ndarray | None:
        """Mark the input elements whose node stands in several; None if there are none."""
        if self.target_nodes.has_repeats:
            return np.ones(self.source_nodes.size, bool)
        if not self.source_nodes.has_repeats:
            return None
        _, place, count = np.unique(self.source_nodes.flat, return_inverse=True, return_counts=True)
        return np.asarray(count[place] > 1)


def _merge(parts: list[np.ndarray]) -> EdgeBlock:
    """Sum the weights of edges between the same two nodes."""
    source, target, weight = parts
    order = np.lexsort((target, source))
    source, target, weight = source[order], target[order], weight[order]
    if not len(weight):
        return EdgeBlock(source, target, weight)
    first = np.flatnonzero(np.r_[True, (np.diff(source) != 0) | (np.diff(target) != 0)])
    total = np.add.reduceat(weight, first)
    keep = total != 0
    return EdgeBlock(source[first][keep], target[first][keep], total[keep])


def _no_edges(dtype: torch.dtype) -> EdgeBlock:
    nothing = np.zeros(0, np.int64)
    return EdgeBlock(nothing, nothing, as_numpy(torch.zeros(0, dtype=dtype)))
