"""A map whose inputs are scaled one by one is the matrix of the map, each row times its scale, in every view."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnn2graph.links import Axis, Convolution, Listed, Scaled
from dnn2graph.links.sums import PARTS
from tests.networks import dense_matrix, graph_of_links
from tests.strategies import convolutions, linked, links, matrix_of

property_test = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@st.composite
def scaled_links(draw):
    """Draw links and the same links with scales in [-2, 2], a fifth of them zero: small whole numbers."""
    plain = draw(links(convolutions()))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = random.integers(-2, 3, plain.map.in_shape).astype(np.float64)
    return plain, scale, linked(Scaled(plain.map, scale), plain.kernel())


def expected(plain, scale):
    return scale.reshape(-1, 1) * matrix_of(plain.map, plain.kernel())


def unrolled(each):
    matrix = np.zeros((each.source_nodes.size, each.target_nodes.size))
    edges = each.coo()
    np.add.at(matrix, (edges.sources, edges.targets - each.source_nodes.size), edges.weights)
    return matrix


@property_test
@given(scaled_links())
def test_unrolling_lists_the_products_that_are_not_zero(case):
    plain, scale, each = case
    matrix = expected(plain, scale)
    np.testing.assert_array_equal(unrolled(each), matrix)
    assert each.nnz == len(each.coo().weights) == np.count_nonzero(matrix)


@property_test
@given(scaled_links(), st.integers(0, 2**32 - 1))
def test_applying_and_transposing_are_products_with_the_matrix(case, seed):
    plain, scale, each = case
    matrix, random = expected(plain, scale), torch.Generator().manual_seed(seed)
    x = torch.randn(2, *each.map.in_shape, dtype=torch.float64, generator=random)
    y = torch.randn(2, *each.map.out_shape, dtype=torch.float64, generator=random)
    exact = {"rtol": 1e-12, "atol": 1e-11}
    np.testing.assert_allclose(each.apply(x).reshape(2, -1), x.reshape(2, -1).numpy() @ matrix, **exact)
    np.testing.assert_allclose(each.transpose(y).reshape(2, -1), y.reshape(2, -1).numpy() @ matrix.T, **exact)


@property_test
@given(scaled_links())
def test_sums_of_every_part_are_those_of_the_matrix_and_of_torch(case):
    plain, scale, each = case
    matrix = expected(plain, scale)
    for part, function in PARTS.items():
        per_output, per_input = each.sums(part)
        np.testing.assert_array_equal(per_output.reshape(-1), function(matrix).sum(0))
        np.testing.assert_array_equal(per_input.reshape(-1), function(matrix).sum(1))
        for found, other in zip(each.map.tensor_sums(each.kernel(), part), (per_output, per_input), strict=True):
            np.testing.assert_array_equal(found.numpy(), other)


@property_test
@given(scaled_links())
def test_a_graph_of_such_links_has_the_matrix_as_its_adjacency(case):
    plain, scale, each = case
    graph = graph_of_links(each)
    matrix = graph.adjacency(memory=np.inf)
    np.testing.assert_array_equal(matrix.toarray(), dense_matrix(graph))
    assert matrix.nnz == graph.number_of_edges() == np.count_nonzero(expected(plain, scale))


def test_strengths_where_a_node_stands_in_several_elements_are_those_of_the_edges():
    geometry = Convolution(1, 1, (Axis.convolution(4, 4, 3, stride=1, dilation=1, padding=1),))
    scale = np.array([2.0, 0.0, 2.0, 3.0]).reshape(geometry.in_shape)
    kernel = torch.tensor([[[1.0, -1.0, 2.0]]], dtype=torch.float64)
    each = linked(Scaled(geometry, scale), kernel, np.array([[[0, 1, 0, 2]]]), np.array([[[3, 4, 5, 6]]]))
    matrix = np.zeros((7, 7))
    units = np.eye(4)[:, None, None, :] * scale
    images = geometry.apply(torch.from_numpy(units), kernel).reshape(4, 4).numpy()
    np.add.at(matrix, (np.array([0, 1, 0, 2])[:, None], np.array([[3, 4, 5, 6]])), images)
    into, out_of = np.zeros(7), np.zeros(7)
    each.add_strengths(into, out_of, "abs")
    np.testing.assert_array_equal(into, np.abs(matrix).sum(0))
    np.testing.assert_array_equal(out_of, np.abs(matrix).sum(1))
    assert each.nnz == np.count_nonzero(matrix)


@pytest.mark.parametrize("ids", [np.arange(3), np.array([7, 3, 7])])
def test_the_scale_of_an_edge_is_that_of_the_node_that_it_leaves(ids):
    scale = np.array([4.0, 5.0, 4.0])
    each = linked(Scaled(Listed(3, 1, np.arange(3), np.zeros(3, np.int64)), scale), torch.ones(3), ids, np.array([9]))
    assert each.source_scale(ids).tolist() == [4, 5, 4]
    assert each.source_scale(ids[1:2]).tolist() == [5]
    assert linked(each.map.map, torch.ones(3), ids, np.array([9])).source_scale(ids) is None


def test_numbers_of_kernel_entries_are_not_scaled():
    each = linked(Scaled(Listed(2, 2, np.array([0, 1]), np.array([0, 1])), np.array([0.5, 0.0])), torch.ones(2))
    assert [part.tolist() for part in each.entries()] == [[0, 1], [2, 3], [0, 1]]


def test_a_product_too_small_for_its_precision_stays_an_edge_of_its_sign():
    geometry = Listed(2, 1, np.array([0, 1]), np.array([0, 0]))
    each = linked(Scaled(geometry, np.array([1e-30, -1e-30])), torch.tensor([1e-30, 1e-30]))
    smallest = np.finfo(np.float32).smallest_subnormal
    assert each.coo().weights.tolist() == [smallest, -smallest]
    assert each.nnz == 2
