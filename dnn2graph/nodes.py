"""Nodes: which node of the graph each element of a tensor is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

NO_NODE = -1


class Table(Protocol):
    """From old node ids to new ones; indexed by a slice or an array of ids."""

    def __getitem__(self, nodes: Any, /) -> Any: ...


class Nodes:
    """Node ids laid out as a tensor's elements.

    An id of -1 marks an element that is no node: a zero that padding put there.

    Parameters
    ----------
    ids : int64 array of any shape
        Only kept where the ids are not simply ``start, start + 1, …``, the usual case, which costs no memory.
    """

    def __init__(self, ids: np.ndarray | range, shape: Sequence[int] | None = None) -> None:
        natural = ids.shape if isinstance(ids, np.ndarray) else (len(ids),)
        self.shape = tuple(int(n) for n in (natural if shape is None else shape))
        self._ids: np.ndarray | range
        if isinstance(ids, np.ndarray):
            flat = ids.reshape(-1).astype(np.int64, copy=False)
            first = int(flat[0]) if flat.size else 0
            consecutive = first >= 0 and bool((flat == np.arange(first, first + flat.size)).all())
            ids = range(first, first + flat.size) if consecutive else flat
        self._ids = ids

    @property
    def size(self) -> int:
        """How many elements there are, nodes or not."""
        return prod(self.shape)

    @property
    def is_range(self) -> bool:
        """Whether the ids are consecutive, in order."""
        return isinstance(self._ids, range)

    @property
    def start(self) -> int:
        """The first id of a range."""
        assert isinstance(self._ids, range)
        return self._ids.start

    @property
    def ids(self) -> np.ndarray:
        """The ids, shape ``self.shape``."""
        return self.flat.reshape(self.shape)

    @property
    def flat(self) -> np.ndarray:
        """The ids in row-major order."""
        return np.arange(self._ids.start, self._ids.stop) if isinstance(self._ids, range) else self._ids

    @cached_property
    def has_gaps(self) -> bool:
        """Whether some element is no node."""
        return not isinstance(self._ids, range) and bool(np.any(self._ids < 0))

    @cached_property
    def has_repeats(self) -> bool:
        """Whether some node stands in several elements."""
        if self.is_range:
            return False
        present = self.flat[self.flat >= 0]
        return bool(present.size) and int(np.bincount(present - present.min()).max()) > 1

    def owners(self, starts: np.ndarray) -> list[int]:
        """Tell which groups of consecutive nodes, given by their first ids in order, some of the nodes belong to."""
        if not self.size:
            return []
        if isinstance(self._ids, range):
            first, last = np.array([self._ids.start]), np.array([self._ids.stop - 1])
        else:  # runs of consecutive ids, most often few
            breaks = np.flatnonzero(np.diff(self._ids) != 1)
            first, last = self._ids[np.r_[0, breaks + 1]], self._ids[np.r_[breaks, self.size - 1]]
            first, last = first[last >= 0], last[last >= 0]
        low = np.searchsorted(starts, np.maximum(first, 0), side="right") - 1
        high = np.searchsorted(starts, last, side="right") - 1
        if len(low) == 1:
            return list(range(int(low[0]), int(high[0]) + 1))
        begun, ended = (np.bincount(place, minlength=len(starts) + 1) for place in (low, high + 1))
        return np.flatnonzero(np.cumsum(begun - ended) > 0).tolist()

    def reshape(self, *shape: int) -> Nodes:
        """Give the same ids another shape."""
        return Nodes(self._ids, shape)

    def renumbered(self, table: Table) -> Nodes:
        """Replace each id ``i`` by ``table[i]``; elements that are no node stay so."""
        if isinstance(self._ids, range):
            return Nodes(table[self._ids.start : self._ids.stop], self.shape)
        return Nodes(np.where(self._ids >= 0, table[self._ids], NO_NODE), self.shape)

    def gather(self, values: Tensor) -> Tensor:
        """Read ``values`` (batch, nodes + 1), whose last column is zero, as (batch, *shape)."""
        if isinstance(self._ids, range):
            picked = values[:, self._ids.start : self._ids.stop]
        else:
            picked = values[:, torch.from_numpy(self._ids).to(values.device)]  # -1 reads the last column
        return picked.reshape(len(values), *self.shape)

    def add_to(self, totals: np.ndarray, amounts: np.ndarray) -> None:
        """Add ``amounts`` (shape) to ``totals`` (nodes,), each at its node."""
        if isinstance(self._ids, range):
            totals[self._ids.start : self._ids.stop] += amounts.reshape(-1)
        else:
            present = self._ids >= 0
            ids, amounts = self._ids[present], amounts.reshape(-1)[present]
            if ids.size:
                first = ids.min()
                sums = np.bincount(ids - first, amounts)
                totals[first : first + len(sums)] += sums

    def add_to_each(self, totals: np.ndarray, amounts: np.ndarray) -> None:
        """Add ``amounts`` (networks or 1, elements) to ``totals`` (networks, nodes); no node stands in two elements."""
        if isinstance(self._ids, range):
            totals[:, self._ids.start : self._ids.stop] += amounts
        else:
            totals[:, self._ids] += amounts

    def __repr__(self) -> str:
        return f"Nodes({self._ids!r}, shape={self.shape})"
