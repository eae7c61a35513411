"""Functions of all neurons along some axes: norms, variances, cumulative sums, sorting."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from ...weights import Call, Expression
from ..aten import aten
from ..build import as_expression, channel_axis
from ..mixing import mix
from ..registry import rule
from ..watch import Operation, Watch


@rule(
    aten.var.correction,
    aten.std.correction,
    aten.var_mean.correction,
    aten.linalg_vector_norm.default,
    aten.norm.ScalarOpt_dim,
    aten.norm.Scalar,
    aten.logsumexp.default,
    aten.prod.default,
    aten.prod.dim_int,
    aten.aminmax.default,
    aten.median.default,
    aten.median.dim,
    aten.nanmedian.default,
    aten.nanmedian.dim,
    aten.mode.default,
    aten.all.default,
    aten.all.dim,
    aten.any.default,
    aten.any.dim,
    aten.any.dims,
)
def reduce(watch: Watch, operation: Operation) -> None:
    """Bring the neurons along some axes down to one."""
    x = operation.args[0]
    over = _axes(operation, x)
    kept = [1 if axis in over else length for axis, length in enumerate(x.shape)]
    count = prod(x.shape[axis] for axis in over)
    read = watch.ids(x).movedim(over, tuple(range(x.dim() - len(over), x.dim()))).reshape(*kept, count)
    for out, function in _results(watch, operation, x):
        mix(watch, operation, out, [read.reshape(*out.shape, count)], function, [watch.ids(x)])


@rule(
    aten.cumsum.default,
    aten.cumprod.default,
    aten.logcumsumexp.default,
    aten.cummax.default,
    aten.cummin.default,
    aten.sort.default,
    aten.sort.stable,
    aten.topk.default,
    aten.kthvalue.default,
)
def along(watch: Watch, operation: Operation) -> None:
    """Let every result along an axis depend on all neurons along it."""
    x = operation.args[0]
    ids = watch.ids(x)
    if not x.dim():
        ids, axis = ids[None], 0
    else:
        axis = operation.argument("dim", -1) % x.dim()
    read = ids.movedim(axis, -1).unsqueeze(axis)  # (…, 1, …, along the axis)
    for out, function in _results(watch, operation, x):
        fitting = read if out.dim() == read.dim() - 1 else read.squeeze(axis)
        mix(watch, operation, out, [fitting], function, [watch.ids(x)], channel_axis=channel_axis(watch, x, out))


def _results(watch: Watch, operation: Operation, x: Tensor) -> list[tuple[Tensor, Expression]]:
    """List the results that are values, with the functions that compute them; places are decisions."""
    whole = as_expression(watch, operation, [x])
    assert isinstance(whole, Call)
    if isinstance(operation.out, Tensor):
        return [(operation.out, whole)]
    values = [(place, out) for place, out in enumerate(operation.out) if out.dtype is not torch.int64 or _counts(x)]
    return [(out, Call(whole.function, whole.args, whole.kwargs, place)) for place, out in values]


def _counts(x: Tensor) -> bool:
    return not x.dtype.is_floating_point


def _axes(operation: Operation, x: Tensor) -> tuple[int, ...]:
    """Return the axes that an operation runs over; all of them where none is given."""
    dims: Any = operation.argument("dim") if x.dim() else None
    given: Sequence[int] = [dims] if isinstance(dims, int) else dims or range(x.dim())
    return tuple(sorted(axis % x.dim() for axis in given))
