"""The integer that travels beside every activation: which node each element of a tensor is."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from ..nodes import NO_NODE


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
    small = collapse(*tensors)
    keys = torch.stack([t.reshape(-1) for t in small], dim=1)
    if keys.shape[1] == 1:
        tuples, which = torch.unique(keys[:, 0], return_inverse=True)
        tuples = tuples[:, None]
    else:
        tuples, which = torch.unique(keys, dim=0, return_inverse=True)
    return tuples, which.reshape(small[0].shape).expand(shape)
