"""Strength and fluctuation as differentiable functions of the parameters, in torch, to train with.

The measures of :mod:`dnn2graph.measures` are for looking at a network: float64 numbers that autograd does not see.
These are for acting on it, and give the same values in the precision of the parameters:

>>> import torch, dnn2graph as dg
>>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
>>> graph = dg.from_torch(model, torch.zeros(1, 4))
>>> penalty = dg.functional.fluctuation(graph, model).sum()
>>> penalty.backward()
>>> model[0].weight.grad.shape
torch.Size([3, 4])
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor, nn

from .graph import NeuralGraph
from .links import Links
from .links.sums import TENSOR_PARTS
from .measures.strength import check_options
from .nodes import Nodes
from .weights import Weights


def strength(
    graph: NeuralGraph,
    parameters: nn.Module | Weights | None = None,
    direction: str = "total",
    weight: str = "signed",
    kinds: Collection[str] | None = None,
    *,
    bias: bool = False,
) -> Tensor:
    """Strength of every node, differentiable.

    Parameters
    ----------
    graph : NeuralGraph
        Of the model; it need not be traced again while the model changes.
    parameters : Module or mapping from name to tensor, optional
        What to differentiate with respect to: a model, or its parameters under their names (as of
        ``torch.func.functional_call``; names that are left out are those of the graph). Default: the parameters that
        the graph was traced from.
    direction, weight, kinds, bias
        As of :func:`dnn2graph.strength`. At a weight of exactly 0 the derivative of "abs" is 0, as torch has it.

    Returns
    -------
    tensor (nodes,)
        In the graph's precision, on the parameters' device.

    Raises
    ------
    InputError
        If an option is unknown.
    """
    check_options(direction, weight)
    weights = _weights(graph, parameters)
    total = _start(graph, weights)
    for links in graph.select(kinds):
        into, out_of = _strengths(links, links.kernel_of(weights), weight, len(total))
        if direction != "out":
            total = total + into
        if direction != "in":
            total = total + out_of
    if bias and direction != "out":
        total = total + _bias(graph, weights, total)
    return total


def fluctuation(
    graph: NeuralGraph,
    parameters: nn.Module | Weights | None = None,
    direction: str = "total",
    weight: str = "signed",
    kinds: Collection[str] | None = None,
    *,
    bias: bool = False,
) -> Tensor:
    """Fluctuation of every layer, differentiable: the population standard deviation of its nodes' strengths.

    Parameters
    ----------
    graph, parameters, direction, weight, kinds, bias
        As of :func:`strength`.

    Returns
    -------
    tensor (layers,)
        0 for a layer of one node. Where all nodes of a layer have the same strength the standard deviation has no
        derivative; it is taken to be 0.
    """
    values = strength(graph, parameters, direction, weight, kinds, bias=bias)
    return torch.stack([_deviation(values[layer.start : layer.stop]) for layer in graph.layers])


def _deviation(values: Tensor) -> Tensor:
    """Standard deviation, whose derivative is 0 where it is 0 and not NaN."""
    if not len(values):
        return values.new_tensor(torch.nan)
    variance = (values - values.mean()).square().mean()
    positive = variance > 0
    return torch.where(positive, torch.where(positive, variance, 1.0).sqrt(), 0.0)


def _weights(graph: NeuralGraph, parameters: nn.Module | Weights | None) -> Weights:
    """Look parameters up by their names in the graph."""
    if parameters is None:
        return graph.weights
    if isinstance(parameters, nn.Module):
        parameters = {
            **dict(parameters.named_buffers(remove_duplicate=False)),
            **dict(parameters.named_parameters(remove_duplicate=False)),
        }
    return {**graph.weights, **parameters}


def _start(graph: NeuralGraph, weights: Weights) -> Tensor:
    """Give zeros (nodes,) where the parameters live."""
    device = next((weights[name].device for name in graph.parameters()), torch.device("cpu"))
    return torch.zeros(graph.number_of_nodes(), dtype=graph.dtype, device=device)


def _strengths(links: Links, kernel: Tensor, part: str, nodes: int) -> tuple[Tensor, Tensor]:
    """Give what the links add to the in- and out-strengths of all nodes: two tensors (nodes,)."""
    if not links.meets_again:
        per_output, per_input = links.map.tensor_sums(kernel, part)
        return _at(links.target_nodes, per_output, nodes), _at(links.source_nodes, per_input, nodes)
    # Taps that join the same pair of nodes are one edge: its weight is their sum, whose part is then taken.
    source, target, entry = links.entries()
    pair, joined = np.unique(source * nodes + target, return_inverse=True)
    index = torch.from_numpy(joined).to(kernel.device)
    taps = kernel.reshape(-1)[torch.from_numpy(entry).to(kernel.device)]
    weights = kernel.new_zeros(len(pair)).index_add(0, index, taps)
    scale = links.source_scale(pair // nodes)
    if scale is not None:
        weights = weights * torch.from_numpy(scale).to(weights)
    weights = TENSOR_PARTS[part](weights)
    return _at(Nodes(pair % nodes), weights, nodes), _at(Nodes(pair // nodes), weights, nodes)


def _at(nodes: Nodes, amounts: Tensor, count: int) -> Tensor:
    """Put amounts at their nodes, and zeros at all others: (count,)."""
    amounts = amounts.reshape(-1)
    if nodes.is_range:
        return nn.functional.pad(amounts, (nodes.start, count - nodes.start - nodes.size))
    return amounts.new_zeros(count).index_add(0, torch.from_numpy(nodes.flat).to(amounts.device), amounts)


def _bias(graph: NeuralGraph, weights: Weights, like: Tensor) -> Tensor:
    """Give the bias of each node: (nodes,)."""
    parts = []
    for layer in graph.layers:
        if layer.bias is None:
            parts.append(like.new_zeros(layer.size))
        else:
            value = layer.bias.evaluate(weights).to(like)
            parts.append(value.expand(layer.tensor_shape).reshape(-1))
    return torch.cat(parts)
