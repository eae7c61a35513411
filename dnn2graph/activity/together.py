"""Which neurons are active together: correlations of activations over a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError, MemoryBudgetError
from ..estimate import FRACTION_OF_FREE, readable_bytes
from ..graph import NeuralGraph
from ..progress import Progress
from .positions import open_positions

if TYPE_CHECKING:
    import pandas as pd
    import scipy.sparse

BLOCK_VALUES = 1 << 22  # products of the two ends of edges that are summed together
DENSE_BYTES = 3 * 8  # of a pair of nodes: co-moments, those of a batch, correlations
EDGE_BYTES = 3 * 8 + 2 * 8


def coactivation(
    graph: NeuralGraph,
    loader: Any,
    layers: Sequence[str] | str | None = None,
    *,
    model: nn.Module | None = None,
    memory: float | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame | scipy.sparse.csr_array:
    """Correlate the activations of nodes over a data set: Pearson's coefficient, in one pass over it.

    In channel granularity a node's activation for a sample is the mean over its positions.

    Parameters
    ----------
    graph : NeuralGraph
    loader : iterable or tensor
        As of :func:`.activations`.
    layers : sequence of str or str, optional
        Names of the layers whose nodes are compared, each with each. Default: the two ends of every edge of the graph.
    model, progress
        As of :func:`.activations`.
    memory : float, optional
        How many bytes it may take; default half of what is free.

    Returns
    -------
    DataFrame (nodes of the layers, nodes of the layers)
        With node ids as index and columns; or, without ``layers``,
    csr_array (nodes, nodes)
        With an entry for each edge. NaN where an end is constant over the data.

    Raises
    ------
    MemoryBudgetError
        Before anything is allocated.
    InputError
        If a layer is unknown; else as of :func:`.activations`.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.activity import coactivation
    >>> graph = dg.from_torch(torch.nn.Linear(2, 1), torch.zeros(1, 2), granularity="position")
    >>> coactivation(graph, torch.tensor([[0.0, 3.0], [1.0, 2.0], [2.0, 1.0]]), "input").round(6)
         0    1
    0  1.0 -1.0
    1 -1.0  1.0
    """
    if layers is None:
        return _along_edges(graph, loader, model, memory, progress)
    return _between(graph, loader, [layers] if isinstance(layers, str) else layers, model, memory, progress)


def _between(
    graph: NeuralGraph,
    loader: Any,
    names: Sequence[str],
    model: nn.Module | None,
    memory: float | None,
    progress: Progress | None,
) -> pd.DataFrame:
    import pandas as pd

    chosen = [graph.layer(name) for name in dict.fromkeys(names)]
    nodes = np.concatenate([np.zeros(0, np.int64), *(np.arange(layer.start, layer.stop) for layer in chosen)])
    if not len(nodes):
        raise InputError("no layer is named: give layers to compare, or leave them out for the ends of every edge")
    _check_memory(len(nodes) ** 2 * DENSE_BYTES, f"the correlations of {len(nodes):,} nodes", memory)
    positions, runs = open_positions(graph, loader, model, progress)
    means = _Means(len(nodes))
    together = torch.zeros(len(nodes), len(nodes), dtype=torch.float64)  # sums of products of deviations from the mean
    for values, _ in runs:
        deviations, shift, factor = means.add(positions.means(values)[:, torch.from_numpy(nodes)])
        together.addmm_(deviations.T, deviations).addr_(shift, shift, alpha=factor)
    found = _correlations(together.numpy(), *np.ix_(*[together.diagonal().numpy().copy()] * 2))
    return pd.DataFrame(found, index=nodes, columns=nodes)


def _along_edges(
    graph: NeuralGraph, loader: Any, model: nn.Module | None, memory: float | None, progress: Progress | None
) -> scipy.sparse.csr_array:
    import scipy.sparse

    edges = graph.number_of_edges()
    _check_memory(edges * EDGE_BYTES, f"the correlations along {edges:,} edges", memory)
    pattern = graph.adjacency(memory=memory)
    source = torch.from_numpy(np.repeat(np.arange(len(graph)), np.diff(pattern.indptr)))
    target = torch.from_numpy(pattern.indices.astype(np.int64))
    positions, runs = open_positions(graph, loader, model, progress)
    means = _Means(len(graph))
    together = torch.zeros(len(source), dtype=torch.float64)
    squares = torch.zeros(len(graph), dtype=torch.float64)
    for values, _ in runs:
        deviations, shift, factor = means.add(positions.means(values))
        squares += deviations.square().sum(0) + factor * shift.square()
        by_node = deviations.T.contiguous()  # (nodes, samples)
        step = max(1, BLOCK_VALUES // len(deviations))
        for begin in range(0, len(source), step):
            ends = source[begin : begin + step], target[begin : begin + step]
            products = torch.einsum("es,es->e", by_node[ends[0]], by_node[ends[1]])
            together[begin : begin + step] += products + factor * shift[ends[0]] * shift[ends[1]]
    found = _correlations(together.numpy(), squares[source].numpy(), squares[target].numpy())
    return scipy.sparse.csr_array((found, pattern.indices, pattern.indptr), shape=pattern.shape)


class _Means:
    """Mean of each node over the samples so far."""

    def __init__(self, nodes: int) -> None:
        self.count = 0
        self.mean = torch.zeros(nodes, dtype=torch.float64)

    def add(self, values: Tensor) -> tuple[Tensor, Tensor, float]:
        """Add samples, float64 (samples, nodes).

        Returns
        -------
        deviations : (samples, nodes)
            From the mean of these samples.
        shift : (nodes,)
            Of that mean from the one before.
        factor : float
            By which products of shifts join the sums of products of deviations (Chan, Golub and LeVeque 1979).
        """
        mean = values.mean(0)
        shift = mean - self.mean
        before, after = self.count, self.count + len(values)
        self.mean += shift * (len(values) / after)
        self.count = after
        return values - mean, shift, before * len(values) / after


def _correlations(together: np.ndarray, squares: np.ndarray, other_squares: np.ndarray) -> np.ndarray:
    """Divide co-moments by the deviations of both; NaN where one does not vary."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((together / np.sqrt(squares) / np.sqrt(other_squares)).clip(-1, 1))


def _check_memory(needed: int, what: str, memory: float | None) -> None:
    import psutil

    budget = psutil.virtual_memory().available * FRACTION_OF_FREE if memory is None else memory
    if needed > budget:
        raise MemoryBudgetError(
            f"{what} take about {readable_bytes(needed)}, the budget is {readable_bytes(budget)}: choose fewer or "
            "smaller layers (layers=...), granularity='channel', or allow more with memory=<bytes>"
        )
