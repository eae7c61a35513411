"""Rules that rank the edges of each links by themselves: the strongest first, and how many of them is what differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from ..links import Convolution, Links
from ..links.sums import as_numpy
from .census import Census, Steps
from .edges import Bounds, Edges, best, by_strength, joined, not_below, slabs, wanted, within

HALVINGS = 60  # of the interval in which the share lies
PENDING = 1 << 20  # tied edges that wait to be told apart, at least


@dataclass(frozen=True, eq=False)
class Strongest:
    """The largest absolute weights of some links.

    Attributes
    ----------
    values : float64 array (entries,)
        Descending.
    edges : int64 array (entries,)
        How many edges carry each.
    """

    values: np.ndarray
    edges: np.ndarray

    def at_least(self, value: float) -> int:
        """Count the edges whose |w| is ``value`` or more."""
        return int(self.edges[self.values >= value].sum())

    def above(self, value: float) -> int:
        """Count the edges whose |w| is more than ``value``."""
        return int(self.edges[self.values > value].sum())

    def of_rank(self, rank: int) -> float:
        """Return the |w| of the edge of a rank, which starts at 1."""
        return float(self.values[np.searchsorted(np.cumsum(self.edges), rank)])


def mass(census: Census, max_edges: int, steps: Steps) -> tuple[Edges, np.ndarray]:
    """Keep the same share of the absolute weight of all links.

    The score of an edge is the share of its links' mass that the stronger edges hold.
    """
    ranked = [strongest(links, max_edges, steps=steps) for links in census.links]
    ladders = [_Ladder(each.values, each.edges, total) for each, total in zip(ranked, census.masses, strict=True)]
    counts = _counts_at_the_same_share(ladders, max_edges)
    parts, scores = [], [np.zeros(0)]
    for number, edges in _chosen(census, ranked, counts, steps):
        edges = edges.take(by_strength(edges))
        before = np.cumsum(edges.magnitudes) - edges.magnitudes
        parts.append(edges)
        scores.append(before / census.masses[number])
    return within(joined(parts), np.concatenate(scores), max_edges)


def quantile(census: Census, q: float | None, max_edges: int | None, steps: Steps) -> tuple[Edges, np.ndarray]:
    """Keep the same share of the edges of all links.

    The score of an edge is the share of its links' edges that are stronger.
    """
    top = Fraction(1) if q is None else 1 - Fraction(repr(float(q)))  # as it is written, not as it is rounded
    most = [ceil(top * int(count)) for count in census.counts]
    limits = most if max_edges is None else [min(count, max_edges) for count in most]
    ranked = [strongest(links, limit, steps=steps) for links, limit in zip(census.links, limits, strict=True)]
    counts = limits
    if max_edges is not None and sum(limits) > max_edges:
        ladders = [
            _Ladder(np.ones(len(each.values)), each.edges, total)
            for each, total in zip(ranked, census.counts, strict=True)
        ]
        counts = np.minimum(_counts_at_the_same_share(ladders, max_edges), limits).tolist()
    parts, scores = [], [np.zeros(0)]
    for number, edges in _chosen(census, ranked, counts, steps):
        parts.append(edges.take(by_strength(edges)))
        scores.append(np.arange(edges.size) / census.counts[number])
    return within(joined(parts), np.concatenate(scores), max_edges)


def threshold(census: Census, least: float, max_edges: int | None, steps: Steps) -> tuple[Edges, np.ndarray]:
    """Keep the strongest edges of all. The score of an edge is ``-|w|``."""
    if max_edges is None:
        parts = [part for number in range(len(census.links)) for part in _all_from(census, number, least, steps)]
    else:
        ranked = [strongest(links, max_edges, least, steps=steps) for links in census.links]
        values = np.concatenate([np.zeros(0), *(each.values for each in ranked)])
        carried = np.concatenate([np.zeros(0, np.int64), *(each.edges for each in ranked)])
        order = np.argsort(-values, kind="stable")
        place = np.searchsorted(np.cumsum(carried[order]), max_edges)
        last = values[order][place] if place < len(values) else least
        ties = max_edges - sum(each.above(last) for each in ranked)
        counts = [min(each.at_least(last), each.above(last) + ties) for each in ranked]
        parts = [edges for _, edges in _chosen(census, ranked, counts, steps)]
    edges = joined(parts)
    return within(edges, -edges.magnitudes, max_edges)


# --- how many of each links ------------------------------------------------------------------------------------------


class _Ladder:
    """Amounts that the edges of some links hold, the strongest edge first: groups of edges with one amount each."""

    def __init__(self, amounts: np.ndarray, edges: np.ndarray, total: float) -> None:
        self.amounts, self.edges, self.total = amounts, edges, total
        self.edges_before = np.cumsum(edges) - edges
        self.held_before = np.cumsum(amounts * edges) - amounts * edges

    def count(self, share: float) -> int:
        """Count the edges such that those before them hold at most a share of the total."""
        if not len(self.edges):
            return 0
        level = share * self.total
        group = max(0, int(np.searchsorted(self.held_before, level, side="right")) - 1)
        more = (level - self.held_before[group]) // self.amounts[group] + 1
        return int(self.edges_before[group] + min(self.edges[group], more))


def _counts_at_the_same_share(ladders: Sequence[_Ladder], max_edges: int) -> list[int]:
    """Count the edges of each links at the least share at which there are ``max_edges``, or a few more."""
    low, high = 0.0, 2.0  # not 1: the total may be rounded down
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if sum(ladder.count(middle) for ladder in ladders) >= max_edges:
            high = middle
        else:
            low = middle
    return [ladder.count(high * (1 + 1e-12)) for ladder in ladders]  # sums may be rounded otherwise when they are cut


# --- the strongest edges of one links --------------------------------------------------------------------------------


def strongest(links: Links, limit: int, least: float = 0.0, *, steps: Steps) -> Strongest:
    """Find the largest |w| of some links, from ``least`` on: of ``limit`` edges, or of a few more."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    pending, bound = 0, least
    fewest = _fewest(links)
    for magnitudes, carried in _weights(links):
        keep = np.flatnonzero(magnitudes >= not_below(np.array(bound), magnitudes.dtype))
        edges = carried[keep % len(carried)]
        found.append((magnitudes[keep][edges > 0], edges[edges > 0]))
        pending += len(keep)
        if pending > max(PENDING // 4, limit // fewest):
            found, pending = [_strongest_of(found, limit, fewest)], 0
            values, edges = found[0]
            if len(values) and int(edges.sum()) >= limit:
                bound = float(values.min())
    values, edges = _strongest_of(found or [(np.zeros(0), np.zeros(0, np.int64))], limit, fewest)
    order = np.argsort(-values, kind="stable")
    steps.advance(links)
    return Strongest(values[order].astype(np.float64), edges[order])


def _strongest_of(parts: list[tuple[np.ndarray, np.ndarray]], limit: int, fewest: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep so many of the largest values that ``limit`` edges carry them, where each is carried by ``fewest``."""
    values, edges = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    count = -(-limit // fewest)
    if len(values) > count:
        chosen = np.argpartition(values, len(values) - count)[len(values) - count :] if count else slice(0, 0)
        values, edges = values[chosen], edges[chosen]
    return values, edges


def _weights(links: Links) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Iterate over flat |w|, and the edges that carry each: an array that repeats."""
    if links.is_irregular:
        for block in links.blocks():
            yield np.abs(block.weights), np.ones(1, np.int64)
        return
    carried = links.map.multiplicities().reshape(-1)
    for _, slab in slabs(links, as_numpy(links.kernel())):
        yield slab.reshape(-1), carried


def _fewest(links: Links) -> int:
    """How many edges carry an entry of the kernel at least, if any."""
    if links.is_irregular or not isinstance(links.map, Convolution):
        return 1
    carried = links.map.multiplicities()
    return int(carried[carried > 0].min(initial=np.iinfo(np.int64).max))


def _chosen(
    census: Census, ranked: Sequence[Strongest], counts: Sequence[int], steps: Steps
) -> Iterator[tuple[int, Edges]]:
    """Collect the strongest edges of each links, as many as are wanted."""
    for number, (each, count) in enumerate(zip(ranked, counts, strict=True)):
        if count:
            least = each.of_rank(count)
            parts = _all_from(census, number, least, steps, ties=count - each.above(least))
            yield number, joined(list(parts))
        else:
            steps.advance(census.links[number])


def _all_from(census: Census, number: int, least: float, steps: Steps, ties: int | None = None) -> Iterator[Edges]:
    """Collect the edges with |w| of at least ``least``; of those with exactly that, the first ``ties`` by position."""
    links = census.links[number]
    tied: list[Edges] = []
    waiting = 0
    for edges in wanted(links, number, Bounds.everywhere(least, census.nodes)):
        if ties is None:
            yield edges
            continue
        yield edges.take(edges.magnitudes > least)
        tied.append(edges.take(edges.magnitudes == least))
        waiting += tied[-1].size
        if waiting > max(PENDING, 2 * ties):
            tied = [_first(joined(tied), ties)]
            waiting = ties
    if ties is not None:
        yield _first(joined(tied), ties)
    steps.advance(links)


def _first(edges: Edges, count: int) -> Edges:
    """Take the first edges by position."""
    return edges.take(best(edges, np.zeros(edges.size), count))
