"""The report: what it says of a network, that it is safe and loads nothing, and what its buttons save."""

from __future__ import annotations

import base64
import csv
import json
import re
from importlib import import_module
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import dnn2graph as dg
from dnn2graph.activity import activations
from dnn2graph.nulls import significance
from dnn2graph.plot.page.template import unpack
from dnn2graph.profile import profile
from dnn2graph.report import contents, report, write
from dnn2graph.report.contents import histograms
from tests import pages
from tests.networks import by_hand, every_network, graph_of, traced
from tests.pages import NASTY, Parsed, watched

browser = pages.browser
command = import_module("dnn2graph.cli.report")  # the package's attribute of that name is the command

QUICK = {"measures": ["degree", "strength_abs", "reciprocity"], "nulls": 39}
BURST = 8  # files that a page saves at once: Chromium ignores more than ten in a second
SECTIONS = ["network", "findings", "layers", "distributions", "backbone", "significance", "profile"]


def perceptron(*widths, seed=0):
    """Trace a perceptron with ReLU between its layers; also give the model."""
    layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())][:-1]
    model = nn.Sequential(*layers)
    return model, traced(model, widths[0], seed=seed)


def written(graph, path, **options):
    report(graph, path, **(QUICK | options))
    return Parsed(path.read_text())


def tables_of(parsed):
    """Read the tables that a page holds, as its script does."""
    return {
        name: {
            column: values if isinstance(values, list) else unpack(values).tolist()
            for column, values in zip(table["columns"], table["values"], strict=True)
        }
        for name, table in json.loads(parsed.scripts["tables"]).items()
    }


def same(found, frame):
    """Compare a table of a page with a data frame: every number to its last digit, texts as they are written."""
    assert list(found) == list(frame.columns)
    for name in frame:
        if frame[name].dtype.kind in "iuf":
            np.testing.assert_array_equal(found[name], frame[name].to_numpy(np.float64), name)
        else:
            assert found[name] == ["" if pd.isna(value) else str(value) for value in frame[name]], name


# ---------------------------------------------------------------------- what the page holds


def test_every_section_has_a_heading_and_a_link_to_it(tmp_path):
    parsed = written(by_hand(), tmp_path / "net.html", title="by hand")
    sections = [each for tag, each in parsed.elements if tag == "section"]
    assert [each["id"] for each in sections] == SECTIONS
    identities = [each["id"] for _, each in parsed.elements if "id" in each]
    assert len(identities) == len(set(identities))
    assert {each["aria-labelledby"] for each in sections} <= set(identities)
    links = [each["href"] for tag, each in parsed.elements if tag == "a"]
    assert links == ["#content", *(f"#{each}" for each in SECTIONS)]
    for heading in ("The network", "What is odd", "Layers", "Strengths and weights", "Backbone", "More than chance?"):
        assert heading in parsed.text


def test_the_page_says_what_the_network_is(tmp_path):
    parsed = written(by_hand(), tmp_path / "net.html", about={"accuracy": "98 %"})
    assert "A network of 9 parameters as a graph of 5 nodes in 3 layers, joined by 5 weighted edges." in parsed.text
    assert "Nothing odd was found." in parsed.text
    facts = tables_of(parsed)["facts"]
    found = dict(zip(facts["fact"], facts["value"], strict=True))
    assert found["weights of exactly zero, which are no edges"] == "1"
    assert (found["granularity"], found["precision"], found["accuracy"]) == ("channel", "float32", "98 %")


@every_network
def test_tables_hold_the_numbers_that_the_library_gives(network, tmp_path):
    graph = graph_of(network)
    tables = tables_of(written(graph, tmp_path / "net.html", nulls=0))
    same(tables["layers"], dg.layer_table(graph))
    same(tables["links"], dg.link_weights(graph))
    nodes = pd.DataFrame(tables["nodes"])
    table = dg.node_table(graph)
    for name in ("strength", "strength_in", "strength_out", "bias"):
        np.testing.assert_array_equal(nodes[name], table[name])
    np.testing.assert_array_equal(nodes["strength_abs"], dg.strength(graph, weight="abs"))
    found = profile(graph, QUICK["measures"])
    same(tables["profile_nodes"], found.nodes.reset_index())
    same(tables["profile"], found.graph.reset_index())


@every_network
def test_histograms_count_every_edge_of_the_unrolled_graph(network):
    graph = graph_of(network)
    found = histograms(graph)
    for place, links in enumerate(graph.links):
        mine = found[found["links"] == place]
        weights = links.coo().weights.astype(np.float64)
        if len(mine) == 1:
            assert mine["edges"].item() == len(weights)
            assert set(weights) == {mine["low"].item()}
            continue
        borders = np.append(mine["low"], mine["high"].iloc[-1])
        np.testing.assert_array_equal(mine["edges"], np.histogram(weights, borders)[0])
        assert mine["edges"].sum() == links.nnz


def test_the_comparison_with_nulls_is_in_words_and_in_numbers(tmp_path):
    _, graph = perceptron(12, 8, 3)
    with torch.no_grad():
        dict(graph.weights)["2.weight"][0].fill_(3.0)  # one output reads far more than the others
    parsed = written(graph, tmp_path / "net.html", nulls=199, null_models=["weight-shuffle"])
    found = significance(graph, "fluctuation", "weight-shuffle", 199)
    table = tables_of(parsed)["significance"]
    assert set(table.pop("null_model")) == {"weight-shuffle"}
    same(table, found.table)
    words = r"Fluctuation of output layer '2' is [\d.]+ σ above weight-shuffled nulls, p ≤ 0\.0\d+"
    assert re.search(words, parsed.text)
    for sentence in found.sentences():
        assert f"{sentence[0].upper()}{sentence[1:]}." in parsed.text


def test_without_nulls_nothing_is_said_of_chance(tmp_path):
    parsed = written(by_hand(), tmp_path / "net.html", nulls=0)
    assert [each["id"] for tag, each in parsed.elements if tag == "section"] == [
        each for each in SECTIONS if each != "significance"
    ]


def test_the_backbone_is_that_of_the_disparity_filter(tmp_path):
    _, graph = perceptron(20, 10, 4)
    parsed = written(graph, tmp_path / "net.html", max_edges=60)
    sparse = dg.sparsify(graph, 60, "disparity")
    tables = tables_of(parsed)
    same(tables["backbone"], sparse.receipt.to_frame())
    labels = dg.node_table(graph)["label"]
    matrix = sparse.adjacency().tocoo()
    expected = set(zip(labels[matrix.row], labels[matrix.col], matrix.data.astype(float).tolist(), strict=True))
    edges = tables["backbone_edges"]
    assert set(zip(edges["source"], edges["target"], edges["weight"], strict=True)) == expected
    assert "The 60 edges of 240 that stand out most" in parsed.text


def test_what_is_odd_is_said_once_for_each_problem(tmp_path):
    model, graph = perceptron(6, 5, 4, 2)
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 2 * model[0].weight[0], 2 * model[0].bias[0]
        model[2].weight[:, 4] = 0
        model[4].weight[:, 3] = 0
    parsed = written(graph, tmp_path / "net.html")
    assert "There are 2 warnings." in parsed.text
    assert "2 nodes that nothing reads: without out-weights. In 0 (1 of 5), 2 (1 of 4)." in parsed.text
    assert "2 nodes like another of their layer" in parsed.text
    assert "no data were given" in parsed.text
    assert tables_of(parsed)["findings"]["label"] == ["0[4]", "0[0]", "0[1]", "2[3]"]


def test_data_add_a_section_and_what_they_show(tmp_path):
    model, graph = perceptron(3, 4, 2)
    with torch.no_grad():
        model[0].bias[2] = -1e3
    activity = activations(graph, [torch.randn(50, 3, generator=torch.Generator().manual_seed(0))], model=model)
    parsed = written(graph, tmp_path / "net.html", activity=activity)
    assert "1 node with zero for every sample of the data. In 0 (1 of 4)." in parsed.text
    assert "over 50 samples" in parsed.text
    same(tables_of(parsed)["activity"], activity.layer_table())
    same(tables_of(parsed)["activity_nodes"], activity.table().reset_index())


def test_communities_are_shown_where_they_were_measured(tmp_path):
    _, graph = perceptron(12, 8, 3)
    tables = tables_of(written(graph, tmp_path / "net.html", measures=["communities"]))
    counts = profile(graph, "leiden").nodes["leiden"].value_counts()
    communities = tables["communities"]
    assert dict(zip(communities["community"], communities["nodes"], strict=True)) == counts[counts > 1].to_dict()


def test_tables_of_nodes_are_shortened_to_the_strongest(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "MOST_NODES", 3)
    parsed = written(by_hand(), tmp_path / "net.html")
    strongest = np.sort(np.argsort(-dg.strength(by_hand(), weight="abs"), kind="stable")[:3])
    for name in ("nodes", "profile_nodes"):
        assert tables_of(parsed)[name]["node"] == strongest.tolist()
    assert "the 3 strongest nodes (CSV)" in parsed.text


def test_of_a_graph_that_is_too_big_the_strongest_edges_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "MOST_MEASURED", 30)
    _, graph = perceptron(12, 8, 3)
    parsed = written(graph, tmp_path / "net.html")
    assert "Measured on the strongest 30 edges" in parsed.text
    same(tables_of(parsed)["profile_nodes"], profile(dg.sparsify(graph, 30), QUICK["measures"]).nodes.reset_index())


def test_the_same_graph_has_the_same_page(tmp_path):
    texts = []
    for jobs in (1, 2):
        report(by_hand(), tmp_path / "net.html", **QUICK, jobs=jobs, seed=3)
        texts.append((tmp_path / "net.html").read_text())
    assert texts[0] == texts[1]


def test_a_network_without_edges_has_a_report(tmp_path):
    model = nn.Linear(2, 2)
    nn.init.zeros_(model.weight)
    parsed = written(dg.from_torch(model, torch.zeros(1, 2)), tmp_path / "net.html", nulls=0)
    assert "2 nodes with the same value whatever the input is" in parsed.text


def test_progress_reaches_the_end(tmp_path):
    heard = []
    written(by_hand(), tmp_path / "net.html", progress=lambda *numbers: heard.append(numbers))
    assert all(before[0] <= after[0] for before, after in pairwise(heard))
    assert heard[-1][0] == heard[-1][1]
    assert len({total for _, total in heard}) == 1


# ---------------------------------------------------------------------- safety


def test_names_from_a_file_are_text_wherever_they_stand(tmp_path):
    model = nn.Sequential()
    model.add_module(NASTY.replace(".", ""), nn.Linear(2, 3))
    parsed = written(traced(model, 2), tmp_path / "net.html", title=NASTY, about={NASTY: NASTY}, nulls=5)
    assert len([tag for tag, _ in parsed.elements if tag == "script"]) == 3  # the tables, what reads them, the page's
    assert not [tag for tag, _ in parsed.elements if tag in ("iframe", "object")]
    assert NASTY in parsed.text
    assert "<script>alert(1)" not in (tmp_path / "net.html").read_text()
    assert NASTY in tables_of(parsed)["facts"]["value"]


def test_no_address_outside_of_the_page_stands_in_it(tmp_path):
    path = tmp_path / "net.html"
    parsed = written(by_hand(), path)
    assert re.findall(r"(?:https?:|wss?:|ftp:)//[\w.-]+", path.read_text()) == []
    loading = ("src", "href", "srcset", "action")
    sources = [each[name] for _, each in parsed.elements for name in loading if name in each]
    assert all(source.startswith(("#", "data:image/svg+xml;base64,")) for source in sources)
    (policy,) = [each["content"] for _, each in parsed.elements if each.get("http-equiv")]
    assert policy.startswith("default-src 'none'; ")
    for source in sources:
        if source.startswith("data:"):
            drawing = base64.b64decode(source.partition(",")[2]).decode()
            assert re.findall(r"(?:href|src)=\"(?!#)[^\"]*\"", drawing) == []


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "net.html"
    path.write_text("old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(dg.ExportError, match="No space left"):
        written(by_hand(), path)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["net.html"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nulls": -1}, "nulls=-1 must not be negative"),
        ({"null_models": ["coin-flips"]}, "unknown null model 'coin-flips': choose from weight-shuffle, "),
        ({"max_edges": 0}, "max_edges=0 must be 1 or more"),
        ({"measures": ["fame"]}, "unknown measure 'fame'"),
    ],
)
def test_options_out_of_range_are_refused(options, message, tmp_path):
    with pytest.raises(dg.InputError, match=message):
        written(by_hand(), tmp_path / "net.html", **options)
    assert list(tmp_path.iterdir()) == []


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(dg.ExportError, match=r"give a page a name that ends in \.html"):
        report(by_hand(), tmp_path / "net.pdf")


# ---------------------------------------------------------------------- the command


def test_the_command_writes_a_report(tmp_path):
    path = tmp_path / "digits.html"
    options = ["--nulls", "19", "--measures", "degrees", "--json"]
    result = CliRunner().invoke(command.report, ["data/digits_cnn.pt2", "-o", str(path), *options])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == {"path": str(path), "nodes": 83, "edges": 600, "bytes": path.stat().st_size}
    text = path.read_text()
    assert "<title>digits_cnn</title>" in text
    assert "digits_cnn.pt2" in text


def test_the_command_runs_images_through_the_network(tmp_path):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    path = tmp_path / "digits.html"
    options = ["--nulls", "0", "--measures", "degrees", "--images", "digits", "--samples", "60"]
    result = CliRunner().invoke(command.report, ["data/digits_cnn.pt2", "-o", str(path), *options])
    assert result.exit_code == 0, result.output
    parsed = Parsed(path.read_text())
    assert "accuracy on the first 60 test images of digits" in parsed.text
    assert "over 60 samples" in parsed.text


def test_a_model_that_cannot_be_run_takes_no_images(tmp_path):
    path = tmp_path / "digits.html"
    arguments = ["data/digits_mlp.pt", "-o", str(path), "--images", "digits"]
    result = CliRunner().invoke(command.report, arguments)
    assert isinstance(result.exception, dg.InputError)
    assert "leave --images out" in str(result.exception)
    assert not path.exists()


def test_help_knows_the_librarys_numbers_by_heart():
    from dnn2graph.nulls import KINDS

    assert (command.NULLS, command.MAX_EDGES) == (write.NULLS, write.MAX_EDGES)
    assert set(command.NULL_MODELS) == set(KINDS) - {"initialisation"}  # which asks for more than its name


# ---------------------------------------------------------------------- in a browser


@pytest.fixture
def opened(browser, tmp_path):
    """Open reports in the browser."""
    with watched(browser) as open_tab:

        def open_report(graph, **options):
            path = tmp_path / "net.html"
            report(graph, path, **(QUICK | options))
            return open_tab(path)

        yield open_report


def test_every_button_saves_its_table_with_all_digits(browser, tmp_path):
    model, graph = perceptron(6, 5, 3)
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 3 * model[0].weight[0], 3 * model[0].bias[0]
    activity = activations(graph, [torch.eye(6)], model=model)
    about = {'a "fact", with\na line': "x;y,z"}
    path = tmp_path / "net.html"
    parsed = written(graph, path, activity=activity, about=about, measures=["communities", "degree"])
    expected, saved = tables_of(parsed), {}
    names = [each["data-table"] for _, each in parsed.elements if "data-table" in each]
    with watched(browser) as open_tab:
        for begin in range(0, len(names), BURST):  # tab by tab: a page may not save more at once
            tab = open_tab(path)
            for place, name in list(enumerate(names))[begin : begin + BURST]:
                with tab.expect_download() as started:
                    tab.locator("button.csv").nth(place).click()
                assert started.value.suggested_filename == f"net_{name}.csv"
                with open(started.value.path(), newline="", encoding="utf-8") as file:
                    saved[name] = list(csv.reader(file))
    assert set(saved) == set(expected)
    for name, (columns, *rows) in saved.items():
        assert columns == list(expected[name])
        found = zip(*rows, strict=True) if rows else [()] * len(columns)
        for values, texts in zip(expected[name].values(), found, strict=True):
            if values and isinstance(values[0], float):
                np.testing.assert_array_equal([float(text) if text else np.nan for text in texts], values)
            else:
                assert list(texts) == values


def test_buttons_are_reached_and_pressed_by_the_keyboard(opened):
    tab = opened(by_hand())
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.dataset.table") == "layers":
            break
    with tab.expect_download() as started:
        tab.keyboard.press("Enter")
    assert started.value.suggested_filename == "net_layers.csv"
    assert tab.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2


def test_the_page_fits_a_telephone(opened):
    _, graph = perceptron(12, 8, 8, 8, 8, 8, 8, 3)
    tab = opened(graph, measures=["communities", "degree"])
    tab.set_viewport_size({"width": 390, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") == 390


def test_every_figure_is_drawn_and_described(opened):
    _, graph = perceptron(12, 8, 3)
    tab = opened(graph, measures=["communities"])
    read = "images => images.map((each) => [each.complete && each.naturalWidth, each.alt])"
    figures = tab.eval_on_selector_all("img", read)
    assert len(figures) == 4
    assert all(width > 300 and alt for width, alt in figures)


def test_names_that_look_like_markup_do_nothing(opened):
    model = nn.Sequential()
    model.add_module(NASTY.replace(".", ""), nn.Linear(2, 3))
    tab = opened(traced(model, 2), title=NASTY, nulls=5)
    assert tab.inner_text("h1") == NASTY


def test_printing_opens_what_is_folded_in(opened):
    tab = opened(by_hand())
    assert tab.locator("details:not([open])").count() > 0
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("details:not([open])").count() == 0
