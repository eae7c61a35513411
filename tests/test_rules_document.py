"""The page about rules: its example runs, and its table is what the registry holds."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from dnn2graph.trace import document
from dnn2graph.trace.registry import LACKING, RULES
from tests.commands import REPOSITORY

PAGE = REPOSITORY / "docs" / "rules.md"


def test_the_example_of_adding_operations_does_what_it_says(capsys):
    parts = re.findall(r"<!-- example -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(parts) == 4
    before = set(RULES)
    names = {"__name__": "example"}
    try:
        for part in parts:
            exec(compile(part, str(PAGE), "exec"), names)
    finally:
        for operation in set(RULES) - before:
            del RULES[operation]
    assert capsys.readouterr().out.startswith("['input', 'ring', 'last']\n")
    ring = names["graph"].adjacency().toarray()[:4, 4:8].T
    np.testing.assert_array_equal(ring, [[1, 2, 0, -1], [-1, 1, 2, 0], [0, -1, 1, 2], [2, 0, -1, 1]])
    other = names["graph"].with_weights({**names["model"].state_dict(), "weight": torch.tensor([5.0, 0.0, 0.0, 0.0])})
    np.testing.assert_array_equal(other.adjacency().toarray()[:4, 4:8], 5 * np.eye(4))


@pytest.mark.parametrize("name", ["docs/rules.md", "README.md"])
def test_tables_of_rules_are_what_the_registry_holds(name, tmp_path):
    copy = tmp_path / "page.md"
    shutil.copy(REPOSITORY / name, copy)
    if "made by python -m dnn2graph.trace.document" not in copy.read_text():
        pytest.skip(f"{name} holds no such table")
    # In a process of its own: other tests register rules.
    subprocess.run([sys.executable, "-m", "dnn2graph.trace.document", copy], check=True)
    assert copy.read_text() == (REPOSITORY / name).read_text(), (
        f"run python -m dnn2graph.trace.document {name}: rules were added or changed"
    )


def test_rules_are_for_operations_that_torch_has():
    """Earlier versions than the one that the constraints name lack some."""
    newest = {"_fused_rms_norm", "_grouped_mm"}
    assert not LACKING - (newest if torch.__version__ < "2.9" else set())


def test_every_rule_says_what_it_represents():
    for family, rules in document.families().items():
        assert rules, family
    for line in document.rules_table().splitlines()[2:]:
        name, said, operations = (part.strip() for part in line.strip("|").split(" | "))
        assert name
        assert said
        assert operations


def test_tables_are_written_between_their_marks_only():
    begin = document.MARK.format("families")
    text = f"before\n{begin}\n%s\n{document.END}\nbetween <!-- end -->"
    assert document.updated(text % "old") == text % f"\n{document.families_table()}\n"
    assert document.updated("nothing") == "nothing"
