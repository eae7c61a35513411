"""The example that silences hubs does what its page says, on the shipped network and on the published one."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

import dnn2graph as dg
from dnn2graph.activity import accuracy_without, silencing_order
from examples import silence_hubs
from tests.checkpoints import CHECKPOINTS, require


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["silence_hubs", *arguments])
    silence_hubs.main()
    return capsys.readouterr().out


def test_the_shipped_perceptron_is_silenced_and_drawn(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    path = tmp_path / "hubs.png"
    said = run(monkeypatch, capsys, "-o", str(path), "--network", "digits_mlp", "--images", "100", "--seeds", "2")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "48 hidden neurons; accuracy with all of them 9" in said
    assert re.search(r"24 silenced: hubs of the network \d+.\d%, hubs of each layer \d+.\d%", said)
    assert "Spearman correlation" in said


def test_the_published_perceptron_has_its_stated_accuracy_and_needs_its_hubs():
    require(silence_hubs.MNIST)
    graph, data = silence_hubs.load(silence_hubs.MNIST, 1000)
    whole = accuracy_without(graph, data)
    assert abs(100 * whole - CHECKPOINTS[silence_hubs.MNIST].accuracy) <= 0.15  # a near tie on another machine
    hubs = silence_hubs.within_layers(graph, dg.strength(graph, weight="abs"))
    strongest, weakest = (silencing_order(graph, sign * hubs)[:100] for sign in (1, -1))
    assert np.unique(graph.layer_of()[strongest], return_counts=True)[1].tolist() == [20] * 5
    assert accuracy_without(graph, data, strongest) < accuracy_without(graph, data, weakest) - 0.1
