"""Statistics of link weights, over the edges of the unrolled graph but without unrolling it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from ..graph import NeuralGraph
from ..links import Links
from ..links.sums import as_numpy
from .moments import Moments, Weighted, moments

if TYPE_CHECKING:
    import pandas as pd

BLOCK_WEIGHTS = 1 << 17


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
