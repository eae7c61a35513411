"""The overview figure: what it draws, and what it says about what it leaves out."""

import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection
from torch import nn

import dnn2graph as dg
from dnn2graph.plot import overview
from dnn2graph.plot.network import CURVED, STRAIGHT
from dnn2graph.plot.overview import EDGES_PER_LINKS


def chain(*widths):
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    return dg.from_torch(nn.Sequential(*layers), torch.zeros(1, widths[0]))


def lines_of(axes):
    """Give the lines of all edges."""
    links = [each for each in axes.collections if isinstance(each, LineCollection)]
    return [segment for each in links for segment in each.get_segments()]


def test_every_node_and_every_edge_of_a_small_network_is_drawn():
    graph = chain(3, 4, 2)
    figure = overview(graph, title="small")
    network, strengths, fluctuations = figure.axes
    assert len(lines_of(network)) == graph.number_of_edges()
    nodes = [each for each in network.collections if isinstance(each, PathCollection)]  # of a layer each
    assert [len(each.get_offsets()) for each in nodes] == [3, 4, 2]
    assert figure.get_suptitle() == "small: 9 nodes, 20 edges"
    points = [each for each in strengths.collections if isinstance(each, PathCollection)]  # the rest are error bars
    drawn = np.concatenate([each.get_offsets()[:, 1] for each in points])
    np.testing.assert_allclose(np.sort(drawn), np.sort(dg.strength(graph)))
    np.testing.assert_allclose([bar.get_height() for bar in fluctuations.patches], dg.fluctuation(graph))
    assert [label.get_text() for label in fluctuations.get_xticklabels()] == ["input", "0", "1"]


def test_of_a_large_network_the_strongest_edges_are_drawn_and_the_title_says_so():
    graph = chain(40, 30)
    figure = overview(graph)
    assert len(lines_of(figure.axes[0])) == EDGES_PER_LINKS
    assert figure.get_suptitle() == f"70 nodes, 1,200 edges (drawn are the strongest: {EDGES_PER_LINKS} edges)"


def test_edges_that_pass_over_a_layer_bend_around_it():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return x + self.b(self.a(x).relu())

    graph = dg.from_torch(Residual(), torch.zeros(1, 2))
    assert sorted({len(segment) for segment in lines_of(overview(graph).axes[0])}) == [STRAIGHT, CURVED]


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(dg.InputError, match=r"dnn2graph\[plot\]"):
        overview(chain(2, 1))
