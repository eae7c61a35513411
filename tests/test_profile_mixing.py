"""Mixing is that of networkx, and of the definition where networkx has none."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given

from dnn2graph.profile import MEASURES
from tests.digraphs import dense, graphs, property_test, twin
from tests.handmade import NOTHING, check_columns, graph_of_matrix, layered

MIXING = [measure for measure in MEASURES.values() if measure.group == "mixing"]


def columns_of(graph, name):
    return check_columns(graph, MEASURES[name])


def number_of(graph, name):
    return float(columns_of(graph, name)[name])


@pytest.mark.parametrize(("name", "weight"), [("assortativity_degree", None), ("assortativity_strength", "weight")])
def test_assortativity_is_that_of_networkx(name, weight):
    @property_test
    @given(graphs())
    def check(graph):
        made = twin(graph)
        assume(made.number_of_edges() > 1)
        for pair, value in columns_of(graph, name).items():
            x, y = pair.split("_")[-2:]
            if np.isnan(value):
                first, second = (getattr(made, f"{side}_degree")(weight=weight) for side in (x, y))
                ends = np.array([(first[a], second[b]) for a, b in made.edges])
                assert np.ptp(ends, axis=0).min() == pytest.approx(0, abs=1e-9)  # a constant correlates with nothing
            else:
                expected = nx.degree_pearson_correlation_coefficient(made, x=x, y=y, weight=weight)
                assert value == pytest.approx(expected, rel=1e-8, abs=1e-8)

    check()


@property_test
@given(graphs(cycles=True))
def test_assortativity_by_layer_is_that_of_networkx(graph):
    made = twin(graph)
    assume(made.number_of_edges())
    nx.set_node_attributes(made, dict(enumerate(graph.layer_of().tolist())), "layer")
    found = number_of(graph, "assortativity_layer")
    if not np.isnan(found):
        assert found == pytest.approx(nx.attribute_assortativity_coefficient(made, "layer"), rel=1e-9, abs=1e-12)


def test_assortativity_by_layer_of_a_bipartite_graph_is_that_of_chance_alone():
    assert number_of(layered([2, 3], density=1), "assortativity_layer") == 0  # all edges leave one and enter the other
    chain = graph_of_matrix(np.diag([1.0, 1.0], 1), [1, 1, 1])
    assert number_of(chain, "assortativity_layer") == -1 / 3  # chance: half of a half, in the layer between


def test_clubs_are_of_the_strongest_nodes_and_compared_with_what_their_strengths_give():
    # Of eight nodes the best 20 % are two: 0 and 4, which are tied to each other by the edge of 6.
    block = np.array([[6.0, 2, 0, 0], [2, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    graph = graph_of_matrix(np.pad(block * [1, -1, 1, -1], ((0, 4), (4, 0))), [4, 4])
    weighted = columns_of(graph, "rich_club_weighted")
    assert weighted["rich_club_weighted_20"] == 1  # no edge is heavier
    assert weighted["rich_club_weighted_20_ratio"] == pytest.approx(6 / (8 * 8 / 13), rel=1e-15)
    # By degree, 0, 1, 4 and 5 have two edges each: four of the twelve ordered pairs are joined.
    unweighted = columns_of(graph, "rich_club")
    for share in (5, 10, 20):
        assert unweighted[f"rich_club_{share}"] == pytest.approx(4 / 12, rel=1e-15)
        assert unweighted[f"rich_club_{share}_ratio"] == pytest.approx(4 / (4 * 4 / 6), rel=1e-15)


def test_a_club_of_nodes_of_one_layer_has_nothing_to_be_compared_with():
    star = graph_of_matrix(np.pad(np.ones((9, 1)), ((0, 1), (9, 0))), [9, 1])
    found = columns_of(star, "rich_club_weighted")
    assert np.isnan(found["rich_club_weighted_5"])
    assert np.isnan(found["rich_club_weighted_5_ratio"])


def test_a_club_of_all_nodes_is_as_rich_as_their_strengths_say():
    complete = graph_of_matrix(np.pad(np.full((3, 3), -2.0), ((0, 3), (3, 0))), [3, 3])
    assert columns_of(complete, "rich_club")["rich_club_5"] == pytest.approx(9 / 30, rel=1e-15)
    assert columns_of(complete, "rich_club")["rich_club_5_ratio"] == pytest.approx(1, rel=1e-15)
    assert columns_of(complete, "rich_club_weighted")["rich_club_weighted_5_ratio"] == pytest.approx(1, rel=1e-15)


@property_test
@given(graphs(cycles=True))
def test_reciprocity_is_that_of_networkx_and_weighted_of_the_definition(graph):
    made = twin(graph)
    made.remove_edges_from(list(nx.selfloop_edges(made)))
    assume(made.number_of_edges())
    assert number_of(graph, "reciprocity") == pytest.approx(nx.overall_reciprocity(made), rel=1e-12)
    matrix = dense(graph)
    np.fill_diagonal(matrix, 0)
    expected = np.minimum(matrix, matrix.T).sum() / matrix.sum()
    assert number_of(graph, "reciprocity_weighted") == pytest.approx(expected, rel=1e-12)


def test_nothing_returns_in_a_feed_forward_graph():
    graph = layered([3, 4, 2])
    assert number_of(graph, "reciprocity") == 0
    assert number_of(graph, "reciprocity_weighted") == 0


@pytest.mark.parametrize("measure", MIXING, ids=lambda measure: measure.name)
@pytest.mark.parametrize("name", NOTHING)
def test_graphs_of_next_to_nothing_are_measured(measure, name):
    check_columns(NOTHING[name], measure)
