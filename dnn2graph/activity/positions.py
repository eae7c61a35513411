"""Where activations are computed: a graph that can be replayed, and the node of the graph at hand of each of its nodes.

A position graph is replayed as it is. A channel graph has one node for many positions and no values to replay: its
model is traced again, position by position, and each position belongs to the channel that the same operation of the
model made it for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError, ModelError
from ..graph import NeuralGraph
from ..progress import Progress
from ..replay import node_values, sample_batch, sample_chunks
from ..trace import traced
from ..trace.watch import Options
from .batches import Batch, batches

NO_NODE = -1


@dataclass(frozen=True, eq=False)
class Positions:
    """A graph that can be replayed, for the sake of another one.

    Attributes
    ----------
    graph : NeuralGraph
        In position granularity.
    nodes : int
        How many nodes the graph at hand has.
    node : int64 array (graph nodes,) or None
        The node of the graph at hand that each node of ``graph`` belongs to; -1 for none. None: the same one.
    """

    graph: NeuralGraph
    nodes: int
    node: np.ndarray | None = None

    @cached_property
    def count(self) -> np.ndarray:
        """How many positions each node of the graph at hand has, int64 (nodes,)."""
        if self.node is None:
            return np.ones(self.nodes, np.int64)
        return np.bincount(self.node[self.node >= 0], minlength=self.nodes)

    def means(self, values: Tensor) -> Tensor:
        """Average values (samples, positions + 1) over the positions of each node: float64 (samples, nodes).

        NaN where a node has no position.
        """
        if self.node is None:
            return values[:, : self.nodes].double()
        there = torch.from_numpy(self.node + 1)  # what belongs to no node goes to column 0
        total = torch.zeros(len(values), self.nodes + 1, dtype=torch.float64)
        total.index_add_(1, there, values[:, : len(self.graph)].double())
        return total[:, 1:] / torch.from_numpy(self.count)

    def spread(self, of_nodes: np.ndarray, elsewhere: Any) -> np.ndarray:
        """Give each position the value of its node."""
        if self.node is None:
            return of_nodes
        return np.where(self.node >= 0, of_nodes[self.node], elsewhere)


class Run(NamedTuple):
    """Some samples on their way through the network."""

    values: Tensor  # of every position (samples, positions + 1), the last column zero
    labels: Tensor | None  # (samples, …)


def open_positions(
    graph: NeuralGraph, loader: Any, model: nn.Module | None, progress: Progress | None = None
) -> tuple[Positions, Iterator[Run]]:
    """Prepare to run a graph on all samples of a loader: where, and the runs, made one after the other.

    Raises
    ------
    InputError
        If the graph cannot be replayed and there is no model, or the loader gives something else than batches.
    ModelError
        If the model is not the one that the graph was traced from.
    """
    given = batches(loader, len(graph.inputs), progress)
    check(graph, model)
    first = next(given)
    positions = positions_of(graph, model, first.inputs)
    return positions, _runs(positions.graph, chain([first], given))


def _runs(graph: NeuralGraph, given: Iterable[Batch]) -> Iterator[Run]:
    for batch in given:
        inputs = sample_batch(graph, batch.inputs, {})
        if batch.labels is not None and len(batch.labels) != len(inputs[0]):
            raise InputError(f"a batch holds {len(inputs[0])} samples and {len(batch.labels)} labels")
        begin = 0
        for part in sample_chunks(graph, inputs):
            end = begin + len(part[0])
            with torch.no_grad():
                values = node_values(graph, part)
            yield Run(values, None if batch.labels is None else batch.labels[begin:end])
            begin = end


def is_replayable(graph: NeuralGraph) -> bool:
    """Whether a graph holds all that is needed to run it."""
    return graph.granularity == "position" and not graph.folded and bool(graph.output.leaves)


def check(graph: NeuralGraph, model: nn.Module | None) -> None:
    """Raise InputError if a graph cannot be run, nor its model in its place."""
    if is_replayable(graph):
        return
    if not graph.output.leaves:
        raise InputError(
            "the graph was read from a file, which holds edges but no functions of layers: trace the model that it "
            "was made of (dnn2graph.from_torch) to see what data does to it"
        )
    if graph.folded:
        raise InputError(
            "the graph folds a module that is called more than once, so that its nodes have several values: trace it "
            "with shared='unfold'"
        )
    if model is None:
        raise InputError(
            "a graph in channel granularity has no values per position to compute activations from: pass the model "
            "that it was traced from (model=...), or trace or load it with granularity='position', where an MLP has "
            "the same nodes"
        )


def positions_of(graph: NeuralGraph, model: nn.Module | None, args: tuple[Tensor, ...]) -> Positions:
    """Find where the activations of a graph are computed.

    Parameters
    ----------
    graph : NeuralGraph
    model : Module or None
        That the graph was traced from; only needed in channel granularity.
    args : tuple of tensors
        A batch of samples.

    Raises
    ------
    InputError, ModelError
        As of :func:`open_positions`.
    """
    check(graph, model)
    nodes = graph.number_of_nodes()
    if is_replayable(graph):
        return Positions(graph, nodes)
    assert model is not None
    # Operations are told by the names that they have before anything is simplified, alike in both granularities.
    plain, elements = _trace(model, args, graph, granularity="channel", simplify=False)
    channels = {layer.origin: layer for layer in plain.layers}
    for layer in graph.layers:
        if layer.origin not in channels or channels[layer.origin].size != layer.size:
            raise ModelError(
                f"the model has no operation that makes the {layer.size} nodes of layer {layer.name!r}: pass the "
                "model that the graph was traced from, and data of the shape that it was traced with"
            )
    of_operation = {channels[layer.origin].name: layer for layer in graph.layers}
    unrolled = _trace(model, args, graph, granularity="position", simplify=False)[0]
    names = {layer.origin: layer.name for layer in unrolled.layers}
    candidates = [lambda: unrolled]
    if graph.options["simplify"]:  # fewer nodes; but it may have gone another course than in the graph
        candidates.insert(0, lambda: _trace(model, args, graph, granularity="position")[0])
    for candidate in candidates:
        made = candidate()
        node = np.full(len(made), NO_NODE)
        for layer in made.layers:
            channel = of_operation.get(names[layer.origin])
            if channel is None:
                continue
            local = elements[channel.origin].reshape(-1)
            if not len(local):  # constants, of which no element is recorded
                local = torch.arange(channel.size)
            if len(local) == layer.size:
                node[layer.start : layer.stop] = np.where(local >= 0, local + channel.start, NO_NODE)
        positions = Positions(made.with_weights(graph.weights), nodes, node)
        if positions.count.all():
            break
    return positions


def _trace(
    model: nn.Module, args: tuple[Tensor, ...], graph: NeuralGraph, **options: Any
) -> tuple[NeuralGraph, list[Tensor]]:
    """Trace a model as a graph was traced, but for some options."""
    changed = Options(**{**graph.options, "shared": "unfold", **options})
    return traced(model, args, {}, changed, keep_values=changed.granularity == "channel")
