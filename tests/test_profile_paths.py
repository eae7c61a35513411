"""Paths are counted as networkx lists them, and their sums are the Jacobian of the linearised network."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dnn2graph.errors import InputError
from dnn2graph.profile import effective, paths
from dnn2graph.profile.measure import MEASURES
from tests.handmade import NOTHING, check_columns, graph_of_matrix, layered, view_of
from tests.networks import by_hand, traced
from tests.strategies import Net, fill

quick = settings(max_examples=25, deadline=None, derandomize=True)
GROUP = [measure for measure in MEASURES.values() if measure.group == "paths"]
SMALL = st.tuples(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.integers(0, 2**32 - 1))


def listed_paths(graph):
    """List every path from an input to an output with the weights of its edges."""
    matrix = graph.adjacency().toarray()
    made = nx.from_numpy_array(matrix, create_using=nx.DiGraph)
    inputs, outputs = graph.layers[0].nodes.flat, graph.layers[-1].nodes.flat
    found = [path for i in inputs for o in outputs for path in nx.all_simple_paths(made, i, o)]
    return [(path, np.array([matrix[edge] for edge in pairwise(path)])) for path in found]


@quick
@given(SMALL)
def test_numbers_lengths_and_norms_are_those_of_all_paths_listed_one_by_one(drawn):
    graph = layered(*drawn[:1], seed=drawn[1], density=0.8)
    expected = listed_paths(graph)
    if not expected:
        assert check_columns(graph, MEASURES["path_count"]) == {"path_count": 0, "path_count_log10": -np.inf}
        return
    columns = {}
    for measure in GROUP:
        columns.update(check_columns(graph, measure))
    lengths = [len(weights) for _, weights in expected]
    norms = [np.abs(weights).prod() for _, weights in expected]
    assert columns["path_count"] == len(expected)
    assert columns["path_count_log10"] == pytest.approx(np.log10(len(expected)), abs=1e-12)
    assert columns["path_length_shortest"] == min(lengths)
    assert columns["path_length_longest"] == max(lengths)
    assert columns["path_length_mean"] == pytest.approx(np.mean(lengths), rel=1e-12)
    assert columns["path_norm"] == sum(norms)
    assert columns["path_norm_log10"] == pytest.approx(np.log10(sum(norms)), abs=1e-12)
    through = np.array([[node in path for path, _ in expected] for node in range(len(graph))])
    np.testing.assert_array_equal(columns["paths_through"], through.sum(1))
    np.testing.assert_allclose(columns["paths_through_share"], through.mean(1), rtol=1e-12)
    np.testing.assert_array_equal(columns["path_norm_through"], through @ norms)
    np.testing.assert_allclose(columns["path_norm_through_share"], through @ norms / sum(norms), rtol=1e-12)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(columns["paths_through_log10"], np.log10(through.sum(1)), atol=1e-12)
    sums = np.zeros((graph.layers[0].size, graph.layers[-1].size))
    for path, weights in expected:
        sums[path[0], path[-1] - graph.layers[-1].start] += weights.prod()
    np.testing.assert_array_equal(effective.effective_weights(graph), sums)  # whole numbers are exact
    assert columns["effective_weight_agreement"] == pytest.approx(np.abs(sums).sum() / sum(norms), rel=1e-12)
    np.testing.assert_array_equal(columns["path_weight_out"][: len(sums)], sums.sum(1))
    np.testing.assert_array_equal(columns["path_weight_in"][graph.layers[-1].start :], sums.sum(0))


@quick
@given(SMALL)
def test_generations_are_those_of_networkx(drawn):
    matrix = layered(*drawn[:1], seed=drawn[1]).adjacency()
    shuffle = np.random.default_rng(drawn[1]).permutation(matrix.shape[0])
    matrix = matrix[shuffle][:, shuffle].tocsr()  # ids in no order
    expected = nx.topological_generations(nx.from_scipy_sparse_array(matrix, create_using=nx.DiGraph))
    assert [sorted(level) for level in expected] == [level.tolist() for level in paths.generations(matrix)]


@pytest.mark.parametrize("name", ["one loop", "a cycle", "a cycle in a layer"])
def test_graphs_with_cycles_have_no_generations(name):
    assert paths.generations(NOTHING[name].adjacency()) is None
    view = view_of(NOTHING[name], MEASURES["path_count"])
    assert np.isnan(paths.path_count(view)["path_count"])
    assert view.notes == ["the graph has cycles, and infinitely many paths"]


def test_a_complete_network_of_layers_has_the_product_of_their_sizes_as_its_number_of_paths():
    graph = traced(nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3), nn.ReLU(), nn.Linear(3, 2)), 5)
    assert check_columns(graph, MEASURES["path_count"])["path_count"] == 5 * 7 * 3 * 2
    share = check_columns(graph, MEASURES["paths_through"])["paths_through_share"]
    np.testing.assert_allclose(share, np.repeat([1 / 5, 1 / 7, 1 / 3, 1 / 2], [5, 7, 3, 2]), rtol=1e-12)


def test_what_passes_the_largest_number_keeps_its_logarithm():
    sizes = [10] * 400  # 10⁴⁰⁰ paths
    graph = layered(sizes, density=1.0, skip=1)
    found = check_columns(graph, MEASURES["path_count"])
    assert found["path_count"] == np.inf
    assert found["path_count_log10"] == pytest.approx(400, rel=1e-12)
    through = check_columns(graph, MEASURES["paths_through"])
    np.testing.assert_allclose(through["paths_through_log10"], 399, rtol=1e-12)
    np.testing.assert_allclose(through["paths_through_share"], 0.1, rtol=1e-9)  # of a difference of logarithms of 900


# --- the Jacobian ----------------------------------------------------------------------------------------------------

PLAIN, RELU = nn.Identity(), nn.ReLU()


def perceptron(activation):
    return nn.Sequential(nn.Linear(4, 6), activation, nn.Linear(6, 5), activation, nn.Linear(5, 3)), (4,)


def convolutional(activation):
    layers = nn.Conv2d(2, 4, 3, padding=1, stride=2), nn.BatchNorm2d(4), activation, nn.AvgPool2d(2), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(4, 3)), (2, 5, 5)


def residual(activation):
    parts = {"first": nn.Conv2d(2, 3, 3, padding=1), "second": nn.Conv2d(3, 3, 3, padding=1), "last": nn.Linear(27, 4)}

    def forward(self, x):
        h = activation(self.first(x))
        return self.last(activation(h + self.second(h)).flatten(1))

    return Net(forward, **parts), (2, 3, 3)


def widening(activation):
    """More outputs than inputs: sums are taken forwards."""
    return Net(
        lambda self, x: self.last(torch.cat([activation(self.inner(x)), x], 1).flatten(1)),
        inner=nn.Conv2d(1, 2, 3, padding=1, dilation=1),
        last=nn.Linear(12, 7),
    ), (1, 2, 2)


def jacobian(model, shape):
    """Differentiate by autograd: float64 (inputs, outputs)."""
    x = torch.zeros(1, *shape, dtype=torch.float64)
    found = torch.autograd.functional.jacobian(model.double().eval(), x)
    return found.reshape(found.shape[1], -1).T.numpy()


@pytest.mark.parametrize("build", [perceptron, convolutional, residual, widening], ids=lambda build: build.__name__)
def test_effective_weights_are_the_jacobian_of_the_linearised_model(build, monkeypatch):
    monkeypatch.setattr(effective, "CHUNK_BYTES", 3000)  # a few outputs at a time
    model, shape = build(RELU)
    graph = traced(model, *shape, granularity="position", seed=3)
    linear = fill(build(PLAIN)[0], 3)
    # Weights are float32: batch-norm's scale and products of them are rounded.
    np.testing.assert_allclose(effective.effective_weights(graph), jacobian(linear, shape), rtol=1e-5, atol=1e-6)


def test_effective_weights_from_links_equal_path_sums_on_the_matrix():
    for build in (convolutional, residual, widening):
        model, shape = build(RELU)
        for granularity in ("channel", "position"):
            graph = traced(model, *shape, granularity=granularity, seed=1)
            view = view_of(graph, MEASURES["effective_weight"])
            start = np.zeros((len(graph), len(view.inputs)))
            start[view.inputs, np.arange(len(view.inputs))] = 1
            sums = paths.path_sums(view.transposed, paths.generations(view.matrix), start)[view.outputs].T
            np.testing.assert_allclose(effective.effective_weights(graph), sums, rtol=1e-9, atol=1e-12)


def test_the_numbers_of_effective_weights_and_the_supported_output():
    graph = by_hand()  # 0 → 1.5 → 0.5 and -2 → -0.125; 1 → 0 and 4 → -0.125
    np.testing.assert_array_equal(effective.effective_weights(graph), [[1.0], [-0.5]])
    columns = check_columns(graph, MEASURES["effective_weight"])
    assert columns == pytest.approx(
        {
            "effective_weight_mean": 0.25,
            "effective_weight_std": 0.75,
            "effective_weight_norm": 1.25**0.5,
            "effective_weight_largest": 1.25**0.5,
            "effective_weight_agreement": 1.0,  # 1.5 · 0.5 and -2 · -0.125 have one sign
        }
    )
    two = graph_of_matrix(np.triu([[0, 0, 2, -3, 0], [0, 0, 1, 5, 0], *[[0] * 5] * 3]), [2, 3])
    found = check_columns(two, MEASURES["supported_output"])
    np.testing.assert_array_equal(found["supported_output"], [0, 1, 0, 1, 2])
    np.testing.assert_array_equal(found["supported_output_weight"], [2, 5, 1, 1, 1])


def test_outputs_are_compared_across_chunks(monkeypatch):
    graph = layered([3, 5, 6], seed=4)
    expected = effective.strongest_outputs(graph)
    monkeypatch.setattr(effective, "CHUNK_BYTES", 1)
    for found, whole in zip(effective.strongest_outputs(graph), expected, strict=True):
        np.testing.assert_array_equal(found, whole)


def test_links_that_lead_back_are_refused_by_name_and_left_out_by_kind():
    graph = NOTHING["a cycle"]
    with pytest.raises(InputError, match="links lead back from 'layer2' to 'layer1'"):
        effective.effective_weights(graph)
    np.testing.assert_array_equal(effective.effective_weights(graph, "weight"), [[1 * -2 * 3]])


@pytest.mark.parametrize("measure", GROUP, ids=lambda measure: measure.name)
@pytest.mark.parametrize("name", NOTHING)
def test_degenerate_graphs_give_numbers_or_a_reason(name, measure):
    check_columns(NOTHING[name], measure)
