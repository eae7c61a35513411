"""Graphs of models on an accelerator, and graphs that travel between processes."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

import dnn2graph as dg
from tests.checkpoints import resnet20


def small_network():
    """A network with every kind of weight expression: folded batch-norm, flattened map, learned activation."""
    torch.manual_seed(0)
    features = [nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.BatchNorm2d(4), nn.PReLU(4), nn.MaxPool2d(2), nn.Flatten()]
    model = nn.Sequential(*features, nn.Linear(16, 3), nn.Softmax(1)).eval()
    model[1].running_var.uniform_(0.5, 2)
    return model


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("build", [small_network, resnet20])
def test_a_model_on_cuda_gives_the_same_graph_and_verifies(build):
    model = build().eval()
    x = torch.rand(4, 2, 4, 4) if build is small_network else torch.rand(4, 3, 32, 32)
    here = {g: dg.strength(dg.from_torch(model, x, granularity=g)) for g in ("channel", "position")}
    model, x = model.cuda().double(), x.cuda().double()
    for granularity, expected in here.items():
        graph = dg.from_torch(model, x, granularity=granularity)
        np.testing.assert_allclose(dg.strength(graph), expected, rtol=1e-5, atol=1e-5)  # those are float32
        assert dg.verify(model, graph, x, tolerance=1e-10).ok  # cuDNN sums in another order


@pytest.mark.parametrize("granularity", ["channel", "position"])
def test_a_pickled_graph_is_the_same_graph(granularity):
    model, x = small_network(), torch.rand(2, 2, 4, 4)
    graph = dg.from_torch(model, x, granularity=granularity)
    again = pickle.loads(pickle.dumps(graph))
    np.testing.assert_array_equal(dg.strength(again), dg.strength(graph))
    assert dg.verify(model, again, x).ok
