"""Dense layers whose weights are stored in another way: sparse, or as whole numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from ...weights import Call, Constant
from ..aten import aten
from ..build import as_expression, operand_nodes
from ..connect import connect_convolution
from ..registry import rule
from ..watch import Operation, Refused, Watch
from .linear import dense


@rule(aten._sparse_addmm.default, aten._sparse_mm.default)
def sparse_product(watch: Watch, operation: Operation) -> None:
    """Multiply a sparse matrix (out, in) by neurons (in, columns)."""
    *added, matrix, x = operation.args[:3]
    if not watch.is_neuron(x) or any(watch.is_neuron(t) for t in (*added, matrix)):
        raise Refused("a sparse matrix made of neurons, or added to some")
    weight = Call(Tensor.to_dense, (watch.expression(matrix),))
    alpha, beta = operation.argument("alpha", 1), operation.argument("beta", 1)
    bias = Call(torch.mul, (watch.expression(added[0]), beta)) if added and bool(added[0].any()) else None
    dense(watch, operation, x, weight if alpha == 1 else Call(torch.mul, (weight, alpha)), bias, axis=-2)


def quantised_linear(watch: Watch, operation: Operation) -> None:
    """Multiply neurons, rounded by their own range, by a matrix of whole numbers."""
    x, packed = operation.args[:2]
    matrix, _ = packed.unpack()
    source, out = watch.ids(x), operation.out
    ids = watch.born(
        operation,
        out,
        "linear",
        watch.new_by_axis(out.shape, -1),
        function=as_expression(watch, operation, [x]),
        operands=operand_nodes(watch, [source]),
        channel_axis=-1,
    )
    weight = Constant(matrix.dequantize())
    connect_convolution(watch, source.reshape(-1, x.shape[-1]), ids.reshape(-1, out.shape[-1]), (), 1, weight)


for _name in ("linear_dynamic", "linear_dynamic_fp16", "linear_relu_dynamic"):
    if hasattr(torch.ops.quantized, _name):  # not built into every torch
        rule(getattr(torch.ops.quantized, _name).default)(quantised_linear)
