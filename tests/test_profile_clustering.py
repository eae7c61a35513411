"""Triangles are those of networkx; squares are those found by looking at every path of three edges."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import networkx as nx
import numpy as np
import pytest
from hypothesis import given

from dnn2graph.profile import MEASURES, clustering
from tests.digraphs import dense, graphs, property_test, twin, values_of
from tests.handmade import NOTHING, check_columns, graph_of_matrix, layered, view_of
from tests.networks import every_network, graph_of, with_parallel_links

CLUSTERINGS = [measure for measure in MEASURES.values() if measure.group == "clustering"]


def columns_of(graph, name):
    return check_columns(graph, MEASURES[name])


# --- triangles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cycles", [False, True])
def test_triangles_are_those_of_networkx(cycles):
    @property_test
    @given(graphs(cycles=cycles))
    def check(graph):
        if not graph.links:
            return
        made = twin(graph)
        made.remove_edges_from(list(nx.selfloop_edges(made)))
        matrix = dense(graph)
        largest = (matrix - np.diag(np.diag(matrix))).max()
        expected = values_of(nx.clustering(made, weight="weight"), graph)
        # networkx scales by the largest weight but for self-loops, here it is the largest of all.
        expected = expected * largest / matrix.max()
        np.testing.assert_allclose(columns_of(graph, "clustering")["clustering"], expected, rtol=1e-10, atol=1e-15)

    check()


def test_a_strictly_layered_graph_has_no_triangles_and_a_skipping_edge_closes_one():
    strict = layered([2, 3, 2], density=1, skip=1)
    view = view_of(strict, MEASURES["clustering"])
    assert not MEASURES["clustering"].compute(view)["clustering"].any()
    assert "consecutive layers" in view.notes[0]
    skipping = graph_of_matrix([[0, -8, 8], [0, 0, 8], [0, 0, 0]], [1, 1, 1])
    # One triangle of a possible two (one in either direction of each edge) at each node.
    assert columns_of(skipping, "clustering")["clustering"].tolist() == [0.5, 0.5, 0.5]


# --- squares ---------------------------------------------------------------------------------------------------------


def closed_share(block, row=None):
    """Walk all paths row - column - row - column of a matrix, from one row or all, and see what closes them."""
    closed = paths = 0.0
    rows, columns = range(block.shape[0]), range(block.shape[1])
    for u, k, v, end in product(rows if row is None else [row], columns, rows, columns):
        if v != u and k != end:
            weight = block[u, k] * block[v, k] * block[v, end]
            paths += weight
            closed += weight * block[u, end] / max(block.max(), np.finfo(float).tiny)
    return closed / paths if paths else np.nan


@pytest.mark.parametrize("share", [clustering.DENSE, 0, 1], ids=["mixed", "dense", "sparse"])
@pytest.mark.parametrize(("name", "convention"), [("squares", "unweighted"), ("squares_weighted", "abs")])
def test_squares_of_a_node_are_counted_path_by_path(name, convention, share, monkeypatch):
    monkeypatch.setattr(clustering, "DENSE", share)
    monkeypatch.setattr(clustering, "BLOCK", 7)  # a row or two at a time

    @property_test
    @given(graphs())
    def check(graph):
        matrix, found = dense(graph, convention), columns_of(graph, name)
        for layer in graph.layers:
            for node in range(layer.start, layer.stop):
                for side, block in (("in", matrix.T), ("out", matrix)):
                    expected = closed_share(block[layer.start : layer.stop], node - layer.start)
                    assert found[f"{name}_{side}"][node] == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)

    check()


@property_test
@given(graphs())
def test_bipartite_clustering_of_links_is_that_of_networkx(graph):
    found = columns_of(graph, "robins_alexander")["robins_alexander"]
    weighted = columns_of(graph, "robins_alexander_weighted")["robins_alexander_weighted"]
    matrix = dense(graph)
    for number, links in enumerate(graph.links):
        (source,), target = links.sources, links.target
        block = matrix[source.start : source.stop, target.start : target.stop]
        pairs = nx.Graph((("from", i), ("to", j)) for i, j in np.argwhere(block).tolist())
        value = found[number]
        assert (0 if np.isnan(value) else value) == pytest.approx(
            nx.bipartite.robins_alexander_clustering(pairs), rel=1e-12
        )
        assert weighted[number] == pytest.approx(closed_share(block), rel=1e-9, abs=1e-12, nan_ok=True)
        assert np.isnan(weighted[number]) == np.isnan(value)


@every_network
def test_links_of_real_layers_have_the_bipartite_clustering_of_networkx(network):
    graph = graph_of(network)
    found = columns_of(graph, "robins_alexander")["robins_alexander"]
    matrix = graph.adjacency()
    for number, links in enumerate(graph.links):
        sources = np.unique(links.source_nodes.flat)
        block = matrix[sources[sources >= 0]][:, np.unique(links.target_nodes.flat)].tocoo()
        pairs = nx.Graph((("from", i), ("to", j)) for i, j in zip(block.row.tolist(), block.col.tolist(), strict=True))
        if len(pairs) < 120:  # networkx counts one by one
            expected = nx.bipartite.robins_alexander_clustering(pairs)
            assert np.nan_to_num(found[number]) == pytest.approx(expected, rel=1e-12)


def test_complete_layers_close_every_path_a_star_has_none_and_a_hexagon_closes_none():
    complete = graph_of_matrix(np.pad(np.full((2, 3), -2.0), ((0, 3), (2, 0))), [2, 3])
    star = graph_of_matrix(np.pad(np.ones((1, 4)), ((0, 4), (1, 0))), [1, 4])
    ring = graph_of_matrix(np.pad(np.eye(3) + np.roll(np.eye(3), 1, 1), ((0, 3), (3, 0))), [3, 3])
    for name in ("robins_alexander", "robins_alexander_weighted"):
        assert columns_of(complete, name)[name].tolist() == [1.0]
        assert np.isnan(columns_of(star, name)[name]).all()
        assert columns_of(ring, name)[name].tolist() == [0.0]
    assert columns_of(complete, "squares")["squares_out"][:2].tolist() == [1, 1]
    assert columns_of(complete, "squares_weighted")["squares_weighted_in"][2:].tolist() == [1, 1, 1]


def test_a_weak_fourth_edge_closes_a_square_by_its_share_of_the_heaviest():
    weak = graph_of_matrix([[0, 0, 4, 1], [0, 0, 4, 4], [0] * 4, [0] * 4], [2, 2])
    # From node 0: 0-2-1-3, weighing 64, is closed by 1 of 4; 0-3-1-2, weighing 16, by 4 of 4.
    found = columns_of(weak, "squares_weighted")["squares_weighted_out"]
    assert found[0] == pytest.approx((64 / 4 + 16) / 80, rel=1e-15)


def test_links_that_do_not_count_have_no_value():
    graph = with_parallel_links(layered([3, 3], density=1), 2.0)
    view = view_of(graph, MEASURES["robins_alexander"], kinds=("weight",))
    found = MEASURES["robins_alexander"].compute(view)["robins_alexander"]
    assert found[0] == 1
    assert np.isnan(found[1])
    assert view.notes


def test_self_loops_are_no_triangles():
    looped = graph_of_matrix([[1.0, 1, 1], [0, 0, 1], [0, 0, 0]], [1, 1, 1])
    assert columns_of(looped, "clustering")["clustering"].tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("measure", CLUSTERINGS, ids=lambda measure: measure.name)
@pytest.mark.parametrize("name", NOTHING)
def test_graphs_of_next_to_nothing_are_measured(measure, name):
    check_columns(NOTHING[name], measure)
    emptied = replace(NOTHING[name], links=())
    check_columns(emptied, measure)
