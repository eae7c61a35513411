"""Significance against null models: exact p-values, honest words, and the same numbers however the work is spread."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.nulls import KINDS, null_model, significance
from dnn2graph.nulls.comparison import CONSTANT, UNCHANGED, UNDEFINED, compare, corrected
from dnn2graph.population.separation import holm
from dnn2graph.profile import profile
from dnn2graph.sparsify import sparsify
from tests.networks import NETWORKS, by_hand, graph_of, mlp_2_2_1, traced
from tests.strategies import fill

# torch warns of its own class when the nesting of a model's outputs is unpickled in a worker.

NULLS = np.array([1.0, 2.0, 3.0, 4.0])


def small():
    """Trace two dense layers with random weights."""
    return traced(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), 6)


def largest_in_strength(graph):
    return dg.strength(graph, "in").max()


# --- one number against others, by hand ------------------------------------------------------------------------------


def test_a_comparison_worked_out_by_hand():
    found = compare(6.0, NULLS, "greater", 0.0)
    assert (found.null_mean, found.null_std) == (2.5, pytest.approx(np.sqrt(5 / 3)))
    assert found.z == pytest.approx(3.5 / np.sqrt(5 / 3))
    assert found.pvalue == 1 / 5
    assert compare(6.0, NULLS, "less", 0.0).pvalue == 1.0
    # The mean of 1, 2, 3, 4 and 6 is 3.2: no null is 2.8 from it.
    assert compare(6.0, NULLS, "two-sided", 0.0).pvalue == 1 / 5
    # The mean of 1, 2, 3, 4 and 4 is 2.8: 1 is farther from it than 1.2, and 4 as far.
    assert compare(4.0, NULLS, "two-sided", 0.0).pvalue == 3 / 5
    assert compare(3.0, NULLS, "greater", 0.0).pvalue == 3 / 5  # an equal null is as extreme
    assert compare(3.0, NULLS, "less", 0.0).pvalue == 4 / 5


def test_z_agrees_with_scipy_and_the_interval_of_nulls_with_its_quantiles():
    nulls = np.random.default_rng(0).normal(size=200)
    found = compare(1.5, nulls, "two-sided", 0.0)
    assert found.z == pytest.approx(scipy.stats.zmap(1.5, nulls, ddof=1))
    quantiles = scipy.stats.mstats.mquantiles(nulls, [0.025, 0.975], alphap=1, betap=1)
    assert [found.null_low, found.null_high] == pytest.approx(quantiles.tolist())


@pytest.mark.parametrize("extreme", [0, 1, 37, 100])
def test_the_interval_of_a_p_value_is_that_of_clopper_and_pearson(extreme):
    nulls = np.r_[np.full(extreme, 2.0), np.zeros(100 - extreme)]
    found = compare(1.0, nulls, "greater", 0.0)
    expected = scipy.stats.binomtest(extreme, 100).proportion_ci(0.95, method="exact")
    assert (found.pvalue_low, found.pvalue_high) == pytest.approx((expected.low, expected.high))
    assert found.pvalue == (1 + extreme) / 101


def test_what_differs_by_rounding_only_is_unchanged():
    found = compare(1.0, np.array([1 + 1e-12, 1 - 1e-12, 1.0]), "greater", 1e-9)
    assert (found.note, found.pvalue) == (UNCHANGED, 1.0)
    assert np.isnan(found.z)


def test_nulls_that_all_have_another_value_have_no_z():
    found = compare(2.0, np.ones(9), "two-sided", 1e-9)
    assert (found.note, found.pvalue) == (CONSTANT, 0.1)
    assert np.isnan(found.z)
    assert found.null_std == 0


def test_what_is_undefined_is_not_compared_and_undefined_nulls_count_as_extreme():
    found = compare(np.nan, NULLS, "greater", 0.0)
    assert found.note == UNDEFINED
    assert np.isnan(found.pvalue)
    found = compare(9.0, np.r_[NULLS, np.nan], "greater", 0.0)
    assert (found.pvalue, found.note) == (2 / 6, "undefined in 1 of 5 nulls")
    assert found.null_mean == 2.5
    assert np.isnan(compare(9.0, np.full(3, np.nan), "greater", 0.0).pvalue)


def test_corrections_are_those_of_the_literature():
    pvalues = np.array([0.01, 0.04, np.nan, 0.03])
    np.testing.assert_allclose(corrected(pvalues, "holm"), [0.03, 0.06, np.nan, 0.06])
    np.testing.assert_allclose(corrected(pvalues, "fdr"), [0.03, 0.04, np.nan, 0.04])  # 0.01 * 3, min(0.03 * 3 / 2, …)
    np.testing.assert_array_equal(corrected(pvalues, None), pvalues)
    np.testing.assert_array_equal(corrected(np.array([np.nan]), "fdr"), [np.nan])


# --- networks --------------------------------------------------------------------------------------------------------


def test_every_number_is_that_of_a_null_that_anyone_can_draw():
    graph = small()
    found = significance(graph, "fluctuation", "weight-shuffle", 20, seed=3)
    assert found.table["measure"].tolist() == ["fluctuation"] * 3
    assert found.table["place"].tolist() == [layer.name for layer in graph.layers]
    np.testing.assert_array_equal(found.table["observed"], dg.fluctuation(graph))
    for k in (0, 7, 19):
        null = null_model(graph, "weight-shuffle", (3, k))
        np.testing.assert_array_equal(found.nulls[k], dg.fluctuation(null))
    np.testing.assert_allclose(found.table["null_mean"], found.nulls.mean(0))
    np.testing.assert_allclose(found.table["null_std"], found.nulls.std(0, ddof=1))
    for row, pvalue in enumerate(found.table["pvalue"]):
        values, observed = found.nulls[:, row], found.table["observed"][row]
        away = np.abs(np.r_[observed, values] - np.r_[observed, values].mean())
        assert pvalue == pytest.approx((1 + (away[1:] >= away[0]).sum()) / 21)
    np.testing.assert_allclose(found.table["pvalue_corrected"], holm(found.table["pvalue"].to_numpy()))


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_do_not_depend_on_the_number_of_processes(kind):
    graph = sparsify(graph_of("separable-position"), max_edges=150) if kind == "rewire" else small()
    asked = ["fluctuation", "strength", "link_weights", largest_in_strength]
    calls = []
    one = significance(graph, asked, kind, 10, seed=5, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 10) for done in range(1, 11)]
    two = significance(graph, asked, kind, 10, seed=5, jobs=2)
    np.testing.assert_array_equal(one.nulls, two.nulls)
    pd.testing.assert_frame_equal(one.table, two.table)


def test_progress_reaches_its_end_in_several_processes():
    calls = []
    significance(small(), "fluctuation", "gaussian", 70, jobs=2, progress=lambda *done: calls.append(done))
    assert [total for _, total in calls] == [70] * len(calls)
    assert calls == sorted(calls)
    assert calls[-1] == (70, 70)
    assert len(calls) > 10


def test_what_a_null_keeps_is_unchanged_and_no_test():
    """In float32 an in-strength changes its last bits with the order of the sum: that is no finding."""
    graph = traced(nn.Sequential(nn.Linear(700, 40), nn.ReLU(), nn.Linear(40, 4)), 700)
    layer = graph.layers[1].name
    found = significance(graph, ["strength_in", f"fluctuation of layer {layer}"], "in-weight-shuffle", 20)
    kept = found.table[found.table["measure"] == "mean strength_in"]
    assert kept["note"].tolist() == [UNCHANGED] * 3
    assert (kept["pvalue"] == 1).all()
    assert kept["z"].isna().all()
    tested = found.table[found.table["measure"] == "fluctuation"]
    assert (tested["pvalue_corrected"] == tested["pvalue"]).all()  # one test, not four
    assert "is the same in in-weight-shuffled nulls, which keep it" in found.sentences()[1]


@pytest.mark.parametrize("cancelling", [1.0, -1.0])
def test_sums_that_cancel_are_unchanged_too(cancelling):
    """The mean strength is 0, or 1e-9 of the weights: what is left is rounding, relative to the weights."""
    layer = nn.Linear(64, 32, bias=False)
    layer.weight.data = torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
    layer.weight.data -= layer.weight.data.double().mean().float() * cancelling
    graph = dg.from_torch(layer, torch.zeros(1, 64))
    found = significance(graph, "strength", "weight-shuffle", 9)
    assert found.table["note"].tolist() == [UNCHANGED] * 2


def test_a_graph_drawn_from_the_null_has_uniform_p_values():
    """Kolmogorov and Smirnov, of 150 graphs; where nulls are counted, p is spread evenly over its step."""
    graph, random = small(), np.random.default_rng(0)
    for kind, alternative in (("weight-shuffle", "two-sided"), ("gaussian", "greater")):
        pvalues = []
        for k in range(150):
            drawn = null_model(graph, kind, (1, k))
            found = significance(drawn, "fluctuation of 0", kind, 9, seed=k + 1000, alternative=alternative)
            pvalues.append(found.table["pvalue"][0])
        assert set(np.round(np.array(pvalues) * 10, 9)) <= set(range(1, 11))
        spread = np.array(pvalues) - random.random(150) / 10
        assert scipy.stats.kstest(spread, "uniform").pvalue > 0.01, kind


def test_a_rewired_graph_has_uniform_p_values():
    graph, random = sparsify(traced(nn.Linear(12, 12, bias=False), 12), max_edges=50), np.random.default_rng(0)
    pvalues = []
    for k in range(150):
        found = significance(null_model(graph, "rewire", (1, k)), "fluctuation", "rewire", 9, seed=k + 1000)
        pvalues.append(found.table["pvalue"].iloc[-1])
    spread = np.array(pvalues) - random.random(150) / 10
    assert scipy.stats.kstest(spread, "uniform").pvalue > 0.01


def test_structure_that_was_planted_is_found():
    """Half of the targets have all the large weights: their strengths spread wider than of any shuffled graph."""
    layer = nn.Linear(20, 10, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1, 1, 200).reshape(10, 20))
    found = significance(dg.from_torch(nn.Sequential(layer), torch.zeros(1, 20)), "fluctuation", "weight-shuffle", 999)
    row = found.table.iloc[1]
    assert row["z"] > 5
    assert row["pvalue"] == 0.001 == found.resolution
    assert found.sentences()[1] == (
        f"fluctuation of output layer '0' is {row['z']:.1f} σ above weight-shuffled nulls, p ≤ 0.002"
    )


# --- what is measured ------------------------------------------------------------------------------------------------


def test_measures_of_a_profile_are_those_of_the_unrolled_graph():
    graph = small()
    found = significance(graph, ["reciprocity", "strength_abs", "disparity"], "weight-shuffle", 3)
    rows = found.table.set_index(["measure", "place"])
    null = profile(null_model(graph, "weight-shuffle", (0, 1)), "disparity")
    expected = null.nodes["disparity_in"][graph.layers[1].start : graph.layers[1].stop].mean()
    place = rows.index.get_loc(("mean disparity_in", graph.layers[1].name))
    assert found.nulls[1, place] == pytest.approx(expected)
    assert rows.loc[("reciprocity", ""), "note"] == UNCHANGED
    assert (found.table["level"] == "graph").sum() == 1
    inputs = rows.loc[("mean disparity_in", "input")]  # no node has in-edges
    assert inputs["note"] == UNDEFINED


@pytest.mark.parametrize(("reduce", "expected"), [("mean", np.mean), ("std", np.std), ("min", np.min), ("max", np.max)])
def test_values_of_nodes_are_reduced_layer_by_layer(reduce, expected):
    graph = small()
    found = significance(graph, "strength_out", "gaussian", 2, reduce=reduce)
    values = dg.strength(graph, "out")
    numbers = [expected(values[layer.start : layer.stop]) for layer in graph.layers]
    np.testing.assert_allclose(found.table["observed"], numbers)
    assert found.table["measure"].tolist() == [f"{reduce} strength_out"] * 3


def test_functions_give_a_number_or_several_by_name():
    graph = small()

    def several(graph):
        return {"smallest": dg.strength(graph).min(), "edges": graph.number_of_edges()}

    found = significance(
        graph,
        [largest_in_strength, several, lambda graph: pd.Series({"nodes": len(graph)}), lambda graph: torch.tensor(2.0)],
        "gaussian",
        5,
    )
    assert found.table["measure"].tolist() == ["largest_in_strength", "smallest", "edges", "nodes", "measure"]
    assert found.table["observed"][0] == dg.strength(graph, "in").max()
    assert found.table["observed"][2:].tolist() == [45, 14, 2]
    assert found.table["note"][2:].tolist() == [UNCHANGED] * 3


def test_kinds_are_those_that_count_and_null_kinds_those_that_are_drawn():
    graph = graph_of("convolutional-position")
    found = significance(graph, "fluctuation", "gaussian", 2, kinds="weight")
    np.testing.assert_array_equal(found.table["observed"], dg.fluctuation(graph, kinds="weight"))
    found = significance(graph, "fluctuation", "gaussian", 2, kinds="weight", null_kinds="pool")
    assert found.table["note"].tolist() == [UNCHANGED] * len(graph.layers)


def test_a_fresh_initialisation_takes_the_model():
    model = fill(NETWORKS["convolutional"](), 0)
    graph = dg.from_torch(model, torch.zeros(1, 2, 6, 6))
    found = significance(graph, "fluctuation", "initialisation", 4, model=model, jobs=2)
    null = null_model(graph, "initialisation", (0, 3), model=model)
    np.testing.assert_array_equal(found.nulls[3], dg.fluctuation(null))


# --- words -----------------------------------------------------------------------------------------------------------


def words(observed, nulls, n=99, correction=None):
    """Say a made-up measure of :func:`by_hand` in words; ``nulls`` gives the number of null k."""
    count = iter([observed, *map(nulls, range(n))])
    return significance(by_hand(), lambda graph: next(count), "gaussian", n, correction=correction)


def test_sentences_say_no_more_than_the_nulls_show():
    said = {
        words(200, float): "is 5.3 σ above Gaussian nulls, p ≤ 0.01",
        words(50, float): "is 0.0 σ above Gaussian nulls, p = 0.99: within chance",
        words(200, float, n=9): "is 71.6 σ above Gaussian nulls, p ≤ 0.1: too few nulls to tell",
        words(-1, lambda k: 1.0): "is -1, below Gaussian nulls, which all have 1, p ≤ 0.01",
        words(np.nan, float): "cannot be compared with Gaussian nulls: undefined in the graph",
        words(200, float, correction="fdr"): "is 5.3 σ above Gaussian nulls, q ≤ 0.01",
    }
    for found, sentence in said.items():
        assert found.sentences() == [f"measure {sentence}"]


def test_too_few_nulls_for_the_correction_are_said():
    found = significance(small(), "fluctuation", "gaussian", 19)
    (note,) = found.notes
    assert note.startswith("19 nulls cannot show that one of 3 measures is significant at 0.05, corrected")
    assert "give n of 59 or more" in note
    assert not significance(small(), "fluctuation", "gaussian", 59).notes
    assert str(found).endswith(note)


def test_links_that_could_not_be_rewired_are_named():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 2))
    fill(model, 0)[0].weight.data[torch.rand(6, 6, generator=torch.Generator().manual_seed(0)) < 0.5] = 0
    found = significance(dg.from_torch(model, torch.zeros(1, 6)), "fluctuation of 0", "rewire", 99)
    assert found.notes == ("links to '1' are the same in the nulls: nothing in them can change places",)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure": "flux"}, "unknown measure 'flux': choose from strength, .*pagerank.*or give a function"),
        ({"measure": "fluctuation of layer 9"}, "'fluctuation of layer 9' is of no layer .* choose from input, 0, 2"),
        ({"measure": []}, "no measure is asked for"),
        ({"measure": dg.strength}, r"'strength' gave an array of shape \(5,\)"),
        ({"measure": lambda graph: {}}, "gave no numbers"),
        ({"kind": "shuffled"}, "kind='shuffled' is unknown"),
        ({"n": 0}, "n=0 must be a number of nulls"),
        ({"alternative": "larger"}, "alternative='larger' is unknown"),
        ({"correction": "bonferroni"}, "correction='bonferroni' is unknown"),
        ({"reduce": "sum"}, "reduce='sum' is unknown"),
        ({"jobs": 0}, "jobs=0 would measure nothing"),
        ({"kinds": "heavy"}, "unknown link kind"),
        ({"model": mlp_2_2_1()}, "model= belongs to kind='initialisation'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, message):
    given = {"measure": "fluctuation", "kind": "gaussian", "n": 2, **options}
    with pytest.raises(dg.InputError, match=message):
        significance(by_hand(), given.pop("measure"), given.pop("kind"), given.pop("n"), **given)


def test_weights_that_are_not_finite_are_refused():
    model = mlp_2_2_1()
    model[0].weight.data[0, 0] = float("inf")
    with pytest.raises(dg.WeightsError, match="layer '0' has 1 non-finite"):
        significance(dg.from_torch(model, torch.zeros(1, 2)), "fluctuation", "gaussian", 2)
