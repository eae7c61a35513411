"""Null models keep exactly what they promise and change what they must, whatever the geometry of the links."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

import dnn2graph as dg
from dnn2graph.activity import functional_graph
from dnn2graph.links import Convolution, Listed
from dnn2graph.nulls import KINDS, null_model
from dnn2graph.nulls.rewiring import traded
from dnn2graph.sparsify import sparsify
from dnn2graph.weights import Call
from tests.networks import (
    NETWORKS,
    by_hand,
    every_network,
    graph_of,
    graph_of_links,
    mlp_2_2_1,
    traced,
)
from tests.strategies import Net, convolutions, fill, links

property_test = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**32 - 1)
KEEPING_EDGES = [kind for kind in KINDS if kind not in ("rewire", "initialisation")]


def weights_of(graph):
    """List the weights of each links' edges, sorted."""
    return [np.sort(each.coo().weights.astype(np.float64)) for each in graph.links]


def edges_of(graph):
    """List the edges of each links as a set of pairs."""
    return [{*zip(b.sources.tolist(), b.targets.tolist(), strict=True)} for b in (each.coo() for each in graph.links)]


def degrees_of(links, nodes):
    """Count the edges into and out of each node, on the unrolled links."""
    block = links.coo()
    return np.bincount(block.targets, minlength=nodes), np.bincount(block.sources, minlength=nodes)


def sums_of(links, nodes):
    """Sum the weights into and out of each node, on the unrolled links."""
    block = links.coo()
    return np.bincount(block.targets, block.weights, nodes), np.bincount(block.sources, block.weights, nodes)


# --- what is kept ----------------------------------------------------------------------------------------------------


@property_test
@given(links(), seeds)
def test_a_weight_shuffle_keeps_the_edges_and_all_their_weights(link, seed):
    graph = graph_of_links(link)
    null = null_model(graph, "weight-shuffle", seed)
    np.testing.assert_array_equal(weights_of(null)[0], weights_of(graph)[0])
    assert edges_of(null) == edges_of(graph)


@property_test
@given(links(), seeds)
def test_a_sign_shuffle_keeps_every_absolute_weight_and_how_many_are_negative(link, seed):
    graph = graph_of_links(link)
    null = null_model(graph, "sign-shuffle", seed)
    before, after = graph.links[0].coo(), null.links[0].coo()
    np.testing.assert_array_equal(np.abs(after.weights), np.abs(before.weights))
    np.testing.assert_array_equal(after.targets, before.targets)
    assert np.count_nonzero(after.weights < 0) == np.count_nonzero(before.weights < 0)


@property_test
@given(links(), seeds, st.sampled_from([("in-weight-shuffle", 0), ("out-weight-shuffle", 1)]))
def test_shuffles_at_one_end_keep_the_strength_of_every_node_at_that_end(link, seed, kind):
    graph, nodes = graph_of_links(link), len(graph_of_links(link))
    null = null_model(graph, kind[0], seed)
    # Weights are small whole numbers: sums are exact in every order.
    np.testing.assert_array_equal(sums_of(null.links[0], nodes)[kind[1]], sums_of(link, nodes)[kind[1]])
    np.testing.assert_array_equal(degrees_of(null.links[0], nodes)[0], degrees_of(link, nodes)[0])
    assert edges_of(null) == edges_of(graph)


@property_test
@given(links(), seeds)
def test_gaussian_weights_have_the_mean_and_the_deviation_of_the_edges(link, seed):
    graph = graph_of_links(link)
    null = null_model(graph, "gaussian", seed)
    assert edges_of(null) == edges_of(graph)
    before, after = weights_of(graph)[0], weights_of(null)[0]
    if len(before):
        # Float64 throughout: what is left is the rounding of sums of at most a few thousand weights below 10.
        np.testing.assert_allclose(after.mean(), before.mean(), rtol=1e-9, atol=1e-9)
    if len(np.unique(link.kernel()[link.kernel() != 0])) > 1 and len(np.unique(after)) > 1:
        np.testing.assert_allclose(after.std(), before.std(), rtol=1e-9, atol=1e-9)


@property_test
@given(links(convolutions()), seeds)
def test_rewiring_keeps_both_degrees_and_the_out_strength_of_every_node(link, seed):
    graph, nodes = graph_of_links(link), len(graph_of_links(link))
    try:
        null = null_model(graph, "rewire", seed)
    except dg.InputError:
        return  # dense, or nested: tested below
    for before, after in zip(degrees_of(link, nodes), degrees_of(null.links[0], nodes), strict=True):
        np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(sums_of(null.links[0], nodes)[1], sums_of(link, nodes)[1])
    np.testing.assert_array_equal(weights_of(null)[0], weights_of(graph)[0])


@every_network
@pytest.mark.parametrize("kind", KEEPING_EDGES)
def test_real_networks_keep_their_edges_and_change_their_weights(network, kind):
    graph = graph_of(network)
    null = null_model(graph, kind, 1)
    assert edges_of(null) == edges_of(graph)
    assert null.layers is graph.layers
    fixed = [each for each in graph.links if each.kind != "weight"]
    assert [each for each in null.links if each.kind != "weight"] == fixed
    changed = [not torch.equal(a.kernel(), b.kernel()) for a, b in zip(graph.links, null.links, strict=True)]
    positive = all(bool((each.kernel() >= 0).all()) for each in graph.select("weight"))
    assert any(changed) != (kind == "sign-shuffle" and positive)


@every_network
def test_strengths_at_the_kept_end_survive_in_real_networks(network):
    """With folded norms, circular gaps, concatenations: in float32 the order of a sum changes its last bits."""
    graph = graph_of(network)
    into, out_of = dg.directed_strengths(graph, kinds="weight")
    scale = dg.strength(graph, weight="abs").max()
    found = dg.directed_strengths(null_model(graph, "in-weight-shuffle", 2), kinds="weight")
    np.testing.assert_allclose(found[0], into, rtol=0, atol=1e-6 * scale)
    assert np.abs(found[1] - out_of).max() > 1e-3 * scale
    found = dg.directed_strengths(null_model(graph, "out-weight-shuffle", 2), kinds="weight")
    np.testing.assert_allclose(found[1], out_of, rtol=0, atol=1e-6 * scale)
    assert np.abs(found[0] - into).max() > 1e-3 * scale


@pytest.mark.parametrize("mode", ["circular", "reflect"])
def test_in_strengths_are_kept_where_two_taps_join_the_same_nodes(mode):
    graph = traced(nn.Conv1d(3, 4, 3, padding=1, padding_mode=mode), 3, 3, granularity="position")
    assert any(each.is_irregular for each in graph.links)
    null = null_model(graph, "in-weight-shuffle", 0)
    np.testing.assert_allclose(dg.strength(null, "in"), dg.strength(graph, "in"), atol=1e-6)
    assert np.abs(dg.strength(null, "out") - dg.strength(graph, "out")).max() > 0.01


def test_a_shuffle_of_a_convolution_keeps_in_strengths_at_its_borders():
    """Without padding every position meets every tap, and all 9 of a target's weights may change places."""
    padded = traced(nn.Conv1d(3, 2, 3, padding=1, bias=False), 3, 8, granularity="position")
    bare = traced(nn.Conv1d(3, 2, 3, bias=False), 3, 8, granularity="position")
    for graph, within_tap in ((padded, True), (bare, False)):
        null = null_model(graph, "in-weight-shuffle", 0)
        np.testing.assert_allclose(dg.strength(null, "in"), dg.strength(graph, "in"), atol=1e-6)
        before, after = graph.links[0].kernel(), null.links[0].kernel()
        same_taps = bool((before.sort(1).values == after.sort(1).values).all())
        assert same_taps == within_tap
        assert torch.equal(before.reshape(2, -1).sort(1).values, after.reshape(2, -1).sort(1).values)


# --- every permutation equally often ---------------------------------------------------------------------------------


def test_all_permutations_of_weights_are_drawn_equally_often():
    graph = by_hand()
    layer = replace(graph, links=graph.links[:1])  # 3 weights that are not zero: 6 permutations
    nulls = (null_model(layer, "weight-shuffle", seed) for seed in range(900))
    drawn = [tuple(null.links[0].kernel().reshape(-1).tolist()) for null in nulls]
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert scipy_pvalue(counts) > 0.01
    assert {weights[1] for weights in drawn} == {0.0}  # the weight that is no edge is at its place


def test_all_wirings_with_the_same_degrees_are_drawn_equally_often():
    """Three sources of degree 1, three targets of degree 1: the 6 permutations."""
    source, target = np.arange(3), np.arange(3)
    drawn = [traded(source, target, np.random.default_rng(seed)) for seed in range(900)]
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert scipy_pvalue(counts) > 0.01


def scipy_pvalue(counts):
    from scipy.stats import chisquare

    return chisquare(counts).pvalue


# --- rewiring --------------------------------------------------------------------------------------------------------


def pruned(groups=1, structured=False, seed=0):
    """Make a convolution with half of its weights, or of its pairs of channels, pruned; then a dense layer."""
    model = fill(nn.Sequential(nn.Conv2d(6, 8, 3, padding=1, groups=groups), nn.Flatten(), nn.Linear(128, 3)), seed)
    if structured:
        mask = torch.zeros(model[0].weight.shape)
        mask[torch.rand(mask.shape[:2], generator=torch.Generator().manual_seed(seed)) < 0.5] = 1
        prune.custom_from_mask(model[0], "weight", mask)
    else:
        torch.manual_seed(seed)
        prune.random_unstructured(model[0], "weight", 0.5)
    return model


@pytest.mark.parametrize(("granularity", "structured"), [("channel", True), ("position", True), ("position", False)])
@pytest.mark.parametrize("groups", [1, 2])
def test_pruned_convolutions_are_rewired_and_keep_every_degree(granularity, structured, groups):
    graph = dg.from_torch(pruned(groups, structured), torch.zeros(1, 6, 4, 4), granularity=granularity)
    null = null_model(graph, "rewire", 3)
    before, after = graph.links[0], null.links[0]
    for old, new in zip(degrees_of(before, len(graph)), degrees_of(after, len(graph)), strict=True):
        np.testing.assert_array_equal(new, old)
    assert edges_of(null)[0] != edges_of(graph)[0]
    assert edges_of(null)[1] == edges_of(graph)[1]  # the dense layer has no other wiring
    np.testing.assert_allclose(sums_of(after, len(graph))[1], sums_of(before, len(graph))[1], atol=1e-5)


def test_the_taps_of_a_pair_of_channels_move_together():
    graph = dg.from_torch(pruned(structured=True), torch.zeros(1, 6, 4, 4), granularity="position")
    before, after = (each.links[0].kernel().flatten(2) for each in (graph, null_model(graph, "rewire", 3)))
    for channel in range(6):  # a pair stays with its source
        old, new = ({tuple(taps) for taps in kernel[:, channel].tolist()} for kernel in (before, after))
        assert old == new
    assert not torch.equal(before, after)


def test_a_sparse_graph_is_rewired_edge_by_edge():
    sparse = sparsify(graph_of("convolutional-position"), max_edges=300)
    null = null_model(sparse, "rewire", 0)
    assert edges_of(null) == edges_of(null_model(sparse, "rewire", 0)) != edges_of(null_model(sparse, "rewire", 1))
    assert any(a != b for a, b in zip(edges_of(sparse), edges_of(null), strict=True))
    for before, after in zip(sparse.links, null.links, strict=True):
        assert isinstance(after.map, Listed)
        for old, new in zip(degrees_of(before, len(sparse)), degrees_of(after, len(sparse)), strict=True):
            np.testing.assert_array_equal(new, old)
        pairs = np.stack([after.map.source, after.map.target])
        assert np.unique(pairs, axis=1).shape == pairs.shape
        assert (np.lexsort(pairs[::-1]) == np.arange(pairs.shape[1])).all()
        np.testing.assert_allclose(sums_of(after, len(sparse))[1], sums_of(before, len(sparse))[1], atol=1e-6)


@pytest.mark.parametrize("kind", KEEPING_EDGES)
def test_a_sparse_graph_is_shuffled_on_its_own_edges(kind):
    sparse = sparsify(graph_of("convolutional-position"), max_edges=300)
    null = null_model(sparse, kind, 0)
    assert edges_of(null) == edges_of(sparse)
    if kind == "in-weight-shuffle":
        np.testing.assert_allclose(dg.strength(null, "in"), dg.strength(sparse, "in"), atol=1e-5)
    assert not np.allclose(dg.strength(null), dg.strength(sparse))


def test_a_dense_network_says_that_it_cannot_be_rewired():
    graph = traced(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), 3)
    with pytest.raises(dg.InputError, match=r"nothing can be rewired.*'0', '1'.*prune the model or sparsify"):
        null_model(graph, "rewire", 0)


def test_nested_sets_of_targets_say_that_they_cannot_be_rewired():
    layer = nn.Linear(3, 3, bias=False)
    layer.weight.data = torch.tensor([[1.0, 2, 3], [0, 4, 5], [0, 0, 6]])
    with pytest.raises(dg.InputError, match="the pairs are nested"):
        null_model(dg.from_torch(layer, torch.zeros(1, 3)), "rewire", 0)


def test_links_whose_taps_meet_again_are_rewired_after_their_edges_are_listed():
    model = fill(nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular"), 0)
    prune.l1_unstructured(model, "weight", 0.5)
    graph = dg.from_torch(model, torch.zeros(1, 3, 4), granularity="position")
    with pytest.raises(dg.InputError, match=r"cannot be rewired in place.*sparsify\(graph, threshold=0\)"):
        null_model(graph, "rewire", 0)
    listed = sparsify(graph, method="threshold", threshold=0)
    null = null_model(listed, "rewire", 0)
    for before, after in zip(listed.links, null.links, strict=True):
        for old, new in zip(degrees_of(before, len(graph)), degrees_of(after, len(graph)), strict=True):
            np.testing.assert_array_equal(new, old)
    assert edges_of(null) != edges_of(listed)


# --- weight expressions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KEEPING_EDGES)
def test_tied_layers_stay_tied(kind):
    shared = nn.Linear(5, 5, bias=False)
    model = Net(lambda self, x: self.b(torch.relu(self.a(x))), a=shared, b=shared)
    graph = dg.from_torch(fill(model, 0), torch.zeros(1, 5), shared="unfold")
    first, second = graph.select("weight")
    assert torch.equal(first.kernel(), second.kernel())
    first, second = null_model(graph, kind, 4).select("weight")
    assert torch.equal(first.kernel(), second.kernel())
    assert not torch.equal(first.kernel(), graph.select("weight")[0].kernel())


@pytest.mark.parametrize("kind", ["weight-shuffle", "sign-shuffle", "gaussian"])
def test_a_decoder_that_is_the_transposed_encoder_stays_so(kind):
    model = Net(
        lambda self, x: nn.functional.linear(torch.relu(self.encoder(x)), self.encoder.weight.t()),
        encoder=nn.Linear(5, 3, bias=False),
    )
    graph = traced(model, 5)
    encoder, decoder = null_model(graph, kind, 4).select("weight")
    assert torch.equal(encoder.kernel().t(), decoder.kernel())
    assert not torch.equal(encoder.kernel(), graph.select("weight")[0].kernel())


def test_layers_of_equal_shape_are_drawn_apart():
    model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False))
    for layer in model:
        layer.weight.data = torch.arange(36.0).reshape(6, 6) + 1
    first, second = null_model(dg.from_torch(model, torch.zeros(1, 6)), "weight-shuffle", 0).links
    assert not torch.equal(first.kernel(), second.kernel())


@every_network
@pytest.mark.parametrize("kind", [*KEEPING_EDGES, "initialisation"])
def test_the_same_seed_gives_the_same_null_and_another_seed_another(network, kind):
    graph = graph_of(network)
    first, again, other = (null_model(graph, kind, seed).adjacency() for seed in (1, 1, 2))
    assert (first != again).nnz == 0
    positive = all(bool((each.kernel() >= 0).all()) for each in graph.select("weight"))
    assert ((first != other).nnz > 0) != (kind == "sign-shuffle" and positive)


def test_numbers_are_the_same_on_every_machine():
    """Numbers that were written down once: seeds are hashed by content, never by address or process."""
    layer = nn.Linear(4, 3)
    layer.weight.data = torch.arange(1.0, 13.0).reshape(3, 4)
    null = null_model(dg.from_torch(layer, torch.zeros(1, 4)), "weight-shuffle", 7)
    assert null.links[0].kernel().tolist() == [[9.0, 12.0, 4.0, 10.0], [6.0, 2.0, 8.0, 11.0], [3.0, 1.0, 5.0, 7.0]]


@pytest.mark.parametrize("kind", KINDS)
def test_null_models_can_be_pickled(kind):
    graph = graph_of("residual-position")
    graph = sparsify(graph, max_edges=200) if kind == "rewire" else graph
    null = null_model(graph, kind, 5)
    again = pickle.loads(pickle.dumps(null))
    np.testing.assert_array_equal(dg.strength(again), dg.strength(null))
    # Drawn from a graph that went through a file: expressions say the same.
    drawn = null_model(pickle.loads(pickle.dumps(graph)), kind, 5)
    np.testing.assert_array_equal(dg.strength(drawn), dg.strength(null))


@pytest.mark.parametrize("kind", KEEPING_EDGES)
def test_a_null_model_takes_other_weights_as_every_graph_does(kind):
    graph = graph_of("convolutional-position")
    state = {name: value * 2 for name, value in fill(NETWORKS["convolutional"](), 7).state_dict().items()}
    one = null_model(graph, kind, 5).with_weights(state)
    other = null_model(graph.with_weights(state), kind, 5)
    np.testing.assert_array_equal(dg.strength(one), dg.strength(other))


@pytest.mark.parametrize("kind", KEEPING_EDGES)
def test_native_measures_are_those_of_the_unrolled_null(kind):
    null = null_model(graph_of("separable-position"), kind, 5)
    matrix = null.adjacency().astype(np.float64)
    np.testing.assert_allclose(dg.strength(null), matrix.sum(0) + matrix.sum(1), atol=1e-5)


def test_the_graph_of_a_null_can_be_replayed():
    null = null_model(graph_of("convolutional-position"), "weight-shuffle", 0)
    x = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    assert null.replay(x).shape == (2, 5)
    assert not torch.allclose(null.replay(x), graph_of("convolutional-position").replay(x))


def test_autograd_follows_a_shuffle():
    model = mlp_2_2_1()
    null = null_model(dg.from_torch(model, torch.zeros(1, 2)), "weight-shuffle", 0)
    dg.functional.strength(null, model, "in").sum().backward()
    # In-strengths sum up all weights that are edges, wherever they stand.
    assert torch.equal(model[2].weight.grad, torch.ones(1, 2))
    assert model[0].weight.grad.sum() == 4


def test_other_kinds_of_links_are_drawn_where_they_are_named():
    graph = graph_of("convolutional-position")
    null = null_model(graph, "gaussian", 0, kinds=("pool",))
    changed = {a.kind for a, b in zip(graph.links, null.links, strict=True) if a is not b}
    assert changed == {"pool"}


def test_half_precision_is_shuffled_too():
    graph = dg.from_torch(fill(nn.Linear(4, 3), 0).bfloat16(), torch.zeros(1, 4, dtype=torch.bfloat16))
    for kind in KEEPING_EDGES:
        null = null_model(graph, kind, 0)
        assert null.links[0].kernel().dtype == torch.bfloat16
        assert null.links[0].kernel().isfinite().all()


# --- initialisation --------------------------------------------------------------------------------------------------


def test_a_model_initialises_itself_and_leaves_the_global_random_numbers_alone():
    model = fill(NETWORKS["convolutional"](), 0)
    graph = dg.from_torch(model, torch.zeros(1, 2, 6, 6))
    state = torch.random.get_rng_state()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    null = null_model(graph, "initialisation", 3, model=model)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    bound = 1 / np.sqrt(2 * 9)
    assert null.weights["0.weight"].abs().max() <= bound
    assert torch.equal(null.weights["1.running_var"], torch.ones(4))
    assert torch.equal(null.weights["1.weight"], torch.ones(4))
    again = null_model(graph, "initialisation", 3, model=model)
    assert torch.equal(null.weights["0.weight"], again.weights["0.weight"])


def test_a_function_builds_a_fresh_model():
    graph = dg.from_torch(fill(NETWORKS["convolutional"](), 0), torch.zeros(1, 2, 6, 6))
    null = null_model(graph, "initialisation", 3, model=NETWORKS["convolutional"])
    other = null_model(graph, "initialisation", 4, model=NETWORKS["convolutional"])
    assert not torch.equal(null.weights["0.weight"], other.weights["0.weight"])


def test_a_parameter_that_nothing_initialises_is_named():
    model = Net(lambda self, x: x @ self.matrix)
    model.matrix = nn.Parameter(torch.randn(3, 2))
    graph = dg.from_torch(model, torch.zeros(1, 3))
    with pytest.raises(dg.InputError, match=r"nothing initialises matrix.*function that builds the model"):
        null_model(graph, "initialisation", 0, model=model)


def test_shapes_say_how_parameters_are_drawn_without_a_model():
    """A Kolmogorov-Smirnov test against the distributions that torch documents."""
    from scipy.stats import kstest

    model = fill(nn.Sequential(nn.Conv2d(4, 50, 3), nn.BatchNorm2d(50), nn.Flatten(), nn.Linear(50, 200)), 0)
    graph = dg.from_torch(model, torch.zeros(1, 4, 3, 3))
    weights = null_model(graph, "initialisation", 0).weights
    for name, fan_in in (("0.weight", 36), ("0.bias", 36), ("3.weight", 50), ("3.bias", 50)):
        bound = fan_in**-0.5
        values = weights[name].double().flatten().numpy()
        assert kstest(values, "uniform", args=(-bound, 2 * bound)).pvalue > 0.01, name
    expected = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    for name, value in expected.items():
        assert torch.equal(weights[f"1.{name}"], torch.full((50,), value))


def test_the_distributions_of_the_paper_can_be_asked_for():
    graph = traced(nn.Sequential(nn.Linear(60, 60), nn.Linear(60, 5)), 60)
    null = null_model(graph, "initialisation", 0, initialisation="uniform", support=0.05)
    values = torch.cat([null.weights[f"{layer}.{own}"].flatten() for layer in (0, 1) for own in ("weight", "bias")])
    assert values.abs().max() <= 0.05
    assert abs(values.std().item() - 0.05 / 3**0.5) < 0.001  # 3 965 values: four standard errors


def test_masks_of_pruning_outlast_a_fresh_initialisation():
    graph = dg.from_torch(pruned(), torch.zeros(1, 6, 4, 4))
    before, after = graph.links[0].kernel(), null_model(graph, "initialisation", 0).links[0].kernel()
    assert torch.equal(before == 0, after == 0)
    assert not torch.equal(before, after)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("shuffle", {}, "kind='shuffle' is unknown: choose from weight-shuffle"),
        ("weight-shuffle", {"kinds": ("pool",)}, "no links of kinds pool"),
        ("weight-shuffle", {"kinds": ("heavy",)}, "unknown link kind"),
        ("gaussian", {"support": 0.5}, "support= belongs to kind='initialisation'"),
        ("initialisation", {"support": 0.5}, "belong together"),
        ("initialisation", {"initialisation": "big", "support": 0.5}, "'big' is unknown: choose from normal"),
        ("initialisation", {"initialisation": "normal", "support": 0.5, "model": mlp_2_2_1()}, "give either model"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(kind, options, message):
    with pytest.raises(dg.InputError, match=message):
        null_model(by_hand(), kind, 0, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_not_finite_are_refused(kind):
    model = mlp_2_2_1()
    model[2].weight.data[0, 1] = float("nan")
    with pytest.raises(dg.WeightsError, match="layer '2' has 1 non-finite"):
        null_model(dg.from_torch(model, torch.zeros(1, 2)), kind, 0)


def test_links_that_are_scaled_by_activity_are_refused():
    random = torch.Generator().manual_seed(0)
    active = functional_graph(graph_of("separable-position"), torch.rand(3, 2, 6, 6, generator=random))
    with pytest.raises(dg.InputError, match="are scaled by what flows along them"):
        null_model(active, "weight-shuffle", 0)


def test_only_names_and_shapes_and_no_weights_are_in_a_null():
    """A null holds expressions: as many bytes for a large layer as for a small one."""
    graph = traced(nn.Linear(300, 200), 300)
    null = null_model(graph, "weight-shuffle", 0)
    weight = null.links[0].weight
    assert isinstance(weight, Call)
    assert isinstance(null.links[0].map, Convolution)
    assert len(pickle.dumps(weight)) < 2000
