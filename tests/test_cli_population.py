"""``dnn2graph population``: what it prints, that it goes on where it was stopped, and that mistakes are one line."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest

from dnn2graph.cli.images import NAMES
from dnn2graph.cli.population import ARCHITECTURES, BATCH_ORDERS, INITIALISATIONS, population
from dnn2graph.population import design
from dnn2graph.population.group import Group
from dnn2graph.population.store import Store
from tests.commands import REPOSITORY, enter_folder, fails, runner_of

run = runner_of("population")
TRAIN = ("train", "-o", "all", "--data-set", "digits", "--width", 4, "--networks", 6, "--steps", 20, "--group-size", 3)
GATHER = ("data/digits_cnn.pt", "-o", "all", "--arch", "examples.train_digits:digits_cnn", "--input-shape", "1,8,8")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder to work in, from which data and examples are found as from the repository."""
    monkeypatch.setattr("dnn2graph.population.workers.keep_freed_memory", lambda: None)  # this process is not its own
    return enter_folder(tmp_path, monkeypatch, "data", "examples")


def examples():
    for command in (population, population.commands["train"], population.commands["gather"]):
        for line in command.epilog.split("Example:")[1].strip().splitlines():
            yield pytest.param([] if command is population else [command.name], line.strip(), id=command.name)


@pytest.mark.parametrize(("command", "line"), list(examples()))
def test_every_example_of_a_help_text_works_as_it_is_written(command, line):
    assert line in run(*command, "--help").stdout
    program, group, *args = shlex.split(line)
    assert (program, group) == ("dnn2graph", "population")
    result = run(*args)
    assert result.exit_code == 0, result.output


def test_the_choices_and_defaults_are_those_of_the_library():
    assert design.ARCHITECTURES == ARCHITECTURES
    assert design.INITIALISATIONS == INITIALISATIONS
    assert design.BATCH_ORDERS == BATCH_ORDERS
    assert tuple(design.IMAGE_SHAPES) == NAMES
    assert run("train", "-o", "all", "--data-set", "digits", "--group-size", 64, "--steps", 2).exit_code == 0
    assert Store("all").design == design.Design("digits", steps=2)


def test_help_waits_for_none_of_the_libraries_that_commands_need():
    heavy = {"pandas", "pyarrow", "joblib", "safetensors", "sklearn", "dnn2graph.population.training"}
    code = f"import dnn2graph.cli.population, sys; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert result.stdout.strip() == "[]"


def test_train_trains_what_is_asked_for():
    options = ("--architecture", "cnn", "--width", 2, "--snapshots", 4, "--initialisation", "uniform,truncated")
    more = ("--support", "0.5,5", "--seed", 9, "--batch-size", 50, "--learning-rate", 0.2, "--train-images", 200)
    result = run(*TRAIN, *options, *more, "--batch-order", "common", "--jobs", 1)
    assert result.exit_code == 0, result.output
    assert Store("all").design == design.Design(
        "digits",
        "cnn",
        2,
        6,
        20,
        (0, 1, 4, 20),
        initialisations=("uniform", "truncated"),
        supports=(0.5, 5.0),
        seed=9,
        batch_size=50,
        learning_rate=0.2,
        train_images=200,
        batch_order="common",
    )


def test_train_says_how_accurate_the_networks_are_at_the_end():
    said = run(*TRAIN).stdout
    members = Store("all").members()
    last = members.loc[members["step"] == 20, "accuracy"]
    low, middle, high = last.min(), last.median(), last.max()
    assert said.startswith(f"trained 6 networks, accuracy {low:.3f} to {high:.3f}, median {middle:.3f}, in ")
    found = json.loads(run(*TRAIN, "--json").stdout)
    assert found.pop("seconds") > 0
    assert found == {
        "folder": "all",
        "group_size": 3,
        "networks": 6,
        "diverged": 0,
        "accuracy": {"min": low, "median": middle, "max": high},
    }


def test_an_interrupted_training_is_quiet_and_goes_on_by_the_same_command(monkeypatch):
    learn, calls = Group.learn, []

    def interrupted(group, *args):
        calls.append(args)
        if len(calls) == 30:  # of 40
            raise KeyboardInterrupt
        learn(group, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Group, "learn", interrupted)
        result = run(*TRAIN)
        assert (result.exit_code, result.output) == (130, "")
        result = run(*TRAIN)
    assert result.exit_code == 0
    assert 30 < len(calls) < 60  # the first group was not trained again
    assert len(Store("all").stacks()) == 2 * 12


def test_mistakes_are_one_line(folder):
    fails(run(*TRAIN, "--learning-rate", "nan"), "learning_rate=nan must be positive")
    fails(run(*TRAIN, "--batch-size", 5000), "batch_size=5000 is more than the 1438 images")
    fails(run(*TRAIN, "--jobs", 0), "jobs=0 would train nothing")
    fails(run(*TRAIN, "--data-set", "mnist", "--data", "nowhere"), "nowhere")
    assert not (folder / "all").exists()
    run(*TRAIN)
    fails(run(*TRAIN, "--width", 5), "'all' holds a population of another design (width is 4, not 5)")
    (folder / "file").write_text("")
    fails(run(*TRAIN, "-o", "file/all"), "cannot create 'file/all'")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--initialisation", "normal,glorot"), "'glorot' is unknown: choose from normal, uniform"),
        (("--group-size", "best"), "'best' is not a valid integer"),
        (("--group-size", 0), "0 is not in the range"),
        (("--snapshots", 1), "1 is not in the range"),
    ],
)
def test_values_that_cannot_be_are_refused_with_the_usage(options, part):
    result = run(*TRAIN, *options)
    assert result.exit_code == 2
    assert part in result.stderr


def test_gather_makes_a_population_and_takes_accuracies_from_a_table(folder):
    assert run("gather", *GATHER).stdout == "gathered 1 checkpoint of 1 network, accuracy unknown: all\n"
    (folder / "table.csv").write_text("checkpoint,accuracy,step\ndigits_cnn.pt,0.975,60\n")
    found = json.loads(run("gather", *GATHER, "-o", "more", "--accuracies", "table.csv", "--json").stdout)
    assert found == {
        "folder": "more",
        "checkpoints": 1,
        "networks": 1,
        "diverged": 0,
        "accuracy": {"min": 0.975, "median": 0.975, "max": 0.975},
    }
    assert Store("more").members()["step"].tolist() == [60]
    fails(run("gather", *GATHER), "'all' holds a population already")
    fails(run("gather", *GATHER, "-o", "new", "--accuracies", "no.csv"), "'no.csv' does not exist")
    assert not (folder / "new").exists()
