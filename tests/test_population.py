"""A population measured in one call gives what its members give one by one."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import dnn2graph as dg
from dnn2graph.measures.strength import DIRECTIONS, WEIGHTS
from tests.networks import mlp_2_2_1
from tests.strategies import architectures, fill

property_test = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def population_of(models, x, **options):
    graph = dg.from_torch(models[0], x, **options)
    return dg.Population.of(graph, [model.state_dict() for model in models])


def mlps(count):
    models = [fill(mlp_2_2_1(), seed) for seed in range(count)]
    return population_of(models, torch.zeros(1, 2))


@property_test
@given(
    architectures(most=4),
    st.sampled_from(["channel", "position"]),
    st.sampled_from(["sum", "mean", "l1", "l2", "maxabs"]),
    st.sampled_from(DIRECTIONS),
    st.sampled_from(WEIGHTS),
    st.booleans(),
)
def test_every_member_measures_as_it_does_alone(case, granularity, aggregate, direction, weight, bias):
    models = [fill(copy.deepcopy(case.model), seed).double() for seed in range(3)]
    alone = [dg.from_torch(model, case.x, granularity, aggregate) for model in models]
    assume(alone[0].parameters())  # else all networks are the same one
    population = population_of(models, case.x, granularity=granularity, aggregate=aggregate)
    found = population.strength(direction, weight, bias=bias)
    size = np.stack([dg.strength(graph, direction, "abs") for graph in alone])
    expected = np.stack([dg.strength(graph, direction, weight, bias=bias) for graph in alone])
    np.testing.assert_array_less(np.abs(found - expected), 1e-12 * (1 + size))  # relative to what cancels
    np.testing.assert_allclose(
        population.fluctuation(direction, weight, bias=bias),
        [dg.fluctuation(graph, direction, weight, bias=bias) for graph in alone],
        rtol=1e-9,
        atol=1e-9,
    )
    assert [len(graph) for graph in population] == [len(graph) for graph in alone]
    counts = {layer.name: 0 for layer in alone[0].layers}
    for links in alone[0].links:
        counts[links.target.name] += int(np.prod(links.map.kernel_shape))
    found = {name: values.shape for name, values in population.link_weights(kinds=None).items()}
    assert found == {name: (3, count) for name, count in counts.items() if name in found}
    assert sum(count for _, count in found.values()) == sum(counts.values())


def test_strengths_of_two_networks_by_hand():
    first, second = mlp_2_2_1(), mlp_2_2_1()
    with torch.no_grad():
        second[0].weight.mul_(2)
    population = population_of([first, second], torch.zeros(1, 2))
    assert population.strength().tolist() == [[-0.5, 4, 2, 1.875, 0.375], [-1, 8, 3.5, 3.875, 0.375]]
    assert population.strength(weight="negative").tolist()[0] == [-2, 0, 0, -2.125, -0.125]


def test_link_weights_are_the_entries_of_the_kernels():
    population = mlps(4)
    for place, values in zip((0, 2), population.link_weights().values(), strict=True):
        expected = [fill(mlp_2_2_1(), seed)[place].weight.detach().numpy().ravel() for seed in range(4)]
        np.testing.assert_array_equal(values, expected)


def test_a_member_is_a_graph_of_its_own_that_verifies():
    models = [fill(mlp_2_2_1(), seed) for seed in range(3)]
    x = torch.rand(5, 2)
    population = population_of(models, x, granularity="position")
    assert all(dg.verify(model, graph, x).ok for model, graph in zip(models, population, strict=True))
    assert torch.equal(population[-1].replay(x), population[2].replay(x))
    with pytest.raises(IndexError, match="no member 3"):
        population[3]


def test_a_diverged_member_is_not_finite_and_harms_no_other():
    population = mlps(3)
    expected = population.strength()
    population.weights["0.weight"][1] = torch.nan
    found = population.strength()
    assert np.isnan(found[1, :4]).all()
    np.testing.assert_array_equal(found[[0, 2]], expected[[0, 2]])
    assert np.isnan(population.fluctuation()[1, :2]).all()


def test_parameters_that_members_share_need_not_be_stacked():
    models = [fill(mlp_2_2_1(), seed) for seed in range(3)]
    for model in models:
        model[2].load_state_dict(models[0][2].state_dict())
    graph = dg.from_torch(models[0], torch.zeros(1, 2))
    stacked = {name: torch.stack([m.state_dict()[name] for m in models]) for name in ("0.weight", "0.bias")}
    whole = dg.Population.of(graph, [model.state_dict() for model in models])
    np.testing.assert_array_equal(dg.Population(graph, stacked).strength(bias=True), whole.strength(bias=True))


def test_the_precision_is_that_of_the_weights():
    models = [fill(mlp_2_2_1(), seed) for seed in range(3)]
    graph = dg.from_torch(models[0], torch.zeros(1, 2))
    population = dg.Population.of(graph, [model.double().state_dict() for model in models])
    assert population.graph.dtype == torch.float64
    assert population.kernels(population.graph.links[0]).dtype == torch.float64


def test_weights_that_do_not_fit_are_refused_with_the_reason():
    graph = dg.from_torch(mlp_2_2_1(), torch.zeros(1, 2))
    good = {name: torch.zeros(3, *tensor.shape) for name, tensor in mlp_2_2_1().state_dict().items()}
    with pytest.raises(dg.WeightsError, match="2, 3 members"):
        dg.Population(graph, {**good, "0.bias": torch.zeros(2, 2)})
    with pytest.raises(dg.WeightsError, match=r"0\.weight is \(2, 3\) instead of \(2, 2\)"):
        dg.Population(graph, {**good, "0.weight": torch.zeros(3, 2, 3)})
    with pytest.raises(dg.WeightsError, match="does not need"):
        dg.Population(graph, {"other": torch.zeros(3, 2)})
    with pytest.raises(dg.WeightsError, match="no state dict"):
        dg.Population.of(graph, [])
    part = mlp_2_2_1().state_dict()
    del part["2.bias"]
    with pytest.raises(dg.WeightsError, match=r"2\.bias is missing"):
        dg.Population.of(graph, [part])
    with pytest.raises(dg.InputError, match="2 rows for the weights of 3"):
        dg.Population(graph, good, pd.DataFrame({"network": [0, 1]}))
