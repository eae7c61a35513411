"""The functional graph is the graph times the activations of its sources, for every measure, file and library."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import dnn2graph as dg
from dnn2graph.activity import (
    FunctionalGraph,
    activations,
    functional_graph,
    layer_fluctuation,
    neurons_activation,
    neurons_strength,
)
from dnn2graph.activity.graph import ACTIVATIONS, scaled_by_sources
from dnn2graph.errors import InputError
from dnn2graph.links import Convolution, Listed, Scaled
from dnn2graph.links.sums import PARTS
from tests.networks import GRANULARITIES, NETWORKS, dense_matrix, every_network, mlp_2_2_1
from tests.strategies import architectures, convolutions, fill, links
from tests.test_activity import samples, seen

property_test = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def functional(network, activation="mean"):
    """Give a network's graph and its functional graph, in float64."""
    name, granularity = network.split("-")
    model, x = fill(NETWORKS[name](), 0).double(), samples(5, 2, 6, 6)
    graph = dg.from_torch(model, x, granularity=granularity, shared="unfold")
    return graph, functional_graph(graph, x, activation=activation, model=model)


def scaled(graph, found):
    """Give diag(a) A, by scipy."""
    amounts = getattr(found.activity, found.activation)
    return scipy.sparse.csr_array(scipy.sparse.diags_array(amounts) @ graph.adjacency())


# --- the matrix ------------------------------------------------------------------------------------------------------


def test_weights_are_multiplied_by_the_activation_of_the_source_by_hand():
    graph = dg.from_torch(mlp_2_2_1(), torch.zeros(1, 2), granularity="position")
    found = functional_graph(graph, torch.tensor([[1.0, -3.0], [3.0, 1.0]]))
    # mean inputs 2 and -1; hidden 0: 1.75 and 4.75; hidden 1: never active
    assert found.adjacency().toarray()[[0, 0, 1]][:, [2, 3]].tolist() == [[3, -4], [3, -4], [0, -4]]
    assert found.adjacency().toarray()[2:4, 4].tolist() == [3.25 / 2, 0]
    assert found.number_of_edges() == 4  # hidden 1 has lost its edge
    assert isinstance(found, FunctionalGraph)
    assert found.activity.samples == 2
    assert repr(found) == (
        "FunctionalGraph(3 layers, 5 nodes, 2 links, mean activation of 2 samples, granularity='position')"
    )
    absolute = functional_graph(graph, torch.tensor([[1.0, -3.0], [3.0, 1.0]]), activation="mean_abs")
    assert absolute.adjacency().toarray()[1, 3] == 8


@pytest.mark.parametrize("activation", ACTIVATIONS)
@every_network
def test_the_adjacency_is_the_diagonal_of_activations_times_the_adjacency(network, activation):
    graph, found = functional(network, activation)
    expected = scaled(graph, found)
    assert abs(found.adjacency() - expected).max() <= 1e-12 * abs(expected).max()
    assert found.number_of_edges() == found.adjacency().nnz == expected.count_nonzero()


@property_test
@given(architectures(most=4), st.sampled_from(GRANULARITIES))
def test_of_any_architecture_too(case, granularity):
    graph = dg.from_torch(case.model, case.x, granularity, shared="unfold")
    amounts = np.random.default_rng(0).integers(-2, 3, len(graph)).astype(np.float64)
    found = [scaled_by_sources(each, amounts) for each in graph.links]
    expected = amounts[:, None] * dense_matrix(graph)
    made = FunctionalGraph(**{**vars(graph), "links": tuple(found)})
    np.testing.assert_allclose(made.adjacency().toarray(), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(dense_matrix(made), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@property_test
@given(links(convolutions()), st.booleans(), st.integers(0, 2**32 - 1))
def test_links_scaled_by_nodes_have_the_scaled_edges(each, per_channel, seed):
    random = np.random.default_rng(seed)
    amounts = random.integers(-2, 3, each.map.in_shape).astype(np.float64)
    if per_channel and amounts.size:
        amounts = np.broadcast_to(amounts[:1].reshape(1, each.map.in_channels, -1)[..., :1], (
            each.map.copies, each.map.in_channels, int(np.prod(each.map.in_shape[2:])),
        ))  # fmt: skip
    amounts = np.r_[amounts.reshape(-1), np.zeros(each.target_nodes.size)]
    found, edges = scaled_by_sources(each, amounts).coo(), each.coo()
    assert not (per_channel and isinstance(scaled_by_sources(each, amounts).map, Scaled))
    products = amounts[edges.sources] * edges.weights
    expected = {(s, t): w for s, t, w in zip(edges.sources, edges.targets, products, strict=True) if w}
    assert {(s, t): w for s, t, w in zip(*found, strict=True)} == expected


def test_only_kernels_that_positions_share_keep_a_map_of_their_own():
    kinds = {network: {type(each.map) for each in functional(network)[1].links} for network in (
        "convolutional-channel", "residual-channel", "separable-channel", "residual-position",
    )}  # fmt: skip
    assert Scaled not in kinds["convolutional-channel"] | kinds["residual-channel"] | kinds["separable-channel"]
    assert kinds["residual-position"] == {Convolution, Scaled}


# --- what measures and files make of it ------------------------------------------------------------------------------


@every_network
def test_strengths_are_sums_of_the_scaled_matrix(network):
    graph, found = functional(network)
    matrix = scaled(graph, found).toarray()
    for weight in ("signed", "abs", "positive", "negative"):
        part = PARTS[weight](matrix)
        into, out_of = dg.directed_strengths(found, weight)
        np.testing.assert_allclose(into, part.sum(0), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(out_of, part.sum(1), rtol=1e-9, atol=1e-9)


@every_network
def test_link_weights_are_those_of_the_scaled_edges(network):
    _, found = functional(network)
    table = dg.link_weights(found)
    assert len(table) == len(found.links)
    for each, (_, row) in zip(found.links, table.iterrows(), strict=True):
        weights = each.coo().weights
        assert row["count"] == len(weights) == each.nnz
        np.testing.assert_allclose(row["l1"], np.abs(weights).sum(), rtol=1e-9)
        np.testing.assert_allclose(row["mean"], weights.mean(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("network", ["residual-position", "convolutional-channel"])
def test_libraries_and_files_hold_the_scaled_edges(network, tmp_path):
    graph, found = functional(network)
    expected = scaled(graph, found)
    library = found.to_igraph()
    assert library.ecount() == expected.count_nonzero()
    assert sum(library.es["weight"]) == pytest.approx(expected.sum())
    found.write(tmp_path / "graph.npz")
    found.write(tmp_path / "graph.graphml", precision="float64")
    for read in (dg.read(tmp_path / "graph.npz"), dg.read(tmp_path / "graph.graphml")):
        assert abs(read.adjacency() - expected).max() <= 1e-12 * abs(expected).max()


@every_network
def test_differentiable_strengths_are_those_of_the_scaled_edges(network):
    _, found = functional(network)
    for weight in ("signed", "abs", "positive", "negative"):
        value = dg.functional.strength(found, weight=weight).detach().numpy()
        np.testing.assert_allclose(value, dg.strength(found, weight=weight), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", ["mass", "threshold", "topk", "quantile", "disparity"])
@every_network
def test_sparsifying_keeps_scaled_edges(network, method):
    graph, found = functional(network)
    kept = dg.sparsify(found, max_edges=60, method=method, keep_outputs=False).adjacency()
    assert 0 < kept.nnz <= 60
    whole = scaled(graph, found)
    np.testing.assert_allclose(kept.data, whole.toarray()[kept.nonzero()], rtol=1e-9)
    if method == "threshold":  # the strongest of all
        assert np.sort(np.abs(kept.data)) == pytest.approx(np.sort(np.abs(whole.data))[-kept.nnz :])


def test_other_weights_are_multiplied_by_the_same_activations():
    x = samples(5, 2, 6, 6)
    for granularity in GRANULARITIES:
        model, trained = fill(NETWORKS["residual"](), 0).double(), fill(NETWORKS["residual"](), 3).double()
        graph = dg.from_torch(model, x, granularity=granularity, shared="unfold")
        found = functional_graph(graph, x, model=model)
        other = graph.with_weights(trained.state_dict())
        moved = found.with_weights(trained.state_dict())
        assert isinstance(moved, FunctionalGraph)
        assert abs(moved.adjacency() - scaled(other, found)).max() <= 1e-12


def test_a_listed_graph_can_be_functional_too_and_twice():
    graph = dg.from_torch(mlp_2_2_1(), torch.zeros(1, 2), granularity="position")
    kept = dg.sparsify(graph, max_edges=3)
    assert all(isinstance(each.map, Listed) for each in kept.links)
    x = torch.tensor([[2.0, 3.0]])
    found = functional_graph(kept, x)
    expected = np.diag(found.activity.mean) @ kept.adjacency().toarray()
    np.testing.assert_allclose(found.adjacency().toarray(), expected, rtol=1e-6)
    twice = functional_graph(found, found.activity)
    np.testing.assert_allclose(twice.adjacency().toarray(), np.diag(found.activity.mean) @ expected, rtol=1e-6)


def test_an_activity_serves_in_the_place_of_a_loader():
    graph = dg.from_torch(mlp_2_2_1(), torch.zeros(1, 2), granularity="position")
    found = activations(graph, torch.tensor([[2.0, 3.0]]))
    again = functional_graph(graph, found)
    assert again.activity is found
    other = dg.from_torch(nn.Linear(2, 1), torch.zeros(1, 2), granularity="position")
    with pytest.raises(InputError, match="that of 5 nodes, the graph has 3"):
        functional_graph(other, found)


def test_activations_that_cannot_weigh_are_refused():
    graph = dg.from_torch(mlp_2_2_1(), torch.zeros(1, 2), granularity="position")
    with pytest.raises(InputError, match=r"activation='median' is unknown: choose from mean, mean_abs, std"):
        functional_graph(graph, torch.zeros(1, 2), activation="median")
    with pytest.raises(InputError, match=r"node 1 of layer 'input' has an activation of nan"):
        functional_graph(graph, torch.tensor([[0.0, torch.nan]]))


# --- the measures of the follow-up papers ----------------------------------------------------------------------------


def test_neurons_strength_and_activation_are_means_of_what_the_modules_return():
    model = fill(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), 0).double()
    x = samples(20, 4)
    graph = dg.from_torch(model, x, granularity="position")
    received, active, last = (values.mean(0) for values in seen(model, ["0", "1", "2"], x))
    with_bias = neurons_strength(graph, x, bias=True)
    np.testing.assert_allclose(with_bias, np.r_[np.zeros(4), received, last], rtol=1e-10, atol=1e-12)
    biases = np.r_[np.zeros(4), model[0].bias.detach(), model[2].bias.detach()]
    np.testing.assert_allclose(neurons_strength(graph, x), with_bias - biases, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(neurons_activation(graph, x)[4:], np.r_[active, last], rtol=1e-10, atol=1e-12)


def test_neurons_strength_of_a_convolution_is_the_mean_of_its_output_at_every_position():
    model = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=2, dilation=2))
    model, x = fill(model, 0).double(), samples(8, 2, 5, 5)
    graph = dg.from_torch(model, x, granularity="position")
    found = neurons_strength(graph, x, bias=True)
    for layer, value in zip(graph.layers[1:], seen(model, ["0", "2"], x), strict=True):
        np.testing.assert_allclose(found[layer.start : layer.stop], value.mean(0).reshape(-1), rtol=1e-10, atol=1e-12)


def test_fluctuation_of_a_layer_is_the_deviation_over_its_neurons():
    graph = dg.from_torch(mlp_2_2_1(), torch.zeros(1, 2), granularity="position")
    assert layer_fluctuation(graph, np.array([1.0, 3.0, 0.0, 8.0, 5.0])).tolist() == [1, 4, 0]
    np.testing.assert_allclose(layer_fluctuation(graph, dg.strength(graph)), dg.fluctuation(graph))
    with pytest.raises(InputError, match=r"5 nodes, the values have shape \(2,\)"):
        layer_fluctuation(graph, np.zeros(2))
