"""Functions of whole matrices: inverses, determinants, decompositions, solutions of linear equations."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ...weights import Call
from ..aten import aten
from ..build import as_expression
from ..mixing import mix
from ..registry import rule
from ..watch import Ids, Operation, Watch
from .composed import by_definition

# How many of the results are what the function is about; the others are left over from computing it.
RESULTS = {
    aten.linalg_inv_ex.default: 1,
    aten.linalg_pinv.atol_rtol_tensor: 1,
    aten.linalg_matrix_exp.default: 1,
    aten._linalg_det.default: 1,
    aten._linalg_slogdet.default: 2,
    aten.linalg_cholesky_ex.default: 1,
    aten.cholesky.default: 1,
    aten.cholesky_inverse.default: 1,
    aten.linalg_qr.default: 2,
    aten._linalg_svd.default: 3,
    aten._linalg_eigh.default: 2,
    aten.cholesky_solve.default: 1,
}


@rule(aten._linalg_solve_ex.default, aten.linalg_solve_triangular.default)
def solve(watch: Watch, operation: Operation) -> None:
    """Solve linear equations: those of a fixed matrix by its inverse, a linear map."""
    matrix, right = operation.args[:2]
    if watch.is_neuron(matrix):
        of_matrices(watch, operation)
        return
    left, vectors = operation.argument("left", True), _own_axes(right, matrix) == 1

    def definition(matrix: Tensor, right: Tensor, **options: Any) -> Tensor:
        one = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        inverse = tree_leaves(operation.func(matrix, one.expand(matrix.shape), **{**options, "left": True}))[0]
        if vectors:
            return (inverse @ right.unsqueeze(-1)).squeeze(-1)
        return inverse @ right if left else right @ inverse

    by_definition(watch, operation, definition)


@rule(*RESULTS)
def of_matrices(watch: Watch, operation: Operation) -> None:
    """Let every result depend on all neurons of the matrices (…, rows, columns), batch by batch."""
    matrices = [t for t in operation.args[:2] if isinstance(t, Tensor)]
    neurons = [t for t in matrices if watch.is_neuron(t)]
    function = as_expression(watch, operation, neurons)
    assert isinstance(function, Call)
    batch = max(t.dim() for t in matrices) - 2
    several = not isinstance(operation.out, Tensor)
    for place, out in enumerate(tree_leaves(operation.out)[: RESULTS.get(operation.func, 1)]):
        reads = [_whole(watch.ids(t), t.dim() - _own_axes(t, matrices[0]), batch, out.dim()) for t in neurons]
        value = Call(function.function, function.args, function.kwargs, place) if several else function
        mix(watch, operation, out, reads, value, [watch.ids(t) for t in neurons])


def _own_axes(t: Tensor, matrix: Tensor) -> int:
    """Count the axes of an operand behind those of the batch: one if torch takes it as vectors."""
    return 1 if t.dim() == 1 or t.shape == matrix.shape[:-1] else 2


def _whole(ids: Ids, of_batch: int, batch: int, axes: int) -> Ids:
    """Let every element of a result with so many axes read whole matrices, (*batch, 1, …, nodes)."""
    shape = [*[1] * (batch - of_batch), *ids.shape[:of_batch], *[1] * (axes - batch)]
    return ids.reshape(*shape, prod(ids.shape[of_batch:]))
