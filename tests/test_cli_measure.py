"""Measuring without a graph on the command line: when it does so, what it prints and writes."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import dnn2graph as dg
from dnn2graph.streaming import measure_file
from tests.commands import fails, runner_of

run = runner_of("measure")


@pytest.fixture
def chain(tmp_path):
    """Two linear layers, whose shapes say enough."""
    torch.manual_seed(0)
    save_file(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).state_dict(), tmp_path / "chain.safetensors")
    return tmp_path / "chain.safetensors"


@pytest.fixture
def tensors(tmp_path):
    """What shapes do not tell, with weights that are none and weights that are wrong."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    model[0].bias.data[1] = float("nan")
    save_file(model.state_dict(), tmp_path / "tensors.safetensors")
    return tmp_path / "tensors.safetensors"


def test_a_file_that_can_become_a_graph_is_measured_as_one(chain):
    found = json.loads(run(chain, "--json").stdout)
    assert [layer["fluctuation"] for layer in found["layers"]] == pytest.approx(dg.fluctuation(dg.load(chain)).tolist())


def test_tensors_of_a_chain_are_measured_if_that_is_asked_for(chain, tmp_path):
    for options in (["--tensors"], ["-o", tmp_path / "t.csv"], ["--strengths", tmp_path / "s.csv"]):
        result = run(chain, "--json", *options)
        assert result.exit_code == 0, result.output
        assert {row["tensor"] for row in json.loads(result.stdout)["tensors"]} == {
            "0.weight",
            "0.bias",
            "2.weight",
            "2.bias",
        }


def test_a_file_of_tensors_is_measured_tensor_by_tensor_and_why_is_said(tensors):
    result = run(tensors)
    assert result.exit_code == 0
    for word in ("0.weight", "float32", "3x4", "row fluctuation"):
        assert word in result.stdout
    no_graph, faults, skipped = result.stderr.splitlines()
    assert no_graph.startswith("no graph: ")
    assert no_graph.endswith("; measuring tensor by tensor")
    assert "batch normalisation" in no_graph
    assert faults == ("0.bias has 1 NaN and 0 infinite weights, the first at index 1: its link weights are not defined")
    assert skipped == "1 tensor(s) skipped, no weights by their type: 1.num_batches_tracked (I64)"


def test_json_holds_all_numbers_and_what_was_skipped(tensors):
    found = json.loads(run(tensors, "--json").stdout)
    expected = measure_file(tensors).table().set_index("tensor")
    rows = {row["tensor"]: row for row in found["tensors"]}
    assert rows["0.weight"]["kurtosis"] == expected.loc["0.weight", "kurtosis"]
    assert rows["0.bias"]["mean"] is None
    assert rows["0.bias"]["nan"] == 1
    assert found["skipped"] == [{"tensor": "1.num_batches_tracked", "dtype": "I64", "shape": []}]


def test_tables_are_written(tensors, tmp_path):
    result = run(tensors, "-o", tmp_path / "tensors.parquet", "--strengths", tmp_path / "strengths.csv")
    assert result.exit_code == 0, result.output
    found = measure_file(tensors)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "tensors.parquet"), found.table(), check_exact=True)
    strengths = pd.read_csv(tmp_path / "strengths.csv")
    expected = found["0.weight"].rows.tolist() + found["0.weight"].columns.tolist()
    assert strengths["strength"].tolist() == pytest.approx(expected, rel=1e-15, abs=0)  # what pandas' reader rounds


def test_a_folder_of_shards_is_measured(tmp_path):
    save_file({"a": torch.ones(2, 2)}, tmp_path / "m-1.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "m-1.safetensors"}}')
    result = run(tmp_path, "--json")
    assert result.exit_code == 0, result.output
    assert "has no config.json" in result.stderr
    assert [row["l1"] for row in json.loads(result.stdout)["tensors"]] == [4]


@pytest.mark.parametrize("option", [["--arch", "a:b"], ["--kinds", "weight"], ["--granularity", "channel"]])
def test_options_about_a_graph_ask_for_one(option, tensors):
    line = fails(run(tensors, "--tensors", *option))
    assert f"{option[0]} is of use with a graph only, --tensors without one" in line
    if option[0] != "--arch":
        fails(run(tensors, *option), "batch normalisation")


@pytest.mark.parametrize("option", ["-o", "--strengths", "--nodes", "--layers", "--links"])
def test_a_table_that_cannot_be_written_is_told_before_anything_is_measured(option, chain):
    fails(run(chain, option, "table.xyz"), "cannot write 'table.xyz'")


def test_damaged_files_are_told_in_one_line(tensors, tmp_path):
    tensors.write_bytes(tensors.read_bytes()[:-1])
    for options in ([], ["--tensors"]):
        fails(run(tensors, *options), "truncated")
        fails(run(tmp_path / "none.safetensors", *options), "does not exist")
    (tmp_path / "folder").mkdir()
    fails(run(tmp_path / "folder", "--tensors"), "holds no file that ends in .safetensors")
