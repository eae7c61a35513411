"""Communities: qualities equal their definitions and networkx, agreements equal scikit-learn, blocks are found."""

from __future__ import annotations

import random

import igraph
import networkx as nx
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from dnn2graph.profile import communities
from dnn2graph.profile.measure import MEASURES
from dnn2graph.profile.partitions import agreement, layered_modularity, modularity, signed_modularity
from tests.handmade import NOTHING, check_columns, graph_of_matrix, layered, view_of

quick = settings(max_examples=40, deadline=None, derandomize=True)
GROUP = [measure for measure in MEASURES.values() if measure.group == "communities"]
SEEDS = st.integers(0, 2**32 - 1)


def divided(seed, nodes=9, parts=3):
    """Make a directed weighted graph with cycles and loops, and a division of its nodes."""
    random = np.random.default_rng(seed)
    matrix = random.random((nodes, nodes)) * (random.random((nodes, nodes)) < 0.4)
    matrix[0, 1] = 1
    return matrix, random.integers(0, parts, nodes)


def blocks(sizes=(4, 6, 4), parts=2, seed=0):
    """Make a layered network of ``parts`` networks side by side, without an edge between them."""
    random = np.random.default_rng(seed)
    layer = np.repeat(np.arange(len(sizes)), sizes)
    part = np.concatenate([np.arange(size) * parts // size for size in sizes])
    linked = (layer[None] == layer[:, None] + 1) & (part[None] == part[:, None])
    return graph_of_matrix(linked * random.uniform(1, 2, linked.shape), sizes), part


# --- qualities -------------------------------------------------------------------------------------------------------


@quick
@given(SEEDS)
def test_modularity_is_that_of_networkx(seed):
    matrix, community = divided(seed)
    both = nx.Graph()
    both.add_nodes_from(range(len(matrix)))
    for i, j in zip(*np.nonzero(matrix), strict=True):
        weight = both.get_edge_data(i, j, {"weight": 0})["weight"]
        both.add_edge(int(i), int(j), weight=weight + matrix[i, j])
    parts = [set(np.flatnonzero(community == part).tolist()) for part in np.unique(community)]
    expected = nx.community.modularity(both, parts)
    assert modularity(scipy.sparse.csr_array(matrix), community) == pytest.approx(expected, abs=1e-12)


@quick
@given(SEEDS)
def test_layered_modularity_is_its_definition_summed_over_pairs_of_nodes(seed):
    matrix, community = divided(seed)
    layer_of = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    expected = 0.0
    for i in range(9):
        for j in range(9):
            if community[i] == community[j]:
                pair = matrix[np.ix_(layer_of == layer_of[i], layer_of == layer_of[j])]
                out_of, into = matrix[i, layer_of == layer_of[j]].sum(), matrix[layer_of == layer_of[i], j].sum()
                expected += matrix[i, j] - (out_of * into / pair.sum() if pair.sum() else 0)
    found = layered_modularity(scipy.sparse.csr_array(matrix), community, layer_of)
    assert found == pytest.approx(expected / matrix.sum(), abs=1e-12)


@quick
@given(SEEDS)
def test_signed_modularity_is_the_formula_of_gomez_and_colleagues(seed):
    matrix, community = divided(seed)
    matrix *= np.random.default_rng(seed + 1).choice([-1, 1], matrix.shape)
    # Edges of opposite signs between two nodes are two edges, not their sum.
    plus, minus = (np.maximum(sign * matrix, 0) for sign in (1, -1))
    plus, minus = plus + plus.T, minus + minus.T
    same = community[:, None] == community
    null = np.zeros_like(matrix)
    for sign, part in ((1, plus), (-1, minus)):
        if part.any():
            null += sign * np.outer(part.sum(1), part.sum(1)) / part.sum()
    expected = ((plus - minus - null) * same).sum() / (plus.sum() + minus.sum())
    found = signed_modularity(scipy.sparse.csr_array(matrix), community)
    assert found.total == pytest.approx(expected, abs=1e-12)


def test_weights_of_one_sign_have_the_usual_modularity():
    graph, part = blocks()
    matrix = graph.adjacency()
    usual = modularity(matrix, part)
    assert signed_modularity(matrix, part)[:2] == (usual, usual)
    assert signed_modularity(-matrix, part)[0] == -usual
    assert np.isnan(signed_modularity(matrix, part).negative)


@quick
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=40))
def test_agreements_are_those_of_scikit_learn(pairs):
    metrics = pytest.importorskip("sklearn.metrics", reason="needs the extra data")
    first, second = np.array(pairs).T
    found = agreement(first, second)
    assert found.nmi == pytest.approx(metrics.normalized_mutual_info_score(first, second), abs=1e-9)
    assert found.ami == pytest.approx(metrics.adjusted_mutual_info_score(first, second), abs=1e-9)
    assert found.ari == pytest.approx(metrics.adjusted_rand_score(first, second), abs=1e-9)


# --- algorithms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["leiden", "infomap", "layered_community"])
def test_networks_side_by_side_are_communities(name):
    graph, part = blocks((4, 6, 4), parts=2)
    found = check_columns(graph, MEASURES[name])[name]
    np.testing.assert_array_equal(found, part)  # both are of 7 nodes: the one with node 0 comes first


def test_the_numbers_of_two_networks_of_equal_weight_side_by_side():
    one = np.kron(np.eye(2), np.ones((2, 2)))  # two blocks of two sources and two targets
    matrix = np.zeros((8, 8))
    matrix[:4, 4:] = one
    graph = graph_of_matrix(matrix, [4, 4])
    assert check_columns(graph, MEASURES["leiden_partition"]) == pytest.approx(
        {
            "leiden_partition_communities": 2,
            "leiden_partition_alone": 0,
            "leiden_partition_largest": 0.5,
            "leiden_partition_modularity": 0.5,
            "leiden_partition_layered_modularity": 0.5,  # 1 - 2 · (4 · 4 / 8) / 8
        }
    )
    agreements = check_columns(graph, MEASURES["community_agreement"])
    assert agreements["community_agreement_outputs_communities"] == 2
    assert agreements["community_agreement_layers_nmi"] == pytest.approx(0, abs=1e-12)


def test_communities_agree_with_the_outputs_that_their_nodes_support():
    graph, _ = blocks((4, 6, 2), parts=2)
    found = check_columns(graph, MEASURES["community_agreement"])
    assert found["community_agreement_outputs_nmi"] == pytest.approx(1)
    assert found["community_agreement_outputs_ami"] == pytest.approx(1)
    assert found["community_agreement_outputs_ari"] == 1


@quick
@given(SEEDS, st.lists(st.integers(1, 8), min_size=2, max_size=4))
def test_improving_layer_by_layer_never_lowers_the_layered_modularity_and_no_single_move_raises_it_after(seed, sizes):
    graph = layered(sizes, seed=seed)
    edges, layer_of = abs(graph.adjacency()), graph.layer_of()
    start = np.random.default_rng(seed).integers(0, 3, len(graph))
    if not edges.nnz:
        return
    found = communities.improve_layered(edges, start, layer_of)
    quality = layered_modularity(edges, found, layer_of)
    assert quality >= layered_modularity(edges, start, layer_of) - 1e-12
    shared = np.flatnonzero(np.bincount(start) > 1)
    for node in range(len(graph)):
        for community in shared:
            moved = found.copy()
            moved[node] = community
            assert layered_modularity(edges, moved, layer_of) <= quality + 1e-9


def test_a_seed_gives_the_same_communities_and_igraph_draws_from_pythons_random_afterwards():
    graph = layered([12, 20, 12, 5], density=0.4, seed=2)
    for name in ("leiden", "infomap"):
        first, again = (check_columns(graph, MEASURES[name])[name] for _ in range(2))
        np.testing.assert_array_equal(first, again)
    drawn = []
    for _ in range(2):
        random.seed(5)
        drawn.append(igraph.Graph.Erdos_Renyi(30, 0.2).get_edgelist())
    assert drawn[0] == drawn[1]


def test_measures_of_one_profile_speak_of_the_same_communities_in_any_order():
    graph = layered([12, 20, 12, 5], density=0.4, seed=2)
    view = view_of(graph, MEASURES["leiden_signed_modularity"])
    found = communities.leiden_signed_modularity(view)
    alone = check_columns(graph, MEASURES["leiden"])["leiden"]
    expected = signed_modularity(graph.adjacency(), alone).total
    assert found["leiden_signed_modularity"] == pytest.approx(expected, abs=1e-12)


def test_communities_are_numbered_by_size():
    assert communities.by_size(np.array([7, 3, 3, 5, 5, 5, 7, 1])).tolist() == [1, 2, 2, 0, 0, 0, 1, 3]


def test_graphs_with_more_edges_than_communities_are_searched_in_are_left_out_with_a_note(monkeypatch):
    monkeypatch.setitem(communities.MOST_EDGES, "leiden", 4)
    view = view_of(layered([3, 3], density=1.0), MEASURES["leiden_partition"])
    assert np.isnan(communities.leiden_partition(view)["leiden_partition_modularity"])
    assert view.notes == ["left out: communities among 9 edges take long"]


@pytest.mark.parametrize("measure", GROUP, ids=lambda measure: measure.name)
@pytest.mark.parametrize("name", NOTHING)
def test_degenerate_graphs_give_numbers_or_a_reason(name, measure):
    check_columns(NOTHING[name], measure)
