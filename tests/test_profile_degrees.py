"""Degrees and strengths are sums over the matrix; disparity and entropy are those of the shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from scipy import stats

import dnn2graph as dg
from dnn2graph.profile import MEASURES, profile
from tests.digraphs import dense, graphs, property_test, twin, values_of
from tests.handmade import NOTHING, check_columns, graph_of_matrix
from tests.networks import by_hand, every_network, graph_of

DEGREES = [measure for measure in MEASURES.values() if measure.group == "degrees"]


def columns_of(graph, name):
    return check_columns(graph, MEASURES[name])


@property_test
@given(graphs(cycles=True))
def test_degrees_are_those_of_networkx(graph):
    made, found = twin(graph), columns_of(graph, "degree")
    assert np.array_equal(found["degree_in"], values_of(dict(made.in_degree()), graph))
    assert np.array_equal(found["degree_out"], values_of(dict(made.out_degree()), graph))
    assert np.array_equal(found["degree"], values_of(dict(made.degree()), graph))


@property_test
@given(graphs("binary", cycles=True))
def test_strengths_are_sums_of_rows_and_columns_of_the_parts_of_the_matrix(graph):
    signed = dense(graph, "signed")
    parts = {
        "strength": signed,
        "strength_positive": np.where(signed > 0, signed, 0),
        "strength_negative": np.where(signed < 0, signed, 0),
        "strength_abs": np.abs(signed),
    }
    found = {**columns_of(graph, "strength"), **columns_of(graph, "strength_abs")}
    for name, matrix in parts.items():
        np.testing.assert_array_equal(found[f"{name}_in"], matrix.sum(0))
        np.testing.assert_array_equal(found[f"{name}_out"], matrix.sum(1))
        np.testing.assert_array_equal(found[name], matrix.sum(0) + matrix.sum(1))
    assert len(found) == 3 * len(parts)


@every_network
def test_strengths_are_those_of_the_native_measures(network):
    graph = graph_of(network)
    found = profile(graph, ["strength", "strength_abs"], memory=1e9).nodes
    for weight, name in (("signed", ""), ("abs", "_abs"), ("positive", "_positive"), ("negative", "_negative")):
        for direction, side in (("in", "_in"), ("out", "_out"), ("total", "")):
            expected = dg.strength(graph, direction, weight)
            # The matrix is in float32, the native sums widen float32 weights: links that meet are added in either.
            np.testing.assert_allclose(found[f"strength{name}{side}"], expected, rtol=1e-5, atol=1e-5)


@property_test
@given(graphs(cycles=True))
def test_disparity_and_entropy_are_those_of_the_shares_of_each_edge(graph):
    matrix = dense(graph)
    disparity, entropy = columns_of(graph, "disparity"), columns_of(graph, "entropy")
    for side, rows in (("in", matrix.T), ("out", matrix)):
        edges = [row[row > 0] for row in rows]
        squares = [((row / row.sum()) ** 2).sum() if len(row) else np.nan for row in edges]
        np.testing.assert_allclose(disparity[f"disparity_{side}"], squares, rtol=1e-12)
        nats = [stats.entropy(row) if len(row) else np.nan for row in edges]
        np.testing.assert_allclose(entropy[f"entropy_{side}"], nats, rtol=1e-10, atol=1e-12)


def test_a_node_of_equal_edges_has_disparity_1_over_k_and_entropy_log_k_and_a_chain_1_and_0():
    star = graph_of_matrix(np.pad(np.full((4, 1), -0.5), ((0, 1), (4, 0))), [4, 1])
    disparity, entropy = columns_of(star, "disparity"), columns_of(star, "entropy")
    assert disparity["disparity_in"][4] == 1 / 4
    assert entropy["entropy_in"][4] == pytest.approx(np.log(4), rel=1e-15)
    assert disparity["disparity_out"][:4].tolist() == [1, 1, 1, 1]
    assert entropy["entropy_out"][:4].tolist() == [0, 0, 0, 0]


def test_the_values_of_a_network_are_those_worked_out_by_hand():
    nodes = profile(by_hand(), ["degrees"]).nodes
    assert nodes["degree"].tolist() == [2, 1, 2, 3, 2]
    assert nodes["strength"].tolist() == [-0.5, 4.0, 2.0, 1.875, 0.375]
    assert nodes["strength_abs"].tolist() == [3.5, 4.0, 2.0, 6.125, 0.625]
    assert nodes["strength_positive"].tolist() == [1.5, 4.0, 2.0, 4.0, 0.5]
    assert nodes["strength_negative"].tolist() == [-2.0, 0.0, 0.0, -2.125, -0.125]
    assert nodes["disparity_in"][3] == pytest.approx((2**2 + 4**2) / 6**2, rel=1e-15)


@pytest.mark.parametrize("measure", DEGREES, ids=lambda measure: measure.name)
@pytest.mark.parametrize("name", NOTHING)
def test_graphs_of_next_to_nothing_are_measured(measure, name):
    check_columns(NOTHING[name], measure)
