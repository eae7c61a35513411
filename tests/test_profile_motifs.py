"""Motif counts from matrix products equal the counts of brute force."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dnn2graph.profile import motifs
from dnn2graph.profile.measure import MEASURES
from tests.handmade import NOTHING, check_columns, graph_of_matrix, layered, view_of
from tests.networks import traced
from tests.strategies import Net

quick = settings(max_examples=40, deadline=None, derandomize=True)
GROUP = [measure for measure in MEASURES.values() if measure.group == "motifs"]


def shortcut():
    """Trace a network with a residual sum of three neurons around a layer of four."""
    inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))
    return traced(
        Net(
            lambda self, x: self.last(self.block(self.first(x).relu())),
            first=nn.Linear(2, 3),
            block=Net(lambda self, x: (x + self.inner(x)).relu(), inner=inner),
            last=nn.Linear(3, 2),
        ),
        2,
    )


def bifans_by_hand(matrix, sources, targets):
    coherent = incoherent = 0
    for u, v in combinations(sources, 2):
        for s, t in combinations(targets, 2):
            sign = np.sign(matrix[u, s] * matrix[u, t] * matrix[v, s] * matrix[v, t])
            coherent += sign > 0
            incoherent += sign < 0
    return coherent, incoherent


def feed_forward_by_hand(matrix):
    """Count by (signs, node k)."""
    found = {}
    for i, j, k in permutations(range(len(matrix)), 3):
        signs = tuple(int(np.sign(w)) for w in (matrix[i, j], matrix[j, k], matrix[i, k]))
        if all(signs):
            found[signs, k] = found.get((signs, k), 0) + 1
    return found


@quick
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 7), st.sampled_from([0.02, 0.4, 1.0]))
def test_bifans_equal_brute_force_by_dense_and_by_sparse_products_in_blocks(seed, rows, columns, density):
    random = np.random.default_rng(seed)
    matrix = random.choice([-2.5, 1.5], (rows, columns)) * (random.random((rows, columns)) < density)
    expected = bifans_by_hand(matrix, range(rows), range(columns))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(motifs, "BLOCK_ENTRIES", 2 * min(rows, columns))  # two rows at a time
        for dense in (0.0, 2.0):
            patch.setattr(motifs, "DENSE", dense)
            assert motifs.count_bifans(scipy.sparse.csr_array(matrix)) == expected


@pytest.mark.parametrize(("m", "n"), [(1, 5), (2, 2), (7, 3), (40, 90)])
def test_layers_that_are_linked_completely_by_positive_weights_have_all_bifans_and_all_are_coherent(m, n):
    pairs = m * (m - 1) // 2 * (n * (n - 1) // 2)
    assert motifs.count_bifans(scipy.sparse.csr_array(np.ones((m, n)))) == (pairs, 0)


@quick
@given(st.integers(0, 2**32 - 1))
def test_feed_forward_motifs_of_any_directed_graph_equal_brute_force(seed):
    random = np.random.default_rng(seed)
    matrix = random.choice([-1.0, 3.0], (9, 9)) * (random.random((9, 9)) < 0.4)  # cycles, loops, edges within layers
    graph = graph_of_matrix(matrix, [3, 2, 4])
    expected = feed_forward_by_hand(matrix)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(motifs, "BLOCK_ENTRIES", 8)
        columns = motifs.feed_forward_motifs(view_of(graph, MEASURES["feed_forward_motifs"]))
        by_layer = motifs.feed_forward_motifs_into(view_of(graph, MEASURES["feed_forward_motifs_into"]))
    for name, signs in motifs.TYPES.items():
        assert columns[f"feed_forward_motifs_{name}"] == sum(n for (s, _), n in expected.items() if s == signs)
    assert columns["feed_forward_motifs"] == sum(expected.values())
    for sign, name in ((1, "coherent"), (-1, "incoherent")):
        of_sign = [sum(n for (s, k), n in expected.items() if np.prod(s) == sign and k in layer)
                   for layer in (range(3), range(3, 5), range(5, 9))]  # fmt: skip
        assert columns[f"feed_forward_motifs_{name}"] == sum(of_sign)
        np.testing.assert_array_equal(by_layer[f"feed_forward_motifs_into_{name}"], of_sign)


def test_the_types_are_those_of_mangan_and_alon():
    for name, signs in motifs.TYPES.items():
        assert (np.prod(signs) > 0) == name.startswith("c")
    assert len(set(motifs.TYPES.values())) == 8


def test_bifans_are_counted_links_by_links_and_add_up():
    graph = layered([3, 4, 3], seed=1)
    matrix = graph.adjacency().toarray()
    layers = [range(layer.start, layer.stop) for layer in graph.layers]
    columns = check_columns(graph, MEASURES["bifan_motifs_between"])
    place = {layer.name: number for number, layer in enumerate(graph.layers)}
    expected = [
        bifans_by_hand(matrix, layers[place[links.sources[0].name]], layers[place[links.target.name]])
        for links in graph.links
    ]
    found = np.stack([columns[f"bifan_motifs_between_{name}"] for name in ("coherent", "incoherent")], 1)
    np.testing.assert_array_equal(found, expected)
    total = check_columns(graph, MEASURES["bifan_motifs"])
    assert total["bifan_motifs"] == np.sum(expected)
    assert total["bifan_motifs_coherent_share"] == np.sum(expected, 0)[0] / np.sum(expected)


def test_a_residual_network_has_feed_forward_motifs_and_a_plain_one_has_none():
    counts = check_columns(shortcut(), MEASURES["feed_forward_motifs"])
    assert counts["feed_forward_motifs"] == 12  # each of three neurons reaches its own sum through four others
    plain = traced(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), 3)
    view = view_of(plain, MEASURES["feed_forward_motifs"])
    assert set(motifs.feed_forward_motifs(view).values()) == {0}
    assert view.notes == ["no feed-forward loops: no links skip a layer"]


def test_links_of_other_kinds_than_the_chosen_ones_have_no_motifs():
    graph = shortcut()
    view = view_of(graph, MEASURES["bifan_motifs_between"], kinds=("weight",))
    found = motifs.bifan_motifs_between(view)["bifan_motifs_between_coherent"]
    np.testing.assert_array_equal(np.isnan(found), [links.kind != "weight" for links in graph.links])
    view = view_of(graph, MEASURES["feed_forward_motifs"], kinds=("weight",))
    assert motifs.feed_forward_motifs(view)["feed_forward_motifs"] == 0  # the shortcut is a unit link


@pytest.mark.parametrize("measure", GROUP, ids=lambda measure: measure.name)
@pytest.mark.parametrize("name", NOTHING)
def test_degenerate_graphs_give_numbers_or_a_reason(name, measure):
    check_columns(NOTHING[name], measure)
