"""Cores are what the definition leaves."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given

from dnn2graph.profile import MEASURES
from tests.digraphs import dense, graphs, property_test, twin, values_of
from tests.handmade import NOTHING, check_columns, graph_of_matrix


def columns_of(graph, name):
    return check_columns(graph, MEASURES[name])[name]


@property_test
@given(graphs())
def test_k_cores_are_those_of_networkx(graph):
    expected = values_of(nx.core_number(twin(graph, directed=False)), graph)
    assert np.array_equal(columns_of(graph, "k_core"), expected)


@property_test
@given(graphs("equal"))
def test_cores_of_strength_are_k_cores_where_all_weigh_1(graph):
    assert np.array_equal(columns_of(graph, "s_core"), columns_of(graph, "k_core"))


def largest_subgraph(undirected, strength):
    """Take away, all at once, the nodes weaker than ``strength``, until there are none."""
    inside = np.ones(len(undirected), bool)
    while (weak := inside & (undirected[:, inside].sum(1) < strength)).any():
        inside &= ~weak
    return inside


@property_test
@given(graphs("binary", cycles=True))
def test_cores_of_strength_are_the_largest_subgraphs_of_that_strength(graph):
    undirected = dense(graph) + dense(graph).T
    core = columns_of(graph, "s_core")
    for strength in np.unique(core):
        assert np.array_equal(core >= strength, largest_subgraph(undirected, strength))
        assert not (largest_subgraph(undirected, np.nextafter(strength, np.inf)) & (core <= strength)).any()


def test_cores_of_a_chain_and_of_a_complete_bipartite_layer():
    chain = graph_of_matrix(np.diag([3.0, -1.0, 2.0], 1), [1, 1, 1, 1])
    assert columns_of(chain, "k_core").tolist() == [1, 1, 1, 1]
    assert columns_of(chain, "s_core").tolist() == [3, 3, 2, 2]  # without the edge of 1, two pairs are left
    complete = graph_of_matrix(np.pad(np.full((2, 3), -0.5), ((0, 3), (2, 0))), [2, 3])
    assert columns_of(complete, "k_core").tolist() == [2] * 5
    assert columns_of(complete, "s_core").tolist() == [1.0] * 5  # two edges of 0.5 at each of the three


@pytest.mark.parametrize("measure", ["k_core", "s_core"])
@pytest.mark.parametrize("name", NOTHING)
def test_graphs_of_next_to_nothing_are_measured(measure, name):
    columns_of(NOTHING[name], measure)
