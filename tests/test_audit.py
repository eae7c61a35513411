"""An audit says what viewers will do with a file: of every kind of loss, who does what, how often, where first."""

from __future__ import annotations

import gzip
import json

import click
import networkx as nx
import pytest
from click.testing import CliRunner

import dnn2graph as dg
from dnn2graph.audit import audit
from dnn2graph.audit.memory import estimate
from dnn2graph.cli.audit import audit as command
from dnn2graph.cli.failures import Commands
from tests.networks import by_hand, every_network, graph_of, with_parallel_links
from tests.test_gexf import trained

WEIGHT = '<key id="weight" for="edge" attr.name="weight" attr.type="double"/>\n'
NODES = '<node id="a"/>\n<node id="b"/>\n'
EDGE = '<edge source="a" target="b"><data key="weight">{}</data></edge>\n'
DIRECTED = 'edgedefault="directed"'


def graphml(body, keys=WEIGHT, graph=DIRECTED):
    """Make a GraphML file; the keys begin on line 3."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
        f"{keys}<graph {graph}>\n{body}</graph>\n</graphml>\n"
    )


def gexf(nodes, edges="", attributes="", graph='defaultedgetype="directed"'):
    """Make a GEXF file; the attributes begin on line 4."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<gexf xmlns="http://gexf.net/1.3" xmlns:viz="http://gexf.net/1.3/viz" version="1.3">\n'
        f"<graph {graph}>\n{attributes}<nodes>\n{nodes}</nodes>\n<edges>\n{edges}</edges>\n</graph>\n</gexf>\n"
    )


@pytest.fixture
def audited(tmp_path):
    """Audit a text as a file."""

    def audit_text(text, name="graph.xml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return audit(path)

    return audit_text


def found(result, viewer, part):
    """Return (severity, count, line, example) of the one finding of a viewer whose message holds a text."""
    (finding,) = [each for each in result if each.viewer == viewer and part in each.message]
    return finding.severity, finding.count, finding.line, finding.example


def silent(result, viewer, part):
    """Whether a viewer has no such finding."""
    return not [each for each in result if each.viewer == viewer and part in each.message]


# ---------------------------------------------------------------------- what this package writes


@every_network
def test_what_is_written_for_viewers_loses_nothing(network, tmp_path):
    graph = graph_of(network)
    for name, write in {
        "graph.graphml": lambda path: dg.write_graphml(graph, path),
        "graph.graphml.gz": lambda path: dg.write_graphml(graph, path),
        "graph.gexf": lambda path: dg.write_gexf(graph, path),
        "run.gexf": lambda path: dg.write_gexf(graph, path, trained(graph)),
        "flat.gexf": lambda path: dg.write_gexf(graph, path, trained(graph), flat=True),
    }.items():
        write(tmp_path / name)
        result = audit(tmp_path / name)
        assert result.ok
        assert not result.of("loss")
        assert (result.nodes, result.edges) == (len(graph), graph.number_of_edges())
        if name in ("graph.graphml", "graph.gexf", "flat.gexf"):
            assert {finding.severity for finding in result} <= {"note"}


@every_network
@pytest.mark.parametrize("write", [dg.write_graphml, dg.write_gexf])
def test_signed_weights_are_warned_of_and_counted(network, write, tmp_path):
    graph = graph_of(network)
    write(graph, tmp_path / "graph.xml", weight="signed")
    result = audit(tmp_path / "graph.xml")
    assert result.ok
    warnings, negative = result.of("warning"), (graph.adjacency().data < 0).sum()
    assert sum(warning.count for warning in warnings) == negative
    for warning in warnings:
        assert warning.viewer == "Gephi"
        assert "negative weights" in warning.message
        line = (tmp_path / "graph.xml").read_text().splitlines()[warning.line - 1]
        assert f">{warning.example}<" in line or f'weight="{warning.example}"' in line


def test_a_run_of_time_stamps_is_refused_by_networkx_and_flattened_by_lite(tmp_path):
    graph = by_hand()
    dg.write_gexf(graph, tmp_path / "run.gexf", trained(graph))
    result = audit(tmp_path / "run.gexf")
    assert found(result, "networkx", "time stamps")[:2] == ("warning", 5)
    assert found(result, "Gephi Lite", "the last is kept")[:2] == ("warning", 5)
    assert found(result, "Gephi Lite", "numbers become texts")[:2] == ("warning", 4)
    with pytest.raises(TypeError):
        nx.read_gexf(tmp_path / "run.gexf")


@pytest.mark.parametrize("write", [dg.write_graphml, dg.write_gexf])
def test_edges_of_two_kinds_between_the_same_nodes_will_be_merged(write, tmp_path):
    write(with_parallel_links(by_hand(), 2.0), tmp_path / "graph.xml")
    result = audit(tmp_path / "graph.xml")
    severity, count, line, _ = found(result, "Gephi", "merged into one")
    assert (severity, count) == ("loss", 3)
    text = (tmp_path / "graph.xml").read_text().splitlines()
    assert line == next(place for place, each in enumerate(text, 1) if "<edge " in each and "unit" in each)


# ---------------------------------------------------------------------- weights


@pytest.mark.parametrize(
    ("text", "viewer", "part", "severity"),
    [
        ("0", "Gephi", "weight 0 are deleted", "loss"),
        ("-0.0", "Gephi", "weight 0 are deleted", "loss"),
        ("1e-46", "Gephi", "0 in single precision", "loss"),
        ("nan", "Gephi", "silently become 1.0", "loss"),
        ("-inf", "Gephi", "silently become 1.0", "loss"),
        ("INF", "Gephi", "silently become 1.0", "loss"),
        ("heavy", "Gephi", "silently become 1.0", "loss"),
        ("heavy", "igraph", "no numbers", "loss"),
        ("heavy", "networkx", "no numbers", "loss"),
        ("heavy", "Gephi Lite", "NaN", "loss"),
        ("1,5", "igraph", "no numbers", "loss"),
        ("NaN", "Gephi", "not finite are kept", "warning"),
        ("-Infinity", "Gephi", "not finite are kept", "warning"),
        ("1e39", "Gephi", "become infinite", "warning"),
        ("-2.5", "Gephi", "negative weights", "warning"),
    ],
)
@pytest.mark.parametrize("repeats", [1, 300])  # one by one, and many at a time
def test_a_weight_that_a_viewer_changes_is_found_where_it_stands(text, viewer, part, severity, repeats, audited):
    nodes = "".join(f'<node id="{node}"/>\n' for node in range(repeats + 2))
    edges = "".join(
        f'<edge source="0" target="{node}"><data key="weight">{text if node else 1}</data></edge>\n'
        for node in range(repeats + 1)
    )
    result = audited(graphml(nodes + edges))
    first = 5 + repeats + 2 + 1  # after the head, the nodes and an edge of weight 1
    assert found(result, viewer, part)[:3] == (severity, repeats, first)
    assert result.ok == (severity != "loss")


@pytest.mark.parametrize("text", ["1", "0.5", "-1e-45", "3.4e38", ".5", "1.", "+2"])
def test_a_usual_weight_is_no_loss(text, audited):
    assert audited(graphml(NODES + EDGE.format(text))).ok


def test_edges_without_a_weight_among_others_are_named(audited):
    body = NODES + EDGE.format(1) + '<edge source="b" target="a"/>\n'
    result = audited(graphml(body))
    assert found(result, "Gephi", "without a weight get 1.0")[:3] == ("warning", 1, 8)
    assert found(result, "igraph", "without a weight get NaN")[:3] == ("warning", 1, 8)
    assert silent(audited(graphml(NODES + '<edge source="b" target="a"/>\n', "")), "Gephi", "without a weight")


def test_weights_of_gexf_are_an_attribute_of_the_edge(audited):
    nodes = '<node id="a" label="a"/>\n<node id="b" label="b"/>\n'
    edges = '<edge source="a" target="b" weight="0"/>\n<edge source="b" target="a" weight="nan"/>\n'
    result = audited(gexf(nodes, edges))
    assert found(result, "Gephi", "weight 0 are deleted") == ("loss", 1, 9, "0.0")
    assert found(result, "Gephi", "silently become 1.0") == ("loss", 1, 10, "nan")


# ---------------------------------------------------------------------- nodes and edges


def test_parallel_edges_are_those_of_the_same_source_target_and_type(audited):
    one, other = EDGE.format(1), '<edge source="b" target="a"><data key="weight">1</data></edge>\n'
    labelled = one.replace(" target", ' label="q" target')
    assert silent(audited(graphml(NODES + one + other + labelled)), "Gephi", "merged")
    result = audited(graphml(NODES + one + other + labelled + one + labelled))
    assert found(result, "Gephi", "merged")[:3] == ("loss", 2, 10)
    assert found(result, "networkx", "multigraph")[:2] == ("note", 2)
    assert found(result, "Gephi", "edge types are made")[:2] == ("note", 1)


def test_without_a_direction_an_edge_and_its_reverse_are_parallel(audited):
    both = EDGE.format(1) + '<edge source="b" target="a"><data key="weight">1</data></edge>\n'
    assert found(audited(graphml(NODES + both, graph='edgedefault="undirected"')), "Gephi", "merged")[1] == 1
    assert silent(audited(graphml(NODES + both)), "Gephi", "merged")


@pytest.mark.parametrize("format", ["GraphML", "GEXF"])
def test_a_graph_that_does_not_say_that_it_is_directed_loses_direction(format, audited):
    text = graphml(NODES + EDGE.format(1), graph="") if format == "GraphML" else gexf(NODES, EDGE.format(1), graph="")
    result = audited(text)
    line = 4 if format == "GraphML" else 3
    for viewer in ("Gephi Lite", "networkx"):
        assert found(result, viewer, "lose their direction")[:3] == ("loss", 1, line)
    assert silent(result, "igraph", "direction") == (format == "GEXF")


def test_edges_that_contradict_the_graph_stop_networkx(audited):
    body = NODES + '<edge source="a" target="b" directed="false"/>\n'
    assert found(audited(graphml(body)), "networkx", "contradict")[:3] == ("loss", 1, 7)
    edges = '<edge source="a" target="b" type="undirected"/>\n'
    assert found(audited(gexf(NODES, edges)), "networkx", "contradict")[:2] == ("loss", 1)


@pytest.mark.parametrize("repeats", [1, 500])
def test_ids_that_repeat_are_found(repeats, audited):
    nodes = NODES + "".join(f'<node id="n{place}"/>\n' for place in range(repeats)) * 2
    edges = "".join(f'<edge id="e{place}" source="a" target="n{place}"/>\n' for place in range(repeats))
    result = audited(graphml(nodes + edges + edges.replace('source="a"', 'source="b"')))
    assert found(result, "Gephi", "nodes of their own")[:3] == ("loss", repeats, 7 + repeats)
    assert found(result, "Gephi Lite", "node ids repeat")[:2] == ("loss", repeats)
    assert found(result, "Gephi", "an edge of their id")[:3] == ("loss", repeats, 7 + 3 * repeats)
    assert found(result, "Gephi Lite", "edge ids repeat")[:2] == ("loss", repeats)


@pytest.mark.parametrize("repeats", [1, 500])
def test_nodes_that_only_edges_name_are_found_wherever_the_others_are_declared(repeats, audited):
    declared = "".join(f'<node id="{place}"/>\n' for place in range(repeats))
    edges = "".join(f'<edge source="{place}" target="x{place}"/>\n' for place in range(repeats))
    for body, line in ((declared + edges, 5 + repeats), (edges + declared, 5)):
        result = audited(graphml(body))
        for viewer in ("Gephi", "Gephi Lite", "igraph", "networkx"):
            assert found(result, viewer, "nothing declares are made")[:3] == ("warning", repeats, line)


def test_edges_without_an_end_are_dropped(audited):
    result = audited(graphml(NODES + '<edge source="a"/>\n<edge source="" target="b"/>\n'))
    assert found(result, "Gephi", "without a source or a target")[:3] == ("loss", 2, 7)


def test_nodes_without_label_or_place_are_noted(audited):
    result = audited(graphml(NODES))
    assert found(result, "Gephi", "without a label")[:2] == ("note", 2)
    assert found(result, "Gephi", "places at random")[:2] == ("note", 2)
    keys = '<key id="x" for="node" attr.name="x" attr.type="double"/>\n'
    there = '<node id="a"><data key="x">0.0</data></node>\n<node id="b"><data key="x">{}</data></node>\n'
    assert found(audited(graphml(there.format("0"), keys)), "Gephi", "places at random")[1] == 2
    assert silent(audited(graphml(there.format("-1e-3"), keys)), "Gephi", "places at random")
    position = '<node id="a" label="a"><viz:position x="{}" y="0" z="0"/></node>\n'
    assert silent(audited(gexf(position.format(1))), "Gephi", "places at random")
    assert found(audited(gexf(position.format(0))), "Gephi", "places at random")[1] == 1


def test_names_are_no_labels_for_gephi_and_labels_no_names_for_yed(audited):
    key = '<key id="k" for="node" attr.name="{}" attr.type="string"/>\n'
    node = '<node id="a"><data key="k">first</data></node>\n'
    result = audited(graphml(node, key.format("name")))
    assert found(result, "Gephi", "a name is no label")[:3] == ("warning", 1, 3)
    result = audited(graphml(node, key.format("label")))
    assert silent(result, "Gephi", "label:")
    assert found(result, "yEd", "the attribute name")[:2] == ("note", 1)


@pytest.mark.parametrize("value", ["256", "-1", "0.5", "red"])
def test_colours_are_whole_numbers_up_to_255(value, audited):
    keys = '<key id="r" for="node" attr.name="r" attr.type="int"/>\n'
    result = audited(graphml(f'<node id="a"><data key="r">{value}</data></node>\n', keys))
    assert found(result, "Gephi", "colours are not read") == ("loss", 1, 5, value)
    result = audited(gexf(f'<node id="a" label="a"><viz:color r="1" g="{value}" b="3"/></node>\n'))
    assert found(result, "Gephi", "colours are not read") == ("loss", 1, 5, value)
    assert silent(audited(graphml('<node id="a"><data key="r">255</data></node>\n', keys)), "Gephi", "colours")


# ---------------------------------------------------------------------- attributes


@pytest.mark.parametrize("owner", ["node", "edge"])
def test_ids_that_differ_by_case_share_a_column(owner, audited):
    key = '<key id="{}" for="{}" attr.name="q" attr.type="int"/>\n'
    keys = key.format("Layer", owner) + key.format("layer", owner)
    assert found(audited(graphml(NODES, keys)), "Gephi", "share one column") == ("loss", 2, 3, "Layer")
    apart = key.format("Layer", owner) + key.format("layer", "edge" if owner == "node" else "node")
    assert silent(audited(graphml(NODES, apart)), "Gephi", "share one column")


def test_names_that_gephi_takes_for_properties_are_noted(audited):
    keys = (
        '<key id="d0" for="node" attr.name="size" attr.type="string"/>\n'
        '<key id="x" for="node" attr.name="first" attr.type="double"/>\n'
        '<key id="d1" for="node" attr.name="Size" attr.type="double"/>\n'
        '<key id="d2" for="edge" attr.name="Edge Weight" attr.type="double"/>\n'
    )
    result = audited(graphml(NODES, keys))
    assert found(result, "Gephi", "size (id d0), first (id x), Edge Weight (id d2)") == ("note", 3, 3, "d0")


@pytest.mark.parametrize(
    ("type_", "refusing"),
    [
        ("integer", {"Gephi Lite", "igraph"}),
        ("short", {"Gephi Lite", "igraph", "networkx"}),
        ("liststring", {"Gephi Lite", "igraph", "networkx"}),
        ("anything", {"Gephi", "Gephi Lite", "igraph", "networkx"}),
        ("long", set()),
        ("boolean", set()),
    ],
)
def test_types_that_a_reader_does_not_know_are_named(type_, refusing, audited):
    keys = f'<key id="q" for="node" attr.name="q" attr.type="{type_}"/>\n'
    result = audited(graphml('<node id="a"><data key="q">1</data></node>\n', keys))
    assert {finding.viewer for finding in result.of("loss")} == refusing


def test_attributes_for_all_stop_lite_and_are_ignored_by_igraph(audited):
    keys = '<key id="weight" for="all" attr.name="weight" attr.type="double"/>\n'
    result = audited(graphml(NODES + EDGE.format(1), keys))
    assert found(result, "Gephi Lite", 'for="all"') == ("loss", 1, 3, "weight")
    assert found(result, "igraph", 'for="all"') == ("loss", 1, 3, "weight")
    assert found(result, "Gephi", "never properties") == ("warning", 1, 3, "weight")


def test_defaults_are_texts_for_lite_and_ignored_for_properties_by_gephi(audited):
    keys = (
        '<key id="weight" for="edge" attr.name="weight" attr.type="double"><default>7</default></key>\n'
        '<key id="q" for="node" attr.name="q" attr.type="string"><default>7</default></key>\n'
    )
    result = audited(graphml(NODES, keys))
    assert found(result, "Gephi", "default values of properties") == ("loss", 1, 3, "weight")
    assert found(result, "Gephi Lite", "default values stay texts") == ("warning", 1, 3, "weight")


@pytest.mark.parametrize("repeats", [1, 300])
def test_values_that_nothing_declares_are_lost(repeats, audited):
    nodes = "".join(f'<node id="{node}"><data key="q">1</data></node>\n' for node in range(repeats))
    result = audited(graphml(nodes, ""))
    for viewer, part in (("Gephi", "are dropped"), ("igraph", "are ignored"), ("networkx", "refused")):
        assert found(result, viewer, part) == ("loss", repeats, 4, "q")
    late = graphml(nodes, "").replace("</graph>", '<key id="q" for="node" attr.name="q" attr.type="int"/></graph>')
    assert found(audited(late), "Gephi", "are dropped")[:2] == ("loss", repeats)
    values = nodes.replace('<data key="q">1</data>', '<attvalues><attvalue for="q" value="1"/></attvalues>')
    result = audited(gexf(values))
    assert found(result, "Gephi", "are dropped") == ("loss", repeats, 5, "q")
    declared = '<attributes class="node"><attribute id="q" title="q" type="integer"/></attributes>\n'
    assert audited(gexf(values, attributes=declared)).ok


def test_attributes_of_the_graph_are_not_read(audited):
    keys = '<key id="date" for="graph" attr.name="date" attr.type="string"/>\n'
    assert found(audited(graphml(NODES, keys)), "Gephi", "graph itself") == ("warning", 1, 3, "date")


def test_another_namespace_stops_networkx(audited):
    text = graphml(NODES).replace("http://graphml.graphdrawing.org/xmlns", "http://example.org")
    assert found(audited(text), "networkx", "namespace") == ("loss", 1, None, "http://example.org")


# ---------------------------------------------------------------------- GEXF


def test_sizes_must_name_their_value_first(audited):
    node = '<node id="a" label="a"><viz:size {}/></node>\n'
    assert found(audited(gexf(node.format('z="1" value="3"'))), "Gephi", "sizes are not read")[:3] == ("loss", 1, 5)
    assert audited(gexf(node.format('value="3" z="1"'))).ok


def test_looks_that_are_not_read_and_transparent_colours_are_named(audited):
    nodes = '<node id="a" label="a"><viz:color r="1" g="2" b="3" a="0.5"/><viz:shape value="disc"/></node>\n'
    edges = '<edge source="a" target="a" weight="1"><viz:thickness value="3"/></edge>\n'
    result = audited(gexf(nodes, edges))
    assert found(result, "Gephi Lite", "are grey")[:3] == ("warning", 1, 5)
    assert found(result, "Gephi", "viz:shape")[:3] == ("note", 1, 5)
    assert found(result, "Gephi", "viz:thickness")[:3] == ("note", 1, 8)


def test_time_stamps_need_their_representation(audited):
    attributes = '<attributes class="node" mode="dynamic"><attribute id="q" title="q" type="double"/></attributes>\n'
    node = '<node id="a" label="a"><attvalues><attvalue for="q" value="1" timestamp="2.0"/></attvalues></node>\n'
    graph = 'defaultedgetype="directed" mode="dynamic" timeformat="double"'
    result = audited(gexf(node, "", attributes, graph))
    assert found(result, "Gephi", "time stamp are refused")[:3] == ("loss", 1, 6)
    assert audited(gexf(node, "", attributes, f'{graph} timerepresentation="timestamp"')).ok


def test_lite_calls_attributes_by_their_ids(audited):
    attributes = '<attributes class="node"><attribute id="{}" title="layer" type="string"/></attributes>\n'
    assert found(audited(gexf("", "", attributes.format("q"))), "Gephi Lite", "not by their titles")[0] == "note"
    assert silent(audited(gexf("", "", attributes.format("7"))), "Gephi Lite", "titles")


def test_edge_kinds_are_types(audited):
    edges = "".join(f'<edge source="a" target="b" kind="{kind}"/>\n' for kind in "xyx")
    result = audited(gexf(NODES, edges))
    assert found(result, "Gephi", "edge types are made")[:2] == ("note", 2)
    assert found(result, "Gephi", "merged")[:3] == ("loss", 1, 11)


# ---------------------------------------------------------------------- the whole


def test_large_and_compressed_files_are_no_files_for_browsers(audited):
    text = graphml(NODES + " " * 60_000_000 + EDGE.format(1))
    result = audited(gzip.compress(text.encode(), 1))
    assert found(result, "Gephi Lite", "too large for a browser: 60 MB")[0] == "warning"
    assert found(result, "Gephi Lite", "compressed")[0] == "warning"
    assert result.bytes < 1_000_000


def test_memory_grows_with_nodes_edges_and_values(audited):
    small = audited(graphml(NODES + EDGE.format(1)))
    assert set(small.memory) == {"Gephi", "Gephi Lite", "igraph", "networkx"}
    large = audited(graphml(NODES + EDGE.format(1) * 3))
    assert large.memory["Gephi"] - small.memory["Gephi"] == 2 * 430
    assert large.memory["networkx"] == 20 * len(graphml(NODES + EDGE.format(1) * 3))
    assert "igraph" not in audited(gexf(NODES)).memory
    assert estimate.__doc__


def test_findings_come_by_gravity_and_as_plain_values(audited):
    result = audited(graphml(NODES + EDGE.format(0) + EDGE.format(-1)))
    order = [finding.severity for finding in result]
    assert order == sorted(order, key=("loss", "warning", "note").index)
    assert len(result) == len(order)
    plain = json.loads(json.dumps(result.as_dict()))
    assert plain["ok"] is False
    assert plain["findings"][0] == {
        "viewer": "Gephi",
        "severity": "loss",
        "count": 1,
        "message": result.findings[0].message,
        "line": 7,
        "example": "0.0",
    }


def test_progress_counts_the_bytes_of_the_file(tmp_path):
    path, calls = tmp_path / "graph.graphml.gz", []
    dg.write_graphml(graph_of("convolutional-position"), path)
    audit(path, progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert calls[-1] == (path.stat().st_size,) * 2


# ---------------------------------------------------------------------- the command


@pytest.fixture
def run():
    """Run the command."""
    main = click.Group("dnn2graph", commands={"audit": command})
    main.__class__ = Commands
    return lambda *arguments: CliRunner().invoke(main, ["audit", *map(str, arguments)])


def test_the_command_shows_a_table_and_its_exit_code_says_whether_something_is_lost(run, tmp_path):
    path = tmp_path / "graph.graphml"
    dg.write_graphml(by_hand(), path)
    result = run(path)
    assert result.exit_code == 0
    assert "GraphML, 5 nodes, 5 edges" in result.output
    assert "nothing is lost" in result.output
    path.write_text(graphml(NODES + EDGE.format(0)))
    result = run(path)
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if "weight 0 are deleted" in line]
    assert line.split()[:3] == ["loss", "Gephi", "1"]
    assert "line 7: 0.0" in line
    assert "1 finding(s) of loss" in result.output


def test_the_command_writes_json(run, tmp_path):
    path = tmp_path / "graph.graphml"
    path.write_text(graphml(NODES + EDGE.format(0)))
    result = run("--json", path)
    assert result.exit_code == 1
    assert json.loads(result.stdout) == audit(path).as_dict()


@pytest.mark.parametrize(
    ("content", "cause"), [("", "no element"), ("<html/>", "neither GraphML nor GEXF"), (None, "No such file")]
)
def test_unreadable_input_is_one_line_and_exit_code_2(content, cause, run, tmp_path):
    path = tmp_path / "graph.graphml"
    if content is not None:
        path.write_text(content)
    result = run(path)
    assert result.exit_code == 2
    assert cause in result.stderr
    assert result.stderr.count("\n") == 1
    assert not result.stdout
