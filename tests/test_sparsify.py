"""Of a graph's edges those stay that the rule says, whatever way they are found; the receipt is true."""

from __future__ import annotations

import math
import subprocess
import sys
from contextlib import contextmanager
from itertools import count
from unittest.mock import patch

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

import dnn2graph as dg
from dnn2graph.errors import InputError, WeightsError
from dnn2graph.sparsify import METHODS, SparseGraph, by_links, by_node, edges, sparsify, unroll
from dnn2graph.sparsify.census import census, degrees
from dnn2graph.sparsify.graph import scaled_entries
from dnn2graph.sparsify.reach import output_nodes
from tests.networks import by_hand, every_network, graph_of, graph_of_links, mlp_2_2_1, with_parallel_links
from tests.strategies import Net, architectures, fill, links

property_test = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


# --- what the rules say, worked out on the unrolled graph ------------------------------------------------------------


def unrolled(graph):
    """List the edges as tuples (links, source, target, |w|)."""
    found = []
    for number, each in enumerate(graph.links):
        block = each.coo()
        weights = np.abs(block.weights).astype(float).tolist()
        numbers = [number] * len(weights)
        found += zip(numbers, block.sources.tolist(), block.targets.tolist(), weights, strict=True)
    return found


def strongest_first(edges):
    return sorted(edges, key=lambda e: (-e[3], e[1], e[2], e[0]))


def by_score(scored, most):
    """Take the edges of a dictionary from edge to score that a budget keeps."""
    ranked = sorted(strongest_first(scored), key=scored.__getitem__)  # stable: ties stay strongest first
    return set(ranked if most is None else ranked[:most])


def of_links(edges):
    groups = {}
    for edge in strongest_first(edges):
        groups.setdefault(edge[0], []).append(edge)
    return groups


def rule_mass(graph, edges, most, _):
    masses = census(graph, graph.links).masses  # their own test compares them with the edges
    scored = {}
    for number, group in of_links(edges).items():
        before = np.cumsum([e[3] for e in group]) - [e[3] for e in group]
        scored |= dict(zip(group, (before / masses[number]).tolist(), strict=True))
    return by_score(scored, most)


def rule_quantile(graph, edges, most, hundredths):
    scored = {}
    for group in of_links(edges).values():
        kept = -(-(100 - (hundredths or 0)) * len(group) // 100)
        scored |= {edge: place / len(group) for place, edge in enumerate(group[:kept])}
    return by_score(scored, most)


def rule_threshold(graph, edges, most, least):
    return by_score({edge: -edge[3] for edge in edges if edge[3] >= (least or 0)}, most)


def rule_topk(graph, edges, most, k):
    rank = {}
    for end in (1, 2):
        seen = {}
        for edge in strongest_first(edges):
            place = seen.setdefault(edge[end], count())
            rank[edge] = min(rank.get(edge, math.inf), next(place))
    return by_score({edge: r for edge, r in rank.items() if k is None or r < k}, most)


def disparity_scores(edges):
    """Follow the paper's formula at both ends, in logarithms: the p-value of each edge at its better end."""
    digraph = nx.MultiDiGraph()
    for number, source, target, weight in edges:
        digraph.add_edge(source, target, key=number, weight=weight)
    log_p = dict.fromkeys(edges, 0.0)
    for node in digraph:
        for around in (
            digraph.out_edges(node, keys=True, data="weight"),
            digraph.in_edges(node, keys=True, data="weight"),
        ):
            strength, degree = math.fsum(w for *_, w in around), len(around)
            for source, target, number, w in around if degree > 1 else ():
                edge = (number, source, target, w)
                log_p[edge] = min(log_p[edge], (degree - 1) * np.log1p(-min(1.0, w / strength)))
    return log_p


def rule_disparity(graph, edges, most, alpha):
    scores = disparity_scores(edges)
    return by_score({edge: q for edge, q in scores.items() if alpha is None or math.exp(q) < alpha}, most)


RULES = {
    "mass": (rule_mass, None, None),
    "quantile": (rule_quantile, "quantile", lambda hundredths: hundredths / 100),
    "threshold": (rule_threshold, "threshold", float),
    "topk": (rule_topk, "k", int),
    "disparity": (rule_disparity, "alpha", float),
}
VALUES = {
    "quantile": [0, 29, 50, 70, 93],
    "threshold": [0.0, 0.2, 0.5, 1.0],
    "topk": [1, 2, 5],
    "disparity": [0.05, 0.4, 1.0],
}


def kept(sparse):
    return {edge[:3] for edge in unrolled(sparse)}


@contextmanager
def pieces_of(size):
    """Look at so few edges at a time that small graphs take every turn which large ones take."""
    with (
        patch.object(edges, "SLAB_EDGES", size),
        patch.object(unroll, "BLOCK_EDGES", size),
        patch.object(by_links, "PENDING", size),
        patch.object(by_node, "PENDING", size),
    ):
        yield


def check_rule(graph, method, parameter, most):
    rule, name, convert = RULES[method]
    options = {} if parameter is None else {name: convert(parameter)}
    sparse = sparsify(graph, most, method, keep_outputs=False, **options)
    expected = rule(graph, unrolled(graph), most, parameter)
    assert len(expected) == sparse.number_of_edges() == sparse.receipt.kept
    return sparse, expected


@st.composite
def rules(draw, edges):
    """Draw a method, its parameter or None, and a budget or None; not None both."""
    method = draw(st.sampled_from(METHODS))
    parameter = draw(st.sampled_from([None, *VALUES[method]])) if method in VALUES else None
    most = draw(st.integers(1, max(1, edges + 2)))
    return method, parameter, draw(st.sampled_from([most, most if parameter is None else None]))


sizes = st.sampled_from([1, 5, 64, 1 << 20])


@property_test
@given(links(), sizes, st.data())
def test_the_edges_of_a_linear_map_are_those_that_the_rule_says(each, size, data):
    graph = graph_of_links(each)
    method, parameter, most = data.draw(rules(graph.number_of_edges()))
    with pieces_of(size):
        sparse, expected = check_rule(graph, method, parameter, most)
    if method != "disparity":  # whose ties, of equal p-values, are rounded either way
        assert kept(sparse) == {edge[:3] for edge in expected}


@property_test
@given(architectures(), st.sampled_from(["channel", "position"]), sizes, st.data())
def test_the_edges_of_an_architecture_are_those_that_the_rule_says(case, granularity, size, data):
    graph = dg.from_torch(case.model, case.x, granularity=granularity)
    method, parameter, most = data.draw(rules(graph.number_of_edges()))
    with pieces_of(size):
        sparse, expected = check_rule(graph, method, parameter, most)
    if method != "disparity":
        assert kept(sparse) == {edge[:3] for edge in expected}


@every_network
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("most", [1, 7, 40, 200])
def test_a_budget_is_used_up_by_the_best_edges(network, method, most):
    graph = graph_of(network)
    sparse, expected = check_rule(graph, method, None, most)
    assert sparse.number_of_edges() == min(most, graph.number_of_edges())
    if method != "disparity":
        assert kept(sparse) == {edge[:3] for edge in expected}


@every_network
def test_the_disparity_filter_keeps_what_the_formula_calls_significant(network):
    graph = graph_of(network)
    for alpha in (0.01, 0.1, 0.3):
        sparse, expected = check_rule(graph, "disparity", alpha, None)
        assert kept(sparse) == {edge[:3] for edge in expected}


@every_network
def test_of_equally_significant_edges_a_budget_keeps_no_worse_ones(network):
    graph = graph_of(network)
    scores = disparity_scores(unrolled(graph))
    for most in (3, 30, 100):
        sparse = sparsify(graph, most, "disparity", keep_outputs=False)
        worst = sorted(scores.values())[min(most, len(scores)) - 1]
        found = kept(sparse)
        assert all(q <= worst + 1e-12 * abs(worst) for edge, q in scores.items() if edge[:3] in found)


# --- small cases, by hand --------------------------------------------------------------------------------------------


def chain_of(first, second):
    """Make a graph of two dense matrices, given as (in, out)."""
    first, second = torch.tensor(first), torch.tensor(second)
    model = nn.Sequential(nn.Linear(*first.shape, bias=False), nn.Linear(*second.shape, bias=False))
    model[0].weight.data, model[1].weight.data = first.T.contiguous(), second.T.contiguous()
    return dg.from_torch(model, torch.zeros(1, len(first)))


def pairs(graph):
    return {edge[1:3] for edge in unrolled(graph)}


# Nodes: inputs 0 1, hidden 2 3, outputs 4 5.
CHAIN = ([[8.0, 1.0], [0.5, -0.5]], [[0.4, 0.1], [-0.3, 0.2]])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # shares held by stronger edges: 0 .8 .9 .95 of the first links, 0 .4 .7 .9 of the second
        ({"max_edges": 3}, {(0, 2), (2, 4), (3, 4)}),
        ({"max_edges": 5}, {(0, 2), (2, 4), (3, 4), (3, 5), (0, 3)}),
        ({"method": "quantile", "quantile": 0.5}, {(0, 2), (0, 3), (2, 4), (3, 4)}),
        ({"method": "quantile", "quantile": 0.7}, {(0, 2), (0, 3), (2, 4), (3, 4)}),  # 1.2 edges are 2
        ({"method": "threshold", "threshold": 0.5}, {(0, 2), (0, 3), (1, 2), (1, 3)}),
        ({"method": "threshold", "max_edges": 3}, {(0, 2), (0, 3), (1, 2)}),  # of the tied, the smaller target
        ({"method": "threshold", "threshold": 0.5, "max_edges": 2}, {(0, 2), (0, 3)}),
        # strongest out: 0-2 1-2 2-4 3-4; strongest in: 0-2 0-3 2-4 3-5
        ({"method": "topk", "k": 1}, {(0, 2), (1, 2), (2, 4), (3, 4), (0, 3), (3, 5)}),
        ({"method": "topk", "k": 1, "max_edges": 2}, {(0, 2), (0, 3)}),
        # with two edges p = 1 - w/s; at the better end: 1/17 for 0-2, 1/3 for 0-3, 1/5 for 2-4, 1/3 for 3-5
        ({"method": "disparity", "alpha": 0.3}, {(0, 2), (2, 4)}),
        ({"method": "disparity", "alpha": 0.5, "max_edges": 1}, {(0, 2)}),
    ],
)  # fmt: skip
def test_small_graphs_keep_the_edges_that_one_finds_by_hand(options, expected):
    assert pairs(sparsify(chain_of(*CHAIN), keep_outputs=False, **options)) == expected


def test_a_kernel_entry_is_as_many_edges_as_carry_it_and_ties_go_by_position():
    model = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    model.weight.data = torch.tensor([[[1.0, -3.0, 2.0]]])
    graph = dg.from_torch(model, torch.zeros(1, 1, 4), granularity="position")  # inputs 0…3, outputs 4…7
    assert pairs(sparsify(graph, 3, "threshold")) == {(0, 4), (1, 5), (2, 6)}
    five = sparsify(graph, 5, "threshold")
    assert pairs(five) == {(0, 4), (1, 5), (2, 6), (3, 7), (1, 4)}  # the first of those with weight 2
    assert five.adjacency()[1, 4] == 2
    assert five.adjacency()[0, 4] == -3


def test_the_weight_of_an_edge_is_that_of_the_whole_graph_to_the_last_bit():
    for name in ("convolutional-position", "residual-position", "separable-channel"):
        graph = graph_of(name)
        third = graph.number_of_edges() // 3
        whole, part = graph.adjacency(), sparsify(graph, third).adjacency()
        rows, columns = part.nonzero()
        assert len(rows) == third
        np.testing.assert_array_equal(part[rows, columns], whole[rows, columns])


# --- outputs ---------------------------------------------------------------------------------------------------------


def reachable_outputs(graph):
    """Count the output nodes that networkx reaches from the inputs."""
    digraph = nx.DiGraph()
    digraph.add_nodes_from(range(len(graph)))
    digraph.add_edges_from(edge[1:3] for edge in unrolled(graph))
    inputs = {node for layer in graph.inputs for node in range(layer.start, layer.stop)}
    found = inputs.union(*(nx.descendants(digraph, node) for node in inputs))
    return found & set(output_nodes(graph).tolist())


@property_test
@given(architectures(), st.sampled_from(["channel", "position"]), st.data())
def test_outputs_stay_reachable_and_the_budget_holds(case, granularity, data):
    graph = dg.from_torch(case.model, case.x, granularity=granularity)
    method, parameter, most = data.draw(rules(graph.number_of_edges()))
    options = {} if parameter is None else {RULES[method][1]: RULES[method][2](parameter)}
    plain = sparsify(graph, most, method, keep_outputs=False, **options)
    sparse = sparsify(graph, most, method, **options)
    wanted, found = reachable_outputs(graph), reachable_outputs(sparse)
    assert (sparse.receipt.outputs, sparse.receipt.reachable_outputs) == (len(wanted), len(found))
    assert plain.receipt.reachable_outputs == len(reachable_outputs(plain))
    edges = kept(sparse)
    assert edges <= {edge[:3] for edge in unrolled(graph)}
    if most is None:
        assert found == wanted
        assert edges >= kept(plain)
    else:
        assert len(edges) <= most
        assert len(edges) >= plain.number_of_edges()
        assert found == wanted or len(edges) + len(graph.layers) > most  # one more path would not fit
    if plain.receipt.reachable_outputs == len(wanted):
        assert edges == kept(plain)


def test_an_output_gets_its_strongest_in_edge_and_so_on_back_to_what_has_a_path():
    graph = chain_of([[9.0, 0.1], [0.2, 0.3]], [[1.0, 0.01], [0.02, 0.03]])
    assert pairs(sparsify(graph, 2, "threshold", keep_outputs=False)) == {(0, 2), (2, 4)}
    # Output 5: strongest in-edge from 3, whose strongest in-edge comes from 1. Only paths fit into four edges.
    assert pairs(sparsify(graph, 4, "threshold")) == {(0, 2), (2, 4), (3, 5), (1, 3)}
    assert pairs(sparsify(graph, method="threshold", threshold=0.5)) == {(0, 2), (2, 4), (3, 5), (1, 3)}


def test_if_paths_do_not_fit_the_budget_the_first_outputs_keep_theirs():
    graph = chain_of([[9.0, 0.1], [0.2, 0.3]], [[1.0, 0.01], [0.02, 0.03]])
    sparse = sparsify(graph, 3, "threshold")
    assert pairs(sparse) == {(0, 2), (2, 4), (1, 3)}
    assert (sparse.receipt.reachable_outputs, sparse.receipt.outputs) == (1, 2)


def test_an_in_edge_from_a_node_without_a_path_does_not_count_as_one():
    model = Net(lambda self, x: self.last(self.first(x)) + self.shift, first=nn.Linear(2, 2), last=nn.Linear(2, 2))
    model.shift = nn.Parameter(torch.ones(2))
    model.first.weight.data = torch.tensor([[0.0, 0.0], [0.5, 0.25]])  # no input reaches the first hidden node
    model.last.weight.data = torch.tensor([[5.0, 0.01], [4.0, 0.02]])
    graph = dg.from_torch(model, torch.zeros(1, 2))
    sparse = sparsify(graph, 3, "mass")
    assert sparse.receipt.reachable_outputs == sparse.receipt.outputs == 2
    first, hidden = graph.layer("first"), graph.layer("last")
    assert (first.start + 1, hidden.start) in pairs(sparse)
    assert (first.start + 1, hidden.start + 1) in pairs(sparse)


def test_outputs_that_no_input_reaches_are_not_promised():
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    receipt = sparsify(dg.from_torch(model, torch.zeros(1, 2)), 1).receipt
    assert (receipt.outputs, receipt.reachable_outputs) == (1, 1)


# --- a graph like any other ------------------------------------------------------------------------------------------


@every_network
def test_measures_and_forms_of_a_sparse_graph_are_those_of_its_edges(network):
    graph = graph_of(network)
    third = graph.number_of_edges() // 3
    sparse = sparsify(graph, third)
    assert isinstance(sparse, SparseGraph)
    assert sparse.layers == graph.layers
    assert len(sparse) == len(graph)
    matrix = sparse.adjacency()
    assert matrix.nnz == sparse.number_of_edges() == third
    dense = matrix.toarray().astype(float)
    np.testing.assert_allclose(dg.strength(sparse), dense.sum(0) + dense.sum(1), rtol=1e-6, atol=1e-6)
    igraph = sparse.to_igraph()
    assert (igraph.vcount(), igraph.ecount()) == (len(graph), third)
    np.testing.assert_array_equal(sparse.isolated(), (np.abs(dense).sum(0) + np.abs(dense).sum(1)) == 0)
    assert dg.link_weights(sparse)["count"].sum() == third


@property_test
@given(architectures(), st.sampled_from(["channel", "position"]), st.integers(0, 2**31 - 1))
def test_other_weights_go_to_the_same_edges(case, granularity, seed):
    graph = dg.from_torch(case.model, case.x, granularity=granularity)
    sparse = sparsify(graph, max(1, graph.number_of_edges() // 3))
    before = {name: value.clone() for name, value in case.model.state_dict().items()}
    other = {name: value.clone() for name, value in fill(case.model, seed).state_dict().items()}
    case.model.load_state_dict(before)
    whole, part = graph.with_weights(other), sparse.with_weights(other)
    assert isinstance(part, SparseGraph)
    assert part.receipt is sparse.receipt
    chosen = kept(sparse)
    expected = {edge[:3]: edge[3] for edge in unrolled(whole) if edge[:3] in chosen}
    found = {edge[:3]: edge[3] for edge in unrolled(part)}
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(list(found.values()), [expected[e] for e in found], rtol=1e-12, atol=1e-300)


def test_a_sparse_graph_computes_what_its_edges_compute_and_does_not_pass_for_the_model():
    model = mlp_2_2_1()
    graph = dg.from_torch(model, torch.zeros(1, 2), granularity="position")
    sparse = sparsify(graph, method="threshold", threshold=1.0, keep_outputs=False)
    assert pairs(sparse) == {(0, 2), (0, 3), (1, 3)}
    x = torch.tensor([[1.0, 2.0]])
    torch.testing.assert_close(sparse.replay(x), torch.tensor([[3.0]]))  # nothing but the bias reaches the output
    assert not dg.verify(model, sparse, x).ok
    everything = sparsify(graph, 10)
    assert everything.number_of_edges() == 5
    assert dg.verify(model, everything, x).ok


def test_a_sparse_graph_of_channels_does_not_pass_for_the_model_either():
    model = fill(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)), 0)
    x = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    graph = dg.from_torch(model, x)
    assert dg.verify(model, graph, x).ok
    assert not dg.verify(model, sparsify(graph, 6), x).ok


def test_a_sparse_graph_can_be_sparsified_again_and_written(tmp_path):
    graph = graph_of("convolutional-position")
    once = sparsify(graph, 100, "threshold", keep_outputs=False)
    twice = sparsify(once, 20, "threshold", keep_outputs=False)
    assert kept(twice) == kept(sparsify(graph, 20, "threshold", keep_outputs=False))
    dg.write_graphml(twice, tmp_path / "small.graphml")
    assert nx.read_graphml(tmp_path / "small.graphml").number_of_edges() == 20


def test_parallel_links_are_ranked_each_by_itself():
    graph = with_parallel_links(by_hand(), 10.0)
    sparse = sparsify(graph, 2, "threshold", keep_outputs=False)
    assert [each.nnz for each in sparse.links] == [0, 0, 2]
    assert [row.kept for row in sparse.receipt.links] == [0, 0, 2]


def test_links_of_other_kinds_are_left_out():
    graph = graph_of("residual-position")
    sparse = sparsify(graph, 50, kinds=("weight",))
    assert {each.kind for each in sparse.links} == {"weight"}
    assert sparse.receipt.edges == graph.number_of_edges(("weight",))


# --- the receipt -----------------------------------------------------------------------------------------------------


@every_network
def test_the_census_is_that_of_the_unrolled_graph(network):
    graph = graph_of(network)
    found = census(graph, graph.links)
    edges = unrolled(graph)
    numbers, sources, targets, weights = (np.array(column) for column in zip(*edges, strict=True))
    np.testing.assert_array_equal(found.counts, np.bincount(numbers, minlength=len(graph.links)))
    np.testing.assert_allclose(found.masses, np.bincount(numbers, weights, len(graph.links)), rtol=1e-6)
    np.testing.assert_allclose(found.into, np.bincount(targets, weights, len(graph)), rtol=1e-6)
    np.testing.assert_allclose(found.out_of, np.bincount(sources, weights, len(graph)), rtol=1e-6)
    into, out_of = degrees(graph.links, len(graph))
    np.testing.assert_array_equal(into, np.bincount(targets, minlength=len(graph)))
    np.testing.assert_array_equal(out_of, np.bincount(sources, minlength=len(graph)))


@every_network
def test_the_receipt_says_what_was_lost(network):
    graph = graph_of(network)
    third = graph.number_of_edges() // 3
    sparse = sparsify(graph, third)
    receipt = sparse.receipt
    before, after = dg.strength(graph, weight="abs"), dg.strength(sparse, weight="abs")
    whole, part = (np.abs(each.adjacency()) for each in (graph, sparse))
    assert (receipt.edges, receipt.kept) == (whole.nnz, part.nnz)
    assert receipt.mass == pytest.approx(part.sum() / whole.sum(), rel=1e-6)
    assert receipt.spearman == pytest.approx(stats.spearmanr(before, after).statistic)
    assert (receipt.isolated, receipt.isolated_before) == ((after == 0).sum(), (before == 0).sum())
    for layer, row in zip(graph.layers, receipt.layers, strict=True):
        here = slice(layer.start, layer.stop)
        assert (row.layer, row.nodes, row.isolated) == (layer.name, layer.size, (after[here] == 0).sum())
        assert (row.edges, row.kept) == (whole[:, here].nnz, part[:, here].nnz)
        if row.edges:
            assert row.mass == pytest.approx(part[:, here].sum() / whole[:, here].sum(), rel=1e-6)
        if len({*before[here]}) > 1 and len({*after[here]}) > 1:
            assert row.spearman == pytest.approx(stats.spearmanr(before[here], after[here]).statistic)
        else:
            assert np.isnan(row.spearman)
    assert receipt.to_frame()["kept"].sum() == receipt.to_frame("links")["kept"].sum() == third


def test_the_receipt_reads_as_a_short_table():
    sparse = sparsify(chain_of(*CHAIN), 3)
    assert str(sparse.receipt).splitlines() == [
        "kept 3 of 8 edges by mass (max_edges=3, keep_outputs=True)",
        "79.1 % of the absolute weight; Spearman correlation of strengths 0.783; 2 of 6 nodes isolated (0 before); "
        "1 of 2 outputs reachable",
        "",
        "layer  kept in-edges  of     |w|  Spearman  isolated  of nodes",
        "input              0   0             1.000         1         2",
        "0                  1   4  80.0 %     1.000         0         2",
        "1                  2   4  70.0 %     1.000         1         2",
    ]
    assert repr(sparse).startswith("SparseGraph(3 layers, 6 nodes, 3 of 8 edges, 2 links")
    with pytest.raises(InputError, match="by='node' is unknown: choose from layer, links"):
        sparse.receipt.to_frame("node")


# --- options, limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing says how many edges method='mass' is to keep: give max_edges"),
        ({"method": "topk"}, "give max_edges or k"),
        ({"method": "mas", "max_edges": 1}, "method='mas' is unknown: choose from mass, disparity"),
        ({"max_edges": 0}, "max_edges=0 is not a positive whole number"),
        ({"max_edges": 5, "alpha": 0.1}, "alpha=0.1 belongs to method='disparity', the method is 'mass'"),
        ({"method": "topk", "k": 1.5}, "k=1.5 is out of range"),
        ({"method": "disparity", "alpha": 0.0}, "alpha=0.0 is out of range"),
        ({"method": "quantile", "quantile": 1.0}, "quantile=1.0 is out of range"),
        ({"method": "threshold", "threshold": math.nan}, "threshold=nan is out of range"),
        ({"max_edges": 5, "kinds": ("wieght",)}, "unknown link kind"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused_with_the_remedy(options, message):
    with pytest.raises(InputError, match=message):
        sparsify(by_hand(), **options)


def test_weights_that_are_not_finite_are_refused_by_name():
    model = mlp_2_2_1()
    model[2].weight.data[0, 1] = torch.nan
    with pytest.raises(WeightsError, match="1 non-finite"):
        sparsify(dg.from_torch(model, torch.zeros(1, 2)), 3)


@pytest.mark.parametrize("method", METHODS)
def test_a_graph_without_edges_stays_one(method):
    model = nn.Linear(2, 2)
    nn.init.zeros_(model.weight)
    receipt = sparsify(dg.from_torch(model, torch.zeros(1, 2)), 3, method).receipt
    assert (receipt.edges, receipt.kept, receipt.outputs) == (0, 0, 0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_every_precision_is_ranked_as_it_is(method, dtype):
    graph = dg.from_torch(fill(nn.Linear(40, 30), 3).to(dtype), torch.zeros(1, 40, dtype=dtype))
    sparse, expected = check_rule(graph, method, None, 100)
    assert kept(sparse) == {edge[:3] for edge in expected}


@pytest.mark.parametrize("method", METHODS)
def test_progress_ends_with_all_that_there_is_to_do(method):
    steps = []
    sparsify(graph_of("convolutional-position"), 30, method, progress=lambda *step: steps.append(step))
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
    assert len({total for _, total in steps}) == 1


def test_a_threshold_is_not_rounded_to_the_precision_of_the_weights():
    model = nn.Linear(3, 1, bias=False)
    exact = np.float32(0.1)  # a little more than 0.1
    model.weight.data = torch.tensor([[np.nextafter(exact, np.float32(0)), exact, 1.0]])
    sparse = sparsify(dg.from_torch(model, torch.zeros(1, 3)), method="threshold", threshold=0.1)
    assert pairs(sparse) == {(1, 3), (2, 3)}


MEMORY = """
import sys, torch, dnn2graph as dg
from dnn2graph.sparsify import sparsify

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024

graph = dg.from_torch(torch.nn.Conv2d(32, 32, 3, padding=1, bias=False), torch.zeros(1, 32, 64, 64),
                      granularity="position")
small = dg.from_torch(torch.nn.Linear(9, 9), torch.zeros(1, 9))
for method in sys.argv[1:]:
    sparsify(small, 9, method)  # pays for imports
open("/proc/self/clear_refs", "w").write("5")
before = peak()
for method in sys.argv[1:]:
    sparsify(graph, 20_000, method)
print(graph.number_of_edges(), peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_memory_is_that_of_what_is_kept_not_of_the_graph():
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *METHODS], capture_output=True, text=True, check=True, timeout=300
    )
    edges, added = map(int, done.stdout.split())
    assert edges > 36_000_000  # 430 MB as a matrix, 870 MB as a list
    assert added < 250e6


def test_scaled_weights_keep_their_precision_their_sign_and_never_become_zero():
    weights = torch.tensor([0.5, -1e-30, 1e-30, 3.0, 0.0])
    scaled = scaled_entries(weights, torch.tensor([0.1, 1e-30, -1e-30, 0.0, 2.0], dtype=torch.float64))
    smallest = np.finfo(np.float32).smallest_subnormal
    assert scaled.tolist() == [float(np.float32(0.05)), -smallest, -smallest, 0.0, 0.0]
    assert scaled.dtype == torch.float32
