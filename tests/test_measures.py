"""Measures come from the weights alone, and equal what the unrolled graph gives in three libraries."""

from __future__ import annotations

from itertools import pairwise

import igraph
import networkx as nx
import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

import dnn2graph as dg
from tests.strategies import Net, architectures, fill

property_test = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

GRANULARITIES = ["channel", "position"]
PARTS = {"signed": lambda w: w, "abs": np.abs, "positive": lambda w: w.clip(0), "negative": lambda w: w.clip(None, 0)}


def edges(graph, kinds=None):
    """Unroll a graph: sources, targets, weights in float64."""
    blocks = [block for _, block in graph.blocks(kinds)]
    if not blocks:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    sources, targets, weights = (np.concatenate(part) for part in zip(*blocks, strict=True))
    return sources, targets, weights.astype(np.float64)


@st.composite
def traced(draw, most=4):
    """Draw a graph of a random architecture, of a random granularity, a tenth of its weights pruned."""
    case = draw(architectures(most=most))
    with torch.no_grad():
        for i, parameter in enumerate(case.model.parameters()):
            parameter[torch.rand(parameter.shape, generator=torch.Generator().manual_seed(i)) < 0.1] = 0
    granularity = draw(st.sampled_from(GRANULARITIES))
    aggregate = draw(st.sampled_from(["sum", "mean", "l1", "l2", "maxabs"]))
    return dg.from_torch(case.model, case.x, granularity, aggregate, simplify=draw(st.booleans()))


# --- strength --------------------------------------------------------------------------------------------------------


@property_test
@given(traced(), st.sampled_from([*PARTS]))
def test_strengths_are_the_sums_of_the_unrolled_edges_of_igraph_and_of_networkx(graph, part):
    n = graph.number_of_nodes()
    sources, targets, weights = edges(graph)
    weights = PARTS[part](weights)
    as_igraph = igraph.Graph(n, list(zip(sources.tolist(), targets.tolist(), strict=True)), directed=True)
    as_igraph.es["weight"] = weights.tolist()
    as_networkx = nx.MultiDiGraph()
    as_networkx.add_nodes_from(range(n))
    as_networkx.add_weighted_edges_from(zip(sources.tolist(), targets.tolist(), weights.tolist(), strict=True))
    expected = {
        "in": (np.bincount(targets, weights, n), "in", as_networkx.in_degree),
        "out": (np.bincount(sources, weights, n), "out", as_networkx.out_degree),
        "total": (np.bincount(targets, weights, n) + np.bincount(sources, weights, n), "all", as_networkx.degree),
    }
    size = np.bincount(targets, np.abs(weights), n) + np.bincount(sources, np.abs(weights), n)
    for both, direction in zip(dg.directed_strengths(graph, part), ("in", "out"), strict=True):
        np.testing.assert_array_equal(both, dg.strength(graph, direction, part))
    for direction, (sums, mode, degree) in expected.items():
        found = dg.strength(graph, direction, part)
        assert found.dtype == np.float64
        of_igraph = as_igraph.strength(mode=mode, weights="weight")
        of_networkx = [degree(weight="weight")[node] for node in range(n)]
        for theirs in (sums, of_igraph, of_networkx):
            # Relative to the sum of absolute values: signed weights may cancel.
            np.testing.assert_array_less(np.abs(found - theirs), 1e-9 * size + 1e-300, err_msg=direction)


@property_test
@given(traced(), st.sampled_from(["weight", "unit", "pool", "gate"]))
def test_kinds_select_the_links_that_count(graph, kind):
    n = graph.number_of_nodes()
    sources, targets, weights = edges(graph, (kind,))
    assert len(weights) == graph.number_of_edges((kind,)) == graph.number_of_edges(kind)
    expected = np.bincount(targets, weights, n) + np.bincount(sources, weights, n)
    np.testing.assert_allclose(dg.strength(graph, kinds=(kind,)), expected, rtol=1e-9, atol=1e-12)
    every = sum(dg.strength(graph, kinds=each) for each in ("weight", "unit", "pool", "gate", "recurrent"))
    np.testing.assert_allclose(dg.strength(graph), every, rtol=1e-9, atol=1e-12)


@property_test
@given(traced())
def test_fluctuation_is_the_population_standard_deviation_of_a_layer(graph):
    for weight in PARTS:
        values = dg.strength(graph, weight=weight)
        expected = [np.std(values[layer.start : layer.stop], ddof=0) for layer in graph.layers]
        found = dg.fluctuation(graph, weight=weight)
        assert found.shape == (len(graph.layers),)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


@property_test
@given(traced())
def test_every_edge_is_counted_and_none_is_zero(graph):
    sources, _, weights = edges(graph)
    assert len(weights) == graph.number_of_edges() == graph.estimate().edges
    assert np.all(weights != 0)
    assert sources.min(initial=0) >= 0
    for links in graph.links:
        assert sum(len(block.weights) for block in links.blocks()) == links.nnz
        pairs = np.stack([links.coo().sources, links.coo().targets])
        assert np.unique(pairs, axis=1).shape == pairs.shape


@property_test
@given(traced())
def test_edges_lead_from_earlier_to_later_layers(graph):
    layer_of = graph.layer_of()
    for links, block in graph.blocks():
        ascends = layer_of[block.sources] < layer_of[block.targets]
        assert ascends.all() or links.kind == "recurrent"
        assert set(layer_of[block.targets].tolist()) <= {graph.layers.index(links.target)}
        assert set(layer_of[block.sources].tolist()) <= {graph.layers.index(layer) for layer in links.sources}


# --- by hand ---------------------------------------------------------------------------------------------------------


def tiny():
    """Two inputs, three hidden neurons, one output; edges 1 -2 3 | 4 0 -6 and 7 -8 9, biases 10 20 30 and 40."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 4], [-2, 0], [3, -6]]))
        model[0].bias.copy_(torch.tensor([10.0, 20, 30]))
        model[2].weight.copy_(torch.tensor([[7.0, -8, 9]]))
        model[2].bias.fill_(40)
    return dg.from_torch(model, torch.zeros(1, 2))


BY_HAND = {  # for each node: into it, out of it
    "signed": ([0, 0, 5, -2, -3, 8], [2, -2, 7, -8, 9, 0]),
    "abs": ([0, 0, 5, 2, 9, 24], [6, 10, 7, 8, 9, 0]),
    "positive": ([0, 0, 5, 0, 3, 16], [4, 4, 7, 0, 9, 0]),
    "negative": ([0, 0, 0, -2, -6, -8], [-2, -6, 0, -8, 0, 0]),
}


@pytest.mark.parametrize("weight", BY_HAND)
def test_strengths_of_a_tiny_network(weight):
    into, out_of = map(np.array, BY_HAND[weight])
    graph = tiny()
    assert dg.strength(graph, "in", weight).tolist() == into.tolist()
    assert dg.strength(graph, "out", weight).tolist() == out_of.tolist()
    assert dg.strength(graph, "total", weight).tolist() == (into + out_of).tolist()
    assert dg.strength(graph, weight=weight, kinds=()).tolist() == [0] * 6


def test_the_bias_counts_as_an_edge_into_its_neuron_if_asked_for():
    graph = tiny()
    bias = [0, 0, 10, 20, 30, 40]
    assert graph.bias().tolist() == bias
    plain = dg.strength(graph)
    assert (dg.strength(graph, bias=True) - plain).tolist() == bias
    assert (dg.strength(graph, "in", bias=True) - dg.strength(graph, "in")).tolist() == bias
    assert dg.strength(graph, "out", bias=True).tolist() == dg.strength(graph, "out").tolist()


def test_fluctuations_of_a_tiny_network():
    # strengths 2 -2 | 12 -10 6 | 8
    np.testing.assert_allclose(dg.fluctuation(tiny()), [2, np.sqrt((144 + 100 + 36) / 3 - (8 / 3) ** 2), 0], rtol=1e-12)
    np.testing.assert_allclose(dg.fluctuation(tiny(), "in"), [0, np.std([5, -2, -3]), 0], rtol=1e-12)
    np.testing.assert_allclose(dg.fluctuation(tiny(), bias=True), [2, np.std([22, 10, 36]), 0], rtol=1e-12)


def test_link_weights_of_a_tiny_network():
    table = dg.link_weights(tiny())
    assert table["source"].tolist() == ["input", "0"]
    assert table["target"].tolist() == ["0", "2"]
    assert table["kind"].tolist() == ["weight", "weight"]
    assert table["count"].tolist() == [5, 3]  # the weight of exactly zero is no edge
    assert table["mean"].tolist() == pytest.approx([0, 8 / 3])
    assert table["std"].tolist() == pytest.approx([np.sqrt(66 / 5), np.std([7, -8, 9])])
    assert table["min"].tolist() == [-6, -8]
    assert table["max"].tolist() == [4, 9]
    assert table["l1"].tolist() == [16, 24]
    assert table["l2"].tolist() == pytest.approx([np.sqrt(66), np.sqrt(49 + 64 + 81)])


def test_strengths_of_a_padded_convolution_are_exact_at_its_borders():
    model = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.ones_(model.weight)
    graph = dg.from_torch(model, torch.zeros(1, 1, 3, 3), granularity="position")
    reach = np.outer([2, 3, 2], [2, 3, 2]).reshape(-1)
    assert dg.strength(graph, "in")[9:].tolist() == reach.tolist()
    assert dg.strength(graph, "out")[:9].tolist() == reach.tolist()


def test_pruned_weights_are_no_edges_in_any_measure():
    model = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    fill(model, 0)
    prune.random_unstructured(model[0], "weight", 10)
    prune.l1_unstructured(model[3], "weight", 20)
    graph = dg.from_torch(model, torch.zeros(1, 2, 4), granularity="position")
    kept = model[0].weight_mask.numpy()
    reach = np.array([3, 4, 3])  # positions that a tap meets
    assert graph.links[0].nnz == int((kept * reach).sum())
    assert graph.links[1].nnz == 4
    assert dg.link_weights(graph)["count"].tolist() == [int((kept * reach).sum()), 4]
    assert set(graph.parameters()) >= {"0.weight_orig", "0.weight_mask"}


def test_measures_do_not_need_the_unrolled_graph(monkeypatch):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    model.append(nn.Linear(4 * 8 * 8, 5))
    graph = dg.from_torch(model, torch.zeros(1, 3, 16, 16), granularity="position")

    def refuse(*_):
        raise AssertionError("unrolled")

    monkeypatch.setattr(dg.Links, "blocks", refuse)
    assert dg.strength(graph).shape == (graph.number_of_nodes(),)
    assert graph.number_of_edges() == 3 * 4 * 46**2 + 4 * 256 + 4 * 64 * 5
    assert dg.link_weights(graph)["count"].sum() == graph.number_of_edges()
    assert len(dg.layer_table(graph)) == len(graph.layers)


@pytest.mark.parametrize(
    "options", [{"direction": "both"}, {"weight": "squared"}, {"convention": "paper"}, {"kinds": ("weights",)}], ids=str
)
def test_an_unknown_option_is_told(options):
    (value,) = options.values()
    with pytest.raises(dg.InputError, match=value if isinstance(value, str) else value[0]):
        dg.strength(tiny(), **options)
    with pytest.raises(dg.InputError, match="signed"):
        dg.strength(tiny(), weight="abs", convention="reference")


# --- link weights ----------------------------------------------------------------------------------------------------


@property_test
@given(traced())
def test_link_weights_are_the_statistics_of_the_unrolled_edges(graph):
    table = dg.link_weights(graph)
    assert len(table) == len(graph.links)
    for (_, row), links in zip(table.iterrows(), graph.links, strict=True):
        weights = links.coo().weights.astype(np.float64)
        assert row["target"] == links.target.name
        assert row["kind"] == links.kind
        assert row["count"] == len(weights)
        if not len(weights):
            assert np.isnan(row["mean"])
            assert row["l1"] == row["l2"] == 0
            continue
        spread = np.abs(weights).max()
        np.testing.assert_allclose(row["mean"], weights.mean(), rtol=1e-9, atol=1e-12 * spread)
        np.testing.assert_allclose(row["std"], weights.std(), rtol=1e-9, atol=1e-12 * spread)
        np.testing.assert_allclose(row["l1"], np.abs(weights).sum(), rtol=1e-12)
        np.testing.assert_allclose(row["l2"], np.sqrt(np.square(weights).sum()), rtol=1e-12)
        assert row["min"] == weights.min()
        assert row["max"] == weights.max()
        if weights.std() > 1e-6 * spread:
            np.testing.assert_allclose(row["skewness"], scipy.stats.skew(weights), rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(row["kurtosis"], scipy.stats.kurtosis(weights), rtol=1e-7, atol=1e-9)
        elif weights.std() == 0:
            assert np.isnan(row["skewness"])
            assert np.isnan(row["kurtosis"])


def test_link_weights_of_a_large_layer_are_summed_in_blocks():
    model = nn.Linear(1000, 700, bias=False)
    fill(model, 0)
    row = dg.link_weights(dg.from_torch(model, torch.zeros(1, 1000))).iloc[0]
    weights = model.weight.detach().double().numpy().reshape(-1)
    assert row["count"] == 700_000
    np.testing.assert_allclose(row["mean"], weights.mean(), rtol=1e-10)
    np.testing.assert_allclose(row["std"], weights.std(), rtol=1e-10)
    np.testing.assert_allclose(row["skewness"], scipy.stats.skew(weights), rtol=1e-7)
    np.testing.assert_allclose(row["kurtosis"], scipy.stats.kurtosis(weights), rtol=1e-7)


@property_test
@given(traced(most=3))
def test_the_layer_table_says_what_the_measures_say(graph):
    table = dg.layer_table(graph)
    values = dg.strength(graph)
    assert table["layer"].tolist() == [layer.name for layer in graph.layers]
    assert table["nodes"].tolist() == [layer.size for layer in graph.layers]
    assert table["in_edges"].sum() == graph.number_of_edges()
    np.testing.assert_allclose(table["fluctuation"], dg.fluctuation(graph), rtol=1e-9, atol=1e-12)
    for (_, row), layer in zip(table.iterrows(), graph.layers, strict=True):
        mine = values[layer.start : layer.stop]
        np.testing.assert_allclose(row["strength_mean"], mine.mean(), rtol=1e-9, atol=1e-12)
        assert (row["strength_min"], row["strength_max"]) == (mine.min(), mine.max())


# --- the paper's published code --------------------------------------------------------------------------------------
#
# Written anew from its description. A dense weight is (in, out), a kernel (height, width, in, out), an image
# (height, width, channels); strengths of feature maps come channel first.


def published_dense(weights, biases):
    """Strength of each layer of a fully connected network."""
    strengths = [weights[0].sum(-1) + 1]
    for (into, out_of), bias in zip(pairwise(weights), biases[:-1], strict=True):
        strengths.append(out_of.sum(-1) + (into.sum(0) + bias))
    return [*strengths, weights[-1].sum(0) + 1 + biases[-1]]


def published_convolution(shape, kernel, bias, stride, padding):
    """Strength that a convolution gives to its input and to its output: six loops, then both cropped alike."""
    height, width, channels = shape[0] + 2 * padding, shape[1] + 2 * padding, shape[2]
    taps_y, taps_x, _, kernels = kernel.shape
    rows, columns = (height - taps_y) // stride + 1, (width - taps_x) // stride + 1
    of_input, of_output = np.zeros((channels, height, width)), np.zeros((kernels, rows, columns))
    for i in range(channels):
        for k in range(kernels):
            for y in range(0, height - taps_y + 1, stride):
                for x in range(0, width - taps_x + 1, stride):
                    for n in range(taps_y):
                        for m in range(taps_x):
                            of_input[i, y + n, x + m] += kernel[n, m, i, k]
    for k in range(kernels):
        for y in range(rows):
            for x in range(columns):
                of_output[k, y, x] = kernel[:, :, :, k].sum() + bias[k]
    crop = slice(padding, height - padding), slice(padding, width - padding)
    return of_input[:, crop[0], crop[1]], of_output[:, crop[0], crop[1]]


def as_published(layer):
    """Return a layer's weight and bias as the published code holds them."""
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    return weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T, bias


def convolutional(stride=1, padding=0, size=8):
    after = [size]
    for _ in range(2):
        after.append((after[-1] + 2 * padding - 3) // stride + 1)
    parts = [nn.Conv2d(2, 3, 3, stride, padding), nn.ReLU(), nn.Conv2d(3, 4, 3, stride, padding), nn.ReLU()]
    model = fill(nn.Sequential(*parts, nn.Flatten(), nn.Linear(4 * after[-1] ** 2, 5)), 0).double()
    graph = dg.from_torch(model, torch.zeros(1, 2, size, size, dtype=torch.float64), granularity="position")
    first, second = as_published(model[0]), as_published(model[2])
    loops = [
        published_convolution((size, size, 2), *first, stride, padding),
        published_convolution((after[1], after[1], 3), *second, stride, padding),
    ]
    return graph, loops, as_published(model[5])


def by_layer(graph, values):
    return [values[layer.start : layer.stop] for layer in graph.layers]


@pytest.mark.parametrize("sizes", [(4, 3), (6, 5, 3), (7, 6, 5, 4, 3)], ids=str)
def test_the_published_strengths_of_dense_networks_are_those_of_the_reference_convention(sizes):
    parts = []
    for inputs, outputs in pairwise(sizes):
        parts += [nn.Linear(inputs, outputs), nn.ReLU()]
    model = fill(nn.Sequential(*parts[:-1]), 0).double()
    graph = dg.from_torch(model, torch.zeros(1, sizes[0], dtype=torch.float64))
    weights, biases = zip(*[as_published(part) for part in parts[::2]], strict=True)
    expected = published_dense(weights, biases)
    for found, theirs in zip(by_layer(graph, dg.strength(graph, convention="reference")), expected, strict=True):
        np.testing.assert_allclose(found, theirs, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        dg.fluctuation(graph, convention="reference"), [theirs.std() for theirs in expected], rtol=1e-10, atol=1e-14
    )


@pytest.mark.parametrize(("stride", "size"), [(1, 8), (2, 11)])
def test_the_published_loops_over_convolutions_agree_with_the_reference_convention_without_padding(stride, size):
    graph, loops, (dense, bias) = convolutional(stride=stride, size=size)
    expected = [
        1 + loops[0][0].reshape(-1),
        loops[0][1].reshape(-1) + loops[1][0].reshape(-1),
        loops[1][1].reshape(-1) + dense.sum(-1),
        dense.sum(0) + bias + 1,
    ]
    found = by_layer(graph, dg.strength(graph, convention="reference"))
    assert [len(each) for each in found] == [len(each) for each in expected]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_the_reference_convention_departs_from_the_formula_by_the_bias_and_a_constant_one():
    graph, *_ = convolutional()
    departure = dg.strength(graph, convention="reference") - dg.strength(graph)
    first, *_, last = (slice(layer.start, layer.stop) for layer in graph.layers)
    expected = graph.bias()
    expected[first] += 1
    expected[last] += 1
    np.testing.assert_allclose(departure, expected, rtol=1e-9, atol=1e-12)
    # A constant does not change a standard deviation; a bias that differs between neurons does.
    plain, theirs = dg.fluctuation(graph), dg.fluctuation(graph, convention="reference")
    assert theirs[0] == pytest.approx(plain[0], rel=1e-12)
    assert not np.allclose(theirs[1:], plain[1:])


def test_the_published_loops_depart_from_the_formulas_where_there_is_padding():
    size, padding = 6, 1
    graph, loops, _ = convolutional(padding=padding, size=size)
    (into_input, into_output), bias = loops[0], graph.bias()
    # The input's side is right: taps that fall on the padding are cropped away.
    out_of = dg.strength(graph, "out")
    np.testing.assert_allclose(into_input.reshape(-1), by_layer(graph, out_of)[0], rtol=1e-12, atol=1e-12)
    # The output's side is cropped too, though it was never padded: the last rows and columns are missing, and it has
    # another shape than the next layer's input side, to which it should be added.
    assert into_output.shape == (3, size - padding, size - padding)
    assert loops[1][0].shape == (3, size, size)
    # Every output gets the whole kernel's sum, also at the border, where some of its taps meet nothing.
    strengths = by_layer(graph, dg.strength(graph, "in") + bias)[1].reshape(3, size, size)
    whole = into_output[:, :1, :1]
    inside = strengths[:, 1:-1, 1:-1]
    np.testing.assert_allclose(inside, np.broadcast_to(whole, inside.shape), rtol=1e-12, atol=1e-12)
    border = np.ones((size, size), bool)
    border[1:-1, 1:-1] = False
    assert np.abs(strengths[:, border] - whole[:, 0]).min() > 1e-3


def test_the_published_order_of_positions_differs_from_the_dense_layer_behind_it():
    # The published code adds maps that it flattens channel first to rows of a weight that counts channels last. Here
    # both count channels first, as torch does; the difference is only an order within the layer.
    graph, loops, (dense, _) = convolutional()
    first, last = loops[1][1], dense.sum(-1).reshape(loops[1][1].shape)
    ours = by_layer(graph, dg.strength(graph, convention="reference"))[2]
    np.testing.assert_allclose(ours, (first + last).reshape(-1), rtol=1e-12, atol=1e-12)
    misaligned = first.reshape(-1) + last.transpose(1, 2, 0).reshape(-1)
    assert not np.allclose(ours, misaligned)
    assert ours.sum() == pytest.approx(misaligned.sum())


def test_a_layer_that_only_a_recurrent_or_residual_link_enters_still_has_its_side():
    model = fill(Net(lambda self, x: self.a(x) + x, a=nn.Linear(3, 3)), 0)
    graph = dg.from_torch(model, torch.zeros(1, 3))
    departure = dg.strength(graph, convention="reference") - dg.strength(graph) - graph.bias()
    ones = [1] * 3 + [0] * (len(graph) - 6) + [1] * 3
    np.testing.assert_allclose(departure, ones, atol=1e-12)
