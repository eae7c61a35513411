"""A stored population is measured and analysed as its networks, taken one by one, would be."""

from __future__ import annotations

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

import dnn2graph as dg
from dnn2graph.population.claims import CLAIMS, FAILS, HOLDS, IN_PART, UNKNOWN, findings
from dnn2graph.population.design import Design
from dnn2graph.population.ensemble import CONTROLS, Analysis, analyse
from dnn2graph.population.initialisation import initial_weights
from dnn2graph.population.measuring import measure
from dnn2graph.population.store import Store, stack_path, write_description, write_stack

DESIGN = Design(
    "digits",
    width=6,
    networks=18,
    steps=2,
    snapshots=(0, 1, 2),
    initialisations=("normal", "uniform"),
    supports=(0.05, 0.5, 5.0),
)
GROUP = 9


def write(folder, design=DESIGN, diverged=()):
    """Write a population that was not trained: weights that grow with the step, and random accuracies."""
    random = np.random.default_rng(0)
    write_description(folder, design, group_size=GROUP)
    for group in range(design.networks // GROUP):
        networks = range(group * GROUP, (group + 1) * GROUP)
        starts = [design.network(k) for k in networks]
        for step in design.snapshots:
            weights = {name: values * (1 + step / 4) for name, values in initial_weights(design, networks).items()}
            for k in set(diverged) & set(networks):
                weights["hidden.weight"][k - networks[0], 0, 0] = torch.inf if step else 0.5
            members = {
                "network": list(networks),
                "step": [step] * GROUP,
                "accuracy": random.uniform(0.1, 0.9, GROUP).tolist(),
                **dict(zip(("initialisation", "support", "seed"), map(list, zip(*starts, strict=True)), strict=True)),
            }
            write_stack(stack_path(folder, group, step), weights, members)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("population"))


@pytest.fixture(scope="module")
def measured(folder):
    return measure(folder)


def members_one_by_one(folder):
    """Yield the state dict of every member."""
    store = Store(folder)
    for stack in store.stacks():
        weights, members = store.read(stack)
        for place in range(len(members)):
            yield {name: tensor[place] for name, tensor in weights.items()}


@pytest.mark.parametrize("granularity", ["position", "channel"])
@pytest.mark.parametrize("architecture", ["fc", "cnn"])
def test_every_member_measures_as_its_own_graph_does(tmp_path, architecture, granularity):
    design = Design("digits", architecture, width=3, networks=GROUP, steps=1, snapshots=(0, 1))
    found = measure(write(tmp_path, design), granularity)
    model = design.model()
    graph = dg.from_torch(model, design.example_input(), granularity)
    for place, state_dict in enumerate(members_one_by_one(tmp_path)):
        alone = graph.with_weights(state_dict)
        size = dg.strength(alone, weight="abs")
        # float32 weights are summed in another order; relative to what cancels
        np.testing.assert_array_less(np.abs(found.strength[place] - dg.strength(alone)), 1e-6 * size + 1e-300)
        np.testing.assert_allclose(found.fluctuation[place], dg.fluctuation(alone), rtol=1e-5)
    assert place + 1 == len(found) == 2 * GROUP


def test_features_are_those_of_strengths_and_of_link_weights_by_layer(measured, folder):
    layers = {layer.name: slice(layer.start, layer.stop) for layer in measured.graph.layers}
    assert list(layers) == ["input", *(layer.name for layer in measured.graph.layers[1:])]
    for name, nodes in layers.items():
        strengths = measured.strength[:, nodes]
        np.testing.assert_allclose(measured.features[f"strength:{name}:std"], strengths.std(1), rtol=1e-12)
        kurtosis = scipy.stats.kurtosis(strengths, axis=1)
        np.testing.assert_allclose(measured.features[f"strength:{name}:kurtosis"], kurtosis, rtol=1e-9)
    hidden = measured.graph.layers[1].name
    parameter = next(iter(Store(folder).model().state_dict()))
    weights = np.stack([state[parameter].numpy().ravel() for state in members_one_by_one(folder)]).astype(float)
    np.testing.assert_allclose(measured.features[f"link_weights:{hidden}:mean"], weights.mean(1), rtol=1e-9)
    np.testing.assert_allclose(
        measured.features[f"link_weights:{hidden}:q99"], np.quantile(weights, 0.99, axis=1), rtol=1e-12
    )


def test_processes_and_clusters_give_what_one_process_gives(measured, folder, cluster):
    spread = measure(folder, jobs=2)
    with joblib.parallel_config(backend="dask"):
        clustered = measure(folder, jobs=None)
    for other in (spread, clustered):
        np.testing.assert_array_equal(other.strength, measured.strength)
        pd.testing.assert_frame_equal(other.features, measured.features)
        pd.testing.assert_frame_equal(other.members, measured.members)


def test_pooled_densities_are_those_of_all_values_of_a_bin_together(measured, folder):
    analysis = analyse(measured, folder, bin_width=0.2, bootstrap=10, jobs=2)
    assert analysis.networks.sum() == len(measured) == 54
    bins = np.digitize(measured.members["accuracy"], analysis.edges) - 1
    parameters = [name for name in Store(folder).model().state_dict() if name.endswith("weight")]
    every = list(members_one_by_one(folder))
    weights = {name: np.stack([state[name].numpy().ravel() for state in every]) for name in parameters}
    layers = measured.graph.layers
    values = {("strength", layer.name): measured.strength[:, layer.start : layer.stop] for layer in layers}
    values |= {
        ("link_weights", layer.name): weights[name] for layer, name in zip(layers[1:], parameters, strict=True)
    }
    assert {(each.measure, each.layer) for each in analysis.pooled} == set(values)
    for pooled in analysis.pooled:
        for number, found in enumerate(pooled.log_density):
            sample = values[pooled.measure, pooled.layer][bins == number].ravel().astype(float)
            np.testing.assert_allclose(found, scipy.stats.gaussian_kde(sample).logpdf(pooled.x), rtol=1e-5)


def test_only_the_chosen_members_are_pooled_and_all_are_compared(measured, folder):
    chosen = (measured.members["support"] == 0.05).to_numpy()
    analysis = analyse(measured, folder, pool=chosen, bin_width=0.4, bootstrap=10)
    assert analysis.networks.sum() == chosen.sum() == 18
    for pooled in analysis.pooled:
        assert np.abs(pooled.x).max() < 20  # a support of 5 has strengths of hundreds
    uncontrolled = analysis.separation[analysis.separation["control"] == "none"]
    assert (uncontrolled["n_low"] == 18).all()


def test_members_that_diverged_are_counted_and_left_out(tmp_path):
    measured = measure(write(tmp_path, diverged=[4]))
    assert measured.finite().sum() == 52
    analysis = analyse(measured, tmp_path, bin_width=0.2, bootstrap=10)
    assert analysis.diverged == 2
    assert analysis.networks.sum() == 52
    assert all(np.isfinite(pooled.log_density[analysis.networks > 0]).all() for pooled in analysis.pooled)
    assert measured.where(measured.finite()).features.notna().all(axis=None)


def test_each_control_compares_every_feature(measured):
    analysis = analyse(measured, bootstrap=10)
    table = analysis.separation
    assert list(table["control"].unique()) == list(CONTROLS)
    assert (table.groupby("control")["feature"].nunique() == measured.features.shape[1]).all()
    assert analysis.of("link_weights") == []  # without the folder


def test_divergences_are_listed_once_for_each_pair_of_bins_that_have_networks(measured):
    analysis = analyse(measured, bin_width=0.2, bootstrap=10)
    table = analysis.divergences()
    present = int((analysis.networks > 0).sum())
    assert len(table) == 3 * 2 * present * (present - 1) // 2
    first = analysis.pooled[0]
    row = table[(table["layer"] == "input") & (table["kind"] == "jensen-shannon")].iloc[0]
    assert row["value"] == first.divergence("jensen-shannon")[0, 1]
    assert (row["low"], row["high"]) == (analysis.edges[0], analysis.edges[1])


def test_a_population_of_unknown_accuracy_cannot_be_analysed(measured):
    unknown = measured.where(np.arange(len(measured)) < 9)
    unknown.members["accuracy"] = np.nan
    with pytest.raises(dg.InputError, match="0 of 9 members are finite and have an accuracy"):
        analyse(unknown)


# --- claims ----------------------------------------------------------------------------------------------------------


def verdicts(rows):
    """Ask the claims of a table of (feature, AUC, half of its interval, corrected p-value)."""
    table = pd.DataFrame(rows, columns=["feature", "auc", "half", "pvalue_corrected"]).assign(control="none")
    table = table.assign(auc_low=table["auc"] - table["half"], auc_high=table["auc"] + table["half"])
    analysis = Analysis(np.array([0.0, 1.0]), np.array([2]), (), table, 0)
    return [each.verdict for each in findings(analysis)]


def test_the_claims_hold_where_strength_alone_separates_and_its_extremes_are_heavier():
    rows = [
        ("link_weights:a:mean", 0.52, 0.1, 0.9),
        ("strength:a:mean", 0.5, 0.1, 1.0),
        ("strength:a:std", 0.9, 0.05, 0.001),
        ("strength:a:kurtosis", 0.8, 0.05, 0.001),
        ("strength:a:spread", 0.9, 0.05, 0.001),
    ]
    assert verdicts(rows) == [HOLDS] * len(CLAIMS)


def test_the_claims_fail_where_link_weights_separate_better_and_extremes_are_lighter():
    rows = [
        ("link_weights:a:mean", 0.05, 0.02, 0.001),
        ("strength:a:std", 0.6, 0.05, 0.2),
        ("strength:a:kurtosis", 0.3, 0.05, 0.001),
        ("strength:a:spread", 0.45, 0.1, 0.9),
    ]
    assert verdicts(rows) == [FAILS, HOLDS, FAILS, FAILS, FAILS]


def test_what_holds_in_one_layer_holds_in_part_and_what_overlaps_cannot_be_told():
    rows = [
        ("link_weights:a:mean", 0.7, 0.1, 0.2),
        ("strength:a:std", 0.8, 0.1, 0.01),
        ("strength:b:std", 0.5, 0.1, 1.0),
        ("strength:a:kurtosis", 0.8, 0.05, 0.001),
        ("strength:b:kurtosis", 0.5, 0.05, 0.9),
    ]
    assert verdicts(rows) == [HOLDS, HOLDS, IN_PART, UNKNOWN, IN_PART]


def test_nothing_can_be_told_where_nothing_can_be_compared():
    rows = [("link_weights:a:mean", np.nan, np.nan, np.nan), ("strength:a:std", np.nan, np.nan, np.nan)]
    assert verdicts(rows) == [UNKNOWN] * len(CLAIMS)
