"""``dnn2graph significance``: the table, the words, JSON and files, and what goes wrong in one line."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import dnn2graph as dg
from dnn2graph.cli import main
from dnn2graph.nulls import KINDS, significance
from dnn2graph.nulls.comparison import ALTERNATIVES, CORRECTIONS
from dnn2graph.nulls.measuring import REDUCTIONS
from tests.commands import fails

command = import_module("dnn2graph.cli.significance")
REPOSITORY = Path(__file__).parents[1]
MLP, CNN = "data/digits_mlp.pt", "data/digits_cnn.pt2"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder to work in, from which data is found as from the repository."""
    (tmp_path / "data").symlink_to(REPOSITORY / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args):
    return CliRunner().invoke(main, ["significance", *map(str, args)])


def test_the_choices_are_those_of_the_library():
    assert tuple(KINDS) == command.NULLS
    assert command.ALTERNATIVES == ALTERNATIVES
    assert (*CORRECTIONS, "none") == command.CORRECTIONS
    assert tuple(REDUCTIONS) == command.REDUCTIONS


def test_a_table_is_printed_and_said_in_words():
    shown = run(CNN, "-n", 99).stdout
    assert "99 nulls, weight-shuffle" in shown
    assert "fluctuation of output layer 'classifier' is" in shown
    assert "below weight-shuffled nulls, p" in shown


def test_json_and_files_hold_what_the_library_gives(folder):
    options = ("--null", "sign-shuffle", "-m", "fluctuation of layer 2", "-m", "link_weights", "-n", 9, "--seed", 4)
    result = run(MLP, *options, "--json", "-o", "z.csv")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    expected = significance(dg.load(MLP), ["fluctuation of layer 2", "link_weights"], "sign-shuffle", 9, seed=4)
    assert (found["null"], found["n"], found["seed"], found["correction"]) == ("sign-shuffle", 9, 4, "holm")
    assert found["sentences"] == expected.sentences()
    assert found["notes"] == list(expected.notes)
    assert [row["z"] for row in found["rows"]] == [None if np.isnan(z) else z for z in expected.table["z"]]
    table = pd.read_csv("z.csv", keep_default_na=False)
    assert table["measure"].tolist() == expected.table["measure"].tolist()
    assert {path.name for path in folder.iterdir()} == {"data", "z.csv"}


def test_a_fresh_initialisation_is_drawn_with_the_model_and_without(tmp_path):
    for model in (MLP, CNN):
        result = run(model, "--null", "initialisation", "-n", 3, "--json", "--correction", "none")
        assert result.exit_code == 0, result.output
        rows = json.loads(result.stdout)["rows"]
        assert all(row["null_std"] >= 0 for row in rows)
        assert json.loads(result.stdout)["correction"] is None


def test_processes_give_the_same_numbers():
    one, two = (run(MLP, "-n", 20, "--json", "--jobs", jobs) for jobs in (1, 2))
    assert one.stdout == two.stdout


def test_other_kinds_of_links_count_and_are_drawn():
    result = run(CNN, "-n", 3, "--kinds", "weight", "--null-kinds", "unit,pool", "--json")
    assert {row["note"] for row in json.loads(result.stdout)["rows"]} == {"unchanged: the null keeps it"}


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("-m", "flux"), "unknown measure 'flux'"),
        (("--null", "rewire"), "nothing can be rewired"),
        (("-o", "z.txt"), "give a table a name that ends in"),
        (("--jobs", 0), "jobs=0 would measure nothing"),
    ],
)
def test_what_cannot_be_done_is_one_line(folder, options, part):
    fails(run(MLP, "-n", 3, *options), part)
    assert {path.name for path in folder.iterdir()} == {"data"}
