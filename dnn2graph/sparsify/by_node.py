"""Rules that look at an edge from both of its ends: the disparity filter, and the strongest edges of each node."""

from __future__ import annotations

import numpy as np

from .census import Census, Steps, degrees
from .edges import Bounds, Edges, joined, wanted, within
from .ranks import strong_bounds

PENDING = 1 << 20  # edges on trial before the weaker are dropped, at least
SLACK = 1e-9  # by which a bound is lowered: what is close to it is decided by the definition


def disparity(census: Census, alpha: float | None, max_edges: int | None, steps: Steps) -> tuple[Edges, np.ndarray]:
    """Keep the edges that are significant at either end. The score of an edge is the logarithm of its p-value.

    An edge of weight w at a node of strength s and k edges has the p-value ``(1 - w / s) ** (k - 1)``: how likely one
    of k random parts of s is as large. The p-values underflow, their logarithms do not.
    """
    into, out_of = degrees(census.links, census.nodes)
    sides = ((census.out_of, out_of), (census.into, into))

    def scored(edges: Edges) -> np.ndarray:
        ends = (edges.sources, edges.targets)
        found = [_log_p(edges.magnitudes, s[end], k[end]) for (s, k), end in zip(sides, ends, strict=True)]
        return np.minimum(*found)

    def bounds_at(log_p: float) -> list[np.ndarray]:
        return [_weight_at(log_p, s, k) for s, k in sides]

    highest = 0.0 if alpha is None else float(np.log(alpha))
    bounds = Bounds(*bounds_at(highest))
    found: list[tuple[Edges, np.ndarray]] = []
    pending = 0
    for number, links in enumerate(census.links):
        for edges in wanted(links, number, bounds):
            scores = scored(edges)
            keep = scores <= highest if alpha is None else scores < np.log(alpha)
            found.append((edges.take(keep), scores[keep]))
            pending += found[-1][0].size
            if max_edges is not None and pending > max(PENDING, 2 * max_edges):
                found = [_best_of(found, max_edges)]
                pending = 0
                highest = float(found[0][1].max())
                bounds.at_source, bounds.at_target = bounds_at(highest)
        steps.advance(links)
    return _best_of(found, max_edges)


def _best_of(parts: list[tuple[Edges, np.ndarray]], max_edges: int | None) -> tuple[Edges, np.ndarray]:
    edges, scores = joined([part for part, _ in parts]), np.concatenate([np.zeros(0), *(part for _, part in parts)])
    return within(edges, scores, max_edges)


def _log_p(weight: np.ndarray, strength: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """Logarithm of the p-value of an edge at one end; 0 at a node that has no other edge."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_p = (degree - 1) * np.log1p(-np.minimum(weight / strength, 1))
    return np.where(degree > 1, log_p, 0.0)


def _weight_at(log_p: float, strength: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """Return the |w| that an edge of each node needs for a p-value, lowered by a little."""
    if log_p >= 0:
        return np.zeros(len(strength))
    weight = -strength * np.expm1(log_p / np.maximum(degree - 1, 1)) * (1 - SLACK)
    return np.where(degree > 1, weight, np.inf)


def top_k(census: Census, k: int | None, max_edges: int | None, steps: Steps) -> tuple[Edges, np.ndarray]:
    """Keep the strongest edges of each node. The score of an edge is its better rank of those at its two ends.

    With a budget, so many edges of every node go on trial that there are enough.
    """
    into, out_of = degrees(census.links, census.nodes)
    enough = None if max_edges is None else _rank_for(max_edges, into, out_of)
    most = min(each for each in (k, enough) if each is not None)
    at_source, at_target = np.zeros(census.nodes), np.zeros(census.nodes)
    for links in census.links:
        strong_bounds(links, most, at_source, at_target)
        steps.advance(links)
    bounds = Bounds(at_source, at_target)
    found: list[Edges] = []
    pending, allowed = 0, PENDING
    for number, links in enumerate(census.links):
        for edges in wanted(links, number, bounds):
            found.append(edges)
            pending += edges.size
            if pending > allowed:
                found = [_of_rank(joined(found), most)[0]]
                pending, allowed = 0, max(PENDING, found[0].size)
        steps.advance(links)
    return within(*_of_rank(joined(found), most), max_edges)


def _rank_for(max_edges: int, into: np.ndarray, out_of: np.ndarray) -> int:
    """Find the least k for which the strongest k out-edges, or in-edges, of all nodes are ``max_edges``."""
    low, high = 0, int(max(into.max(initial=1), out_of.max(initial=1)))
    while high - low > 1:
        middle = (low + high) // 2
        if max(np.minimum(into, middle).sum(), np.minimum(out_of, middle).sum()) >= max_edges:
            high = middle
        else:
            low = middle
    return high


def _of_rank(edges: Edges, most: int) -> tuple[Edges, np.ndarray]:
    """Keep the edges that are among the strongest ``most`` of one of their ends; ranks, from 0, as float64."""
    position = np.lexsort((edges.links, edges.targets, edges.sources))
    order = position[np.argsort(-edges.magnitudes[position], kind="stable")]
    rank = np.minimum(_rank_within(edges.sources, order), _rank_within(edges.targets, order))
    keep = rank < most
    return edges.take(keep), rank[keep].astype(np.float64)


def _rank_within(nodes: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Rank edges, given in order of strength, among those of the same node."""
    grouped = order[np.argsort(nodes[order], kind="stable")]
    first = np.flatnonzero(np.diff(nodes[grouped], prepend=-1))
    length = np.diff(first, append=len(grouped))
    rank = np.empty(len(grouped), np.int64)
    rank[grouped] = np.arange(len(grouped)) - np.repeat(first, length)
    return rank
