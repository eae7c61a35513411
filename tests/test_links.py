"""Links are linear operators: applied, transposed, summed, counted and unrolled they are one and the same matrix."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from dnn2graph.links import Axis, Convolution, Listed, Window, sums
from dnn2graph.links.sums import PARTS, dense_sums, kernel_sums
from tests.memory import tensors_peak_of
from tests.strategies import convolutions, linked, links, matrix_of

property_test = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

NUMPY_PARTS = {
    "signed": lambda w: w,
    "abs": np.abs,
    "positive": lambda w: w * (w > 0),
    "negative": lambda w: w * (w < 0),
    "nonzero": lambda w: 1.0 * (w != 0),
    "square": lambda w: w**2,
}


def test_every_part_of_a_weight_has_an_expectation_here():
    assert NUMPY_PARTS.keys() == PARTS.keys()


def dense(edges, shape):
    """Write edges out as a matrix; an edge listed twice fails the test."""
    matrix = np.zeros(shape)
    pairs = np.stack([edges.sources, edges.targets])
    assert np.unique(pairs, axis=1).shape == pairs.shape
    matrix[edges.sources, edges.targets] = edges.weights
    return matrix


@st.composite
def lists(draw):
    """Draw a plain list of edges, no pair twice, sorted."""
    inputs, outputs = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    chosen = sorted(draw(st.sets(st.integers(0, inputs * outputs - 1))))
    source, target = np.divmod(np.array(chosen, np.int64), outputs)
    return Listed(inputs, outputs, source, target)


# --- one matrix, many views ------------------------------------------------------------------------------------------


@property_test
@given(links())
def test_unrolling_a_convolution_gives_the_matrix_of_its_definition(each):
    edges = each.coo()
    inputs, outputs = each.source_nodes.size, each.target_nodes.size
    matrix = dense(edges._replace(targets=edges.targets - inputs), (inputs, outputs))
    np.testing.assert_array_equal(matrix, matrix_of(each.map, each.kernel()))


@property_test
@given(links(st.one_of(convolutions(), lists())), st.integers(0, 2**32 - 1))
def test_the_unrolled_matrix_times_x_is_the_map_applied_to_x(each, seed):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(3, *each.map.in_shape, dtype=torch.float64, generator=random)
    edges = each.coo()
    inputs = each.source_nodes.size
    matrix = dense(edges._replace(targets=edges.targets - inputs), (inputs, each.target_nodes.size))
    np.testing.assert_allclose(each.apply(x).reshape(3, -1), x.reshape(3, -1).numpy() @ matrix, rtol=1e-12, atol=1e-12)


@property_test
@given(links(st.one_of(convolutions(), lists())), st.integers(0, 2**32 - 1))
def test_the_transpose_is_the_adjoint(each, seed):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(2, *each.map.in_shape, dtype=torch.float64, generator=random)
    y = torch.randn(2, *each.map.out_shape, dtype=torch.float64, generator=random)
    forth, back = (each.apply(x) * y).sum(), (x * each.transpose(y)).sum()
    np.testing.assert_allclose(forth, back, rtol=1e-12, atol=1e-11)


@property_test
@given(links(st.one_of(convolutions(), lists())))
def test_sums_of_every_part_are_the_row_and_column_sums_of_the_matrix(each):
    inputs = each.source_nodes.size
    edges = each.coo()
    matrix = dense(edges._replace(targets=edges.targets - inputs), (inputs, each.target_nodes.size))
    for part, expected in NUMPY_PARTS.items():
        per_output, per_input = each.sums(part)
        assert per_output.shape == each.map.out_shape
        assert per_input.shape == each.map.in_shape
        np.testing.assert_array_equal(per_output.reshape(-1), expected(matrix).sum(0))
        np.testing.assert_array_equal(per_input.reshape(-1), expected(matrix).sum(1))


@property_test
@given(links(st.one_of(convolutions(), lists())), st.sampled_from([1, 7, 50, 1 << 18]))
def test_counts_of_edges_agree_with_the_edges_listed_in_blocks_of_any_size(each, block_edges):
    blocks = list(each.blocks(block_edges))
    assert each.nnz == sum(len(block.weights) for block in blocks) == len(each.coo().weights)
    of_row = np.zeros(each.source_nodes.size, np.int64)
    weights = np.zeros((each.source_nodes.size, each.target_nodes.size))
    for block in each.map.rows(each.kernel().numpy(), block_edges):
        counts = block.counts.reshape(-1)
        of_row[block.first : block.first + counts.size] += counts
        rows = np.repeat(np.arange(block.first, block.first + counts.size), counts)
        np.add.at(weights, (rows, block.targets.reshape(-1)), block.weights.reshape(-1))
    np.testing.assert_array_equal(of_row, each.map.row_counts().reshape(-1))  # zeros of the kernel counted
    edges = each.coo()
    np.testing.assert_array_equal(
        weights, dense(edges._replace(targets=edges.targets - each.source_nodes.size), weights.shape)
    )


@property_test
@given(convolutions())
def test_multiplicities_count_the_edges_that_carry_each_kernel_entry(geometry):
    number = torch.arange(1.0, 1 + np.prod(geometry.kernel_shape), dtype=torch.float64)
    edges = linked(geometry, number.reshape(geometry.kernel_shape)).coo()
    carried = np.bincount(edges.weights.astype(int), minlength=len(number) + 1)[1:]
    expected = np.broadcast_to(geometry.multiplicities(), geometry.kernel_shape)
    np.testing.assert_array_equal(carried, expected.reshape(-1))


def test_a_map_without_edges_has_none_in_every_view():
    for geometry in (Convolution(3, 0), Convolution(0, 3), Convolution(2, 2, copies=0)):
        each = linked(geometry, torch.zeros(geometry.kernel_shape, dtype=torch.float64))
        assert each.nnz == 0
        assert len(each.coo().weights) == 0
        assert [s.sum() for s in each.sums("abs")] == [0, 0]
        assert each.apply(torch.ones(2, *geometry.in_shape, dtype=torch.float64)).shape == (2, *geometry.out_shape)
    nothing = linked(Listed(2, 3, np.zeros(0, np.int64), np.zeros(0, np.int64)), torch.zeros(0))
    assert nothing.nnz == 0
    assert nothing.coo().weights.dtype == np.float32


# --- torch's own operations are the oracle for geometry --------------------------------------------------------------


@property_test
@given(st.integers(1, 3), st.data(), st.booleans(), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))
def test_a_sliding_map_is_the_convolution_of_torch(axes, data, transposed, groups, ins, outs):
    def each(low, high):
        return tuple(data.draw(st.integers(low, high)) for _ in range(axes))

    taps, stride, dilation, padding = each(1, 3), each(1, 2), each(1, 2), each(0, 2)
    length = tuple(k * d + 4 + extra for k, d, extra in zip(taps, dilation, each(0, 2), strict=True))
    random = torch.Generator().manual_seed(0)
    kernel = torch.randn(groups * outs, ins, *taps, dtype=torch.float64, generator=random)
    x = torch.randn(2, groups * ins, *length, dtype=torch.float64, generator=random)
    if transposed:
        run = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
        swapped = kernel.reshape(groups, outs, ins, *taps).transpose(1, 2).flatten(0, 1)
        extra = tuple(min(s, d) - 1 for s, d in zip(stride, dilation, strict=True))
        expected = run(x, swapped, None, stride, padding, extra, groups, dilation)
        make = Axis.transposed
    else:
        run = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
        expected = run(x, kernel, None, stride, padding, dilation, groups)
        make = Axis.convolution
    geometry = Convolution(
        groups * ins,
        groups * outs,
        tuple(
            make(length[i], expected.shape[2 + i], taps[i], stride=stride[i], dilation=dilation[i], padding=padding[i])
            for i in range(axes)
        ),
        groups,
    )
    found = linked(geometry, kernel).apply(x.unsqueeze(1))[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    irregular = replace(geometry, axes=tuple(replace(axis, sliding=None) for axis in geometry.axes))
    np.testing.assert_allclose(irregular.apply(x.unsqueeze(1), kernel)[:, 0], expected, rtol=1e-12, atol=1e-12)


def test_a_convolution_three_wide_with_padding_has_the_edges_counted_by_hand():
    axis = Axis.convolution(4, 4, 3, stride=1, dilation=1, padding=1)
    each = linked(Convolution(2, 5, (axis, axis)), torch.ones(5, 2, 3, 3))
    assert each.nnz == 2 * 5 * 10 * 10  # of 12 tap positions along an axis two lie in the padding
    per_output, per_input = each.sums()
    np.testing.assert_array_equal(per_output[0, 0], 2 * np.outer([2, 3, 3, 2], [2, 3, 3, 2]))
    np.testing.assert_array_equal(per_input[0, 0], 5 * np.outer([2, 3, 3, 2], [2, 3, 3, 2]))


def test_windows_of_the_same_kind_share_a_tap():
    windows = [Window(np.array([0, 1]), 2, 2), Window(np.array([2, 3]), 2, 2), Window(np.array([4]), 1, 1)]
    axis, weights = Axis.windows(5, windows)
    assert axis.taps == 2
    each = linked(Convolution(1, 1, (axis,)), torch.from_numpy(weights).reshape(1, 1, -1))
    np.testing.assert_array_equal(each.apply(torch.arange(5.0)[None, None, None].double()).reshape(-1), [0.5, 2.5, 4.0])


def test_positions_that_read_few_of_many_different_weights_take_memory_for_those_only():
    random, size, reads = np.random.default_rng(0), 32, 4
    matrices = [np.zeros((size, size)) for _ in range(2)]
    for matrix in matrices:  # as interpolation is: each output reads a few neighbours, with weights of its own
        for row in matrix:
            row[random.permutation(size)[:reads]] = random.random(reads)
    (first, of_first), (second, of_second) = map(Axis.linear, matrices)
    kernel = torch.from_numpy(np.multiply.outer(of_first, of_second))[None, None]
    x = torch.from_numpy(random.random((1, 1, 1, size, size)))
    found, peak = tensors_peak_of(Convolution(1, 1, (first, second)).apply, x, kernel)
    np.testing.assert_allclose(found[0, 0, 0], matrices[0] @ x[0, 0, 0].numpy() @ matrices[1].T, rtol=1e-12)
    assert peak < 1e6 + 4 * kernel.nbytes


# --- nodes that stand in several elements, elements that are no node --------------------------------------------------


@st.composite
def irregular(draw):
    """Draw links whose sources repeat and have gaps, and whose targets may repeat."""
    each = draw(links(st.one_of(convolutions(), lists())))
    inputs, outputs = each.source_nodes.size, each.target_nodes.size
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    nodes = draw(st.integers(1, max(1, inputs)))
    source = random.integers(-1, nodes, each.map.in_shape)
    target = np.arange(outputs) + nodes
    if draw(st.booleans()):
        target = nodes + random.integers(0, max(1, outputs), outputs)
    return linked(each.map, each.kernel(), source, target.reshape(each.map.out_shape)), nodes + outputs


@property_test
@given(irregular(), st.sampled_from([1, 30, 1 << 18]))
def test_taps_that_join_the_same_nodes_are_one_edge_whose_weight_is_their_sum(drawn, block_edges):
    each, count = drawn
    by_element = matrix_of_any(each)
    expected = np.zeros((count, count))
    source, target = each.source_nodes.flat, each.target_nodes.flat
    for i, j in zip(*by_element.nonzero(), strict=True):
        if source[i] >= 0:
            expected[source[i], target[j]] += by_element[i, j]
    np.testing.assert_array_equal(dense(each.coo(), expected.shape), expected)
    assert each.nnz == np.count_nonzero(expected)
    blocks = list(each.blocks(block_edges))
    found = np.zeros_like(expected)
    for block in blocks:
        np.add.at(found, (block.sources, block.targets), block.weights)
    np.testing.assert_array_equal(found, expected)
    assert sum(len(block.weights) for block in blocks) == each.nnz
    for part, of in NUMPY_PARTS.items():
        into, out_of = np.zeros(count), np.zeros(count)
        each.add_strengths(into, out_of, part)
        np.testing.assert_array_equal(into, of(expected).sum(0))
        np.testing.assert_array_equal(out_of, of(expected).sum(1))


def matrix_of_any(each):
    if isinstance(each.map, Listed):
        dense = np.zeros((each.map.inputs, each.map.outputs))
        dense[each.map.source, each.map.target] = each.kernel()
        return dense
    return matrix_of(each.map, each.kernel())


@pytest.mark.parametrize("mode", ["reflect", "circular", "replicate"])
def test_padding_by_repetition_makes_edges_that_carry_the_sum_of_several_taps(mode):
    positions = F.pad(torch.arange(4.0)[None, None], (1, 1), mode=mode)[0, 0].long().numpy()
    axis = Axis.convolution(6, 4, 3, stride=1, dilation=1, padding=0)
    kernel = torch.tensor([[[1.0, 10.0, 100.0]]], dtype=torch.float64)
    each = linked(Convolution(1, 1, (axis,)), kernel, positions[None, None], np.arange(4, 8)[None, None])
    matrix = dense(each.coo(), (4, 8))[:, 4:]
    first, last = {
        "reflect": ([10, 101, 0, 0], [0, 0, 101, 10]),
        "circular": ([10, 100, 0, 1], [100, 0, 1, 10]),
        "replicate": ([11, 100, 0, 0], [0, 0, 1, 110]),
    }[mode]
    np.testing.assert_array_equal(matrix.T, [first, [1, 10, 100, 0], [0, 1, 10, 100], last])


def test_weights_of_opposite_sign_between_the_same_nodes_are_no_edge():
    each = linked(Convolution(2, 1), torch.tensor([[2.0, -2.0]]), np.array([[0, 0]]), np.array([[1]]))
    assert each.nnz == 0
    into, out_of = np.zeros(2), np.zeros(2)
    each.add_strengths(into, out_of, "abs")
    assert into.tolist() == out_of.tolist() == [0, 0]


# --- sums over a kernel ----------------------------------------------------------------------------------------------

AROUND_SMALL = [(256, 256), (256, 257), (257, 255), (1, 65537), (65537, 1), (3, 30011), (30011, 3), (1031, 512)]


@pytest.fixture(params=["with numba", "without numba"])
def numba(request, monkeypatch):
    """Run with the compiled loop, and with the blocks that stand in for it where numba is absent."""
    if request.param == "with numba":
        pytest.importorskip("numba")
        assert sums.compiled_sums() is not None
        monkeypatch.setattr(sums, "LARGE", 0)  # whatever size the loop is kept for
    else:
        monkeypatch.setattr(sums, "compiled_sums", lambda: None)


@pytest.mark.usefixtures("numba")
@pytest.mark.parametrize("shape", AROUND_SMALL, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["C", "F", "strided"])
def test_sums_of_a_dense_matrix_are_those_of_float64(shape, dtype, layout):
    random = np.random.default_rng(1)
    matrix = (random.standard_normal(shape) * 0.1 + 0.05).astype(dtype)
    matrix[random.random(shape) < 0.1] = 0
    if layout == "strided":
        matrix = np.repeat(matrix, 2, axis=1)[:, ::2]
    else:
        matrix = np.asarray(matrix, order=layout)
    # float32 weights are accumulated over short panels before they are widened: the error is a few units in the last
    # place of float32 (6e-8; sums of up to 512 terms) relative to the sum of absolute values. In float64 only the
    # order of summation differs.
    tolerance = 1e-6 if dtype == np.float32 else 1e-12
    for part, of in NUMPY_PARTS.items():
        wide = of(matrix.astype(np.float64))
        for found, axis in zip(dense_sums(matrix, part), (1, 0), strict=True):
            assert found.dtype == np.float64
            np.testing.assert_array_less(
                np.abs(found - wide.sum(axis)), tolerance * np.abs(wide).sum(axis) + 1e-300, err_msg=part
            )


@pytest.mark.usefixtures("numba")
@pytest.mark.parametrize("shape", [(1, 200_001), (200_001, 1), (300_007, 2)], ids=str)
def test_weights_of_one_sign_lose_nothing_in_long_thin_matrices(shape):
    matrix = np.full(shape, 0.1, np.float32)
    wide = matrix.astype(np.float64)
    for part in PARTS:
        for found, axis in zip(dense_sums(matrix, part), (1, 0), strict=True):
            expected = NUMPY_PARTS[part](wide).sum(axis)
            np.testing.assert_allclose(found, expected, rtol=4e-7, err_msg=part)


@pytest.mark.usefixtures("numba")
@pytest.mark.parametrize("shape", [(300, 300), (20, 20)])
def test_nan_and_infinity_reach_the_sums_of_their_row_and_column_only(shape):
    matrix = np.ones(shape, np.float32)
    matrix[3, 5], matrix[7, 9] = np.nan, np.inf
    for part in ("signed", "abs"):
        rows, columns = dense_sums(matrix, part)
        assert np.flatnonzero(np.isnan(rows)).tolist() == [3]
        assert np.flatnonzero(np.isnan(columns)).tolist() == [5]
        assert np.flatnonzero(np.isinf(rows)).tolist() == [7]
        assert np.flatnonzero(np.isinf(columns)).tolist() == [9]


@property_test
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.lists(st.integers(1, 3), max_size=3))
def test_sums_of_a_grouped_kernel_run_over_its_own_group(groups, ins, outs, taps):
    kernel = np.random.default_rng(0).integers(-3, 4, (groups * outs, ins, *taps)).astype(np.float64)
    for part, of in NUMPY_PARTS.items():
        per_output, per_input = kernel_sums(torch.from_numpy(kernel), groups, part)
        np.testing.assert_array_equal(per_output, of(kernel).sum(1))
        expected = [of(kernel[g * outs : (g + 1) * outs]).sum(0) for g in range(groups)]
        np.testing.assert_array_equal(per_input, np.concatenate(expected))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_before_it_is_summed(dtype):
    kernel = torch.full((300, 400), 0.5, dtype=dtype)
    per_output, per_input = kernel_sums(kernel, 1, "signed")
    assert set(per_output) == {200.0}
    assert set(per_input) == {150.0}
