"""GEXF files open elsewhere as the same graph, and hold a training run step by step."""

from __future__ import annotations

import gzip
from collections import OrderedDict
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.export.gexf import write_gexf
from dnn2graph.export.layout import layer_colours, layered_positions, node_sizes
from dnn2graph.measures import node_attributes
from tests.memory import peak_of
from tests.networks import by_hand, every_network, graph_of, traced, with_parallel_links

GEXF, VIZ = "{http://gexf.net/1.3}", "{http://gexf.net/1.3/viz}"
DIALECTS = pytest.mark.parametrize("weight", ["abs", "signed"])


@pytest.fixture
def path(tmp_path):
    """Give the path of a file in an empty folder."""
    return tmp_path / "graph.gexf"


def read(path):
    """Read a file with networkx; nodes are numbers again."""
    return nx.read_gexf(path, node_type=int)


def matrix_of(graph, weight="weight", dtype=np.float32):
    return nx.to_scipy_sparse_array(graph, nodelist=range(len(graph)), weight=weight, dtype=dtype)


def run_of(graph, values, measure="strength", run="a"):
    """Make the table of a run from {step: values of the nodes}."""
    names = np.array([layer.name for layer in graph.layers], object)
    layers = pd.Series(names[graph.layer_of()], dtype=object)  # a name may hold what a text column cannot
    nodes = np.arange(len(graph))
    parts = [
        pd.DataFrame({"run": run, "step": step, "layer": layers, "node": nodes, "measure": measure, "value": each})
        for step, each in values.items()
    ]
    return pd.concat(parts, ignore_index=True).astype({"node": "Int64"})


def of_layers(graph, step, measure="fluctuation", run="a"):
    """Make the rows of a measure of layers, and of the whole network."""
    layers = [layer.name for layer in graph.layers]
    rows = pd.DataFrame(
        {"run": run, "step": step, "layer": [*layers, None], "measure": [measure] * len(layers) + ["loss"]}
    )
    return rows.assign(node=pd.array([pd.NA] * len(rows), "Int64"), value=0.5)


def trained(graph, steps=(0, 10, 200), seed=0):
    """Make a run that records two measures of nodes, one of layers, and a loss."""
    random = np.random.default_rng(seed)
    tables = []
    for measure in ("strength", "strength_in"):
        tables.append(run_of(graph, {step: random.normal(size=len(graph)) for step in steps}, measure))
    tables += [of_layers(graph, step) for step in steps]
    return pd.concat(tables, ignore_index=True)


def parsed(path):
    """Parse a file and check its structure: what the format asks for, wherever readers are known to be strict."""
    content = path.read_bytes()
    root = ElementTree.fromstring(gzip.decompress(content) if path.suffix == ".gz" else content)
    assert root.tag == f"{GEXF}gexf"
    assert root.attrib == {"version": "1.3"}
    (graph,) = root
    dynamic = graph.get("mode") == "dynamic"
    time = {"timeformat": "double", "timerepresentation": "timestamp"} if dynamic else {}
    assert graph.attrib == {"defaultedgetype": "directed", "mode": "dynamic" if dynamic else "static", **time}
    *blocks, nodes, edges = graph
    places = [("node", "static"), ("node", "dynamic"), ("edge", "static"), ("edge", "dynamic")]  # what changes is last
    found = [(block.get("class"), block.get("mode")) for block in blocks]
    assert found == [place for place in places if place in found]
    assert {("node", "static"), ("edge", "static")} <= set(found)
    assert dynamic == ("dynamic" in {mode for _, mode in found})
    assert (nodes.tag, edges.tag) == (f"{GEXF}nodes", f"{GEXF}edges")
    modes = {"node": {}, "edge": {}}
    for block in blocks:
        assert block.tag == f"{GEXF}attributes"
        for attribute in block:
            assert attribute.tag == f"{GEXF}attribute"
            assert set(attribute.keys()) == {"id", "title", "type"}
            assert attribute.get("id") == attribute.get("title")
            assert attribute.get("type") in ("integer", "double", "string")
            assert attribute.get("id") not in modes[block.get("class")]
            modes[block.get("class")][attribute.get("id")] = block.get("mode")
    for owner, elements in (("node", nodes), ("edge", edges)):
        assert len({name.lower() for name in modes[owner]}) == len(modes[owner])
        for element in elements:
            assert element.tag == f"{GEXF}{owner}"
            check_element(element, modes[owner])
    return graph


def check_element(element, modes):
    """Check one node or edge: its children, and that each value is of an attribute declared in the right block."""
    attvalues, *looks = element
    assert attvalues.tag == f"{GEXF}attvalues"
    if element.tag == f"{GEXF}node":
        assert set(element.keys()) == {"id", "label"}
        size, position, colour = looks
        assert list(size.attrib) == ["value"]
        assert (size.tag, position.tag, colour.tag) == (f"{VIZ}size", f"{VIZ}position", f"{VIZ}color")
        assert set(position.keys()) == {"x", "y", "z"}
    else:
        assert list(element.keys()) == ["source", "target", "weight"]
        assert [each.tag for each in looks] in ([], [f"{VIZ}color"])
    for colour in element.iter(f"{VIZ}color"):
        assert list(colour.keys()) == ["r", "g", "b"]
    seen = set()
    for value in attvalues:
        assert value.tag == f"{GEXF}attvalue"
        assert value.get("value")
        keys = ["for", "value"] + (["timestamp"] if modes[value.get("for")] == "dynamic" else [])
        assert list(value.keys()) == keys
        assert (value.get("for"), value.get("timestamp")) not in seen
        seen.add((value.get("for"), value.get("timestamp")))


def timed_values(path):
    """Read the values that change: {(node, measure, time): value}."""
    found = {}
    for node in parsed(path).iter(f"{GEXF}node"):
        for value in node.iter(f"{GEXF}attvalue"):
            if value.get("timestamp") is not None:
                key = int(node.get("id")), value.get("for"), float(value.get("timestamp"))
                found[key] = float(value.get("value"))
    return found


# ---------------------------------------------------------------------- a graph that does not change


def test_a_small_network_is_the_file_written_by_hand(path):
    write_gexf(by_hand(), path)
    lines = path.read_text().splitlines()
    places = '<viz:position x="{}" y="{}" z="0.0"/>'
    assert lines[0] == '<?xml version="1.0" encoding="UTF-8"?>'
    assert lines[1] == '<gexf xmlns="http://gexf.net/1.3" xmlns:viz="http://gexf.net/1.3/viz" version="1.3">'
    x, y = layered_positions(by_hand())
    hidden = next(line for line in lines if line.startswith('<node id="3"'))
    assert hidden == (
        '<node id="3" label="0[1]"><attvalues><attvalue for="layer" value="0"/><attvalue for="layer_index" value="1"/>'
        '<attvalue for="kind" value="linear"/><attvalue for="activation" value="relu"/>'
        '<attvalue for="channel" value="1"/><attvalue for="bias" value="-0.5"/>'
        '<attvalue for="strength_in" value="2.0"/><attvalue for="strength_out" value="-0.125"/>'
        '<attvalue for="strength" value="1.875"/></attvalues><viz:size value="10.0"/>'
        + places.format(x[3], y[3])
        + '<viz:color r="33" g="145" b="140"/></node>'
    )
    assert lines[lines.index("<edges>") + 1 : lines.index("</edges>")] == [
        f'<edge source="{i}" target="{j}" weight="{size}"><attvalues><attvalue for="signed_weight" value="{signed}"/>'
        f'<attvalue for="sign" value="{sign}"/><attvalue for="kind" value="weight"/></attvalues>'
        f'<viz:color r="{r}" g="{g}" b="{b}"/></edge>'
        for i, j, size, signed, sign, (r, g, b) in [
            (0, 2, "1.5", "1.5", 1, (33, 102, 172)),
            (0, 3, "2.0", "-2.0", -1, (178, 24, 43)),
            (1, 3, "4.0", "4.0", 1, (33, 102, 172)),  # from 1 to 2 the weight is zero: no edge
            (2, 4, "0.5", "0.5", 1, (33, 102, 172)),
            (3, 4, "0.125", "-0.125", -1, (178, 24, 43)),
        ]
    ]


@DIALECTS
@every_network
def test_networkx_reads_the_same_graph(network, weight, path):
    graph = graph_of(network)
    write_gexf(graph, path, weight=weight)
    parsed(path)
    found = read(path)
    assert list(found) == list(range(len(graph)))
    assert found.is_directed()
    assert not found.is_multigraph()
    signed = matrix_of(found, "weight" if weight == "signed" else "signed_weight")
    assert (signed != graph.adjacency()).nnz == 0  # bit for bit: float32 both
    assert (abs(signed) != abs(matrix_of(found))).nnz == 0
    for name, values in node_attributes(graph).items():
        assert [found.nodes[node].get(name, "") for node in found] == values.tolist()


def test_files_carry_place_colour_and_size(path):
    graph = graph_of("residual-channel")
    write_gexf(graph, path)
    looks = [look for _, look in read(path).nodes(data="viz")]
    x, y = layered_positions(graph)
    assert [(look["position"]["x"], look["position"]["y"]) for look in looks] == list(zip(x, y, strict=True))
    assert [look["size"] for look in looks] == node_sizes(graph).tolist()
    colours = [[look["color"][channel] for channel in "rgb"] for look in looks]
    assert colours == layer_colours(graph)[graph.layer_of()].tolist()


def test_only_the_kinds_asked_for_are_written(path):
    graph = graph_of("residual-channel")
    write_gexf(graph, path, kinds=["unit"])
    found = read(path)
    assert found.number_of_edges() == graph.number_of_edges(["unit"]) == 6
    assert {kind for *_, kind in found.edges(data="kind")} == {"unit"}
    assert [each for _, each in found.nodes(data="strength")] == dg.strength(graph, kinds=["unit"]).tolist()


def test_links_of_two_kinds_between_the_same_nodes_are_two_edges(path):
    write_gexf(with_parallel_links(by_hand(), 2.0), path)
    parsed(path)
    found = read(path)
    assert found.is_multigraph()
    assert found.number_of_edges() == 8


def test_float64_weights_read_back_exactly(path):
    graph = dg.from_torch(nn.Linear(5, 4).double(), torch.zeros(1, 5, dtype=torch.float64))
    write_gexf(graph, path, weight="signed")
    assert (matrix_of(read(path), dtype=np.float64) != graph.adjacency()).nnz == 0
    write_gexf(graph, path, weight="signed", precision="float32")
    assert (matrix_of(read(path)) != graph.adjacency().astype(np.float32)).nnz == 0


def test_hostile_names_come_back_as_they_were(path):
    names = [
        "a<b>&c",
        "\"quoted\" 'twice'",
        "bell\x07 return\r",
        "\ud800 lone",
        "🧠 Δ",
        "]]>",
        "  ",
        "tab\tline\nfeed ",
    ]
    model = nn.Sequential(OrderedDict((name, nn.Linear(2, 2)) for name in names))
    graph = dg.from_torch(model, torch.zeros(1, 2))
    write_gexf(graph, path, run_of(graph, {0: range(len(graph))}))
    parsed(path)
    write_gexf(graph, path)
    parsed(path)
    found = read(path).nodes
    expected = ["a<b>&c", "\"quoted\" 'twice'", "bell� return�", "� lone", "🧠 Δ", "]]>", "  ", "tab\tline\nfeed "]
    assert [layer for _, layer in found(data="layer")][2::2] == expected
    assert [label for _, label in found(data="label")][2::2] == [f"{name}[0]" for name in expected]


# ---------------------------------------------------------------------- a run


@pytest.mark.parametrize("granularity", ["channel", "position"])
def test_every_recorded_value_stands_at_its_node_and_its_step(granularity, path):
    graph = graph_of(f"residual-{granularity}")
    run = trained(graph)
    write_gexf(graph, path, run)
    rows = run[run["node"].notna()]
    keys = zip(rows["node"].tolist(), rows["measure"], rows["step"].astype(float), strict=True)
    assert timed_values(path) == dict(zip(keys, rows["value"], strict=True))  # bit for bit


def test_what_was_not_recorded_does_not_change(path):
    graph = by_hand()
    write_gexf(graph, path, trained(graph))
    static, dynamic, edge = ([each.get("id") for each in block] for block in parsed(path).iter(f"{GEXF}attributes"))
    assert dynamic == ["strength", "strength_in"]
    assert static == ["layer", "layer_index", "channel", "position", "kind", "activation", "bias", "strength_out"]
    assert edge == ["signed_weight", "sign", "kind"]
    values = {
        value.get("for"): float(value.get("value"))
        for value in list(parsed(path).iter(f"{GEXF}node"))[3].iter(f"{GEXF}attvalue")
        if value.get("for") in ("bias", "strength_out")
    }
    assert values == {"bias": -0.5, "strength_out": -0.125}


def test_steps_ascend_whatever_the_order_of_the_table_so_that_the_last_value_is_the_last_step(path):
    graph = by_hand()
    run = trained(graph, steps=(0, 10, 200)).sample(frac=1, random_state=0)
    write_gexf(graph, path, run)
    for node in parsed(path).iter(f"{GEXF}node"):
        times = [
            float(each.get("timestamp", -1)) for each in node.iter(f"{GEXF}attvalue") if each.get("for") == "strength"
        ]
        assert times == [0.0, 10.0, 200.0]


def test_edges_are_those_of_the_given_graph(path):
    graph = graph_of("convolutional-channel")
    write_gexf(graph, path, trained(graph), weight="signed")
    found = {
        (int(edge.get("source")), int(edge.get("target"))): edge.get("weight")
        for edge in parsed(path).iter(f"{GEXF}edge")
    }
    matrix = graph.adjacency().tocoo()
    assert {key: np.float32(text) for key, text in found.items()} == dict(
        zip(zip(matrix.row.tolist(), matrix.col.tolist(), strict=True), matrix.data, strict=True)
    )


def test_values_that_are_not_finite_or_not_recorded_are_left_out(path):
    graph = by_hand()
    run = run_of(graph, {0: [1, np.nan, 3, np.inf, 5], 7: [1, 2, 3, 4, 5]})
    write_gexf(graph, path, run.drop(index=[0]))
    assert sorted(timed_values(path)) == sorted(
        [(node, "strength", 0.0) for node in (2, 4)] + [(node, "strength", 7.0) for node in range(5)]
    )


def test_measures_may_be_recorded_at_different_steps_and_chosen(path):
    graph = by_hand()
    often, seldom = run_of(graph, {1: range(5), 2: range(5)}), run_of(graph, {2: range(5)}, "strength_in")
    run = pd.concat([often, seldom])
    write_gexf(graph, path, run)
    assert {key[1:] for key in timed_values(path)} == {("strength", 1.0), ("strength", 2.0), ("strength_in", 2.0)}
    write_gexf(graph, path, run, measures=["strength_in"])
    assert {key[1:] for key in timed_values(path)} == {("strength_in", 2.0)}


def test_a_flat_file_holds_a_column_for_every_step(path):
    graph = graph_of("separable-channel")
    run = trained(graph, steps=(0, 1200))
    write_gexf(graph, path, run, flat=True)
    parsed(path)
    found = read(path)
    for (measure, step), rows in run[run["node"].notna()].groupby(["measure", "step"]):
        assert [value for _, value in found.nodes(data=f"{measure}_{step}")] == rows["value"].tolist()
    for name, values in node_attributes(graph).items():  # beside the graph's own
        assert [found.nodes[node].get(name, "") for node in found] == values.tolist()
    assert (matrix_of(found, "signed_weight") != graph.adjacency()).nnz == 0


def test_a_run_is_read_from_where_it_was_recorded(path, monkeypatch):
    graph = by_hand()
    run = pytest.importorskip("dnn2graph.dynamics.run")
    monkeypatch.setattr(run, "read_run", lambda folder: {"recorded": trained(graph)}[folder])
    write_gexf(graph, path, "recorded")
    assert len(timed_values(path)) == 2 * 3 * 5


def test_equal_runs_make_equal_files_and_compressed_ones_hold_the_same(tmp_path):
    graph = graph_of("separable-position")
    for name in ("a.gexf", "b.gexf", "a.gexf.gz"):
        write_gexf(graph, tmp_path / name, trained(graph))
    parsed(tmp_path / "a.gexf.gz")
    plain = (tmp_path / "a.gexf").read_bytes()
    assert plain == (tmp_path / "b.gexf").read_bytes()
    assert gzip.decompress((tmp_path / "a.gexf.gz").read_bytes()) == plain


def test_progress_counts_to_the_number_of_nodes_and_edges(path):
    graph, calls = graph_of("convolutional-position"), []
    write_gexf(graph, path, trained(graph), progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert calls[-1] == (len(graph) + graph.number_of_edges(),) * 2


def test_the_writer_needs_little_memory(path):
    graph = dg.from_torch(nn.Sequential(nn.Linear(1000, 300), nn.ReLU()), torch.zeros(1, 1000))
    run = run_of(graph, dict.fromkeys(range(300), np.linspace(0.1, 1, len(graph))))
    _, peak = peak_of(write_gexf, graph, path, run)
    assert path.stat().st_size > 80e6
    assert peak < 60e6  # the table of the run is half of it


# ---------------------------------------------------------------------- what goes wrong


def test_a_run_of_another_graph_is_refused(path):
    with pytest.raises(dg.InputError, match=r"the run is of 5 nodes, the graph has 14: .*same granularity"):
        write_gexf(traced(nn.Linear(8, 6), 8), path, trained(by_hand()))
    other = trained(by_hand()).replace({"layer": {"0": "elsewhere"}})
    with pytest.raises(dg.InputError, match=r"layer\(s\) elsewhere, which the graph has not"):
        write_gexf(by_hand(), path, other)
    assert not path.exists()


def test_several_runs_are_a_choice_to_make(path):
    graph = by_hand()
    both = pd.concat([run_of(graph, {0: range(5)}), run_of(graph, {0: range(5)}, run="b")])
    with pytest.raises(dg.InputError, match=r"2 runs \(a, b\): choose one, such as run\[run\['run'\] == 'a'\]"):
        write_gexf(graph, path, both)
    write_gexf(graph, path, both[both["run"] == "b"])
    assert len(timed_values(path)) == 5


def test_a_run_without_values_of_nodes_says_what_to_record(path):
    graph = by_hand()
    with pytest.raises(dg.InputError, match="no values of nodes: record a measure of nodes"):
        write_gexf(graph, path, of_layers(graph, 0))
    with pytest.raises(dg.InputError, match=r"no node measure 'fluctuation': it has strength, strength_in"):
        write_gexf(graph, path, trained(graph), measures=["fluctuation"])
    with pytest.raises(dg.InputError, match=r"lacks the column\(s\) step, value"):
        write_gexf(graph, path, trained(graph).drop(columns=["step", "value"]))


@pytest.mark.parametrize(("measure", "other"), [("layer", "layer"), ("Size", "size"), ("Bias", "bias")])
def test_a_measure_with_the_name_of_an_attribute_is_refused(measure, other, path):
    with pytest.raises(dg.InputError, match=f"measure '{measure}' cannot be told from the attribute '{other}'"):
        write_gexf(by_hand(), path, run_of(by_hand(), {0: range(5)}, measure))


def test_weights_that_are_not_finite_are_refused_before_a_file_is_touched(path):
    graph = traced(nn.Sequential(nn.Linear(3, 2)), 3)
    path.write_text("old")
    for value in (torch.nan, torch.inf):
        with torch.no_grad():
            graph.weights["0.weight"][1, 1] = value
        with pytest.raises(dg.WeightsError, match=r"layer '0' has 1 non-finite weight.* index 4 "):
            write_gexf(graph, path, trained(graph))
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_unknown_options_are_named(path):
    with pytest.raises(dg.InputError, match="weight='both' is unknown: choose from abs, signed"):
        write_gexf(by_hand(), path, weight="both")
    with pytest.raises(dg.InputError, match="precision='float16' is unknown"):
        write_gexf(by_hand(), path, precision="float16")


def test_an_interruption_leaves_the_old_file_and_nothing_else(path):
    path.write_text("old")

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gexf(by_hand(), path, trained(by_hand()), progress=stop)
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
