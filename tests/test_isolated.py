"""Nodes without an edge are left out of files for viewers on request, and nothing else about them changes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import igraph
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.export.formats import FORMATS, write
from dnn2graph.links import Links
from tests.commands import enter_folder, fails, runner_of
from tests.networks import by_hand, every_network, graph_of, traced
from tests.test_gexf import parsed

VIEWED = [each.suffixes[0] for each in FORMATS if each.is_viewed]
OTHERS = [each.suffixes[0] for each in FORMATS if not each.is_viewed]
every_viewed_ending = pytest.mark.parametrize("ending", VIEWED)
run = runner_of("export")


def nodes_of(path):
    """Read the nodes with other readers: {id: their attributes}."""
    if path.suffix == ".graphml":
        return dict(nx.read_graphml(path, node_type=int).nodes(data=True))
    if path.suffix == ".gexf":
        return dict(nx.read_gexf(path, node_type=int).nodes(data=True))
    if path.suffix == ".csv":
        table = pd.read_csv(path.with_name(f"{path.stem}_nodes.csv"), keep_default_na=False, dtype={"layer": str})
        return table.set_index("Id").to_dict("index")
    nodes = [node for layer in dot_of(path).get_subgraphs() for node in layer.get_nodes()]
    return {int(node.get_name()): node.get_attributes() for node in nodes}


def edges_of(path):
    """Read which nodes are joined."""
    if path.suffix == ".graphml":
        return set(igraph_edges(path))
    if path.suffix == ".gexf":
        return set(nx.read_gexf(path, node_type=int).edges())
    if path.suffix == ".csv":
        table = pd.read_csv(path.with_name(f"{path.stem}_edges.csv"))
        return set(zip(table["Source"], table["Target"], strict=True))
    return {(int(edge.get_source()), int(edge.get_destination())) for edge in dot_of(path).get_edges()}


def dot_of(path):
    """Read DOT; networkx would not see nodes that stand in subgraphs."""
    (found,) = pytest.importorskip("pydot").graph_from_dot_file(str(path))
    return found


def igraph_edges(path):
    """Read edges with igraph, which numbers the nodes of a file anew and keeps their ids beside."""
    graph = igraph.Graph.Read_GraphML(str(path))
    ids = [int(each) for each in graph.vs["id"]]
    return [(ids[source], ids[target]) for source, target in graph.get_edgelist()]


def strongest(graph, count):
    """Keep the strongest edges, few enough that nodes lose theirs."""
    return dg.sparsify(graph, count, "threshold", keep_outputs=False)


def joined(graph, kinds=None):
    """List the nodes that have an edge, from the matrix."""
    matrix = graph.adjacency(kinds).tocoo()
    return sorted({*matrix.row.tolist(), *matrix.col.tolist()})


@every_viewed_ending
@every_network
def test_the_nodes_of_a_file_are_those_with_an_edge_and_are_as_before(network, ending, tmp_path):
    sparse = strongest(graph_of(network), 4)
    whole, part = tmp_path / f"whole{ending}", tmp_path / f"part{ending}"
    write(sparse, whole)
    write(sparse, part, isolated="drop")
    before, after = nodes_of(whole), nodes_of(part)
    assert list(before) == list(range(len(sparse)))
    assert list(after) == joined(sparse) == np.flatnonzero(~sparse.isolated()).tolist()
    assert len(after) < len(before)
    assert after == {node: before[node] for node in after}  # label, layer, place, size, colour, numbers
    sources, targets = sparse.adjacency().nonzero()
    assert edges_of(part) == edges_of(whole) == set(zip(sources.tolist(), targets.tolist(), strict=True))


@every_viewed_ending
def test_where_all_nodes_have_an_edge_none_is_left_out(ending, tmp_path):
    for name, isolated in (("a", "keep"), ("b", "drop")):
        write(by_hand(), tmp_path / f"{name}{ending}", isolated=isolated)
    assert nodes_of(tmp_path / f"a{ending}") == nodes_of(tmp_path / f"b{ending}")


@every_viewed_ending
def test_only_edges_that_are_written_count(ending, tmp_path):
    graph = graph_of("residual-channel")
    write(graph, tmp_path / f"net{ending}", kinds=["unit"], isolated="drop")
    assert list(nodes_of(tmp_path / f"net{ending}")) == joined(graph, ["unit"])


@every_viewed_ending
def test_weights_of_zero_are_no_edges_and_whole_layers_may_go(ending, tmp_path):
    graph = traced(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), 3)
    with torch.no_grad():
        graph.weights["0.weight"].zero_()
        graph.weights["2.weight"][:, 1] = 0
    write(graph, tmp_path / f"net{ending}", isolated="drop")
    assert list(nodes_of(tmp_path / f"net{ending}")) == [3, 5, 6, 7, 8]


@every_viewed_ending
def test_a_graph_without_edges_makes_a_file_without_nodes(ending, tmp_path):
    graph = replace(by_hand(), links=())
    write(graph, tmp_path / f"net{ending}", isolated="drop")
    assert nodes_of(tmp_path / f"net{ending}") == {}


def test_the_strict_checks_of_gexf_hold(tmp_path):
    dg.write_gexf(dg.sparsify(graph_of("separable-position"), 30), tmp_path / "net.gexf", isolated="drop")
    parsed(tmp_path / "net.gexf")


@pytest.mark.parametrize("ending", OTHERS)
def test_formats_that_hold_every_node_refuse(ending, tmp_path):
    with pytest.raises(dg.InputError, match=r"holds every node.*\.graphml, \.gexf, \.csv, \.dot"):
        write(by_hand(), tmp_path / f"net{ending}", isolated="drop")
    assert list(tmp_path.iterdir()) == []
    write(by_hand(), tmp_path / f"net{ending}", isolated="keep")


@pytest.mark.parametrize("ending", VIEWED + OTHERS)
def test_an_unknown_wish_is_named(ending, tmp_path):
    with pytest.raises(dg.InputError, match="isolated='hide' is unknown: choose from keep, drop"):
        write(by_hand(), tmp_path / f"net{ending}", isolated="hide")


# ---------------------------------------------------------------------- reading back


@every_network
def test_graphml_without_some_nodes_is_read_back_with_all_of_them(network, tmp_path):
    sparse = strongest(graph_of(network), 4)
    dg.write_graphml(sparse, tmp_path / "net.graphml", isolated="drop")
    found = dg.read(tmp_path / "net.graphml")
    assert [(layer.name, layer.start, layer.stop) for layer in found.layers] == [
        (layer.name, layer.start, layer.stop) for layer in sparse.layers
    ]
    assert (found.adjacency() != sparse.adjacency()).nnz == 0
    np.testing.assert_array_equal(found.bias(), np.where(sparse.isolated(), 0, sparse.bias()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: re.sub(r'<node id="3">.*\n', "", text), "holds 2 of 3 nodes and 2 of 2 edges"),
        (lambda text: text.replace('<node id="3"', '<node id="5"'), "holds 3 of 3 nodes and 2 of 2 edges"),
        (lambda text: text.replace('<node id="3"', '<node id="1"'), "holds 3 of 3 nodes and 2 of 2 edges"),
        (lambda text: text.replace('"shown":3', '"shown":5'), "holds 3 of 5 nodes and 2 of 2 edges"),
    ],
)
def test_nodes_that_are_lost_from_such_a_file_are_missed(change, message, tmp_path):
    path = tmp_path / "net.graphml"
    sparse = strongest(by_hand(), 2)
    assert joined(sparse) == [0, 1, 3]
    dg.write_graphml(sparse, path, isolated="drop")
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    with pytest.raises(dg.LoadError, match=message):
        dg.read(path)


# ---------------------------------------------------------------------- on the command line


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in."""
    return enter_folder(tmp_path, monkeypatch, "data")


@pytest.mark.usefixtures("folder")
@every_viewed_ending
def test_the_command_says_how_many_nodes_are_left_out(ending):
    cnn = "data/digits_cnn.pt2"
    result = run(cnn, "-o", f"net{ending}", "--max-edges", 20, "--drop-isolated")
    assert result.exit_code == 0, result.output
    kept = list(nodes_of(Path(f"net{ending}")))
    assert kept == joined(dg.sparsify(dg.load(cnn), 20))
    assert f"wrote net{ending}: {len(kept)} nodes, 20 edges" in result.stdout
    assert "kept 20 of 600 edges by mass" in result.stderr
    assert result.stderr.splitlines()[-1] == f"left out {83 - len(kept)} of 83 nodes, which have no edge"
    found = json.loads(run(cnn, "-o", f"net{ending}", "--max-edges", 20, "--drop-isolated", "--json").stdout)
    assert (found["nodes"], found["isolated"]) == (len(kept), 83 - len(kept))


@pytest.mark.usefixtures("folder")
def test_the_command_says_nothing_where_no_node_is_left_out():
    result = run("data/digits_cnn.pt2", "-o", "net.graphml", "--drop-isolated")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "83 nodes, 600 edges" in result.stdout


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("ending", OTHERS)
def test_the_command_refuses_before_it_reads_the_model(ending):
    fails(run("missing.pt2", "-o", f"net{ending}", "--drop-isolated"), "holds every node")


def test_links_are_asked_and_never_unrolled(monkeypatch):
    sparse = dg.sparsify(graph_of("convolutional-position"), 12)
    monkeypatch.setattr(Links, "blocks", lambda *args: pytest.fail("it was unrolled"))
    assert sparse.isolated().sum() > 0
