"""Tails are fitted by maximum likelihood, and the right distribution wins."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.special
import scipy.stats

from dnn2graph.profile import tails
from dnn2graph.profile.measure import MEASURES
from tests.handmade import NOTHING, check_columns, graph_of_matrix, view_of

pytest.importorskip("powerlaw", reason="needs the package powerlaw")

GROUP = [measure for measure in MEASURES.values() if measure.group == "tails"]


def bipartite(weights):
    """Make a graph of two layers with the given weights."""
    rows, columns = weights.shape
    return graph_of_matrix(np.pad(weights, ((0, columns), (rows, 0))), [rows, columns])


def fitted(weights):
    columns = check_columns(bipartite(weights), MEASURES["weight_tail"])
    return {name.removeprefix("weight_tail_"): value for name, value in columns.items()}


def test_the_exponent_of_a_power_law_is_its_maximum_likelihood_estimate():
    weights = np.random.default_rng(0).pareto(1.5, (30, 40)) + 1
    found = fitted(weights)
    tail = weights[weights >= found["xmin"]]
    alpha = 1 + len(tail) / np.log(tail / found["xmin"]).sum()
    assert found["share"] == len(tail) / weights.size
    assert found["alpha"] == pytest.approx(alpha, rel=1e-6)
    assert found["alpha_error"] == pytest.approx((alpha - 1) / len(tail) ** 0.5, rel=1e-6)
    assert found["alpha"] == pytest.approx(2.5, abs=5 * found["alpha_error"])
    # The package compares with the empirical distribution below each value only: off by one step at most.
    expected = scipy.stats.kstest(tail, scipy.stats.pareto(alpha - 1, scale=found["xmin"]).cdf).statistic
    assert found["distance"] == pytest.approx(expected, abs=1.01 / len(tail))


def test_the_ratio_is_vuongs_of_the_two_likelihoods():
    found = fitted(np.random.default_rng(1).pareto(2.0, (30, 40)) + 1)
    weights = np.random.default_rng(1).pareto(2.0, (30, 40)) + 1
    tail, xmin, alpha = weights[weights >= found["xmin"]], found["xmin"], found["alpha"]
    rate = 1 / (tail - xmin).mean()
    power_law = np.log(alpha - 1) - np.log(xmin) - alpha * np.log(tail / xmin)
    difference = power_law - (np.log(rate) - rate * (tail - xmin))
    ratio = difference.sum() / (difference.std() * len(tail) ** 0.5)
    assert found["exponential_ratio"] == pytest.approx(ratio, rel=1e-3)  # the rate is found by a search
    assert found["exponential_p"] == pytest.approx(scipy.special.erfc(abs(ratio) / 2**0.5), rel=1e-2)
    assert found["exponential_ratio"] > 0


def test_each_distribution_is_preferred_for_what_was_drawn_from_it():
    random = np.random.default_rng(2)
    exponential = fitted(random.exponential(1.0, (60, 80)) + 0.01)
    assert exponential["exponential_ratio"] < 0
    assert exponential["exponential_p"] < 1e-6
    lognormal = fitted(random.lognormal(0, 1, (60, 80)))
    assert lognormal["lognormal_ratio"] < 0
    power_law = fitted(random.pareto(1.5, (60, 80)) + 1)
    assert power_law["exponential_ratio"] > 0
    assert power_law["exponential_p"] < 0.05


def test_signs_do_not_matter_and_strengths_are_those_of_absolute_weights():
    random = np.random.default_rng(3)
    weights = random.pareto(1.5, (40, 40)) + 1
    signs = random.choice([-1, 1], weights.shape)
    plain, signed = (check_columns(bipartite(w), MEASURES["strength_tail"]) for w in (weights, weights * signs))
    assert plain == signed
    strengths = np.concatenate([weights.sum(1), weights.sum(0)])
    assert np.abs(strengths - plain["strength_tail_xmin"]).min() < 1e-9  # the tail begins at one of them


def test_many_values_are_sampled_and_that_is_said(monkeypatch, capsys):
    monkeypatch.setattr(tails, "MOST", 100)
    view = view_of(bipartite(np.random.default_rng(4).pareto(1.5, (20, 20)) + 1), MEASURES["weight_tail"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tails.weight_tail(view)
    assert view.notes[0] == "of 100 values drawn from 400"
    assert capsys.readouterr() == ("", "")


def test_few_values_and_equal_values_have_no_tail():
    view = view_of(bipartite(np.ones((4, 4)) + np.arange(4)), MEASURES["weight_tail"])
    assert np.isnan(tails.weight_tail(view)["weight_tail_alpha"])
    assert view.notes == ["16 values are too few for a tail: 50 are needed"]
    view = view_of(bipartite(np.ones((10, 10))), MEASURES["weight_tail"])
    assert np.isnan(tails.weight_tail(view)["weight_tail_alpha"])
    assert view.notes == ["the values are all alike, and have no tail"]


@pytest.mark.parametrize("measure", GROUP, ids=lambda measure: measure.name)
@pytest.mark.parametrize("name", NOTHING)
def test_degenerate_graphs_give_numbers_or_a_reason(name, measure):
    check_columns(NOTHING[name], measure)
