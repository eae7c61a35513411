"""The page: what it says of a graph, that it is safe and loads nothing, and how it behaves in a browser."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import dnn2graph as dg
from dnn2graph.cli.view import view
from dnn2graph.plot.page import page
from dnn2graph.plot.page.template import unpack
from tests import pages
from tests.networks import by_hand, every_network, graph_of, traced
from tests.pages import NASTY, Parsed, watched
from tests.strategies import Net

browser = pages.browser


def written(graph, path, **options):
    page(graph, path, **options)
    return Parsed(path.read_text())


def data_of(parsed):
    return json.loads(parsed.scripts["graph"])


def named(name):
    """Make a network with a layer of that name."""
    model = nn.Sequential()
    model.add_module(name, nn.Linear(2, 3))
    return traced(model, 2)


def skipping():
    return traced(Net(lambda self, x: x + self.b(self.a(x).relu()), a=nn.Linear(3, 3), b=nn.Linear(3, 3)), 3)


# ---------------------------------------------------------------------- what the page holds


@every_network
def test_the_page_holds_the_numbers_of_every_node(network, tmp_path):
    graph = graph_of(network)
    nodes = data_of(written(graph, tmp_path / "net.html"))["nodes"]
    table = dg.node_table(graph)
    assert nodes["label"] == table["label"].tolist()
    for name in ("strength", "strength_in", "strength_out", "bias"):
        np.testing.assert_array_equal(unpack(nodes[name]), table[name])
    np.testing.assert_array_equal(unpack(nodes["strength_abs"]), dg.strength(graph, weight="abs"))
    matrix = graph.to_networkx() if graph.number_of_edges() < 5000 else None
    if matrix is not None and matrix.number_of_edges() == graph.number_of_edges():
        np.testing.assert_array_equal(unpack(nodes["degree_in"]), [degree for _, degree in matrix.in_degree()])
        np.testing.assert_array_equal(unpack(nodes["degree_out"]), [degree for _, degree in matrix.out_degree()])
    np.testing.assert_array_equal(unpack(nodes["id"]), np.arange(len(graph)))
    np.testing.assert_array_equal(unpack(nodes["layer"]), graph.layer_of())


@every_network
def test_the_page_holds_every_edge_of_a_graph_that_fits(network, tmp_path):
    graph = graph_of(network)
    edges = data_of(written(graph, tmp_path / "net.html"))["edges"]
    source, target, weight = (unpack(edges[name]) for name in ("source", "target", "weight"))
    listed = [links.coo() for links in graph.links]
    expected = sorted(zip(*(np.concatenate(part).tolist() for part in zip(*listed, strict=True)), strict=True))
    assert sorted(zip(source.tolist(), target.tolist(), weight.tolist(), strict=True)) == expected


def test_the_table_shows_each_layer(tmp_path):
    parsed = written(by_hand(), tmp_path / "net.html", title="by hand")
    assert "5 nodes, 5 edges." in parsed.text
    boxes = [each for tag, each in parsed.elements if tag == "input" and each.get("class") == "layer"]
    assert [box["id"] for box in boxes] == ["layer-0", "layer-1", "layer-2"]
    table = dg.layer_table(by_hand())
    for value in table["fluctuation"]:
        assert f"{value:.4g}" in parsed.text


def test_of_a_large_graph_the_strongest_part_is_shown_and_the_page_says_so(tmp_path):
    graph = traced(nn.Sequential(nn.Linear(50, 40), nn.ReLU(), nn.Linear(40, 5)), 50)
    parsed = written(graph, tmp_path / "net.html", max_edges=300, max_nodes=65)
    data = data_of(parsed)
    assert len(unpack(data["nodes"]["id"])) == 65
    assert len(unpack(data["edges"]["weight"])) <= 300
    assert data["edges_in_graph"] == 2200
    assert "95 nodes, 2,200 edges. Shown are the 65 nodes of the strongest channels and" in parsed.text
    ids = unpack(data["nodes"]["id"])
    np.testing.assert_array_equal(unpack(data["nodes"]["strength"]), dg.strength(graph)[ids])  # of the whole graph
    matrix = graph.adjacency()
    source, target = (ids[unpack(data["edges"][end])] for end in ("source", "target"))
    np.testing.assert_array_equal(np.asarray(matrix[source, target]).ravel(), unpack(data["edges"]["weight"]))


def test_channels_that_are_left_out_leave_no_gaps(tmp_path):
    graph = graph_of("convolutional-position")
    nodes = data_of(written(graph, tmp_path / "net.html", max_nodes=150))["nodes"]
    x, y, layer = (unpack(nodes[name]) for name in ("x", "y", "layer"))
    assert len(x) < 150 < len(graph)
    assert len(set(zip(x.tolist(), y.tolist(), strict=True))) == len(x)
    assert np.all(np.diff(layer) >= 0)
    for one in np.unique(layer):
        gaps = np.diff(np.unique(y[layer == one]))
        assert gaps.max(initial=0) <= 2 * 24  # neighbours, or an empty line between two channels


def test_edges_that_pass_over_a_layer_rise_above_it(tmp_path):
    links = data_of(written(skipping(), tmp_path / "net.html"))["links"]
    assert [each["rises"] is not None for each in links] == [each.kind == "unit" for each in skipping().links]


def test_the_page_of_a_sparsified_graph_holds_the_edges_that_were_kept(tmp_path):
    graph = traced(nn.Sequential(nn.Linear(50, 40), nn.ReLU(), nn.Linear(40, 5)), 50)
    sparse = dg.sparsify(graph, 120)
    parsed = written(sparse, tmp_path / "net.html")
    edges = data_of(parsed)["edges"]
    kept = sparse.adjacency().tocoo()
    expected = set(zip(kept.row.tolist(), kept.col.tolist(), kept.data.tolist(), strict=True))
    assert set(zip(*(unpack(edges[name]).tolist() for name in ("source", "target", "weight")), strict=True)) == expected
    assert "95 nodes, 120 edges." in parsed.text
    np.testing.assert_array_equal(unpack(data_of(parsed)["nodes"]["strength"]), dg.strength(sparse))


def test_progress_counts_the_links_to_the_end(tmp_path):
    heard = []
    page(by_hand(), tmp_path / "net.html", progress=lambda *numbers: heard.append(numbers))
    assert heard == [(1, 2), (2, 2)]


def test_a_network_without_edges_has_a_page(tmp_path):
    model = nn.Linear(2, 2)
    nn.init.zeros_(model.weight)
    assert "4 nodes, 0 edges." in written(dg.from_torch(model, torch.zeros(1, 2)), tmp_path / "net.html").text


# ---------------------------------------------------------------------- safety


def test_names_from_a_file_are_text_wherever_they_stand(tmp_path):
    parsed = written(named(NASTY.replace(".", "")), tmp_path / "net.html", title=NASTY)
    scripts = [each for tag, each in parsed.elements if tag == "script"]
    assert len(scripts) == 5  # the graph, the figures, what reads them, the library and the page's own
    assert "b" not in [tag for tag, _ in parsed.elements]
    assert NASTY in parsed.text
    assert NASTY in data_of(parsed)["layers"][1]["name"]


def test_no_address_outside_of_the_page_stands_in_it(tmp_path):
    path = tmp_path / "net.html"
    parsed = written(by_hand(), path)
    addresses = set(re.findall(r"(?:https?:|wss?:|ftp:)//[\w.-]+", path.read_text()))
    assert addresses <= {"http://www.w3.org"}  # names of XML vocabularies, which nobody fetches
    assert not [each for _, each in parsed.elements if {"src", "href", "srcset", "action", "data"} & set(each)]
    (policy,) = [each["content"] for _, each in parsed.elements if each.get("http-equiv")]
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy


def test_controls_are_form_elements_with_labels(tmp_path):
    parsed = written(by_hand(), tmp_path / "net.html")
    labelled = {each["for"] for tag, each in parsed.elements if tag == "label"}
    controls = [each for tag, each in parsed.elements if tag in ("input", "select")]
    assert {each["id"] for each in controls} == labelled
    assert len(controls) == 5 + len(by_hand().layers)


def test_equal_graphs_show_equal_data(tmp_path):
    first, second = (written(by_hand(), tmp_path / name).scripts["graph"] for name in ("a.html", "b.html"))
    assert first == second


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "net.html"
    path.write_text("old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(dg.ExportError, match="No space left"):
        page(by_hand(), path)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["net.html"]


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(dg.ExportError, match=r"give a page a name that ends in \.html"):
        page(by_hand(), tmp_path / "net.png")


@pytest.mark.parametrize("option", ["max_edges", "max_nodes"])
def test_a_negative_number_is_refused(option, tmp_path):
    with pytest.raises(dg.InputError, match=f"{option}=-1 must not be negative"):
        page(by_hand(), tmp_path / "net.html", **{option: -1})


def test_without_bokeh_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "bokeh.embed", None)
    with pytest.raises(dg.InputError, match=r"dnn2graph\[view\]"):
        page(by_hand(), tmp_path / "net.html")


def test_the_command_writes_a_page(tmp_path):
    path = tmp_path / "digits.html"
    result = CliRunner().invoke(view, ["data/digits_cnn.pt2", "-o", str(path), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == {"path": str(path), "nodes": 83, "edges": 600, "bytes": path.stat().st_size}
    assert "<title>digits_cnn</title>" in path.read_text()


# ---------------------------------------------------------------------- in a browser


@pytest.fixture
def opened(browser, tmp_path):
    """Open graphs in the browser."""
    with watched(browser) as open_tab:

        def open_page(graph, before="", **options):
            path = tmp_path / "net.html"
            page(graph, path, **options)
            return open_tab(path, before)

        yield open_page


MODEL = "(name) => Bokeh.documents.map((each) => each.get_model_by_name(name)).find((each) => each)"


def says(tab, selector, text):
    """Wait until an element has a text."""
    from playwright.sync_api import expect

    expect(tab.locator(selector)).to_have_text(text)


def tip_of(tab):
    """Wait for the box with a node's numbers, and read it."""
    tip = tab.locator(".bk-tooltip-content")
    tip.first.wait_for()
    return tip.first.inner_text()


def column_of(tab, name, column):
    """Read a column of what is drawn."""
    return tab.evaluate(f"([name, column]) => Array.from(({MODEL})(name).data_source.data[column])", [name, column])


def place_of(tab, node):
    """Say where a node's mark is on the screen."""
    return tab.evaluate(
        f"""(node) => {{
            const view = Bokeh.index.find_one(({MODEL})("plot"));
            const data = ({MODEL})("nodes").data_source.data;
            const place = Array.from(data.id).indexOf(node);
            const box = view.canvas_view.el.getBoundingClientRect();
            const {{x_scale, y_scale}} = view.frame;
            return [box.x + x_scale.compute(data.x[place]), box.y + y_scale.compute(data.y[place])];
        }}""",
        node,
    )


def edges_drawn(tab):
    """Count the edges that are drawn, straight and curved."""
    return [len(column_of(tab, name, "x0")) for name in ("straight", "curved")]


def ranges(tab):
    """Say which part of the graph is seen."""
    return tab.evaluate(
        f"""() => {{
            const plot = ({MODEL})("plot");
            return [plot.x_range.start, plot.x_range.end, plot.y_range.start, plot.y_range.end];
        }}"""
    )


def test_the_mouse_on_a_node_shows_its_numbers(opened):
    tab = opened(by_hand())
    tab.mouse.move(*place_of(tab, 3))
    shown = tip_of(tab)
    assert "0[1] (3)" in shown
    assert "1.875" in shown  # strength: -2 + 4 in, -0.125 out
    assert "2, -0.125" in shown
    assert "6.125" in shown  # absolute
    assert "-0.5" in shown  # bias
    assert "2, 1" in shown  # degrees


def test_a_click_on_a_node_tells_of_it_and_marks_its_edges(opened):
    tab = opened(by_hand())
    tab.mouse.click(*place_of(tab, 3))
    says(tab, "#node-title", "0[1] (node 3)")
    assert "1.875" in tab.locator("#node").inner_text()
    assert sorted(column_of(tab, "chosen", "dash")) == ["dashed", "dashed", "solid"]  # signs, without colour


@pytest.mark.parametrize("wanted", ["0[1]", "3", "0[1"])
def test_a_node_is_found_by_its_label_and_its_number(opened, wanted):
    tab = opened(by_hand())
    tab.fill("#find", wanted)
    tab.press("#find", "Enter")
    assert tab.inner_text("#node-title") == "0[1] (node 3)"


def test_a_node_that_is_not_there_is_not_found(opened):
    tab = opened(by_hand())
    tab.fill("#find", "<i>nowhere")
    tab.press("#find", "Enter")
    assert tab.inner_text("#node-title") == "No node that is shown is called “<i>nowhere”"


def test_the_slider_hides_small_weights(opened):
    tab = opened(by_hand())
    assert tab.inner_text("#count") == "5 of 5 edges"
    assert sum(edges_drawn(tab)) == 5
    tab.focus("#least")
    tab.keyboard.press("End")
    says(tab, "#count", "1 of 5 edges")
    assert tab.inner_text("#least-value") == "4"
    assert sum(edges_drawn(tab)) == 1


def test_the_boxes_hide_edges_of_a_sign(opened):
    tab = opened(by_hand())
    tab.uncheck("#negative")
    says(tab, "#count", "3 of 5 edges")
    tab.uncheck("#positive")
    says(tab, "#count", "0 of 5 edges")


def test_a_layer_that_is_hidden_takes_its_nodes_and_edges_along(opened):
    tab = opened(by_hand())
    tab.uncheck("#layer-2")
    says(tab, "#count", "3 of 5 edges")
    assert tab.inner_text("#bars-title") == "Strength of the 4 nodes shown"
    tab.click("#none")
    assert tab.inner_text("#count") == "0 of 5 edges"
    tab.click("#all")
    assert tab.inner_text("#count") == "5 of 5 edges"


@pytest.mark.parametrize("measure", ["depth", "strength", "strength_in", "strength_out", "strength_abs", "sign"])
def test_nodes_are_coloured_by_a_measure_and_negative_ones_have_another_form(opened, measure):
    graph = by_hand()
    tab = opened(graph)
    tab.select_option("#measure", measure)
    markers = column_of(tab, "nodes", "marker")
    column = "strength" if measure == "sign" else measure
    table = dg.node_table(graph)
    signed = measure not in ("depth", "strength_abs")
    assert [marker == "inverted_triangle" for marker in markers] == [
        bool(signed and value < 0) for value in (table[column] if signed else table["strength"])
    ]
    values = dg.strength(graph, weight="abs") if measure == "strength_abs" else table[column if signed else "strength"]
    left, right, top = (column_of(tab, "bars", side) for side in ("left", "right", "top"))
    assert sum(top) == 5
    assert left[0] == pytest.approx(values.min())
    assert right[-1] == pytest.approx(values.max())


def test_the_picture_is_moved_and_zoomed_by_keys(opened):
    tab = opened(by_hand())
    first = ranges(tab)
    tab.focus("#network")
    tab.keyboard.press("ArrowRight")
    moved = ranges(tab)
    assert moved[0] > first[0]
    assert moved[1] - moved[0] == pytest.approx(first[1] - first[0])
    tab.keyboard.press("+")
    assert ranges(tab)[1] - ranges(tab)[0] == pytest.approx((first[1] - first[0]) / 1.25)
    tab.keyboard.press("-")
    tab.keyboard.press("ArrowUp")
    assert ranges(tab)[2] > first[2]
    tab.keyboard.press("0")
    assert ranges(tab) == pytest.approx(first)


def test_the_wheel_and_the_buttons_zoom(opened):
    tab = opened(by_hand())
    first = ranges(tab)
    tab.mouse.move(*place_of(tab, 2))
    tab.mouse.wheel(0, -400)
    tab.locator("#network").evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    assert ranges(tab)[0] > first[0]
    tab.click("#whole")
    tab.click("#closer")
    assert ranges(tab)[1] - ranges(tab)[0] == pytest.approx((first[1] - first[0]) / 1.25)
    tab.click("#farther")
    assert ranges(tab) == pytest.approx(first)


def test_the_keyboard_reaches_every_control_in_the_order_of_the_page_and_shows_where_it_is(opened):
    tab = opened(by_hand())
    reached = []
    for _ in range(40):  # more than there is
        tab.keyboard.press("Tab")
        reached += tab.evaluate(
            """() => {
                const at = document.activeElement, look = getComputedStyle(at);
                return [[at.id || at.className, look.outlineStyle !== "none" && parseFloat(look.outlineWidth) >= 2]];
            }"""
        )
    ours = ["measure", "least", "positive", "negative", "find", "closer", "farther", "whole", "network"]
    ours += ["all", "none", "scroll", "layer-0", "layer-1", "layer-2"]
    names = [name for name, _ in reached]
    assert [name for name in names if name in ours][: len(ours)] == ours
    assert all(visible for name, visible in reached if name in ours)


def test_names_that_look_like_markup_do_nothing(opened):
    tab = opened(named(NASTY.replace(".", "")), title=NASTY)
    assert tab.inner_text("h1") == NASTY
    tab.fill("#find", "2")
    tab.press("#find", "Enter")
    assert tab.inner_text("#node-title").startswith(NASTY)
    tab.mouse.move(*place_of(tab, 2))
    assert NASTY in tip_of(tab)


def test_edges_that_pass_over_a_layer_are_drawn_as_curves(opened):
    assert edges_drawn(opened(skipping())) == [18, 3]


def test_two_hundred_thousand_edges_are_drawn_and_filtered(opened):
    widths = (500, 300, 150, 30)
    graph = traced(nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths))), widths[0])
    tab = opened(graph)
    assert tab.inner_text("#count") == "199,500 of 199,500 edges"
    tab.focus("#least")
    tab.keyboard.press("End")
    says(tab, "#count", "1 of 199,500 edges")


def test_a_large_picture_is_drawn_once(opened):
    widths = (300, 100, 20)
    graph = traced(nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths))), widths[0])
    count = """() => {
        const stroke = CanvasRenderingContext2D.prototype.stroke;
        window.strokes = 0;
        CanvasRenderingContext2D.prototype.stroke = function (...path) {
            window.strokes += 1;
            stroke.apply(this, path);
        };
    }"""
    tab = opened(graph, before=f"({count})()")
    tab.wait_for_function("window.strokes >= 32000")  # the edges, and the outlines of nodes and axes
    for _ in range(3):  # a second time would be at once, with the frame that tells figures their size
        tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    assert tab.evaluate("window.strokes") < 2 * 32_000


def test_a_network_without_edges_is_shown(opened):
    model = nn.Linear(2, 2)
    nn.init.zeros_(model.weight)
    assert opened(dg.from_torch(model, torch.zeros(1, 2))).inner_text("#count") == "0 of 0 edges"
