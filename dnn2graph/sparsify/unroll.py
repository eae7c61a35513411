"""The edges that carry chosen entries of a kernel: the others are never listed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from math import prod

import numpy as np

from ..links import Convolution, Links, Listed
from ..nodes import Nodes

BLOCK_EDGES = 1 << 18  # edges listed at a time
KEPT_EDGES = 1 << 22  # of which the positions are remembered from one call to the next

Ends = tuple[np.ndarray, np.ndarray, np.ndarray]  # source nodes, target nodes, kernel entries; int64 (edges,)


class Unroller:
    """List the edges of regular links by the kernel entries that they carry.

    Every pair of channels meets through a tap at the same positions. They are found once for each tap.
    """

    def __init__(self, links: Links) -> None:
        assert isinstance(links.map, Convolution | Listed)  # else the links are irregular
        self.map = links.map
        self.sources, self.targets = links.source_nodes, links.target_nodes
        self._reached: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._remembered = 0

    def edges(self, entries: np.ndarray) -> Iterator[Ends]:
        """Yield the edges that carry some entries, given by their places in the flat kernel, in blocks."""
        for source, target, entry in self._elements(entries):
            yield _nodes(self.sources, source), _nodes(self.targets, target), entry

    def _elements(self, entries: np.ndarray) -> Iterator[Ends]:
        geometry = self.map
        if isinstance(geometry, Listed):
            yield geometry.source[entries], geometry.target[entries], entries
            return
        per_in, per_out = geometry.in_channels // geometry.groups, geometry.out_channels // geometry.groups
        pair, taps = np.divmod(entries, prod(geometry.kernel_shape[2:]))
        out, place = np.divmod(pair, per_in)
        source = (out // per_out * per_in + place) * prod(geometry.in_shape[2:])
        target = out * prod(geometry.out_shape[2:])
        order = np.argsort(taps, kind="stable")
        starts = np.flatnonzero(np.diff(taps[order], prepend=-1))
        for group in np.split(order, starts[1:]) if len(order) else ():
            at_source, at_target = self._positions(int(taps[group[0]]))
            step = max(1, BLOCK_EDGES // max(1, len(at_source)))
            for begin in range(0, len(group), step):
                part = group[begin : begin + step]
                yield (
                    (source[part, None] + at_source).reshape(-1),
                    (target[part, None] + at_target).reshape(-1),
                    np.repeat(entries[part], len(at_source)),
                )

    def _positions(self, tap: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the first in-channel and the first out-channel meet through a tap, in every copy: flat elements."""
        if tap in self._reached:
            return self._reached[tap]
        geometry = self.map
        assert isinstance(geometry, Convolution)
        copies = np.arange(geometry.copies)
        source, target = copies * prod(geometry.in_shape[1:]), copies * prod(geometry.out_shape[1:])
        along = np.unravel_index(tap, geometry.kernel_shape[2:]) if geometry.axes else ()
        for place, (number, by_tap) in enumerate(zip(along, self._triples, strict=True)):
            at_source, at_target = by_tap[int(number)]
            source = (source[:, None] + at_source * prod(geometry.in_shape[3 + place :])).reshape(-1)
            target = (target[:, None] + at_target * prod(geometry.out_shape[3 + place :])).reshape(-1)
        if self._remembered + len(source) <= KEPT_EDGES:
            self._reached[tap] = source, target
            self._remembered += len(source)
        return source, target

    @cached_property
    def _triples(self) -> list[list[tuple[np.ndarray, np.ndarray]]]:
        """For each axis and tap, the input and output positions that meet."""
        assert isinstance(self.map, Convolution)
        found = []
        for axis in self.map.axes:
            order = np.argsort(axis.tap, kind="stable")
            ends = np.cumsum(np.bincount(axis.tap, minlength=axis.taps))[:-1]
            groups = np.split(order, ends)
            found.append([(axis.source[group], axis.target[group]) for group in groups])
        return found


def _nodes(nodes: Nodes, elements: np.ndarray) -> np.ndarray:
    """Name the nodes of some elements."""
    return elements + nodes.start if nodes.is_range else nodes.flat[elements]
