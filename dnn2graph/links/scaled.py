"""A linear map whose input elements are weighed one by one before it: the map times a diagonal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .convolution import BLOCK_EDGES, Convolution, RowBlock
from .listed import Listed
from .sums import PARTS, TENSOR_PARTS

# A part of products, as sums of products of parts: a product is positive where both factors are, or neither.
FACTORS = {
    "signed": (("signed", "signed"),),
    "abs": (("abs", "abs"),),
    "positive": (("positive", "positive"), ("negative", "negative")),
    "negative": (("positive", "negative"), ("negative", "positive")),
    "nonzero": (("nonzero", "nonzero"),),
    "square": (("square", "square"),),
}


@dataclass(frozen=True, eq=False)
class Scaled:
    """Apply another map to ``scale * x``: an edge weighs its kernel entry times the scale of its input element.

    Where the scale of an in-channel is the same at all positions it can go into the kernel, and should: then every
    measure has a closed form. This map is for a kernel that is shared between positions whose scales differ.

    Parameters
    ----------
    map : Convolution or Listed
    scale : float64 array (map.in_shape)
        Finite. An input element of scale 0 has no edges.
    """

    map: Convolution | Listed
    scale: np.ndarray = field(repr=False)

    @property
    def in_shape(self) -> tuple[int, ...]:
        """As of the map."""
        return self.map.in_shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """As of the map."""
        return self.map.out_shape

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """As of the map."""
        return self.map.kernel_shape

    def apply(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Map (batch, *in_shape) to (batch, *out_shape)."""
        return self.map.apply(x * self._scale_like(x), kernel)

    def sums(self, kernel: Tensor, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Sum the edges into each output and out of each input element; see :meth:`.Convolution.sums`."""
        kernel = kernel.detach().double()
        per_output, per_input = np.zeros(self.out_shape), np.zeros(self.in_shape)
        for of_scale, of_kernel in FACTORS[part]:
            scale = PARTS[of_scale](self.scale)
            x = torch.from_numpy(scale).to(kernel.device)[None]
            per_output += self.map.apply(x, TENSOR_PARTS[of_kernel](kernel))[0].numpy(force=True)
            per_input += scale * self.map.sums(kernel, of_kernel)[1]
        return (np.rint(per_output) if part == "nonzero" else per_output), per_input  # a count, of whole edges

    def tensor_sums(self, kernel: Tensor, part: str) -> tuple[Tensor, Tensor]:
        """Sum as :meth:`sums` does, in torch operations that autograd follows; see :meth:`.Convolution.tensor_sums`."""
        per_output, per_input = kernel.new_zeros(self.out_shape), kernel.new_zeros(self.in_shape)
        for of_scale, of_kernel in FACTORS[part]:
            scale = TENSOR_PARTS[of_scale](self._scale_like(kernel))
            per_output = per_output + self.map.apply(scale[None], TENSOR_PARTS[of_kernel](kernel))[0]
            per_input = per_input + scale * self.map.tensor_sums(kernel, of_kernel)[1]
        return per_output, per_input

    def multiplicities(self) -> np.ndarray:
        """How many pairs of elements each entry of the kernel joins, those of scale 0 among them."""
        return self.map.multiplicities()

    def row_counts(self) -> np.ndarray:
        """Count the pairs that :meth:`rows` lists for each input element; those of scale 0 weigh 0."""
        return self.map.row_counts()

    def rows(self, kernel: np.ndarray, block_edges: int = BLOCK_EDGES) -> Iterator[RowBlock]:
        """Unroll, row by row; see :meth:`.Convolution.rows`. Numbers of kernel entries are listed as they are."""
        scale = self.scale.reshape(-1)
        for block in self.map.rows(kernel, block_edges):
            if not np.issubdtype(kernel.dtype, np.floating):
                yield block
                continue
            of_row = scale[block.first : block.first + block.counts.size]
            factor = np.repeat(of_row, block.counts.reshape(-1)).reshape(block.weights.shape)
            yield block._replace(weights=_products(block.weights, factor))

    def _scale_like(self, tensor: Tensor) -> Tensor:
        return torch.from_numpy(self.scale).to(tensor)


def times(kernel: Tensor, amounts: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Multiply a kernel, brought to its shape, by amounts that broadcast against it, in the kernel's precision."""
    return kernel.expand(shape) * amounts.to(kernel)


def _products(weights: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Multiply in the precision of the weights; a product that is too small for it stays an edge."""
    with np.errstate(under="ignore", over="ignore"):
        products = (weights * factor).astype(weights.dtype)
    lost = (products == 0) & (weights != 0) & (factor != 0)
    if lost.any():
        negative = (weights[lost] < 0) != (factor[lost] < 0)
        smallest = np.finfo(weights.dtype).smallest_subnormal
        products[lost] = np.where(negative, -smallest, smallest)
    return products
