"""The command line: what it prints, its exit codes, and that whatever goes wrong is one line and leaves nothing."""

from __future__ import annotations

import gzip
import io
import json
import os
import shlex
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from dnn2graph import fluctuation, layer_table, strength
from dnn2graph.cli import main, options
from dnn2graph.graph import GRANULARITIES
from dnn2graph.links import KINDS
from dnn2graph.load import load
from dnn2graph.weights import AGGREGATES
from tests.checkpoints import checkpoint_path, require
from tests.commands import REPOSITORY, enter_folder, fails, run

CNN = "data/digits_cnn.pt2"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder to work in, from which data and examples are found as from the repository."""
    return enter_folder(tmp_path, monkeypatch, "data", "examples", "tests")


def python_m(*args, **options):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "dnn2graph", *args], env=environment, text=True, **options)


def created(folder):
    return {path.name for path in folder.iterdir()} - {"data", "examples", "tests"}


# --- help ------------------------------------------------------------------------------------------------------------


def examples():
    for command in (main, *main.commands.values()):
        for line in command.epilog.split("Example:")[1].strip().splitlines():
            yield pytest.param(command.name, line.strip(), id=line.strip())


@pytest.mark.parametrize(("command", "line"), list(examples()))
def test_every_example_of_a_help_text_works_as_it_is_written(command, line):
    help_text = run("--help") if command == "main" else run(command, "--help")
    assert help_text.exit_code == 0
    assert line in help_text.stdout
    for call in line.split(" && "):
        program, *args = shlex.split(call)
        assert program == "dnn2graph"
        result = run(*args)
        assert result.exit_code == 0, result.output


def test_the_choices_on_the_command_line_are_those_of_the_library():
    assert options.GRANULARITIES == GRANULARITIES
    assert options.AGGREGATES == AGGREGATES
    assert options.KINDS == KINDS


def test_help_waits_for_none_of_the_libraries_that_commands_need():
    heavy = ("torch", "numpy", "pandas", "rich", "igraph", "networkx", "matplotlib", "sklearn", "dnn2graph.load")
    code = f"import dnn2graph.cli, sys; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY, env=dict(os.environ)
    )
    assert result.stdout.strip() == "[]"


def test_the_names_of_the_package_wait_for_none_of_the_libraries_that_single_functions_need():
    heavy = {"pandas", "pyarrow", "igraph", "networkx", "matplotlib", "numba", "sklearn", "scipy.sparse", "scipy.stats"}
    code = f"""
import sys, torch
before = set(sys.modules)
from dnn2graph import *
print({heavy} & set(sys.modules) - before)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["audit", "coverage", "load", "profile", "report", "sparsify", "verify"])
def test_a_function_keeps_its_name_beside_the_module_that_it_lives_in(name):
    code = f"import dnn2graph.{name}, dnn2graph as dg; print(dg.{name}.__name__, callable(dg.{name}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert result.stdout.split() == [name, "True"]


# --- inspect ---------------------------------------------------------------------------------------------------------


def test_inspect_shows_layers_links_sizes_and_parameters():
    shown = run("inspect", CNN).stdout
    for part in ("conv1", "relu", "classifier", "83 nodes, 600 edges", "3,778 of 3,778 parameters", "graphml"):
        assert part in shown


def test_inspect_prints_json_for_programs():
    found = json.loads(run("inspect", CNN, "--json").stdout)
    assert (found["file"], found["nodes"], found["edges"]) == (CNN, 83, 600)
    assert found["parameters"] == {"represented": 3778, "total": 3778, "missing": []}
    assert [layer["name"] for layer in found["layers"]][:2] == ["input", "conv1"]
    first = {"sources": ["input"], "target": "conv1", "kind": "weight", "kernel": [8, 1], "edges": 8}
    assert found["links"][0] == first
    assert set(found["bytes"]) >= {"csr", "igraph", "networkx", "graphml"}


def test_inspect_takes_an_architecture_and_a_shape():
    one = run("inspect", "data/digits_cnn.pt", "--arch", "examples.train_digits:digits_cnn", "--input-shape", "1,8,8")
    assert one.stdout == run("inspect", CNN).stdout


def test_inspect_takes_the_options_of_tracing():
    found = json.loads(run("inspect", CNN, "--granularity", "position", "--no-fold-norm", "--json").stdout)
    assert found["granularity"] == "position"
    assert [layer["name"] for layer in found["layers"]][:3] == ["input", "conv1", "norm1"]
    fewer = json.loads(run("inspect", CNN, "--kinds", "weight,pool", "--json").stdout)
    assert {links["kind"] for links in fewer["links"]} == {"weight", "pool"}


def test_inspect_names_parameters_that_the_graph_does_not_hold(folder):
    (folder / "partly.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.used, self.idle = torch.nn.Linear(3, 2), torch.nn.Linear(3, 4)\n"
        "    def forward(self, x):\n"
        "        return self.used(x)\n"
    )
    state = {"used.weight": torch.ones(2, 3), "used.bias": torch.ones(2)}
    torch.save(state | {"idle.weight": torch.ones(4, 3), "idle.bias": torch.ones(4)}, "partly.pt")
    shown = run("inspect", "partly.pt", "--arch", "partly:Net").stdout
    assert "8 of 24 parameters represented; not: idle.weight, idle.bias" in shown


def test_names_are_printed_as_they_are_but_control_characters_are_shown():
    torch.save({"[red]<&>:smile:\x1b[31m\x07.weight": torch.ones(2, 3)}, "hostile.pt")
    shown = run("inspect", "hostile.pt").stdout
    assert r"[red]<&>:smile:\x1b[31m\x07" in shown
    assert "\x1b" not in shown
    assert run("export", "hostile.pt", "-o", "hostile.graphml").exit_code == 0


# --- measure ---------------------------------------------------------------------------------------------------------


def test_measure_shows_what_the_library_measures():
    graph = load(CNN)
    found = json.loads(run("measure", CNN, "--json").stdout)
    measured = [layer["fluctuation"] for layer in found["layers"]]
    assert measured == pytest.approx(fluctuation(graph).tolist(), rel=1e-12)
    assert found["layers"][0]["strength_skewness"] is None  # of one node: not defined
    assert [row["target"] for row in found["links"]] == [links.target.name for links in graph.links]
    shown = run("measure", CNN).stdout
    assert f"{measured[1]:.4g}" in shown


def test_measure_writes_tables(folder):
    result = run("measure", CNN, "--nodes", "nodes.csv", "--layers", "layers.csv.gz", "--links", "links.csv")
    assert result.exit_code == 0, result.output
    assert created(folder) == {"nodes.csv", "layers.csv.gz", "links.csv"}
    graph = load(CNN)
    nodes = pd.read_csv("nodes.csv")
    assert nodes["node"].tolist() == list(range(83))
    assert nodes["strength"].to_numpy() == pytest.approx(strength(graph), rel=1e-12, abs=1e-12)
    layers = pd.read_csv(io.BytesIO(gzip.decompress(Path("layers.csv.gz").read_bytes())), keep_default_na=False)
    assert layers["layer"].tolist() == layer_table(graph)["layer"].tolist()
    assert pd.read_csv("links.csv")["count"].sum() == graph.number_of_edges()


def test_measure_follows_the_convention_in_every_table():
    run("measure", "data/digits_mlp.pt", "--convention", "reference", "--nodes", "nodes.csv")
    expected = strength(load("data/digits_mlp.pt"), convention="reference")
    assert pd.read_csv("nodes.csv")["strength"].to_numpy() == pytest.approx(expected, rel=1e-12, abs=1e-12)


# --- verify ----------------------------------------------------------------------------------------------------------


def test_verify_says_yes_with_exit_code_0():
    result = run("verify", CNN, "--samples", 3, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["ok"] is True
    assert found["samples"] == 3
    assert found["first_divergent_layer"] is None
    assert found["max_rel_error"] <= 1e-5


def test_verify_says_no_with_exit_code_1():
    result = run("verify", CNN, "--tolerance", 0)
    assert result.exit_code == 1
    assert "NOT" in result.stdout
    assert result.stderr == ""


def test_verify_takes_the_same_inputs_for_the_same_seed():
    outputs = {seed: [run("verify", CNN, "--seed", seed, "--json").stdout for _ in range(2)] for seed in (0, 1)}
    assert outputs[0][0] == outputs[0][1]
    assert outputs[0][0] != outputs[1][0]


@pytest.mark.parametrize("granularity", ["channel", "position"])
def test_verify_compares_on_images(granularity):
    result = run("verify", CNN, "--images", "digits", "--samples", 5, "--mean", "0.3", "--std", "0.4",
                 "--granularity", granularity)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "5 sample" in result.stdout


def test_verify_compares_a_stored_network_on_the_images_that_it_was_trained_on():
    require("resnet20")
    args = ["--arch", "tests.checkpoints:resnet20", "--input-shape", "3,32,32", "--images", "cifar10", "--samples", 4]
    args += ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
    args += ["--data", checkpoint_path("resnet20").parents[1] / "data"]
    result = run("verify", checkpoint_path("resnet20"), *args)
    assert result.exit_code == 0, result.output


def test_verify_needs_a_model():
    fails(run("verify", "data/digits_mlp.pt"), "'data/digits_mlp.pt' is a state dict without a model", "--arch")
    result = run("verify", "data/digits_mlp.pt", "--arch", "examples.train_digits:digits_mlp")
    assert result.exit_code == 0, result.output


def test_verify_tells_images_that_do_not_fit(folder):
    mlp = ["verify", "data/digits_mlp.pt2", "--images"]
    fails(run(*mlp, "digits", "--mean", "1,2"), "--mean has 2 values for 1 channels")
    fails(run(*mlp, "digits", "--std", "0"), "--std is zero")
    (folder / "cifar10").mkdir()
    (folder / "cifar10" / "cifar10_test_4000.npz").write_bytes(b"no archive")
    fails(run("verify", CNN, "--images", "cifar10", "--data", folder), "cifar10_test_4000.npz", "intact copy")


def test_verify_tells_images_of_another_size():
    require("resnet20")
    data = checkpoint_path("resnet20").parents[1] / "data"
    fails(run("verify", CNN, "--images", "cifar10", "--data", data), "(3, 32, 32), the model takes (1, 8, 8)")


# --- export ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits.graphml", "digits.graphml.gz"])
def test_export_writes_what_it_says(folder, name):
    igraph = pytest.importorskip("igraph")
    result = run("export", CNN, "-o", name, "--weight", "signed", "--json")
    found = json.loads(result.stdout)
    assert found == {"path": name, "nodes": 83, "edges": 600, "bytes": Path(name).stat().st_size}
    assert result.stderr == ""
    assert created(folder) == {name}
    content = Path(name).read_bytes()
    Path("plain.graphml").write_bytes(gzip.decompress(content) if name.endswith(".gz") else content)
    read = igraph.Graph.Read_GraphML("plain.graphml")
    assert (read.vcount(), read.ecount()) == (83, 600)
    assert read.strength(weights="weight", mode="in") == pytest.approx(strength(load(CNN), "in").tolist(), rel=1e-6)
    assert f"wrote {name}: 83 nodes, 600 edges" in run("export", CNN, "-o", name).stdout


@pytest.mark.parametrize("path", ["missing/digits.graphml", "data.graphml", "file.txt/digits.graphml"])
def test_export_to_an_unwritable_path_leaves_nothing(folder, path):
    (folder / "data.graphml").mkdir()
    (folder / "file.txt").write_text("kept")
    before = created(folder)
    fails(run("export", CNN, "-o", path), path)
    assert created(folder) == before
    assert (folder / "file.txt").read_text() == "kept"


def test_export_refuses_formats_that_it_does_not_write(folder):
    fails(run("export", CNN, "-o", "digits.pajek"), "digits.pajek", ".graphml")
    assert created(folder) == set()


def test_export_that_fails_midway_leaves_the_old_file(folder):
    (folder / "old.graphml").write_text("kept")
    torch.save({"a.weight": torch.tensor([[1.0, torch.nan]])}, "nan.pt")
    fails(run("export", "nan.pt", "-o", "old.graphml"), "layer 'a' has 1 non-finite")
    assert (folder / "old.graphml").read_text() == "kept"
    assert created(folder) == {"old.graphml", "nan.pt"}


def test_an_export_that_is_interrupted_is_silent_and_leaves_nothing(folder, monkeypatch):
    @contextmanager
    def interrupted(what):
        def progress(done, total):
            assert [path.suffix for path in folder.glob(".*")] == [".tmp"]  # under way
            raise KeyboardInterrupt

        yield progress

    monkeypatch.setattr(sys.modules["dnn2graph.cli.export"], "progress_bar", interrupted)
    result = run("export", CNN, "-o", "digits.graphml")
    assert result.exit_code == 130
    assert result.output == ""
    assert created(folder) == set()


# --- bad input -------------------------------------------------------------------------------------------------------

COMMANDS = [["inspect"], ["measure"], ["verify"], ["export", "-o", "out.graphml"]]
commands = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])


class RunsCode:
    def __reduce__(self):
        return os.mkdir, ("code-ran",)


@commands
def test_files_that_cannot_be_read_are_one_line(folder, command):
    torch.save(RunsCode(), "evil.pt")
    for name in ("digits_cnn.pt", "digits_cnn.pt2"):
        content = (REPOSITORY / "data" / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
    (folder / "cut.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    for name in ("missing.pt", "evil.pt", "digits_cnn.pt", "digits_cnn.pt2", "cut.safetensors", "net.onnx", "net.h5"):
        fails(run(*command, name), name)
    assert created(folder) == {"evil.pt", "digits_cnn.pt", "digits_cnn.pt2", "cut.safetensors"}


@pytest.mark.parametrize("command", COMMANDS[1:], ids=lambda command: command[0])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_one_line(folder, command, value):
    model = nn.Linear(8, 8)
    with torch.no_grad():
        model.weight[1, 2] = value
    torch.save(model.state_dict(), "bad.pt")
    fails(run(*command, "bad.pt", "--arch", "torch.nn:Identity"), "bad.pt")
    (folder / "plain.py").write_text("import torch\ndef net():\n    return torch.nn.Linear(8, 8)\n")
    fails(run(*command, "bad.pt", "--arch", "plain:net"), "1 non-finite weight", "index 10")
    assert "out.graphml" not in created(folder)


@commands
def test_an_example_that_does_not_fit_is_one_line(folder, command):
    cnn = ["data/digits_cnn.pt", "--arch", "examples.train_digits:digits_cnn"]
    fails(run(*command, *cnn), "--input-shape")
    fails(run(*command, *cnn, "--input-shape", "3,8,8"), "(1, 3, 8, 8)")
    fails(run(*command, "data/digits_mlp.pt", "--input-shape", "64"), "--arch")
    assert created(folder) == set()


@commands
def test_a_model_that_raises_is_one_line(folder, command):
    (folder / "raising.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self):\n        super().__init__(3, 2)\n"
        "    def forward(self, x):\n        raise ValueError('two\\nlines')\n"
    )
    torch.save(nn.Linear(3, 2).state_dict(), "raising.pt")
    fails(run(*command, "raising.pt", "--arch", "raising:Net"), "raised ValueError", "two lines")
    assert created(folder) - {"__pycache__"} == {"raising.py", "raising.pt"}


def test_unsupported_operations_have_a_line_each(folder):
    (folder / "algebra.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self):\n        super().__init__(3, 2)\n"
        "    def forward(self, x):\n        return torch.geqrf(torch.linalg.lu_factor(super().forward(x)).LU).a\n"
    )
    torch.save(nn.Linear(3, 2).state_dict(), "algebra.pt")
    result = run("inspect", "algebra.pt", "--arch", "algebra:Net")
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0].startswith("dnn2graph: 2 operation(s)")
    named = [line.split(": ")[1].split(" on ")[0] for line in lines[1:3]]
    assert named == ["aten.linalg_lu_factor_ex.default", "aten.geqrf.default"]


@pytest.mark.parametrize(
    "args",
    [
        ["inspect"],
        ["inspect", CNN, "--input-shape", "1,x,8"],
        ["inspect", CNN, "--input-shape", "0"],
        ["inspect", CNN, "--kinds", "wieght"],
        ["inspect", CNN, "--granularity", "pixel"],
        ["verify", CNN, "--samples", "0"],
        ["verify", CNN, "--mean", "a"],
        ["export", CNN],
        ["unknown"],
    ],
)
def test_options_that_make_no_sense_end_with_exit_code_2(args):
    result = run(*args)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("args", [["--debug", "inspect", "missing.pt"], ["inspect", "missing.pt", "--debug"]])
def test_debug_shows_the_traceback(args):
    result = run(*args)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("dnn2graph: 'missing.pt' does not exist")


def test_a_fault_of_the_program_is_called_one(monkeypatch):
    monkeypatch.setattr("dnn2graph.graph.NeuralGraph.estimate", lambda *args: 1 / 0)
    fails(run("inspect", CNN), "fault of dnn2graph", "ZeroDivisionError", "--debug")


# --- as a process ----------------------------------------------------------------------------------------------------


def test_the_package_runs_as_a_module():
    process = python_m("verify", CNN, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = process.communicate()
    assert process.returncode == 0
    assert output.startswith("the graph computes what the model computes")
    assert errors == ""


def test_bad_input_ends_the_process_with_exit_code_2():
    process = python_m("measure", "missing.pt2", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = process.communicate()
    assert (process.returncode, output) == (2, "")
    assert errors == "dnn2graph: 'missing.pt2' does not exist: check the path\n"


@pytest.mark.parametrize("args", [["inspect", CNN], ["measure", CNN, "--json"]])
def test_a_reader_that_goes_away_is_no_error_message(args):
    process = python_m(*args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141
