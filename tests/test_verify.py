"""The graph is the network: replayed, simplified, given other weights or aggregated, it says what the model says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._pytree import tree_leaves

import dnn2graph as dg
from tests.checkpoints import CHECKPOINTS, images, load_checkpoint, require
from tests.memory import peak_of
from tests.strategies import ACTIVATIONS, Net, architectures, fill, make_activation

# Derandomised: torch's kernels round differently on other machines, and a random architecture may cancel in its sums
# more than any fixed tolerance allows.
property_test = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

AGGREGATES = ["sum", "mean", "l1", "l2", "maxabs"]


def outputs_of(found):
    return [np.asarray(leaf.detach()) for leaf in tree_leaves(found) if isinstance(leaf, torch.Tensor)]


def assert_close(found, expected, tolerance=1e-12):
    """Compare outputs relative to the largest value of each."""
    for ours, theirs in zip(outputs_of(found), outputs_of(expected), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(1e-300, np.abs(theirs).max(initial=0)))


def adjacency(graph):
    """Write the graph out as a dense matrix."""
    matrix = np.zeros((len(graph), len(graph)))
    for _, block in graph.blocks():
        np.add.at(matrix, (block.sources, block.targets), block.weights)
    return matrix


# --- random architectures --------------------------------------------------------------------------------------------


@property_test
@given(architectures())
def test_a_position_graph_computes_the_model_in_double_precision(case):
    graph = dg.from_torch(case.model, case.x, granularity="position")
    found = dg.verify(case.model, graph, case.x)
    assert found.tolerance == 1e-12
    assert found.ok, found
    assert_close(graph.replay(case.x), case.model(case.x))


@pytest.mark.parametrize("layer", [nn.AvgPool1d(3), nn.Softmax(1), nn.Flatten()], ids=["pool", "softmax", "flatten"])
def test_a_model_without_weights_is_computed_in_the_precision_of_its_input(layer):
    x = torch.randn(2, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    graph = dg.from_torch(layer, x, granularity="position")
    assert graph.dtype == torch.float64
    assert_close(graph.replay(x), layer(x))


@property_test
@given(architectures(dtype=torch.float32))
def test_a_position_graph_computes_the_model_in_single_precision(case):
    graph = dg.from_torch(case.model, case.x, granularity="position")
    found = dg.verify(case.model, graph, case.x)
    assert found.tolerance == 1e-5
    assert found.ok, found


@property_test
@given(architectures(), st.sampled_from(AGGREGATES))
def test_a_channel_graph_aggregates_the_kernels_of_the_position_graph(case, aggregate):
    graph = dg.from_torch(case.model, case.x, aggregate=aggregate)
    found = dg.verify(case.model, graph, case.x)
    assert found.aggregation_error is not None
    assert found.ok, found


@property_test
@given(architectures())
def test_simplify_and_folding_change_nothing_that_the_graph_computes(case):
    expected = case.model(case.x)
    sizes = []
    for simplify, fold_norm in [(True, True), (True, False), (False, False)]:
        graph = dg.from_torch(case.model, case.x, granularity="position", simplify=simplify, fold_norm=fold_norm)
        assert_close(graph.replay(case.x), expected)
        found = dg.verify(case.model, graph, case.x)
        assert found.ok, found
        sizes.append(len(graph))
    assert sizes == sorted(sizes)  # contraction never adds nodes


@property_test
@given(architectures(most=4), st.sampled_from(AGGREGATES))
def test_simplify_changes_nothing_that_verifies_a_channel_graph(case, aggregate):
    for simplify, fold_norm in [(True, False), (False, False)]:
        graph = dg.from_torch(case.model, case.x, aggregate=aggregate, simplify=simplify, fold_norm=fold_norm)
        found = dg.verify(case.model, graph, case.x)
        assert found.ok, found


@property_test
@given(architectures(), st.sampled_from(["position", *AGGREGATES]), st.integers(0, 2**31 - 1))
def test_other_weights_give_the_graph_of_the_other_model(case, how, seed):
    granularity, aggregate = ("position", "sum") if how == "position" else ("channel", how)
    graph = dg.from_torch(case.model, case.x, granularity, aggregate)
    before = dg.strength(graph)
    state = {name: tensor.clone() for name, tensor in case.model.state_dict().items()}
    other = fill(case.model, seed)
    moved = graph.with_weights({name: tensor.clone() for name, tensor in other.state_dict().items()})
    fresh = dg.from_torch(other, case.x, granularity, aggregate)
    np.testing.assert_array_equal(adjacency(moved), adjacency(fresh))
    np.testing.assert_array_equal(dg.strength(moved), dg.strength(fresh))
    np.testing.assert_array_equal(moved.bias(), fresh.bias())
    if how == "position":
        assert_close(moved.replay(case.x), other(case.x))
    np.testing.assert_array_equal(dg.strength(moved.with_weights(state)), before)


@property_test
@given(architectures(most=3), st.integers(3, 5))
def test_samples_do_not_influence_each_other(case, samples):
    x = torch.randn(samples, *case.x.shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    graph = dg.from_torch(case.model, case.x, granularity="position")
    together = outputs_of(graph.replay(x))
    apart = [outputs_of(graph.replay(x[i : i + 1])) for i in range(samples)]
    for place, joined in enumerate(together):
        each = np.concatenate([parts[place] for parts in apart])
        np.testing.assert_allclose(joined, each, rtol=1e-12, atol=1e-12 * max(1, np.abs(joined).max(initial=0)))


@pytest.mark.parametrize("granularity", ["channel", "position"])
@pytest.mark.parametrize("kind", ACTIVATIONS, ids=lambda kind: kind.__name__)
def test_every_activation_of_torch_is_represented(kind, granularity):
    for start, parts in [
        ((4,), [nn.Linear(4, 3), make_activation(kind, 3), nn.Linear(3, 2)]),
        ((2, 4, 5), [nn.Conv2d(2, 3, 2), make_activation(kind, 3), nn.Conv2d(3, 2, 2), make_activation(kind, 2)]),
    ]:
        model = fill(nn.Sequential(*parts), 0).double()
        x = torch.randn(3, *start, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        graph = dg.from_torch(model, x, granularity=granularity)
        found = dg.verify(model, graph, x)
        assert found.ok, found
        if kind not in (nn.Softsign, nn.Tanhshrink, nn.Softmin):  # which torch makes of several operations
            assert len(graph.layers) == 3
            assert graph.layers[1].activation is not None


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("granularity", ["channel", "position"])
def test_every_mode_of_padding_is_represented(dims, mode, granularity):
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    model = nn.Sequential(
        conv(2, 4, 3, padding=2, dilation=2, padding_mode=mode),
        nn.Tanh(),
        conv(4, 4, 3, 2, padding=1, groups=2, padding_mode=mode),
        nn.ReLU(),
        conv(4, 2, 2, padding="same", padding_mode=mode),
    )
    model = fill(model, 0).double()
    x = torch.randn(2, 2, *[4] * dims, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = dg.verify(model, dg.from_torch(model, x, granularity=granularity), x)
    assert found.ok, found
    assert not found.unchecked


# --- what is common is compared in full ------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.norm2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        out = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu_()))
        out += self.shortcut(x)
        return out.relu_()


def residual_network():
    stem = [nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)]
    blocks = [Block(4, 4, 1), Block(4, 6, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)]
    return nn.Sequential(*stem, *blocks)


def separable_network():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1),
        nn.BatchNorm2d(4),
        nn.ReLU6(),
        nn.Conv2d(4, 4, 3, 1, 1, groups=4),
        nn.BatchNorm2d(4),
        nn.Hardswish(),
        nn.Conv2d(4, 5, 1),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(20, 3),
    )


def dense_network():
    def forward(self, x):
        first = self.a(x).relu()
        second = self.b(torch.cat([x, first], 1)).relu()
        return self.c(torch.cat([x, first, second], 1).mean((2, 3)))

    return Net(forward, a=nn.Conv2d(3, 2, 3, 1, 1), b=nn.Conv2d(5, 2, 3, 1, 1), c=nn.Linear(7, 3))


@pytest.mark.parametrize("build", [residual_network, separable_network, dense_network])
@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("options", [{}, {"fold_norm": False}, {"simplify": False}], ids=str)
def test_every_link_of_a_usual_network_is_compared(build, aggregate, options):
    model = fill(build(), 1).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    graph = dg.from_torch(model, x, aggregate=aggregate, **options)
    found = dg.verify(model, graph, x)
    assert found.ok, found
    assert found.unchecked == ()
    assert found.samples == 2
    assert "computes what the model computes" in str(found)


def siamese():
    parts = {"a": nn.Linear(4, 3), "b": nn.Linear(6, 2)}
    return Net(lambda self, x: self.b(torch.cat([self.a(x).relu(), self.a(-x).relu()], 1)), **parts)


def recursive():
    return Net(lambda self, x: self.a(self.a(self.a(x).tanh()).tanh()), a=nn.Linear(4, 4))


def pyramid():
    def forward(self, x):
        return [self.a(x[:, None]).sum(2), self.a(x[:, None, :3]).sum(2)]

    return Net(forward, a=nn.Conv1d(1, 2, 2))


def normed_twice():
    norm = nn.BatchNorm1d(2)
    return nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 2), norm, nn.ReLU(), nn.Conv1d(2, 2, 1), norm)


def scaled_twice():
    scale = Net(lambda self, x: x * self.factor, factor=nn.Parameter(torch.zeros(4)))
    return nn.Sequential(scale, scale, nn.Linear(4, 2))


@pytest.mark.parametrize("build", [siamese, recursive, pyramid, normed_twice, scaled_twice])
@pytest.mark.parametrize("shared", ["fold", "unfold"])
@pytest.mark.parametrize("granularity", ["channel", "position"])
def test_a_network_that_uses_a_module_twice_is_verified(build, granularity, shared):
    model = fill(build(), 0).double()
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = dg.verify(model, dg.from_torch(model, x, granularity=granularity, shared=shared), x)
    assert found.ok, found


def shifted(channels):
    parts = {"shift": nn.Parameter(torch.zeros(channels)), "scale": nn.Parameter(torch.zeros(1))}
    return Net(lambda self, x: (x + self.shift) * self.scale, **parts)


UNEVEN = {  # chains in which a channel's elements are not all treated alike, or that contract further than positions do
    "convolution, flatten, norm": lambda: [nn.Conv1d(2, 3, 2), nn.Flatten(), nn.BatchNorm1d(9)],
    "flatten, norm, norm": lambda: [nn.Identity(), nn.Flatten(), nn.BatchNorm1d(8), nn.BatchNorm1d(8)],
    "dense, scale, norm": lambda: [nn.Flatten(), nn.Linear(8, 3), shifted(3), nn.BatchNorm1d(3), shifted(3)],
    "scale, norm, scale": lambda: [nn.Flatten(), shifted(8), nn.BatchNorm1d(8), shifted(8)],
    "norm over tokens": lambda: [nn.Linear(4, 3), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(3, 2)],
    "zeros, norm": lambda: [nn.ConstantPad1d(1, 0.0), nn.BatchNorm1d(2), nn.Conv1d(2, 2, 2)],
    "zeros, sigmoid": lambda: [nn.ConstantPad1d(1, 0.0), nn.Sigmoid(), nn.Conv1d(2, 2, 2)],
    "zeros, average": lambda: [nn.ConstantPad1d(1, 0.0), nn.AdaptiveAvgPool1d(1), nn.Conv1d(2, 2, 1)],
    "zeros, flatten, dense": lambda: [nn.ConstantPad1d(1, 0.0), nn.Flatten(), shifted(12), nn.Linear(12, 2)],
    "one token": lambda: [nn.Linear(4, 3), Net(lambda self, x: x[:, 1] * 2), nn.Linear(3, 2)],
}


@pytest.mark.parametrize("chain", UNEVEN)
@pytest.mark.parametrize("options", [{}, {"fold_norm": False}, {"simplify": False}], ids=str)
@pytest.mark.parametrize("aggregate", ["sum", "l2"])
def test_channels_that_are_treated_unevenly_are_verified(chain, aggregate, options):
    model = fill(nn.Sequential(*UNEVEN[chain]()), 0).double()
    x = torch.randn(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = dg.verify(model, dg.from_torch(model, x, aggregate=aggregate, **options), x)
    assert found.ok, found


@pytest.mark.parametrize("granularity", ["channel", "position"])
def test_constants_among_the_neurons_are_verified(granularity):
    def forward(self, x):
        shape = len(x), 1, x.shape[2]
        y = torch.cat([torch.ones(shape, dtype=x.dtype), x, self.token.expand(shape)], 1)
        y = nn.functional.pad(y, (1, 1), value=0.5)
        y[:, :, 2] = -2.0
        return self.a(y)

    model = fill(Net(forward, a=nn.Conv1d(4, 2, 3), token=nn.Parameter(torch.zeros(1, 1, 1))), 0).double()
    x = torch.randn(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = dg.verify(model, dg.from_torch(model, x, granularity=granularity), x)
    assert found.ok, found


@pytest.mark.parametrize("granularity", ["channel", "position"])
def test_features_that_are_masked_with_a_number_are_verified(granularity):
    def forward(self, x):
        return self.b(self.a(x).masked_fill(torch.tensor([True, False, False]), 5.0))

    model = fill(Net(forward, a=nn.Linear(3, 3), b=nn.Linear(3, 2)), 0).double()
    x = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = dg.verify(model, dg.from_torch(model, x, granularity=granularity), x)
    assert found.ok, found


@pytest.mark.parametrize("granularity", ["channel", "position"])
def test_a_shift_of_padded_zeros_follows_other_weights(granularity):
    def forward(self, x):
        return self.a(nn.functional.pad(x, (1, 0)) + self.shift)

    model = fill(Net(forward, a=nn.Linear(4, 2), shift=nn.Parameter(torch.zeros(4))), 0)
    graph = dg.from_torch(model, torch.zeros(1, 3), granularity=granularity)
    moved = graph.with_weights({name: 3 * tensor for name, tensor in model.state_dict().items()})
    np.testing.assert_allclose(moved.bias(), 3 * graph.bias(), rtol=1e-6)
    with torch.no_grad():
        model.shift.zero_()
    assert len(dg.from_torch(model, torch.zeros(1, 3), granularity=granularity)) == len(graph)


@pytest.mark.parametrize("aggregate", ["l1", "l2", "maxabs"])
def test_an_unsigned_aggregation_does_not_turn_a_subtracted_bias_around(aggregate):
    model = Net(lambda self, x: self.a(x).tanh() - self.b(x), a=nn.Linear(2, 2), b=nn.Linear(2, 2))
    with torch.no_grad():
        model.b.bias.fill_(3)
    graph = dg.from_torch(model, torch.zeros(1, 2), aggregate=aggregate)
    owner = next((layer for layer in graph.layers if layer.name == "b"), None)
    if owner is None:  # the difference has taken over the branch
        owner = graph.layer("sub")
        assert graph.bias()[owner.start : owner.stop].tolist() == [-3, -3]
    else:
        assert graph.bias()[owner.start : owner.stop].tolist() == [3, 3]
    assert dg.verify(model, graph, torch.ones(2, 2)).ok


def test_tokens_that_a_layer_treats_alike_are_compared_once():
    model = nn.Linear(48, 48)
    tokens = torch.randn(1, 400, 48)
    graph = dg.from_torch(model, tokens)  # what torch loads the first time does not count
    found, peak = peak_of(dg.verify, model, graph, tokens)
    assert found.ok, found
    assert peak < 8 * 400 * 48 * 48  # a number for each edge of the position graph


def test_features_of_tokens_that_were_mixed_are_not_taken_for_the_tokens():
    model = Net(
        lambda self, x: self.b(self.a(x.transpose(1, 2)).transpose(1, 2)),
        a=nn.Linear(2, 2, bias=False),
        b=nn.Linear(2, 2, bias=False),
    )
    with torch.no_grad():
        model.b.weight.copy_(torch.tensor([[10.0, 20.0], [30.0, 40.0]]))
    graph = dg.from_torch(model, torch.zeros(1, 2, 2), simplify=False)
    a, b = graph.layer("a"), graph.layer("b")
    # A node of `a` is a token: each of its features meets its own weight of `b`.
    expected = [[30, 70], [30, 70]]
    assert adjacency(graph)[a.start : a.stop, b.start : b.stop].tolist() == expected
    assert dg.verify(model, graph, torch.ones(1, 2, 2)).ok


# --- what is wrong is found ------------------------------------------------------------------------------------------


def small_network():
    features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Conv2d(2, 2, 2), nn.Sigmoid())
    return fill(nn.Sequential(features, nn.Flatten(), nn.Linear(18, 4), nn.Tanh(), nn.Linear(4, 2)), 0)


@pytest.mark.parametrize("granularity", ["channel", "position"])
@pytest.mark.parametrize(
    ("parameter", "layer"),
    [
        ("0.0.weight", "0.0"),
        ("0.0.bias", "0.0"),
        ("0.2.weight", "0.2"),
        ("2.weight", "2"),
        ("2.bias", "2"),
        ("4.weight", "4"),
        ("4.bias", "4"),
    ],
)
def test_one_wrong_weight_is_found_and_its_layer_named(parameter, layer, granularity):
    model = small_network()
    x = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    graph = dg.from_torch(model, x, granularity=granularity)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert dg.verify(model, graph.with_weights(state), x).ok
    state[parameter].view(-1)[1] += 0.01
    found = dg.verify(model, graph.with_weights(state), x)
    assert not found.ok
    assert not found
    assert found.first_divergent_layer == layer
    assert f"first diverging layer: {layer}" in str(found)
    assert "does NOT compute" in str(found)
    assert found.max_rel_error > 1e-5
    wrong = [each.layer for each in found.layers if each.max_rel_error > found.tolerance]
    assert wrong[0] == layer
    assert wrong[-1] == "4"


def test_a_wrong_running_mean_is_found():
    model = fill(nn.Sequential(nn.Conv1d(1, 2, 2), nn.BatchNorm1d(2), nn.Tanh(), nn.Conv1d(2, 2, 2)), 0)
    x = torch.randn(2, 1, 5, generator=torch.Generator().manual_seed(0))
    for options, layer in [({}, "0"), ({"fold_norm": False}, "1"), ({"simplify": False}, "1")]:
        graph = dg.from_torch(model, x, granularity="position", **options)
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        state["1.running_mean"][0] += 1
        found = dg.verify(model, graph.with_weights(state), x)
        assert not found.ok
        assert found.first_divergent_layer == layer


@pytest.mark.parametrize("granularity", ["channel", "position"])
def test_a_graph_with_weights_that_are_not_finite_does_not_verify_against_a_finite_model(granularity):
    model = small_network()
    x = torch.randn(2, 1, 6, 6)
    graph = dg.from_torch(model, x, granularity=granularity)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["2.weight"][0, 0] = torch.nan
    found = dg.verify(model, graph.with_weights(state), x)
    assert not found.ok
    assert found.first_divergent_layer == "2"
    assert found.max_abs_error == float("inf")


def test_infinite_activations_agree_with_themselves():
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight[0, 0] = torch.inf
    x = torch.ones(3, 2)
    assert dg.verify(model, dg.from_torch(model, x, granularity="position"), x).ok


GATED = {
    "product": lambda h: h[:, :, 1:] * h[:, :, :-1],
    "largest": lambda h: torch.maximum(h[:, :, 1:], h[:, :, :-1]),
    "mixture": lambda h: torch.lerp(h[:, :, 1:], h[:, :, :-1], h[:, :, :-1].sigmoid()),
    "quantile": lambda h: h.quantile(0.3, dim=2),
}


@pytest.mark.parametrize("case", GATED)
def test_positions_of_one_channel_that_gate_each_other_are_verified(case):
    model = Net(lambda self, x: GATED[case](self.a(x)), a=nn.Conv1d(2, 3, 1)).double()
    x = torch.randn(2, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = dg.verify(model, dg.from_torch(model, x[:1]), x[:1])
    assert found.ok, found


@pytest.mark.parametrize("aggregate", ["sum", "mean", "l1", "l2", "maxabs"])
def test_neighbours_that_are_added_beside_a_learned_token_are_verified(aggregate):
    def forward(self, x):
        tokens = torch.cat([self.token.expand(len(x), 1, 2), x], 1)
        return tokens[:, 1:] + tokens[:, :-1]

    model = fill(Net(forward, token=nn.Parameter(torch.zeros(1, 1, 2))), 0).double()
    x = torch.randn(2, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = dg.verify(model, dg.from_torch(model, x, aggregate=aggregate), x)
    assert found.ok, found
    assert found.tolerance == 1e-12


def test_a_difference_that_rounding_may_make_is_told_from_a_wrong_graph():
    model = Net(lambda self, x: self.a(torch.sin(3000 * self.b(x))), a=nn.Linear(16, 2), b=nn.Linear(4, 16))
    model, x = fill(model, 0), torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    graph = dg.from_torch(model, x)
    found = dg.verify(model, graph, x, tolerance=1e-7)
    assert not found
    assert "rounding" not in str(found)  # a tolerance of one's own is meant
    steep = replace(found, tolerance=1e-5, max_rel_error=5e-5)
    assert "so little may be rounding: repeat in float64" in str(steep)
    assert dg.verify(model.double(), graph, x.double()).max_rel_error < 1e-10


def test_a_model_that_mixes_samples_is_told():
    model = Net(lambda self, x: self.a(x) - x.mean(0, keepdim=True), a=nn.Linear(2, 2))
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    graph = dg.from_torch(model, x)
    found = dg.verify(model, graph, x)
    assert not found
    assert "the first sample agrees in every layer: the model mixes samples" in str(found)


@pytest.mark.parametrize(
    ("convert", "tolerance"), [(torch.Tensor.half, 2e-2), (torch.Tensor.float, 1e-5), (torch.Tensor.double, 1e-12)]
)
def test_the_tolerance_is_that_of_the_coarsest_precision(convert, tolerance):
    model = Net(lambda self, x: convert(self.a(x)), a=nn.Linear(2, 2)).double()
    x = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = dg.verify(model, dg.from_torch(model, x), x)
    assert found.ok, found
    assert found.tolerance == tolerance


def test_one_over_a_whole_number_is_as_precise_as_what_it_divides():
    model = Net(lambda self, x: x / torch.tensor([3, 7]))
    graph = dg.from_torch(model, torch.ones(1, 2, dtype=torch.float64), "position")
    assert graph.replay(torch.ones(1, 2, dtype=torch.float64)).tolist() == [[1 / 3, 1 / 7]]


def test_a_stricter_tolerance_can_be_asked_for():
    model = fill(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3)), 0)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    graph = dg.from_torch(model, x, granularity="position")
    assert dg.verify(model, graph, x).ok
    found = dg.verify(model, graph, x, tolerance=0.0)
    assert found.tolerance == 0
    assert found.ok == (found.max_rel_error == 0 and found.first_divergent_layer is None)


def test_a_model_that_takes_another_path_is_told():
    def forward(self, x):
        return self.b(self.a(x)) if self.deep else self.a(x)

    model = Net(forward, a=nn.Linear(2, 2), b=nn.Linear(2, 2), deep=False)
    x = torch.ones(1, 2)
    graphs = [dg.from_torch(model, x, granularity) for granularity in ("position", "channel")]
    model.deep = True
    with pytest.raises(dg.ModelError, match="another path"):
        dg.verify(model, graphs[0], x)
    assert not dg.verify(model, graphs[1], x).ok


def test_verification_leaves_the_example_and_the_model_as_they_were():
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(), nn.ReLU(inplace=True))
    model.train()
    x = torch.randn(4, 3)
    kept = x.clone()
    assert dg.verify(model, dg.from_torch(model, x, granularity="position"), x).ok
    assert model.training
    assert model[1].training
    assert torch.equal(x, kept)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_example_that_does_not_fit_is_told():
    model = nn.Linear(3, 2)
    graph = dg.from_torch(model, torch.zeros(1, 3), granularity="position")
    with pytest.raises(dg.Dnn2graphError, match=r"\(1, 4\)"):
        dg.verify(model, graph, torch.zeros(5, 4))


# --- trained networks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_graph_of_a_trained_network_computes_it(name):
    require(name)
    model = load_checkpoint(name)
    x, _ = images(name, 1 if name == "facedet_slim" else 2)
    for granularity in ("position", "channel"):
        found = dg.verify(model, dg.from_torch(model, x, granularity), x, tolerance=1e-5)
        assert found.ok, found
        assert found.unchecked == ()
        assert found.max_rel_error <= 1e-5


CLASSIFIERS = [name for name, checkpoint in CHECKPOINTS.items() if checkpoint.dataset]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_replayed_graph_classifies_a_thousand_images_as_the_model_does(name):
    require(name)
    model = load_checkpoint(name)
    x, _ = images(name, 1000)
    graph = dg.from_torch(model, x[:1], granularity="position")
    with torch.inference_mode():
        expected = torch.cat([model(batch).argmax(1) for batch in x.split(250)])
    with torch.no_grad():
        found = torch.cat([graph.replay(batch).argmax(1) for batch in x.split(250)])
    assert torch.equal(found, expected)
