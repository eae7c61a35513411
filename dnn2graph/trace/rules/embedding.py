"""Embeddings: one node for each entry of the vocabulary, linked by that entry's row of the table."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...links import Listed
from ...weights import Aggregation, Call, Constant, Value, transposed
from ..aten import aten
from ..build import operand_nodes
from ..connect import connect_convolution
from ..ids import collapse
from ..mixing import connect_windows
from ..registry import rule
from ..watch import Ids, Operation, Refused, Watch
from .moves import move

# What looks up entries of a table, the first argument, by the second.
LOOKUPS = (
    aten.embedding.default,
    aten._embedding_bag.default,
    aten._embedding_bag_forward_only.default,
    aten.index.Tensor,
)


@rule(aten.embedding.default)
def embedding(watch: Watch, operation: Operation) -> None:
    """Look up a row of the table for each index: a linear map of the index's one-hot vector."""
    table, index = operation.args[:2]
    if watch.is_neuron(table):
        raise Refused("a table made of neurons")
    if watch.options.vocabulary == "aggregate":
        _aggregated(watch, operation, index, table)
        return
    entries, out = _entries(watch, operation, index, table), operation.out
    ids = watch.born(operation, out, "linear", watch.new_by_axis(out.shape, -1), channel_axis=-1)
    weight = transposed(watch.expression(table))  # (features, vocabulary)
    connect_convolution(watch, entries.flatten(0, -2), ids.reshape(-1, ids.shape[-1]), (), 1, weight)


@rule(aten.index.Tensor)
def index(watch: Watch, operation: Operation) -> None:
    """Pick elements; with indices that depend on the input, rows of a table as an embedding does."""
    table, places = operation.args[:2]
    if is_lookup(table, places) and watch.is_neuron(places[0]) and not watch.is_neuron(table):
        embedding(watch, Operation(aten.embedding.default, (table, places[0]), {}, operation.out))
    else:
        move(watch, operation)


def is_lookup(table: Tensor, places: Sequence[Tensor | None]) -> bool:
    """Whether whole numbers pick rows of a matrix."""
    rows = places[0]
    picked = len(places) == 1 and rows is not None and rows.dtype in (torch.int64, torch.int32)
    return picked and table.dim() == 2 and table.is_floating_point()


def _entries(watch: Watch, operation: Operation, index: Tensor, table: Tensor) -> Ids:
    """Make the layer of the vocabulary's entries; give its nodes, which expand to (*index, vocabulary)."""
    source, size = watch.ids(index), len(table)
    if not (watch.by_position or watch.keep_values):
        source = collapse(source)[0]
    hot = one_hot(index if source.shape == index.shape else index.new_zeros(source.shape), size, table.dtype)
    if watch.by_position:
        local = watch.new_by_element(hot.shape)
    else:
        nodes, which = torch.unique(source, return_inverse=True)
        local = which[..., None] * size + torch.arange(size)
    ids = watch.born(
        Operation(operation.func, operation.args, operation.kwargs, hot, "vocabulary"),
        hot,
        "vocabulary",
        local,
        function=Call(one_hot, (Value(0), size, table.dtype)),
        operands=operand_nodes(watch, [source]),
        channel_axis=-1,
    )
    if watch.by_position:
        connect_windows(watch, source[..., None, None], ids)
    else:
        place = torch.arange(len(nodes)).repeat_interleave(size)
        targets = torch.arange(len(place)) + int(ids.min())
        geometry = Listed(len(nodes), len(place), place.numpy(), torch.arange(len(place)).numpy())
        watch.link("gate", nodes, targets, geometry, Constant(torch.ones(1, dtype=torch.float64)))
    return ids


def _aggregated(watch: Watch, operation: Operation, index: Tensor, table: Tensor) -> None:
    """Let one node stand for the vocabulary: its links aggregate the rows of the table."""
    source, out, weight = watch.ids(index), operation.out, watch.expression(table)
    ids = watch.born(
        operation,
        out,
        "linear",
        watch.new_by_axis(out.shape, -1),
        function=Call(aten.embedding.default, (weight, Call(torch.Tensor.to, (Value(0), index.dtype)))),
        operands=operand_nodes(watch, [source]),
        channel_axis=-1,
    )
    rows = Call(torch.unsqueeze, (transposed(weight), 1))  # (features, 1, vocabulary)
    kernel = Call(Aggregation(watch.options.aggregate), (rows,))  # (features, 1)
    connect_convolution(watch, source.reshape(-1, 1), ids.reshape(-1, ids.shape[-1]), (), 1, kernel)


def one_hot(index: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Mark each index by a one among zeros: (*index, size)."""
    return (index[..., None] == torch.arange(size, device=index.device)).to(dtype)
