"""Calling the command line in tests: in this process, in a folder of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from click.testing import CliRunner

from dnn2graph.cli import main

REPOSITORY = Path(__file__).parents[1]


def run(*args):
    """Call the command line."""
    return CliRunner().invoke(main, [str(arg) for arg in args])


def runner_of(command):
    """Give a function that calls one of the commands."""
    return partial(run, command)


def fails(result, *parts):
    """Check that a command ended with one line that says why, and exit code 2; give that line."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("dnn2graph: ")
    for part in parts:
        assert part in line
    return line


def enter_folder(folder, monkeypatch, *names):
    """Work in a folder, from which parts of the repository are found as from the repository."""
    for name in names:
        (folder / name).symlink_to(REPOSITORY / name)
    monkeypatch.chdir(folder)
    return folder
