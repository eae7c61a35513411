"""How layers are made whose nodes read many neurons at once: products of activations, attention, normalisers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor

from ..links import Axis, Convolution, Listed
from ..nodes import NO_NODE
from ..weights import Constant, Expression
from .build import operand_nodes
from .ids import changes_along, completed, distinct_rows, fill_gaps, without_repeats
from .watch import Ids, Operation, Watch


def mix(
    watch: Watch,
    operation: Operation,
    out: Tensor,
    reads: Sequence[Ids],
    function: Expression,
    operands: Sequence[Ids],
    kind: str = "function",
    **fields: Any,
) -> Ids:
    """Make the output a layer whose every node is a function of windows of neurons, linked as gates.

    Parameters
    ----------
    reads : sequence of int64 tensors (*shape of the output, window)
        Which nodes each element of the output reads. Axes along which they do not change may have length 1.
    function : Expression
        Of the operands.
    operands : sequence of int64 tensors
        The nodes of the operands, in their own shapes.

    Returns
    -------
    ids : int64 tensor of the output's shape
    """
    fields |= {"function": function, "operands": operand_nodes(watch, operands)}
    if watch.by_position:
        ids = watch.born(operation, out, kind, watch.new_by_element(out.shape), **fields)
        for read in reads:
            connect_windows(watch, read, ids)
        return ids
    return gather_rows(watch, operation, out, reads, kind, "gate", **fields)


def gather_rows(
    watch: Watch, operation: Operation, out: Tensor, reads: Sequence[Ids], kind: str, links: str, **fields: Any
) -> Ids:
    """Make a layer in channel granularity: a node for each different row of nodes that its elements read.

    Arguments are those of :func:`mix`; ``links`` is the kind of its links, whose weights are 1.
    """
    rows, widths, local = _rows(reads, out.shape)
    ids = watch.born(operation, out, kind, local.expand(out.shape), **fields)
    if ids.numel():
        first = int(ids.max()) - int(local.max())
        begin = 0
        for width in widths:
            _connect_rows(watch, rows[:, begin : begin + width], first, links)
            begin += width
    return ids


def _rows(reads: Sequence[Ids], shape: Sequence[int]) -> tuple[Tensor, list[int], Ids]:
    """Number the different rows of nodes that elements of the output read.

    Returns
    -------
    rows : int64 tensor (nodes, nodes read)
    widths : list of int
        How many columns belong to each of the reads.
    local : int64 tensor that expands to the output's shape
        The row of each element; -1 where nothing but constants is read.
    """
    axes = range(len(shape))
    reads = [fill_gaps(read, axes) for read in reads]
    reads = [_narrowed(read, axes) for read in reads]
    reads, places = without_repeats(*reads, axes=axes)
    reads = [_narrowed(read, [len(shape)]) for read in reads]
    common = torch.broadcast_shapes(*(read.shape[:-1] for read in reads))
    table = torch.cat([read.expand(*common, read.shape[-1]).reshape(-1, read.shape[-1]) for read in reads], 1)
    rows, which = distinct_rows(table)
    same = completed(rows)
    nodes = torch.unique(same[(rows >= 0).any(1)])
    local = torch.full((len(rows),), NO_NODE)
    local[nodes] = torch.arange(len(nodes))
    local = local[same][which].reshape(common)
    for axis, place in places.items():
        local = local.index_select(axis, place)
    return rows[nodes], [read.shape[-1] for read in reads], local


def _narrowed(read: Ids, axes: Iterable[int]) -> Ids:
    """Shorten to length 1 those of some axes along which nothing changes."""
    for axis in axes:
        if not changes_along(read, axis):
            read = read.narrow(axis, 0, 1)
    return read


def _connect_rows(watch: Watch, rows: Tensor, first: int, kind: str) -> None:
    """Link the nodes in each row to the node of that row, counted from ``first``."""
    sorted_rows = np.sort(rows.numpy(), axis=1)
    once = sorted_rows >= 0
    once[:, 1:] &= sorted_rows[:, 1:] != sorted_rows[:, :-1]
    read = sorted_rows[once]  # row by row
    if not read.size:
        return
    present = np.zeros(int(read.max()) + 1 - int(read.min()), bool)
    present[read - read.min()] = True
    source = (np.cumsum(present) - 1)[read - read.min()]
    sources = np.flatnonzero(present) + read.min()
    ends = np.r_[0, np.cumsum(once.sum(1))]
    by_row = scipy.sparse.csr_array((np.ones(read.size, np.int8), source, ends), (len(rows), len(sources)))
    by_source = by_row.tocsc()
    counts = np.diff(by_source.indptr)
    geometry = Listed(
        len(sources), len(rows), np.repeat(np.arange(len(sources)), counts), by_source.indices.astype(np.int64)
    )
    watch.link(kind, torch.from_numpy(sources), torch.arange(len(rows)) + first, geometry, _ones(1))


def connect_windows(watch: Watch, read: Ids, target: Ids) -> None:
    """Link windows (*shape, window) to elements (*shape), where axes of length 1 stand for all elements along them."""
    axes = range(target.dim())
    shared = [axis for axis in axes if read.shape[axis] == 1 and target.shape[axis] > 1]
    own = [axis for axis in axes if axis not in shared]
    copies = prod(target.shape[axis] for axis in own)
    source = read.permute((*own, *shared, target.dim())).reshape(copies, 1, -1)
    target = target.permute((*own, *shared)).reshape(copies, 1, -1)
    axis = Axis.all_to_all(source.shape[-1], target.shape[-1])
    watch.link("gate", source, target, Convolution(1, 1, (axis,), copies=copies), _ones(1, 1, 1))


def _ones(*shape: int) -> Expression:
    return Constant(torch.ones(shape, dtype=torch.float64))
