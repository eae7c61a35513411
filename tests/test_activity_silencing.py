"""Silenced neurons: accuracies by hand, and those of the model itself with hooks that silence its modules' outputs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import dnn2graph as dg
from dnn2graph.activity import accuracy_without, activations, silence, silencing_order
from dnn2graph.errors import InputError
from tests.networks import GRANULARITIES, convolutional, mlp_2_2_1, residual
from tests.strategies import Net, fill
from tests.test_activity import samples


def perceptron(seed=0):
    return fill(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 4)), seed)


def skipping():
    """Make a network in which two branches read the same channels, one of them unchanged."""

    def forward(self, x):
        x = self.active(self.first(x))
        return self.last((x + self.second(x)).flatten(1))

    parts = {"first": nn.Conv2d(2, 3, 3, padding=1), "active": nn.ReLU(), "second": nn.Conv2d(3, 3, 3, padding=1)}
    return Net(forward, **parts, last=nn.Linear(108, 4))


def labelled(model, x):
    """Label samples as the model classifies them, but for every fifth."""
    with torch.no_grad():
        labels = model.eval()(x).argmax(1)
    labels[::5] = (labels[::5] + 1) % labels.max().clamp(min=1)
    return labels


def hooked_accuracy(model, x, labels, silent):
    """Measure accuracy of the model with outputs of modules overwritten: {module: (channels, value)}."""
    handles = []
    for name, (channels, value) in silent.items():

        def overwrite(_, __, out, channels=channels, value=value):
            out = out.clone()
            out[:, channels] = value
            return out

        handles.append(model.get_submodule(name).register_forward_hook(overwrite))
    with torch.no_grad():
        accuracy = (model.eval()(x).argmax(1) == labels).double().mean()
    for handle in handles:
        handle.remove()
    return float(accuracy)


# --- accuracy --------------------------------------------------------------------------------------------------------


def test_the_accuracy_of_the_whole_network_is_that_of_the_model():
    model, x = perceptron(), samples(50, 6, dtype=torch.float32)
    labels = labelled(model, x)
    graph = dg.from_torch(model, x, granularity="position")
    assert accuracy_without(graph, [(x, labels)]) == hooked_accuracy(model, x, labels, {}) == 0.8


def test_silenced_neurons_of_a_perceptron_are_zeros_in_the_output_of_their_module():
    model, x = perceptron(), samples(200, 6, dtype=torch.float32)
    labels = labelled(model, x)
    graph = dg.from_torch(model, x, granularity="position")
    found = [accuracy_without(graph, [(x, labels)], nodes) for nodes in ([8], [6, 10, 16], [0, 14], [21])]
    expected = [
        hooked_accuracy(model, x, labels, {"1": ([2], 0.0)}),
        hooked_accuracy(model, x, labels, {"1": ([0, 4], 0.0), "3": ([2], 0.0)}),
        hooked_accuracy(model, torch.where(torch.arange(6) == 0, 0.0, x), labels, {"3": ([0], 0.0)}),
        hooked_accuracy(model, x, labels, {"4": ([0], 0.0)}),
    ]
    assert found == expected
    assert len(set(found)) > 2


@pytest.mark.parametrize(("build", "name", "module"), [(convolutional, "0", "2"), (skipping, "first", "active")])
def test_a_silenced_channel_is_silent_at_all_positions(build, name, module):
    model, x = fill(build(), 0), samples(60, 2, 6, 6, dtype=torch.float32)
    labels = labelled(model, x)
    graph = dg.from_torch(model, x)
    loader = DataLoader(TensorDataset(x, labels), batch_size=25)
    layer = graph.layer(name)
    found = [accuracy_without(graph, loader, [layer.start + c], model=model) for c in range(layer.size)]
    assert found == [hooked_accuracy(model, x, labels, {module: ([c], 0.0)}) for c in range(layer.size)]
    assert min(found) < 0.8


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_neurons_may_give_their_mean_instead_of_zero(granularity):
    model, x = perceptron(), samples(200, 6, dtype=torch.float32)
    labels = labelled(model, x)
    graph = dg.from_torch(model, x, granularity=granularity)
    with torch.no_grad():
        means = model[:2](x).mean(0)
    expected = hooked_accuracy(model, x, labels, {"1": ([1, 3], means[[1, 3]])})
    loader = [(x, labels)]
    activity = activations(graph, x, model=model)
    for replacement in ("mean", activity):
        assert accuracy_without(graph, loader, [7, 9], replacement=replacement, model=model) == expected
    assert accuracy_without(graph, loader, [7, 9], model=model) != expected


# --- one after the other ---------------------------------------------------------------------------------------------


def test_a_curve_by_hand():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2))
    for layer in (model[0], model[2]):
        layer.weight.data.copy_(torch.eye(2))
    model[2].bias.data.copy_(torch.tensor([0.5, 0.0]))
    graph = dg.from_torch(model, torch.zeros(1, 2), granularity="position")
    table = silence(graph, [(torch.eye(2), torch.tensor([0, 1]))], [3, 2])
    # without node 3 the second sample has scores 0.5 and 0
    expected = {"silenced": [0, 1, 2], "node": pd.array([pd.NA, 3, 2], dtype="Int64"), "accuracy": [1.0, 0.5, 0.5]}
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected))


@pytest.mark.parametrize("step", [1, 4])
@pytest.mark.parametrize("replacement", ["zero", "mean"])
def test_every_row_of_a_curve_is_the_accuracy_without_all_nodes_so_far(step, replacement):
    model, x = perceptron(1), samples(150, 6, dtype=torch.float32)
    loader = list(zip(x.split(40), labelled(model, x).split(40), strict=True))
    graph = dg.from_torch(model, x, granularity="position")
    order = silencing_order(graph, "random", seed=3)
    table = silence(graph, loader, order, step=step, replacement=replacement)
    assert table["silenced"].tolist() == [*range(0, 15, step), 15]
    for silenced, node, accuracy in table.itertuples(index=False):
        assert accuracy == accuracy_without(graph, loader, order[:silenced], replacement=replacement)
        assert pd.isna(node) if not silenced else node == order[silenced - 1]


def test_every_row_of_a_curve_of_channels_too():
    model, x = fill(residual(), 0), samples(40, 2, 6, 6, dtype=torch.float32)
    loader = [(x, labelled(model, x))]
    graph = dg.from_torch(model, x, shared="unfold")
    order = silencing_order(graph)
    table = silence(graph, loader, order, model=model)
    expected = [accuracy_without(graph, loader, order[:count], model=model) for count in range(len(order) + 1)]
    assert table["accuracy"].tolist() == expected


def test_the_same_seed_gives_the_same_random_curve():
    model, x = perceptron(1), samples(30, 6, dtype=torch.float32)
    graph, loader = dg.from_torch(model, x, granularity="position"), [(x, labelled(model, x))]
    first, again = (silence(graph, loader, "random", seed=1) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert first["node"].tolist() != silence(graph, loader, "random", seed=2)["node"].tolist()


# --- orders ----------------------------------------------------------------------------------------------------------


def test_hubs_come_first_and_equals_in_the_order_of_their_ids():
    graph = dg.from_torch(mlp_2_2_1(), torch.zeros(1, 2), granularity="position")
    assert silencing_order(graph).tolist() == [3, 2]  # |w| of 6.125 and 2; inputs and outputs are left alone
    assert silencing_order(graph, layers=["input"]).tolist() == [1, 0]  # 4 and 3.5
    assert silencing_order(graph, np.array([0, 1, 2, 2, 5])).tolist() == [2, 3]
    assert sorted(silencing_order(graph, "random", layers=["0", "2"])) == [2, 3, 4]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g, x, y: silence(g, [(x, y)], "hubs"), "order 'hubs' is unknown: choose from strength, random"),
        (lambda g, x, y: silence(g, [(x, y)], [99]), "no node 99: the graph has the nodes 0 to 24"),
        (lambda g, x, y: silence(g, [(x, y)], [7, 7]), "stands twice"),
        (lambda g, x, y: silence(g, [(x, y)], [0.5]), "must be integers, not float64"),
        (lambda g, x, y: accuracy_without(g, [(x, y)], np.zeros(25, bool)), "must be integers, not bool"),
        (lambda g, x, y: silence(g, [(x, y)], step=0), "step=0: silence at least one"),
        (lambda g, x, y: silence(g, [(x, y)], replacement="noise"), "replacement='noise' is unknown"),
        (lambda g, x, y: silence(g, x), "accuracy needs labels"),
        (lambda g, x, y: silence(g, [(x, y.double())]), "integers of shape .5,., not torch.float64"),
        (lambda g, x, y: silencing_order(g, np.zeros(3)), r"numbers to order them by have shape \(3,\)"),
    ],
)
def test_what_cannot_be_silenced_is_refused(call, message):
    x = torch.zeros(5, 6)
    graph = dg.from_torch(perceptron(), x, granularity="position")
    with pytest.raises(InputError, match=message):
        call(graph, x, torch.zeros(5, dtype=torch.int64))


def test_accuracy_is_defined_for_classifiers_only():
    graph = dg.from_torch(mlp_2_2_1(), torch.zeros(1, 2), granularity="position")
    with pytest.raises(InputError, match="no score for each of several classes"):
        silence(graph, [(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))])
