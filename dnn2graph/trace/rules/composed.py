"""Operations that are made of others: their definition runs in their place, and is watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ..registry import rule
from ..watch import Operation, Watch

aten = torch.ops.aten

SUM, MEAN = 0, 1  # how an embedding bag puts entries together; else by their maximum


def by_definition(watch: Watch, operation: Operation, definition: Callable[..., Any]) -> None:
    """Represent an operation by those that its definition, a function of the same arguments, runs."""
    with watch:
        made = definition(*operation.args, **operation.kwargs)
    for out, result in zip(tree_leaves(operation.out), tree_leaves(made), strict=False):
        if watch.is_neuron(result):
            watch.node_ids.write(out, watch.node_ids.read(result))


def by_parts(watch: Watch, operation: Operation) -> None:
    """Represent an operation that torch itself makes of others."""
    by_definition(watch, operation, operation.func.decompose)


@rule(aten.glu.default)
def gated_linear_unit(watch: Watch, operation: Operation) -> None:
    """One half along an axis, gated by the other."""

    def definition(x: Tensor, dim: int = -1) -> Tensor:
        value, gate = x.chunk(2, dim)
        return value * torch.sigmoid(gate)

    by_definition(watch, operation, definition)


@rule(aten._cdist_forward.default, aten._euclidean_dist.default)
def distances(watch: Watch, operation: Operation) -> None:
    """Distances of all rows of one matrix to all rows of another."""

    def definition(one: Tensor, other: Tensor, p: float = 2.0, mode: Any = None) -> Tensor:
        return torch.linalg.vector_norm(one.unsqueeze(-2) - other.unsqueeze(-3), p, -1)

    by_definition(watch, operation, definition)


@rule(aten._embedding_bag.default, aten._embedding_bag_forward_only.default)
def embedding_bag(watch: Watch, operation: Operation) -> None:
    """Sums, means or maxima of the embeddings in each bag."""
    by_definition(watch, operation, bags)


def bags(
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
    """Compute ``aten._embedding_bag``: (bags, features)."""
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
