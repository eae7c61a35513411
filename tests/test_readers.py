"""Files open elsewhere as the same graph: in the parsers of Gephi Lite, in igraph, networkx and NetworKit."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import igraph
import networkx as nx
import numpy as np
import pytest

import dnn2graph as dg
from dnn2graph.audit import audit
from dnn2graph.export.layout import layer_colours, layered_positions, node_sizes
from dnn2graph.export.matrix import edges
from dnn2graph.measures import node_attributes
from tests.networks import by_hand, every_network, graph_of, with_parallel_links
from tests.test_audit import EDGE, NODES, WEIGHT, gexf, graphml
from tests.test_gexf import trained

READERS = Path(__file__).with_name("readers")
DIALECTS = {
    "abs.graphml": lambda graph, path: dg.write_graphml(graph, path, weight="abs"),
    "signed.graphml": lambda graph, path: dg.write_graphml(graph, path, weight="signed"),
    "abs.gexf": lambda graph, path: dg.write_gexf(graph, path, weight="abs"),
    "signed.gexf": lambda graph, path: dg.write_gexf(graph, path, weight="signed"),
    "run.gexf": lambda graph, path: dg.write_gexf(graph, path, trained(graph)),
    "flat.gexf": lambda graph, path: dg.write_gexf(graph, path, trained(graph), flat=True),
    "training.gexf": lambda graph, path: dg.write_gexf(graph, path, snapshots=training(graph)),
    "training-flat.gexf": lambda graph, path: dg.write_gexf(graph, path, snapshots=training(graph), flat=True),
}
TIMED = ("run.gexf", "training.gexf")
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def training(graph):
    """Give other weights at step 3, and those of the graph at step 10."""
    return {3: {name: value * 0.5 for name, value in graph.weights.items()}, 10: graph}


@pytest.fixture(scope="session")
def graphology():
    """Give what reads a file with graphology and returns what it prints, or raises its error."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js")
    if not (READERS / "node_modules" / "graphology").is_dir():
        pytest.skip("needs graphology: run 'npm ci' in tests/readers, as 'make test' does where it can")

    def read(path):
        done = subprocess.run([node, str(READERS / "read.js"), str(path)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(next(line for line in done.stderr.splitlines() if "Error" in line))
        return json.loads(done.stdout)

    return read


def written(graph, dialect, folder):
    path = folder / dialect
    DIALECTS[dialect](graph, path)
    return path


def same_edges(graph, dialect, sources, targets, weights, signed=None):
    """Assert that edges are those of the graph, bit for bit in float32, in any order."""
    listed = edges(graph)
    order = np.lexsort((targets, sources))
    np.testing.assert_array_equal(np.array(sources)[order], listed.sources)
    np.testing.assert_array_equal(np.array(targets)[order], listed.targets)
    expected = listed.weights if dialect.startswith("signed") else np.abs(listed.weights)
    assert np.array(weights, np.float32)[order].tobytes() == expected.tobytes()
    if signed is not None:
        assert np.array(signed, np.float32)[order].tobytes() == listed.weights.tobytes()


# ---------------------------------------------------------------------- graphology


@every_dialect
@every_network
def test_gephi_lite_reads_the_same_graph(network, dialect, graphology, tmp_path):
    graph = graph_of(network)
    found = graphology(written(graph, dialect, tmp_path))
    assert found["type"] == "directed"
    assert not found["multi"]
    nodes = found["nodes"]
    assert [node["id"] for node in nodes] == [str(node) for node in range(len(graph))]
    links = found["edges"]
    same_edges(
        graph,
        dialect,
        [int(edge["source"]) for edge in links],
        [int(edge["target"]) for edge in links],
        [edge["attributes"]["weight"] for edge in links],
        None if dialect.startswith("signed") else [edge["attributes"]["signed_weight"] for edge in links],
    )
    x, y = layered_positions(graph)
    assert [(node["x"], node["y"]) for node in nodes] == list(zip(x.tolist(), y.tolist(), strict=True))
    assert [node["size"] for node in nodes] == node_sizes(graph).tolist()
    form = "rgb({},{},{})" if dialect.endswith(".gexf") else "#{:02x}{:02x}{:02x}"
    assert [node["color"] for node in nodes] == [form.format(*rgb) for rgb in layer_colours(graph)[graph.layer_of()]]
    attributes = node_attributes(graph)
    if dialect in TIMED:  # it knows only the last block of declarations, and of a measure only the last value
        last = attributes["strength"]
        if dialect == "run.gexf":
            run = trained(graph)
            last = run[(run["step"] == run["step"].max()) & (run["measure"] == "strength")]["value"]
        assert [node["strength"] for node in nodes] == last.tolist()
        numbers = {name: values for name, values in attributes.items() if values.dtype.kind in "if"}
        for name in numbers:
            if not name.startswith("strength"):
                assert [float(node[name]) for node in nodes] == numbers[name].tolist()
        attributes = {name: values for name, values in attributes.items() if name not in numbers}
    for name, values in attributes.items():
        assert [node.get(name, "") for node in nodes] == values.tolist(), name


def test_gephi_lite_reads_colours_of_edges(graphology, tmp_path):
    for dialect, blue, red in (
        ("abs.graphml", "#2166ac", "#b2182b"),
        ("abs.gexf", "rgb(33,102,172)", "rgb(178,24,43)"),
    ):
        for edge in graphology(written(by_hand(), dialect, tmp_path))["edges"]:
            attributes = edge["attributes"]
            assert attributes["color"] == (blue if attributes["sign"] > 0 else red)


@pytest.mark.parametrize("dialect", ["abs.graphml", "abs.gexf"])
def test_gephi_lite_reads_parallel_edges_as_they_are(dialect, graphology, tmp_path):
    found = graphology(written(with_parallel_links(by_hand(), 2.0), dialect, tmp_path))
    assert found["multi"]
    assert len(found["edges"]) == 8


# ---------------------------------------------------------------------- libraries


@every_dialect
@every_network
def test_networkx_reads_the_same_edges_and_labels(network, dialect, tmp_path):
    graph, path = graph_of(network), written(graph_of(network), dialect, tmp_path)
    if dialect in TIMED:
        with pytest.raises(TypeError):  # it reads intervals and no time stamps
            nx.read_gexf(path)
        return
    found = nx.read_graphml(path, node_type=int) if path.suffix == ".graphml" else nx.read_gexf(path, node_type=int)
    assert found.is_directed()
    assert not found.is_multigraph()
    links = list(found.edges(data=True))
    sources, targets = [edge[0] for edge in links], [edge[1] for edge in links]
    signed = None if dialect.startswith("signed") else [edge[2]["signed_weight"] for edge in links]
    same_edges(graph, dialect, sources, targets, [edge[2]["weight"] for edge in links], signed)
    labels = [label for _, label in found.nodes(data="label")]
    assert labels == node_attributes(graph)["label"].tolist()


@pytest.mark.parametrize("dialect", ["abs.graphml", "signed.graphml"])
@every_network
def test_igraph_reads_the_same_edges_and_labels(network, dialect, tmp_path):
    graph = graph_of(network)
    found = igraph.Graph.Read_GraphML(str(written(graph, dialect, tmp_path)))
    assert found.is_directed()
    sources, targets = np.array(found.get_edgelist()).T
    signed = found.es["signed_weight"] if dialect == "abs.graphml" else None
    same_edges(graph, dialect, sources, targets, found.es["weight"], signed)
    assert found.vs["label"] == node_attributes(graph)["label"].tolist()


@pytest.mark.parametrize("dialect", ["abs.graphml", "signed.graphml"])
@every_network
def test_networkit_reads_the_same_edges(network, dialect, tmp_path):
    networkit = pytest.importorskip("networkit", reason="needs networkit")
    graph = graph_of(network)
    found = networkit.graphio.GraphMLReader().read(str(written(graph, dialect, tmp_path)))
    assert found.isDirected()
    assert found.numberOfNodes() == len(graph)
    listed = list(found.iterEdgesWeights())
    same_edges(graph, dialect, *zip(*listed, strict=True))


# ---------------------------------------------------------------------- schemas, as far as these dialects go


def names(element):
    """Name an element's children and attributes, without namespaces."""
    return [child.tag.rpartition("}")[2] for child in element], set(element.keys())


GRAPHML_TYPES = {"boolean", "int", "long", "float", "double", "string"}
GEXF_TYPES = {"integer", "double", "string", "boolean", "float", "long"}
NMTOKEN = re.compile(r"[\w.:-]+")


@pytest.mark.parametrize("dialect", ["abs.graphml", "signed.graphml"])
@every_network
def test_graphml_keeps_to_its_schema(network, dialect, tmp_path):
    root = ElementTree.parse(written(graph_of(network), dialect, tmp_path)).getroot()
    assert root.tag == "{http://graphml.graphdrawing.org/xmlns}graphml"
    children, _ = names(root)
    assert children == ["key"] * (len(children) - 1) + ["graph"]  # (desc?, key*, (graph | data)*)
    *keys, graph = root
    for key in keys:
        assert set(key.keys()) == {"id", "for", "attr.name", "attr.type"}
        assert key.get("for") in ("node", "edge")
        assert key.get("attr.type") in GRAPHML_TYPES
        assert NMTOKEN.fullmatch(key.get("id"))
    declared = {(key.get("for"), key.get("id")): key.get("attr.type") for key in keys}
    assert len(declared) == len(keys)
    assert graph.keys() == ["edgedefault"]
    ids = set()
    for element in graph:
        owner = element.tag.rpartition("}")[2]
        children, attributes = names(element)
        assert set(children) <= {"data"}
        assert attributes == ({"id"} if owner == "node" else {"source", "target"})
        for data in element:
            assert data.keys() == ["key"]
            assert not len(data)
            {"int": int, "double": float, "string": str}[declared[owner, data.get("key")]](data.text)
        if owner == "node":
            assert NMTOKEN.fullmatch(element.get("id"))
            assert element.get("id") not in ids  # xs:unique
            ids.add(element.get("id"))
        else:
            assert {element.get("source"), element.get("target")} <= ids  # xs:keyref


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name.endswith(".gexf")])
@every_network
def test_gexf_keeps_to_its_schema(network, dialect, tmp_path):
    root = ElementTree.parse(written(graph_of(network), dialect, tmp_path)).getroot()
    assert root.tag == "{http://gexf.net/1.3}gexf"
    assert names(root) == (["graph"], {"version"})
    graph = root[0]
    timed = graph.get("mode") == "dynamic"
    time = {"timeformat", "timerepresentation"} if timed else set()
    assert set(graph.keys()) == {"defaultedgetype", "mode"} | time
    blocks = graph.findall("{*}attributes")
    assert names(graph)[0] == ["attributes"] * len(blocks) + ["nodes", "edges"]
    declared = {}
    for block in blocks:
        assert set(block.keys()) == {"class", "mode"}
        for attribute in block:
            assert names(attribute) == ([], {"id", "title", "type"})
            assert attribute.get("type") in GEXF_TYPES
            key = block.get("class"), attribute.get("id")
            assert key not in declared
            declared[key] = attribute.get("type"), block.get("mode") == "dynamic"
    ids = {node.get("id") for node in graph.find("{*}nodes")}
    assert len(ids) == len(graph.find("{*}nodes"))
    for owner, parts in (("node", {"attvalues", "size", "position", "color"}), ("edge", {"attvalues", "color"})):
        for element in graph.find(f"{{*}}{owner}s"):
            children, attributes = names(element)
            assert len(children) == len(set(children))
            assert set(children) <= parts
            assert attributes == ({"id", "label"} if owner == "node" else {"source", "target", "weight"})
            if owner == "edge":
                assert {element.get("source"), element.get("target")} <= ids
                assert np.isfinite(float(element.get("weight")))
            for value in element.find("{*}attvalues"):
                kind, dynamic = declared[owner, value.get("for")]
                {"integer": int, "double": float, "string": str}[kind](value.get("value"))
                assert set(value.keys()) == {"for", "value"} | ({"timestamp"} if dynamic else set())
            for colour in element.findall("{*}color"):
                assert all(0 <= int(colour.get(channel)) <= 255 for channel in "rgb")


# ---------------------------------------------------------------------- what an audit says is what readers do

ALL = WEIGHT.replace('for="edge"', 'for="all"')
TYPED = '<key id="q" for="node" attr.name="q" attr.type="{}"/>\n'
USED = '<node id="a"><data key="q">1</data></node>\n<node id="b"/>\n'
COMPLETE = graphml(NODES + EDGE.format(1))
TROUBLE = {
    "fine": COMPLETE,
    "no number": graphml(NODES + EDGE.format("heavy")),
    "a comma": graphml(NODES + EDGE.format("1,5")),
    "for all": graphml(NODES + EDGE.format(1), ALL),
    "undeclared": graphml(NODES + EDGE.format(1), ""),
    "integer": graphml(USED, TYPED.format("integer")),
    "unused integer": graphml(NODES, TYPED.format("integer")),
    "list": graphml(USED, TYPED.format("liststring")),
    "short": graphml(USED, TYPED.format("short")),
    "repeated node": graphml(NODES + '<node id="a"/>\n'),
    "repeated edge": graphml(
        NODES + '<edge id="e" source="a" target="b"/>\n<edge id="e" source="b" target="a"/>\n'
    ),
    "missing node": graphml(NODES + '<edge source="a" target="c"/>\n'),
    "undirected": graphml(NODES + '<edge source="a" target="b" directed="false"/>\n'),
    "namespace": COMPLETE.replace("http://graphml.graphdrawing.org/xmlns", "http://example.org"),
}


def refuses(read, path):
    """Whether a reader raises for a file, or finds no graph in it."""
    try:
        return read(path) is None
    except Exception:
        return True


@pytest.mark.parametrize("trouble", TROUBLE)
def test_who_is_said_to_refuse_a_file_does_and_nobody_else(trouble, graphology, tmp_path):
    path = tmp_path / "graph.graphml"
    path.write_text(TROUBLE[trouble])
    said = {each.viewer for each in audit(path) if each.severity == "loss" and "refused" in each.message}
    readers = {
        "networkx": nx.read_graphml,
        "igraph": lambda path: igraph.Graph.Read_GraphML(str(path)),
        "Gephi Lite": graphology,
    }
    if trouble == "namespace":  # what igraph does then is not said
        del readers["igraph"]
    with pytest.warns() if trouble in ("for all", "undeclared") else pytest.MonkeyPatch.context():
        refusing = {viewer for viewer, read in readers.items() if refuses(read, path)}
    assert refusing == said & set(readers)


@pytest.mark.parametrize("text", ["nan", "-inf", "heavy", "1,5", "2.5f"])
def test_weights_said_to_become_nan_in_lite_do(text, graphology, tmp_path):
    path = tmp_path / "graph.graphml"
    path.write_text(graphml(NODES + EDGE.format(text)))
    assert [each for each in audit(path).of("loss", "Gephi Lite") if "NaN" in each.message]
    assert graphology(path)["edges"][0]["attributes"]["weight"] == "NaN"


@pytest.mark.parametrize("format", ["graphml", "gexf"])
def test_direction_is_lost_where_it_is_said_to_be(format, graphology, tmp_path):
    path = tmp_path / f"graph.{format}"
    make = graphml if format == "graphml" else lambda body, graph: gexf(NODES, EDGE.format(1), graph=graph)
    path.write_text(make(NODES + EDGE.format(1), graph=""))
    lost = {each.viewer for each in audit(path).of("loss") if "direction" in each.message}
    assert lost == {"Gephi Lite", "networkx", "igraph"} - ({"igraph"} if format == "gexf" else set())
    assert graphology(path)["type"] == "undirected"
    assert not (nx.read_graphml(path) if format == "graphml" else nx.read_gexf(path)).is_directed()
    if format == "graphml":
        assert not igraph.Graph.Read_GraphML(str(path)).is_directed()


def test_defaults_and_transparent_colours_are_what_they_are_said_to_be(graphology, tmp_path):
    path = tmp_path / "graph.graphml"
    keys = '<key id="q" for="node" attr.name="q" attr.type="int"><default>7</default></key>\n'
    path.write_text(graphml(NODES, keys))
    assert [each for each in audit(path).of("warning", "Gephi Lite") if "stay texts" in each.message]
    assert graphology(path)["nodes"][0]["q"] == "7"
    path = tmp_path / "graph.gexf"
    path.write_text(gexf('<node id="a" label="a"><viz:color r="1" g="2" b="3" a="0.5"/></node>\n'))
    assert [each for each in audit(path).of("warning", "Gephi Lite") if "alpha" in each.message]
    assert graphology(path)["nodes"][0]["color"] == "rgba(1,2,3,0.5)"
