"""Files of every format are read elsewhere as the same graph, and are whole or not there."""

from __future__ import annotations

import errno
import gzip
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections import OrderedDict
from dataclasses import replace
from types import SimpleNamespace

import duckdb
import igraph
import networkx as nx
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import scipy.io
import scipy.sparse
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.cli.export import METHODS, SUFFIXES
from dnn2graph.export.dot import LARGEST, write_dot
from dnn2graph.export.edge_tables import table_paths, write_csv
from dnn2graph.export.formats import FORMATS, format_of, write
from dnn2graph.export.matrix import edges
from dnn2graph.export.matrix_market import write_matrix_market
from dnn2graph.export.npz import save_npz
from dnn2graph.export.pajek import write_pajek
from dnn2graph.export.parquet import write_parquet
from dnn2graph.export.zeros import zero_weights
from dnn2graph.graph import Layer
from dnn2graph.links import KINDS
from dnn2graph.measures import node_attributes
from dnn2graph.sparsify import METHODS as SPARSIFY_METHODS
from tests.memory import peak_of
from tests.networks import by_hand, every_network, graph_of, traced, with_parallel_links

ENDINGS = [suffix for each in FORMATS for suffix in each.suffixes]
every_ending = pytest.mark.parametrize("ending", ENDINGS)
every_weight = pytest.mark.parametrize("weight", ["abs", "signed"])
HOSTILE = [
    "a<b>&c", "\"quoted\" 'twice'", "back\\slash\\", "two\nlines", "null\x00 bell\x07 return\r", "\ud800",
    "🧠 Δ", "comma, semicolon;", "-- */ -->", "/up", "  ", "=1+1",
]  # fmt: skip
CLEAN = [*HOSTILE[:4], "null� bell� return�", "�", *HOSTILE[6:]]


def hostile():
    """Make a graph whose layers have names that break careless writers."""
    model = nn.Sequential(OrderedDict((name, nn.Linear(2, 2)) for name in HOSTILE))
    return dg.from_torch(model, torch.zeros(1, 2))


def same_weights(found, graph, weight="signed"):
    """Check that a sparse matrix is the graph's, bit for bit in its own precision."""
    expected = graph.adjacency()
    expected = abs(expected) if weight == "abs" else expected
    found = scipy.sparse.csr_array(found)
    assert found.shape == expected.shape
    assert (found.astype(expected.dtype) != expected).nnz == 0
    assert found.nnz == expected.nnz


def coo(sources, targets, weights, graph):
    ends = np.asarray(sources, np.int64), np.asarray(targets, np.int64)
    return scipy.sparse.coo_array((np.asarray(weights), ends), shape=(len(graph), len(graph)))


def same_nodes(table, graph):
    """Check that a table of nodes has every attribute of every node."""
    for name, values in node_attributes(graph).items():
        assert table[name].tolist() == values.tolist(), name


def remains(folder):
    return sorted(entry.name for entry in folder.iterdir())


# ---------------------------------------------------------------------- Pajek


@every_weight
@every_network
def test_igraph_reads_pajek_as_the_same_graph(network, weight, tmp_path):
    graph, path = graph_of(network), tmp_path / "graph.net"
    write_pajek(graph, path, weight)
    found = igraph.Graph.Read_Pajek(str(path))
    assert found.is_directed()
    assert found.vs["name"] == node_attributes(graph)["label"].tolist()
    sources, targets = np.array(found.get_edgelist()).T
    same_weights(coo(sources, targets, found.es["weight"], graph), graph, weight)


@every_network
def test_networkx_reads_pajek_as_the_same_graph(network, tmp_path):
    graph, path = graph_of(network), tmp_path / "graph.net.gz"
    write_pajek(graph, path)
    found = nx.read_pajek(path)
    assert list(found) == node_attributes(graph)["label"].tolist()
    assert [found.nodes[node]["id"] for node in found] == [str(node + 1) for node in range(len(graph))]
    same_weights(nx.to_scipy_sparse_array(found, weight="weight", dtype=np.float32), graph)


def test_pajek_sees_the_layers_from_left_to_right_within_its_drawing(tmp_path):
    write_pajek(by_hand(), tmp_path / "graph.net")
    found = igraph.Graph.Read_Pajek(str(tmp_path / "graph.net")).vs
    assert found["x"] == [0.05, 0.05, 0.5, 0.5, 0.95]
    assert found["y"] == [0.05, 0.95, 0.05, 0.95, 0.5]  # downwards


def test_hostile_names_are_quoted_for_pajek_and_stay_different(tmp_path):
    model = nn.Sequential(OrderedDict((name, nn.Linear(2, 2)) for name in [*HOSTILE, "back/slash/"]))
    graph = dg.from_torch(model, torch.zeros(1, 2))
    write_pajek(graph, tmp_path / "graph.net")
    found = igraph.Graph.Read_Pajek(str(tmp_path / "graph.net"))
    assert found.vs["name"] == list(nx.read_pajek(tmp_path / "graph.net"))
    assert len(set(found.vs["name"])) == len(graph)
    expected = ["'quoted' 'twice'", "back/slash/", "two lines", "null� bell� return�"]
    assert found.vs["name"][4:12:2] == [f"{name}[0]" for name in expected]
    assert found.vs["name"][-2:] == ["back/slash/ (2)[0]", "back/slash/ (2)[1]"]


# ---------------------------------------------------------------------- CSV


@every_weight
@every_network
def test_pandas_reads_the_pair_of_tables_as_the_same_graph(network, weight, tmp_path):
    graph = graph_of(network)
    write_csv(graph, tmp_path / "net.csv", weight)
    assert remains(tmp_path) == ["net_edges.csv", "net_nodes.csv"]
    nodes = pd.read_csv(tmp_path / "net_nodes.csv", keep_default_na=False, dtype={"position": str, "layer": str})
    assert nodes["Id"].tolist() == list(range(len(graph)))
    same_nodes(nodes.rename(columns={"Label": "label"}), graph)
    found = pd.read_csv(tmp_path / "net_edges.csv")
    assert set(found["Type"]) == {"Directed"}
    signed = found["Weight" if weight == "signed" else "signed_weight"]
    same_weights(coo(found["Source"], found["Target"], signed, graph), graph)
    if weight == "abs":
        assert (found["Weight"] == found["signed_weight"].abs()).all()
        assert (found["sign"] == np.sign(found["signed_weight"])).all()
    listed = edges(graph)
    kinds = found.sort_values(["Source", "Target"])["link_kind"].tolist()
    assert kinds == [KINDS[kind] for kind in listed.kinds]


@every_weight
def test_column_names_are_those_that_gephi_and_cytoscape_import(weight, tmp_path):
    write_csv(by_hand(), tmp_path / "net.csv", weight)
    nodes, found = (pd.read_csv(tmp_path / f"net_{table}.csv").columns.tolist() for table in ("nodes", "edges"))
    assert nodes[:2] == ["Id", "Label"]
    assert found[:4] == ["Source", "Target", "Type", "Weight"]
    for names in (nodes, found):
        assert len({name.lower() for name in names}) == len(names)  # Gephi ignores case
    # Gephi's own meaning of edge columns: these would be ids, labels and types of parallel edges.
    assert not {"id", "label", "kind", "timeset", "timestamp", "interval"} & {name.lower() for name in found}


def test_hostile_names_are_quoted_in_csv(tmp_path):
    write_csv(hostile(), tmp_path / "net.csv.gz")
    for nodes in (
        pd.read_csv(tmp_path / "net_nodes.csv.gz", keep_default_na=False),
        pl.read_csv(tmp_path / "net_nodes.csv.gz").to_pandas(),
    ):
        assert nodes["layer"].tolist()[2::2] == CLEAN
        assert nodes["Label"].tolist()[2::2] == [f"{name}[0]" for name in CLEAN]


def test_the_pair_of_tables_appears_together_or_not_at_all(tmp_path, monkeypatch):
    write_csv(by_hand(), tmp_path / "net.csv")
    before = {name: (tmp_path / name).read_bytes() for name in remains(tmp_path)}
    monkeypatch.setattr("os.fsync", fail_second_time(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    with pytest.raises(dg.ExportError, match=r"net_.*csv': No space left on device: free some space"):
        write_csv(graph_of("residual-channel"), tmp_path / "net.csv")
    assert {name: (tmp_path / name).read_bytes() for name in remains(tmp_path)} == before


@pytest.mark.parametrize("existed", [True, False])
def test_a_pair_of_which_one_cannot_take_its_place_leaves_both_as_they_were(existed, tmp_path, monkeypatch):
    if existed:
        write_csv(by_hand(), tmp_path / "net.csv")
    before = {name: (tmp_path / name).read_bytes() for name in remains(tmp_path)}
    move = type(tmp_path).replace

    def refuse(path, target):
        if path.name == "net_edges.csv":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return move(path, target)

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(dg.ExportError, match=r"net_edges.csv': Permission denied"):
        write_csv(graph_of("residual-channel"), tmp_path / "net.csv")
    assert {name: (tmp_path / name).read_bytes() for name in remains(tmp_path)} == before


def fail_second_time(error):
    calls = []

    def call(*args):
        calls.append(args)
        if len(calls) > 1:
            raise error

    return call


def test_a_table_whose_name_is_a_folder_is_refused(tmp_path):
    (tmp_path / "net_edges.csv").mkdir()
    with pytest.raises(dg.ExportError, match=r"net_edges.csv': Is a directory"):
        write_csv(by_hand(), tmp_path / "net.csv")
    assert remains(tmp_path) == ["net_edges.csv"]


# ---------------------------------------------------------------------- Matrix Market


@every_weight
@every_network
def test_scipy_reads_matrix_market_as_the_same_matrix(network, weight, tmp_path):
    graph = graph_of(network)
    for name in ("graph.mtx", "graph.mtx.gz"):
        write_matrix_market(graph, tmp_path / name, weight)
        same_weights(scipy.io.mmread(tmp_path / name), graph, weight)


def test_networkit_reads_matrix_market_and_graphml(tmp_path):
    networkit = pytest.importorskip("networkit")
    graph = graph_of("residual-channel")
    for name, kind in (("graph.mtx", "MatrixMarket"), ("graph.graphml", "GraphML")):
        write(graph, tmp_path / name, weight="signed")
        found = networkit.readGraph(str(tmp_path / name), getattr(networkit.Format, kind))
        assert found.numberOfNodes() == len(graph)
        if kind == "GraphML":  # of Matrix Market, NetworKit makes an undirected graph
            assert found.isDirected()
            same_weights(coo(*zip(*found.iterEdgesWeights(), strict=True), graph), graph)
        assert found.numberOfEdges() == graph.number_of_edges()


# ---------------------------------------------------------------------- Parquet


@every_network
def test_all_readers_of_parquet_see_the_same_graph(network, tmp_path):
    graph, folder = graph_of(network), tmp_path / "graph.parquet"
    write_parquet(graph, folder)
    assert remains(folder) == ["dnn2graph.json", "edges", "nodes.parquet"]
    pattern = str(folder / "edges" / "**" / "*.parquet")
    read = {
        "pandas": pd.read_parquet(folder / "edges"),
        "pyarrow": ds.dataset(folder / "edges", partitioning="hive").to_table().to_pandas(),
        "polars": pl.scan_parquet(pattern, hive_partitioning=True).collect().to_pandas(),
        "duckdb": duckdb.sql(f"SELECT * FROM read_parquet('{pattern}', hive_partitioning=true)").df(),
    }
    layer_of = graph.layer_of()
    for name, found in read.items():
        assert found["weight"].dtype == np.float32, name
        assert found["source"].dtype == found["target"].dtype == np.int64, name
        same_weights(coo(found["source"], found["target"], found["weight"], graph), graph)
        assert found["source_layer"].tolist() == layer_of[found["source"]].tolist(), name
        assert found["target_layer"].astype(int).tolist() == layer_of[found["target"]].tolist(), name
        kinds = found.sort_values(["source", "target"])["kind"].tolist()
        assert kinds == [KINDS[kind] for kind in edges(graph).kinds], name
    for nodes in (pd.read_parquet(folder / "nodes.parquet"), pl.read_parquet(folder / "nodes.parquet").to_pandas()):
        assert nodes["node"].tolist() == list(range(len(graph)))
        same_nodes(nodes, graph)


def test_a_partition_is_read_without_the_others(tmp_path):
    graph = graph_of("residual-channel")
    write_parquet(graph, tmp_path / "graph.parquet")
    last = len(graph.layers) - 1
    found = pd.read_parquet(tmp_path / "graph.parquet" / "edges", filters=[("target_layer", "==", last)])
    assert len(found) == sum(links.nnz for links in graph.links if links.target is graph.layers[-1])


def test_large_links_have_several_row_groups_and_many_small_layers_one(tmp_path):
    graph = dg.from_torch(nn.Sequential(nn.Linear(1000, 600), nn.Linear(600, 3)), torch.zeros(1, 1000))
    write_parquet(graph, tmp_path / "graph.parquet")
    first, second = sorted((tmp_path / "graph.parquet" / "edges").rglob("*.parquet"))
    assert pq.ParquetFile(first).metadata.num_row_groups == 3
    assert pq.ParquetFile(second).metadata.num_row_groups == 1
    assert pq.ParquetFile(tmp_path / "graph.parquet" / "nodes.parquet").metadata.num_row_groups == 1


def test_hostile_names_stand_in_parquet_tables_and_in_no_path(tmp_path):
    write_parquet(hostile(), tmp_path / "graph.parquet")
    nodes = pd.read_parquet(tmp_path / "graph.parquet" / "nodes.parquet")
    assert nodes["layer"].tolist()[2::2] == CLEAN
    assert remains(tmp_path) == ["graph.parquet"]
    assert {path.name for path in (tmp_path / "graph.parquet" / "edges").iterdir()} == {
        f"target_layer={index}" for index in range(1, len(HOSTILE) + 1)
    }


def test_an_older_folder_is_replaced_as_a_whole(tmp_path):
    write_parquet(graph_of("residual-position"), tmp_path / "graph.parquet")
    write_parquet(by_hand(), tmp_path / "graph.parquet")
    assert remains(tmp_path) == ["graph.parquet"]
    assert len(pd.read_parquet(tmp_path / "graph.parquet" / "edges")) == 5
    (tmp_path / "empty.parquet").mkdir()
    write_parquet(by_hand(), tmp_path / "empty.parquet")
    assert remains(tmp_path / "empty.parquet") == remains(tmp_path / "graph.parquet")


def test_an_older_folder_is_replaced_where_the_system_cannot_exchange_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda *args, **options: object())
    write_parquet(graph_of("residual-position"), tmp_path / "graph.parquet")
    write_parquet(by_hand(), tmp_path / "graph.parquet")
    assert remains(tmp_path) == ["graph.parquet"]
    assert len(pd.read_parquet(tmp_path / "graph.parquet" / "edges")) == 5


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    folder = tmp_path / "graph.parquet"
    folder.mkdir()
    (folder / "notes.txt").write_text("kept")
    with pytest.raises(dg.ExportError, match=r"holds other files, such as 'notes.txt'.* a new folder"):
        write_parquet(by_hand(), folder)
    assert remains(folder) == ["notes.txt"]
    (tmp_path / "file.parquet").write_text("kept")
    with pytest.raises(dg.ExportError, match="it is a file, and this format is a folder"):
        write_parquet(by_hand(), tmp_path / "file.parquet")
    assert remains(tmp_path) == ["file.parquet", "graph.parquet"]


# ---------------------------------------------------------------------- npz


@every_network
def test_scipy_and_numpy_read_the_archive(network, tmp_path):
    graph, path = graph_of(network), tmp_path / "graph.npz"
    save_npz(graph, path)
    found = scipy.sparse.load_npz(path)
    assert isinstance(found, scipy.sparse.csr_array)
    assert found.dtype == np.float32
    same_weights(found, graph)
    with np.load(path, allow_pickle=False) as archive:
        nodes = {name.removeprefix("node_"): archive[name] for name in archive.files if name.startswith("node_")}
        attributes = node_attributes(graph)
        for name, values in nodes.items():
            assert values.tolist() == attributes[name].tolist(), name
        assert {"label", "layer_index", "channel", "position", "bias", "strength"} <= set(nodes)
        assert archive["kinds"][archive["edge_kind"]].tolist() == [KINDS[kind] for kind in edges(graph).kinds]


def test_equal_graphs_make_equal_archives(tmp_path):
    for name in ("a.npz", "b.npz"):
        save_npz(graph_of("residual-channel"), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_an_archive_beyond_the_memory_that_is_free_is_refused_before_anything_is_allocated(tmp_path, monkeypatch):
    graph = dg.from_torch(nn.Linear(3000, 2000), torch.zeros(1, 3000))
    write(graph, tmp_path / "first.npz")  # pays for imports
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=10e6))

    def refused():
        with pytest.raises(dg.MemoryBudgetError, match=r"edges takes about 48.0 MB, the budget is 5.0 MB"):
            write(graph, tmp_path / "graph.npz")

    _, peak = peak_of(refused)
    assert peak < 10e6
    assert remains(tmp_path) == ["first.npz"]


def test_an_archive_beyond_the_memory_budget_is_refused_before_it_is_begun(tmp_path):
    with pytest.raises(dg.MemoryBudgetError, match="the adjacency matrix"):
        save_npz(graph_of("residual-position"), tmp_path / "graph.npz", memory=1000)
    assert remains(tmp_path) == []


# ---------------------------------------------------------------------- DOT


def test_a_small_network_is_read_from_dot(tmp_path):
    pydot = pytest.importorskip("pydot")
    write_dot(by_hand(), tmp_path / "graph.dot")
    (found,) = pydot.graph_from_dot_file(tmp_path / "graph.dot")
    assert found.get_type() == "digraph"
    assert [(int(edge.get_source()), int(edge.get_destination())) for edge in found.get_edges()] == [
        (0, 2), (0, 3), (1, 3), (2, 4), (3, 4),
    ]  # fmt: skip
    read = [{key: value.strip('"') for key, value in edge.get_attributes().items()} for edge in found.get_edges()]
    assert [float(edge["weight"]) for edge in read] == [1.5, 2, 4, 0.5, 0.125]
    assert [float(edge["signed_weight"]) for edge in read] == [1.5, -2, 4, 0.5, -0.125]
    assert [edge["color"] for edge in read] == ["#2166ac", "#b2182b", "#2166ac", "#2166ac", "#b2182b"]
    nodes = [node for layer in found.get_subgraphs() for node in layer.get_nodes()]
    assert [node.get("label").strip('"') for node in nodes] == node_attributes(by_hand())["label"].tolist()


def test_hostile_names_are_quoted_in_dot(tmp_path):
    pydot = pytest.importorskip("pydot")
    write_dot(hostile(), tmp_path / "graph.gv", "signed")
    (found,) = pydot.graph_from_dot_file(tmp_path / "graph.gv", encoding="utf-8")
    assert len(found.get_subgraphs()) == len(HOSTILE) + 1
    labels = [layer.get_nodes()[0].get("label") for layer in found.get_subgraphs()]
    escaped = [name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for name in CLEAN]
    assert labels[1:] == [f'"{name}[0]"' for name in escaped]


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")
def test_graphviz_draws_dot(tmp_path):
    write_dot(hostile(), tmp_path / "graph.dot")
    drawn = subprocess.run(["dot", "-Tsvg", tmp_path / "graph.dot"], capture_output=True, text=True, check=True)
    assert drawn.stderr == ""
    assert drawn.stdout.count('class="node"') == len(hostile())


def test_dot_refuses_what_nobody_can_look_at(tmp_path):
    graph = dg.from_torch(nn.Linear(LARGEST, 2), torch.zeros(1, LARGEST))
    with pytest.raises(dg.InputError, match=r"at most 2,000 edges, and this one has 4,000.*--max-edges 2000"):
        write_dot(graph, tmp_path / "graph.dot")
    assert remains(tmp_path) == []


# ---------------------------------------------------------------------- in memory


@every_weight
@every_network
def test_networkit_has_the_edges_of_the_matrix(network, weight):
    pytest.importorskip("networkit")
    graph = graph_of(network)
    found = graph.to_networkit(weight)
    assert found.isDirected()
    assert found.isWeighted()
    assert found.numberOfNodes() == len(graph)
    same_weights(coo(*zip(*found.iterEdgesWeights(), strict=True), graph), graph, weight)


@every_network
def test_pytorch_geometric_has_the_edges_of_the_matrix(network):
    pytest.importorskip("torch_geometric")
    graph = graph_of(network)
    found = graph.to_pyg()
    assert found.validate()
    assert (found.num_nodes, found.num_edges) == (len(graph), graph.adjacency().nnz)
    assert (found.edge_index.dtype, found.edge_weight.dtype) == (torch.int64, torch.float32)
    same_weights(coo(*found.edge_index.numpy(), found.edge_weight.numpy(), graph), graph)
    attributes = node_attributes(graph)
    for column, name in enumerate(("bias", "strength_in", "strength_out")):
        assert found.x[:, column].tolist() == attributes[name].astype(np.float32).tolist()
    assert found.layer_index.tolist() == attributes["layer_index"].tolist()
    assert found.channel.tolist() == attributes["channel"].tolist()
    assert found.edge_type.tolist() == edges(graph).kinds.tolist()


@pytest.mark.parametrize(("method", "package"), [("to_networkit", "networkit"), ("to_pyg", "torch_geometric")])
def test_a_library_that_is_not_installed_is_named(method, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.data", None)
    with pytest.raises(dg.InputError, match=f"{method} needs {package}.*: pip install {package}"):
        getattr(by_hand(), method)()


@pytest.mark.parametrize(("method", "package"), [("to_networkit", "networkit"), ("to_pyg", "torch_geometric")])
def test_graphs_in_memory_check_their_options_weights_and_size(method, package):
    pytest.importorskip(package)
    with pytest.raises(dg.InputError, match="weight='both' is unknown"):
        getattr(by_hand(), method)("both")
    with pytest.raises(dg.MemoryBudgetError):
        getattr(by_hand(), method)(memory=10)
    with pytest.raises(dg.WeightsError, match="layer '0' has 1 non-finite"):
        getattr(not_finite(torch.nan), method)()


# ---------------------------------------------------------------------- the registry


def test_the_command_line_lists_the_formats_and_methods_of_the_library():
    assert sorted(SUFFIXES) == sorted(ENDINGS)
    assert METHODS == SPARSIFY_METHODS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("net.GraphML", "GraphML"),
        ("net.gexf.gz", "GEXF"),
        ("net.csv.gz", "CSV tables"),
        ("net.gv", "DOT"),
        ("a.mtx.net", "Pajek"),
        ("net.mtx.gz", "Matrix Market"),
        ("net.npz", "npz"),
        ("net.parquet", "Parquet"),
    ],
)
def test_the_ending_says_the_format(name, expected):
    assert format_of(name).name == expected


@pytest.mark.parametrize("name", ["net.xml", "net", "net.npz.gz", "net.parquet.gz", "graphml"])
def test_other_endings_are_refused_with_those_that_are_known(name, tmp_path):
    with pytest.raises(dg.ExportError, match=rf"cannot write '.*{name}': give a name that ends in .graphml"):
        write(by_hand(), tmp_path / name)
    assert remains(tmp_path) == []


def test_viewers_get_absolute_weights_and_analysis_signed_ones(tmp_path):
    assert {each.weight for each in FORMATS if each.is_viewed} == {"abs"}
    assert {each.weight for each in FORMATS if not each.is_viewed} == {"signed"}
    for name, lowest in (("net.graphml", 0.125), ("net.net", -2.0)):
        write(by_hand(), tmp_path / name)
        assert min(igraph.Graph.Read(str(tmp_path / name)).es["weight"]) == lowest
    write(by_hand(), tmp_path / "net.net", weight="abs")
    assert min(igraph.Graph.Read(str(tmp_path / "net.net")).es["weight"]) == 0.125


@every_ending
def test_unknown_options_are_named(ending, tmp_path):
    with pytest.raises(dg.InputError, match=r"has no option 'colour': it has .*precision"):
        write(by_hand(), tmp_path / f"net{ending}", colour="red")
    with pytest.raises(dg.InputError, match="precision='float16' is unknown"):
        write(by_hand(), tmp_path / f"net{ending}", precision="float16")
    with pytest.raises(dg.InputError, match="weight='both' is unknown"):
        write(by_hand(), tmp_path / f"net{ending}", weight="both")
    with pytest.raises(dg.InputError, match="unknown link kind"):
        write(by_hand(), tmp_path / f"net{ending}", kinds=["wieght"])
    assert remains(tmp_path) == []


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_formats_that_hold_signed_weights_say_so(ending, tmp_path):
    write(by_hand(), tmp_path / f"net{ending}", weight="signed")
    with pytest.raises(dg.InputError, match="holds the signed weights"):
        write(by_hand(), tmp_path / f"net{ending}", weight="abs")


# ---------------------------------------------------------------------- what all formats keep to


def not_finite(value):
    graph = traced(nn.Sequential(nn.Linear(3, 2)), 3)
    with torch.no_grad():
        graph.weights["0.weight"][1, 1] = value
    return graph


def weights_of(path):
    """Read the weights of a file of any format, as float64, sorted."""
    folder, name = path.parent, path.name
    if name.endswith(".npz"):
        found = scipy.sparse.load_npz(path).data
    elif name.endswith(".parquet"):
        found = pd.read_parquet(path / "edges")["weight"]
    elif name.endswith(".csv"):
        found = pd.read_csv(folder / name.replace(".csv", "_edges.csv"))["Weight"]
    elif name.endswith(".mtx"):
        found = scipy.io.mmread(path).data
    elif name.endswith((".dot", ".gv")):
        (graph,) = pytest.importorskip("pydot").graph_from_dot_file(path)
        found = [edge.get("weight").strip('"') for edge in graph.get_edges()]
    else:
        read = {".graphml": nx.read_graphml, ".gexf": nx.read_gexf, ".net": nx.read_pajek}[path.suffix]
        found = [weight for *_, weight in read(path).edges(data="weight")]
    return np.sort(np.asarray(found).astype(np.float64))


@every_ending
def test_weights_are_exact_in_the_precision_asked_for(ending, tmp_path):
    layer = nn.Linear(4, 3, bias=False).double()
    graph = dg.from_torch(layer, torch.zeros(1, 4, dtype=torch.float64))
    expected = np.sort(np.abs(layer.weight.detach().numpy().ravel()))
    for precision in (None, "float64", "float32"):
        options = {} if format_of(f"net{ending}").always_signed else {"weight": "abs"}
        write(graph, tmp_path / f"net{ending}", precision=precision, **options)
        found = np.sort(np.abs(weights_of(tmp_path / f"net{ending}")))
        if precision == "float32":
            assert found.astype(np.float32).tolist() == expected.astype(np.float32).tolist()
        else:
            assert found.tolist() == expected.tolist()


@every_ending
def test_exact_zeros_are_no_edges(ending, tmp_path):
    write(by_hand(), tmp_path / f"net{ending}")
    assert np.sort(np.abs(weights_of(tmp_path / f"net{ending}"))).tolist() == [0.125, 0.5, 1.5, 2, 4]
    with torch.no_grad():
        layer = nn.Linear(3, 2)
        layer.weight.zero_()
    write(dg.from_torch(layer, torch.zeros(1, 3)), tmp_path / f"zero{ending}")
    assert len(weights_of(tmp_path / f"zero{ending}")) == 0


@every_ending
def test_layers_of_one_node_and_of_none_are_written(ending, tmp_path):
    graph = traced(nn.Linear(1, 1), 1)
    weight = abs(float(graph.links[0].kernel()))
    empty = Layer("empty", "linear", (0,), None, 2, 2)
    write(replace(graph, layers=(*graph.layers, empty)), tmp_path / f"net{ending}")
    assert np.abs(weights_of(tmp_path / f"net{ending}")).astype(np.float32).tolist() == [weight]


@every_ending
def test_only_the_kinds_asked_for_are_written(ending, tmp_path):
    graph = graph_of("residual-channel")
    write(graph, tmp_path / f"net{ending}", kinds=["unit"])
    assert weights_of(tmp_path / f"net{ending}").tolist() == [1.0] * 6 == [1.0] * graph.number_of_edges(["unit"])


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending not in (".mtx", ".npz")])
def test_links_of_two_kinds_between_the_same_nodes_are_two_edges(ending, tmp_path):
    write(with_parallel_links(by_hand(), 2.0), tmp_path / f"net{ending}")
    found = np.sort(np.abs(weights_of(tmp_path / f"net{ending}"))).tolist()
    assert found == [0.125, 0.5, 1.5, 2, 3, 4, 4, 8]


@pytest.mark.parametrize("ending", [".mtx", ".npz"])
def test_links_between_the_same_nodes_add_up_in_a_matrix(ending, tmp_path):
    graph = with_parallel_links(by_hand(), 2.0)
    write(graph, tmp_path / f"net{ending}")
    read = scipy.io.mmread if ending == ".mtx" else scipy.sparse.load_npz
    np.testing.assert_array_equal(read(tmp_path / f"net{ending}").toarray(), graph.adjacency().toarray())


@every_ending
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused_by_name(ending, value, tmp_path):
    with pytest.raises(dg.WeightsError, match=r"layer '0' has 1 non-finite weight.* index 4 "):
        write(not_finite(value), tmp_path / f"net{ending}")
    assert remains(tmp_path) == []


@every_ending
def test_progress_counts_to_the_end(ending, tmp_path):
    graph, calls = graph_of("residual-channel"), []
    write(graph, tmp_path / f"net{ending}", progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1] >= graph.number_of_edges()


@pytest.mark.parametrize("ending", [ending for each in FORMATS if each.is_text for ending in each.suffixes])
def test_a_compressed_file_holds_the_same_text(ending, tmp_path):
    for name in (f"net{ending}", f"net{ending}.gz"):
        write(by_hand(), tmp_path / name)
    plain = [name for name in remains(tmp_path) if not name.endswith(".gz")]
    for name in plain:
        assert gzip.decompress((tmp_path / f"{name}.gz").read_bytes()) == (tmp_path / name).read_bytes()


# DOT is left out: what it takes is so small that memory and disks do not matter.
LARGE = [ending for ending in ENDINGS if ending not in (".dot", ".gv")]
every_large_ending = pytest.mark.parametrize("ending", LARGE)


@pytest.mark.parametrize("ending", [ending for ending in LARGE if ending != ".npz"])
def test_writers_need_little_memory(ending, tmp_path):
    graph = dg.from_torch(nn.Sequential(nn.Linear(2000, 600), nn.ReLU()), torch.zeros(1, 2000))
    write(by_hand(), tmp_path / f"first{ending}")  # pays for imports
    _, peak = peak_of(write, graph, tmp_path / f"net{ending}")
    assert peak < 80e6


def test_an_archive_needs_no_more_memory_than_its_matrix(tmp_path):
    graph = dg.from_torch(nn.Linear(2000, 1500), torch.zeros(1, 2000))
    matrix = graph.adjacency()
    size = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    del matrix
    _, peak = peak_of(save_npz, graph, tmp_path / "net.npz")
    assert peak < size + 20e6


def old_and_new(ending, tmp_path):
    """Write an old file; give its path, its weights, and a larger graph that is to replace it."""
    path = tmp_path / f"net{ending}"
    write(by_hand(), path)
    return path, remains(tmp_path), weights_of(path).tolist(), graph_of("convolutional-position")


@every_ending
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_interruption_passes_and_leaves_the_old_file_and_nothing_else(ending, interruption, tmp_path):
    path, names, weights, _ = old_and_new(ending, tmp_path)

    def stop(done, total):
        raise interruption("stop")

    with pytest.raises(interruption, match="stop"):
        write(graph_of("residual-channel"), path, progress=stop)
    assert remains(tmp_path) == names
    assert weights_of(path).tolist() == weights


@every_large_ending
def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_else(ending, tmp_path, monkeypatch):
    path, names, weights, graph = old_and_new(ending, tmp_path)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(dg.ExportError, match=r"cannot write '.*net.*': No space left on device: free some space"):
        write(graph, path)
    assert remains(tmp_path) == names
    assert weights_of(path).tolist() == weights


@every_large_ending
def test_a_file_that_may_not_grow_leaves_the_old_file_and_nothing_else(ending, tmp_path):
    path, names, weights, graph = old_and_new(ending, tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(dg.ExportError, match=r"cannot write '.*net.*': File too large: write to another disk"):
            write(graph, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert remains(tmp_path) == names
    assert weights_of(path).tolist() == weights


@pytest.mark.skipif(shutil.which("mount") is None, reason="no mount command")
@every_large_ending
def test_a_full_file_system_leaves_the_old_file_and_nothing_else(ending, tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this user may not mount a file system: {mounted.stderr.strip()}")
    try:
        path, names, weights, _ = old_and_new(ending, tmp_path)
        with pytest.raises(dg.ExportError, match="No space left on device"):
            write(traced(nn.Linear(300, 200), 300), path)
        assert remains(tmp_path) == names
        assert weights_of(path).tolist() == weights
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@every_ending
def test_a_read_only_folder_is_named(ending, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("open", "mkdir"):
        monkeypatch.setattr(f"pathlib.Path.{name}", refuse)  # root may write anywhere, and tests may run as root
    with pytest.raises(dg.ExportError, match="Read-only file system: choose a folder that you may write to"):
        write(by_hand(), tmp_path / f"net{ending}")


@every_ending
def test_a_missing_folder_is_named(ending, tmp_path):
    with pytest.raises(dg.ExportError, match="No such file or directory: create the folder first"):
        write(by_hand(), tmp_path / "missing" / f"net{ending}")
    assert remains(tmp_path) == []


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npz"])
def test_a_killed_process_leaves_the_old_file(ending, tmp_path):
    path, names, weights, _ = old_and_new(ending, tmp_path)
    program = """
import sys, torch, dnn2graph as dg
from dnn2graph.export.formats import write

def wait(done, total):
    print("writing", flush=True)
    sys.stdin.read()

write(dg.from_torch(torch.nn.Linear(100, 100), torch.zeros(1, 100)), sys.argv[1], progress=wait)
"""
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert weights_of(path).tolist() == weights
    (left,) = [name for name in remains(tmp_path) if name not in names]
    assert left.startswith(".dnn2graph-")


@pytest.mark.parametrize("before", ["old", "nothing"])
def test_a_process_killed_between_the_last_two_steps_of_a_pair_leaves_complete_files(before, tmp_path):
    path = tmp_path / "net.csv"
    nodes, edges = table_paths(path)
    old = {}
    if before == "old":
        write_csv(by_hand(), path)
        old = {each: each.read_bytes() for each in (nodes, edges)}
    program = """
import os, pathlib, signal, sys, torch, dnn2graph as dg
move = pathlib.Path.replace

def move_and_die(self, target):
    move(self, target)
    os.kill(os.getpid(), signal.SIGKILL)

pathlib.Path.replace = move_and_die
torch.manual_seed(0)
dg.write_csv(dg.from_torch(torch.nn.Linear(3, 2), torch.zeros(1, 3)), sys.argv[1])
"""
    assert subprocess.run([sys.executable, "-c", program, str(path)]).returncode == -signal.SIGKILL
    torch.manual_seed(0)
    new = dg.from_torch(nn.Linear(3, 2), torch.zeros(1, 3))
    write_csv(new, tmp_path / "whole.csv")
    whole_nodes, whole_edges = table_paths(tmp_path / "whole.csv")
    assert nodes.read_bytes() == whole_nodes.read_bytes()  # a new one beside an old one, as is said of write_csv
    assert (edges.read_bytes() if edges.exists() else None) == old.get(edges)
    (left,) = tmp_path.glob(".dnn2graph-*.tmp")  # where nothing is lost of either pair
    assert (left / edges.name).read_bytes() == whole_edges.read_bytes()
    for each, content in old.items():
        assert (left / f"{each.name}.old").read_bytes() == content
    write_csv(new, path)
    assert edges.read_bytes() == whole_edges.read_bytes()


# ---------------------------------------------------------------------- zeros


def test_zero_weights_are_counted_without_unrolling():
    assert zero_weights(by_hand()) == 1
    assert zero_weights(by_hand(), ["unit"]) == 0
    model = nn.Conv2d(1, 2, 3, padding=1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
        model.weight[0, 0, 0, 0] = 0  # the upper left tap falls on the image for 5 x 5 of 6 x 6 outputs
        model.weight[1, 0, 1, 1] = 0  # the middle one for all
    graph = dg.from_torch(model, torch.zeros(1, 1, 6, 6), granularity="position")
    assert zero_weights(graph) == 25 + 36
    whole = dg.from_torch(nn.Conv2d(1, 2, 3, padding=1), torch.zeros(1, 1, 6, 6), granularity="position")
    assert graph.number_of_edges() == whole.number_of_edges() - 61
