"""Singular values and eigenvalues are those of dense decompositions and of graphs whose spectra are known."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dnn2graph.profile import spectrum
from dnn2graph.profile.measure import MEASURES
from tests.handmade import NOTHING, check_columns, graph_of_matrix, layered, view_of
from tests.networks import dense_matrix, graph_of, traced

quick = settings(max_examples=30, deadline=None, derandomize=True)
GROUP = [measure for measure in MEASURES.values() if measure.group == "spectrum"]


@pytest.mark.parametrize("network", ["convolutional-position", "residual-channel", "concatenated-position"])
def test_singular_values_are_those_of_the_dense_map_between_the_layers(network):
    graph = graph_of(network)
    matrix = dense_matrix(graph)
    columns = check_columns(graph, MEASURES["singular_values"])
    for place, links in enumerate(graph.links):
        rows = np.concatenate([layer.nodes.flat for layer in links.sources])
        values = np.linalg.svd(matrix[rows][:, links.target.nodes.flat], compute_uv=False)
        share = values[values > 1e-300] / values.sum()
        found = {name.removeprefix("singular_values_"): column[place] for name, column in columns.items()}
        assert found["largest"] == pytest.approx(values[0], rel=1e-6)  # weights are float32
        assert found["stable_rank"] == pytest.approx((values**2).sum() / values[0] ** 2, rel=1e-6)
        assert found["effective_rank"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)


def test_an_orthogonal_map_has_full_ranks_and_a_map_of_ones_has_rank_one():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    nn.init.orthogonal_(model[0].weight)
    nn.init.ones_(model[1].weight)
    graph = graph_of_matrix(
        np.block([
            [np.zeros((4, 4)), model[0].weight.detach().numpy().T, np.zeros((4, 3))],
            [np.zeros((4, 8)), model[1].weight.detach().numpy().T],
            [np.zeros((3, 11))],
        ]),
        [4, 4, 3],
    )  # fmt: skip
    columns = check_columns(graph, MEASURES["singular_values"])
    np.testing.assert_allclose(columns["singular_values_largest"], [1, 12**0.5], rtol=1e-6)
    np.testing.assert_allclose(columns["singular_values_stable_rank"], [4, 1], rtol=1e-6)
    np.testing.assert_allclose(columns["singular_values_effective_rank"], [4, 1], rtol=1e-5)


@quick
@given(st.integers(0, 2**32 - 1))
def test_large_maps_are_decomposed_by_iteration_and_by_products_to_the_same_values(seed):
    graph = layered([12, 7, 9], seed=seed, skip=1)
    expected = check_columns(graph, MEASURES["singular_values"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spectrum, "DENSE_ENTRIES", 0)
        products = check_columns(graph, MEASURES["singular_values"])
        patch.setattr(spectrum, "DENSE_SIDE", 0)
        iterated = check_columns(graph, MEASURES["singular_values"])
    for name, values in expected.items():
        np.testing.assert_allclose(products[name], values, rtol=1e-6)  # squared, and the root of it
        if name.endswith("effective_rank"):
            assert np.isnan(iterated[name]).all()
        else:
            np.testing.assert_allclose(iterated[name], values, rtol=1e-9)


def test_a_feed_forward_network_has_the_spectral_radius_0_and_says_why():
    view = view_of(layered([3, 4, 2]), MEASURES["spectral_radius"])
    assert spectrum.spectral_radius(view) == {"spectral_radius": 0.0}
    assert view.notes == ["0, because the graph has no cycles"]


@quick
@given(st.integers(0, 2**32 - 1))
def test_the_spectral_radius_of_a_graph_with_cycles_is_that_of_the_dense_matrix(seed):
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((12, 12)) * (random.random((12, 12)) < 0.15)
    found = check_columns(graph_of_matrix(matrix), MEASURES["spectral_radius"])["spectral_radius"]
    # Without cycles all 12 eigenvalues are 0, which the dense method knows up to the 12th root of its rounding errors.
    assert found == pytest.approx(np.abs(np.linalg.eigvals(matrix)).max(), rel=1e-9, abs=0.1 if found == 0 else 1e-9)


@quick
@given(st.integers(0, 2**32 - 1))
def test_eigenvalues_of_the_undirected_graph_are_those_of_networkx(seed):
    graph = layered([4, 6, 5, 3], seed=seed)
    made = nx.from_scipy_sparse_array(abs(graph.adjacency()))  # each edge once
    part = made.subgraph(max(nx.connected_components(made), key=len))
    columns = {**check_columns(graph, MEASURES["laplacian"]),
               **check_columns(graph, MEASURES["spectral_radius_undirected"])}  # fmt: skip
    expected = np.sort(np.linalg.eigvalsh(nx.normalized_laplacian_matrix(part).toarray()))
    assert columns["laplacian_gap"] == pytest.approx(expected[1], abs=1e-12)
    assert columns["laplacian_largest"] == pytest.approx(expected[-1], abs=1e-12)
    assert columns["spectral_radius_undirected"] == pytest.approx(max(nx.adjacency_spectrum(made).real), rel=1e-12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spectrum, "DENSE_ENTRIES", 0)
        iterated = {**check_columns(graph, MEASURES["laplacian"]),
                    **check_columns(graph, MEASURES["spectral_radius_undirected"])}  # fmt: skip
    assert iterated == pytest.approx(columns, rel=1e-9, abs=1e-9)


def test_a_complete_bipartite_graph_has_the_laplacian_0_1_2():
    graph = traced(nn.Linear(3, 5), 3)
    graph = graph_of_matrix(np.pad(np.ones((3, 5)), ((0, 5), (3, 0))), [3, 5])
    assert check_columns(graph, MEASURES["laplacian"]) == pytest.approx({"laplacian_gap": 1, "laplacian_largest": 2})
    radius = check_columns(graph, MEASURES["spectral_radius_undirected"])["spectral_radius_undirected"]
    assert radius == pytest.approx(15**0.5)


def test_only_the_largest_component_counts_for_the_laplacian():
    graph = graph_of_matrix(np.pad(np.diag([1.0, 1.0, 0.0]) + np.eye(3, k=1), ((0, 3), (3, 0))), [3, 3])
    view = view_of(graph, MEASURES["laplacian"])
    spectrum.laplacian(view)
    assert view.notes == ["of the largest of 2 components, 5 of 6 nodes"]


@pytest.mark.parametrize("measure", GROUP, ids=lambda measure: measure.name)
@pytest.mark.parametrize("name", NOTHING)
def test_degenerate_graphs_give_numbers_or_a_reason(name, measure):
    check_columns(NOTHING[name], measure)
