"""Small networks for tests, with weights from a seed, and what an example of their input looks like."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.graph import Layer, NeuralGraph, Output
from dnn2graph.weights import Call
from tests.strategies import Net, fill

GRANULARITIES = ["channel", "position"]


def mlp_2_2_1():
    """Make a network whose weights can be added by hand; the weight from input 1 to hidden 0 is zero.

    Nodes: inputs 0 and 1, hidden (relu) 2 and 3, output 4.
    """
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.5, 0.0], [-2.0, 4.0]]))
        model[0].bias.copy_(torch.tensor([0.25, -0.5]))
        model[2].weight.copy_(torch.tensor([[0.5, -0.125]]))
        model[2].bias.copy_(torch.tensor([3.0]))
    return model


def convolutional():
    """Make a plain classifier: convolution, batch-norm, pooling, dense layer."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)
    )


def residual():
    """Make a network with a sum that two branches reach, and a strided convolution."""
    return Net(
        lambda self, x: self.last(torch.relu(self.first(x) + self.second(self.first(x).relu())).flatten(1)),
        first=nn.Conv2d(2, 3, 3, stride=2, padding=1),
        second=nn.Conv2d(3, 3, 3, padding=1, bias=False),
        last=nn.Linear(27, 4),
    )


def separable():
    """Make a depthwise and a pointwise convolution with dilation, then average pooling."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=2, dilation=2, groups=2), nn.SiLU(), nn.Conv2d(4, 3, 1), nn.AvgPool2d(2, stride=1)
    )


def concatenated():
    """Make a network that concatenates its input with a convolution of it; the dense layer then reads both."""
    return Net(
        lambda self, x: self.last(torch.cat([self.inner(x), x], 1).flatten(1)),
        inner=nn.Conv2d(2, 1, 3, padding=1),
        last=nn.Linear(108, 3),
    )


NETWORKS = {
    "convolutional": convolutional,
    "residual": residual,
    "separable": separable,
    "concatenated": concatenated,
}


def traced(model, *shape, granularity="channel", seed=0):
    """Trace a model with random weights for one sample of the given shape."""
    return dg.from_torch(fill(model, seed), torch.zeros(1, *shape), granularity=granularity)


every_network = pytest.mark.parametrize(
    "network", [f"{name}-{granularity}" for name in NETWORKS for granularity in GRANULARITIES]
)


@cache
def graph_of(network):
    """Give the graph of a network in a granularity, as :data:`every_network` names them."""
    name, granularity = network.split("-")
    return traced(NETWORKS[name](), 2, 6, 6, granularity=granularity)


def by_hand():
    """Give the graph of :func:`mlp_2_2_1`."""
    return dg.from_torch(mlp_2_2_1(), torch.zeros(1, 2))


def graph_of_links(links):
    """Make a graph of nothing but links from one layer to another."""
    inputs, outputs = int(np.prod(links.map.in_shape)), int(np.prod(links.map.out_shape))
    source = Layer("source", "input", (inputs,), None, 0, inputs)
    target = Layer("target", "linear", (outputs,), None, inputs, inputs + outputs)
    links = replace(links, sources=(source,), target=target)
    return NeuralGraph((source, target), (links,), Output((), None), {}, dtype=links.dtype)


def with_parallel_links(graph, factor, kind="unit"):
    """Add to a graph a copy of its first links, with weights multiplied by a factor."""
    first = graph.links[0]
    copy = replace(first, kind=kind, weight=Call(torch.mul, (first.weight, factor)))
    return replace(graph, links=(*graph.links, copy))


def dense_matrix(graph):
    """Write a graph out as a dense float64 adjacency matrix: each links' operator, applied to the unit vectors."""
    matrix = np.zeros((len(graph), len(graph)))
    for links in graph.links:
        sources, targets = links.source_nodes.flat, links.target_nodes.flat
        units = torch.eye(len(sources), dtype=torch.float64).reshape(-1, *links.map.in_shape)
        images = links.apply(units).reshape(len(sources), -1).numpy()  # (input elements, output elements)
        node = sources >= 0
        np.add.at(matrix, (sources[node, None], targets[None]), images[node])
    return matrix


def overwritten_in_place(y):
    """Change features in place, all of them and through views: two are overwritten, one is doubled."""
    y += 1
    y.relu_()
    y[:, 2:4] = 0
    y[:, 0].mul_(2)
    return y
