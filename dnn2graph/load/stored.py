"""A graph put together again from the layers, node numbers and edges that a file holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import torch

from ..errors import InputError, LoadError
from ..graph import Layer, NeuralGraph, Output
from ..links import Links, Listed
from ..topology import Topology
from ..weights import Constant, Weights


@dataclass(frozen=True, eq=False, repr=False)
class StoredGraph(NeuralGraph):
    """A graph that was read from a file: layers, biases and edges, whose weights are numbers.

    Every measure, export and figure takes it. What the nodes compute from their sums is not in graph files, so it
    cannot be replayed, and there are no parameters to exchange.
    """

    def replay(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise InputError."""
        raise InputError(
            "a graph that was read from a file knows the names of its activation functions, not the functions: load "
            "the model with dnn2graph.load and replay that"
        )

    def with_weights(self, state_dict: Weights) -> NoReturn:
        """Raise InputError."""
        raise InputError(
            "a graph that was read from a file has numbers for weights, not parameters to exchange: trace the model "
            "with dnn2graph.from_torch or dnn2graph.load, and use with_weights of that graph"
        )


@dataclass(frozen=True, eq=False)
class StoredEdges:
    """All edges of a file, in any order.

    Attributes
    ----------
    sources, targets : int arrays (edges,)
        Node ids.
    weights : float array (edges,)
        Signed.
    kinds : int8 array (edges,)
        Place in ``kinds`` of the topology.
    """

    sources: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    kinds: np.ndarray


def stored_graph(topology: Topology, bias: np.ndarray, edges: StoredEdges, path: object) -> StoredGraph:
    """Put a graph together.

    Parameters
    ----------
    topology : Topology
    bias : float64 array (nodes,)
    edges : StoredEdges
    path
        The file to name in errors.

    Raises
    ------
    LoadError
        If the numbers do not fit the topology.
    """
    _check(topology, bias, edges, path)
    layers = tuple(_with_bias(layer, bias[layer.start : layer.stop]) for layer in topology.layers)
    dtype = getattr(torch, topology.dtype)
    links = tuple(_links(topology, layers, edges, dtype))
    inputs = tuple(layer for layer in layers if layer.kind == "input")
    options = {"granularity": topology.granularity, "aggregate": topology.aggregate}
    return StoredGraph(
        layers,
        links,
        Output((), None),
        weights={},
        granularity=topology.granularity,
        aggregate=topology.aggregate,
        inputs=inputs,
        options=options,
        dtype=dtype,
    )


def _check(topology: Topology, bias: np.ndarray, edges: StoredEdges, path: object) -> None:
    """Raise LoadError if numbers are missing, out of range or not finite."""
    nodes, count = topology.nodes, len(edges.weights)
    problem = ""
    if len(bias) != nodes:
        problem = f"it has {len(bias):,} biases for {nodes:,} nodes"
    elif not len(edges.sources) == len(edges.targets) == len(edges.kinds) == count:
        problem = "its columns of edges differ in length"
    elif not np.isfinite(bias).all() or not np.isfinite(edges.weights).all():
        problem = "a weight or a bias is not finite"
    elif count:
        ends = (edges.sources.min(), edges.targets.min(), edges.sources.max(), edges.targets.max())
        if min(ends) < 0 or max(ends) >= nodes:
            problem = f"an edge has an end outside of its {nodes:,} nodes"
        elif edges.kinds.min() < 0 or edges.kinds.max() >= len(topology.kinds):
            problem = "an edge has a kind of links that is not declared"
    if problem:
        raise LoadError(f"'{path}' is damaged: {problem}: write it again")


def _with_bias(layer: Layer, bias: np.ndarray) -> Layer:
    return replace(layer, bias=Constant(torch.from_numpy(bias.astype(np.float64)))) if bias.any() else layer


def _links(topology: Topology, layers: tuple[Layer, ...], edges: StoredEdges, dtype: torch.dtype) -> Iterator[Links]:
    """Group edges by source layer, target layer and kind; parallel edges of one kind go to separate links."""
    order, group = _grouped(topology, layers, edges)
    layer_of = np.repeat(np.arange(len(layers)), [layer.size for layer in layers])
    first = np.flatnonzero(np.diff(group, prepend=-1))
    for begin, end in zip(first, np.append(first, len(group))[1:], strict=True):
        chosen = order[begin:end]
        sources, targets = edges.sources[chosen], edges.targets[chosen]
        source, target = layers[layer_of[sources[0]]], layers[layer_of[targets[0]]]
        ends = ((nodes - layer.start).astype(np.int64) for nodes, layer in ((sources, source), (targets, target)))
        yield Links(
            topology.kinds[edges.kinds[chosen[0]]],
            source.nodes.reshape(source.size),
            target.nodes.reshape(target.size),
            Listed(source.size, target.size, *ends),
            Constant(torch.from_numpy(edges.weights[chosen].astype(topology.dtype, copy=False))),
            dtype=dtype,
            sources=(source,),
            target=target,
        )


def _grouped(topology: Topology, layers: tuple[Layer, ...], edges: StoredEdges) -> tuple[np.ndarray, np.ndarray]:
    """Order edges by group, source and target; returns the order, and the groups in that order."""
    nodes, kinds = topology.nodes, len(topology.kinds)
    layer_of = np.repeat(np.arange(len(layers)), [layer.size for layer in layers])
    group = layer_of[edges.targets] * len(layers) + layer_of[edges.sources]  # targets first: as a network computes
    group = group * kinds + edges.kinds
    if (int(group.max(initial=0)) + 1) * nodes**2 >= 2**63:  # too many for one number
        group = np.unique(group, return_inverse=True)[1]
    key = (group * nodes + edges.sources) * nodes + edges.targets
    order = np.argsort(key, kind="stable")  # of the kinds of sorting the one that profits from sorted stretches
    key = key[order]
    group = key // max(1, nodes**2)
    again = np.zeros(len(key), bool)
    np.equal(key[1:], key[:-1], out=again[1:])
    if again.any():
        place = np.arange(len(key))
        times = place - np.maximum.accumulate(np.where(again, 0, place))  # how often this pair stood before
        group = group * (times.max() + 1) + times
        regrouped = np.argsort(group, kind="stable")
        order, group = order[regrouped], group[regrouped]
    return order, group
