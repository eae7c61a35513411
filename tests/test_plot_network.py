"""The drawing of a network: which edges and nodes it shows, where they stand, and what it says of the rest."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from PIL import Image
from torch import nn

import dnn2graph as dg
from dnn2graph.cli import main
from dnn2graph.plot.columns import columns, layer_grid
from dnn2graph.plot.network import CURVED, STRAIGHT, network
from dnn2graph.plot.strongest import shares, strongest_edges, strongest_nodes
from dnn2graph.plot.style import NEGATIVE, POSITIVE
from tests.networks import NETWORKS, by_hand, every_network, graph_of, traced
from tests.strategies import Net


def lines_of(figure):
    return [each for each in figure.axes[0].collections if isinstance(each, LineCollection)]


def texts_of(figure):
    return [each.get_text() for each in (*figure.axes[0].texts, *figure.texts)]


def perceptron(*widths):
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    return traced(nn.Sequential(*layers), widths[0])


def all_edges(graph):
    """List all edges, links by links."""
    return [links.coo() for links in graph.links]


# ---------------------------------------------------------------------- what is drawn


def test_edges_lead_from_node_to_node_in_the_colour_of_their_sign_and_the_width_of_their_size():
    figure = network(by_hand(), "by hand")
    first, second = lines_of(figure)
    # Weights 1.5 (0 -> 2), -2 (0 -> 3) and 4 (1 -> 3), weakest first; node 0 stands above node 1, and 2 above 3.
    (a, b), (c, d), (e, f) = (segment.tolist() for segment in first.get_segments())
    assert [a[0], b[0]] == [0, 1] == [e[0], f[0]]
    assert a == c
    assert d == f
    assert a[1] > e[1]
    assert b[1] > d[1]
    assert [to_hex(colour) for colour in first.get_colors()] == [POSITIVE, NEGATIVE, POSITIVE]
    assert list(first.get_linewidths()) == pytest.approx([0.25, 0.25 + 1.1 * 0.2, 0.25 + 1.1])
    assert [to_hex(colour) for colour in second.get_colors()] == [NEGATIVE, POSITIVE]  # -0.125 and 0.5
    assert {"by hand", "Drawn: 5 nodes, 5 edges.", "input", "0", "2"} <= {
        line for text in texts_of(figure) for line in text.splitlines()
    }


def test_the_area_of_a_node_grows_with_its_absolute_strength_within_its_layer():
    figure = network(by_hand())
    hidden = [each for each in figure.axes[0].collections if isinstance(each, PathCollection)][1]
    small, large = hidden.get_sizes()  # absolute strengths 2 and 6.125
    least, most = 4 * 0.9**2, 4 * 4.6**2
    assert large == pytest.approx(most)
    assert small == pytest.approx(least + 2 / 6.125 * (most - least))


@pytest.mark.parametrize("count", [0, 1, 7, 400])
@pytest.mark.parametrize("network", NETWORKS)
def test_of_each_links_the_strongest_edges_are_chosen(network, count):
    graph = graph_of(f"{network}-channel")
    listed = all_edges(graph)
    wanted = shares([len(edges.weights) for edges in listed], count)
    for (_, chosen), edges, number in zip(strongest_edges(graph, count), listed, wanted, strict=True):
        size = np.sort(np.abs(edges.weights))[len(edges.weights) - number :]
        np.testing.assert_array_equal(np.abs(chosen.weights), size)
        pairs = dict(zip(zip(edges.sources, edges.targets, strict=True), edges.weights, strict=True))
        for source, target, weight in zip(*chosen, strict=True):
            assert pairs[source, target] == weight


def test_of_the_equal_edges_of_a_kernel_entry_some_are_drawn_all_over_the_image():
    graph = traced(nn.Conv2d(1, 1, 3, padding=1), 1, 40, 40, granularity="position")
    ((links, chosen),) = strongest_edges(graph, 60)
    assert len(chosen.weights) == 60
    entries = np.abs(links.kernel().numpy()).ravel()
    assert len(np.unique(chosen.weights)) > 3  # not one entry alone, though it makes 1600 edges
    assert set(np.abs(chosen.weights)) == set(np.sort(entries)[-len(np.unique(chosen.weights)) :])
    rows = (chosen.sources % 1600) // 40
    assert rows.min() < 10
    assert rows.max() >= 30


def test_no_more_edges_are_kept_in_memory_than_twice_those_that_are_chosen(monkeypatch):
    from dnn2graph.plot import strongest

    held = []
    cut = strongest._cut
    monkeypatch.setattr(
        strongest, "_cut", lambda blocks, count: held.append(sum(len(b.weights) for b in blocks)) or cut(blocks, count)
    )
    graph = perceptron(1200, 1000)
    ((_, chosen),) = strongest_edges(graph, 50)
    assert len(chosen.weights) == 50
    assert len(held) > 2
    assert max(held[1:]) < 0.01 * graph.number_of_edges()  # of later blocks only what is stronger is kept


def test_a_total_is_shared_so_that_nothing_is_left_and_nobody_gets_more_than_there_is():
    assert shares([100, 5, 100], 45) == [20, 5, 20]
    assert sum(shares([3, 1000, 40, 7], 101)) == 101
    assert shares([], 10) == []


# ---------------------------------------------------------------------- what is left out


def test_of_a_wide_layer_the_strongest_nodes_are_drawn_with_the_count_below():
    graph = perceptron(30, 200, 4)
    figure = network(graph, max_nodes=50)
    texts = texts_of(figure)
    assert {"50 of 200", "30", "4"} <= set(texts)
    assert any(text.startswith("Drawn: 84 of 234 nodes") for text in texts)
    strength = dg.strength(graph, weight="abs")
    chosen = strongest_nodes(graph, strength, [50, 50, 50])
    hidden = strength[30:230]
    assert hidden[chosen[30:230]].min() >= hidden[~chosen[30:230]].max()
    places = {tuple(np.round(point, 9)) for each in lines_of(figure) for line in each.get_segments() for point in line}
    assert len([place for place in places if place[0] == 1]) <= 50


def test_the_caption_counts_the_edges_that_are_drawn():
    graph = perceptron(40, 30, 20)
    figure = network(graph, max_edges=300)
    assert sum(len(each.get_segments()) for each in lines_of(figure)) == 300
    said = " ".join(texts_of(figure)).replace("\n", " ")
    assert "300 of 1,800 edges (of all links the strongest)" in said


def test_only_links_of_the_kinds_asked_for_are_drawn():
    graph = graph_of("residual-channel")
    figure = network(graph, kinds=("weight",))
    drawn = sum(len(each.get_segments()) for each in lines_of(figure))
    assert drawn == graph.number_of_edges(("weight",)) < graph.number_of_edges()


@pytest.mark.parametrize("option", ["max_edges", "max_nodes"])
def test_a_negative_number_is_refused(option):
    with pytest.raises(dg.InputError, match=f"{option}=-1 must not be negative"):
        network(by_hand(), **{option: -1})


# ---------------------------------------------------------------------- where it stands


def skipping():
    return traced(Net(lambda self, x: x + self.b(self.a(x).relu()), a=nn.Linear(3, 3), b=nn.Linear(3, 3)), 3)


def test_edges_that_pass_over_a_layer_are_curves_above_its_nodes():
    figure = network(skipping())
    points = [each.get_segments()[0] for each in lines_of(figure)]
    assert sorted({len(segment) for segment in points}) == [STRAIGHT, CURVED]
    for each in lines_of(figure):
        for segment in each.get_segments():
            if len(segment) == CURVED:
                middle = np.interp(1, segment[:, 0], segment[:, 1])
                assert middle > 0.5  # where columns end
    assert any("passes over layers" in text.get_text() for text in figure.legends[0].get_texts())


def test_without_such_edges_the_legend_does_not_speak_of_them():
    assert [text.get_text() for text in network(by_hand()).legends[0].get_texts()] == ["positive weight", "negative"]


@every_network
def test_channels_stand_from_top_to_bottom_and_nothing_overlaps(network):
    graph = graph_of(network)
    for column in columns(graph, np.ones(len(graph), bool), aspect=3.0):
        np.testing.assert_array_equal(column.nodes, layer_grid(column.layer))
        across, up = column.places()
        assert np.all(np.diff(column.centres) < 0)
        assert np.abs(up).max() <= 0.5
        assert np.abs(across).max() <= 0.5
        assert len(np.unique(np.round(np.stack([across.ravel(), up.ravel()], 1), 9), axis=0)) == column.nodes.size


def test_in_position_granularity_each_channel_is_an_image_of_its_strengths():
    graph = traced(nn.Conv2d(1, 3, 3, stride=2), 1, 8, 8, granularity="position")
    figure = network(graph)
    pictures = figure.axes[0].images
    assert [each.get_array().shape[:2] for each in pictures] == [(8, 8), *[(3, 3)] * 3]
    strength = dg.strength(graph, weight="abs")[:64].reshape(8, 8)
    darkness = 1 - np.asarray(pictures[0].get_array())[..., 0]
    np.testing.assert_allclose(darkness / darkness.max(), 0.1 + 0.9 * strength / strength.max())


def test_a_picture_of_a_map_keeps_its_shape_in_the_figure():
    figure = network(traced(nn.Conv2d(1, 2, 3), 1, 6, 12, granularity="position"))
    figure.draw_without_rendering()
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    corners = figure.axes[0].transData.transform([(left, bottom), (right, top)])
    width, height = corners[1] - corners[0]
    assert width / height == pytest.approx(2, rel=0.05)  # the margin for the caption is estimated


# ---------------------------------------------------------------------- odd graphs and names


def test_a_name_from_a_file_is_no_formula():
    model = nn.Sequential()
    model.add_module("$\\frac", nn.Linear(2, 2))
    figure = network(traced(model, 2), "$x")
    figure.draw_without_rendering()
    assert r"\$x" in texts_of(figure)


def test_a_network_without_edges_is_drawn():
    model = nn.Linear(2, 2)
    nn.init.zeros_(model.weight)
    assert not lines_of(network(dg.from_torch(model, torch.zeros(1, 2))))


def test_weights_that_are_not_finite_are_refused():
    model = nn.Linear(2, 2)
    nn.init.constant_(model.weight, float("nan"))
    with pytest.raises(dg.WeightsError, match="non-finite"):
        network(dg.from_torch(model, torch.zeros(1, 2)))


# ---------------------------------------------------------------------- the command


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_command_draws_a_file(suffix, tmp_path):
    path = tmp_path / f"net.{suffix}"
    result = CliRunner().invoke(main, ["plot", "network", "data/digits_cnn.pt2", "-o", str(path), "--max-edges", "200"])
    assert result.exit_code == 0, result.output
    if suffix == "png":
        assert Image.open(path).width > 1000
    elif suffix == "svg":
        text = path.read_text()
        assert "digits_cnn" in text
        assert "200 of 600 edges" in text
    else:
        assert path.read_bytes().startswith(b"%PDF")


def test_the_command_refuses_a_name_before_it_loads_the_model(tmp_path):
    result = CliRunner().invoke(main, ["plot", "network", "no such file", "-o", "net.gexf"])
    assert result.exit_code == 2
    assert "cannot write 'net.gexf': give a name that ends in .png, .svg, .pdf" in result.output
