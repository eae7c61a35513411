"""Traced graphs of tiny networks, counted and weighed by hand."""

from __future__ import annotations

import re
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import dnn2graph as dg
from tests.networks import overwritten_in_place
from tests.strategies import Net

GRANULARITIES = ["channel", "position"]
both = pytest.mark.parametrize("granularity", GRANULARITIES)


def tensor(values):
    return torch.tensor(values, dtype=torch.float32)


def put(module, weight=None, bias=None):
    """Set a module's weight, in the order in which it stands, and its bias."""
    with torch.no_grad():
        if weight is not None:
            module.weight.copy_(tensor(weight).reshape(module.weight.shape))
        if getattr(module, "bias", None) is not None:
            module.bias.copy_(tensor(0.0 if bias is None else bias).expand(module.bias.shape))
    return module


def linear(weight, bias=None):
    """Make a dense layer from its weight (out, in)."""
    return put(nn.Linear(len(weight[0]), len(weight), bias=bias is not None), weight, bias)


def conv1d(weight, bias=None, **options):
    """Make a convolution over one axis from its weight (out, in / groups, taps)."""
    weight = tensor(weight)
    made = nn.Conv1d(weight.shape[1] * options.get("groups", 1), *weight.shape[::2], bias=bias is not None, **options)
    return put(made, weight.tolist(), bias)


def edges(graph, kinds=None):
    """List the edges as {(source, target): weight}; two links may not hold the same edge here."""
    found = {}
    for _, block in graph.blocks(kinds):
        for i, j, w in zip(block.sources.tolist(), block.targets.tolist(), block.weights.tolist(), strict=True):
            assert (i, j) not in found
            found[i, j] = w
    assert len(found) == graph.number_of_edges(kinds)
    return found


def between(graph, source, target, kinds=None):
    """Return the weights from one layer to another as a matrix (source nodes, target nodes)."""
    one, other = graph.layer(source), graph.layer(target)
    matrix = np.zeros((one.size, other.size))
    for (i, j), w in edges(graph, kinds).items():
        if one.start <= i < one.stop and other.start <= j < other.stop:
            matrix[i - one.start, j - other.start] = w
    return matrix


def names(graph):
    return [layer.name for layer in graph.layers]


def layer_kinds(graph):
    return [layer.kind for layer in graph.layers]


def link_kinds(graph):
    return {(", ".join(s.name for s in each.sources), each.target.name): each.kind for each in graph.links}


def trace(model, *shape, **options):
    """Trace a model on zeros of a shape; ones and more are never needed: values do not matter."""
    return dg.from_torch(model, torch.zeros(shape), **options)


def same(one, other):
    """Whether two graphs have the same layers and the same edges."""
    return (
        [(x.name, x.kind, x.shape, x.activation) for x in one.layers]
        == [(x.name, x.kind, x.shape, x.activation) for x in other.layers]
        and edges(one) == edges(other)
        and one.bias().tolist() == other.bias().tolist()
    )


# --- dense layers ----------------------------------------------------------------------------------------------------

MLP = ([[1, 2], [3, 4], [5, 0]], [10, 20, 30]), ([[7, 8, 9]], [40])


def mlp():
    return nn.Sequential(linear(*MLP[0]), nn.ReLU(), linear(*MLP[1]))


@both
def test_a_perceptron_is_its_weight_matrices(granularity):
    graph = trace(mlp(), 1, 2, granularity=granularity)
    assert names(graph) == ["input", "0", "2"]
    assert layer_kinds(graph) == ["input", "linear", "linear"]
    assert [layer.shape for layer in graph.layers] == [(2,), (3,), (1,)]
    assert [layer.activation for layer in graph.layers] == [None, "relu", None]
    assert [(layer.start, layer.stop) for layer in graph.layers] == [(0, 2), (2, 5), (5, 6)]
    assert graph.number_of_nodes() == len(graph) == 6
    assert graph.number_of_edges() == 8  # one weight is zero: no edge
    assert edges(graph) == {(0, 2): 1, (1, 2): 2, (0, 3): 3, (1, 3): 4, (0, 4): 5, (2, 5): 7, (3, 5): 8, (4, 5): 9}
    assert graph.bias().tolist() == [0, 0, 10, 20, 30, 40]
    assert [each.kind for each in graph.links] == ["weight", "weight"]
    assert graph.parameters() == ("0.weight", "2.weight", "0.bias", "2.bias")


@both
def test_without_simplify_every_operation_has_nodes(granularity):
    graph = trace(mlp(), 1, 2, granularity=granularity, simplify=False)
    assert names(graph) == ["input", "0", "1", "2"]
    assert layer_kinds(graph) == ["input", "linear", "activation", "linear"]
    assert graph.number_of_nodes() == 9
    assert between(graph, "0", "1").tolist() == np.eye(3).tolist()
    assert link_kinds(graph) == {("input", "0"): "weight", ("0", "1"): "unit", ("1", "2"): "weight"}
    assert graph.bias().tolist() == [0, 0, 10, 20, 30, 0, 0, 0, 40]


@both
def test_a_matrix_product_is_a_dense_layer_whichever_side_the_parameter_stands_on(granularity):
    right = Net(lambda self, x: x @ self.w, w=nn.Parameter(tensor([[1, 2, 3], [4, 5, 6]])))
    graph = trace(right, 1, 2, granularity=granularity)
    assert between(graph, "input", "mm").tolist() == [[1, 2, 3], [4, 5, 6]]
    left = Net(lambda self, x: self.w @ x, w=nn.Parameter(tensor([[1, 2], [4, 5], [7, 8]])))
    graph = trace(left, 1, 2, 1, granularity=granularity)
    (target,) = [layer.name for layer in graph.layers if layer.kind != "input"]
    assert between(graph, "input", target).tolist() == [[1, 4, 7], [2, 5, 8]]


def test_a_dense_layer_on_tokens_stands_once_for_each_token_or_once():
    model = linear([[1, 2], [3, 4], [5, 6]], [1, 2, 3])
    one = trace(model, 1, 2, 2, granularity="position")
    assert one.layers[1].shape == (2, 3)
    assert one.layers[1].channel_axis == 1
    block = [[1, 3, 5], [2, 4, 6]]
    expected = np.zeros((4, 6))
    expected[:2, :3] = expected[2:, 3:] = block
    assert between(one, "input", one.layers[1].name).tolist() == expected.tolist()
    assert one.bias()[4:].tolist() == [1, 2, 3, 1, 2, 3]
    other = trace(model, 1, 2, 2)
    assert other.layers[1].shape == (3,)
    assert between(other, "input", other.layers[1].name).tolist() == block


# --- convolutions ----------------------------------------------------------------------------------------------------


def test_a_padded_convolution_has_fewer_edges_at_its_borders():
    model = nn.Conv2d(2, 3, 3, padding=1)
    kernel = torch.arange(1.0, 55).reshape(3, 2, 3, 3)
    put(model, kernel.tolist(), [1, 2, 3])
    graph = trace(model, 1, 2, 4, 4, granularity="position")
    assert graph.number_of_nodes() == 2 * 16 + 3 * 16
    assert graph.number_of_edges() == 2 * 3 * 10 * 10
    found = edges(graph)
    corner = {j: w for (i, j), w in found.items() if i == 0}  # channel 0, position (0, 0)
    per_channel = [(0, (1, 1)), (1, (1, 0)), (4, (0, 1)), (5, (0, 0))]  # output position, tap
    assert corner == {32 + 16 * c + at: float(kernel[c, 0][tap]) for c in range(3) for at, tap in per_channel}
    inner = [j for (i, j) in found if i == 16 + 5]  # channel 1, position (1, 1)
    assert len(inner) == 3 * 9
    assert graph.bias()[32:].tolist() == [1] * 16 + [2] * 16 + [3] * 16
    assert graph.layers[1].channel_axis == 0


def test_a_channel_graph_of_a_convolution_has_an_edge_for_each_pair_of_channels():
    kernel = torch.arange(1.0, 55).reshape(3, 2, 3, 3)
    model = put(nn.Conv2d(2, 3, 3, padding=1), kernel.tolist(), [1, 2, 3])
    graph = trace(model, 1, 2, 4, 4)
    assert [layer.shape for layer in graph.layers] == [(2,), (3,)]
    assert between(graph, "input", graph.layers[1].name).tolist() == kernel.sum((2, 3)).T.tolist()
    assert graph.bias().tolist() == [0, 0, 1, 2, 3]


REDUCE = {
    "sum": lambda w: w.sum(),
    "mean": lambda w: w.mean(),
    "l1": lambda w: w.abs().sum(),
    "l2": lambda w: w.square().sum().sqrt(),
    "maxabs": lambda w: w.abs().max(),
}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 3),
    st.integers(1, 2),
    st.booleans(),
    st.sampled_from([*REDUCE]),
)
def test_every_aggregation_reduces_the_taps_of_each_pair_of_channels(dims, groups, ins, outs, transposed, aggregate):
    torch.manual_seed(0)
    name = f"Conv{'Transpose' * transposed}{dims}d"
    model = getattr(nn, name)(groups * ins, groups * outs, 2, groups=groups).double()
    x = torch.zeros(1, groups * ins, *[3] * dims, dtype=torch.float64)
    graph = dg.from_torch(model, x, aggregate=aggregate)
    expected = np.zeros((groups * ins, groups * outs))
    for group in range(groups):
        for i in range(ins):
            for j in range(outs):
                place = (group * ins + i, j) if transposed else (group * outs + j, i)
                expected[group * ins + i, group * outs + j] = REDUCE[aggregate](model.weight[place].detach())
    np.testing.assert_allclose(between(graph, *names(graph)), expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        ("sum", {(1, 3): -2}),  # the second channel's weights cancel: no edge
        ("mean", {(1, 3): -0.5}),
        ("l1", {(1, 3): 10, (2, 3): 10}),
        ("l2", {(1, 3): 30**0.5, (2, 3): 50**0.5}),
        ("maxabs", {(1, 3): 4, (2, 3): 5}),
    ],
)
def test_a_dense_layer_behind_a_flatten_aggregates_the_positions_of_each_channel(aggregate, expected):
    first, second = nn.Conv2d(1, 2, 1, bias=False), linear([[1, -2, 3, -4, 0, 0, 5, -5]])
    put(first, [2, -3])
    graph = trace(nn.Sequential(first, nn.Flatten(), second), 1, 1, 2, 2, aggregate=aggregate)
    sign = -1 if aggregate in ("sum", "mean") else 1
    expected = {(0, 1): 2, (0, 2): 3 * sign, **expected}
    found = edges(graph)
    assert found.keys() == expected.keys()
    assert [found[pair] for pair in expected] == pytest.approx(list(expected.values()), rel=1e-6)


def test_pixels_are_the_channels_of_an_image_that_is_flattened_first():
    model = nn.Sequential(nn.Flatten(), linear([[1, 2, 3, 4]]))
    graph = trace(model, 1, 1, 2, 2)
    assert edges(graph) == {(0, 4): 1, (1, 4): 2, (2, 4): 3, (3, 4): 4}


def test_a_depthwise_convolution_joins_each_channel_to_its_own_outputs():
    model = put(nn.Conv2d(2, 4, 2, groups=2, bias=False), [[[[j, j], [j, 1]]] for j in range(1, 5)])
    graph = trace(model, 1, 2, 2, 2)
    assert edges(graph) == {(0, 2): 4, (0, 3): 7, (1, 4): 10, (1, 5): 13}
    unrolled = trace(model, 1, 2, 2, 2, granularity="position")
    assert unrolled.number_of_edges() == 4 * 4


def test_a_transposed_convolution_spreads_each_input():
    model = nn.ConvTranspose1d(1, 1, 2, stride=2, bias=False)
    put(model, [3, 5])
    graph = trace(model, 1, 1, 2, granularity="position")
    assert edges(graph) == {(0, 2): 3, (0, 3): 5, (1, 4): 3, (1, 5): 5}
    overlapping = put(nn.ConvTranspose1d(1, 1, 3, stride=1, padding=1, bias=False), [1, 10, 100])
    graph = trace(overlapping, 1, 1, 3, granularity="position")
    assert between(graph, *names(graph)).tolist() == [[10, 100, 0], [1, 10, 100], [0, 1, 10]]


def test_stride_and_dilation_choose_which_inputs_meet_an_output():
    strided = trace(conv1d([[[3, 5]]], stride=2), 1, 1, 5, granularity="position")
    assert edges(strided) == {(0, 5): 3, (1, 5): 5, (2, 6): 3, (3, 6): 5}
    dilated = trace(conv1d([[[3, 5]]], dilation=2), 1, 1, 4, granularity="position")
    assert edges(dilated) == {(0, 4): 3, (2, 4): 5, (1, 5): 3, (3, 5): 5}


def test_padding_by_reflection_adds_its_taps_to_those_inside():
    graph = trace(conv1d([[[1, 10, 100]]], padding=1, padding_mode="reflect"), 1, 1, 3, granularity="position")
    assert between(graph, *names(graph)).T.tolist() == [[10, 101, 0], [1, 10, 100], [0, 101, 10]]
    assert graph.number_of_edges() == 7


# --- normalisation ---------------------------------------------------------------------------------------------------


def normed(weight, bias):
    """A convolution, a batch-norm that multiplies by -3 and adds 14, a ReLU."""
    norm = put(nn.BatchNorm1d(1, eps=0.0), [-6], [5])
    norm.running_mean.fill_(3)
    norm.running_var.fill_(4)
    return nn.Sequential(conv1d([[weight]], [bias]), norm, nn.ReLU())


@both
def test_batch_norm_is_folded_into_the_links_before_it(granularity):
    graph = trace(normed([2], 1), 1, 1, 1, granularity=granularity)
    assert names(graph) == ["input", "0"]
    assert layer_kinds(graph) == ["input", "conv"]
    assert graph.layers[1].activation == "relu"
    assert edges(graph) == {(0, 1): -6}
    assert graph.bias().tolist() == [0, -3 * 1 + 14]


@both
def test_batch_norm_is_a_layer_of_its_own_where_it_may_not_be_folded(granularity):
    graph = trace(normed([2], 1), 1, 1, 1, granularity=granularity, fold_norm=False)
    assert names(graph) == ["input", "0", "1"]
    assert layer_kinds(graph) == ["input", "conv", "norm"]
    assert edges(graph) == {(0, 1): 2, (1, 2): -3}
    assert graph.bias().tolist() == [0, 1, 14]
    assert [each.kind for each in graph.links] == ["weight", "weight"]


@pytest.mark.parametrize(
    ("aggregate", "weight"), [("sum", 9), ("mean", 4.5), ("l1", 21), ("l2", 261**0.5), ("maxabs", 15)]
)
def test_the_folded_scale_is_aggregated_with_the_taps(aggregate, weight):
    model = normed([2, -5], 1)  # scaled by -3: taps -6 and 15
    graph = trace(model, 1, 1, 2, aggregate=aggregate)
    assert edges(graph) == {(0, 1): pytest.approx(weight, rel=1e-6)}


def test_a_batch_norm_on_a_sum_of_two_branches_keeps_its_own_nodes():
    norm = put(nn.BatchNorm1d(2, eps=0.0), [2, 3])
    model = Net(lambda self, x: self.n(self.a(x) + x), a=linear([[1, 2], [3, 4]]), n=norm)
    graph = trace(model, 1, 2)
    assert layer_kinds(graph) == ["input", "linear", "sum", "norm"]
    assert between(graph, "add", "n").tolist() == [[2, 0], [0, 3]]


@both
@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv1d(2, 3, 1), nn.Conv1d(3, 3, 3, padding=1, groups=3)),
        nn.Sequential(nn.Conv2d(2, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)),
        nn.Sequential(nn.Conv1d(2, 1, 1), nn.Conv1d(1, 1, 1, stride=2)),
        nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1)),
    ],
    ids=["depthwise", "one channel", "strided", "one neuron"],
)
def test_a_learned_layer_is_not_taken_for_the_scale_of_the_layer_before_it(model, granularity):
    dims = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Linear: 0}[type(model[0])]
    graph = trace(model, 1, 2, *[4] * dims, granularity=granularity)
    assert names(graph) == ["input", "0", "1"]
    assert dg.verify(model, graph, torch.randn(2, 2, *[4] * dims)).ok


# --- sums of branches ------------------------------------------------------------------------------------------------


@both
def test_a_residual_sum_absorbs_the_branch_that_only_it_reads(granularity):
    parts = {"a": linear([[1, 2], [3, 4]], [5, 6]), "b": linear([[7, 8], [9, 1]], [2, 3])}
    model = Net(lambda self, x: F.relu(self.b(F.relu(self.a(x))) + x), **parts)
    graph = trace(model, 1, 2, granularity=granularity)
    assert layer_kinds(graph) == ["input", "linear", "sum"]
    assert names(graph) == ["input", "a", "add"]
    assert graph.layers[2].activation == "relu"
    assert between(graph, "a", "add").tolist() == [[7, 9], [8, 1]]
    assert between(graph, "input", "add").tolist() == [[1, 0], [0, 1]]
    assert link_kinds(graph) == {("input", "a"): "weight", ("a", "add"): "weight", ("input", "add"): "unit"}
    assert graph.bias().tolist() == [0, 0, 5, 6, 2, 3]


@both
def test_two_branches_from_one_layer_stay_apart(granularity):
    model = Net(lambda self, x: self.a(x) + self.b(x), a=linear([[1, 2]]), b=linear([[3, 4]]))
    graph = trace(model, 1, 2, granularity=granularity)
    assert edges(graph) == {(0, 2): 3, (1, 2): 4, (0, 3): 1, (1, 3): 2, (2, 3): 1}
    assert layer_kinds(graph) == ["input", "linear", "sum"]


def test_a_convolved_shortcut_is_a_second_link_into_the_sum():
    model = Net(
        lambda self, x: self.b(torch.relu(self.a(x))) + self.s(x),
        a=conv1d([[[1]], [[2]]]),
        b=conv1d([[[3], [4]]]),
        s=conv1d([[[5]]]),
    )
    graph = trace(model, 1, 1, 2)
    assert edges(graph) == {(0, 1): 1, (0, 2): 2, (0, 3): 5, (1, 3): 3, (2, 3): 4}


@both
def test_channels_that_a_shortcut_pads_with_zeros_get_no_edge_from_it(granularity):
    def forward(self, x):
        return self.c(x) + F.pad(x[:, :, ::2], (0, 0, 1, 1))

    graph = trace(Net(forward, c=conv1d([[[1]], [[2]], [[3]]], stride=2)), 1, 1, 2, granularity=granularity)
    assert layer_kinds(graph) == ["input", "conv", "sum"]
    skipped = [[0] * 3] * (granularity == "position")  # the input's second position
    assert between(graph, "input", "add").tolist() == [[0, 1, 0], *skipped]
    assert between(graph, "c", "add").tolist() == np.eye(3).tolist()
    assert between(graph, "input", "c").tolist() == [[1, 2, 3], *skipped]


@both
def test_the_sum_of_a_layer_with_itself_is_one_edge_of_weight_two(granularity):
    model = Net(lambda self, x: (lambda y: y + y)(self.a(x).relu()), a=linear([[1, 2], [3, 4]]))
    graph = trace(model, 1, 2, granularity=granularity)
    assert between(graph, "a", "add").tolist() == [[2, 0], [0, 2]]
    assert link_kinds(graph)["a", "add"] == "unit"


@both
def test_differences_and_multiples_are_unit_links_of_that_weight(granularity):
    model = Net(lambda self, x: 3 - torch.sub(x, self.a(x).relu(), alpha=0.5) / 4, a=linear([[1, 2], [3, 4]]))
    graph = trace(model, 1, 2, granularity=granularity, simplify=False)
    chain = [("input", "sub", 1), ("relu", "sub", -0.5), ("sub", "div", 0.25), ("div", "rsub", -1)]
    for source, target, weight in chain:
        assert between(graph, source, target, "unit").tolist() == [[weight, 0], [0, weight]]
    assert graph.bias()[-2:].tolist() == [3, 3]


# --- products and functions of several neurons -----------------------------------------------------------------------


@both
def test_a_product_of_two_layers_is_a_junction_with_gates(granularity):
    model = Net(lambda self, x: self.a(x) * self.b(x), a=linear([[1, 2]]), b=linear([[3, 4]]))
    graph = trace(model, 1, 2, granularity=granularity)
    assert layer_kinds(graph) == ["input", "linear", "linear", "product"]
    assert edges(graph, "gate") == {(2, 4): 1, (3, 4): 1}


@both
def test_the_square_of_a_layer_is_a_junction_with_one_gate_for_each_neuron(granularity):
    model = Net(lambda self, x: (lambda y: y * y)(self.a(x)), a=linear([[1, 2], [3, 4]]))
    graph = trace(model, 1, 2, granularity=granularity)
    assert layer_kinds(graph) == ["input", "linear", "product"]
    assert edges(graph, "gate") == {(2, 4): 1, (3, 5): 1}


@both
def test_activations_made_of_several_operations_are_what_they_compute(granularity):
    shrink = trace(nn.Sequential(linear([[1]]), nn.Tanhshrink()), 1, 1, granularity=granularity)  # x - tanh(x)
    assert edges(shrink) == {(0, 1): 1, (1, 2): 1, (1, 3): 1, (2, 3): -1}
    assert [layer.activation for layer in shrink.layers] == [None, None, "tanh", None]
    soft = trace(nn.Sequential(linear([[1]]), nn.Softsign()), 1, 1, granularity=granularity)  # x / (1 + |x|)
    assert edges(soft) == {(0, 1): 1, (1, 2): 1, (2, 3): 1, (1, 4): 1, (3, 4): 1}
    assert edges(soft, "gate") == {(1, 4): 1, (3, 4): 1}
    assert soft.bias().tolist() == [0, 0, 0, 1, 0]


@both
def test_a_gate_for_each_channel_reaches_all_its_positions(granularity):
    model = Net(lambda self, x: x * self.g(x.mean(2)).sigmoid()[:, :, None], g=linear([[1, 2], [3, 4]]))
    graph = trace(model, 1, 2, 3, granularity=granularity)
    gates = edges(graph, "gate")
    assert len(gates) == (4 if granularity == "channel" else 12)
    assert set(gates.values()) == {1}


# --- moving elements -------------------------------------------------------------------------------------------------


@both
def test_concatenation_and_splitting_make_no_nodes(granularity):
    def forward(self, x):
        first, second = self.a(x).split([1, 2], 1)
        return self.b(torch.cat([second, x, first], 1))

    model = Net(forward, a=linear([[1, 2], [3, 4], [5, 6]]), b=linear([[10, 20, 30, 40, 50]]))
    graph = trace(model, 1, 2, granularity=granularity)
    assert names(graph) == ["input", "a", "b"]
    assert between(graph, "a", "b").tolist() == [[50], [10], [20]]
    assert between(graph, "input", "b").tolist() == [[30], [40]]


@both
def test_slices_and_permutations_rewire(granularity):
    def forward(self, x):
        y = self.a(x)  # (1, 3)
        return self.b(y.flip(1)[:, 1:]), self.b(y[:, [2, 2]])

    graph = trace(
        Net(forward, a=linear([[1], [2], [3]]), b=linear([[10, 20]])), 1, 1, granularity=granularity, shared="unfold"
    )
    assert between(graph, "a", "b").tolist() == [[20], [10], [0]]
    assert between(graph, "a", "b#2").tolist() == [[0], [0], [30]]  # both weights join the same two neurons


def test_permuted_feature_maps_meet_the_weights_of_their_new_place():
    def forward(self, x):
        return self.b(self.a(x).permute(0, 2, 1).flatten(1))  # (positions, channels) in the flattened vector

    model = Net(forward, a=conv1d([[[1]], [[2]]]), b=linear([[1, 10, 100, 1000]]))
    assert between(trace(model, 1, 1, 2), "a", "b").tolist() == [[101], [1010]]
    unrolled = trace(model, 1, 1, 2, granularity="position")
    assert between(unrolled, "a", "b").tolist() == [[1], [100], [10], [1000]]


def test_the_same_neuron_concatenated_twice_has_one_edge_whose_weights_add():
    model = Net(lambda self, x: self.a(torch.cat([x, x], 1)), a=linear([[1, 2, 10, 20]]))
    for granularity in GRANULARITIES:
        assert edges(trace(model, 1, 2, granularity=granularity)) == {(0, 2): 11, (1, 2): 22}
    assert edges(trace(model, 1, 2, aggregate="maxabs")) == {(0, 2): 10, (1, 2): 20}


def test_upsampling_repeats_neurons():
    model = nn.Sequential(nn.Upsample(scale_factor=2), conv1d([[[1, 10]]]))
    graph = trace(model, 1, 1, 2, granularity="position")
    assert names(graph) == ["input", "1"]
    assert between(graph, "input", "1").T.tolist() == [[11, 0], [1, 10], [0, 11]]
    assert edges(trace(model, 1, 1, 2)) == {(0, 1): 11}


def test_padding_with_zero_makes_no_node():
    model = nn.Sequential(nn.ConstantPad1d(1, 0.0), conv1d([[[1, 10]]]))
    graph = trace(model, 1, 1, 2, granularity="position")
    assert between(graph, "input", "1").T.tolist() == [[10, 0], [1, 10], [0, 1]]
    assert edges(trace(model, 1, 1, 2)) == {(0, 1): 11}


def test_padding_with_another_value_makes_a_constant_node():
    model = nn.Sequential(nn.ConstantPad1d(1, 0.5), conv1d([[[1, 10]]]))
    graph = trace(model, 1, 1, 2, granularity="position")
    (constant,) = [layer for layer in graph.layers if layer.kind == "constant"]
    (conv,) = [layer for layer in graph.layers if layer.kind == "conv"]
    assert constant.size == 1
    assert constant.start < conv.start  # the layers are in topological order
    assert graph.bias()[constant.start] == 0.5
    assert between(graph, "input", conv.name).T.tolist() == [[10, 0], [1, 10], [0, 1]]
    assert between(graph, constant.name, conv.name).tolist() == [[1, 0, 10]]


def test_padding_with_another_value_is_a_constant_channel():
    graph = trace(nn.Sequential(nn.ConstantPad1d(1, 0.5), conv1d([[[1, 10]]])), 1, 1, 2)
    kinds = layer_kinds(graph)
    assert sorted(kinds) == ["constant", "conv", "input"]
    assert kinds.index("constant") < kinds.index("conv")
    assert sorted(edges(graph).values()) == [11, 11]


# --- pooling ---------------------------------------------------------------------------------------------------------

POOLS_1D = [  # pool, length, weights (outputs, inputs)
    (nn.AvgPool1d(2), 4, [[1 / 2, 1 / 2, 0, 0], [0, 0, 1 / 2, 1 / 2]]),
    (nn.AvgPool1d(2), 5, [[1 / 2, 1 / 2, 0, 0, 0], [0, 0, 1 / 2, 1 / 2, 0]]),
    (nn.AvgPool1d(2, ceil_mode=True), 3, [[1 / 2, 1 / 2, 0], [0, 0, 1]]),
    (nn.AvgPool1d(3, 2, 1), 3, [[1 / 3, 1 / 3, 0], [0, 1 / 3, 1 / 3]]),
    (nn.AvgPool1d(3, 2, 1, count_include_pad=False), 3, [[1 / 2, 1 / 2, 0], [0, 1 / 2, 1 / 2]]),
    (nn.AvgPool1d(3, 2, 1, ceil_mode=True), 4, [[1 / 3, 1 / 3, 0, 0], [0, 1 / 3, 1 / 3, 1 / 3], [0, 0, 0, 1 / 2]]),
    (nn.AdaptiveAvgPool1d(2), 3, [[1 / 2, 1 / 2, 0], [0, 1 / 2, 1 / 2]]),
    (nn.AdaptiveAvgPool1d(2), 5, [[1 / 3, 1 / 3, 1 / 3, 0, 0], [0, 0, 1 / 3, 1 / 3, 1 / 3]]),
    (nn.AdaptiveAvgPool1d(1), 3, [[1 / 3, 1 / 3, 1 / 3]]),
    (nn.AdaptiveMaxPool1d(1), 4, [[1 / 4, 1 / 4, 1 / 4, 1 / 4]]),
    (nn.MaxPool1d(2), 4, [[1 / 2, 1 / 2, 0, 0], [0, 0, 1 / 2, 1 / 2]]),
    (nn.MaxPool1d(2, ceil_mode=True), 3, [[1 / 2, 1 / 2, 0], [0, 0, 1 / 2]]),
    (nn.MaxPool1d(3, 2, 1), 3, [[1 / 3, 1 / 3, 0], [0, 1 / 3, 1 / 3]]),
    (nn.MaxPool1d(2, 1, dilation=2), 3, [[1 / 2, 0, 1 / 2]]),
]


@pytest.mark.parametrize(("pool", "length", "expected"), POOLS_1D, ids=[f"{pool} of {n}" for pool, n, _ in POOLS_1D])
def test_a_pool_shares_its_output_among_its_window(pool, length, expected):
    graph = trace(pool, 1, 1, length, granularity="position")
    np.testing.assert_allclose(between(graph, *names(graph)).T, expected, rtol=1e-7)
    assert {each.kind for each in graph.links} == {"pool"}
    assert layer_kinds(graph) == ["input", "pool"]
    wide = pool_2d(pool)(1)  # the same over one axis of two
    graph = trace(wide, 1, 1, length, 1, granularity="position")
    np.testing.assert_allclose(between(graph, *names(graph)).T, expected, rtol=1e-7)


def pool_2d(pool):
    """Make the pool over two axes that does the same along the first, and nothing along the second."""

    def make(width):
        if hasattr(pool, "output_size"):
            size = pool.output_size if isinstance(pool.output_size, int) else pool.output_size[0]
            return getattr(nn, type(pool).__name__.replace("1d", "2d"))((size, width))

        def pair(value, other):
            return (value if isinstance(value, int) else value[0], other)

        shared = {"ceil_mode": pool.ceil_mode}
        if isinstance(pool, nn.AvgPool1d):
            shared["count_include_pad"] = pool.count_include_pad
            kind = nn.AvgPool2d
        else:
            shared["dilation"] = pair(pool.dilation, 1)
            kind = nn.MaxPool2d
        return kind(pair(pool.kernel_size, 1), pair(pool.stride, 1), pair(pool.padding, 0), **shared)

    return make


def test_an_average_with_its_own_divisor_weighs_by_it():
    graph = trace(nn.AvgPool2d(2, divisor_override=5), 1, 1, 2, 4, granularity="position")
    matrix = between(graph, *names(graph))
    np.testing.assert_allclose(matrix[[0, 1, 4, 5], 0], 1 / 5, rtol=1e-7)
    np.testing.assert_allclose(matrix.sum(0), [4 / 5, 4 / 5], rtol=1e-7)


@pytest.mark.parametrize(
    "reduce",
    [nn.AdaptiveAvgPool2d(1), lambda x: x.mean((2, 3)), lambda x: x.mean((-2, -1), keepdim=True)],
    ids=["pool", "mean", "mean that keeps axes"],
)
@pytest.mark.parametrize(
    ("aggregate", "weight"), [("sum", 1), ("mean", 1 / 6), ("l1", 1), ("l2", 6**-0.5), ("maxabs", 1 / 6)]
)
def test_a_global_average_in_channel_granularity_aggregates_its_shares(reduce, aggregate, weight):
    graph = trace(Net(lambda self, x: reduce(x)), 1, 2, 2, 3, aggregate=aggregate)
    np.testing.assert_allclose(between(graph, *names(graph)), np.eye(2) * weight, rtol=1e-6)
    assert [layer.shape for layer in graph.layers] == [(2,), (2,)]


@pytest.mark.parametrize(("aggregate", "weight"), [("sum", 1), ("mean", 1 / 4), ("l2", 1 / 2)])
def test_a_pool_in_channel_granularity_is_an_edge_from_each_channel_to_itself(aggregate, weight):
    for pool in (nn.MaxPool2d(2), nn.AvgPool2d(2)):
        graph = trace(pool, 1, 3, 4, 4, aggregate=aggregate)
        np.testing.assert_allclose(between(graph, *names(graph)), np.eye(3) * weight)


def test_a_sum_along_axes_has_unit_links():
    graph = trace(Net(lambda self, x: x.sum(2)), 1, 2, 3, granularity="position")
    assert edges(graph, "unit") == {(0, 6): 1, (1, 6): 1, (2, 6): 1, (3, 7): 1, (4, 7): 1, (5, 7): 1}


@both
def test_a_maximum_over_channels_gathers_them(granularity):
    graph = trace(Net(lambda self, x: self.a(x).amax(1), a=linear([[1], [2], [4]])), 1, 1, granularity=granularity)
    assert edges(graph, "pool") == {(1 + i, 4): pytest.approx(1 / 3) for i in range(3)}


# --- in-place operations, views, constants ----------------------------------------------------------------------------


def in_place(self, x):
    return self.b(overwritten_in_place(self.a(x)))


def identity(size):
    return linear(np.eye(size).tolist(), [0] * size)


@both
def test_in_place_operations_act_on_what_aliases_them(granularity):
    model = Net(in_place, a=identity(5), b=linear([[1, 10, 100, 1000, 10000]]))
    graph = trace(model, 1, 5, granularity=granularity)
    assert names(graph) == ["input", "a", "mul", "b"]
    assert between(graph, "a", "mul").T.tolist() == [[2, 0, 0, 0, 0]]
    assert between(graph, "mul", "b").T.tolist() == [[1]]
    assert between(graph, "a", "b").T.tolist() == [[0, 10, 0, 0, 10000]]  # two were overwritten
    assert graph.layer("a").activation == "relu"
    assert graph.bias().tolist() == [0] * 5 + [1] * 5 + [0, 0]
    assert dg.verify(model, graph, torch.randn(3, 5, generator=torch.Generator().manual_seed(0))).ok


def test_an_operation_on_a_view_changes_the_whole():
    def forward(self, x):
        y = self.a(x)
        z = y.view(2, 2).t()[0]  # elements 0 and 2
        z.mul_(3)
        return self.b(y)

    graph = trace(Net(forward, a=identity(4), b=linear([[1, 10, 100, 1000]])), 1, 4, granularity="position")
    assert dg.strength(graph, "in")[graph.layer("b").start] == 1111
    (scaled,) = [layer for layer in graph.layers if layer.kind == "scale"]
    assert between(graph, "a", scaled.name).tolist() == [[3, 0], [0, 0], [0, 3], [0, 0]]
    assert between(graph, scaled.name, "b").tolist() == [[1], [100]]
    assert between(graph, "a", "b").tolist() == [[0], [10], [0], [1000]]


@both
def test_values_assigned_to_a_slice_are_constant_nodes_unless_zero(granularity):
    def forward(self, x):
        y = self.a(x)
        y[:, 1] = 3.0
        y[:, 2] = 0.0
        return self.b(y)

    model = Net(forward, a=identity(3), b=linear([[1, 10, 100]]))
    graph = trace(model, 1, 3, granularity=granularity)
    (constant,) = [layer for layer in graph.layers if layer.kind == "constant"]
    assert constant.start < graph.layer("b").start
    assert graph.bias()[constant.start : constant.stop].tolist() == [3]
    assert between(graph, constant.name, "b").tolist() == [[10]]
    assert between(graph, "a", "b").tolist()[0] == [1]


@both
def test_neurons_assigned_to_a_slice_replace_what_was_there(granularity):
    def forward(self, x):
        y = torch.zeros(x.shape[0], 4)
        y[:, 1:3] = self.a(x)
        y[:, 0] = y[:, 2]
        return self.b(y)

    graph = trace(Net(forward, a=identity(2), b=linear([[1, 10, 100, 1000]])), 1, 2, granularity=granularity)
    assert between(graph, "a", "b").tolist() == [[10], [101]]
    assert names(graph) == ["input", "a", "b"]


@both
def test_an_in_place_sum_is_a_residual_sum(granularity):
    def forward(self, x):
        y = self.b(self.a(x).relu_())
        y += x
        return y.relu_()

    graph = trace(Net(forward, a=identity(2), b=linear([[1, 2], [3, 4]])), 1, 2, granularity=granularity)
    assert layer_kinds(graph) == ["input", "linear", "sum"]
    assert [layer.activation for layer in graph.layers] == [None, "relu", "relu"]


@both
def test_a_model_that_changes_its_input_in_place_leaves_the_example_as_it_was(granularity):
    model = Net(lambda self, x: self.a(x.mul_(2)), a=linear([[1, 2]]))
    x = torch.ones(3, 2)
    graph = dg.from_torch(model, x, granularity=granularity)
    assert dg.verify(model, graph, x).ok
    assert x.tolist() == torch.ones(3, 2).tolist()


@both
def test_dropout_is_nothing(granularity):
    model = nn.Sequential(identity(2), nn.Dropout(0.9), nn.Dropout1d(0.5), nn.AlphaDropout(0.5), linear([[3, 4]]))
    model.train()
    graph = trace(model, 1, 2, granularity=granularity)
    assert edges(graph) == {(0, 2): 1, (1, 3): 1, (2, 4): 3, (3, 4): 4}


@both
def test_ones_appended_to_the_input_are_one_constant_node(granularity):
    def forward(self, x):
        return self.a(torch.cat([x, torch.ones(len(x), 2)], 1))

    graph = trace(Net(forward, a=linear([[1, 2, 30, 40]])), 1, 2, granularity=granularity)
    (constant,) = [layer for layer in graph.layers if layer.kind == "constant"]
    assert constant.size == 1
    assert constant.start < graph.layer("a").start
    assert between(graph, constant.name, "a").tolist() == [[70]]


# --- inputs and outputs ----------------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "first second")


@dataclass
class Answer:
    first: torch.Tensor
    second: torch.Tensor


@both
def test_several_inputs_are_layers_of_their_own(granularity):
    model = Net(lambda self, x, y, *, z: self.a(x) + self.b(y) + z, a=linear([[1, 2]]), b=linear([[3]]))
    graph = dg.from_torch(
        model, (torch.zeros(1, 2), torch.zeros(1, 1)), granularity=granularity, example_kwargs={"z": torch.zeros(1, 1)}
    )
    assert [layer.name for layer in graph.inputs] == ["input", "input2", "input3"]
    assert edges(graph) == {(0, 4): 1, (1, 4): 2, (2, 4): 3, (3, 4): 1}
    assert edges(graph, "unit") == {(3, 4): 1}


@both
def test_outputs_keep_their_nesting_and_their_order(granularity):
    def forward(self, x):
        y = self.a(x)
        return {"two": [y, (self.b(y), x)], "one": Pair(y[:, :1], None), "text": "constant"}

    model = Net(forward, a=linear([[1, 2], [3, 4]]), b=linear([[5, 6]]))
    graph = trace(model, 1, 2, granularity=granularity)
    found = [nodes.flat.tolist() for nodes in graph.output.nodes()]
    assert sorted(found) == sorted([[2, 3], [4], [0, 1], [2]])
    if granularity == "position":
        x = tensor([[1, 1], [1, 0]])
        replayed, expected = graph.replay(x), model(x)
        assert replayed["text"] == "constant"
        assert isinstance(replayed["one"], Pair)
        assert replayed["one"].second is None
        assert replayed["one"].first.tolist() == expected["one"].first.tolist() == [[3], [1]]
        assert replayed["two"][0].tolist() == [[3, 7], [1, 3]]
        assert replayed["two"][1][0].tolist() == [[57], [23]]
        assert replayed["two"][1][1].tolist() == x.tolist()


def test_outputs_in_an_object_that_torch_cannot_look_into_are_refused():
    model = Net(lambda self, x: Answer(self.a(x), x), a=linear([[1, 2]]))
    with pytest.raises(dg.ModelError, match="Answer"):
        trace(model, 1, 2)
    torch.utils._pytree.register_dataclass(Answer)
    assert trace(model, 1, 2, granularity="position").replay(tensor([[1, 1]])).first.tolist() == [[3]]


def test_an_input_that_is_returned_is_an_output():
    graph = trace(Net(lambda self, x: x), 1, 2, granularity="position")
    assert graph.number_of_edges() == 0
    assert graph.replay(tensor([[1, 2]])).tolist() == [[1, 2]]


def test_what_no_output_depends_on_is_no_part_of_the_graph():
    model = Net(lambda self, x: (self.a(x), self.b(x))[0], a=linear([[1, 2]]), b=linear([[3, 4]]))
    assert names(trace(model, 1, 2)) == ["input", "a"]


@both
def test_an_example_of_several_samples_gives_the_graph_of_one(granularity):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    one = dg.from_torch(model, torch.zeros(1, 1, 4, 4), granularity=granularity)
    many = dg.from_torch(model, torch.randn(5, 1, 4, 4), granularity=granularity)
    assert same(one, many)


@both
def test_one_sample_without_a_batch_axis_is_traced_as_it_stands(granularity):
    graph = trace(mlp(), 2, granularity=granularity)
    batched = trace(mlp(), 1, 2, granularity=granularity)
    assert edges(graph) == edges(batched)
    assert graph.bias().tolist() == batched.bias().tolist()
    if granularity == "position":
        assert graph.replay(tensor([1, 1])).tolist() == [7 * 13 + 8 * 27 + 9 * 35 + 40]


@both
def test_an_image_without_a_batch_axis_is_one_sample_if_told(granularity):
    model = conv1d([[[1, 10]], [[2, 20]]], [1, 2])
    graph = trace(model, 1, 3, granularity=granularity, batch_axis=None)
    batched = trace(model, 1, 1, 3, granularity=granularity)
    assert edges(graph) == edges(batched)
    assert graph.bias().tolist() == batched.bias().tolist()
    if granularity == "position":
        x = tensor([[1, 2, 3]])
        assert graph.replay(x).tolist() == model(x).tolist()


@both
def test_samples_may_lie_along_the_second_axis(granularity):
    model = nn.Sequential(linear([[1, 2], [3, 4]], [1, 2]), nn.Tanh(), linear([[5, 6]]))
    graph = trace(model, 3, 4, 2, granularity=granularity, batch_axis=1)  # (tokens, samples, features)
    assert same(graph, trace(model, 3, 1, 2, granularity=granularity, batch_axis=1))
    x = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    assert dg.verify(model, graph, x).ok
    if granularity == "position":
        assert graph.layers[0].size == 6
        np.testing.assert_allclose(graph.replay(x), model(x).detach(), rtol=1e-5, atol=1e-6)


@both
def test_a_model_in_double_precision_has_a_graph_in_double_precision(granularity):
    model = mlp().double()
    graph = dg.from_torch(model, torch.zeros(1, 2, dtype=torch.float64), granularity=granularity)
    assert graph.dtype == torch.float64
    assert {block.weights.dtype for _, block in graph.blocks()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_is_verified_within_its_precision(dtype):
    model = mlp().to(dtype)
    x = torch.ones(2, 2, dtype=dtype)
    graph = dg.from_torch(model, x, granularity="position")
    assert graph.dtype == dtype
    assert dg.verify(model, graph, x).ok
    assert edges(graph) == edges(trace(mlp(), 1, 2))


# --- shared and tied weights -----------------------------------------------------------------------------------------


def tied():
    model = nn.Sequential(linear([[1, 2], [3, 4]], [5, 6]), nn.ReLU(), linear([[0, 0], [0, 0]], [7, 8]))
    model[2].weight = model[0].weight
    return model


@both
@pytest.mark.parametrize("shared", ["fold", "unfold"])
def test_tied_weights_are_two_links_with_one_parameter(granularity, shared):
    graph = trace(tied(), 1, 2, granularity=granularity, shared=shared)
    assert names(graph) == ["input", "0", "2"]
    assert between(graph, "input", "0").tolist() == between(graph, "0", "2").tolist() == [[1, 3], [2, 4]]
    assert graph.parameters() == ("0.weight", "0.bias", "2.bias")
    state = {**tied().state_dict(), "0.weight": tensor([[9, 9], [9, 9]]), "2.weight": tensor([[9, 9], [9, 9]])}
    assert set(edges(graph.with_weights(state)).values()) == {9}


@both
def test_a_transposed_tie_uses_the_same_parameter_the_other_way(granularity):
    model = Net(lambda self, x: F.linear(self.a(x).relu(), self.a.weight.t()), a=linear([[1, 2], [3, 4], [5, 6]]))
    graph = trace(model, 1, 2, granularity=granularity)
    last = graph.layers[-1].name
    assert between(graph, "a", last).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert graph.parameters() == ("a.weight",)


def siamese():
    return Net(
        lambda self, x, y: self.b(torch.cat([self.a(x).relu(), self.a(y).relu()], 1)),
        a=linear([[1, 2]], [3]),
        b=linear([[4, 5]]),
    )


@both
def test_a_module_called_twice_is_one_set_of_nodes_when_folded(granularity):
    graph = dg.from_torch(siamese(), (torch.zeros(1, 2), torch.zeros(1, 2)), granularity=granularity, shared="fold")
    assert graph.folded
    assert [layer.name for layer in graph.layers if layer.kind == "linear"] == ["a", "b"]
    assert between(graph, "input", "a").tolist() == between(graph, "input2", "a").tolist() == [[1], [2]]
    assert all(each.kind != "recurrent" for each in graph.links)  # nothing leads back


@both
def test_a_module_called_twice_is_two_sets_of_nodes_when_unfolded(granularity):
    graph = dg.from_torch(siamese(), (torch.zeros(1, 2), torch.zeros(1, 2)), granularity=granularity, shared="unfold")
    assert not graph.folded
    assert between(graph, "input", "a").tolist() == between(graph, "input2", "a#2").tolist() == [[1], [2]]
    assert between(graph, "a", "b").tolist() == [[4]]
    assert between(graph, "a#2", "b").tolist() == [[5]]
    assert graph.bias()[[graph.layer("a").start, graph.layer("a#2").start]].tolist() == [3, 3]


@both
def test_a_layer_that_feeds_itself_has_recurrent_links_when_folded(granularity):
    model = Net(lambda self, x: self.a(self.a(self.a(x))), a=linear([[1, 2], [3, 4]]))
    graph = trace(model, 1, 2, granularity=granularity)
    assert graph.folded
    assert names(graph) == ["input", "a"]
    assert edges(graph, "weight") == {(0, 2): 1, (1, 2): 2, (0, 3): 3, (1, 3): 4}
    assert edges(graph, "recurrent") == {(2, 2): 1, (3, 2): 2, (2, 3): 3, (3, 3): 4}
    unfolded = trace(model, 1, 2, granularity=granularity, shared="unfold")
    assert names(unfolded) == ["input", "a", "a#2", "a#3"]
    assert {each.kind for each in unfolded.links} == {"weight"}


@both
def test_only_links_that_lead_back_are_recurrent(granularity):
    def forward(self, x):
        return self.b(self.a(self.a(x)).relu())

    graph = trace(Net(forward, a=linear([[1, 2], [3, 4]]), b=linear([[5, 6]])), 1, 2, granularity=granularity)
    assert edges(graph, "recurrent").keys() == {(2, 2), (3, 2), (2, 3), (3, 3)}
    after = [each.kind for each in graph.links if each.target.name == "b"]
    assert after == ["weight"]


@both
def test_one_activation_object_used_twice_is_two_layers(granularity):
    model = Net(lambda self, x: self.r(self.b(self.r(self.a(x)))), a=linear([[1]]), b=linear([[2]]), r=nn.ReLU())
    graph = trace(model, 1, 1, granularity=granularity)
    assert not graph.folded
    assert [layer.activation for layer in graph.layers] == [None, "relu", "relu"]


def test_a_folded_graph_is_verified_but_not_replayed():
    model = Net(lambda self, x: self.a(self.a(x).tanh()), a=linear([[1, 2], [3, 4]]))
    graph = trace(model, 1, 2, granularity="position")
    assert dg.verify(model, graph, torch.ones(2, 2)).ok
    with pytest.raises(dg.InputError, match="shared='unfold'"):
        graph.replay(torch.ones(2, 2))


# --- the model is left as it was -------------------------------------------------------------------------------------


class Raises(nn.Module):
    def forward(self, x):
        raise RuntimeError("the user's own trouble")


@pytest.mark.parametrize("fails", [False, True])
@both
def test_mode_hooks_and_gradients_are_put_back(granularity, fails):
    model = nn.Sequential(linear([[1, 2]]), nn.Sequential(nn.BatchNorm1d(1), nn.Dropout()), nn.ReLU())
    if fails:
        model.append(Raises())
    model.train()
    model[1][0].eval()
    model[0].weight.requires_grad_(False)
    calls = []
    model[0].register_forward_hook(lambda *_: calls.append("mine"))
    modes = [module.training for module in model.modules()]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    statistics = model[1][0].running_mean.clone(), model[1][0].num_batches_tracked.clone()
    x = torch.ones(3, 2, requires_grad=True)
    if fails:
        with pytest.raises(dg.ModelError, match="the user's own trouble"):
            dg.from_torch(model, x, granularity=granularity)
    else:
        graph = dg.from_torch(model, x, granularity=granularity)
        dg.verify(model, graph, x)
    assert [module.training for module in model.modules()] == modes
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()][:2] == [0, 1]
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()) == 1
    assert not model[0].weight.requires_grad
    assert model[1][0].weight.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert x.requires_grad
    assert torch.is_grad_enabled()
    assert torch.backends.mha.get_fastpath_enabled() == fast_path
    assert torch.equal(model[1][0].running_mean, statistics[0])
    assert torch.equal(model[1][0].num_batches_tracked, statistics[1])


def test_parameters_are_referred_to_and_not_copied():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    graph = trace(model, 1, 1, 4, 4)
    for name, parameter in model.named_parameters():
        assert graph.weights[name].data_ptr() == parameter.data_ptr()
    with torch.no_grad():
        before = dg.strength(graph, kinds="weight")
        model[3].weight.mul_(2)
        model[3].bias.fill_(7)
    after = dg.strength(graph, kinds="weight")
    assert graph.bias()[-2:].tolist() == [7, 7]
    np.testing.assert_allclose(after[-2:], 2 * before[-2:])


def test_tracing_does_not_depend_on_the_values_of_the_example():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    for x in (torch.zeros(1, 3), torch.full((1, 3), torch.nan), torch.full((1, 3), -torch.inf)):
        assert same(dg.from_torch(model, x, granularity="position"), trace(model, 1, 3))


# --- what cannot be represented, and bad input -----------------------------------------------------------------------


def test_all_unsupported_operations_are_named_at_once():
    class Triangle(nn.Module):
        def forward(self, x):
            return torch.geqrf(x).a

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Sequential(nn.Conv2d(3, 2, 1), Triangle())

        def forward(self, x):
            return self.head(torch.linalg.lu_factor(torch.linalg.ldl_factor(x).LD).LU).flatten(1)

    with pytest.raises(dg.UnsupportedOperation) as caught:
        dg.from_torch(Model(), torch.eye(4).expand(1, 3, 4, 4))
    found = caught.value.operations
    operations = [re.search(r"aten\.\w+", line)[0] for line in found]
    assert operations == ["aten.linalg_ldl_factor_ex", "aten.linalg_lu_factor_ex", "aten.geqrf"]
    assert found[0].startswith("Model: ")
    assert found[2].startswith("head.1: ")
    assert "(1, 3, 4, 4)" in found[0]
    assert "(1, 2, 4, 4)" in found[2]
    for line in found:
        assert line in str(caught.value)
    assert "@dnn2graph.rule" in str(caught.value)


def test_an_operation_that_occurs_often_is_named_once_for_each_place():
    model = Net(lambda self, x: torch.geqrf(torch.geqrf(x).a).a + torch.geqrf(self.a(x)).a, a=identity(2))
    with pytest.raises(dg.UnsupportedOperation) as caught:
        dg.from_torch(model, torch.eye(2)[None])
    assert len(caught.value.operations) == 1


def test_a_rule_of_ones_own_makes_an_operation_known(monkeypatch):
    from dnn2graph.trace import registry
    from dnn2graph.trace.build import activation

    operation = torch.ops.aten.cumsum.default
    monkeypatch.delitem(registry.RULES, operation)  # and put back in the end

    @dg.rule(operation)
    def _(watch, operation):
        activation(watch, operation)

    model = nn.Sequential(linear([[1], [2]]), Net(lambda self, x: x.cumsum(1)))
    graph = trace(model, 1, 1, granularity="position")
    assert graph.layers[-1].activation == "cumsum"
    assert graph.replay(tensor([[1]])).tolist() == [[1, 3]]


@both
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_named_by_their_layer(granularity, bad):
    model = nn.Sequential(nn.Conv1d(1, 2, 2), nn.ReLU(), nn.Conv1d(2, 2, 2))
    with torch.no_grad():
        model[2].weight[1, 0, 1] = bad
    graph = trace(model, 1, 1, 4, granularity=granularity)
    for measure in (dg.strength, dg.fluctuation, dg.link_weights):
        with pytest.raises(dg.WeightsError, match=r"layer '2' has 1 non-finite weight"):
            measure(graph)


@both
@pytest.mark.parametrize(
    "model",
    [nn.Linear(3, 0), nn.Sequential(nn.Linear(3, 0), nn.Linear(0, 2)), nn.Conv1d(3, 0, 1), nn.Flatten(0, -1)],
    ids=["no output", "no hidden neuron", "no channel", "nothing"],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_layers_without_neurons_are_refused_plainly(model, granularity):
    shape = (0,) if isinstance(model, nn.Flatten) else (1, 3, 2) if isinstance(model, nn.Conv1d) else (1, 3)
    with pytest.raises(dg.Dnn2graphError):
        trace(model, *shape, granularity=granularity)


@both
@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_an_empty_branch_beside_a_full_one_is_traced(granularity):
    model = Net(lambda self, x: torch.cat([self.a(x), self.b(x)], 1), a=nn.Linear(3, 0), b=linear([[1, 2, 3]]))
    graph = trace(model, 1, 3, granularity=granularity)
    assert sorted(edges(graph).values()) == [1, 2, 3]
    assert dg.verify(model, graph, torch.ones(2, 3)).ok


@both
@pytest.mark.parametrize(
    ("forward", "match"),
    [
        (lambda self, x: None, "NoneType"),
        (lambda self, x: "text", "str"),
        (lambda self, x: self.a(x).sum().item(), "float"),
        (lambda self, x: self.a(x).detach().numpy().tolist(), "list"),
        (lambda self, x: torch.ones(1, 2), "Tensor"),
        (lambda self, x: self.a.weight, "Parameter|Tensor"),
        (lambda self, x: torch.from_numpy(self.a(x).detach().numpy() * 2), "Tensor"),
    ],
    ids=["None", "text", "number", "list", "constant", "parameter", "through numpy"],
)
def test_outputs_that_are_no_neurons_are_refused(granularity, forward, match):
    with pytest.raises((dg.ModelError, dg.UnsupportedOperation), match=match):
        trace(Net(forward, a=identity(2)), 1, 2, granularity=granularity)


def test_where_memory_runs_out_the_model_is_not_blamed():
    model = Net(lambda self, x: x.relu() + torch.empty(1 << 60))
    expected = r"memory ran out at 4 nodes, after layer 'relu', .*shape \(1, 2\): .*trace a smaller example"
    with pytest.raises(dg.ModelError, match=expected):
        trace(model, 1, 2, granularity="position")


@both
def test_a_model_that_raises_is_quoted(granularity):
    with pytest.raises(dg.ModelError, match="the user's own trouble") as caught:
        trace(nn.Sequential(identity(2), Raises()), 1, 2, granularity=granularity)
    assert isinstance(caught.value.__cause__, RuntimeError)


@both
@pytest.mark.parametrize("shape", [(1, 3), (1, 2, 3), (3,), ()])
def test_an_example_of_the_wrong_shape_is_told_with_its_shape(granularity, shape):
    with pytest.raises(dg.Dnn2graphError, match=re.escape(str(shape))):
        trace(identity(2), *shape, granularity=granularity)


@pytest.mark.parametrize("example", [(), None, "text", [], torch.zeros(0, 2), torch.zeros(1, 0)])
def test_an_example_without_a_sample_is_refused(example):
    with pytest.raises(dg.InputError, match="example"):
        dg.from_torch(identity(2), example)


@pytest.mark.parametrize(
    "options",
    [{"granularity": "layer"}, {"aggregate": "max"}, {"shared": True}, {"batch_axis": 5}, {"batch_axis": -1}],
    ids=str,
)
def test_an_unknown_option_is_told_with_its_value(options):
    with pytest.raises(dg.InputError, match=re.escape(str(next(iter(options.values()))))):
        dg.from_torch(identity(2), torch.zeros(1, 2), **options)


def test_something_that_is_no_module_is_refused():
    with pytest.raises(dg.InputError, match="OrderedDict"):
        dg.from_torch(identity(2).state_dict(), torch.zeros(1, 2))


@both
def test_statistics_of_a_whole_batch_are_refused(granularity):
    for norm in (nn.BatchNorm1d(2, track_running_stats=False), Net(batch_normalised)):
        with pytest.raises(dg.UnsupportedOperation, match="batch statistics"):
            trace(nn.Sequential(norm), 1, 2, 4, granularity=granularity)


def batch_normalised(self, x):
    return F.batch_norm(x, None, None, training=True)


# --- what holds for the example only ---------------------------------------------------------------------------------

CHOICES = {
    "argmax": lambda self, x: x.gather(1, x.argmax(1)[:, None]),
    "max": lambda self, x: x.gather(1, x.max(1)[1][:, None]),
    "min": lambda self, x: x.gather(1, x.min(1).indices[:, None]),
    "pool": lambda self, x: F.max_pool1d(x[:, None], 2, return_indices=True)[1] * x[:, None, :1],
    "mask": lambda self, x: torch.stack([each[each > 2] for each in x]),
    "branch": lambda self, x: torch.stack([each if each[0] < 2 else -each for each in x]),
}


@both
@pytest.mark.parametrize("choice", CHOICES)
def test_places_and_branches_are_those_that_the_example_chose(choice, granularity):
    model = nn.Sequential(identity(3), Net(CHOICES[choice]))
    example, other = tensor([[1, 3, 2]]), tensor([[5, 1, 2]])  # the largest and the smallest stand elsewhere
    graph = dg.from_torch(model, example, granularity=granularity)
    assert len(graph.notes) == 1
    assert graph.notes[0].startswith("1: aten.")
    assert "what the example gave" in graph.notes[0]
    assert dg.verify(model, graph, example).ok
    found = dg.verify(model, graph, torch.cat([example, other]))
    assert not found.ok
    assert found.max_rel_error > 0.1
    assert graph.notes[0] in str(found)


@both
def test_a_chosen_place_that_is_returned_is_a_constant_and_unchecked(granularity):
    model = nn.Sequential(identity(3), Net(lambda self, x: (x, x.max(1)[1])))
    graph = dg.from_torch(model, tensor([[1, 3, 2]]), granularity=granularity)
    assert graph.notes == ("output 1 of the model is a choice, the graph has what the example gave",)
    assert graph.output.leaves[1].tolist() == [1]
    found = dg.verify(model, graph, tensor([[1, 3, 2], [5, 1, 2]]))
    assert found.ok
    assert "output 1" in found.unchecked


@both
def test_a_path_that_another_example_takes_is_another_graph(granularity):
    model = Net(lambda self, x: self.a(x) if x.sum() > 0 else -x, a=identity(2))
    one, other = torch.ones(1, 2), -torch.ones(1, 2)
    graphs = [dg.from_torch(model, x, granularity=granularity) for x in (one, other)]
    assert [layer_kinds(graph)[1] for graph in graphs] == ["linear", "scale"]
    for graph, x in zip(graphs, (one, other), strict=True):
        assert len(graph.notes) == 1
        assert dg.verify(model, graph, x).ok
    if granularity == "channel":
        assert not dg.verify(model, graphs[0], other).ok
    else:
        with pytest.raises(dg.ModelError, match="another path"):
            dg.verify(model, graphs[0], other)


@both
def test_random_numbers_among_activations_are_refused(granularity):
    scaled, filled = lambda *shape: 0.1 * torch.randn(shape), lambda *shape: torch.empty(shape).normal_()
    for noise in (torch.randn, torch.rand, scaled, filled):
        model = Net(lambda self, x, noise=noise: self.a(x) + noise(1, 2), a=identity(2))
        with pytest.raises(dg.UnsupportedOperation, match="random"):
            trace(model, 1, 2, granularity=granularity)


def test_replay_tells_which_shape_it_wants():
    graph = trace(mlp(), 1, 2, granularity="position")
    with pytest.raises(dg.InputError, match=r"\(N, 2\), not \(4, 3\)"):
        graph.replay(torch.zeros(4, 3))
    with pytest.raises(dg.InputError, match="1 input"):
        graph.replay(torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(dg.InputError, match="position"):
        trace(mlp(), 1, 2).replay(torch.zeros(4, 2))


def test_weights_that_do_not_fit_are_all_named():
    graph = trace(mlp(), 1, 2)
    state = mlp().state_dict()
    del state["0.bias"]
    state["2.weight"] = torch.zeros(1, 4)
    with pytest.raises(dg.WeightsError, match=r"0\.bias is missing") as caught:
        graph.with_weights(state)
    assert "2.weight is (1, 4) instead of (1, 3)" in str(caught.value)


def test_parameters_are_asked_of_other_weights_each_time_and_buffers_never():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval()
    graph = dg.from_torch(model, torch.zeros(1, 2), fold_norm=False)
    state = {name: torch.rand_like(tensor) for name, tensor in model.named_parameters()}
    other = graph.with_weights(state)  # plain tensors, as a state dict holds
    torch.testing.assert_close(other.weights["1.running_var"], model[1].running_var, rtol=0, atol=0)
    del state["0.weight"]
    with pytest.raises(dg.WeightsError, match=r"0\.weight is missing"):
        other.with_weights(state)


def test_a_layer_is_found_by_name_or_its_near_names_are_told():
    graph = trace(Net(lambda self, x: self.first(x), first=identity(2)), 1, 2)
    assert graph.layer("first").kind == "linear"
    with pytest.raises(dg.InputError, match="did you mean 'first'"):
        graph.layer("firts")
    with pytest.raises(dg.InputError, match="weights"):
        graph.select("weights")
