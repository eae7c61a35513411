"""Statistics of link weights, over the edges of the unrolled graph but without unrolling it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..graph import NeuralGraph
from ..links import Links
from ..links.sums import as_numpy

if TYPE_CHECKING:
    import pandas as pd

BLOCK_WEIGHTS = 1 << 17
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


def link_weights(graph: NeuralGraph, kinds: Collection[str] | None = None) -> pd.DataFrame:
    """Statistics of the weights of each links' edges.

    A kernel entry counts once for each edge that carries it, so that the values are those of the unrolled graph's
    edges; weights of exactly zero are no edges.

    Parameters
    ----------
    graph : NeuralGraph
    kinds : collection of str, optional
        Kinds of links; default all.

    Returns
    -------
    DataFrame
        One row per links: ``source``, ``target``, ``kind``; ``mean``, ``std`` (population), ``skewness``, ``kurtosis``
        (excess, as scipy's default), ``min``, ``max``, ``l1`` (sum of absolute values), ``l2`` (root of the sum of
        squares), ``count`` (edges).

    Raises
    ------
    WeightsError
        If weights are NaN or infinite; the message names the layer.

    References
    ----------
    La Malfa et al. 2021 (arXiv 2110.02628): Link Weights, whose mean and variance they analyse.
    """
    import pandas as pd

    rows = []
    for links in graph.select(kinds):
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are reported below, by layer
            found = moments(lambda links=links: edge_weights(links))  # type: ignore[misc]
        if found.count and not np.isfinite(found.l1):
            graph.check_finite()
        assert links.target is not None
        source = ", ".join(layer.name for layer in links.sources)
        rows.append({"source": source, "target": links.target.name, "kind": links.kind, **asdict(found)})
    columns = ["source", "target", "kind", *Moments.__dataclass_fields__]
    return pd.DataFrame(rows, columns=columns)


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


def edge_weights(links: Links) -> Iterator[Weighted]:
    """Iterate over the links' weights and their multiplicities, in blocks."""
    if links.is_irregular:
        for block in links.blocks():
            yield block.weights, np.ones(1, np.int64)
        return
    kernel, edges = as_numpy(links.kernel()), links.map.multiplicities()
    step = max(1, BLOCK_WEIGHTS // max(1, kernel[:1].size))
    for begin in range(0, len(kernel), step):
        yield kernel[begin : begin + step], edges


def _present(values: np.ndarray, edges: np.ndarray, zeros: bool) -> tuple[np.ndarray, np.ndarray]:
    """Flatten to float64, without the weights that no edge carries."""
    edges = np.broadcast_to(edges, values.shape).reshape(-1)
    values = values.reshape(-1).astype(np.float64)
    keep = (edges > 0) if zeros else (values != 0) & (edges > 0)
    return values[keep], edges[keep].astype(np.float64)
