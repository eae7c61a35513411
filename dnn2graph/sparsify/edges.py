"""Edges on trial: those of the whole graph that are strong enough at one of their ends, and the best of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..links import Convolution, Links, Listed
from ..links.sums import as_numpy
from ..nodes import Nodes
from .unroll import Unroller

SLAB_EDGES = 1 << 18  # edges that are looked at together: through their kernel entries, wherever geometry allows it
NO_ENTRY = -1


class Edges(NamedTuple):
    """Edges of a graph: arrays of equal length."""

    links: np.ndarray  # place in the tuple of links that are sparsified
    sources: np.ndarray  # node ids
    targets: np.ndarray
    magnitudes: np.ndarray  # float64, |w|
    entries: np.ndarray  # place in the flat kernel; NO_ENTRY where links are irregular

    @classmethod
    def of(cls, links: int, sources: ArrayLike, targets: ArrayLike, magnitudes: ArrayLike, entries: ArrayLike) -> Edges:
        """Make edges of one links."""
        sources = np.asarray(sources, np.int64)
        shape = sources.shape
        return cls(
            np.full(shape, links, np.int32),
            sources,
            np.asarray(targets, np.int64),
            np.asarray(magnitudes, np.float64),
            np.broadcast_to(np.asarray(entries, np.int64), shape),
        )

    def take(self, which: np.ndarray | slice) -> Edges:
        """Select edges by a mask, by their places, or as a slice."""
        return Edges(*(column[which] for column in self))

    @property
    def size(self) -> int:
        """Number of edges."""
        return len(self.sources)


def joined(parts: Sequence[Edges]) -> Edges:
    """Chain edges."""
    if len(parts) == 1:
        return parts[0]
    parts = parts or [Edges.of(0, [], [], [], [])]
    return Edges(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def split(edges: Edges, links: int) -> list[Edges]:
    """Tell edges apart by their links, sorted by source and target."""
    edges = edges.take(np.lexsort((edges.targets, edges.sources, edges.links)))
    ends = np.searchsorted(edges.links, np.arange(links + 1))
    return [edges.take(slice(begin, end)) for begin, end in pairwise(ends)]


def best(edges: Edges, scores: np.ndarray, count: int) -> np.ndarray:
    """Find the ``count`` edges with the lowest scores: their places, ascending.

    Ties go to the larger |w|, then to the smaller source, the smaller target, the earlier links.
    """
    if edges.size <= count:
        return np.arange(edges.size)
    last = np.partition(scores, count - 1)[count - 1] if count else -np.inf
    sure, tied = np.flatnonzero(scores < last), np.flatnonzero(scores == last)
    return np.sort(np.concatenate([sure, tied[by_strength(edges.take(tied))[: count - len(sure)]]]))


def within(edges: Edges, scores: np.ndarray, max_edges: int | None) -> tuple[Edges, np.ndarray]:
    """Keep a budget: the best edges and their scores."""
    if max_edges is None or edges.size <= max_edges:
        return edges, scores
    chosen = best(edges, scores, max_edges)
    return edges.take(chosen), scores[chosen]


def by_strength(edges: Edges) -> np.ndarray:
    """Order edges by descending |w|; ties by source, target, links."""
    return np.lexsort((edges.links, edges.targets, edges.sources, -edges.magnitudes))


class Bounds:
    """How strong an edge must be to go on trial, at its source or at its target; may be raised on the way.

    Attributes
    ----------
    at_source, at_target : float64 arrays (nodes,)
        An edge is wanted if its |w| is at least the number of its source, or that of its target.
    """

    def __init__(self, at_source: np.ndarray, at_target: np.ndarray) -> None:
        self.at_source, self.at_target = at_source, at_target

    @classmethod
    def everywhere(cls, value: float, nodes: int) -> Bounds:
        """Want the same of every edge."""
        same = np.broadcast_to(np.float64(value), nodes)
        return cls(same, same)

    def admit(self, sources: np.ndarray, targets: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
        """Mark the edges that are wanted."""
        return (magnitudes >= self.at_source[sources]) | (magnitudes >= self.at_target[targets])


def wanted(links: Links, number: int, bounds: Bounds) -> Iterator[Edges]:
    """Yield the edges of some links that meet the bounds, in blocks.

    The bounds are looked up anew for every block, so that the caller may raise them in between.
    """
    if links.is_irregular:
        for block in links.blocks():
            magnitudes = np.abs(block.weights)
            keep = bounds.admit(block.sources, block.targets, magnitudes)
            yield Edges.of(number, block.sources[keep], block.targets[keep], magnitudes[keep], NO_ENTRY)
        return
    kernel = as_numpy(links.kernel())
    unroller = Unroller(links)
    strong = _Filter(links, kernel.dtype)
    exact = not isinstance(links.map, Convolution) or (not links.map.axes and links.map.copies == 1)
    for first, slab in slabs(links, kernel):
        entries = np.flatnonzero(strong(first, slab, bounds)) + first
        if not len(entries):
            continue
        flat = slab.reshape(-1)
        for sources, targets, entry in unroller.edges(entries):
            magnitudes = flat[entry - first]
            if exact:
                yield Edges.of(number, sources, targets, magnitudes, entry)
            else:
                keep = bounds.admit(sources, targets, magnitudes)
                yield Edges.of(number, sources[keep], targets[keep], magnitudes[keep], entry[keep])


def slabs(links: Links, kernel: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Cut a kernel of regular links into parts that few enough edges carry: the first entry, and absolute values.

    Parts of a :class:`Convolution` have shape (out-channels, in-channels, taps), and follow each other in the flat
    kernel.
    """
    if not kernel.size:
        return
    if not isinstance(links.map, Convolution):
        for begin in range(0, len(kernel), SLAB_EDGES):
            yield begin, np.abs(kernel[begin : begin + SLAB_EDGES])
        return
    out, per_in = kernel.shape[:2]
    taps = prod(kernel.shape[2:])
    kernel = kernel.reshape(out, per_in, taps)
    pairs = max(1, SLAB_EDGES // max(taps, int(links.map.multiplicities().sum())))  # of channels
    rows, columns = max(1, pairs // per_in), min(per_in, pairs)
    for begin in range(0, out, rows):
        for left in range(0, per_in, columns):
            # Transposed reads of a large matrix miss the cache: copy as it lies, then transpose the small copy.
            part = np.ascontiguousarray(np.abs(kernel[begin : begin + rows, left : left + columns]))
            yield (begin * per_in + left) * taps, part


class _Filter:
    """Mark the kernel entries that are strong enough for one of the edges that carry them."""

    def __init__(self, links: Links, dtype: np.dtype) -> None:
        self.links, self.dtype = links, dtype
        self._looked_up: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, first: int, slab: np.ndarray, bounds: Bounds) -> np.ndarray:
        """Mark entries of a slab, flat."""
        geometry = self.links.map
        self._look_up(bounds)
        if isinstance(geometry, Listed):
            part = slice(first, first + len(slab))
            least = np.minimum(self._of_input[geometry.source[part]], self._of_output[geometry.target[part]])
            return np.asarray(slab >= least)
        assert isinstance(geometry, Convolution)
        per_in, per_out = geometry.in_channels // geometry.groups, geometry.out_channels // geometry.groups
        rows, columns, taps = slab.shape
        out, place = divmod(first // taps, per_in)
        outs, places = np.arange(out, out + rows), slice(place, place + columns)
        inputs = self._of_input.reshape(geometry.groups, per_in)[:, places]
        least = np.minimum(self._of_output[outs, None], inputs if geometry.groups == 1 else inputs[outs // per_out])
        return np.asarray(slab >= least[..., None]).reshape(-1)

    def _look_up(self, bounds: Bounds) -> None:
        """Bring the bounds of nodes to the least for each channel, or for each element of a list."""
        now = (bounds.at_source, bounds.at_target)
        if self._looked_up is None or any(a is not b for a, b in zip(self._looked_up, now, strict=True)):
            geometry, sources, targets = self.links.map, self.links.source_nodes, self.links.target_nodes
            self._of_input = self._least(_values_at(sources, now[0]), geometry.in_shape)
            self._of_output = self._least(_values_at(targets, now[1]), geometry.out_shape)
            self._looked_up = now

    def _least(self, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        if isinstance(self.links.map, Convolution):
            values = values.reshape(*shape[:2], -1).min(axis=(0, 2), initial=np.inf)
        return not_below(np.maximum(values, 0), self.dtype)


def _values_at(nodes: Nodes, values: np.ndarray) -> np.ndarray:
    return values[nodes.start : nodes.start + nodes.size] if nodes.is_range else values[nodes.flat]


def not_below(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Round up to another precision, and zero up to the smallest number: weights of zero are no edges."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = values.astype(dtype)
    rounded = np.where(rounded < values, np.nextafter(rounded, np.array(np.inf, dtype)), rounded)
    return np.maximum(rounded, np.finfo(dtype).smallest_subnormal)
