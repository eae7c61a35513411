"""Graph networks: layers of PyTorch Geometric, on a list of edges that is an input."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_geometric import nn as pyg

import dnn2graph as dg
from tests.oracles import random
from tests.strategies import Net

EDGES = torch.tensor([[0, 1, 2, 3, 0, 4], [1, 2, 3, 0, 2, 2]])
FEATURES = 4

LAYERS = {
    "GCN": lambda: pyg.GCNConv(FEATURES, 3),
    "Chebyshev": lambda: pyg.ChebConv(FEATURES, 3, 3),
    "GraphSAGE": lambda: pyg.SAGEConv(FEATURES, 3),
    "GraphSAGE, largest": lambda: pyg.SAGEConv(FEATURES, 3, aggr="max"),
    "attention": lambda: pyg.GATConv(FEATURES, 3, heads=2),
    "attention, second version": lambda: pyg.GATv2Conv(FEATURES, 3, heads=2),
    "transformer": lambda: pyg.TransformerConv(FEATURES, 3, heads=2),
    "isomorphism": lambda: pyg.GINConv(nn.Sequential(nn.Linear(FEATURES, 3), nn.ReLU(), nn.Linear(3, 3))),
    "edges": lambda: pyg.EdgeConv(nn.Linear(2 * FEATURES, 3)),
    "gated": lambda: pyg.ResGatedGraphConv(FEATURES, 3),
    "principal": lambda: pyg.PNAConv(
        FEATURES, 3, ["mean", "max", "std"], ["identity", "amplification"], torch.tensor([1, 2, 2])
    ),
    "several layers": lambda: pyg.GCN(FEATURES, 8, 2, 3),
}


@pytest.mark.parametrize("granularity", ["channel", "position"])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_on_a_list_of_edges_is_represented(layer, granularity):
    torch.manual_seed(0)
    model = Net(lambda self, x, edges: self.layer(x, edges), layer=LAYERS[layer]()).double().eval()
    example = random(5, FEATURES), EDGES
    graph = dg.from_torch(model, example, granularity, batch_axis=None)
    found = dg.verify(model, graph, example)
    assert found.ok, found
    assert any("depends on the input's values" in note for note in graph.notes)
    if granularity == "channel":
        dependency = dg.check_dependency(model, graph, example)
        assert dependency.ok, dependency


def test_a_neighbourhood_is_a_layer_and_a_scale_of_its_channels():
    model = Net(lambda self, x, edges: self.layer(x, edges).relu(), layer=pyg.GCNConv(FEATURES, 3)).eval()
    graph = dg.from_torch(model, (torch.ones(5, FEATURES), EDGES), batch_axis=None)
    assert [(layer.kind, layer.size) for layer in graph.layers] == [
        ("input", FEATURES),
        ("input", 6),
        ("linear", 3),
        ("scale", 3),
    ]
    assert not any(links.kind == "gate" for links in graph.links)


def test_positions_are_joined_as_the_edges_say():
    model = pyg.SimpleConv("sum")
    graph = dg.from_torch(model, (torch.ones(5, 1), EDGES), "position", batch_axis=None)
    joined = {
        (int(source), int(target))
        for block in graph.links[0].blocks()
        for source, target in zip(block.sources, block.targets, strict=True)
    }
    start = graph.layers[-1].start
    assert joined == {(source, start + target) for source, target in EDGES.T.tolist()}


@pytest.mark.parametrize("kept", [torch.Tensor.to_sparse_coo, torch.Tensor.to_sparse_csr], ids=["COO", "CSR"])
def test_a_sparse_example_is_refused_and_a_sparse_buffer_is_not(kept):
    adjacency = kept(torch.eye(5).roll(1, 0))
    model = Net(lambda self, x, a: a @ self.a(x), a=nn.Linear(FEATURES, 3))
    with pytest.raises(dg.InputError, match=r"sparse or nested.*to_dense.*buffer"):
        dg.from_torch(model, (torch.ones(5, FEATURES), adjacency), batch_axis=None)
    model = Net(lambda self, x: self.adjacency @ self.a(x), a=nn.Linear(FEATURES, 3))
    model.register_buffer("adjacency", adjacency)
    x = torch.randn(5, FEATURES)
    found = dg.verify(model, dg.from_torch(model, x, batch_axis=None), x)
    assert found.ok, found
