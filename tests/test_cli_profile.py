"""``dnn2graph profile``: what it prints and writes is what the library measures."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from dnn2graph.cli.profile import FORMATS, OF_LAYERS, RANKINGS
from dnn2graph.load import load
from dnn2graph.profile import MEASURES, profile, result
from dnn2graph.sparsify import sparsify
from tests.commands import REPOSITORY, fails, runner_of

run = runner_of("profile")
CNN = str(REPOSITORY / "data" / "digits_cnn.pt2")


def test_what_is_shown_by_default_are_columns_of_measures_that_exist():
    columns = profile(load(CNN), ["degrees", "centrality", "cores", "clustering"]).nodes
    assert set(OF_LAYERS) | set(RANKINGS) <= set(columns)
    assert FORMATS == result.FORMATS


def test_the_graph_the_layers_and_the_hubs_are_shown():
    found = run(CNN, "--measures", "degrees,betweenness,reciprocity,katz")
    assert found.exit_code == 0, found.output
    nodes = profile(load(CNN), ["strength_abs", "betweenness"]).nodes
    for name in ("strength_abs", "betweenness"):
        best = nodes.loc[nodes[name].idxmax()]
        assert f"{best['label']} ({best[name]:.4g})" in found.stdout
    for part in ("the whole graph", "reciprocity", "classifier", "strength abs", "most central", "katz: α = "):
        assert part in found.stdout
    assert "pagerank" not in found.stdout


def test_json_has_every_table():
    found = json.loads(run(CNN, "--json", "--measures", "degree,squares,reciprocity").stdout)
    nodes = profile(load(CNN), "degree").nodes
    assert [node["degree"] for node in found["nodes"]] == nodes["degree"].tolist()
    assert found["nodes"][0]["squares_in"] is None  # undefined
    assert found["graph"] == [{"measure": "reciprocity", "value": 0.0}]
    assert [each["weight"] for each in found["measures"]] == ["unweighted"] * 3
    assert len(found["links"]) == 7


@pytest.mark.parametrize(("format", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_a_folder_gets_all_tables(format, read, tmp_path):
    found = run(CNN, "--measures", "cores", "-o", tmp_path / "profile", "--format", format)
    assert f"wrote {tmp_path / 'profile'}: 2 measures of 83 nodes" in found.stdout
    assert len(list((tmp_path / "profile").iterdir())) == 5
    expected = profile(load(CNN), "cores").nodes["k_core"].tolist()
    assert read(tmp_path / "profile" / f"nodes.{format}")["k_core"].tolist() == expected


def test_a_name_of_a_table_gets_the_nodes(tmp_path):
    assert run(CNN, "--measures", "cores", "-o", tmp_path / "nodes.csv").exit_code == 0
    table = pd.read_csv(tmp_path / "nodes.csv")
    assert table["node"].tolist() == list(range(83))
    assert {"label", "k_core", "s_core"} <= set(table)
    assert [path.name for path in tmp_path.iterdir()] == ["nodes.csv"]


def test_samples_kinds_and_backbones_are_those_of_the_library():
    options = ("--sample", 20, "--seed", 3, "--kinds", "weight", "--max-edges", 300)
    found = run(CNN, "--measures", "betweenness", "--json", *options)
    sparse = sparsify(load(CNN), 300, kinds=("weight",))
    expected = profile(sparse, "betweenness", sample=20, seed=3, kinds=("weight",))
    assert [node["betweenness"] for node in json.loads(found.stdout)["nodes"]] == expected.nodes["betweenness"].tolist()
    assert "300 of 552 edges" in " ".join(found.stderr.split())


def test_the_list_of_measures_needs_no_model():
    listed = run("--list")
    assert listed.exit_code == 0
    for each in MEASURES.values():
        assert each.name in listed.stdout
        assert each.definition[:40] in listed.stdout


def test_bad_input_is_told_in_one_line_before_the_model_is_read(tmp_path):
    fails(run("missing.pt2", "--measures", "degre"), "unknown measure 'degre'")
    fails(run("missing.pt2", "--measures", "degree"), "missing.pt2")
    (tmp_path / "thesis.tex").write_text("years of work")
    fails(run(CNN, "--measures", "degree", "-o", tmp_path), "thesis.tex")
    assert run(CNN, "--sample", 0).exit_code == 2
