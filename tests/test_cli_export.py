"""``dnn2graph export`` in every format: what it writes, what it keeps of a graph that is too large, what it says."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import pandas as pd
import pytest
import scipy.io
import scipy.sparse
import torch
from click.testing import CliRunner
from torch import nn

import dnn2graph as dg
from dnn2graph.cli import main
from dnn2graph.cli.export import MAX_EDGES, SUFFIXES
from dnn2graph.export.formats import VIEWABLE
from dnn2graph.load.graphs import read

CNN = str(Path(__file__).parents[1] / "data" / "digits_cnn.pt2")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def wide():
    """A state dict of 210 000 weights, 3 of them zero."""
    torch.manual_seed(0)
    layer = nn.Linear(700, 300, bias=False)
    with torch.no_grad():
        layer.weight[0, :3] = 0
    torch.save({"wide.weight": layer.weight.detach()}, "wide.pt")
    return "wide.pt"


def run(*args):
    return CliRunner().invoke(main, ["export", *map(str, args)])


def fails(result, *parts):
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    for part in parts:
        assert part in line


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_name_says_the_format(suffix):
    result = run(CNN, "-o", f"net{suffix}", "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert (found["path"], found["nodes"], found["edges"]) == (f"net{suffix}", 83, 600)
    written = [path for path in Path().rglob("*") if path.is_file()]
    assert found["bytes"] == sum(path.stat().st_size for path in written) > 0
    assert f"wrote net{suffix}: 83 nodes, 600 edges" in run(CNN, "-o", f"net{suffix}").stdout


def test_unknown_endings_are_refused_before_the_model_is_read():
    fails(run("missing.pt2", "-o", "net.svg"), "'net.svg'", ".graphml, .graphml.gz, .gexf", ".npz")


def test_weights_are_absolute_for_viewers_and_signed_for_analysis():
    smallest = {}
    for name, options in (("a.mtx", []), ("b.mtx", ["--weight", "abs"])):
        run(CNN, "-o", name, *options)
        smallest[name] = scipy.io.mmread(name).data.min()
    assert smallest["a.mtx"] < 0 < smallest["b.mtx"]
    for name, options in (("a.csv", []), ("b.csv", ["--weight", "signed"])):
        run(CNN, "-o", name, *options)
        smallest[name] = pd.read_csv(name.replace(".csv", "_edges.csv"))["Weight"].min()
    assert smallest["b.csv"] < 0 < smallest["a.csv"]
    fails(run(CNN, "-o", "net.npz", "--weight", "abs"), "npz", "holds the signed weights")


def test_precision_is_that_asked_for():
    run(CNN, "-o", "net.npz", "--precision", "float64")
    assert scipy.sparse.load_npz("net.npz").dtype == "float64"


def test_a_graph_that_is_too_large_for_viewers_is_sparsified_with_a_receipt(wide):
    result = run(wide, "-o", "net.csv")
    assert result.exit_code == 0, result.output
    assert f"net.csv: 1,000 nodes, {VIEWABLE:,} edges" in result.stdout
    assert "209,997 edges are many for CSV tables" in result.stderr
    assert "--all" in result.stderr
    assert "kept 200,000 of 209,997 edges by mass" in result.stderr
    found = pd.read_csv("net_edges.csv")
    kept = set(zip(found["Source"], found["Target"], strict=True))
    whole = dg.load(wide)
    weights = abs(whole.adjacency()).tocoo()
    least = sorted(weights.data)[-VIEWABLE]
    strong = weights.data >= least
    assert set(zip(weights.row[strong].tolist(), weights.col[strong].tolist(), strict=True)) == kept


def test_all_edges_are_written_on_request_and_for_analysis(wide):
    for name, options in (("net.csv", ["--all"]), ("net.npz", []), ("net.csv", ["--max-edges", 300_000])):
        result = run(wide, "-o", name, *options)
        assert "1,000 nodes, 209,997 edges" in result.stdout
        assert result.stderr == ""


def test_an_edge_budget_and_a_method_serve_any_format():
    result = run(CNN, "-o", "net.npz", "--max-edges", 50, "--method", "threshold", "--json")
    assert json.loads(result.stdout)["edges"] == 50
    assert "kept 50 of 600 edges by threshold" in result.stderr
    found, whole = read("net.npz").adjacency(), dg.load(CNN).adjacency()
    assert found.nnz == 50
    assert (found != whole.multiply(found != 0)).nnz == 0


def test_dot_gets_as_many_edges_as_can_be_drawn(wide):
    result = run(wide, "-o", "net.dot")
    assert "1,000 nodes, 2,000 edges" in result.stdout
    assert "many for DOT" in result.stderr
    fails(run(wide, "-o", "net.dot", "--all"), "DOT is for graphs of at most 2,000 edges")


def test_the_budget_counts_the_kinds_that_are_written():
    result = run(CNN, "-o", "net.graphml", "--kinds", "unit,pool", "--max-edges", 10)
    assert result.exit_code == 0, result.output
    found = nx.read_graphml("net.graphml")
    assert found.number_of_edges() == 10
    assert {kind for *_, kind in found.edges(data="kind")} <= {"unit", "pool"}


def test_weights_that_are_exactly_zero_are_counted(wide):
    result = run(wide, "-o", "net.npz")
    assert "3 weights are exactly zero, which are no edges" in result.stdout
    assert json.loads(run(wide, "-o", "net.npz", "--json").stdout)["zero_weights"] == 3
    assert "exactly zero" not in run(CNN, "-o", "net.npz").stdout


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["--all", "--max-edges", "5"], "leave --max-edges out"),
        (["--all", "--method", "topk"], "leave --method out"),
        (["--run", "run"], "GraphML knows no time"),
        (["--flat"], "name its folder with --run"),
        (["--steps", "1"], "--steps is about several models"),
    ],
)
def test_options_that_contradict_each_other_are_one_line(args, part):
    fails(run(CNN, "-o", "net.graphml", *args), part)
    assert list(Path().iterdir()) == []


def test_the_budget_is_that_of_the_library():
    assert MAX_EDGES == VIEWABLE
