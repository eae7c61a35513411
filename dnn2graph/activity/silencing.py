"""Accuracy of a network some of whose neurons are silenced: which of them does it need?

A silenced neuron gives the same value for every sample: zero, or its mean. All else is computed as before. Silencing
one neuron after the other changes nothing before the first of them, so that only the layers behind are run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..graph import NeuralGraph
from ..measures import strength
from ..progress import Progress
from ..replay import inbound_links, layer_values
from .positions import Positions, open_positions
from .statistics import Activity, as_activity

if TYPE_CHECKING:
    import pandas as pd

REPLACEMENTS = ("zero", "mean")
ORDERS = ("strength", "random")


def silence(
    graph: NeuralGraph,
    loader: Any,
    order: str | Sequence[int] | np.ndarray = "strength",
    *,
    step: int = 1,
    replacement: str | Activity = "zero",
    seed: int = 0,
    model: nn.Module | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Silence neurons one after the other and measure the accuracy of the network that is left.

    Parameters
    ----------
    graph : NeuralGraph
        Of a classifier: its first output holds a score for each class. In channel granularity a node is silenced at
        all its positions.
    loader : iterable
        Of batches (inputs, labels), as of :func:`.activations`. Read once; twice for ``replacement="mean"``.
    order : {"strength", "random"} or sequence of int
        Node ids in the order in which they are silenced; or all hidden nodes, by descending strength or at random, as
        of :func:`silencing_order`.
    step : int
        How many more nodes are silenced from one row to the next.
    replacement : {"zero", "mean"} or Activity
        What silenced nodes give: zero, or their mean activation on the same data, or on those of an activity.
    seed : int
        Of a random order.
    model : Module, optional
        That the graph was traced from; only needed in channel granularity.
    progress : callable, optional
        Called with the number of batches done and their total.

    Returns
    -------
    DataFrame
        One row for each number of silenced nodes, none at first. Columns ``silenced`` (how many), ``node`` (the last of
        them; missing in the first row) and ``accuracy`` (fraction of the samples whose label has the highest score).

    Raises
    ------
    InputError
        If a node or an option is unknown, the batches hold no labels, or the output is no score for each class; else
        as of :func:`.activations`.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.activity import silence
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU(), torch.nn.Linear(2, 2))
    >>> for layer in (model[0], model[2]):
    ...     _ = layer.weight.data.copy_(torch.eye(2))
    >>> _ = model[2].bias.data.copy_(torch.tensor([0.5, 0.0]))
    >>> graph = dg.from_torch(model, torch.zeros(1, 2), granularity="position")
    >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
    >>> silence(graph, data, [2, 3])
       silenced  node  accuracy
    0         0  <NA>       1.0
    1         1     2       1.0
    2         2     3       0.5
    """
    import pandas as pd

    if step < 1:
        raise InputError(f"step={step}: silence at least one node from one row to the next")
    nodes = silencing_order(graph, order, seed=seed) if isinstance(order, str) else _known(graph, order)
    groups = [nodes[:0], *(nodes[begin : begin + step] for begin in range(0, len(nodes), step))]
    accuracy = _accuracies(graph, loader, groups, replacement, model, progress)
    last = pd.array([pd.NA, *(int(group[-1]) for group in groups[1:])], dtype="Int64")
    silenced = np.cumsum([len(group) for group in groups])
    return pd.DataFrame({"silenced": silenced, "node": last, "accuracy": accuracy})


def accuracy_without(
    graph: NeuralGraph,
    loader: Any,
    nodes: Sequence[int] | np.ndarray = (),
    *,
    replacement: str | Activity = "zero",
    model: nn.Module | None = None,
    progress: Progress | None = None,
) -> float:
    """Measure the accuracy of a network without some of its neurons, silenced together.

    Parameters
    ----------
    graph, loader, replacement, model, progress
        As of :func:`silence`.
    nodes : sequence of int
        Node ids. None: the accuracy of the network as it is.

    Returns
    -------
    float
        Fraction of the samples whose label has the highest score.

    Raises
    ------
    InputError, ModelError
        As of :func:`silence`.
    """
    groups = [_known(graph, nodes)]
    return float(_accuracies(graph, loader, groups, replacement, model, progress)[0])


def silencing_order(
    graph: NeuralGraph, by: str | np.ndarray = "strength", *, seed: int = 0, layers: Sequence[str] | None = None
) -> np.ndarray:
    """Order neurons to be silenced.

    Parameters
    ----------
    graph : NeuralGraph
    by : {"strength", "random"} or array (nodes,)
        "strength": hubs first, by the sum of the absolute weights of all edges of a node. "random": in an order drawn
        by ``seed``. Or any number for each node, the largest first. Equals stand in the order of their ids.
    seed : int
    layers : sequence of str, optional
        Names of the layers whose nodes are silenced. Default: the hidden ones, all but inputs, outputs and constants.

    Returns
    -------
    int64 array
        Node ids.

    Raises
    ------
    InputError
        If an order or a layer is unknown, or there is not one number for each node.
    """
    chosen = _hidden(graph) if layers is None else [graph.layer(name) for name in layers]
    nodes = np.concatenate([np.zeros(0, np.int64), *(np.arange(layer.start, layer.stop) for layer in chosen)])
    if isinstance(by, str):
        if by not in ORDERS:
            raise InputError(f"order {by!r} is unknown: choose from {', '.join(ORDERS)}, or give node ids")
        if by == "random":
            return np.random.default_rng(seed).permutation(nodes)
        by = strength(graph, weight="abs")
    scores = np.asarray(by, np.float64)
    if scores.shape != (len(graph),):
        raise InputError(
            f"the graph has {len(graph):,} nodes, the numbers to order them by have shape {scores.shape}: "
            "one for each node"
        )
    return np.asarray(nodes[np.argsort(-scores[nodes], kind="stable")])


def _hidden(graph: NeuralGraph) -> list[Any]:
    starts = np.array([layer.start for layer in graph.layers])
    returned = {place for nodes in graph.output.nodes() for place in nodes.owners(starts)}
    hidden = [layer for place, layer in enumerate(graph.layers) if place not in returned]
    return [layer for layer in hidden if layer.kind not in ("input", "constant")]


def _known(graph: NeuralGraph, nodes: Sequence[int] | np.ndarray) -> np.ndarray:
    """Bring node ids to an array, each once."""
    ids = np.asarray(nodes)
    if ids.size and not np.issubdtype(ids.dtype, np.integer):
        raise InputError(f"nodes must be integers, not {ids.dtype}: np.flatnonzero makes ids of a mask")
    ids = ids.reshape(-1).astype(np.int64)
    wrong = ids[(ids < 0) | (ids >= len(graph))]
    if len(wrong):
        raise InputError(f"there is no node {wrong[0]}: the graph has the nodes 0 to {len(graph) - 1}")
    if len(np.unique(ids)) < len(ids):
        raise InputError("a node stands twice in the order: silence each once")
    return ids


def _accuracies(
    graph: NeuralGraph,
    loader: Any,
    groups: Sequence[np.ndarray],
    replacement: str | Activity,
    model: nn.Module | None,
    progress: Progress | None,
) -> np.ndarray:
    """Measure the accuracy after each of some groups of nodes is silenced, one after the other: float64 (groups,)."""
    given = _replacements(graph, loader, replacement, model)
    positions, runs = open_positions(graph, loader, model, progress)
    level = torch.from_numpy(positions.spread(given, 0.0))
    members = [torch.from_numpy(_members(positions, group)) for group in groups]
    readers = _Readers(positions.graph)
    correct, samples = np.zeros(len(groups), np.int64), 0
    for values, labels in runs:
        labels = _labels(labels, len(values))
        samples += len(values)
        for place, right in enumerate(_silenced(positions.graph, readers, values, labels, members, level)):
            correct[place] += right
    return correct / samples


def _silenced(
    graph: NeuralGraph,
    readers: _Readers,
    values: Tensor,
    labels: Tensor,
    groups: Sequence[Tensor],
    level: Tensor,
) -> Iterator[int]:
    """Silence groups one after the other in the values of some samples; yield how many of them are still classified.

    Parameters
    ----------
    values : tensor (samples, nodes + 1)
        Of the whole network; is changed.
    groups : sequence of int64 tensors
        Nodes.
    level : float64 tensor (nodes,)
        What a silenced node gives.
    """
    silent = torch.zeros(len(graph), dtype=torch.bool)
    level = level.to(values)
    for group in groups:
        silent[group] = True
        values[:, group] = level[group]
        changed = set(readers.owners(group))
        for place in range(min(changed, default=len(graph.layers)) + 1, len(graph.layers)):
            layer = graph.layers[place]
            if not changed.isdisjoint(readers.read_by[place]):
                part = slice(layer.start, layer.stop)
                with torch.no_grad():
                    fresh = layer_values(graph, layer, readers.inbound[layer.name], values)
                values[:, part] = torch.where(silent[part], level[part], fresh) if silent[part].any() else fresh
                changed.add(place)
        yield int((_scores(graph, values).argmax(1) == labels).sum())


class _Readers:
    """Which layers read which, by their places."""

    def __init__(self, graph: NeuralGraph) -> None:
        self.starts = np.array([layer.start for layer in graph.layers])
        self.inbound = inbound_links(graph)
        self.read_by = []
        for layer in graph.layers:
            read = [links.source_nodes for links in self.inbound[layer.name]] + list(layer.operands)
            self.read_by.append({place for nodes in read for place in nodes.owners(self.starts)})

    def owners(self, nodes: Tensor) -> np.ndarray:
        """Give the places of the layers that some nodes belong to."""
        return np.unique(np.searchsorted(self.starts, nodes.numpy(), side="right") - 1)


def _scores(graph: NeuralGraph, values: Tensor) -> Tensor:
    """Read the first output, (samples, classes)."""
    nodes = next(graph.output.nodes())
    scores = nodes.gather(values)
    classes = nodes.size
    if max(nodes.shape, default=1) != classes or classes < 2:
        raise InputError(
            f"the network's first output has shape {nodes.shape} for one sample, which is no score for each of several "
            "classes: accuracy is defined for classifiers only"
        )
    return scores.reshape(len(values), classes)


def _labels(labels: Tensor | None, samples: int) -> Tensor:
    if labels is None:
        raise InputError(
            "accuracy needs labels: let each batch be (inputs, labels), as a DataLoader gives them, or pass [(x, y)]"
        )
    if labels.shape != (samples,) or labels.is_floating_point():
        raise InputError(
            f"labels must be one class index for each sample, integers of shape ({samples},), not "
            f"{labels.dtype} of shape {tuple(labels.shape)}"
        )
    return labels


def _members(positions: Positions, nodes: np.ndarray) -> np.ndarray:
    """Give all positions of some nodes, int64."""
    if positions.node is None:
        return nodes
    return np.flatnonzero(np.isin(positions.node, nodes))


def _replacements(
    graph: NeuralGraph, loader: Any, replacement: str | Activity, model: nn.Module | None
) -> np.ndarray:
    """Give what each node gives once it is silenced, float64 (nodes,)."""
    if isinstance(replacement, str):
        if replacement not in REPLACEMENTS:
            raise InputError(f"replacement={replacement!r} is unknown: choose from {', '.join(REPLACEMENTS)}")
        if replacement == "zero":
            return np.zeros(len(graph))
        return as_activity(graph, loader, model).mean
    return as_activity(graph, replacement).mean
