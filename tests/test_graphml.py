"""GraphML files open elsewhere as the same graph, and are whole or not there."""

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
from itertools import pairwise
from xml.etree import ElementTree

import igraph
import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.export import write_graphml
from dnn2graph.export.files import replacing
from dnn2graph.export.layout import SIZES, STEP, layer_colours, layered_positions, node_sizes
from dnn2graph.export.matrix import edges
from dnn2graph.export.text import in_precision
from dnn2graph.measures import node_attributes
from tests.memory import peak_of
from tests.networks import by_hand, every_network, graph_of, traced, with_parallel_links

NAMESPACE = "{http://graphml.graphdrawing.org/xmlns}"
DIALECTS = pytest.mark.parametrize("weight", ["abs", "signed"])


@pytest.fixture
def path(tmp_path):
    """Give the path of a file in an empty folder."""
    return tmp_path / "graph.graphml"


def read(path):
    """Read a file with networkx; nodes are numbers again."""
    return nx.read_graphml(path, node_type=int)


def matrix_of(graph, weight="weight", dtype=np.float32):
    return nx.to_scipy_sparse_array(graph, nodelist=range(len(graph)), weight=weight, dtype=dtype)


def keys_of(path):
    """List a file's attribute declarations as {(owner, id): (name, type)}."""
    found = ElementTree.parse(path).getroot().iter(f"{NAMESPACE}key")
    return {(key.get("for"), key.get("id")): (key.get("attr.name"), key.get("attr.type")) for key in found}


def remains(folder):
    """List what is in a folder."""
    return sorted(entry.name for entry in folder.iterdir())


# ---------------------------------------------------------------------- what is in the file


def test_a_small_network_is_the_file_written_by_hand(path):
    write_graphml(by_hand(), path)
    root = ElementTree.parse(path).getroot()
    found = [
        (edge.get("source"), edge.get("target"), {data.get("key"): data.text for data in edge})
        for edge in root.iter(f"{NAMESPACE}edge")
    ]
    positive, negative = {"r": "33", "g": "102", "b": "172"}, {"r": "178", "g": "24", "b": "43"}
    assert found == [
        (i, j, {"weight": size, "signed_weight": signed, "sign": sign, "kind": "weight", **colour})
        for i, j, size, signed, sign, colour in [
            ("0", "2", "1.5", "1.5", "1", positive),
            ("0", "3", "2.0", "-2.0", "-1", negative),
            ("1", "3", "4.0", "4.0", "1", positive),
            ("2", "4", "0.5", "0.5", "1", positive),
            ("3", "4", "0.125", "-0.125", "-1", negative),
        ]
    ]
    last = {data.get("key"): data.text for data in list(root.iter(f"{NAMESPACE}node"))[3]}
    assert {name: last[name] for name in ("label", "name", "layer", "layer_index", "channel", "kind")} == {
        "label": "0[1]", "name": "0[1]", "layer": "0", "layer_index": "1", "channel": "1", "kind": "linear",
    }  # fmt: skip
    assert (last["activation"], last["bias"]) == ("relu", "-0.5")
    assert (last["strength"], last["strength_in"], last["strength_out"]) == ("1.875", "2.0", "-0.125")


@DIALECTS
@every_network
def test_networkx_reads_the_same_graph(network, weight, path):
    graph = graph_of(network)
    write_graphml(graph, path, weight)
    found = read(path)
    assert list(found) == list(range(len(graph)))
    assert not found.is_multigraph()
    signed = matrix_of(found, "weight" if weight == "signed" else "signed_weight")
    assert (signed != graph.adjacency()).nnz == 0  # bit for bit: float32 both
    assert (abs(signed) != abs(matrix_of(found))).nnz == 0
    for name, values in node_attributes(graph).items():
        assert [found.nodes[node].get(name, "") for node in found] == values.tolist()


@DIALECTS
@every_network
def test_igraph_reads_the_same_graph(network, weight, path):
    graph = graph_of(network)
    write_graphml(graph, path, weight)
    found, listed = igraph.Graph.Read_GraphML(str(path)), edges(graph)
    assert found.is_directed()
    order = np.lexsort(np.array(found.get_edgelist()).T[::-1])
    weights = np.array(found.es["weight"], np.float32)[order]
    np.testing.assert_array_equal(weights, listed.weights if weight == "signed" else np.abs(listed.weights))
    np.testing.assert_array_equal(
        np.array(found.get_edgelist())[order], np.stack([listed.sources, listed.targets], axis=1)
    )
    for name, values in node_attributes(graph).items():
        assert found.vs[name] == values.tolist()
    assert found.vs["name"] == found.vs["label"]


@DIALECTS
def test_the_dialect_is_the_one_that_all_readers_share(weight, path):
    write_graphml(graph_of("convolutional-position"), path, weight)
    keys = keys_of(path)
    assert len({(owner, identifier.lower()) for owner, identifier in keys}) == len(keys)
    for (owner, identifier), (name, kind) in keys.items():
        assert owner in ("node", "edge")
        assert identifier == name == name.lower()
        assert kind in ("int", "double", "string")
    assert not {("edge", "label"), ("edge", "id"), ("node", "id")} & set(keys)
    for name in {identifier for _, identifier in keys}:  # networkx keeps one type for both owners
        assert len({keys[owner, name] for owner in ("node", "edge") if (owner, name) in keys}) == 1
    root = ElementTree.parse(path).getroot()
    assert root.find(f"{NAMESPACE}graph").get("edgedefault") == "directed"
    assert not list(root.iter(f"{NAMESPACE}default"))
    elements = [element.tag.removeprefix(NAMESPACE) for element in root.find(f"{NAMESPACE}graph")]
    assert elements == sorted(elements, reverse=True)  # nodes first
    for edge in root.iter(f"{NAMESPACE}edge"):
        assert set(edge.keys()) == {"source", "target"}
    for data in root.iter(f"{NAMESPACE}data"):
        assert data.text


def test_only_the_kinds_asked_for_are_written(path):
    graph = graph_of("residual-channel")
    write_graphml(graph, path, kinds=["unit"])
    found = read(path)
    assert found.number_of_edges() == graph.number_of_edges(["unit"]) == 6
    assert {kind for *_, kind in found.edges(data="kind")} == {"unit"}
    strengths = [strength for _, strength in found.nodes(data="strength")]
    assert strengths == dg.strength(graph, kinds=["unit"]).tolist()


def test_links_of_two_kinds_between_the_same_nodes_are_two_edges(path):
    write_graphml(with_parallel_links(by_hand(), 2.0), path, "signed")
    found = read(path)
    assert found.is_multigraph()
    assert found.number_of_edges() == 8


def test_float64_weights_read_back_exactly(path):
    model = nn.Linear(5, 4).double()
    graph = dg.from_torch(model, torch.zeros(1, 5, dtype=torch.float64))
    write_graphml(graph, path, "signed")
    assert (matrix_of(read(path), dtype=np.float64) != graph.adjacency()).nnz == 0
    write_graphml(graph, path, "signed", precision="float32")
    assert (matrix_of(read(path)) != graph.adjacency().astype(np.float32)).nnz == 0


def test_float32_weights_can_be_written_as_the_float64_that_they_are(path):
    graph = graph_of("convolutional-channel")
    write_graphml(graph, path, "signed", precision="float64")
    assert (matrix_of(read(path), dtype=np.float64) != graph.adjacency().astype(np.float64)).nnz == 0


def test_any_float32_survives(path):
    bits = np.random.default_rng(0).integers(0, 2**32, 4000, dtype=np.uint32)
    weights = np.concatenate([bits.view(np.float32), np.float32([1e-45, -1e-45, 3.4028235e38, 1.0, -16777216.0])])
    weights = weights[np.isfinite(weights) & (weights != 0)]
    layer = nn.Linear(len(weights), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights)[None])
    write_graphml(dg.from_torch(layer, torch.zeros(1, len(weights))), path)
    for found in (igraph.Graph.Read_GraphML(str(path)).es["signed_weight"], list(read_column(path, "signed_weight"))):
        assert np.array(found, np.float32).tobytes() == weights.tobytes()


def read_column(path, name):
    return (value for *_, value in read(path).edges(data=name))


def test_weights_beyond_float32_stay_edges():
    weights = np.array([1e-60, -1e-60, 1e60, -1e60, 0.1])
    smallest, largest = np.float32(1e-45), np.finfo(np.float32).max
    found = in_precision(weights, "float32")
    assert found.dtype == np.float32
    assert found.tolist() == [smallest, -smallest, largest, -largest, np.float32(0.1)]


def test_hostile_names_make_valid_xml(path):
    names = ["a<b>&c", "\"quoted\" 'twice'", "bell\x07 null\x00 return\r", "\ud800 lone", "\uffff", "🧠 Δ", "]]>", "  "]
    model = nn.Sequential(OrderedDict((name, nn.Linear(2, 2)) for name in names))
    write_graphml(dg.from_torch(model, torch.zeros(1, 2)), path)
    found = [layer for _, layer in read(path).nodes(data="layer")][2::2]
    expected = ["a<b>&c", "\"quoted\" 'twice'", "bell� null� return�", "� lone", "�", "🧠 Δ", "]]>", "  "]
    assert found == expected
    assert igraph.Graph.Read_GraphML(str(path)).vs["layer"][2::2] == expected
    assert igraph.Graph.Read_GraphML(str(path)).vs["label"][2] == "a<b>&c[0]"


def test_equal_graphs_make_equal_files_and_compressed_ones_hold_the_same(tmp_path):
    graph = graph_of("separable-position")
    for name in ("a.graphml", "b.graphml", "a.graphml.gz", "b.graphml.gz"):
        write_graphml(graph, tmp_path / name)
    content = {name: (tmp_path / name).read_bytes() for name in remains(tmp_path)}
    assert content["a.graphml"] == content["b.graphml"]
    assert content["a.graphml.gz"] == content["b.graphml.gz"]
    assert len(content["a.graphml.gz"]) < len(content["a.graphml"]) / 5
    assert gzip.decompress(content["a.graphml.gz"]) == content["a.graphml"]


def test_progress_counts_to_the_number_of_edges(path):
    graph, calls = graph_of("convolutional-position"), []
    write_graphml(graph, path, progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert len(calls) > 1
    assert calls[-1] == (graph.number_of_edges(), graph.number_of_edges())


def test_the_writer_needs_little_memory(path):
    graph = dg.from_torch(nn.Sequential(nn.Linear(1000, 600), nn.ReLU()), torch.zeros(1, 1000))
    _, peak = peak_of(write_graphml, graph, path)
    assert path.stat().st_size > 140e6
    assert peak < 80e6


# ---------------------------------------------------------------------- how it looks


@every_network
def test_layers_stand_from_left_to_right_and_no_nodes_overlap(network):
    graph = graph_of(network)
    x, y = layered_positions(graph)
    spans = [(x[layer.start : layer.stop].min(), x[layer.start : layer.stop].max()) for layer in graph.layers]
    assert all(end + STEP < begin for (_, end), (begin, _) in pairwise(spans))
    cells = set(zip((x / (STEP / 2)).round().tolist(), (y / (STEP / 2)).round().tolist(), strict=True))
    assert len(cells) == len(graph)
    for layer in graph.layers:
        column = y[layer.start : layer.stop]
        assert column.max() == -column.min()  # centred
        gaps = np.diff(np.unique(column))
        assert not len(gaps) or gaps.min() >= STEP > 2 * SIZES[1]


def test_long_layers_wrap_into_blocks():
    graph = dg.from_torch(nn.Linear(1000, 20), torch.zeros(1, 1000))
    x, y = layered_positions(graph)
    assert len(set(x[:1000])) == 16
    assert len(set(y[:1000])) == 64
    assert len(set(x[1000:])) == 1


def test_a_feature_map_is_drawn_as_the_picture_that_it_is():
    graph = dg.from_torch(nn.Conv2d(2, 1, 1), torch.zeros(1, 2, 3, 5), granularity="position")
    x, y = (values[:30].reshape(2, 3, 5) for values in layered_positions(graph))
    assert (np.diff(x, axis=2) == STEP).all()
    assert (np.diff(y, axis=1) == -STEP).all()  # y points up: the first row is the upper one
    assert y[1].max() == y[0].min() - 2 * STEP  # the channels are told apart by a gap


def test_files_carry_place_colour_and_size(path):
    graph = graph_of("residual-channel")
    write_graphml(graph, path)
    found = read(path).nodes
    x, y = layered_positions(graph)
    assert [found[node]["x"] for node in found] == x.tolist()
    assert [found[node]["y"] for node in found] == y.tolist()
    assert [found[node]["size"] for node in found] == node_sizes(graph).tolist()
    colours = [tuple(found[node][channel] for channel in "rgb") for node in found]
    assert colours == [tuple(colour) for colour in layer_colours(graph)[graph.layer_of()].tolist()]
    assert len(set(colours)) == len(graph.layers)


def test_the_strongest_node_is_the_largest():
    graph = by_hand()
    sizes = node_sizes(graph)
    assert sizes.argmax() == dg.strength(graph, weight="abs").argmax() == 3
    assert sizes.max() == SIZES[1]
    assert node_sizes(graph, kinds=[]).tolist() == [SIZES[0]] * 5


# ---------------------------------------------------------------------- what goes wrong


def test_weights_that_are_not_finite_are_refused_before_a_file_is_touched(path):
    graph = traced(nn.Sequential(nn.Linear(3, 2)), 3)
    path.write_text("old")
    for value in (torch.nan, torch.inf):
        with torch.no_grad():
            graph.weights["0.weight"][1, 1] = value
        with pytest.raises(dg.WeightsError, match=r"layer '0' has 1 non-finite weight.* index 4 "):
            write_graphml(graph, path)
    assert path.read_text() == "old"
    assert remains(path.parent) == ["graph.graphml"]


def test_unknown_options_are_named(path):
    with pytest.raises(dg.InputError, match="weight='both' is unknown: choose from abs, signed"):
        write_graphml(by_hand(), path, "both")
    with pytest.raises(dg.InputError, match="precision='float16' is unknown"):
        write_graphml(by_hand(), path, precision="float16")


@pytest.mark.parametrize(
    ("make", "cause", "remedy"),
    [
        (lambda folder: folder, "Is a directory", "add a file name"),
        (lambda folder: folder / "missing" / "graph.graphml", "No such file or directory", "create the folder first"),
        (lambda folder: folder / "file" / "graph.graphml", "Not a directory", "a part of that path is a file"),
        (lambda folder: folder / ("x" * 300), "File name too long", "choose a shorter name"),
    ],
)
def test_a_path_that_cannot_be_written_is_named_with_cause_and_remedy(make, cause, remedy, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(dg.ExportError) as caught:
        write_graphml(by_hand(), make(tmp_path))
    assert str(caught.value).startswith(f"cannot write '{make(tmp_path)}': {cause}: ")
    assert remedy in str(caught.value)
    assert remains(tmp_path) == ["file"]


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("pathlib.Path.open", refuse)  # root may write anywhere, and tests may run as root
    with pytest.raises(dg.ExportError, match="Permission denied: choose a folder that you may write to"):
        write_graphml(by_hand(), tmp_path / "graph.graphml")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"graph.graphml{suffix}"
    path.write_text("old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(dg.ExportError, match="No space left on device: free some space"):
        write_graphml(by_hand(), path)
    assert path.read_text() == "old"
    assert remains(tmp_path) == [path.name]


def test_a_file_that_may_not_grow_leaves_the_old_file_and_nothing_else(path):
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(dg.ExportError, match="File too large: write to another disk"):
            write_graphml(graph_of("convolutional-position"), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"
    assert remains(path.parent) == ["graph.graphml"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_device_is_named():
    with pytest.raises(dg.ExportError, match="cannot write '/dev/full': No space left on device"):
        write_graphml(by_hand(), "/dev/full")
    assert not os.path.isfile("/dev/full")


@pytest.mark.skipif(shutil.which("mount") is None, reason="no mount command")
def test_a_full_file_system_leaves_the_old_file_and_nothing_else(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"this user may not mount a file system: {mounted.stderr.strip()}")
    try:
        path = tmp_path / "graph.graphml"
        path.write_text("old")
        with pytest.raises(dg.ExportError, match="No space left on device"):
            write_graphml(graph_of("convolutional-position"), path)
        assert path.read_text() == "old"
        assert remains(tmp_path) == ["graph.graphml"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError, dg.WeightsError])
def test_an_interruption_passes_and_leaves_the_old_file_and_nothing_else(interruption, path):
    path.write_text("old")

    def stop(done, total):
        raise interruption("stop")

    with pytest.raises(interruption, match="stop"):
        write_graphml(by_hand(), path, progress=stop)
    assert path.read_text() == "old"
    assert remains(path.parent) == ["graph.graphml"]


def test_a_killed_process_leaves_the_old_file(path):
    path.write_text("old")
    program = """
import sys, torch, dnn2graph as dg

def wait(done, total):
    print("writing", flush=True)
    sys.stdin.read()

graph = dg.from_torch(torch.nn.Linear(100, 100), torch.zeros(1, 100))
graph.write_graphml(sys.argv[1], progress=wait)
"""
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert path.read_text() == "old"
    left = [name for name in remains(path.parent) if name != path.name]
    assert len(left) == 1
    assert left[0].startswith(".dnn2graph-")


def test_a_link_keeps_pointing_to_the_new_file(tmp_path):
    (tmp_path / "target.graphml").write_text("old")
    (tmp_path / "link.graphml").symlink_to("target.graphml")
    write_graphml(by_hand(), tmp_path / "link.graphml")
    assert (tmp_path / "link.graphml").is_symlink()
    assert read(tmp_path / "target.graphml").number_of_edges() == 5


def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        with replacing(pipe) as file:
            file.write(b"text")
        assert reader.communicate()[0] == b"text"
    assert remains(tmp_path) == ["pipe"]
    assert pipe.is_fifo()


def test_files_have_the_permissions_that_new_files_have(tmp_path):
    (tmp_path / "other").write_text("")
    with replacing(tmp_path / "graph.graphml"):
        pass
    assert (tmp_path / "graph.graphml").stat().st_mode == (tmp_path / "other").stat().st_mode
