"""Mean, spread, skewness and kurtosis of numbers that come in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Weighted = tuple[np.ndarray, np.ndarray]  # weights, and how many edges carry each (broadcasts)


@dataclass(frozen=True)
class Moments:
    """Statistics of a sample; NaN where it is empty or constant and the value is undefined."""

    mean: float
    std: float
    skewness: float
    kurtosis: float
    min: float
    max: float
    l1: float
    l2: float
    count: int


def moments(weights: Callable[[], Iterator[Weighted]], zeros: bool = False) -> Moments:
    """Compute the statistics in two passes over blocks of weights, in float64.

    Parameters
    ----------
    weights : callable
        Starts a pass: an iterator over (weights, number of edges that carry each).
    zeros : bool
        Whether values of exactly zero count.
    """
    count, total, l1, squares, low, high = 0, 0.0, 0.0, 0.0, np.inf, -np.inf
    for values, edges in weights():
        values, edges = _present(values, edges, zeros)
        if values.size:
            count += int(edges.sum())
            total += float(values @ edges)
            l1 += float(np.abs(values) @ edges)
            squares += float(np.square(values) @ edges)
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    if not count:
        undefined = float("nan")
        return Moments(undefined, undefined, undefined, undefined, undefined, undefined, l1=0.0, l2=0.0, count=0)
    mean = total / count
    central = np.zeros(3)
    for values, edges in weights():
        values, edges = _present(values, edges, zeros)
        off = values - mean
        square = off * off
        central += [square @ edges, (square * off) @ edges, (square * square) @ edges]
    second, third, fourth = central / count
    varies = second > (np.finfo(np.float64).eps * abs(mean)) ** 2  # else all weights are equal up to rounding
    return Moments(
        mean,
        float(np.sqrt(second)),
        float(third / second**1.5) if varies else float("nan"),
        float(fourth / second**2 - 3) if varies else float("nan"),
        low,
        high,
        l1,
        float(np.sqrt(squares)),
        count,
    )


def _present(values: np.ndarray, edges: np.ndarray, zeros: bool) -> tuple[np.ndarray, np.ndarray]:
    """Flatten to float64, without the weights that no edge carries."""
    edges = np.broadcast_to(edges, values.shape).reshape(-1)
    values = values.reshape(-1).astype(np.float64)
    keep = (edges > 0) if zeros else (values != 0) & (edges > 0)
    return values[keep], edges[keep].astype(np.float64)
