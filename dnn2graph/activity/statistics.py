"""Statistics of every node's activation over a data set, in one pass and in constant memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..graph import Layer, NeuralGraph
from ..progress import Progress
from ..replay import call
from .positions import Positions, open_positions

if TYPE_CHECKING:
    import pandas as pd

FAR, FARTHER = 1e4, 2e4  # where an activation function that has bounds is at them, or close
SATURATED = 0.01  # of the range between its bounds: an activation so close to one of them is saturated
STATISTICS = ("mean", "mean_abs", "std", "min", "max", "zeros", "saturated")


@dataclass(frozen=True, eq=False)
class Activity:
    """Activations of the nodes of a graph: values after the layer's function, over the samples of a data set.

    In channel granularity a node's statistics are over the samples and its positions together.

    Attributes
    ----------
    mean, mean_abs, std, min, max : float64 arrays (nodes,)
        ``mean_abs`` is the mean of absolute values; ``std`` the population standard deviation (ddof=0).
    zeros : float64 array (nodes,)
        Fraction of activations that are exactly zero. A node that is always zero is dead.
    saturated : float64 array (nodes,)
        Fraction of activations closer than 1 % of the range of the activation function to one of its two bounds; NaN
        where the function has not two bounds (ReLU has one).
    samples : int
        Number of samples.
    positions : int64 array (nodes,)
        How many values of each sample a node has; 1 in position granularity. Where it is 0 all statistics are NaN.
    layers : tuple of Layer
        Of the graph.
    """

    mean: np.ndarray
    mean_abs: np.ndarray
    std: np.ndarray
    min: np.ndarray
    max: np.ndarray
    zeros: np.ndarray
    saturated: np.ndarray
    samples: int
    positions: np.ndarray = field(repr=False)
    layers: tuple[Layer, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.mean)

    def __repr__(self) -> str:
        return f"Activity({len(self):,} nodes, {self.samples:,} samples, {int(self.dead().sum()):,} dead nodes)"

    def dead(self) -> np.ndarray:
        """Mark the nodes whose activation is zero for every sample, bool (nodes,); inputs among them."""
        return self.zeros == 1

    def table(self) -> pd.DataFrame:
        """Give one row per node: its layer, and the statistics; the index is the node id."""
        import pandas as pd

        names = np.repeat([layer.name for layer in self.layers], [layer.size for layer in self.layers])
        columns = {"layer": names, **{name: getattr(self, name) for name in STATISTICS}}
        return pd.DataFrame(columns).rename_axis("node")

    def layer_table(self) -> pd.DataFrame:
        """Give one row per layer.

        Returns
        -------
        DataFrame
            Columns ``layer``, ``nodes``, ``mean`` (of the nodes' mean activations), ``fluctuation`` (their population
            standard deviation), ``std`` (mean of the nodes' own), ``zeros``, ``saturated`` (means of the nodes'
            fractions), ``dead`` (number of nodes).
        """
        import pandas as pd

        rows = []
        for layer in self.layers:
            part = slice(layer.start, layer.stop)
            rows.append(
                {
                    "layer": layer.name,
                    "nodes": layer.size,
                    "mean": _mean(self.mean[part]),
                    "fluctuation": float(self.mean[part].std()) if layer.size else np.nan,
                    "std": _mean(self.std[part]),
                    "zeros": _mean(self.zeros[part]),
                    "saturated": _mean(self.saturated[part]),
                    "dead": int(self.dead()[part].sum()),
                }
            )
        return pd.DataFrame(rows)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def activations(
    graph: NeuralGraph, loader: Any, *, model: nn.Module | None = None, progress: Progress | None = None
) -> Activity:
    """Run a data set through a graph and describe the activation of every node.

    The batches are read once, and none is kept. A position graph computes its own activations; for a channel graph the
    model is traced again position by position, with the graph's own weights.

    Parameters
    ----------
    graph : NeuralGraph
    loader : iterable or tensor
        Of batches: tensors of samples, or (inputs, labels) as a ``DataLoader`` gives them. A tensor by itself is one
        batch.
    model : Module, optional
        That the graph was traced from; only needed in channel granularity.
    progress : callable, optional
        Called with the number of batches done and their total.

    Returns
    -------
    Activity

    Raises
    ------
    InputError
        If the graph has no values to compute (channels without a model, a folded module, a graph from a file), the
        loader gives something else than batches, or they do not fit.
    ModelError
        If the model is not the one that the graph was traced from.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.activity import activations
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 2, bias=False), torch.nn.ReLU())
    >>> _ = model[0].weight.data.copy_(torch.tensor([[1.0], [-2.0]]))
    >>> graph = dg.from_torch(model, torch.zeros(1, 1), granularity="position")
    >>> found = activations(graph, [torch.tensor([[1.0], [3.0]])])
    >>> found.mean.tolist(), found.dead().tolist()
    ([2.0, 2.0, 0.0], [False, False, True])
    """
    positions, runs = open_positions(graph, loader, model, progress)
    bounds = _Bounds(positions.graph)
    moments = Moments(graph.number_of_nodes())
    samples = 0
    for values, _ in runs:
        samples += len(values)
        for layer in positions.graph.layers:  # layer by layer: the copies that are made stay small
            if layer.size:
                part = values[:, layer.start : layer.stop].double()
                moments.add(part, positions, layer, bounds.reached(layer, part))
    return moments.activity(samples, positions.count, graph.layers)


class _Bounds:
    """Between which values the activation functions of layers lie."""

    def __init__(self, graph: NeuralGraph) -> None:
        self._of_layer = {layer.name: _bounds(graph, layer) for layer in graph.layers}

    def reached(self, layer: Layer, values: Tensor) -> Tensor:
        """Count the values (samples, nodes) of a layer at a bound, or close: float64 (nodes,), NaN without bounds."""
        bounds = self._of_layer[layer.name]
        if bounds is None:
            return values.new_full((layer.size,), torch.nan)
        low, high = (bound.to(values) for bound in bounds)
        near = SATURATED * (high - low)
        close = ((values - low).abs() <= near) | ((high - values).abs() <= near)
        return torch.where(high > low, close.sum(0, dtype=torch.float64), torch.nan)


def _bounds(graph: NeuralGraph, layer: Layer) -> tuple[Tensor, Tensor] | None:
    """Give what a layer's activation function leads to far below zero and far above, float64 (nodes,) each.

    None where it has not two bounds: it is not constant far out.
    """
    if layer.activate is None:
        return None
    ends = []
    for sign in (-1, 1):
        x = torch.tensor([FAR, FARTHER], dtype=graph.dtype) * sign
        x = x.reshape(2, *[1] * len(layer.tensor_shape)).expand(2, *layer.tensor_shape)
        far, farther = call(layer.activate, graph, [x]).reshape(2, -1).double()
        if not torch.allclose(far, farther, rtol=1e-3, atol=1e-3):
            return None
        ends.append(far)
    low, high = torch.minimum(*ends), torch.maximum(*ends)
    return None if bool((low == high).all()) else (low, high)


class Moments:
    """Statistics of many nodes, gathered part by part.

    Two sets of values have the mean and the sum of squares about it that follow from those of each (Chan, Golub and
    LeVeque 1979), so that nothing is lost where the mean is large beside the deviation.
    """

    def __init__(self, nodes: int) -> None:
        self.count, self.mean, self.squares = np.zeros(nodes), np.zeros(nodes), np.zeros(nodes)
        self.totals = {name: np.zeros(nodes) for name in ("mean_abs", "zeros", "saturated")}
        self.min, self.max = np.full(nodes, np.inf), np.full(nodes, -np.inf)

    def add(self, values: Tensor, positions: Positions, layer: Layer, saturated: Tensor) -> None:
        """Add the values of some positions, float64 (samples, positions of the layer); of each, how many saturated."""
        samples = len(values)
        mean = values.mean(0)
        squares = (values - mean).square().sum(0).numpy(force=True)
        sums = {
            "mean_abs": values.abs().sum(0),
            "zeros": (values == 0).sum(0, dtype=torch.float64),
            "saturated": saturated,
        }
        low, high = (ends.numpy(force=True) for ends in values.aminmax(dim=0))
        found = {name: total.numpy(force=True) for name, total in sums.items()}
        means = mean.numpy(force=True)
        if positions.node is None:
            nodes: np.ndarray | slice = slice(layer.start, layer.stop)
            count = np.full(layer.size, float(samples))
        else:
            node = positions.node[layer.start : layer.stop]
            there = node >= 0
            nodes, of_position = np.unique(node[there], return_inverse=True)
            if not len(nodes):
                return
            pool = _Pool(of_position, len(nodes))
            count = pool.sum(np.full(len(of_position), float(samples)))
            within, of_positions = squares[there], means[there]
            means = pool.sum(of_positions * samples) / count
            squares = pool.sum(within + samples * np.square(of_positions - means[of_position]))
            found = {name: pool.sum(total[there]) for name, total in found.items()}
            low, high = pool.least(low[there]), -pool.least(-high[there])
        self._merge(nodes, count, means, squares)
        for name, total in found.items():
            self.totals[name][nodes] += total
        self.min[nodes] = np.minimum(self.min[nodes], low)
        self.max[nodes] = np.maximum(self.max[nodes], high)

    def _merge(self, nodes: np.ndarray | slice, count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
        before = self.count[nodes]
        after = before + count
        shift = mean - self.mean[nodes]
        self.mean[nodes] += shift * (count / after)
        self.squares[nodes] += squares + np.square(shift) * (before * count / after)
        self.count[nodes] = after

    def activity(self, samples: int, positions: np.ndarray, layers: tuple[Layer, ...]) -> Activity:
        """Give what was gathered; NaN for nodes without a value."""
        seen = self.count > 0
        count = np.where(seen, self.count, np.nan)

        def known(values: np.ndarray) -> np.ndarray:
            return np.where(seen, values, np.nan)

        return Activity(
            mean=known(self.mean),
            std=np.sqrt(self.squares / count),
            min=known(self.min),
            max=known(self.max),
            **{name: total / count for name, total in self.totals.items()},
            samples=samples,
            positions=positions,
            layers=layers,
        )


class _Pool:
    """Bring values of positions together by their nodes."""

    def __init__(self, group: np.ndarray, groups: int) -> None:
        self.group, self.groups = group, groups

    def sum(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.group, values, self.groups)

    def least(self, values: np.ndarray) -> np.ndarray:
        found = np.full(self.groups, np.inf)
        np.minimum.at(found, self.group, values)
        return found


def as_activity(
    graph: NeuralGraph, loader: Any, model: nn.Module | None = None, progress: Progress | None = None
) -> Activity:
    """Give the activity of a graph on the data of a loader; an activity in its place is taken as it is.

    Raises
    ------
    InputError
        If the activity is that of a graph with another number of nodes; else as of :func:`activations`.
    """
    if not isinstance(loader, Activity):
        return activations(graph, loader, model=model, progress=progress)
    if len(loader) != len(graph):
        raise InputError(
            f"the activity is that of {len(loader):,} nodes, the graph has {len(graph):,}: measure it on this graph"
        )
    return loader
