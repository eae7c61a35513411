"""The integer that travels beside every activation: which node each element of a tensor is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from ..nodes import NO_NODE

MANY = 1 << 12  # elements; below, equal slices are not worth looking for
LARGEST = 1 << 62  # number
WIDE = 3  # columns; above, equal rows are put together before rows are sorted


class Beside:
    """A value beside each element of tensors, kept for each *storage*.

    A tensor is a strided window on its storage, and what is beside it is the same window on what is beside the
    storage. Views, detached tensors and in-place operations on slices therefore come out right by themselves: whatever
    aliases in the model aliases here. A complex number is two elements: what is beside a complex tensor has a last axis
    of length 2 for them.

    Parameters
    ----------
    dtype : torch.dtype
    initial : callable
        Given a tensor, makes what is beside each element of its storage before anything is written, in one row.
    """

    def __init__(self, dtype: torch.dtype, initial: Callable[[Tensor], Tensor]) -> None:
        self._dtype = dtype
        self._initial = initial
        self._of_storage: dict[int, tuple[StorageWeakRef, Row]] = {}
        self._purge_at = 64

    def knows(self, tensor: Tensor) -> bool:
        """Whether something was written beside some element of the tensor's storage."""
        return storage_key(tensor) in self._of_storage

    def knows_storage(self, key: int | None) -> bool:
        """As :meth:`knows`, of a :func:`storage_key`."""
        return key in self._of_storage

    def read(self, tensor: Tensor) -> Tensor:
        """Return what is beside a tensor's elements, in the tensor's shape; it is not to be written to."""
        tensor = _pairs(tensor)
        row = self._of_storage[tensor.untyped_storage()._cdata][1]
        return row.window(tensor.size(), tensor.stride(), int(tensor.storage_offset()))

    def write(self, tensor: Tensor, values: Tensor) -> None:
        """Set what is beside a tensor's elements, and so beside everything that aliases them."""
        tensor = _pairs(tensor)
        storage = tensor.untyped_storage()
        known = self._of_storage.get(storage._cdata)
        row = _row_of_whole(tensor, values.to(self._dtype))
        if row is None:
            row = Row(self._initial(tensor)) if known is None else known[1]
            row = row.overwritten(tensor, values)
        # The weak reference keeps the address from being given to another storage.
        self._of_storage[storage._cdata] = (StorageWeakRef(storage), row)
        if known is None and len(self._of_storage) >= self._purge_at:
            self._of_storage = {k: entry for k, entry in self._of_storage.items() if not entry[0].expired()}
            self._purge_at = 64 + 2 * len(self._of_storage)


def _pairs(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


class Row:
    """What is beside the elements of a storage, in one row, which is kept folded.

    Parameters
    ----------
    folded : tensor
        Its elements in row-major order are the row. Along axes where it repeats it is expanded, which takes no memory.
    """

    def __init__(self, folded: Tensor) -> None:
        self._folded = folded
        self._flat: Tensor | None = None
        self._lent = False
        # Axes that are more than the sum of their parts: (length, elements of the row that one step is, stride).
        self._axes: list[tuple[int, int, int]] = []
        unit = 1
        for length, stride in zip(reversed(folded.shape), reversed(folded.stride()), strict=True):
            if length != 1:
                inner = self._axes[-1] if self._axes else None
                if inner is not None and stride == inner[2] * inner[0]:
                    self._axes[-1] = (length * inner[0], *inner[1:])
                else:
                    self._axes.append((length, unit, stride))
            unit *= length

    def window(self, size: Sequence[int], stride: Sequence[int], offset: int) -> Tensor:
        """Return a strided window on the row; folded too, where that can be said in strides."""
        self._lent = True
        found = self._folded_window(size, stride, offset)
        return self._unfolded().as_strided(size, stride, offset) if found is None else found

    def _unfolded(self) -> Tensor:
        if self._flat is None:
            self._flat = self._folded.reshape(-1)
        return self._flat

    def _folded_window(self, size: Sequence[int], stride: Sequence[int], offset: int) -> Tensor | None:
        if 0 in size:
            return None
        begin, places = self._folded.storage_offset(), []
        for _, unit, step in reversed(self._axes):
            places.append(offset // unit)
            begin, offset = begin + places[-1] * step, offset % unit
        places.reverse()
        strides = []
        for length, distance in zip(size, stride, strict=True):
            if length == 1 or distance == 0:
                strides.append(0)
                continue
            axis = sum(unit <= distance for _, unit, _ in self._axes) - 1  # the largest unit that goes into it
            if axis < 0 or distance % self._axes[axis][1]:
                return None
            steps = distance // self._axes[axis][1]
            places[axis] += (length - 1) * steps
            strides.append(steps * self._axes[axis][2])
        if any(place >= length for place, (length, _, _) in zip(places, self._axes, strict=True)):
            return None  # it runs over the end of an axis
        return self._folded.as_strided(size, strides, begin)

    def overwritten(self, tensor: Tensor, values: Tensor) -> Row:
        """Return the row with the elements of a tensor replaced; windows that were handed out stay as they are."""
        flat = self._unfolded().clone() if self._lent or self._flat is None else self._flat
        once = [1 if distance == 0 else length for length, distance in zip(tensor.shape, tensor.stride(), strict=True)]
        values = values.expand(tensor.shape)
        for axis, length in enumerate(once):
            values = values.narrow(axis, 0, length)
        flat.as_strided(once, tensor.stride(), tensor.storage_offset()).copy_(values)
        row = Row(flat)
        row._flat = flat
        return row


def _row_of_whole(tensor: Tensor, values: Tensor) -> Row | None:
    """Fold what is beside a tensor that fills its storage, in whatever order of axes; None for any other."""
    if tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size():
        return None
    steps = [step if length > 1 else 0 for length, step in zip(tensor.shape, tensor.stride(), strict=True)]
    order = sorted(range(tensor.dim()), key=lambda axis: -steps[axis])
    if not tensor.permute(order).is_contiguous():
        return None
    values = values.expand(tensor.shape).permute(order)
    small = collapse(values)[0]
    return Row(small.clone(memory_format=torch.contiguous_format).expand(values.shape))


class NodeIds(Beside):
    """Node ids of tensors, int64; -1 where an element is no node. A tensor is known if some element is or was one."""

    def __init__(self) -> None:
        super().__init__(torch.int64, _no_nodes)


def _no_nodes(tensor: Tensor) -> Tensor:
    return torch.full((storage_length(tensor),), NO_NODE)


def storage_key(tensor: Tensor) -> int | None:
    """Tell storages apart; None for tensors without one, such as sparse ones."""
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else None


def storage_length(tensor: Tensor) -> int:
    """Count the elements of a tensor's storage."""
    return tensor.untyped_storage().nbytes() // tensor.element_size()


def collapse(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Shorten to length 1 every axis along which none of the tensors (of one shape) changes."""
    for axis in range(tensors[0].dim()):
        if tensors[0].shape[axis] > 1 and not any(changes_along(t, axis) for t in tensors):
            tensors = tuple(t.narrow(axis, 0, 1) for t in tensors)
    return tensors


def changes_along(tensor: Tensor, axis: int) -> bool:
    """Whether a tensor's slices along an axis differ."""
    if tensor.shape[axis] < 2 or tensor.stride(axis) == 0:
        return False
    tensor = unexpanded(tensor)
    first, last = tensor.narrow(axis, 0, 1), tensor.narrow(axis, -1, 1)
    return not torch.equal(first, last) or not bool((tensor == first).all())


def unexpanded(tensor: Tensor) -> Tensor:
    """Shorten to length 1 every axis along which a tensor is expanded."""
    for axis, stride in enumerate(tensor.stride()):
        if stride == 0 and tensor.shape[axis] > 1:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor


def has_gaps(ids: Tensor) -> bool:
    """Whether some element is no node."""
    return bool((unexpanded(ids) < 0).any())


def fill_gaps(ids: Tensor, axes: Iterable[int]) -> Tensor:
    """Let elements that are no node belong to the one node that stands beside them along some axes.

    So a channel with a border of zeros is one channel. Where several nodes stand there, the ids stay as they are.
    """
    axes = [axis for axis in axes if ids.shape[axis] > 1]
    if not axes or not has_gaps(ids):
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
    small, places = without_repeats(*collapse(*tensors))
    tuples, which = distinct_rows(torch.stack([t.reshape(-1) for t in small], dim=1))
    which = which.reshape(small[0].shape)
    for axis, place in places.items():
        which = which.index_select(axis, place)
    return tuples, which.expand(shape)


def distinct_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Sort the different rows of an int64 tensor (rows, columns); give the number of each row among them."""
    if not rows.numel():
        return torch.unique(rows, dim=0, return_inverse=True)
    if rows.shape[1] > WIDE:
        first, group = _first_equal(_fingerprints(rows)[:, None])
        kept = rows[first]
        if torch.equal(kept[group], rows):  # fingerprints may agree by chance
            tuples, which = _sorted_rows(kept)
            return tuples, which[group]
    return _sorted_rows(rows)


def completed(tuples: Tensor) -> Tensor:
    """For each tuple of nodes, the number of the first complete one that it is part of; else its own."""
    present = tuples >= 0
    same, whole = torch.arange(len(tuples)), present.all(1).nonzero()[:, 0]
    parts = (present.any(1) & ~present.all(1)).nonzero()[:, 0]
    if not len(whole) or not len(parts):
        return same
    patterns, pattern = distinct_rows(present[parts].long())
    for number, there in enumerate(patterns.bool()):
        mine = parts[pattern == number]
        _, group = distinct_rows(torch.cat([tuples[whole], tuples[mine]])[:, there])
        first = torch.full((int(group.max()) + 1,), len(tuples))
        first.scatter_reduce_(0, group[: len(whole)], whole, "amin")
        found = first[group[len(whole) :]]
        same[mine] = torch.where(found < len(tuples), found, mine)
    return same


def _sorted_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`distinct_rows`: one number is made of as many columns as it holds, since numbers sort fast."""
    low, high = rows.amin(0), rows.amax(0)
    number, count = torch.zeros(len(rows), dtype=torch.int64), 1
    for place in (low < high).nonzero()[:, 0].tolist():
        width = int(high[place] - low[place]) + 1
        if count * width > LARGEST:
            _, number = torch.unique(number, return_inverse=True)
            count = int(number.max()) + 1
            if count == len(rows):
                break
        number, count = number * width + (rows[:, place] - low[place]), count * width
    _, number = torch.unique(number, return_inverse=True)
    first = torch.full((int(number.max()) + 1,), len(rows))
    return rows[first.scatter_reduce(0, number, torch.arange(len(rows)), "amin")], number


def without_repeats(*tensors: Tensor, axes: Iterable[int] | None = None) -> tuple[list[Tensor], dict[int, Tensor]]:
    """Keep one of equal slices along each axis; say for each such axis which of the kept ones every slice equals.

    Axes along which a tensor has length 1 stand for all its slices.
    """
    kept, places = list(tensors), {}
    for axis in range(tensors[0].dim()) if axes is None else axes:
        there = [place for place, t in enumerate(kept) if t.shape[axis] > 1]
        if not there or sum(t.numel() for t in kept) < MANY:
            continue
        length = kept[there[0]].shape[axis]
        slices = [_fingerprints(unexpanded(kept[i].movedim(axis, 0))).expand(length) for i in there]
        first_of, place = _first_equal(torch.stack(slices, 1))
        if len(first_of) == length:
            continue
        fewer = [kept[i].index_select(axis, first_of) for i in there]
        # Fingerprints may agree by chance: only slices that are equal element by element are one.
        if all(torch.equal(f.index_select(axis, place), kept[i]) for f, i in zip(fewer, there, strict=True)):
            places[axis] = place
            for i, f in zip(there, fewer, strict=True):
                kept[i] = f
    return kept, places


def _fingerprints(slices: Tensor) -> Tensor:
    """Sum each slice with weights that no pattern of ids follows."""
    slices = slices.reshape(len(slices), -1)
    weights = torch.arange(1, slices.shape[1] + 1).mul(0x9E3779B97F4A7C1).bitwise_xor(0x5DEECE66D)
    return (slices * weights).sum(1)


def _first_equal(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Give the first of each group of equal rows, in order, and the group of every row."""
    _, group = _sorted_rows(rows)
    first = torch.full((int(group.max()) + 1,), len(rows)).scatter_reduce(0, group, torch.arange(len(rows)), "amin")
    order = torch.argsort(first)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    return first[order], rank[group]
