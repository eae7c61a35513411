"""``dnn2graph plot``, and ``dnn2graph export`` of a training run."""

from __future__ import annotations

import json
import shlex
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
import torch
from PIL import Image

from dnn2graph.dynamics import Recorder
from dnn2graph.load import load
from dnn2graph.plot.animation import WRITERS
from dnn2graph.plot.style import SUFFIXES
from tests.commands import enter_folder, fails, run

commands = import_module("dnn2graph.cli.plot")  # the package's attribute of that name is the command
CNN = "data/digits_cnn.pt2"
RUN = "runs/digits"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder to work in, with the repository's data and a recorded run."""
    enter_folder(tmp_path, monkeypatch, "data")
    record("digits")
    return tmp_path


def record(run, steps=(0, 5, 10), folder=RUN):
    """Record a run of the digits network, whose weights grow."""
    graph = load(CNN)
    recorder = Recorder(graph, folder, measures=("strength", "fluctuation"), run=run)
    for step in steps:
        weights = {
            name: value * (1 + step) if value.is_floating_point() else value for name, value in graph.weights.items()
        }
        recorder.record(weights, step, {"accuracy": step / 20})


def created(folder):
    return {path.name for path in folder.iterdir()} - {"data", "runs"}


# ---------------------------------------------------------------------- plot run


@pytest.mark.parametrize("command", [commands.plot, commands.plot_run])
def test_every_example_of_a_help_text_works_as_it_is_written(command):
    for line in command.epilog.split("Example:")[1].strip().splitlines():
        program, *args = shlex.split(line)
        assert program == "dnn2graph"
        result = run(*args)
        assert result.exit_code == 0, result.output


def test_the_choices_on_the_command_line_are_those_of_the_library():
    assert (SUFFIXES, tuple(WRITERS)) == (commands.FIGURES, commands.FILMS)


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".SVG", b"<?xml"), (".pdf", b"%PDF")])
def test_a_figure_is_drawn(suffix, start, folder):
    result = run("plot", "run", RUN, "-o", f"digits{suffix}")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"wrote digits{suffix}\n"
    assert result.stderr == ""
    assert created(folder) == {f"digits{suffix}"}
    assert Path(f"digits{suffix}").read_bytes().startswith(start)


def test_what_is_drawn_can_be_chosen():
    record("other")
    result = run(
        "plot", "run", RUN, "-o", "x.svg", "--measures", "accuracy", "--run-name", "other", "--title", "A $1 run"
    )
    assert result.exit_code == 0, result.output
    content = Path("x.svg").read_text()
    assert "A $1 run" in content
    assert "Accuracy" in content
    assert "Fluctuation" not in content
    assert run("plot", "run", RUN, "-o", "x.svg", "--run-name", "other", "--run-name", "digits").exit_code == 0
    assert "2 training runs" in Path("x.svg").read_text()


def test_a_film_is_drawn(folder):
    result = run("plot", "run", RUN, "-o", "digits.gif", "--seconds", "0.6")
    assert result.exit_code == 0, result.output
    assert created(folder) == {"digits.gif"}
    with Image.open("digits.gif") as film:
        assert film.format == "GIF"
        assert film.is_animated


def test_a_snapshot_that_is_damaged_is_named_and_the_others_are_drawn():
    damaged = sorted(path for path in Path(RUN).rglob("*.parquet"))[1]
    damaged.write_bytes(b"not parquet")
    result = run("plot", "run", RUN, "-o", "digits.svg")
    assert result.exit_code == 0, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("dnn2graph: ")
    assert damaged.name in line


def test_what_cannot_be_drawn_is_one_line(folder):
    record("other")
    fails(run("plot", "run", "nowhere", "-o", "x.png"), "'nowhere' does not exist")
    fails(run("plot", "run", RUN, "-o", "x.jpeg"), "x.jpeg", ".png, .svg, .pdf, .gif, .mp4")
    fails(run("plot", "run", RUN, "-o", "x.png", "--measures", "loss"), "'loss'", "accuracy")
    fails(run("plot", "run", RUN, "-o", "x.png", "--run-name", "third"), "'third'", "'other'")
    fails(run("plot", "run", RUN, "-o", "x.gif"), "2 runs (digits, other)", "--run-name")
    fails(run("plot", "run", RUN, "-o", "x.gif", "--measures", "strength,accuracy"), "one measure, not 2")
    fails(
        run("plot", "run", RUN, "-o", "x.gif", "--run-name", "other", "--measure", "accuracy"), "'accuracy'", "strength"
    )
    fails(run("plot", "run", RUN, "-o", "missing/x.png"), "missing/x.png", "create the folder first")
    with matplotlib.rc_context({"animation.ffmpeg_path": "no-such-program"}):
        fails(run("plot", "run", RUN, "-o", "x.mp4", "--run-name", "other"), "install it, or write .gif")
    assert created(folder) == set()


@pytest.mark.parametrize("args", [[], [RUN], [RUN, "-o", "x.gif", "--seconds", "0"]])
def test_options_that_make_no_sense_end_with_exit_code_2(args):
    result = run("plot", "run", *args)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


@pytest.mark.parametrize(
    "args", [["--debug", "plot", "run"], ["plot", "--debug", "run"], ["plot", "run", "--debug"]], ids=" ".join
)
def test_debug_shows_the_traceback(args):
    result = run(*args, "nowhere", "-o", "x.png")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr


def test_a_film_that_is_interrupted_is_silent_and_leaves_nothing(folder, monkeypatch):
    @contextmanager
    def interrupted(what):
        def progress(done, total):
            raise KeyboardInterrupt

        yield progress

    monkeypatch.setattr(commands, "progress_bar", interrupted)
    result = run("plot", "run", RUN, "-o", "digits.gif")
    assert result.exit_code == 130
    assert result.output == ""
    assert created(folder) == set()


# ---------------------------------------------------------------------- export --run


def attributes(path):
    """Count the values of a file with and without a time, by attribute."""
    found = {}
    for value in ElementTree.parse(path).iter("{http://gexf.net/1.3}attvalue"):
        key = value.get("for"), value.get("timestamp")
        found[key] = found.get(key, 0) + 1
    return found


def test_a_network_is_exported_as_gexf(folder):
    result = run("export", CNN, "-o", "digits.gexf", "--json")
    expected = {"path": "digits.gexf", "nodes": 83, "edges": 600, "bytes": Path("digits.gexf").stat().st_size}
    assert json.loads(result.stdout) == expected
    assert attributes("digits.gexf")["strength", None] == 83
    assert run("export", CNN, "-o", "digits.gexf.gz").exit_code == 0
    assert created(folder) == {"digits.gexf", "digits.gexf.gz"}


def test_a_run_is_exported_as_a_graph_that_changes():
    result = run("export", CNN, "--run", RUN, "-o", "run.gexf")
    assert result.exit_code == 0, result.output
    assert "wrote run.gexf: 83 nodes at 3 steps, 600 edges" in result.stdout
    found = attributes("run.gexf")
    assert {time: count for (name, time), count in found.items() if name == "strength"} == {
        "0.0": 83, "5.0": 83, "10.0": 83,
    }  # fmt: skip
    found = json.loads(run("export", CNN, "--run", RUN, "-o", "flat.gexf", "--flat", "--json").stdout)
    assert found["steps"] == 3
    assert attributes("flat.gexf")["strength_10", None] == 83


def test_one_of_several_runs_is_exported():
    record("other", steps=(1, 2))
    fails(run("export", CNN, "--run", RUN, "-o", "run.gexf"), "2 runs (digits, other)", "--run-name")
    assert run("export", CNN, "--run", RUN, "--run-name", "other", "-o", "run.gexf").exit_code == 0
    assert {time for _, time in attributes("run.gexf")} == {None, "1.0", "2.0"}


def test_a_run_that_cannot_be_exported_is_one_line(folder):
    fails(run("export", CNN, "--run", RUN, "-o", "run.graphml"), "GraphML knows no time", ".gexf")
    fails(run("export", CNN, "--flat", "-o", "run.gexf"), "--flat", "--run")
    fails(run("export", CNN, "--run-name", "a", "-o", "run.gexf"), "--run-name", "--run")
    fails(run("export", CNN, "--run", "nowhere", "-o", "run.gexf"), "'nowhere' does not exist")
    fails(run("export", "data/digits_mlp.pt", "--run", RUN, "-o", "run.gexf"), "83 nodes", "122")
    fails(run("export", CNN, "-o", "run.pajek"), "run.pajek", ".graphml, .graphml.gz, .gexf, .gexf.gz")
    torch.save({"a.weight": torch.tensor([[1.0, torch.nan]])}, "nan.pt")
    fails(run("export", "nan.pt", "-o", "nan.gexf"), "layer 'a' has 1 non-finite")
    assert created(folder) == {"nan.pt"}
