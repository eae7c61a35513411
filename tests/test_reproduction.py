"""The paper by command: a document that says what was run and what was found, with its figures and tables beside it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from click.testing import CliRunner

import dnn2graph as dg
from dnn2graph.cli import main
from dnn2graph.population import reproduction
from dnn2graph.population.claims import CLAIMS
from dnn2graph.population.ensemble import CONTROLS

KINDS = ("densities", "divergences", "fluctuation", "separation")


def small(experiment):
    """Make an experiment small: digits, a few networks, a moment of training."""
    width = 4 if experiment.design.architecture == "fc" else 2
    changes = {"data_set": "digits", "width": width, "networks": 24, "steps": 60, "snapshots": (0, 20, 60)}
    return replace(experiment, design=replace(experiment.design, **changes, learning_rate=0.1))


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """Run the quick reproduction in small, with one fully connected and one convolutional population."""
    folder = tmp_path_factory.mktemp("paper")
    scales = {"quick": tuple(small(reproduction.SCALES["quick"][place]) for place in (0, 2))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduction, "SCALES", scales)
        result = CliRunner().invoke(
            main,
            ["population", "reproduce", "-o", f"{folder}/paper.md", "--work", f"{folder}/work", "--json"],
            catch_exceptions=False,
        )
    assert result.exit_code == 0, result.output
    return folder, json.loads(result.stdout)


def test_every_claim_is_asked_of_every_population_under_every_control(reproduced):
    _, said = reproduced
    assert list(said) == ["mnist-fc-small", "mnist-cnn"]
    for found in said.values():
        asked = [(control, claim) for control in CONTROLS for claim in CLAIMS]
        assert [(each["control"], each["claim"]) for each in found] == asked
        assert all(each["evidence"] for each in found)


def test_the_document_shows_the_verdicts_the_run_and_figures_that_exist(reproduced):
    folder, said = reproduced
    text = (folder / "paper.md").read_text()
    for found in said.values():
        for each in found:
            assert f"| {each['verdict']} | {each['evidence']} |" in text
    assert "| 24, in groups of" in text
    assert "| 0 to 23 | 60 | 0, 20, 60 |" in text
    assert "--scale quick" in text
    linked = re.findall(r"\]\((paper/[^)]+)\)", text)
    assert len(linked) == 2 * (len(KINDS) + 1)
    for link in linked:
        assert (folder / link).stat().st_size > 1000
    for name in said:
        for kind in KINDS:
            assert (folder / "paper" / f"{name}-{kind}.png").read_bytes().startswith(b"\x89PNG")
        table = pd.read_csv(folder / "paper" / f"{name}-separation.csv")
        assert set(table["control"]) == set(CONTROLS)


def test_what_is_trained_already_is_not_trained_again(reproduced, monkeypatch):
    folder, _ = reproduced
    experiment = small(reproduction.SCALES["quick"][0])
    stacks = sorted((folder / "work/quick/mnist-fc-small").rglob("*.safetensors"))
    written = [path.stat().st_mtime_ns for path in stacks]
    again = reproduction.run(experiment, folder / "work/quick/mnist-fc-small")
    assert [path.stat().st_mtime_ns for path in stacks] == written
    assert len(again.measured) == 24 * 3


def test_the_scales_are_the_papers_populations():
    for experiments in reproduction.SCALES.values():
        assert [each.name for each in experiments] == ["mnist-fc-small", "mnist-fc-medium", "mnist-cnn", "cifar10-cnn"]
        for each in experiments:
            assert each.design.learning_rate == 0.01
            assert each.design.supports == (0.05, 0.5, 5.0)
            assert each.design.networks % 12 == 0  # as many of each initialisation at each support


def test_an_unknown_scale_is_refused(tmp_path):
    with pytest.raises(dg.InputError, match="choose from quick, full"):
        reproduction.reproduce(tmp_path / "paper.md", "huge")
