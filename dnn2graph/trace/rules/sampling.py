"""Images read at places that are computed: grids of coordinates, bilinear forms."""

from __future__ import annotations

import torch

from ...weights import Aggregation, Call, Expression
from ..aten import aten
from ..build import as_expression, operand_nodes
from ..connect import connect_convolution
from ..mixing import mix
from ..registry import rule
from ..watch import Ids, Operation, Refused, Watch


@rule(aten.grid_sampler_2d.default, aten.grid_sampler_3d.default)
def grid_sample(watch: Watch, operation: Operation) -> None:
    """Read (samples, channels, *positions) at (samples, *places, coordinates): each place may read any position."""
    x, grid = operation.args[:2]
    operands = [t for t in (x, grid) if watch.is_neuron(t)]
    spread = [1] * (grid.dim() - 2)
    reads = []
    if watch.is_neuron(x):
        reads.append(watch.ids(x).reshape(*x.shape[:2], *spread, -1))
    if watch.is_neuron(grid):
        reads.append(watch.ids(grid).unsqueeze(1))
    function = as_expression(watch, operation, operands)
    mix(watch, operation, operation.out, reads, function, [watch.ids(t) for t in operands], channel_axis=1)


@rule(aten.affine_grid_generator.default)
def affine_grid(watch: Watch, operation: Operation) -> None:
    """Compute coordinates (samples, *places, axes) from matrices (samples, axes, axes + 1)."""
    theta = operation.args[0]
    ids = watch.ids(theta)
    read = ids.reshape(len(ids), *[1] * (operation.out.dim() - 2), *ids.shape[1:])
    mix(watch, operation, operation.out, [read], as_expression(watch, operation, [theta]), [ids], channel_axis=-1)


@rule(aten._trilinear.default)
def bilinear(watch: Watch, operation: Operation) -> None:
    """``x W y`` of two inputs: the weight of an edge aggregates what its input weighs with all of the other's."""
    x, weight, y = operation.args[:3]
    layout = [list(operation.argument(name)) for name in ("expand1", "expand2", "expand3", "sumdim")]
    if layout != [[1, 3], [0], [1, 2], [2, 3]] or watch.is_neuron(weight):
        raise Refused("a product of three tensors that is no bilinear layer")
    operands = [t for t in (x, y) if watch.is_neuron(t)]
    kernel = watch.expression(weight)  # (out, first in, second in)
    out = operation.out
    ids = watch.born(
        operation,
        out,
        "linear",
        watch.new_by_axis(out.shape, -1),
        function=as_expression(watch, operation, operands),
        operands=operand_nodes(watch, [watch.ids(t) for t in operands]),
        channel_axis=-1,
    )
    for operand, axis in ((x, 2), (y, 1)):
        if watch.is_neuron(operand):
            _connect(watch, watch.ids(operand), ids, Call(torch.movedim, (kernel, axis, -1)))


def _connect(watch: Watch, source: Ids, target: Ids, kernel: Expression) -> None:
    """Link (samples, in) to (samples, out) by a kernel (out, in, what the other input gives)."""
    connect_convolution(watch, source, target, (), 1, Call(Aggregation(watch.options.aggregate), (kernel,)))
