"""Maximum flows are those of networkx, and cuts between layers what edges carry across them."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dnn2graph.profile import flow
from dnn2graph.profile.measure import MEASURES
from tests.handmade import NOTHING, check_columns, graph_of_matrix, layered, view_of
from tests.networks import by_hand, traced

quick = settings(max_examples=40, deadline=None, derandomize=True)
GROUP = [measure for measure in MEASURES.values() if measure.group == "flow"]


def with_ends(graph):
    """Give the graph to networkx with whole capacities, a source before the inputs and a sink behind the outputs."""
    made = nx.DiGraph()
    matrix = abs(graph.adjacency()).tocoo()
    made.add_nodes_from(["source", "sink", *range(len(graph))])
    for i, j, w in zip(matrix.row.tolist(), matrix.col.tolist(), matrix.data.tolist(), strict=True):
        made.add_edge(i, j, capacity=w)
    made.add_edges_from(("source", i) for i in graph.layers[0].nodes.flat.tolist())
    made.add_edges_from((i, "sink") for i in graph.layers[-1].nodes.flat.tolist())
    return made


@quick
@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.8]))
def test_flow_and_minimum_cut_are_those_of_networkx(sizes, seed, density):
    graph = layered(sizes, density, seed)
    made = with_ends(graph)
    value, (near, _) = nx.minimum_cut(made, "source", "sink")
    columns = check_columns(graph, MEASURES["max_flow"])
    cut = check_columns(graph, MEASURES["min_cut_into"])["min_cut_into"]
    assert columns["max_flow"] == value
    assert cut.sum() == pytest.approx(value, abs=1e-9)
    # The source's side of the minimum cut that is nearest to the source: what the residual network still reaches.
    residual = nx.algorithms.flow.edmonds_karp(made, "source", "sink")
    free = nx.DiGraph((u, v) for u, v, edge in residual.edges(data=True) if edge["flow"] < edge["capacity"])
    free.add_node("source")
    near = {"source", *nx.descendants(free, "source")}
    expected = np.zeros(len(graph.layers))
    for u, v, edge in made.edges(data=True):
        if u in near and v not in near:
            expected[graph.layer_of()[v]] += edge["capacity"]
    np.testing.assert_array_equal(cut, expected)


@quick
@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.integers(0, 2**32 - 1))
def test_capacities_behind_layers_are_sums_over_the_edges_that_cross(sizes, seed):
    graph = layered(sizes, seed=seed)
    matrix = np.abs(graph.adjacency().toarray())
    expected = [matrix[: layer.stop, layer.stop :].sum() for layer in graph.layers[:-1]]
    found = check_columns(graph, MEASURES["cut_capacity"])["cut_capacity"]
    np.testing.assert_array_equal(found, [*expected, np.nan])
    value = check_columns(graph, MEASURES["max_flow"])["max_flow"]
    assert value <= np.nanmin(found)


def test_where_every_edge_carries_one_the_smallest_layer_is_the_bottleneck():
    model = nn.Sequential(nn.Linear(5, 2), nn.Linear(2, 3), nn.Linear(3, 4))
    for layer in model:
        nn.init.constant_(layer.weight, -1.0)
    graph = graph_of_matrix(traced_matrix(model, 5), [5, 2, 3, 4])
    columns = check_columns(graph, MEASURES["max_flow"])
    assert columns == {"max_flow": 6, "max_flow_share": 1, "max_flow_bottleneck": 2}  # 5·2, 2·3 and 3·4 edges
    np.testing.assert_array_equal(check_columns(graph, MEASURES["cut_capacity"])["cut_capacity"], [10, 6, 12, np.nan])
    np.testing.assert_array_equal(check_columns(graph, MEASURES["min_cut_into"])["min_cut_into"], [0, 0, 6, 0])


def traced_matrix(model, inputs):
    matrices = [layer.weight.detach().numpy().T for layer in model]
    nodes = inputs + sum(matrix.shape[1] for matrix in matrices)
    found, start = np.zeros((nodes, nodes)), 0
    for matrix in matrices:
        rows, columns = matrix.shape
        found[start : start + rows, start + rows : start + rows + columns] = matrix
        start += rows
    return found


def test_flow_through_a_network_by_hand():
    # |w|: 0 → hidden 0: 1.5, 0 → hidden 1: 2, 1 → hidden 1: 4; hidden 0 → output: 0.5, hidden 1 → output: 0.125
    assert check_columns(by_hand(), MEASURES["max_flow"]) == {
        "max_flow": 0.625,
        "max_flow_share": 1.0,
        "max_flow_bottleneck": 2,
    }


def test_graphs_with_more_edges_than_a_flow_is_searched_in_are_left_out_with_a_note(monkeypatch):
    monkeypatch.setattr(flow, "MOST_EDGES", 4)
    graph = traced(nn.Linear(5, 1), 5)
    view = view_of(graph, MEASURES["max_flow"])
    assert np.isnan(flow.max_flow(view)["max_flow"])
    assert view.notes == ["left out: a maximum flow over 5 edges takes long"]


@pytest.mark.parametrize("measure", GROUP, ids=lambda measure: measure.name)
@pytest.mark.parametrize("name", NOTHING)
def test_degenerate_graphs_give_numbers_or_a_reason(name, measure):
    check_columns(NOTHING[name], measure)
