"""Centralities are those of networkx and of linear algebra; sampled ones keep within the bound that they state."""

from __future__ import annotations

from types import SimpleNamespace

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given

from dnn2graph.profile import MEASURES, centrality, profile, sources
from tests.digraphs import dense, graphs, property_test, twin, values_of
from tests.handmade import NOTHING, check_columns, graph_of_matrix, layered, view_of

CENTRALITIES = [measure for measure in MEASURES.values() if measure.group == "centrality"]


def columns_of(graph, name):
    return check_columns(graph, MEASURES[name])


def chain(*weights):
    return graph_of_matrix(np.diag(np.array(weights, float), 1), [1] * (len(weights) + 1))


def bipartite(sources, targets, weight):
    matrix = np.zeros((sources + targets,) * 2)
    matrix[:sources, sources:] = weight
    return graph_of_matrix(matrix, [sources, targets])


# --- walks and eigenvectors ------------------------------------------------------------------------------------------


@property_test
@given(graphs(cycles=True))
def test_pagerank_is_that_of_networkx(graph):
    expected = values_of(nx.pagerank(twin(graph), tol=1e-14, max_iter=10_000), graph)
    np.testing.assert_allclose(columns_of(graph, "pagerank")["pagerank"], expected, rtol=1e-8)


@pytest.mark.parametrize("most", [centrality.DENSE, 0], ids=["dense", "iterative"])
def test_hubs_and_authorities_are_the_leading_singular_vectors(most, monkeypatch):
    monkeypatch.setattr(centrality, "DENSE", most)

    @property_test
    @given(graphs(cycles=True, least=3))
    def check(graph):
        left, values, right = np.linalg.svd(dense(graph))
        assume(values[0] > 1.001 * values[1])
        found = columns_of(graph, "hits")
        for name, vector in (("hits_hub", left[:, 0]), ("hits_authority", right[0])):
            np.testing.assert_allclose(found[name], np.abs(vector) / np.abs(vector).max(), rtol=1e-6, atol=1e-6)

    check()


@pytest.mark.parametrize("most", [centrality.DENSE, 0], ids=["dense", "iterative"])
def test_eigenvectors_are_those_of_networkx_on_the_undirected_graph(most, monkeypatch):
    monkeypatch.setattr(centrality, "DENSE", most)

    @property_test
    @given(graphs(least=3))
    def check(graph):
        made = twin(graph, directed=False)
        assume(nx.is_connected(made))
        expected = np.abs(values_of(nx.eigenvector_centrality_numpy(made, weight="weight"), graph))
        found = columns_of(graph, "eigenvector")["eigenvector"]
        np.testing.assert_allclose(found, expected / expected.max(), atol=1e-6)

    check()


def test_equal_components_share_the_eigenvectors():
    twins = graph_of_matrix(np.kron(np.eye(3), [[0, 2], [0, 0]]))  # three edges of 2, no node in common
    assert columns_of(twins, "eigenvector")["eigenvector"] == pytest.approx([1] * 6, rel=1e-12)
    hits = columns_of(twins, "hits")
    assert hits["hits_hub"] == pytest.approx([1, 0] * 3, abs=1e-12)
    assert hits["hits_authority"] == pytest.approx([0, 1] * 3, abs=1e-12)


@property_test
@given(graphs(cycles=True))
def test_katz_centrality_is_that_of_networkx(graph):
    largest = np.linalg.norm(dense(graph), 2)
    assume(largest)
    solved = nx.katz_centrality_numpy(twin(graph), alpha=0.5 / largest, normalized=False, weight="weight")
    np.testing.assert_allclose(columns_of(graph, "katz")["katz"], values_of(solved, graph), rtol=1e-10)


def test_katz_centrality_of_a_chain_is_a_geometric_series():
    found = columns_of(chain(-4.0, 4.0, 4.0), "katz")["katz"]  # σ is 4, so that each step counts a half
    assert found == pytest.approx([1, 1.5, 1.75, 1.875], rel=1e-12)


# --- shortest paths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["generic", "binary", "equal"])
def test_betweenness_and_closeness_are_those_of_networkx(weights):
    @property_test
    @given(graphs(weights))
    def check(graph):
        made = twin(graph, "distance")
        closeness = columns_of(graph, "closeness")
        harmonic = columns_of(graph, "harmonic")
        for side, directed in (("in", made), ("out", made.reverse())):
            expected = values_of(nx.closeness_centrality(directed, distance="weight"), graph)
            np.testing.assert_allclose(closeness[f"closeness_{side}"], expected, rtol=1e-10)
            expected = values_of(nx.harmonic_centrality(directed, distance="weight"), graph) / (len(graph) - 1)
            np.testing.assert_allclose(harmonic[f"harmonic_{side}"], expected, rtol=1e-10)
            assert not harmonic[f"harmonic_{side}_error"].any()
        if len(graph) > 2:
            betweenness = columns_of(graph, "betweenness")
            expected = values_of(nx.betweenness_centrality(made, weight="weight"), graph)
            np.testing.assert_allclose(betweenness["betweenness"], expected, rtol=1e-10)
            assert not betweenness["betweenness_error"].any()

    check()


def test_shortest_paths_of_graphs_with_cycles_are_those_of_networkx():
    @property_test
    @given(graphs(cycles=True, least=3))
    def check(graph):
        made = twin(graph, "distance")
        expected = values_of(nx.betweenness_centrality(made, weight="weight"), graph)
        np.testing.assert_allclose(columns_of(graph, "betweenness")["betweenness"], expected, rtol=1e-10, atol=1e-15)
        expected = values_of(nx.closeness_centrality(made, distance="weight"), graph)
        np.testing.assert_allclose(columns_of(graph, "closeness")["closeness_in"], expected, rtol=1e-10)

    check()


def test_shortest_paths_of_a_chain_and_of_a_complete_layer_are_known():
    n = 6
    line = chain(*[-0.5] * (n - 1))  # five edges of length 2
    through = columns_of(line, "betweenness")["betweenness"]
    assert through == pytest.approx([i * (n - 1 - i) / ((n - 1) * (n - 2)) for i in range(n)], rel=1e-15)
    near = columns_of(line, "closeness")
    # i nodes at distances 2, 4, …, 2i: their mean is i + 1.
    assert near["closeness_in"] == pytest.approx([i / (n - 1) / (i + 1) for i in range(n)], rel=1e-12)
    assert near["closeness_out"] == pytest.approx(near["closeness_in"][::-1], rel=1e-12)
    harmonic = columns_of(line, "harmonic")["harmonic_in"]
    assert harmonic == pytest.approx([sum(0.5 / k for k in range(1, i + 1)) / (n - 1) for i in range(n)], rel=1e-12)
    complete = bipartite(3, 2, -4.0)
    assert not columns_of(complete, "betweenness")["betweenness"].any()
    assert columns_of(complete, "closeness")["closeness_in"] == pytest.approx([0, 0, 0, 3, 3], rel=1e-12)  # 3/4 of 4
    assert columns_of(complete, "harmonic")["harmonic_out"] == pytest.approx([2, 2, 2, 0, 0], rel=1e-12)


def test_the_shortest_path_takes_the_heaviest_edges():
    detour = graph_of_matrix([[0, 4, 0.25], [0, 0, 4], [0, 0, 0]], [1, 1, 1])  # 1/4 + 1/4 is less than 4
    assert columns_of(detour, "betweenness")["betweenness"].tolist() == [0, 0.5, 0]
    direct = graph_of_matrix([[0, 0.5, 0.5], [0, 0, 0.5], [0, 0, 0]], [1, 1, 1])
    assert not columns_of(direct, "betweenness")["betweenness"].any()


def test_weights_next_to_zero_make_long_edges_not_missing_ones():
    tiny = np.finfo(float).smallest_subnormal
    found = columns_of(chain(tiny, 1.0), "closeness")["closeness_in"]
    assert found[1] > 0
    assert np.isfinite(found).all()


# --- samples ---------------------------------------------------------------------------------------------------------

SAMPLED = {"betweenness": ("betweenness",), "harmonic": ("harmonic_in", "harmonic_out")}


@pytest.mark.parametrize("name", SAMPLED)
def test_the_mean_over_all_samples_of_one_node_is_the_exact_value(name):
    graph = layered([3, 4, 3], seed=1)
    exact = columns_of(graph, name)
    found = []
    for node in range(len(graph)):
        view = view_of(graph, MEASURES[name], sample=1)
        view.random = SimpleNamespace(choice=lambda total, count, replace, node=node: np.array([node]))
        found.append(MEASURES[name].compute(view))
    for column in SAMPLED[name]:
        mean = np.mean([each[column] for each in found], axis=0)
        np.testing.assert_allclose(mean, exact[column], rtol=1e-12)


@pytest.mark.parametrize("name", SAMPLED)
def test_a_sample_is_off_by_less_than_the_error_that_it_states(name):
    graph = layered([40, 60, 60, 40], density=0.2, seed=0)
    exact = columns_of(graph, name)
    for seed in range(10):
        view = view_of(graph, MEASURES[name], sample=150, seed=seed)
        found = MEASURES[name].compute(view)
        assert "150 of 200 nodes" in view.notes[0]
        for column in SAMPLED[name]:
            error = found[f"{column}_error"]
            assert (np.abs(found[column] - exact[column]) <= error).all()
            assert (found[column] != exact[column]).any()
            assert (error <= 0.13 * (1 if name == "betweenness" else 5)).all()  # of 1, and of the largest weight


def test_the_error_is_that_of_hoeffding_and_serfling():
    some = sources.Sources(np.arange(100), 1000)
    # Each of 1000 means misses by more than ε with a probability of 2 exp(-2 · 100 ε² / (1 - 99/1000)).
    assert 1000 * 2 * np.exp(-2 * 100 * some.error**2 / (1 - 0.099)) == pytest.approx(0.05, rel=1e-12)
    assert sources.Sources(np.arange(1000), 1000).error == 0


@pytest.mark.parametrize("sample", [10, 11, 10**9])
def test_a_sample_of_all_nodes_is_exact(sample):
    graph = layered([3, 4, 3])
    exact = profile(graph, "centrality").nodes
    found = profile(graph, "centrality", sample=sample)
    assert found.nodes.equals(exact)
    assert not found.measures["note"].str.contains("estimated").any()


def test_large_graphs_are_sampled_without_being_asked_and_say_so(monkeypatch):
    monkeypatch.setattr(sources, "QUICK", 1)
    monkeypatch.setattr(sources, "FEWEST", 4)
    found = profile(layered([3, 4, 3]), ["betweenness", "harmonic", "closeness"])
    notes = found.measures.set_index("measure")["note"]
    assert "estimated from 4 of 10 nodes" in notes["betweenness"]
    assert "estimated from 4 of 10 nodes" in notes["harmonic"]
    assert (found.nodes["betweenness_error"] > 0).all()
    # A mean of distances has no bound: it is exact or missing.
    assert "sample=10" in notes["closeness"]
    assert found.nodes[["closeness_in", "closeness_out"]].isna().all(axis=None)


@pytest.mark.parametrize("measure", CENTRALITIES, ids=lambda measure: measure.name)
@pytest.mark.parametrize("name", NOTHING)
def test_graphs_of_next_to_nothing_are_measured(measure, name):
    check_columns(NOTHING[name], measure)
