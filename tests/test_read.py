"""What this package wrote is read back as the same graph; anything else is told from it, and nothing is ever run."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import re
import shutil
import sys
import zipfile
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.export.formats import write
from dnn2graph.export.matrix import edges
from dnn2graph.graph import Layer
from dnn2graph.links import KINDS
from dnn2graph.load.graphs import read
from dnn2graph.measures import node_attributes
from dnn2graph.sparsify import sparsify
from dnn2graph.topology import VERSION
from tests.networks import by_hand, every_network, graph_of, traced, with_parallel_links
from tests.test_formats import HOSTILE

NAMES = ["net.npz", "net.parquet", "net.graphml", "net.graphml.gz"]
every_name = pytest.mark.parametrize("name", NAMES)
FIELDS = ("name", "kind", "shape", "activation", "start", "stop", "channel_axis")


def again(graph, path, **options):
    write(graph, path, **options)
    return read(path)


def listed(graph):
    """List all edges of a graph with their kinds, parallel ones too, in a fixed order."""
    rows = [
        (source, target, KINDS.index(links.kind), weight)
        for links, block in graph.blocks()
        for source, target, weight in zip(*(part.tolist() for part in block), strict=True)
    ]
    return sorted(rows)


def same_graph(found, graph):
    """Check that two graphs have the same layers, nodes and edges, bit for bit."""
    assert [[getattr(layer, name) for name in FIELDS] for layer in found.layers] == [
        [getattr(layer, name) for name in FIELDS] for layer in graph.layers
    ]
    assert (found.granularity, found.aggregate, found.dtype) == (graph.granularity, graph.aggregate, graph.dtype)
    assert found.bias().tolist() == graph.bias().tolist()
    assert listed(found) == listed(graph)
    assert found.number_of_edges() == graph.number_of_edges()


# ---------------------------------------------------------------------- round trips


@every_name
@every_network
def test_a_graph_comes_back_bit_for_bit(network, name, tmp_path):
    graph = graph_of(network)
    found = again(graph, tmp_path / name)
    same_graph(found, graph)
    assert (found.adjacency() != graph.adjacency()).nnz == 0
    for direction in ("total", "in", "out"):
        # Both are sums of the same float32 weights in float64, in another order.
        np.testing.assert_allclose(dg.strength(found, direction), dg.strength(graph, direction), rtol=0, atol=1e-13)
    np.testing.assert_allclose(dg.fluctuation(found), dg.fluctuation(graph), rtol=1e-13)


@every_name
def test_measures_tables_and_exports_take_what_was_read(name, tmp_path):
    graph = graph_of("residual-channel")
    found = again(graph, tmp_path / name)
    exact = ["layer", "kind", "shape", "activation", "nodes", "in_edges"]
    pd.testing.assert_frame_equal(dg.layer_table(found)[exact], dg.layer_table(graph)[exact])
    assert dg.node_table(found)["label"].tolist() == dg.node_table(graph)["label"].tolist()
    assert dg.link_weights(found)["count"].sum() == graph.number_of_edges()
    assert found.to_igraph().es["weight"] == graph.to_igraph().es["weight"]
    assert found.layer("first").size == 3
    for other in NAMES:
        same_graph(again(found, tmp_path / f"again-{other}"), graph)
    first, second = (node_attributes(each) for each in (graph, found))
    assert [key for key in first if first[key].tolist() != second[key].tolist() and first[key].dtype != float] == []


@every_name
def test_links_go_from_layer_to_layer(name, tmp_path):
    graph = graph_of("concatenated-channel")
    assert any(len(links.sources) > 1 for links in graph.links)
    found = again(graph, tmp_path / name)
    ends = [(links.sources[0].name, links.target.name, links.kind) for links in found.links]
    assert len(set(ends)) == len(ends) == len(found.links)
    assert all(len(links.sources) == 1 for links in found.links)
    assert [links.target.start for links in found.links] == sorted(links.target.start for links in found.links)


@every_name
@pytest.mark.parametrize("kind", ["unit", "weight"])
def test_parallel_edges_stay_apart(name, kind, tmp_path):
    graph = with_parallel_links(by_hand(), 2.0, kind)
    found = again(graph, tmp_path / name)
    same_graph(found, graph)
    assert len(found.links) == 3


@every_name
def test_float64_comes_back_and_precision_is_kept(name, tmp_path):
    graph = dg.from_torch(nn.Linear(5, 4).double(), torch.zeros(1, 5, dtype=torch.float64))
    same_graph(again(graph, tmp_path / name), graph)
    narrow = again(graph, tmp_path / name, precision="float32")
    assert narrow.dtype == torch.float32
    assert (narrow.adjacency() != graph.adjacency().astype(np.float32)).nnz == 0


@every_name
def test_half_precision_comes_back_as_float32(name, tmp_path):
    graph = dg.from_torch(nn.Linear(5, 4).bfloat16(), torch.zeros(1, 5, dtype=torch.bfloat16))
    found = again(graph, tmp_path / name)
    assert found.dtype == torch.float32
    assert listed(found) == listed(graph)


@every_name
def test_any_float32_survives(name, tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**32, 4000, dtype=np.uint32)
    weights = np.concatenate([bits.view(np.float32), np.float32([1e-45, -1e-45, 3.4028235e38, 1.0, -16777216.0])])
    weights = weights[np.isfinite(weights) & (weights != 0)]
    layer = nn.Linear(len(weights), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights)[None])
    found = again(dg.from_torch(layer, torch.zeros(1, len(weights))), tmp_path / name)
    assert edges(found).weights.tobytes() == weights.tobytes()


@every_name
def test_hostile_names_come_back_as_they_were(name, tmp_path):
    names = [*HOSTILE, "--", "---->", "]]>"]
    model = nn.Sequential(OrderedDict((each, nn.Linear(2, 2)) for each in names))
    graph = dg.from_torch(model, torch.zeros(1, 2))
    found = again(graph, tmp_path / name)
    assert [layer.name for layer in found.layers][1:] == names
    same_graph(found, graph)


@every_name
def test_layers_of_one_node_and_of_none_come_back(name, tmp_path):
    graph = traced(nn.Linear(1, 1), 1)
    graph = replace(graph, layers=(*graph.layers, Layer("empty", "linear", (0,), None, 2, 2)))
    same_graph(again(graph, tmp_path / name), graph)


@every_name
def test_a_graph_without_edges_comes_back(name, tmp_path):
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.zero_()
    found = again(dg.from_torch(layer, torch.zeros(1, 3)), tmp_path / name)
    assert (len(found), found.number_of_edges(), found.links) == (5, 0, ())
    assert dg.strength(found).tolist() == [0] * 5


@every_name
def test_only_the_kinds_that_were_written_come_back(name, tmp_path):
    found = again(graph_of("residual-channel"), tmp_path / name, kinds=["unit"])
    assert {links.kind for links in found.links} == {"unit"}
    assert found.number_of_edges() == 6


@every_name
def test_a_sparsified_graph_comes_back(name, tmp_path):
    graph = sparsify(graph_of("convolutional-position"), max_edges=500)
    same_graph(again(graph, tmp_path / name), graph)


def test_absolute_and_signed_graphml_come_back_alike(tmp_path):
    for weight in ("abs", "signed"):
        same_graph(again(by_hand(), tmp_path / "net.graphml", weight=weight), by_hand())


def test_graphml_is_read_in_pieces_that_cut_no_edge(tmp_path, monkeypatch):
    for size in (100, 997, 5000):
        monkeypatch.setattr(sys.modules["dnn2graph.load.graphml"], "CHUNK", size)
        same_graph(again(graph_of("residual-channel"), tmp_path / "net.graphml"), graph_of("residual-channel"))


def test_what_was_read_cannot_be_replayed_or_given_other_weights(tmp_path):
    found = again(graph_of("residual-position"), tmp_path / "net.npz")
    with pytest.raises(dg.InputError, match=r"knows the names of its activation functions.* dnn2graph.load"):
        found.replay(torch.zeros(1, 2, 6, 6))
    with pytest.raises(dg.InputError, match="numbers for weights, not parameters"):
        found.with_weights({})


# ---------------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.npz", "'.*missing.npz' does not exist"),
        ("missing.parquet", "'.*missing.parquet' does not exist"),
        ("net.gexf", r"cannot be read back; known are .npz, .graphml, .graphml.gz and folders of Parquet tables"),
        ("model.pt", "has the name of a model, not of a graph: load it with dnn2graph.load"),
        ("empty.graphml", "is empty: copy or download it again"),
    ],
)
def test_files_that_are_no_graph_are_named_with_the_remedy(name, message, tmp_path):
    for existing in ("net.gexf", "model.pt"):
        (tmp_path / existing).write_text("something")
    (tmp_path / "empty.graphml").touch()
    with pytest.raises(dg.LoadError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["net.npz", "net.graphml", "net.graphml.gz"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_is_named(name, share, tmp_path):
    write(graph_of("residual-channel"), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(dg.LoadError, match=rf"'.*{name}' (cannot be read|is truncated|is damaged|was not written)"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["net.npz", "net.graphml.gz"])
def test_a_changed_byte_is_noticed_where_there_is_a_checksum(name, tmp_path):
    write(graph_of("residual-channel"), tmp_path / name)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(dg.LoadError, match=name):
        read(tmp_path / name)


def rewritten(path, change):
    """Save an archive again with other arrays."""
    with np.load(path) as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez(path, **arrays)


@pytest.mark.parametrize("name", ["dnn2graph", "data", "indices", "indptr", "edge_kind", "node_bias"])
def test_an_archive_that_lacks_an_array_says_which(name, tmp_path):
    path = tmp_path / "net.npz"
    write(by_hand(), path)
    rewritten(path, lambda arrays: arrays.pop(name))
    with pytest.raises(dg.LoadError, match=f"lacks the arrays '{name}'.* it holds "):
        read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["indices"].put(0, 99), "an end outside of its 5 nodes"),
        (lambda a: a["indices"].put(0, -1), "an end outside of its 5 nodes"),
        (lambda a: a["data"].put(0, np.nan), "not finite"),
        (lambda a: a["node_bias"].put(0, np.inf), "not finite"),
        (lambda a: a["edge_kind"].put(0, 7), "a kind of links that is not declared"),
        (lambda a: a["indptr"].put(5, 4), "its matrix is not one of 5 nodes"),
        (lambda a: a["indptr"].put(1, 5), "its matrix is not one of 5 nodes"),
        (lambda a: a.update(indptr=a["indptr"][:-1]), "its matrix is not one of 5 nodes"),
        (lambda a: a.update(indices=a["indices"][1:]), "differ in length"),
        (lambda a: a.update(node_bias=a["node_bias"][1:]), "4 biases for 5 nodes"),
        (lambda a: a.update(indptr=a["indptr"][None]), "cannot be read|is damaged"),
    ],
)
def test_an_archive_whose_numbers_do_not_fit_is_named(change, message, tmp_path):
    path = tmp_path / "net.npz"
    write(by_hand(), path)
    rewritten(path, change)
    with pytest.raises(dg.LoadError, match=message):
        read(path)


def test_foreign_archives_are_told_from_ours(tmp_path):
    scipy.sparse.save_npz(tmp_path / "other.npz", scipy.sparse.csr_array(np.eye(3)))
    with pytest.raises(dg.LoadError, match=r"lacks the arrays 'dnn2graph'.*only what dnn2graph.save_npz wrote"):
        read(tmp_path / "other.npz")


class RunsCode:
    def __reduce__(self):
        return exec, ("raise AssertionError('code ran')",)


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "net.npz"
    write(by_hand(), path)
    rewritten(path, lambda arrays: arrays.update(node_bias=np.array([RunsCode()], object)))
    with pytest.raises(dg.LoadError, match="allow_pickle=False"):
        read(path)
    (tmp_path / "other.npz").write_bytes(pickle.dumps(RunsCode()))
    with pytest.raises(dg.LoadError, match=r"other.npz' cannot be read"):
        read(tmp_path / "other.npz")


def document_of(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(np.load(io.BytesIO(archive.read("dnn2graph.npy"))).tobytes())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(version=VERSION + 1), f"is of version {VERSION + 1} .*reads version {VERSION}: install"),
        (lambda d: d.update(format="other"), "holds no graph of dnn2graph"),
        (lambda d: d.pop("layers"), "lacks 'layers'; a graph has 'granularity'"),
        (lambda d: d.update(dtype="float16"), "has the dtype 'float16'; known are 'float32', 'float64'"),
        (lambda d: d.update(granularity="pixel"), "has the granularity 'pixel'"),
        (lambda d: d.update(kinds=["weight", "magic"]), "links of the kind 'magic'"),
        (lambda d: d["layers"][1].pop("size"), "lacks 'size' of layer 1"),
        (lambda d: d["layers"][1].update(size=3), r"layer '0' has shape \(2,\) and 3 nodes"),
        (lambda d: d["layers"][1].update(size="many"), "its description makes no sense"),
        (lambda d: d.update(layers=7), "its description makes no sense"),
        (lambda d: d.update(layers=[None]), "its description makes no sense"),
    ],
)
def test_a_description_of_another_version_or_that_lacks_something_says_so(change, message, tmp_path):
    path = tmp_path / "net.npz"
    write(by_hand(), path)
    document = document_of(path)
    change(document)
    text = np.frombuffer(json.dumps(document).encode(), np.uint8)
    rewritten(path, lambda arrays: arrays.update(dnn2graph=text))
    with pytest.raises(dg.LoadError) as caught:
        read(path)
    assert str(caught.value).startswith(f"'{path}' ")
    assert re.search(message, str(caught.value))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "dnn2graph.json").unlink(), "has no dnn2graph.json: only what dnn2graph.write_parquet wrote"),
        (lambda f: (f / "dnn2graph.json").write_text("{"), "its description is no JSON"),
        (lambda f: (f / "nodes.parquet").unlink(), "nodes.parquet' does not exist"),
        (lambda f: (f / "nodes.parquet").write_bytes(b"PAR1"), "nodes.parquet' cannot be read"),
        (lambda f: shutil.rmtree(f / "edges" / "target_layer=1"), "links-0000.parquet' does not exist"),
        (
            lambda f: shutil.copy(
                f / "edges" / "target_layer=1" / "links-0000.parquet",
                f / "edges" / "target_layer=2" / "links-0001.parquet",
            ),
            "links-0001.parquet' holds 3 edges, not 2",
        ),
        (
            lambda f: pd.DataFrame({"node": [0]}).to_parquet(f / "nodes.parquet"),
            "nodes.parquet' lacks the columns 'bias'",
        ),
        (
            lambda f: (f / "dnn2graph.json").write_text(
                (f / "dnn2graph.json").read_text().replace('"nodes.parquet"', '"../../etc/passwd"')
            ),
            "names a file outside of it",
        ),
    ],
)
def test_a_damaged_folder_says_what_is_missing(damage, message, tmp_path):
    folder = tmp_path / "net.parquet"
    write(by_hand(), folder)
    damage(folder)
    with pytest.raises(dg.LoadError, match=message):
        read(folder)


def test_a_folder_of_anything_else_is_told_from_ours(tmp_path):
    with pytest.raises(dg.LoadError, match=r"has no dnn2graph.json"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('<edge source="0"', '<edge source="O"'), "its edges is not as it was written"),
        (lambda text: text.replace("</edge>\n", "</edge> ", 1), "5 of 5 nodes and 4 of 5 edges|not as it was written"),
        (lambda text: text.replace('<data key="bias">0.0</data>', "", 1), "its nodes is not as it was written"),
        (lambda text: text.replace('<node id="3">', '<node id="2">'), "5 of 5 nodes and 5 of 5 edges"),
        (lambda text: text.replace(">-2.0<", ">two<"), "cannot be read"),
        (lambda text: text.replace(">-2.0<", ">nan<"), "not finite"),
        (lambda text: text.replace('target="4"', 'target="5"'), "an end outside of its 5 nodes"),
        (lambda text: text.replace('"kind">weight</data></edge>', '"kind">other</data></edge>'), "cannot be read"),
        (lambda text: text.replace("</graphml>\n", ""), "is truncated: its end is missing"),
        (lambda text: text.replace("<!--{", "<!-- {"), "was not written by dnn2graph, or another program saved it"),
    ],
)
def test_graphml_that_is_not_as_it_was_written_says_so(change, message, tmp_path):
    path = tmp_path / "net.graphml"
    write(by_hand(), path)
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    with pytest.raises(dg.LoadError, match=message):
        read(path)


def test_an_edge_that_is_lost_from_graphml_is_missed(tmp_path):
    path = tmp_path / "net.graphml"
    write(by_hand(), path)
    lines = path.read_text().splitlines(keepends=True)
    lines.remove(next(line for line in lines if line.startswith("<edge")))
    path.write_text("".join(lines))
    with pytest.raises(dg.LoadError, match="5 of 5 nodes and 4 of 5 edges"):
        read(path)


def test_graphml_that_others_wrote_is_told_from_ours(tmp_path):
    by_hand().to_igraph().write_graphml(str(tmp_path / "other.graphml"))
    with pytest.raises(dg.LoadError, match=r"was not written by dnn2graph.*igraph and networkx read any"):
        read(tmp_path / "other.graphml")
    (tmp_path / "other.graphml.gz").write_bytes(gzip.compress(b"<graphml/>"))
    with pytest.raises(dg.LoadError, match="was not written by dnn2graph"):
        read(tmp_path / "other.graphml.gz")
    (tmp_path / "plain.graphml.gz").write_bytes(b"<graphml/>")
    with pytest.raises(dg.LoadError, match="cannot be read"):
        read(tmp_path / "plain.graphml.gz")
