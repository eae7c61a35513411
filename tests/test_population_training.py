"""Populations: networks that are trained together learn as each alone would, and what stops them loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score
from torch import nn

import dnn2graph as dg
from dnn2graph import datasets
from dnn2graph.population import calibration
from dnn2graph.population.batches import Batches, held_out_split, train_split
from dnn2graph.population.design import INITIALISATIONS, Design, snapshot_steps
from dnn2graph.population.gathering import gather
from dnn2graph.population.group import Group
from dnn2graph.population.initialisation import draw, initial_weights
from dnn2graph.population.store import DESCRIPTION, Store
from dnn2graph.population.training import train_population

REPOSITORY = Path(__file__).parents[1]


def small(**changes):
    """Design a population that is trained in a moment."""
    values = {"data_set": "digits", "width": 4, "networks": 5, "steps": 60, "batch_size": 32, "snapshots": (0, 5, 60)}
    return Design(**{**values, "supports": (0.05, 0.5), "learning_rate": 0.1, **changes})


def bits(store):
    """Give the bytes of every member's weights, and what is known of it."""
    found = {}
    for path in store.stacks():
        weights, members = store.read(path)
        for place, member in enumerate(members.itertuples(index=False)):
            own = {name: tensor[place].numpy().tobytes() for name, tensor in weights.items()}
            found[member.network, member.step] = own, tuple(member)
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small population, trained without any disturbance."""
    return train_population(small(), tmp_path_factory.mktemp("trained"), group_size=2)


# --- designs ---------------------------------------------------------------------------------------------------------


def test_a_design_is_the_same_after_a_journey_through_json():
    design = small(initialisations=["normal", "uniform"], supports=[0.5, 5], width=np.int64(4), train_images=100)
    assert Design.from_dict(json.loads(json.dumps(design.to_dict()))) == design
    assert design.differences(small(width=8, train_images=100, initialisations="normal")) == [
        "width is 8, not 4",
        "initialisations is ['normal'], not ['normal', 'uniform']",
        "supports is [0.05, 0.5], not [0.5, 5.0]",
    ]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"data_set": "mnits"}, "data_set='mnits' is unknown: choose from digits, mnist, cifar10"),
        ({"architecture": "rnn"}, "choose from fc, cnn"),
        ({"initialisations": ("normal", "glorot")}, "'glorot' is unknown: choose from normal, uniform, truncated, var"),
        ({"initialisations": ()}, r"initialisations=\(\) must be one or more of type str"),
        ({"batch_order": "random"}, "choose from own, common"),
        ({"width": 0}, "width=0 must be a whole number from 1"),
        ({"networks": 2.5}, "networks=2.5 must be a whole number"),
        ({"steps": True}, "steps=True must be a whole number"),
        ({"seed": -1}, "seed=-1 must be a whole number from 0 to 4,294,967,290"),
        ({"supports": (0.05, -1.0)}, r"supports=\(0.05, -1.0\) must be positive"),
        ({"learning_rate": float("inf")}, "learning_rate=inf must be positive and finite"),
        ({"snapshots": (0, 5)}, r"snapshots=\(0, 5\) must ascend from 0 to the last step, 60"),
        ({"snapshots": (0, 70, 60)}, "must ascend"),
        ({"train_images": 0}, "train_images=0"),
    ],
)
def test_a_value_that_does_not_fit_a_design_is_named_with_what_does(change, parts):
    with pytest.raises(dg.InputError, match=parts):
        small(**change)


def test_a_name_that_is_no_part_of_a_design_is_named():
    with pytest.raises(dg.InputError, match=r"'momentum' is no part of a design: choose from data_set, .*rate"):
        Design.from_dict({"momentum": 0.9})


def test_networks_cycle_through_the_grid_and_have_seeds_in_a_row():
    design = small(initialisations=("normal", "uniform"), supports=(0.05, 5.0), seed=7)
    assert [design.network(k) for k in range(5)] == [
        ("normal", 0.05, 7),
        ("uniform", 0.05, 8),
        ("normal", 5.0, 9),
        ("uniform", 5.0, 10),
        ("normal", 0.05, 11),
    ]
    with pytest.raises(dg.InputError, match="no network 5: the design has networks 0 to 4"):
        design.network(5)


@given(st.integers(1, 10**6), st.integers(2, 60))
def test_snapshots_ascend_from_the_start_to_the_last_step_in_the_number_wanted(steps, count):
    found = snapshot_steps(steps, count)
    assert (found[0], found[-1], len(found)) == (0, steps, min(count, steps + 1))
    assert list(found) == sorted(set(found))


def test_the_networks_are_those_of_the_paper_and_every_pixel_is_an_input():
    mlp = Design("mnist", "fc", 8)
    graph = dg.from_torch(mlp.model(), mlp.example_input(), granularity="position")
    assert [layer.size for layer in graph.layers] == [784, 8, 10]
    cnn = Design("cifar10", "cnn", 10)
    graph = dg.from_torch(cnn.model(), cnn.example_input(), granularity="position")
    assert [layer.size for layer in graph.layers] == [3 * 32 * 32, 10 * 30 * 30, 10]
    assert [layer.activation for layer in graph.layers] == [None, "relu", None]


# --- initialisations -------------------------------------------------------------------------------------------------

# The truncation at two standard deviations takes some variance; Keras divides by this, which scipy gives as well.
TRUNCATED_STD = stats.truncnorm(-2, 2).std()
EXPECTED = {
    "normal": lambda support, fan: stats.norm(0, support),
    "uniform": lambda support, fan: stats.uniform(-support, 2 * support),
    "truncated": lambda support, fan: stats.truncnorm(-2, 2, scale=support),
    "variance-scaling": lambda support, fan: stats.truncnorm(-2, 2, scale=np.sqrt(support / fan) / TRUNCATED_STD),
}


@pytest.mark.parametrize("support", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("initialisation", INITIALISATIONS)
@pytest.mark.parametrize(("shape", "fan"), [((50, 20, 3, 3), 180), ((100, 90), 90), ((9000,), 9000)])
def test_first_weights_have_the_distribution_of_their_initialisation(initialisation, support, shape, fan):
    values = draw(initialisation, support, shape, np.random.default_rng(1))
    assert (values.shape, values.dtype) == (shape, np.float32)
    assert stats.kstest(values.ravel(), EXPECTED[initialisation](support, fan).cdf).pvalue > 0.01  # of a fixed seed
    if initialisation != "normal":
        low, high = EXPECTED[initialisation](support, fan).support()
        assert low * (1 + 1e-6) <= values.min() < 0 < values.max() <= high * (1 + 1e-6)  # rounded to float32


def test_a_network_starts_from_its_own_seed_whatever_its_company():
    design = small(initialisations=INITIALISATIONS, networks=8)
    together, alone = initial_weights(design, range(8)), initial_weights(design, [6])
    for name, tensor in alone.items():
        assert torch.equal(tensor[0], together[name][6])
    assert len({row.numpy().tobytes() for row in together["hidden.weight"]}) == 8
    assert all(row.any() for row in together["hidden.bias"])  # biases are drawn too


# --- batches ---------------------------------------------------------------------------------------------------------


def shown(design, networks, steps):
    """Give the numbers of the images that networks are shown: (networks, steps, batch)."""
    images = torch.arange(50.0).unsqueeze(1)
    batches = Batches(design, networks, images, torch.arange(50))
    found = []
    for step in steps:
        x, labels = batches.at(step)
        assert torch.equal(x.squeeze(-1).long(), labels)
        found.append(labels.clone())
    return torch.stack(found, 1)


def test_every_epoch_shows_a_network_other_batches_of_images_none_of_them_twice():
    order = shown(small(batch_size=16), [0, 1], range(6)).view(2, 2, 48)  # (networks, epochs, images)
    assert all(len(set(epoch.tolist())) == 48 for network in order for epoch in network)
    assert len({tuple(epoch.tolist()) for network in order for epoch in network}) == 4


def test_what_a_network_is_shown_depends_on_its_seed_and_the_step_alone():
    design = small(batch_size=16)
    together = shown(design, range(5), range(9))
    assert torch.equal(together[3:4], shown(design, [3], range(9)))
    assert torch.equal(together[:, 7:], shown(design, range(5), [7, 8]))


def test_common_batches_are_the_same_for_all_networks():
    design = small(batch_size=16, batch_order="common", seed=3)
    assert torch.equal(shown(design, range(5), range(9)), shown(small(batch_size=16, seed=3), [0], range(9)))


# --- learning --------------------------------------------------------------------------------------------------------

PRECISIONS = {torch.float32: 1e-5, torch.float64: 1e-12}


@pytest.mark.parametrize("batch_order", ["own", "common"])
@pytest.mark.parametrize("architecture", ["fc", "cnn"])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS.items())
def test_gradients_of_networks_together_are_those_of_each_alone(architecture, batch_order, dtype, tolerance):
    design = small(architecture=architecture, batch_order=batch_order, initialisations=INITIALISATIONS)
    weights = {name: tensor.to(dtype) for name, tensor in initial_weights(design, range(5)).items()}
    images, labels = train_split(design, "")
    images, labels = Batches(design, range(5), images.to(dtype), labels).at(1)
    together = Group(design.model(), {name: tensor.clone() for name, tensor in weights.items()})
    found = dict(zip(weights, together.gradients(images, labels), strict=True))
    for k in range(5):
        model = design.model().to(dtype)
        model.load_state_dict({name: tensor[k] for name, tensor in weights.items()})
        own = 0 if batch_order == "common" else k
        F.cross_entropy(model(images[own]), labels[own]).backward()
        for name, parameter in model.named_parameters():
            size = parameter.grad.abs().max().item()  # sums that cancel are rounded relative to what they sum
            torch.testing.assert_close(found[name][k], parameter.grad, rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize("group_size", [1, 3])
@pytest.mark.parametrize("architecture", ["fc", "cnn"])
def test_three_steps_are_those_of_torch_optim(tmp_path, architecture, group_size):
    design = small(architecture=architecture, steps=3, snapshots=(0, 3), networks=3)
    store = train_population(design, tmp_path, group_size=group_size)
    found = {}
    for path in store.stacks():
        weights, members = store.read(path)
        for place, member in enumerate(members.itertuples()):
            found[member.network, member.step] = weights, place
    for k in range(3):
        model = design.model()
        start, place = found[k, 0]
        model.load_state_dict({name: tensor[place] for name, tensor in start.items()})
        optimiser = torch.optim.SGD(model.parameters(), lr=design.learning_rate)
        batches = Batches(design, [k], *train_split(design, ""))
        for step in range(3):
            images, labels = batches.at(step)
            optimiser.zero_grad()
            F.cross_entropy(model(images[0]), labels[0]).backward()
            optimiser.step()
        weights, place = found[k, 3]
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(weights[name][place], parameter.detach(), rtol=1e-5, atol=1e-6)


def test_stored_accuracies_are_those_of_the_stored_weights_on_the_whole_test_split(trained):
    held_out = datasets.load("digits", split="test")
    images = torch.from_numpy(held_out.images).flatten(1)
    for path in trained.stacks():
        weights, members = trained.read(path)
        for place, accuracy in enumerate(members["accuracy"]):
            model = trained.model()
            model.load_state_dict({name: tensor[place] for name, tensor in weights.items()})
            assert accuracy == accuracy_score(held_out.labels, model(images).argmax(1).numpy())


def test_networks_learn(trained):
    members = trained.members()
    by_step = members.groupby("step")["accuracy"].mean()
    assert by_step[60] > 2 * by_step[0]


def test_networks_that_diverge_are_kept_and_marked(tmp_path):
    store = train_population(small(learning_rate=1e30, steps=4, snapshots=(0, 4)), tmp_path, group_size=5)
    members = store.members()
    assert members["diverged"].tolist()[:5] == [False] * 5
    assert members["accuracy"].between(0, 1).all()
    weights, members = store.read(store.stacks()[-1])
    finite = [all(np.isfinite(tensor[place].numpy()).all() for tensor in weights.values()) for place in range(5)]
    assert members["diverged"].tolist() == [not each for each in finite]
    assert members["diverged"].any()


# --- files, and what stops a training --------------------------------------------------------------------------------


def test_a_population_is_groups_of_networks_at_each_snapshot(trained):
    names = [str(path.relative_to(trained.folder)) for path in trained.stacks()]
    assert names == [
        f"group-000{group}/step-00000000{step}.safetensors".replace("0000000060", "000000060")
        for group in range(3)
        for step in (0, 5, 60)
    ]
    weights, members = trained.read(trained.stacks()[4])
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == {
        "hidden.weight": (2, 4, 64),
        "hidden.bias": (2, 4),
        "output.weight": (2, 10, 4),
        "output.bias": (2, 10),
    }
    assert members.drop(columns="accuracy").to_dict("records") == [
        {"network": 2, "step": 5, "initialisation": "normal", "support": 0.05, "seed": 2, "diverged": False},
        {"network": 3, "step": 5, "initialisation": "normal", "support": 0.5, "seed": 3, "diverged": False},
    ]
    assert [list(part["network"]) for _, part in trained.members().groupby("step")] == 3 * [[0, 1, 2, 3, 4]]
    assert (trained.design, trained.description["group_size"]) == (small(), 2)


def test_two_trainings_give_the_same_bits(trained, tmp_path):
    assert bits(train_population(small(), tmp_path, group_size=2)) == bits(trained)


def test_worker_processes_give_the_same_bits(trained, tmp_path):
    assert bits(train_population(small(), tmp_path, group_size=2, jobs=2)) == bits(trained)


def test_progress_counts_the_steps_of_all_networks(tmp_path):
    calls = []
    train_population(small(), tmp_path, group_size=2, progress=lambda *call: calls.append(call))
    assert calls[-1] == (300, 300)
    assert calls == sorted(calls)


@pytest.mark.parametrize("stop", [1, 130, 250])  # within the first group, the second, the last
def test_a_training_that_is_interrupted_goes_on_to_the_same_bits(trained, tmp_path, stop):
    def interrupt(done, total):
        if done >= stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_population(small(), tmp_path, group_size=2, progress=interrupt)
    assert len(Store(tmp_path).stacks()) < 9
    assert bits(train_population(small(), tmp_path)) == bits(trained)


def test_a_snapshot_that_is_lost_is_made_again(trained, tmp_path):
    store = train_population(small(), tmp_path, group_size=2)
    for path in store.stacks()[3:5]:
        path.unlink()
    assert bits(train_population(small(), tmp_path)) == bits(trained)


KILLED = """
import json, sys
from dnn2graph.population.design import Design
from dnn2graph.population.training import train_population
say = lambda done, total: print(done, flush=True)
train_population(Design.from_dict(json.loads(sys.argv[1])), sys.argv[2], group_size=2, progress=say)
"""


def test_a_process_that_is_killed_leaves_whole_files_only_and_the_next_one_goes_on(trained, tmp_path):
    arguments = [sys.executable, "-c", KILLED, json.dumps(small().to_dict()), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as process:
        next(line for line in process.stdout if int(line) > 140)
        process.kill()
    store = Store(tmp_path)
    expected = bits(trained)
    found = bits(store)
    assert 3 <= len(store.stacks()) < 9
    assert all(expected[member] == found[member] for member in found)
    unfinished = tmp_path / "group-0001" / ".dnn2graph-0.tmp"  # as a process leaves it that is killed while it writes
    unfinished.write_bytes(b"half")
    assert bits(train_population(small(), tmp_path)) == expected
    assert not unfinished.exists()


def test_a_worker_process_that_is_lost_is_replaced(tmp_path):
    design = small(steps=3000, snapshots=(0, 500, 3000), networks=4)  # half a second and more: it is killed at work
    lost = []

    def kill_one(done, total):
        if 0 < done < total and not lost:
            workers = [each for each in psutil.Process().children() if "popen_loky" in " ".join(each.cmdline())]
            lost.append(workers[0])
            workers[0].kill()

    store = train_population(design, tmp_path / "lost", group_size=2, jobs=2, progress=kill_one)
    assert lost
    assert bits(store) == bits(train_population(design, tmp_path / "undisturbed", group_size=2))


def test_another_design_or_group_size_is_refused_and_the_difference_named(trained):
    with pytest.raises(dg.InputError, match=r"another design \(width is 4, not 8; seed is 0, not 1\): choose another"):
        train_population(small(width=8, seed=1), trained.folder)
    with pytest.raises(dg.InputError, match="was begun with groups of 2, not 3"):
        train_population(small(), trained.folder, group_size=3)


@pytest.mark.parametrize(
    ("change", "options", "parts"),
    [
        ({"batch_size": 2000}, {}, "batch_size=2000 is more than the 1438 images"),
        ({"train_images": 1439}, {}, "train_images=1439 are more than the 1438 that 'digits' has"),
        ({"train_images": 20}, {}, "batch_size=32 is more than the 20 images"),
        ({}, {"group_size": 0}, "group_size=0 must be 'auto' or a number of networks"),
        ({}, {"group_size": "best"}, "group_size='best' must be"),
        ({}, {"jobs": 0}, "jobs=0 would train nothing"),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_is_written(tmp_path, change, options, parts):
    with pytest.raises(dg.InputError, match=parts):
        train_population(small(**change), tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


# --- group sizes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "most", "best"),
    [
        ({1: 8, 4: 4, 16: 2, 64: 1, 256: 3}, 1000, 64),
        ({1: 8, 4: 4, 16: 2, 64: 1, 256: 3}, 20, 16),
        ({1: 8, 4: 4}, 1, 1),
        ({1: 8, 4: 7.9, 16: 7.8, 64: 7.7, 256: 7.7}, 1000, 1),  # no more than noise: the ordinary loop
        ({1: 8, 4: 17, 16: 1}, 1000, 1),  # hopeless: nothing larger is tried
        ({1: 2e5, 4: 1}, 1000, 1),  # so slow that larger groups would take too long to try
    ],
)
def test_the_group_that_trains_fastest_is_chosen(monkeypatch, seconds, most, best):
    class Trial:
        def __init__(self, design, images, labels, size):
            self.size, self.seconds = size, seconds[size] * 1e-6

        def run(self):
            pass

    monkeypatch.setattr(calibration, "_Trial", Trial)
    assert calibration.calibrate(small(), *train_split(small(), ""), most) == best


def test_a_group_size_is_found_by_trying_and_kept(tmp_path):
    store = train_population(small(steps=1, snapshots=(0, 1), networks=17), tmp_path)
    size = store.description["group_size"]
    assert size in (1, 4, 16)
    assert len(store.stacks()) == 2 * -(-17 // size)


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(trained, tmp_path):
    """A population of its own, to be damaged."""
    return train_population(small(), tmp_path / "copy", group_size=2)


def test_a_damaged_or_missing_file_is_named_with_the_remedy(copy):
    path = copy.stacks()[4]
    content = path.read_bytes()
    for damaged in (content[:-7], content[:20], b"\xff" * 100):
        path.write_bytes(damaged)
        for read in (copy.read, copy.members_of):
            with pytest.raises(dg.LoadError, match=r"step-000000005.* cannot be read .*run the same training"):
                read(path)
    path.unlink()
    with pytest.raises(dg.LoadError, match=r"step-000000005.safetensors' does not exist"):
        copy.read(path)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("{", "population.json' cannot be read"),
        ('{"version": 2}', "is of version 2, this dnn2graph reads 1"),
        ('{"version": 1}', "population.json' cannot be read"),
        ('{"version": 1, "design": {"width": 0}}', "population.json' cannot be read .*width=0"),
    ],
)
def test_a_damaged_description_is_named(tmp_path, text, parts):
    (tmp_path / DESCRIPTION).write_text(text)
    with pytest.raises(dg.LoadError, match=parts):
        Store(tmp_path)


def test_a_folder_without_a_population_is_no_store(tmp_path):
    with pytest.raises(dg.LoadError, match=r"holds no population, since there is no population.json"):
        Store(tmp_path)
    (tmp_path / DESCRIPTION).write_text(json.dumps({"version": 1, "design": small().to_dict()}))
    with pytest.raises(dg.LoadError, match="holds no networks yet"):
        Store(tmp_path).stacks()


# --- gathered checkpoints --------------------------------------------------------------------------------------------


def tiny():
    """Build the architecture of the checkpoints: with buffers."""
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 2))


ARCHITECTURE = "tests.test_population_training:tiny"


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Save networks under the names given, and return (paths, models)."""
    monkeypatch.chdir(tmp_path)

    def save(*names):
        models = []
        for seed, name in enumerate(names):
            torch.manual_seed(seed)
            models.append(tiny())
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            torch.save(models[-1].state_dict(), name)
        return list(names), models

    return save


def test_checkpoints_become_a_population_that_measures_as_they_do(checkpoints, tmp_path):
    paths, models = checkpoints("net1_step10.pt", "net0_step10.pt", "net0_step0.pt")
    progress = []
    store = gather(paths, ARCHITECTURE, [(3,)], "all", progress=lambda *call: progress.append(call))
    assert progress[-1] == (3, 3)
    members = store.members()
    assert members[["network", "step"]].to_numpy().tolist() == [[0, 0], [0, 10], [1, 10]]
    assert members["accuracy"].isna().all()
    assert members["seed"].tolist() == [-1, -1, -1]
    weights, _ = store.read(store.stacks()[1])
    for name, tensor in models[1].state_dict().items():
        assert torch.equal(weights[name][0], tensor)
        assert torch.equal(weights[name][1], models[0].state_dict()[name])
    graph = dg.from_torch(store.model(), store.example_input())
    again = graph.with_weights({name: tensor[1] for name, tensor in weights.items()})
    np.testing.assert_array_equal(dg.strength(again), dg.strength(dg.from_torch(models[0].eval(), torch.zeros(1, 3))))
    with pytest.raises(dg.InputError, match="gathered from checkpoints, whose training is not known"):
        _ = store.design


@pytest.mark.parametrize(
    ("names", "members"),
    [
        (["a.pt", "b.pt"], [(0, 0), (1, 0)]),
        (["model_7.pt", "model_8.pt"], [(7, 0), (8, 0)]),
        (["epoch_2.pt", "epoch_1.pt"], [(0, 1), (0, 2)]),
        (["run_b/epoch=1.ckpt", "run_a/epoch=1.ckpt"], [(0, 1), (1, 1)]),
        (["mnist_64_3_500.pt", "mnist_64_2_500.pt"], [(2, 500), (3, 500)]),
    ],
)
def test_names_of_checkpoints_tell_network_and_step(checkpoints, names, members):
    paths, _ = checkpoints(*names)
    found = gather(paths, ARCHITECTURE, [(3,)], "all").members()
    assert list(found[["network", "step"]].itertuples(index=False, name=None)) == members


def test_a_table_says_what_names_do_not(checkpoints):
    paths, _ = checkpoints("a.pt", "b.pt")
    table = pd.DataFrame({"checkpoint": ["b.pt", "a.pt"], "accuracy": [0.5, 0.25], "step": [7, 8], "network": [3, 3]})
    table.to_csv("table.csv", index=False)
    for form, said in {"frame": table, "file": "table.csv"}.items():
        members = gather(paths, ARCHITECTURE, [(3,)], form, said).members()
        assert members[["network", "step", "accuracy"]].to_numpy().tolist() == [[3, 7, 0.5], [3, 8, 0.25]]


@pytest.mark.parametrize(
    ("names", "table", "error", "parts"),
    [
        ([], None, dg.InputError, "no checkpoints to gather"),
        (["x/net_1.pt", "y/net_1.pt"], None, dg.InputError, "'y/net_1.pt' and 'x/net_1.pt' would both be network 1"),
        (["a.pt"], {"file": ["a.pt"]}, dg.InputError, "has no column 'checkpoint', only file"),
        (["a.pt"], {"checkpoint": ["b.pt"]}, dg.InputError, "speaks of 'b.pt', and no checkpoint is of that name"),
        (["x/a.pt", "y/a.pt"], {"checkpoint": ["a.pt"]}, dg.InputError, "2 checkpoints are of that name"),
        (["a.pt"], {"checkpoint": ["a.pt"], "step": ["x"]}, dg.InputError, "'x' in its column 'step': int is wanted"),
    ],
)
def test_what_cannot_be_gathered_is_said(checkpoints, names, table, error, parts):
    paths, _ = checkpoints(*names)
    with pytest.raises(error, match=parts):
        gather(paths, ARCHITECTURE, [(3,)], "all", None if table is None else pd.DataFrame(table))
    assert not Path("all").exists()


def test_a_checkpoint_of_another_architecture_is_named(checkpoints):
    paths, _ = checkpoints("step_1.pt")
    torch.save(nn.Linear(3, 2).state_dict(), "step_2.pt")
    with pytest.raises(dg.LoadError, match=r"'step_2.pt' does not fit the architecture"):
        gather([*paths, "step_2.pt"], ARCHITECTURE, [(3,)], "all")
    assert not Path("all").exists()  # nor the stack of step 1


def test_a_population_is_not_gathered_over_another(checkpoints):
    paths, _ = checkpoints("a.pt")
    gather(paths, ARCHITECTURE, [(3,)], "all")
    with pytest.raises(dg.InputError, match="'all' holds a population already: choose another folder"):
        gather(paths, ARCHITECTURE, [(3,)], "all")
    with pytest.raises(dg.InputError, match="gathered from checkpoints"):
        train_population(small(), "all")


def test_the_held_out_images_are_none_of_those_that_are_trained_on():
    train, _ = train_split(small(), "")
    held_out, labels = held_out_split(small(), "")
    assert len(train) + len(held_out) == 1797
    assert train.shape[1:] == held_out.shape[1:] == (64,)
    assert set(labels.tolist()) == set(range(10))
