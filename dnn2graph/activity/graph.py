"""The functional graph: a network's links weighed by how active the neurons are that they leave."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..graph import NeuralGraph
from ..links import Convolution, Links, Listed, Scaled
from ..links.scaled import times
from ..progress import Progress
from ..weights import Call
from .statistics import Activity, as_activity

ACTIVATIONS = ("mean", "mean_abs", "std")


@dataclass(frozen=True, eq=False, repr=False)
class FunctionalGraph(NeuralGraph):
    """A graph whose edges weigh their weight times the activation of their source on some data.

    Made by :func:`functional_graph`. It is a graph like any other: every measure, file and picture takes it. Its
    weights are still tied to the parameters: :meth:`with_weights` gives others times the same activations. It is not
    the network: what :meth:`replay` computes is not what the model computes.

    Attributes
    ----------
    activity : Activity
        Of the graph's nodes on the data.
    activation : {"mean", "mean_abs", "std"}
        Which statistic of it the weights are multiplied by.
    """

    activity: Activity | None = None
    activation: str = "mean"

    def __repr__(self) -> str:
        samples = f"{self.activation} activation of {self.activity.samples:,} samples, " if self.activity else ""
        return (
            f"FunctionalGraph({len(self.layers)} layers, {self.number_of_nodes():,} nodes, {len(self.links)} links, "
            f"{samples}granularity={self.granularity!r})"
        )


def functional_graph(
    graph: NeuralGraph,
    loader: Any,
    *,
    activation: str = "mean",
    model: nn.Module | None = None,
    progress: Progress | None = None,
) -> FunctionalGraph:
    """Weigh the edges of a graph by the activation of their sources on a data set.

    Where the adjacency matrix of the graph is ``A``, that of the functional graph is ``diag(a) A`` with the activation
    ``a`` of each node. An edge that leaves a node whose activation is 0 is no edge.

    Parameters
    ----------
    graph : NeuralGraph
    loader : iterable, tensor or Activity
        As of :func:`.activations`; or what that returned, for this graph.
    activation : {"mean", "mean_abs", "std"}
        The mean activation, signed: then an edge weighs what it contributes to its target's input on average. The mean
        of absolute values keeps the sign of every weight. The standard deviation leaves what does not vary without
        edges.
    model, progress
        As of :func:`.activations`.

    Returns
    -------
    FunctionalGraph

    Raises
    ------
    InputError
        If the activation is unknown, or one is NaN or infinite; else as of :func:`.activations`.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.activity import functional_graph
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, -2.0]]))
    >>> graph = dg.from_torch(model, torch.zeros(1, 2), granularity="position")
    >>> functional_graph(graph, torch.tensor([[3.0, 0.5], [5.0, 0.5]])).adjacency().toarray()[:2, 2].tolist()
    [4.0, -1.0]
    """
    if activation not in ACTIVATIONS:
        raise InputError(f"activation={activation!r} is unknown: choose from {', '.join(ACTIVATIONS)}")
    activity = as_activity(graph, loader, model, progress)
    amounts: np.ndarray = getattr(activity, activation)
    links = tuple(scaled_by_sources(each, amounts) for each in graph.links)
    fields = {name: getattr(graph, name) for name in NeuralGraph.__dataclass_fields__}
    return FunctionalGraph(**{**fields, "links": links}, activity=activity, activation=activation)


def scaled_by_sources(links: Links, amounts: np.ndarray) -> Links:
    """Multiply the weight of every edge by an amount of the node that it leaves, given for all nodes (nodes,).

    Raises
    ------
    InputError
        If the amount of a node is NaN or infinite; the message names its layer.
    """
    nodes = links.source_nodes.flat
    scale = np.where(nodes >= 0, amounts[nodes], 0.0)  # what is no node has no edges
    finite = np.isfinite(scale)
    if not finite.all():
        node = int(nodes[np.argmin(finite)])
        layer = next(layer for layer in links.sources if layer.start <= node < layer.stop)
        raise InputError(
            f"node {node - layer.start} of layer {layer.name!r} has an activation of {amounts[node]}, by which no "
            "weight can be multiplied: look for NaN or infinite values in the data and the weights, or use "
            "granularity='position' where a channel has no positions of its own"
        )
    geometry = links.map
    if isinstance(geometry, Listed):
        per_edge = torch.from_numpy(scale[geometry.source])
        return replace(links, weight=Call(times, (links.weight, per_edge, geometry.kernel_shape)))
    if isinstance(geometry, Scaled):
        return replace(links, map=Scaled(geometry.map, geometry.scale * scale.reshape(geometry.in_shape)))
    by_channel = scale.reshape(geometry.copies, geometry.in_channels, -1)
    if not by_channel.size:
        return links
    if geometry.copies > 1 and not geometry.axes and geometry.kernel_shape == (1, 1):
        count = geometry.copies  # the same number between pairs of nodes: each pair gets its own
        geometry = Convolution(count, count, groups=count)
        ends = (links.source_nodes.reshape(*geometry.in_shape), links.target_nodes.reshape(*geometry.out_shape))
        links = replace(links, source_nodes=ends[0], target_nodes=ends[1], map=geometry)
        by_channel = scale.reshape(1, count, 1)
    if bool((by_channel == by_channel[:1, :, :1]).all()):
        per_entry = _by_kernel_entry(geometry, by_channel[0, :, 0])
        return replace(links, weight=Call(times, (links.weight, per_entry, geometry.kernel_shape)))
    return replace(links, map=Scaled(geometry, scale.reshape(geometry.in_shape)))


def _by_kernel_entry(geometry: Convolution, of_channel: np.ndarray) -> Tensor:
    """Lay amounts of in-channels (in,) out along a kernel (out, in / groups, *taps): they broadcast against it."""
    grouped = torch.from_numpy(of_channel.reshape(geometry.groups, -1))  # (groups, in / groups)
    if geometry.groups > 1:
        grouped = grouped.repeat_interleave(geometry.out_channels // geometry.groups, 0)
    return grouped.reshape(*grouped.shape, *[1] * len(geometry.axes))
