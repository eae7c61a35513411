"""The integer that travels beside every activation: which node each element of a tensor is."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from ..nodes import NO_NODE

MANY = 1 << 12  # elements; below, equal slices are not worth looking for


class NodeIds:
    """Node ids of tensors, kept for each *storage*.

    A tensor is a strided window on its storage, and its ids are the same window on the storage's ids. Views, detached
    tensors and in-place operations on slices therefore come out right by themselves: whatever aliases in the model
    aliases here.
    """

    def __init__(self) -> None:
        self._of_storage: dict[int, tuple[StorageWeakRef, Tensor]] = {}
        self._purge_at = 64

    def knows(self, tensor: Tensor) -> bool:
        """Whether some element of the tensor's storage is or was a node."""
        return storage_key(tensor) in self._of_storage

    def read(self, tensor: Tensor) -> Tensor:
        """Return the ids of a tensor's elements, int64 of the tensor's shape; a view."""
        base = self._of_storage[tensor.untyped_storage()._cdata][1]
        return base.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())

    def write(self, tensor: Tensor, ids: Tensor) -> None:
        """Set the ids of a tensor's elements, and so of everything that aliases them."""
        if not self.knows(tensor):
            storage = tensor.untyped_storage()
            base = torch.full((storage.nbytes() // tensor.element_size(),), NO_NODE)
            # The weak reference keeps the address from being given to another storage.
            self._of_storage[storage._cdata] = (StorageWeakRef(storage), base)
            self._purge()
        self.read(tensor).copy_(ids)

    def _purge(self) -> None:
        if len(self._of_storage) >= self._purge_at:
            self._of_storage = {k: entry for k, entry in self._of_storage.items() if not entry[0].expired()}
            self._purge_at = 64 + 2 * len(self._of_storage)


def storage_key(tensor: Tensor) -> int | None:
    """Tell storages apart; None for tensors without one, such as sparse ones."""
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else None


def collapse(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Shorten to length 1 every axis along which none of the tensors (of one shape) changes."""
    for axis in range(tensors[0].dim()):
        if tensors[0].shape[axis] > 1:
            firsts = [t.narrow(axis, 0, 1) for t in tensors]
            if all(t.stride(axis) == 0 or bool((t == first).all()) for t, first in zip(tensors, firsts, strict=True)):
                tensors = tuple(firsts)
    return tensors


def fill_gaps(ids: Tensor, axes: Iterable[int]) -> Tensor:
    """Let elements that are no node belong to the one node that stands beside them along some axes.

    So a channel with a border of zeros is one channel. Where several nodes stand there, the ids stay as they are.
    """
    axes = [axis for axis in axes if ids.shape[axis] > 1]
    if not axes or not bool((ids < 0).any()):
        return ids
    highest = ids.amax(axes, keepdim=True)
    lowest = ids.masked_fill(ids < 0, torch.iinfo(ids.dtype).max).amin(axes, keepdim=True)
    return torch.where((ids < 0) & (highest == lowest), highest, ids)


def distinct(*tensors: Tensor) -> tuple[Tensor, Tensor]:
    """Number the different tuples that the tensors (of one shape) hold element by element.

    Returns
    -------
    tuples : int64 tensor (number of tuples, number of tensors), in lexicographic order
    which : int64 tensor of the tensors' shape
        The number of each element's tuple; axes along which nothing changes are expanded.
    """
    shape = tensors[0].shape
    small, places = _without_repeats(collapse(*tensors))
    tuples, which = distinct_rows(torch.stack([t.reshape(-1) for t in small], dim=1))
    which = which.reshape(small[0].shape)
    for axis, place in places.items():
        which = which.index_select(axis, place)
    return tuples, which.expand(shape)


def distinct_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Sort the different rows of an int64 tensor (rows, columns); give the number of each row among them."""
    if not rows.numel():
        return torch.unique(rows, dim=0, return_inverse=True)
    # Column by column, rows are numbered by what they hold so far: numbers sort faster than rows.
    number = torch.zeros(len(rows), dtype=torch.int64)
    for column in rows.unbind(1):
        low, high = int(column.min()), int(column.max())
        if low < high:
            _, number = torch.unique(number * (high - low + 1) + (column - low), return_inverse=True)
    first = torch.full((int(number.max()) + 1,), len(rows)).scatter_reduce(0, number, torch.arange(len(rows)), "amin")
    return rows[first], number


def _without_repeats(tensors: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], dict[int, Tensor]]:
    """Keep one of equal slices along each axis; say for each such axis which of the kept ones every slice equals."""
    places: dict[int, Tensor] = {}
    for axis in range(tensors[0].dim()):
        length = tensors[0].shape[axis]
        if length < 2 or tensors[0].numel() < MANY:
            continue
        slices = torch.stack([_fingerprints(t.movedim(axis, 0).reshape(length, -1)) for t in tensors], 1)
        first_of, place = _first_equal(slices)
        if len(first_of) == length:
            continue
        kept = tuple(t.index_select(axis, first_of) for t in tensors)
        # Fingerprints may agree by chance: only slices that are equal element by element are one.
        if all(torch.equal(k.index_select(axis, place), t) for k, t in zip(kept, tensors, strict=True)):
            tensors, places[axis] = kept, place
    return tensors, places


def _fingerprints(slices: Tensor) -> Tensor:
    """Sum each slice with weights that no pattern of ids follows."""
    weights = torch.arange(1, slices.shape[1] + 1).mul(0x9E3779B97F4A7C1).bitwise_xor(0x5DEECE66D)
    return (slices * weights).sum(1)


def _first_equal(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Give the first of each group of equal rows, in order, and the group of every row."""
    _, group = distinct_rows(rows)
    first = torch.full((int(group.max()) + 1,), len(rows)).scatter_reduce(0, group, torch.arange(len(rows)), "amin")
    order = torch.argsort(first)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    return first[order], rank[group]
