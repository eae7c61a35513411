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
from .ids import changes_along, completed, distinct, distinct_rows, fill_gaps, has_gaps, without_repeats
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
    tables, local = _rows(reads, out.shape)
    ids = watch.born(operation, out, kind, local.expand(out.shape), **fields)
    if ids.numel():
        first = int(ids.max()) - int(local.max())
        for rows, of_node in tables:
            _connect_rows(watch, rows, of_node, first, links)
    return ids


def _rows(reads: Sequence[Ids], shape: Sequence[int]) -> tuple[list[tuple[Tensor, Tensor]], Ids]:
    """Number the different rows of nodes that elements of the output read.

    Returns
    -------
    tables : list of two int64 tensors, (rows, nodes read) and (nodes,)
        For each of the reads its different rows, and which of them each node reads: many may read the same.
    local : int64 tensor that expands to the output's shape
        The node of each element, counted from 0; -1 where nothing but constants is read.
    """
    axes = range(len(shape))
    reads = [fill_gaps(read, axes) for read in reads]
    reads = [_narrowed(read, axes) for read in reads]
    reads, places = without_repeats(*reads, axes=axes)
    reads = [_narrowed(read, [len(shape)]) for read in reads]
    common = torch.broadcast_shapes(*(read.shape[:-1] for read in reads))
    tables, numbers = [], []
    for read in reads:  # each by itself: beside one another, they would repeat what does not change along an axis
        rows, number = distinct_rows(read.reshape(-1, read.shape[-1]))
        tables.append(rows)
        numbers.append(number.reshape(read.shape[:-1]).expand(common))
    tuples, which = distinct(*numbers)
    same, nodes = _nodes(tables, tuples)
    local = torch.full((len(tuples),), NO_NODE)
    local[nodes] = torch.arange(len(nodes))
    local = local[same][which]
    for axis, place in places.items():
        local = local.index_select(axis, place)
    return list(zip(tables, tuples[nodes].unbind(1), strict=True)), local


def _nodes(tables: Sequence[Tensor], tuples: Tensor) -> tuple[Tensor, Tensor]:
    """Say as which other tuple of rows each one counts, and which of them are nodes."""
    if not any(has_gaps(rows) for rows in tables):
        every = torch.arange(len(tuples))
        return every, every
    whole = torch.cat([rows[row] for rows, row in zip(tables, tuples.unbind(1), strict=True)], 1)
    same = completed(whole)
    return same, torch.unique(same[(whole >= 0).any(1)])


def _narrowed(read: Ids, axes: Iterable[int]) -> Ids:
    """Shorten to length 1 those of some axes along which nothing changes."""
    for axis in axes:
        if not changes_along(read, axis):
            read = read.narrow(axis, 0, min(1, read.shape[axis]))
    return read


def _connect_rows(watch: Watch, rows: Tensor, of_node: Tensor, first: int, kind: str) -> None:
    """Link the nodes in each row to the nodes that read it, which are counted from ``first``."""
    if not len(of_node):
        return
    read, of_node, readers = torch.unique(of_node, return_inverse=True, return_counts=True)
    rows = rows[read]
    alike = bool((readers == readers[0]).all()) and not has_gaps(rows)
    if alike and len(torch.unique(rows)) == rows.numel():
        # Nothing is read from two rows: the same dense map stands side by side, and needs no list of its edges.
        dense = Convolution(rows.shape[1], int(readers[0]), copies=len(rows))
        watch.link(kind, rows, torch.argsort(of_node, stable=True) + first, dense, _ones(1, 1))
        return
    sorted_rows = np.sort(rows.numpy(), axis=1)
    once = sorted_rows >= 0
    once[:, 1:] &= sorted_rows[:, 1:] != sorted_rows[:, :-1]
    nodes = sorted_rows[once]  # row by row
    if not nodes.size:
        return
    lowest = int(nodes.min())
    present = np.zeros(int(nodes.max()) + 1 - lowest, bool)
    present[nodes - lowest] = True
    source = (np.cumsum(present) - 1)[nodes - lowest]
    sources = np.flatnonzero(present) + lowest
    ends = np.r_[0, np.cumsum(once.sum(1))]
    by_row = scipy.sparse.csr_array((np.ones(source.size, np.int8), source, ends), (len(rows), len(sources)))
    by_source = by_row[of_node.numpy()].tocsc()  # what several nodes read is repeated at the end only
    counts = np.diff(by_source.indptr)
    geometry = Listed(
        len(sources), len(of_node), np.repeat(np.arange(len(sources)), counts), by_source.indices.astype(np.int64)
    )
    watch.link(kind, torch.from_numpy(sources), torch.arange(len(of_node)) + first, geometry, _ones(1))


def connect_windows(watch: Watch, read: Ids, target: Ids) -> None:
    """Link windows (*shape, window) to elements (*shape), where axes of length 1 stand for all elements along them."""
    axes = range(target.dim())
    shared = [axis for axis in axes if read.shape[axis] == 1 and target.shape[axis] > 1]
    own = [axis for axis in axes if axis not in shared]
    copies = prod(target.shape[axis] for axis in own)
    if not copies:
        return
    source = read.permute((*own, *shared, target.dim())).reshape(copies, 1, -1)
    target = target.permute((*own, *shared)).reshape(copies, 1, -1)
    axis = Axis.all_to_all(source.shape[-1], target.shape[-1])
    watch.link("gate", source, target, Convolution(1, 1, (axis,), copies=copies), _ones(1, 1, 1))


def _ones(*shape: int) -> Expression:
    return Constant(torch.ones(shape, dtype=torch.float64))
