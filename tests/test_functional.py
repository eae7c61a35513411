"""Strength and fluctuation as functions to train with: the measures' values, and derivatives that are checked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import dnn2graph as dg
from dnn2graph import functional
from dnn2graph.measures.strength import DIRECTIONS, WEIGHTS
from tests.networks import NETWORKS, by_hand, every_network, mlp_2_2_1, traced
from tests.strategies import architectures, fill

property_test = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@property_test
@given(
    architectures(most=4),
    st.sampled_from(["channel", "position"]),
    st.sampled_from(["sum", "mean", "l1", "l2", "maxabs"]),
    st.sampled_from(DIRECTIONS),
    st.sampled_from(WEIGHTS),
    st.booleans(),
)
def test_values_are_those_of_the_measures(case, granularity, aggregate, direction, weight, bias):
    graph = dg.from_torch(case.model, case.x, granularity, aggregate)
    size = dg.strength(graph, direction, "abs")
    found = functional.strength(graph, case.model, direction, weight, bias=bias).detach().numpy()
    expected = dg.strength(graph, direction, weight, bias=bias)
    np.testing.assert_array_less(np.abs(found - expected), 1e-12 * (1 + size))  # relative to what cancels
    deviations = functional.fluctuation(graph, case.model, direction, weight, bias=bias).detach().numpy()
    # A variance loses half the digits where all strengths of a layer are equal but for rounding.
    np.testing.assert_allclose(deviations, dg.fluctuation(graph, direction, weight, bias=bias), rtol=1e-9, atol=1e-7)


def test_derivatives_of_a_network_by_hand():
    model = mlp_2_2_1()
    graph = dg.from_torch(model, torch.zeros(1, 2))
    functional.strength(graph, model, "in")[2].backward()  # hidden node 2: the sum of the first row
    assert model[0].weight.grad.tolist() == [[1, 1], [0, 0]]
    model.zero_grad()
    functional.strength(graph, model, "total", "abs").sum().backward()  # every edge counts at both ends
    assert model[0].weight.grad.tolist() == [[2, 0], [-2, 2]]  # signs; torch's derivative of |0| is 0
    assert model[2].weight.grad.tolist() == [[2, -2]]


@pytest.mark.parametrize("weight", ["signed", "abs"])
@pytest.mark.parametrize("measure", [functional.strength, functional.fluctuation])
@every_network
def test_derivatives_agree_with_finite_differences(network, measure, weight):
    name, granularity = network.split("-")
    model = fill(NETWORKS[name](), 1).double()
    graph = dg.from_torch(model, torch.zeros(1, 2, 6, 6, dtype=torch.float64), granularity)
    names, values = zip(*model.named_parameters(), strict=True)
    values = tuple(value.detach().clone().requires_grad_() for value in values)
    project = torch.linspace(-1, 1, len(graph) if measure is functional.strength else len(graph.layers)).double()

    def projected(*values):  # one number: a Jacobian of thousands of nodes would take minutes
        return measure(graph, dict(zip(names, values, strict=True)), weight=weight, bias=True) @ project

    assert torch.autograd.gradcheck(projected, values)


def test_a_convolution_that_pads_by_reflection_has_edges_whose_taps_are_summed_before_their_size_is_taken():
    layer = nn.Conv1d(1, 1, 3, padding=1, padding_mode="reflect", bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[5.0, 1.0, -2.0]]]))
    graph = dg.from_torch(layer, torch.zeros(1, 1, 3), granularity="position")
    found = functional.strength(graph, layer, "in", "abs")  # output 0 sees input 0 once, input 1 by 5 and by -2
    assert found[3:].tolist() == [1 + 3, 5 + 1 + 2, 1 + 3]
    found[3].backward()
    assert layer.weight.grad.tolist() == [[[1, 1, 1]]]


def test_gradients_reach_what_weight_expressions_are_made_of():
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)
    ).eval()
    graph = dg.from_torch(model, torch.zeros(1, 3))
    functional.fluctuation(graph, model).sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0
        for name, parameter in model.named_parameters()
        if "bias" not in name
    )


def test_a_layer_of_equal_strengths_has_a_derivative_of_zero_and_not_nan():
    model = nn.Sequential(nn.Linear(3, 2, bias=False))
    nn.init.constant_(model[0].weight, 0.5)
    graph = dg.from_torch(model, torch.zeros(1, 3))
    functional.fluctuation(graph, model).sum().backward()
    assert model[0].weight.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_without_parameters_it_differentiates_those_that_were_traced():
    model = mlp_2_2_1()
    graph = dg.from_torch(model, torch.zeros(1, 2))
    functional.strength(graph).sum().backward()
    assert model[0].weight.grad.tolist() == [[2, 2], [2, 2]]


def test_descending_the_fluctuation_makes_it_smaller():
    model = fill(NETWORKS["convolutional"](), 0)
    graph = traced(model, 2, 6, 6)
    before = dg.fluctuation(graph)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        functional.fluctuation(graph, model).sum().backward()
        optimizer.step()
    assert dg.fluctuation(graph.with_weights(model.state_dict())).sum() < 0.5 * before.sum()


def test_measures_and_replay_stay_apart_from_autograd():
    graph = by_hand()
    assert not any(links.kernel().requires_grad for links in graph.links)
    assert not dg.from_torch(mlp_2_2_1(), torch.zeros(1, 2), "position").replay(torch.ones(1, 2)).requires_grad


@pytest.mark.parametrize("option", [{"direction": "up"}, {"weight": "heavy"}, {"kinds": ("steel",)}])
def test_unknown_options_are_refused(option):
    with pytest.raises(dg.InputError, match="unknown"):
        functional.strength(by_hand(), **option)
