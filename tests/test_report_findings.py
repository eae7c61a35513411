"""What a report finds odd: nodes that do nothing, do the same as others, or never change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.activity import activations
from dnn2graph.report import PROBLEMS, findings, findings_table
from dnn2graph.report.findings import saturated_layers
from tests.networks import by_hand, every_network, graph_of, traced
from tests.strategies import Net


def mlp(first, second, bias=None, activation=nn.ReLU):
    """Trace a perceptron with the given weights: (hidden, inputs) and (outputs, hidden)."""
    first, second = torch.tensor(first), torch.tensor(second)
    model = nn.Sequential(
        nn.Linear(first.shape[1], len(first), bias=bias is not None), activation(), nn.Linear(len(first), len(second))
    )
    with torch.no_grad():
        model[0].weight.copy_(first)
        model[2].weight.copy_(second)
        if bias is not None:
            model[0].bias.copy_(torch.tensor(bias))
    return model, dg.from_torch(model, torch.zeros(1, first.shape[1]))


def by_problem(found):
    """Give the nodes of each problem."""
    return {problem: np.concatenate(nodes).tolist() for problem in PROBLEMS if (nodes := _nodes(found, problem))}


def _nodes(found, problem):
    return [each.nodes for each in found if each.problem == problem]


def test_nothing_is_odd_about_a_sound_network():
    assert findings(by_hand()) == ()


def test_nodes_without_edges_are_found_by_what_they_lack():
    # Nodes: inputs 0, 1, 2; hidden 3 (isolated), 4 (no in-weight), 5 (no out-weight), 6; output 7.
    _, graph = mlp(
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 0.0], [1.0, -1.0, 0.0]], [[0.0, 1.0, 0.0, 1.0]], [1.0] * 4
    )
    assert by_problem(findings(graph)) == {"isolated": [3], "constant": [4], "unread": [5], "unread input": [2]}


def test_an_output_is_read_and_an_input_needs_no_weights():
    layer = nn.Linear(2, 2)
    assert findings(traced(layer, 2)) == ()


def test_an_input_that_is_ignored_is_worth_a_note_and_no_warning():
    _, graph = mlp([[1.0, 0.0], [2.0, 0.0]], [[1.0, 1.0]], [1.0, 2.5])
    (found,) = findings(graph)
    assert (found.problem, found.is_warning) == ("unread input", False)
    assert str(found) == "input: 1 of 2 nodes that the network ignores: without out-weights"


def test_neurons_that_no_input_can_make_active_are_found_behind_values_that_are_not_negative():
    deeper = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        deeper[0].weight.copy_(torch.tensor([[-1.0, -2.0], [-3.0, 1.0]]))
        deeper[0].bias.copy_(torch.tensor([-1.0, 0.0]))
        deeper[2].weight.copy_(torch.tensor([[-1.0, -2.0], [-3.0, -1.0], [-2.0, 1.0]]))
        deeper[2].bias.copy_(torch.tensor([-1.0, 0.5, 0.0]))
    # Node 2 reads inputs, which may be negative; of 4, 5 and 6 only 4 has no positive weight and no positive bias.
    assert by_problem(findings(dg.from_torch(deeper, torch.zeros(1, 2)))) == {"never active": [4]}


def test_the_sum_of_a_kernels_taps_does_not_tell_that_a_channel_cannot_become_active():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Conv2d(1, 1, 2, bias=False), nn.ReLU())
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[[[1.0, -2.0], [-1.0, -1.0]]]]))
    assert findings(dg.from_torch(model, torch.ones(1, 1, 4, 4))) == ()


@pytest.mark.parametrize("granularity", ["channel", "position"])
def test_equal_neurons_are_found_whatever_their_scale(granularity):
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3))
    graph = traced(model, 2, 5, 5, granularity=granularity, seed=3)
    with torch.no_grad():
        model[0].weight[2], model[0].bias[2] = 2.5 * model[0].weight[0], 2.5 * model[0].bias[0]
        model[0].weight[3], model[0].bias[3] = -model[0].weight[1], -model[0].bias[1]  # no positive factor
    (found,) = findings(graph)
    layer = graph.layer("0")
    per_channel = layer.size // 4
    channels = np.arange(layer.start, layer.stop).reshape(4, per_channel)
    assert found.problem == "duplicate"
    assert found.nodes.tolist() == channels[[0, 2]].reshape(-1).tolist()
    assert found.groups.tolist() == np.tile(channels[0], 2).tolist()


def test_neurons_that_differ_in_their_bias_are_no_duplicates():
    _, graph = mlp([[1.0, 2.0], [1.0, 2.0], [2.0, 4.0]], [[1.0, 1.0, 1.0]], [0.5, 0.25, 1.0])
    (found,) = findings(graph)
    assert (found.nodes.tolist(), found.groups.tolist()) == ([2, 4], [2, 2])
    assert str(found) == (
        "0: 2 of 3 nodes like another of their layer: with equal in-weights and bias, up to a factor "
        "(1 different one)"
    )


def test_a_factor_makes_a_difference_where_the_function_does_not_let_it_pass():
    weights = [[1.0, 2.0], [2.0, 4.0], [1.0, 2.0]]
    for activation, nodes in ((nn.ReLU, [2, 3, 4]), (nn.Tanh, [2, 4])):
        _, graph = mlp(weights, [[1.0, 1.0, 1.0]], activation=activation)
        assert by_problem(findings(graph)) == {"duplicate": nodes}


@every_network
def test_networks_with_random_weights_have_no_duplicates(network):
    assert "duplicate" not in by_problem(findings(graph_of(network)))


def test_channels_that_read_different_nodes_are_no_duplicates():
    depthwise = nn.Conv2d(3, 3, 1, groups=3, bias=False)
    nn.init.ones_(depthwise.weight)
    assert findings(dg.from_torch(depthwise, torch.zeros(1, 3, 2, 2))) == ()


def test_neurons_that_are_equal_through_a_skipping_edge_are_found():
    model = Net(lambda self, x: self.b(x).relu() + self.a(x), a=nn.Linear(2, 2), b=nn.Linear(2, 2))
    graph = traced(model, 2)
    with torch.no_grad():
        for layer in (model.a, model.b):
            layer.weight[1], layer.bias[1] = layer.weight[0], layer.bias[0]
    # Both layers have equal neurons; the sum's two nodes read different nodes, which compute the same.
    assert [each.layer for each in findings(graph) if each.problem == "duplicate"] == ["b"]


def test_data_tell_of_dead_unvarying_and_saturated_neurons():
    model, graph = mlp([[1.0], [-1.0], [1.0]], [[1.0, 1.0, 1.0]], [0.0, 0.0, -10.0])
    data = torch.tensor([[1.0], [2.0]])
    assert by_problem(findings(graph, activations(graph, [data], model=model))) == {"dead": [2, 3]}
    model, graph = mlp([[100.0], [0.001], [0.5]], [[1.0, 1.0, 1.0]], [0.0, 0.0, 0.1], nn.Sigmoid)
    activity = activations(graph, [data], model=model)
    assert by_problem(findings(graph, activity)) == {"unvarying": [1]}  # 1 at both samples, up to float32
    assert list(saturated_layers(graph, activity)) == []
    model, graph = mlp([[4.0], [5.0], [0.1]], [[1.0, 1.0, 1.0]], [1.0, 0.5, 0.1], nn.Tanh)
    activity = activations(graph, [data], model=model)
    assert by_problem(findings(graph, activity)) == {"saturated": [1, 2]}
    assert list(saturated_layers(graph, activity)) == [("0", pytest.approx(2 / 3))]


def test_the_activity_of_another_graph_is_refused():
    model, graph = mlp([[1.0]], [[1.0]])
    with pytest.raises(dg.InputError, match="that of 3 nodes, the graph has 5"):
        findings(by_hand(), activations(graph, [torch.ones(2, 1)], model=model))


def test_weights_that_are_not_finite_are_refused():
    _, graph = mlp([[1.0, float("nan")]], [[1.0]])
    with pytest.raises(dg.WeightsError, match="layer '0'"):
        findings(graph)


def test_the_table_names_every_node_and_its_group():
    _, graph = mlp([[1.0, 2.0], [2.0, 4.0]], [[1.0, 0.0]])
    table = findings_table(graph, findings(graph))
    assert table.to_dict("list") == {
        "problem": ["unread", "duplicate", "duplicate"],
        "layer": ["0", "0", "0"],
        "node": [3, 2, 3],
        "label": ["0[1]", "0[0]", "0[1]"],
        "group": [3, 2, 2],
    }
    assert list(findings_table(graph, [])) == list(table)
