"""``dnn2graph record``: checkpoints become a recorded run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.cli.record import MEASURES as NAMES
from dnn2graph.datasets import load
from dnn2graph.dynamics import MEASURES, read_run, recorded_steps
from examples.train_digits import digits_cnn, digits_mlp
from tests.commands import enter_folder, fails, runner_of
from tests.strategies import fill

run = runner_of("record")
CNN = ["--arch", "examples.train_digits:digits_cnn", "--input-shape", "1,8,8"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder to work in, from which data and examples are found as from the repository."""
    return enter_folder(tmp_path, monkeypatch, "data", "examples", "tests")


def checkpoints(build, *names):
    """Save a model with other weights under each name; give the state dicts."""
    saved = {}
    for seed, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        saved[name] = fill(build(), seed).state_dict()
        torch.save(saved[name], name)
    return saved


def strengths(folder, step):
    table = read_run(folder, measures="strength")
    return table.loc[table["step"] == step, "value"].to_numpy()


@pytest.mark.parametrize("granularity", ["channel", "position"])
def test_checkpoints_are_recorded_with_the_steps_of_their_names(granularity):
    saved = checkpoints(digits_cnn, "epoch_9.pt", "epoch_10.pt", "epoch_100.pt")
    result = run(*saved, "-o", "run", "--run-name", "sgd", *CNN, "--granularity", granularity)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "recorded 3 snapshots (steps 9 to 100) of run 'sgd' in run\n"
    table = read_run("run", "sgd")
    assert set(table["measure"]) == {"strength", "fluctuation"}
    for step, weights in zip((9, 10, 100), saved.values(), strict=True):
        model = digits_cnn()
        model.load_state_dict(weights)
        graph = dg.from_torch(model, torch.zeros(1, 1, 8, 8), granularity=granularity)
        np.testing.assert_allclose(strengths("run", step), dg.strength(graph), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["checkpoint-500/model.pt", "checkpoint-1000/model.pt"], [500, 1000]),
        (["epoch=1-step=20.ckpt", "epoch=2-step=40.ckpt"], [20, 40]),
        (["v1_epoch3_lr0.pt", "v1_epoch4_lr1.pt"], [0, 1]),
        (["model_7.pt"], [7]),
    ],
)
def test_the_last_number_of_a_name_or_of_its_folder_is_the_step(names, steps):
    result = run(*checkpoints(digits_mlp, *names), "-o", "run")
    assert (result.exit_code, result.stderr) == (0, "")
    assert recorded_steps("run").tolist() == steps


@pytest.mark.parametrize("names", [["epoch10_b2.pt", "epoch9_b2.pt"], ["last.pt", "epoch1.pt"], ["last.pt"]])
def test_files_whose_names_tell_no_step_are_counted_in_natural_order(names):
    saved = checkpoints(digits_mlp, *names)
    result = run(*names, "-o", "run", "--json")
    assert "the names tell no step of each file" in result.stderr
    in_order = names[::-1]
    assert json.loads(result.stdout)["snapshots"] == [
        {"file": name, "step": step} for step, name in enumerate(in_order)
    ]
    for step, name in enumerate(in_order):
        model = digits_mlp()
        model.load_state_dict(saved[name])
        np.testing.assert_array_equal(strengths("run", step), dg.strength(dg.load(name)))


def test_steps_may_be_given():
    result = run(*checkpoints(digits_mlp, "b.pt", "a.pt"), "-o", "run", "--steps", "30,4", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [(each["file"], each["step"]) for each in json.loads(result.stdout)["snapshots"]] == [
        ("b.pt", 30), ("a.pt", 4)
    ]  # fmt: skip
    fails(run("a.pt", "b.pt", "-o", "run", "--steps", "1"), "--steps has 1 numbers for 2 files")
    fails(run("a.pt", "b.pt", "-o", "run", "--steps", "1,1"), "a different number")
    assert "0,10,20" in run("a.pt", "-o", "run", "--steps", "one").stderr


def test_measures_and_kinds_may_be_chosen():
    assert tuple(MEASURES) == NAMES
    names = checkpoints(digits_mlp, "1.pt")
    assert run(*names, "-o", "run", "--measures", "link_weights,strength_abs", "--kinds", "weight").exit_code == 0
    assert {"link_weight_skewness", "strength_abs"} < set(read_run("run")["measure"])
    assert "choose from strength, " in run(*names, "-o", "run", "--measures", "mean").stderr
    fails(run(*names, "-o", "run"), "kinds ['weight'] there, all here")


def test_accuracy_is_recorded_on_test_images():
    digits = load("digits", split="test")
    models = {"digits_1.pt": digits_cnn(), "digits_2.pt": digits_cnn()}
    models["digits_2.pt"].load_state_dict(torch.load("data/digits_cnn.pt"))
    for name, model in models.items():
        torch.save(model.state_dict(), name)
    result = run(*models, "-o", "run", *CNN, "--images", "digits", "--json")
    assert result.exit_code == 0, result.output
    for snapshot, model in zip(json.loads(result.stdout)["snapshots"], models.values(), strict=True):
        guessed = model.eval()(torch.from_numpy(digits.images)).argmax(1).numpy()
        assert snapshot["accuracy"] == (guessed == digits.labels).mean()
    assert read_run("run", measures="accuracy")["value"].tolist() == [
        each["accuracy"] for each in json.loads(result.stdout)["snapshots"]
    ]
    assert snapshot["accuracy"] > 0.95  # of the trained one, whose state dict is the last
    program = run("data/digits_cnn.pt2", "-o", "program", "--images", "digits", "--samples", 40, "--json")
    (of_program,) = json.loads(program.stdout)["snapshots"]
    guessed = model(torch.from_numpy(digits.images[:40])).argmax(1).numpy()
    assert of_program["accuracy"] == (guessed == digits.labels[:40]).mean()


def test_accuracy_needs_a_model_and_scores(folder):
    fails(run("data/digits_mlp.pt", "-o", "run", "--images", "digits"), "without a model", "--arch")
    (folder / "pairs.py").write_text(
        "import torch\n"
        "class Pairs(torch.nn.Linear):\n"
        "    def __init__(self):\n"
        "        super().__init__(64, 10)\n"
        "    def forward(self, x):\n"
        "        return super().forward(x)[:, None]\n"
    )
    torch.save(nn.Linear(64, 10).state_dict(), "pairs.pt")
    pairs = ["pairs.pt", "--arch", "pairs:Pairs", "--steps", 0]
    fails(run(*pairs, "-o", "run", "--images", "digits"), "no table of class scores")


def test_files_of_another_network_are_refused():
    checkpoints(digits_mlp, "a_1.pt")
    longer = nn.Sequential(*digits_mlp(), nn.ReLU(), nn.Linear(10, 10))
    torch.save(longer.state_dict(), "a_2.pt")
    torch.save(nn.Sequential(nn.Linear(64, 5)).state_dict(), "a_3.pt")
    fails(run("a_1.pt", "a_2.pt", "-o", "run"), "'a_2.pt' is of another network than 'a_1.pt'",
          "'6.bias' is (10,) instead of missing")  # fmt: skip
    mlp = ["--arch", "examples.train_digits:digits_mlp"]
    fails(run("a_1.pt", "a_2.pt", "-o", "run", *mlp), "'a_2.pt' does not fit the architecture")
    fails(run("a_3.pt", "-o", "run"), "another graph", "'0' of 5 nodes here")
    fails(run("a_1.pt", "a_4.pt", "-o", "run"), "'a_4.pt' does not exist")
    assert recorded_steps("run").tolist() == [1]  # what came before the file that was refused


def test_checkpoints_of_a_run_that_diverged_are_recorded_with_a_warning():
    checkpoints(digits_mlp, "1.pt")
    broken = fill(digits_mlp(), 0).state_dict()
    broken["0.weight"][3, 4] = torch.nan
    torch.save(broken, "2.pt")
    result = run("1.pt", "2.pt", "-o", "run")
    assert result.exit_code == 0, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("dnn2graph: step 2 of run 'run': layer '0' has 1 non-finite weight")
    assert not np.isnan(strengths("run", 1)).any()
    assert np.isnan(strengths("run", 2)).all()


def test_files_and_a_folder_must_be_named():
    assert run("-o", "run").exit_code == 2
    assert run("data/digits_mlp.pt").exit_code == 2
