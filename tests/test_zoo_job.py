"""The job that tries published architectures: whatever one of them does is a row of its table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import dnn2graph as dg
from tests.strategies import Net
from zoo.__main__ import main
from zoo.reasons import reason
from zoo.table import document, verdict

ROOT = Path(__file__).resolve().parents[1]

# A zoo of its own, with packages of no content in place of the large ones.
ARCHITECTURES = """
import os, time
import torch
from torch import nn

def torchvision_stub(): pass
def torchvision_models(): return {}
def timm_models(): return {}

class Crashes(nn.Linear):
    def forward(self, x): os.kill(os.getpid(), 9)

class Hangs(nn.Linear):
    def forward(self, x): time.sleep(600)

def of(kind): return lambda: (kind(3, 2), (torch.ones(2, 3),), {})
def transformers_models(): return {"fine": of(nn.Linear), "crashes": of(Crashes), "hangs": of(Hangs)}
"""
EDGE_CASES = """
import torch
from torch import nn

class Triangle(nn.Linear):
    def forward(self, x): return torch.geqrf(super().forward(x)).a

Z = {"refused": lambda: (Triangle(3, 4), (torch.ones(2, 3),), {})}
"""


def zoo(folder, *options):
    """Run the job in a folder, on the architectures there."""
    paths = [str(ROOT), str(folder / "packages")]
    environment = {**os.environ, "DNN2GRAPH_ZOO": str(folder), "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "zoo", *map(str, options)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_an_architecture_that_crashes_or_hangs_is_a_row_and_the_others_go_on(tmp_path):
    (tmp_path / "architectures.py").write_text(ARCHITECTURES)
    (tmp_path / "edge_cases.py").write_text(EDGE_CASES)
    (tmp_path / "packages").mkdir()
    for package in ("torchvision", "timm", "transformers"):
        (tmp_path / "packages" / f"{package}.py").touch()
    page, records = tmp_path / "coverage.md", tmp_path / "out" / "zoo"

    ran = zoo(tmp_path, "--only", "fine", "-o", page)
    assert ran.returncode == 0, ran.stderr
    assert "1 of 4 architectures have been tried" in ran.stdout
    assert not page.exists()
    record = json.loads((records / "transformers" / "fine.json").read_text())
    assert record["trace"]["influencing"] == 2
    assert record["trace"]["lost"] == []
    assert record["dependency"]["ok"]

    # long enough for what ends, on any machine; what hangs ends with it
    ran = zoo(tmp_path, "--resume", "--jobs", "3", "--seconds", "15", "-o", page)
    assert ran.returncode == 0, ran.stderr
    assert "fine" not in ran.stderr  # it has been tried
    text = page.read_text()
    assert "| transformers | 1 of 3 | 1 of 1 | 1 of 1 | 1 of 1 | 1 of 1 |" in text
    assert "| edge cases | 0 of 1 | 0 of 0 |" in text
    assert "| fine | 5 | 6 |" in text
    assert "- `crashes`: the process died (signal 9)." in text, text
    assert "- `hangs`: not done within 15 s." in text
    assert "- `refused`: no rule represents: `aten.geqrf`" in text


def test_what_is_missing_is_said_in_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DNN2GRAPH_ZOO", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["zoo"])
    assert main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"zoo: architectures.py of the zoo is not in '{tmp_path}': set DNN2GRAPH_ZOO")


# --- the page --------------------------------------------------------------------------------------------------------

TRACED = {"nodes": 12_345, "edges": 6, "seconds": 0.25, "whole": True, "folded": False, "parameters": 3,
          "influencing": 2, "lost": ["head.bias"], "notes": ["a choice"]}  # fmt: skip
RECORD = {
    "trace": TRACED,
    "value": {"ok": False, "error": 0.25, "layer": "head", "size": "32 × 32", "edges": 9, "double": False},
    "aggregation": {"skipped": "7 weights"},
    "dependency": {"ok": True, "pairs": 4, "missing": 0, "spurious": 2, "unrepresented": [], "examples": [],
                   "draws": 3, "unchecked": [], "size": None},
}  # fmt: skip


def test_what_an_oracle_finds_wrong_stands_out_and_is_explained():
    page = document({("timm", "net"): RECORD})
    assert "| timm | 1 of 1 | 0 of 1 | 0 of 1 | 0 of 0 | 1 of 1 |" in page
    row = "| net | 12,345 | 6 | 0.2 | 1 of 2 | **2e-01** |  | 2 of 4 too many | at 32 × 32, one example, choices |"
    assert row in page
    assert "- `net`, parameters: `head.bias` influence the output and are absent." in page
    assert "- `net`, value: relative error 2.5e-01, first in layer `head`." in page
    assert "parameters 1 of 2" in verdict(RECORD)


def test_refused_operations_are_named_once_with_their_reason():
    model = Net(lambda self, x: torch.geqrf(torch.geqrf(self.a(x)).a).a, a=nn.Linear(3, 4))
    with pytest.raises(dg.UnsupportedOperation) as caught:
        dg.from_torch(model, torch.ones(1, 3))
    said = reason(caught.value)
    assert said.count("`aten.geqrf`") == 1
    assert said.startswith("no rule represents: ")


def test_a_long_message_of_a_model_is_cut_at_a_word():
    said = reason(ValueError("word " * 200))
    assert said.startswith("ValueError: word word")
    assert said.endswith("word …")
    assert len(said) < 270
