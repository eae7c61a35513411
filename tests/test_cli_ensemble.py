"""Measuring and analysing a population on the command line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

import dnn2graph as dg
from examples.train_digits import digits_mlp
from tests.commands import runner_of
from tests.test_ensemble import write

run = runner_of("population")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("population"), diverged=[4])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_measuring_writes_a_row_for_each_network_and_snapshot(folder, tmp_path, suffix):
    result = run("measure", folder, "-o", tmp_path / f"table.{suffix}")
    assert result.exit_code == 0, result.output
    path = tmp_path / f"table.{suffix}"
    table = pd.read_csv(path) if suffix == "csv" else pd.read_parquet(path)
    assert len(table) == 54
    assert {"network", "step", "accuracy", "strength:input:std"} <= set(table.columns)
    assert table["strength:input:std"].isna().sum() == 2  # of the network that diverged


def test_an_analysis_writes_tables_and_figures_and_says_what_separates_best(folder, tmp_path):
    result = run("analyse", folder, "-o", tmp_path / "out", "--bootstrap", 20, "--bin-width", 0.2)
    assert result.exit_code == 0, result.output
    assert "54 networks at snapshots, 2 diverged" in result.stdout
    assert result.stdout.count("time and initialisation") == 5
    made = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {"separation.csv", "divergences.csv", "members.csv"}
    assert made == tables | {"densities.png", "divergences.png", "fluctuation.png", "separation.png"}
    assert set(pd.read_csv(tmp_path / "out" / "divergences.csv")["kind"]) == {"symmetric-kl", "jensen-shannon"}


def test_an_analysis_for_programs_is_json(folder, tmp_path):
    options = ["--bootstrap", 20, "--support", 0.05, "--granularity", "channel", "--json"]
    result = run("analyse", folder, "-o", tmp_path, *options)
    found = json.loads(result.stdout)
    assert sum(found["bins"]["members"]) == 18  # network 4, which diverged, has another support
    assert {row["control"] for row in found["separation"]} >= {"none", "time"}


def test_networks_that_were_trained_elsewhere_are_gathered_and_analysed(tmp_path):
    for seed in range(8):
        torch.manual_seed(seed)
        torch.save(digits_mlp().state_dict(), tmp_path / f"net{seed}.pt")
    files = sorted(tmp_path.glob("net*.pt"))
    table = pd.DataFrame({"checkpoint": [path.name for path in files], "accuracy": [0.1 * (k + 1) for k in range(8)]})
    table.to_csv(tmp_path / "accuracies.csv")
    arch = ("--arch", "examples.train_digits:digits_mlp", "--input-shape", 64)
    gathered = run("gather", *files, *arch, "-o", tmp_path / "all", "--accuracies", tmp_path / "accuracies.csv")
    assert gathered.exit_code == 0, gathered.output
    analysed = run("analyse", tmp_path / "all", "-o", tmp_path / "out", "--bootstrap", 20, "--json")
    found = json.loads(analysed.stdout)
    assert found["members"] == 8
    assert sum(found["bins"]["members"]) == 8
    fluctuations = pd.read_csv(tmp_path / "out" / "members.csv")["strength:0:std"]
    alone = dg.load(files[3], digits_mlp())
    np.testing.assert_allclose(fluctuations[3], dg.fluctuation(alone)[1], rtol=1e-6)  # float32 weights
    assert (tmp_path / "out" / "fluctuation.png").stat().st_size > 1000  # without colours: no support is known


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (("measure", "nowhere", "-o", "t.csv"), ("holds no population",)),
        (("measure", "nowhere", "-o", "t.xls"), ("cannot write 't.xls'", ".parquet")),
        (("analyse", "nowhere", "-o", "out"), ("holds no population",)),
    ],
)
def test_bad_input_ends_in_one_line(tmp_path, monkeypatch, args, parts):
    monkeypatch.chdir(tmp_path)
    result = run(*args)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert all(part in line for part in parts)
    assert list(tmp_path.iterdir()) == []


def test_a_support_that_no_network_has_is_refused_with_those_that_they_have(folder, tmp_path):
    result = run("analyse", folder, "-o", tmp_path / "out", "--support", 1)
    assert result.exit_code == 2
    assert "has support 1.0: theirs are 0.05, 0.5, 5.0" in result.stderr
