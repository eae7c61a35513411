"""Matrix products, and determinants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import operator

if TYPE_CHECKING:
    from ..module import Step


@operator("Gemm")
def gemm(step: Step, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """``alpha * a @ b + beta * c``, with ``a`` and ``b`` transposed or not."""
    a = a.t() if step.get("transA", 0) else a
    step.afford([(len(a), b.shape[0 if step.get("transB", 0) else 1])])
    weight = b if step.get("transB", 0) else b.t()  # (out, in)
    alpha, beta = step.get("alpha", 1.0), step.get("beta", 1.0)
    if alpha != 1:
        weight = weight * alpha
    if c is not None and beta != 1:
        c = c * beta
    if c is not None and c.dim() < 2 and c.numel() in (1, len(weight)):
        return F.linear(a, weight, c.expand(len(weight)))
    return F.linear(a, weight) if c is None else F.linear(a, weight) + c


@operator("MatMul")
def matrix_product(step: Step, a: Tensor, b: Tensor) -> Tensor:
    """As numpy's."""
    rows, columns = a.shape[-2:-1], b.shape[-1:] if b.dim() > 1 else ()
    step.afford([(*torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *rows, *columns)])
    return torch.matmul(a, b)


@operator("Einsum")
def einsum(step: Step, *inputs: Tensor) -> Tensor:
    """Einstein's sum convention."""
    equation = step.get("equation")
    step.afford([torch.einsum(equation, *(torch.empty(x.shape, device="meta") for x in inputs)).shape])
    return torch.einsum(equation, *inputs)


@operator("Det")
def determinant(step: Step, x: Tensor) -> Tensor:
    """Of square matrices."""
    return torch.linalg.det(x)
