"""The adjacency matrix is the network, edge by edge, and costs no more than itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import dnn2graph as dg
from dnn2graph.export.matrix import edges
from dnn2graph.links import KINDS
from dnn2graph.nodes import Nodes
from tests.memory import peak_of
from tests.networks import (
    by_hand,
    dense_matrix,
    every_network,
    graph_of,
    graph_of_links,
    mlp_2_2_1,
    traced,
    with_parallel_links,
)
from tests.strategies import links as random_links
from tests.strategies import matrix_of

BY_HAND = [
    [0, 0, 1.5, -2.0, 0],
    [0, 0, 0, 4.0, 0],
    [0, 0, 0, 0, 0.5],
    [0, 0, 0, 0, -0.125],
    [0, 0, 0, 0, 0],
]

ONE_LAYER = {
    "dense": (nn.Linear(4, 3), (4,)),
    "padded": (nn.Conv2d(2, 3, 3, padding=1), (2, 5, 4)),
    "strided": (nn.Conv2d(2, 3, 3, stride=2, padding=(2, 0)), (2, 6, 5)),
    "dilated": (nn.Conv1d(2, 2, 3, dilation=2, padding=1), (2, 9)),
    "grouped": (nn.Conv2d(4, 6, (3, 1), groups=2), (4, 4, 3)),
    "depthwise": (nn.Conv2d(3, 6, 3, groups=3, padding=1), (3, 4, 4)),
    "transposed": (nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1), (3, 3, 2)),
    "over volumes": (nn.Conv3d(1, 2, 2), (1, 3, 3, 3)),
    "pooled": (nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), (2, 5, 5)),
}


def bytes_of(matrix):
    return matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes


def peak_when_warm(make):
    """Return what a function makes and the most memory that was allocated meanwhile."""
    make()  # imports and caches
    return peak_of(make)


def test_a_small_network_is_the_matrix_written_by_hand():
    matrix = by_hand().adjacency()
    assert matrix.toarray().tolist() == BY_HAND
    assert matrix.nnz == 5  # the zero weight is no edge
    assert matrix.dtype == np.float32
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32


@pytest.mark.parametrize("name", ONE_LAYER)
def test_one_linear_layer_is_its_jacobian(name):
    layer, shape = ONE_LAYER[name]
    graph = traced(layer, *shape, granularity="position")
    jacobian = torch.autograd.functional.jacobian(layer, torch.zeros(1, *shape))
    inputs = int(np.prod(shape))
    found = graph.adjacency().toarray()
    np.testing.assert_array_equal(found[:inputs, inputs:], jacobian.reshape(-1, inputs).numpy().T)
    assert not found[inputs:].any()
    assert not found[:, :inputs].any()


@every_network
def test_the_matrix_is_what_its_links_do_to_unit_vectors(network):
    graph = graph_of(network)
    matrix = graph.adjacency()
    np.testing.assert_allclose(matrix.toarray(), dense_matrix(graph), rtol=1e-6, atol=0)
    assert matrix.nnz == graph.number_of_edges()


@settings(max_examples=150, deadline=None)
@given(random_links(), st.sampled_from(["in order", "permuted", "with gaps", "repeated"]), st.integers(0, 2**32 - 1))
def test_the_matrix_is_the_definition_of_its_links_wherever_their_nodes_stand(links, nodes, seed):
    random = np.random.default_rng(seed)
    inputs, outputs = int(np.prod(links.map.in_shape)), int(np.prod(links.map.out_shape))
    places = {
        "in order": (np.arange(inputs), np.arange(outputs)),
        "permuted": (random.permutation(inputs), random.permutation(outputs)),
        "with gaps": (np.where(random.random(inputs) < 0.3, -1, random.permutation(inputs)), np.arange(outputs)),
        "repeated": (random.integers(-1, inputs, inputs), random.integers(0, outputs, outputs)),
    }
    source, target = places[nodes][0], places[nodes][1] + inputs
    graph = graph_of_links(replace(links, source_nodes=Nodes(source), target_nodes=Nodes(target)))
    expected = np.zeros((len(graph), len(graph)))
    present = source >= 0
    defined = matrix_of(links.map, links.kernel())
    np.add.at(expected, (source[present, None], target[None]), defined[present])
    matrix = graph.adjacency()
    np.testing.assert_array_equal(matrix.toarray(), expected)
    assert matrix.nnz == np.count_nonzero(expected) == graph.number_of_edges()


@every_network
def test_rows_are_sorted_and_hold_neither_zeros_nor_repeats(network):
    graph = graph_of(network)
    matrix = graph.adjacency()
    assert matrix.has_canonical_format
    fresh = type(matrix)((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
    assert fresh.has_canonical_format  # looked at again, not only claimed
    assert (matrix.data != 0).all()


@every_network
def test_kinds_select_links(network):
    graph = graph_of(network)
    parts = [graph.adjacency(kinds=[kind]) for kind in KINDS]
    assert sum(part.nnz for part in parts) == graph.adjacency().nnz
    assert (sum(parts) != graph.adjacency()).nnz == 0
    assert graph.adjacency(kinds=[]).nnz == 0
    with pytest.raises(dg.InputError, match="wieght"):
        graph.adjacency(kinds=["wieght"])


@pytest.mark.parametrize(
    ("given_dtype", "found_dtype"),
    [(torch.float64, np.float64), (torch.bfloat16, np.float32), (torch.float16, np.float32)],
)
def test_weights_keep_their_precision(given_dtype, found_dtype):
    model = nn.Linear(3, 2).to(given_dtype)
    matrix = dg.from_torch(model, torch.zeros(1, 3, dtype=given_dtype)).adjacency()
    assert matrix.dtype == found_dtype
    np.testing.assert_array_equal(matrix.toarray()[:3, 3:].T, model.weight.detach().to(torch.float64).numpy())


def test_parallel_links_are_summed():
    graph = by_hand()
    doubled = with_parallel_links(graph, 2.0).adjacency().toarray()
    assert doubled[:2].tolist() == (3 * np.array(BY_HAND[:2])).tolist()
    assert doubled[2:].tolist() == BY_HAND[2:]


def test_parallel_links_that_cancel_leave_no_edge():
    matrix = with_parallel_links(by_hand(), -1.0).adjacency()
    assert matrix.nnz == 2
    assert matrix.toarray()[2:].tolist() == BY_HAND[2:]


@every_network
def test_edges_are_the_entries_of_the_matrix(network):
    graph = graph_of(network)
    listed, matrix = edges(graph), graph.adjacency().tocoo()
    np.testing.assert_array_equal(listed.sources, matrix.row)
    np.testing.assert_array_equal(listed.targets, matrix.col)
    np.testing.assert_array_equal(listed.weights, matrix.data)
    for number, kind in enumerate(KINDS):
        assert (listed.kinds == number).sum() == graph.number_of_edges([kind])


def test_an_edge_made_by_links_of_two_kinds_is_of_the_first_kind():
    listed = edges(with_parallel_links(by_hand(), 2.0, kind="pool"))
    assert [KINDS[kind] for kind in listed.kinds] == ["weight"] * 5
    assert listed.weights.tolist() == [4.5, -6.0, 12.0, 0.5, -0.125]
    assert len(edges(with_parallel_links(by_hand(), -1.0)).weights) == 2


def test_pruned_weights_are_no_edges_and_take_no_memory():
    model = nn.Conv2d(8, 8, 3, padding=1)
    with torch.no_grad():
        model.weight[torch.rand(model.weight.shape, generator=torch.Generator().manual_seed(0)) < 0.9] = 0.0
    graph = dg.from_torch(model, torch.zeros(1, 8, 64, 64), granularity="position")
    matrix = graph.adjacency()
    assert matrix.nnz == len(matrix.data) == graph.number_of_edges()
    assert (matrix.data != 0).all()


def test_the_peak_of_memory_is_the_matrix():
    graph = dg.from_torch(nn.Conv2d(32, 32, 3, padding=1), torch.zeros(1, 32, 32, 32), granularity="position")
    matrix, peak = peak_when_warm(graph.adjacency)
    assert matrix.nnz > 9e6
    assert peak <= 1.2 * bytes_of(matrix)


@every_network
def test_the_estimate_is_the_size_of_the_matrix(network):
    graph = graph_of(network)
    assert graph.estimate().csr == bytes_of(graph.adjacency())


def test_what_does_not_fit_is_refused_before_it_is_built():
    graph = dg.from_torch(nn.Conv2d(64, 64, 3, padding=1), torch.zeros(1, 64, 32, 32), granularity="position")

    def attempt():
        with pytest.raises(dg.MemoryBudgetError, match=r"36,192,256 edges takes about 290.* budget is 1.0 MB"):
            graph.adjacency(memory=1e6)

    assert peak_of(attempt)[1] < 20e6


def test_other_weights_give_other_entries_at_the_same_places():
    model = mlp_2_2_1()
    graph = dg.from_torch(model, torch.zeros(1, 2))
    other = graph.with_weights({name: 2 * value for name, value in model.state_dict().items()})
    assert other.adjacency().toarray().tolist() == (2 * np.array(BY_HAND)).tolist()
