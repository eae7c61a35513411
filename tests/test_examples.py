"""The demo does what the README says, on the networks that are shipped."""

import hashlib
import re
import sys
from pathlib import Path

import igraph
import pandas as pd
import pytest

from examples import against_chance, contact_sheet, demo, fluctuation_penalty, record_training

ROOT = Path(__file__).resolve().parent.parent


def test_the_demo_verifies_and_leaves_graphs_tables_and_pictures(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(sys, "argv", ["demo.py", "--out", str(tmp_path)])
    assert demo.main() == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("the graph computes what the model computes") == 4
    for name, nodes in (("digits_mlp", 122), ("digits_cnn", 83)):
        assert igraph.Graph.Read_GraphML(str(tmp_path / f"{name}.graphml")).vcount() == nodes
        assert len(pd.read_csv(tmp_path / f"{name}_nodes.csv")) == nodes
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{name}_unrolled.graphml.gz").stat().st_size > 10_000


def test_a_training_is_recorded_drawn_filmed_and_exported(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(record_training, "EPOCHS", 1)
    monkeypatch.setattr(sys, "argv", ["record_training", "--out", str(tmp_path)])
    record_training.main()
    assert "fluctuation" in capsys.readouterr().out
    assert len(list((tmp_path / "run").glob("*.parquet"))) == 5  # of 23 steps every fifth
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "run.gif").read_bytes().startswith(b"GIF8")
    assert b"<attvalue" in (tmp_path / "run.gexf").read_bytes()


def test_a_penalty_on_fluctuation_makes_it_smaller(monkeypatch, capsys):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(fluctuation_penalty, "EPOCHS", 3)
    monkeypatch.setattr(sys, "argv", ["fluctuation_penalty", "--penalty", "0.01"])
    fluctuation_penalty.main()
    without, with_penalty = (
        [float(number) for number in re.findall(r"\w+ (\d+\.\d\d)(?:,|$)", line)]
        for line in capsys.readouterr().out.splitlines()
    )
    assert len(without) == 4
    assert sum(with_penalty) < 0.5 * sum(without)


def test_the_contact_sheet_shows_the_networks_that_are_at_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(contact_sheet, "PANELS", contact_sheet.PANELS[:1])  # those that are shipped
    monkeypatch.setattr(sys, "argv", ["contact_sheet", "-o", str(tmp_path / "sheet.png")])
    contact_sheet.main()
    assert "2 networks" in capsys.readouterr().out
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["digits_mlp.pt", "digits_cnn.pt", "digits_mlp.pt2", "digits_cnn.pt2"])
def test_the_shipped_networks_are_those_that_their_page_describes(name):
    found = hashlib.sha256((ROOT / "data" / name).read_bytes()).hexdigest()
    assert found in (ROOT / "data" / "README.md").read_text()


def test_a_network_is_compared_with_nulls_that_keep_something_of_it(tmp_path, monkeypatch, capsys):
    arguments = ["--network", "digits_cnn", "--nulls", "19", "--unrolled", "9", "-o", str(tmp_path / "chance.png")]
    monkeypatch.setattr(sys, "argv", ["against_chance", *arguments])
    against_chance.main()
    assert "chance.png" in capsys.readouterr().out
    assert (tmp_path / "chance.png").read_bytes().startswith(b"\x89PNG")
    scores = against_chance.compared(against_chance.load("digits_cnn"), 9, 3, 1)["z"]
    kept = scores[:, "in-weight-shuffle"].isna()  # what enters the last layer is all that its strengths hold
    assert kept["fluctuation of classifier"]
    assert not kept["fluctuation of conv2"]
