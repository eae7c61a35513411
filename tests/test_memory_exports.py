"""Graphs of igraph and networkx carry every node, edge and attribute of the network's graph."""

from __future__ import annotations

import gc
import json

import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.measures import node_attributes
from tests.networks import by_hand, every_network, graph_of, with_parallel_links

ATTRIBUTES = {
    "label", "layer", "layer_index", "channel", "position", "kind", "activation",
    "bias", "strength_in", "strength_out", "strength",
}  # fmt: skip


def igraph_matrix(graph):
    """Read an igraph graph's weights as a dense matrix."""
    matrix = np.zeros((graph.vcount(), graph.vcount()), np.float32)
    for (i, j), weight in zip(graph.get_edgelist(), graph.es["weight"], strict=True):
        matrix[i, j] += weight
    return matrix


def test_node_attributes_of_a_small_network_are_those_worked_out_by_hand():
    columns = node_attributes(by_hand())
    assert set(columns) == ATTRIBUTES
    assert columns["label"].tolist() == ["input[0]", "input[1]", "0[0]", "0[1]", "2[0]"]
    assert columns["layer"].tolist() == ["input", "input", "0", "0", "2"]
    assert columns["layer_index"].tolist() == [0, 0, 1, 1, 2]
    assert columns["channel"].tolist() == [0, 1, 0, 1, 0]
    assert columns["position"].tolist() == [""] * 5
    assert columns["kind"].tolist() == ["input", "input", "linear", "linear", "linear"]
    assert columns["activation"].tolist() == ["", "", "relu", "relu", ""]
    assert columns["bias"].tolist() == [0, 0, 0.25, -0.5, 3]
    assert columns["strength_in"].tolist() == [0, 0, 1.5, 2, 0.375]
    assert columns["strength_out"].tolist() == [-0.5, 4, 0.5, -0.125, 0]
    assert columns["strength"].tolist() == [-0.5, 4, 2, 1.875, 0.375]


def test_labels_say_channel_and_position():
    graph = dg.from_torch(nn.Conv2d(2, 3, 2), torch.zeros(1, 2, 3, 4), granularity="position")
    columns = node_attributes(graph)
    assert columns["label"][[0, 5, 12]].tolist() == ["input[0]@0,0", "input[0]@1,1", "input[1]@0,0"]
    last = columns["label"][-1]
    assert (last, columns["channel"][-1], columns["position"][-1]) == (f"{graph.layers[-1].name}[2]@1,2", 2, "1,2")


@every_network
def test_labels_are_unique(network):
    graph = graph_of(network)
    assert len(set(node_attributes(graph)["label"])) == len(graph)


def test_a_bias_that_is_not_finite_is_named():
    model = nn.Sequential(nn.Linear(2, 3))
    with torch.no_grad():
        model[0].bias[1] = torch.nan
    with pytest.raises(dg.WeightsError, match="layer '0' has a bias of nan at its node 1"):
        node_attributes(dg.from_torch(model, torch.zeros(1, 2)))


@every_network
def test_igraph_has_the_edges_of_the_matrix(network):
    original = graph_of(network)
    graph, matrix = original.to_igraph(), original.adjacency()
    assert graph.is_directed()
    assert graph.vcount() == len(original)
    assert graph.ecount() == matrix.nnz
    np.testing.assert_array_equal(igraph_matrix(graph), matrix.toarray())


@every_network
def test_igraph_agrees_on_strength(network):
    original = graph_of(network)
    for weight in ("signed", "abs"):
        graph = original.to_igraph(weight)
        for mode, direction in (("in", "in"), ("out", "out"), ("all", "total")):
            found = graph.strength(mode=mode, weights="weight")
            np.testing.assert_allclose(found, dg.strength(original, direction, weight), rtol=1e-6, atol=1e-5)


@every_network
def test_igraph_vertices_have_all_attributes_and_are_found_by_name(network):
    original = graph_of(network)
    graph, columns = original.to_igraph(), node_attributes(original)
    assert set(graph.vs.attributes()) == {*columns, "name"}
    for name, values in columns.items():
        assert graph.vs[name] == values.tolist()
    assert graph.vs.find(columns["label"][-1]).index == len(original) - 1


@every_network
def test_networkx_has_the_edges_of_the_matrix(network):
    original = graph_of(network)
    graph = original.to_networkx()
    assert list(graph.nodes) == list(range(len(original)))
    found = nx.to_scipy_sparse_array(graph, dtype=np.float32, weight="weight")
    assert (found != original.adjacency()).nnz == 0


@every_network
def test_networkx_agrees_on_strength(network):
    original = graph_of(network)
    graph = original.to_networkx("abs")
    found = [total for _, total in graph.in_degree(weight="weight")]
    np.testing.assert_allclose(found, dg.strength(original, "in", "abs"), rtol=1e-6)


@every_network
def test_networkx_values_are_plain_python(network):
    original = graph_of(network)
    graph = original.to_networkx()
    for values in (graph.nodes[len(original) - 1], next(iter(graph.edges(data=True)))[2]):
        assert {type(value) for value in values.values()} <= {int, float, str}
    json.dumps(nx.node_link_data(graph, edges="edges"))
    columns = node_attributes(original)
    assert graph.nodes[0] == {name: values.tolist()[0] for name, values in columns.items()}


@every_network
def test_edges_say_their_kind(network):
    graph = graph_of(network)
    for kind in {links.kind for links in graph.links}:
        assert graph.to_igraph().es["kind"].count(kind) == graph.number_of_edges([kind])
    made = graph.to_networkx(kinds=["weight"])
    assert {kind for *_, kind in made.edges(data="kind")} == {"weight"}
    assert made.number_of_edges() == graph.number_of_edges(["weight"])


def test_parallel_links_are_one_edge_of_summed_weight():
    graph = with_parallel_links(by_hand(), 2.0)
    assert graph.to_igraph().es["weight"] == [4.5, -6.0, 12.0, 0.5, -0.125]
    assert graph.to_igraph().es["kind"] == ["weight"] * 5
    assert graph.to_networkx("abs").edges[0, 3] == {"weight": 6.0, "kind": "weight"}


@every_network
def test_a_graph_that_does_not_fit_is_refused(network):
    original = graph_of(network)
    with pytest.raises(dg.MemoryBudgetError, match="the igraph graph of"):
        original.to_igraph(memory=1000)
    with pytest.raises(dg.MemoryBudgetError, match="the networkx graph of"):
        original.to_networkx(memory=1000)


def test_weights_that_are_not_finite_are_refused():
    graph = by_hand()
    with torch.no_grad():
        graph.weights["0.weight"][1, 0] = torch.inf
    for build in (graph.to_igraph, graph.to_networkx):
        with pytest.raises(dg.WeightsError, match="layer '0' has 1 non-finite"):
            build()


def test_an_unknown_weight_is_named():
    with pytest.raises(dg.InputError, match="weight='absolute' is unknown: choose from abs, signed"):
        by_hand().to_igraph("absolute")


def test_the_garbage_collector_is_left_as_it_was():
    by_hand().to_igraph()
    assert gc.isenabled()
    gc.disable()
    try:
        by_hand().to_networkx()
        assert not gc.isenabled()
    finally:
        gc.enable()
