"""Operations that are made of others: their definition runs in their place, and is watched."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._decomp import decomposition_table
from torch.utils._pytree import tree_leaves

from ..aten import aten
from ..registry import rule
from ..watch import Operation, Refused, Watch

Definition = Callable[..., Any]
SUM, MEAN = 0, 1  # how an embedding bag puts entries together; else by their maximum


def by_definition(watch: Watch, operation: Operation, definition: Definition) -> None:
    """Represent an operation by those that its definition, a function of the same arguments, runs."""
    with watch:
        made = definition(*operation.args, **operation.kwargs)
    results = zip(tree_leaves(operation.out), tree_leaves(made), strict=False)
    for out, result in [(out, result) for out, result in results if watch.is_neuron(result)]:
        if not any(map(watch.run.lacks_values, (out, result))) and not _agree(out, result):
            raise Refused("what it is made of gives other values")
        watch.node_ids.write(out, watch.node_ids.read(result))


def _agree(one: Tensor, other: Tensor) -> bool:
    """Whether two results are equal up to rounding: in half of their digits."""
    one, other = (torch.view_as_real(t) if t.is_complex() else t for t in (one, other))
    if one.shape != other.shape or not one.is_floating_point() or not one.numel():
        return one.shape == other.shape
    most = float(one.nan_to_num(0.0, 0.0, 0.0).abs().max())
    tolerance = float(torch.finfo(one.dtype).eps) ** 0.5
    return torch.allclose(one, other.to(one.dtype), tolerance, tolerance * most, equal_nan=True)


def by_parts(watch: Watch, operation: Operation) -> None:
    """Represent an operation that torch itself makes of others."""
    by_definition(watch, operation, operation.func.decompose)


def by_decomposition(watch: Watch, operation: Operation) -> None:
    """Represent an operation by those into which torch's compiler takes it apart."""
    by_definition(watch, operation, decomposition_table[operation.func])


def defined_as(*operations: Any) -> Callable[[Definition], Definition]:
    """Register operations as what a function of the same arguments computes by others."""

    def register(definition: Definition) -> Definition:
        def represent(watch: Watch, operation: Operation) -> None:
            by_definition(watch, operation, definition)

        rule(*operations)(update_wrapper(represent, definition))
        return definition

    return register


@defined_as(aten.glu.default)
def gated_linear_unit(x: Tensor, dim: int = -1) -> Tensor:
    """One half along an axis, gated by the other."""
    value, gate = x.chunk(2, dim)
    return value * torch.sigmoid(gate)


@defined_as(aten._cdist_forward.default, aten._euclidean_dist.default)
def distances(one: Tensor, other: Tensor, p: float = 2.0, mode: Any = None) -> Tensor:
    """Distances of all rows of one matrix to all rows of another."""
    return torch.linalg.vector_norm(one.unsqueeze(-2) - other.unsqueeze(-3), p, -1)


@defined_as(aten._pdist_forward.default)
def distances_of_pairs(x: Tensor, p: float = 2.0) -> Tensor:
    """Distances of all pairs of rows."""
    one, other = torch.triu_indices(len(x), len(x), 1)
    return torch.linalg.vector_norm(x[one] - x[other], p, -1)


@defined_as(aten.addbmm.default)
def sum_of_products(x: Tensor, one: Tensor, other: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """The sum of the products of pairs of matrices, added to another."""
    return beta * x + alpha * torch.bmm(one, other).sum(0)


@defined_as(aten.masked_select.default)
def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements that a mask leaves, in a row."""
    x, mask = torch.broadcast_tensors(x, mask)
    return x[mask]


@defined_as(aten.put.default)
def put_in_row(x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Overwrite elements counted in one row, or add to them."""
    return x.reshape(-1).index_put((index.reshape(-1),), source.reshape(-1), accumulate).view(x.shape)


@defined_as(aten.scatter.reduce)
def scatter_to(x: Tensor, dim: int, index: Tensor, src: Tensor, *, reduce: str) -> Tensor:
    """Elements added to those at places along an axis, or multiplied with them."""
    return x.scatter_reduce(dim, index, src, {"add": "sum", "multiply": "prod"}[reduce])


@defined_as(aten.scatter.value_reduce)
def scatter_value_to(x: Tensor, dim: int, index: Tensor, value: float, *, reduce: str) -> Tensor:
    """A number added to elements at places along an axis, or multiplied with them."""
    return scatter_to(x, dim, index, torch.full(index.shape, value, dtype=x.dtype), reduce=reduce)


@defined_as(aten.index_reduce.default)
def index_reduce(
    x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Slices along an axis brought down to one with all that are sent to the same place."""
    if not x.dim():
        return index_reduce(x[None], 0, index, source.reshape(-1), reduce, include_self=include_self)[0]
    along = [1] * x.dim()
    along[dim] = -1
    return x.scatter_reduce(dim, index.view(along).expand(source.shape), source, reduce, include_self=include_self)


@defined_as(aten.segment_reduce.default)
def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """Consecutive slices along the first axis brought down to one in each segment."""
    if lengths is None and offsets is not None:
        lengths = offsets.diff()
    if lengths is None or lengths.dim() != 1 or initial is not None:
        raise Refused("segments along another axis than the first, or with an initial value")
    numbers = torch.arange(len(lengths)).repeat_interleave(lengths)
    places = numbers.view(-1, *[1] * (data.dim() - 1)).expand(data.shape)
    reduce = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    made = data.new_zeros(len(lengths), *data.shape[1:])
    return made.scatter_reduce(0, places, data, reduce, include_self=False)


@defined_as(aten._embedding_bag.default, aten._embedding_bag_forward_only.default)
def embedding_bag(
    table: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = SUM,
    sparse: bool = False,
    weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> Tensor:
    """Sums, means or maxima of the embeddings in each bag."""
    rows = F.embedding(indices, table)
    present = indices != padding_idx if padding_idx >= 0 else None
    if weights is not None:
        rows = rows * weights[:, None]
    if present is not None:
        rows = rows * present[:, None] if mode in (SUM, MEAN) else rows.masked_fill(~present[:, None], -torch.inf)
    starts = offsets.tolist()
    stops = starts[1:] if include_last_offset else [*starts[1:], len(indices)]
    made = []
    for start, stop in zip(starts, stops, strict=False):
        bag = rows[start:stop]
        if mode == MEAN and present is not None:
            made.append(bag.sum(0) / present[start:stop].sum().clamp(min=1))
        elif stop == start or mode == SUM:
            made.append(bag.sum(0))
        else:
            made.append(bag.mean(0) if mode == MEAN else bag.amax(0))
    return torch.stack(made)
