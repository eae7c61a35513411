"""Weights from inputs to outputs, were all activations the identity: links applied one after another as linear maps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..graph import NeuralGraph
from ..links import Links
from ..nodes import Nodes
from ..sparsify.reach import output_nodes

CHUNK_BYTES = 1 << 28  # path sums of all nodes that are held at a time
MOST_PATH_SUMS = 1 << 27  # of node times output


def effective_weights(graph: NeuralGraph, kinds: Collection[str] | None = None) -> np.ndarray:
    """Weights from each input to each output of the network whose activations are the identity.

    Each is the sum over all paths of the product of their weights, and together they are the Jacobian of the linearised
    network. Links are applied as the linear maps that they are; the graph is not unrolled. A maximum over a window
    counts as its mean, other functions of several neurons as the sum of their operands with the links' nominal weights.

    Parameters
    ----------
    graph : NeuralGraph
        Without cycles.
    kinds : collection of str, optional
        Kinds of links; default all.

    Returns
    -------
    float64 array (inputs, outputs)
        Inputs are the nodes of the input layers, outputs those that the network returns, both by ascending id.

    Raises
    ------
    InputError
        If links lead back: then there are infinitely many paths.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.profile.effective import effective_weights
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    >>> _ = torch.nn.init.constant_(model[0].weight, 0.5), torch.nn.init.constant_(model[2].weight, 3.0)
    >>> effective_weights(dg.from_torch(model, torch.zeros(1, 1)))
    array([[3.]])
    """
    links = _forward_links(graph, kinds)
    inputs = [np.arange(layer.start, layer.stop) for layer in graph.inputs or graph.layers[:1]]
    sources, sinks = np.concatenate([np.zeros(0, np.int64), *inputs]), output_nodes(graph)
    found = np.zeros((len(sources), len(sinks)))
    if len(sinks) <= len(sources):
        for begin, values in _in_chunks(graph, links, sinks, backwards=True):
            found[:, begin : begin + len(values)] = values[:, sources].T
    else:
        for begin, values in _in_chunks(graph, links, sources, backwards=False):
            found[begin : begin + len(values)] = values[:, sinks]
    return found


def strongest_outputs(graph: NeuralGraph, kinds: Collection[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Find the output to which the paths from each node have the largest sum.

    Parameters
    ----------
    graph, kinds
        As of :func:`effective_weights`.

    Returns
    -------
    output : int64 array (nodes,)
        Counted from 0, by ascending id; -1 where no path leads to an output, or all that lead there cancel.
    weight : float64 array (nodes,)
        The sum.

    Raises
    ------
    InputError
        If links lead back, or there are too many outputs.
    """
    outputs = output_nodes(graph)
    if len(outputs) * len(graph) > MOST_PATH_SUMS:
        raise InputError(f"left out: there are {len(outputs):,} outputs, and {len(graph):,} nodes")
    best, weight = np.full(len(graph), -1), np.full(len(graph), -np.inf)
    leads = np.zeros(len(graph), bool)
    for begin, values in _in_chunks(graph, _forward_links(graph, kinds), outputs, backwards=True):
        sums = values[:, :-1]
        leads |= (sums != 0).any(0)
        better = sums.max(0) > weight
        best[better] = begin + sums.argmax(0)[better]
        weight = np.maximum(weight, sums.max(0))
    best[~leads] = -1
    return best, weight


def _forward_links(graph: NeuralGraph, kinds: Collection[str] | None) -> Sequence[Links]:
    chosen = graph.select(kinds)
    for links in chosen:
        assert links.target is not None
        if back := [source.name for source in links.sources if source.start >= links.target.start]:
            raise InputError(
                f"links lead back from {back[0]!r} to {links.target.name!r}, and there are infinitely many paths: "
                "choose kinds without 'recurrent', or trace the model with shared='unfold'"
            )
    return chosen


def _in_chunks(
    graph: NeuralGraph, links: Sequence[Links], ends: np.ndarray, backwards: bool
) -> Iterator[tuple[int, np.ndarray]]:
    """Follow paths from some nodes, as many at a time as fit: (where they begin, path sums (some, nodes + 1))."""
    entering: dict[str, list[Links]] = {layer.name: [] for layer in graph.layers}
    for each in links:
        assert each.target is not None
        entering[each.target.name].append(each)
    step = max(1, CHUNK_BYTES // (8 * (len(graph) + 1)))
    for begin in range(0, len(ends), step):
        chunk = torch.from_numpy(ends[begin : begin + step])
        values = torch.zeros(len(chunk), len(graph) + 1, dtype=torch.float64)  # the last column is no node's
        values[torch.arange(len(chunk)), chunk] = 1
        for layer in reversed(graph.layers) if backwards else graph.layers:
            for each in entering[layer.name]:
                if backwards:
                    into, made = each.source_nodes, each.transpose(each.target_nodes.gather(values))
                else:
                    into, made = each.target_nodes, each.apply(each.source_nodes.gather(values))
                _add(values, into, made.reshape(len(values), -1))
        yield begin, values.numpy()


def _add(values: Tensor, nodes: Nodes, amounts: Tensor) -> None:
    """Add to the columns of some nodes; elements that are no node are left out."""
    ids = torch.from_numpy(nodes.flat)
    if nodes.has_gaps:
        ids, amounts = ids[ids >= 0], amounts[:, ids >= 0]
    values.index_add_(1, ids, amounts)
