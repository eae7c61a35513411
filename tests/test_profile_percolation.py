"""Curves of percolation are those of graphs from which networkx removes nodes one by one."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import dnn2graph as dg
from dnn2graph.errors import InputError
from dnn2graph.profile import percolation as module
from dnn2graph.profile.measure import MEASURES
from dnn2graph.profile.percolation import ORDERS, percolation
from tests.handmade import NOTHING, check_columns, graph_of_matrix, layered, view_of
from tests.networks import by_hand, traced

quick = settings(max_examples=30, deadline=None, derandomize=True)
GROUP = [measure for measure in MEASURES.values() if measure.group == "percolation"]


def by_removal(graph, order):
    """Remove nodes one by one: fraction of outputs reached, fraction of nodes in the largest component."""
    made = nx.from_scipy_sparse_array(graph.adjacency(), create_using=nx.DiGraph)
    inputs, outputs = graph.layers[0].nodes.flat.tolist(), graph.layers[-1].nodes.flat.tolist()
    found = []
    for removed in [None, *order]:
        if removed is not None:
            made.remove_node(removed)
        reached = set(inputs).union(*(nx.descendants(made, i) for i in inputs))
        largest = max(map(len, nx.weakly_connected_components(made)))
        found.append((len(reached.intersection(outputs)) / len(outputs), largest / len(graph)))
    return np.array(found)


@quick
@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=5),
    st.integers(0, 2**32 - 1),
    st.sampled_from(ORDERS),
    st.sampled_from([0.2, 0.5]),
)
def test_both_curves_are_those_of_networkx_for_every_number_of_removals(sizes, seed, order, density):
    graph = layered(sizes, density, seed)
    found = percolation(graph, order, draws=2, seed=seed)
    for _, table in found.groupby("draw"):
        expected = by_removal(graph, table["node"].tolist()[1:])
        np.testing.assert_allclose(table[["outputs", "component"]], expected, atol=1e-12)
        assert table["removed"].tolist() == list(range(sum(sizes[1:-1]) + 1))


@quick
@given(st.integers(0, 2**32 - 1))
def test_both_curves_are_those_of_networkx_in_graphs_with_cycles_and_loops(seed):
    random = np.random.default_rng(seed)
    graph = graph_of_matrix(random.random((10, 10)) < 0.2, [2, 3, 4, 1])
    table = percolation(graph, "random", draws=1, seed=seed)
    expected = by_removal(graph, table["node"].tolist()[1:])
    np.testing.assert_allclose(table[["outputs", "component"]], expected, atol=1e-12)


def test_hidden_neurons_go_by_strength_and_by_betweenness_the_largest_first():
    graph = layered([4, 6, 5, 3], seed=3)
    hidden = np.arange(4, 15)
    strength = dg.strength(graph, weight="abs")
    removed = percolation(graph, "strength")["node"].to_numpy()[1:]
    assert sorted(removed) == hidden.tolist()
    assert (np.diff(strength[removed]) <= 0).all()
    made = nx.DiGraph()
    made.add_nodes_from(range(len(graph)))
    matrix = abs(graph.adjacency()).tocoo()
    made.add_weighted_edges_from(
        zip(matrix.row.tolist(), matrix.col.tolist(), (1 / matrix.data).tolist(), strict=True), "distance"
    )
    betweenness = nx.betweenness_centrality(made, weight="distance", normalized=False)
    removed = percolation(graph, "betweenness")["node"].to_numpy()[1:]
    assert (np.diff([betweenness[node] for node in removed.tolist()]) <= 1e-9).all()


def test_robustness_of_a_network_by_hand():
    # Two hidden neurons, both joined to the only output; input 1 hangs on hidden 1 alone.
    # By strength hidden 1 (6.125) goes before hidden 0 (2); then 0 - 2 - 4 are left together, then nothing.
    columns = check_columns(by_hand(), MEASURES["robustness"])
    assert columns["robustness_outputs_strength"] == pytest.approx((1 + 0) / 2)
    assert columns["robustness_component_strength"] == pytest.approx((3 / 5 + 1 / 5) / 2)
    # At random, removing hidden 0 first leaves 0, 1, 3, 4 together.
    assert 0.4 <= columns["robustness_component_random"] <= (4 / 5 + 1 / 5) / 2
    assert columns["robustness_outputs_random"] == 0.5


def test_a_shortcut_past_all_hidden_neurons_keeps_outputs_reachable():
    graph = graph_of_matrix(np.triu(np.ones((3, 3)), 1), [1, 1, 1])
    assert percolation(graph)["outputs"].tolist() == [1, 1]
    assert percolation(graph)["component"].tolist() == pytest.approx([1, 2 / 3])


def test_random_orders_come_from_the_seed():
    graph = layered([3, 12, 3])
    first, again, other = (percolation(graph, "random", seed=seed)["node"].to_numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_an_unknown_order_is_refused():
    with pytest.raises(InputError, match="order='degree' is unknown: choose from strength, betweenness, random"):
        percolation(by_hand(), "degree")


def test_betweenness_is_left_out_of_large_graphs_with_a_note(monkeypatch):
    monkeypatch.setattr(module, "MOST_STEPS", 1)
    view = view_of(by_hand(), MEASURES["robustness"])
    columns = module.robustness(view)
    assert {name for name, value in columns.items() if np.isnan(value)} == {
        "robustness_outputs_betweenness",
        "robustness_component_betweenness",
    }
    assert view.notes == ["left out: betweenness in a graph of this size takes long"]


def test_a_network_without_hidden_neurons_says_so():
    view = view_of(traced(nn.Linear(2, 2), 2), MEASURES["robustness"])
    assert all(np.isnan(value) for value in module.robustness(view).values())
    assert view.notes == ["no hidden neurons to remove"]


@pytest.mark.parametrize("measure", GROUP, ids=lambda measure: measure.name)
@pytest.mark.parametrize("name", NOTHING)
def test_degenerate_graphs_give_numbers_or_a_reason(name, measure):
    check_columns(NOTHING[name], measure)
