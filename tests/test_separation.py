"""How well features separate accurate networks from poor ones is what scikit-learn, scipy and counting by hand say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score

from dnn2graph.errors import InputError
from dnn2graph.population.features import summary_features
from dnn2graph.population.separation import accuracy_bins, holm, separation


def independent(count, seed=0):
    """Make members that are a network each, with accuracies that all differ."""
    rng = np.random.default_rng(seed)
    accuracy = rng.permutation(np.linspace(0.05, 0.95, count))
    return pd.DataFrame({"network": rng.permutation(count), "step": 0, "accuracy": accuracy})


def trained(networks, steps, seed=0):
    """Make networks that become better with training time, each at its own pace."""
    rng = np.random.default_rng(seed)
    members = pd.DataFrame(list(product(range(networks), range(steps))), columns=["network", "step"])
    skill = rng.normal(size=networks)
    raw = 2.0 * members["step"] / steps + 0.5 * skill[members["network"]] + 0.1 * rng.normal(size=len(members))
    members["accuracy"] = 1 / (1 + np.exp(1.5 - raw))
    members["initialisation"] = np.where(members["network"] % 2, "normal", "uniform")
    members["support"] = np.where(members["network"] % 3, 0.05, 5.0)
    return members, skill[members["network"].to_numpy()]


def thirds(members):
    """Rows of low and of high accuracy, over all members."""
    accuracy = members["accuracy"].to_numpy()
    low, high = np.quantile(accuracy, [1 / 3, 2 / 3])
    return accuracy <= low, accuracy >= high


# --- accuracy bins ---------------------------------------------------------------------------------------------------


def test_bins_have_the_papers_width_and_hold_their_lower_edge():
    edges, index = accuracy_bins(np.array([0.1, 0.125, 0.1249, 0.3, 0.175]))
    np.testing.assert_array_equal(edges, np.round(np.arange(4, 14) * 0.025, 12))
    np.testing.assert_array_equal(index, [0, 1, 0, 8, 3])


def test_every_multiple_of_the_width_is_in_the_bin_that_it_opens_in_both_precisions():
    multiples = np.arange(40) * 0.025
    for accuracy in (multiples, multiples.astype(np.float32), np.round(multiples, 3)):
        edges, index = accuracy_bins(accuracy)
        np.testing.assert_array_equal(index, np.arange(40))
        assert len(edges) == 41


def test_perfect_accuracy_is_in_the_last_bin_below_one():
    edges, index = accuracy_bins(np.array([1.0, 0.99, np.float32(1.0)]), width=0.025)
    np.testing.assert_array_equal(edges, [0.975, 1.0])
    np.testing.assert_array_equal(index, [0, 0, 0])
    edges, index = accuracy_bins(np.array([0.0, 1.0]), width=0.3)
    np.testing.assert_array_equal(edges, [0.0, 0.3, 0.6, 0.9, 1.2])
    np.testing.assert_array_equal(index, [0, 3])


def test_given_edges_leave_out_what_is_outside_and_unknown():
    _, index = accuracy_bins(np.array([0.05, 0.1, 0.5, 0.8, 0.81, np.nan]), edges=[0.1, 0.5, 0.8])
    np.testing.assert_array_equal(index, [-1, 0, 1, 1, -1, -1])


def test_quantile_bins_hold_equal_numbers_and_join_where_accuracies_are_equal():
    accuracy = np.random.default_rng(0).permutation(np.linspace(0, 1, 12))
    edges, index = accuracy_bins(accuracy, quantiles=4)
    np.testing.assert_array_equal(np.bincount(index), [3, 3, 3, 3])
    np.testing.assert_allclose(edges, np.quantile(accuracy, [0, 0.25, 0.5, 0.75, 1]))
    edges, index = accuracy_bins(np.array([0.1, 0.1, 0.1, 0.9]), quantiles=(0, 0.5, 1))
    np.testing.assert_array_equal(edges, [0.1, 0.9])
    np.testing.assert_array_equal(index, [0, 0, 0, 0])
    edges, index = accuracy_bins(np.full(3, 0.4), quantiles=3)
    np.testing.assert_array_equal(edges, [0.4, 0.4])
    np.testing.assert_array_equal(index, [0, 0, 0])


@pytest.mark.parametrize(
    ("accuracy", "options", "message"),
    [
        ([], {}, "none of 0 members has an accuracy"),
        ([np.nan], {}, "none of 1 members"),
        ([0.5, 97.3], {}, r"97\.3 is not a fraction"),
        ([-0.5], {}, r"-0\.5 is not a fraction"),
        ([0.5], {"width": 0.1, "quantiles": 2}, "exclude each other"),
        ([0.5], {"width": 0.0}, r"width=0\.0 must be positive"),
        ([0.5], {"edges": [0.5, 0.5]}, "that increase"),
        ([0.5], {"quantiles": 0}, "quantiles=0 must be"),
        ([0.5], {"quantiles": [0, 50]}, "from 0 to 1"),
    ],
)
def test_bins_that_cannot_be_made_are_refused(accuracy, options, message):
    with pytest.raises(InputError, match=message):
        accuracy_bins(np.array(accuracy), **options)


# --- features --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_features_are_those_of_scipy_and_numpy(dtype, monkeypatch):
    monkeypatch.setattr("dnn2graph.population.features.BLOCK", 100)  # two members at a time
    values = (np.random.default_rng(0).standard_t(4, size=(7, 50)) + 3).astype(dtype)
    table = summary_features(values, "strength:hidden:")
    exact = values.astype(np.float64)
    expected = {
        "mean": exact.mean(1),
        "std": exact.std(1),
        "skewness": scipy.stats.skew(exact, axis=1),
        "kurtosis": scipy.stats.kurtosis(exact, axis=1),
        **{f"q{int(100 * q):02d}": np.quantile(exact, q, axis=1) for q in (0.01, 0.05, 0.95, 0.99)},
        "min": exact.min(1),
        "max": exact.max(1),
        "spread": np.quantile(exact, 0.99, axis=1) - np.quantile(exact, 0.01, axis=1),
    }
    assert list(table.columns) == [f"strength:hidden:{name}" for name in expected]
    np.testing.assert_allclose(table.to_numpy(), np.stack([*expected.values()], axis=1), rtol=1e-12)


def test_features_that_one_node_or_equal_values_do_not_have_are_nan():
    one = summary_features(np.array([[2.0], [3.0]]), "")
    assert one[["skewness", "kurtosis"]].isna().all(axis=None)
    np.testing.assert_array_equal(one[["mean", "std", "q01", "max", "spread"]], [[2, 0, 2, 2, 0], [3, 0, 3, 3, 0]])
    equal = summary_features(np.full((1, 9), 0.1), "")
    assert equal[["skewness", "kurtosis"]].isna().all(axis=None)
    assert equal["std"][0] == pytest.approx(0, abs=1e-16)


def test_a_member_with_values_that_are_not_finite_has_no_features_and_the_others_do():
    table = summary_features(np.array([[1.0, np.nan], [1.0, 3.0], [np.inf, 0.0]]), "")
    assert table.iloc[[0, 2]].isna().all(axis=None)
    np.testing.assert_array_equal(table.loc[1, ["mean", "std"]], [2.0, 1.0])


def test_values_that_are_no_table_are_refused():
    with pytest.raises(InputError, match=r"\(3,\) must be \(members, nodes\)"):
        summary_features(np.zeros(3), "")
    with pytest.raises(InputError, match="at least one node"):
        summary_features(np.zeros((3, 0)), "")


# --- how well a feature separates ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:ks_2samp")  # the exact p-value of some is out of scipy's reach
def test_auc_and_ks_of_independent_networks_are_those_of_scikit_learn_and_scipy():
    members = independent(90)
    rng = np.random.default_rng(1)
    features = pd.DataFrame(
        {
            "strong": members["accuracy"] + 0.2 * rng.normal(size=90),
            "weak": members["accuracy"] + 2.0 * rng.normal(size=90),
            "opposite": -members["accuracy"] + 0.3 * rng.normal(size=90),
            "tied": np.round(3 * members["accuracy"] + rng.normal(size=90)),
            "whole": rng.integers(0, 5, size=90),
        }
    )
    table = separation(features, members, bootstrap=200)
    low, high = thirds(members)
    assert list(table["feature"]) == list(features.columns)
    for row in table.itertuples():
        values = features[row.feature].to_numpy(float)
        both = np.concatenate([values[low], values[high]])
        assert row.auc == pytest.approx(roc_auc_score([0] * 30 + [1] * 30, both), abs=1e-12)
        expected = scipy.stats.ks_2samp(values[low], values[high])
        assert (row.ks, row.ks_pvalue) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)
        assert row.auc_low <= row.auc <= row.auc_high
    assert (table[["n_low", "n_high", "networks", "strata"]] == [30, 30, 60, 1]).all(axis=None)
    np.testing.assert_allclose(table["accuracy_low"], np.median(members["accuracy"][low]))
    np.testing.assert_allclose(table["accuracy_high"], np.median(members["accuracy"][high]))


def test_pvalue_is_about_that_of_the_mann_whitney_test_where_networks_are_independent():
    rng = np.random.default_rng(5)
    members = independent(300)
    features = pd.DataFrame({str(i): members["accuracy"] + 1.5 * rng.normal(size=300) for i in range(30)})
    table = separation(features, members, bootstrap=1000)
    low, high = thirds(members)
    exact = [scipy.stats.mannwhitneyu(features[n][low], features[n][high]).pvalue for n in features]
    # In standard deviations: the bootstrap's error is estimated, and the alternative's may differ from the null's.
    ours, theirs = scipy.stats.norm.isf(table["pvalue"] / 2), scipy.stats.norm.isf(np.array(exact) / 2)
    np.testing.assert_allclose(ours, theirs, rtol=0.2, atol=0.1)


def brute_force(values, members, within):
    """Count pairs one by one."""
    concordant = pairs = 0.0
    for _, stratum in members.groupby(within):
        low, high = (stratum.index[chosen] for chosen in thirds(stratum))
        for i, j in product(low, high):
            pairs += 1
            concordant += (values[j] > values[i]) + 0.5 * (values[j] == values[i])
    return concordant / pairs


@pytest.mark.parametrize("within", [["step"], ["initialisation", "support"], ["step", "initialisation", "support"]])
def test_stratified_auc_is_the_count_of_pairs_within_strata(within):
    members, skill = trained(40, 5)
    rng = np.random.default_rng(2)
    features = pd.DataFrame(
        {"smooth": skill + rng.normal(size=200), "tied": rng.integers(0, 3, size=200) + (skill > 0)}
    )
    table = separation(features, members, within=within, bootstrap=50).set_index("feature")
    for name in features:
        assert table.loc[name, "auc"] == pytest.approx(brute_force(features[name], members, within), abs=1e-12)
        assert table.loc[name, "strata"] == members.groupby(within).ngroups
    assert table[["ks", "ks_pvalue", "ks_pvalue_corrected"]].isna().all(axis=None)


def test_order_of_members_and_names_of_strata_and_networks_do_not_matter():
    members, skill = trained(30, 4)
    features = pd.DataFrame({"feature": skill + np.random.default_rng(2).normal(size=120)})
    expected = separation(features, members, within="step", bootstrap=50)
    order = np.random.default_rng(3).permutation(120)
    renamed = members.assign(network="net" + members["network"].astype(str).str.zfill(2), step=-members["step"])
    found = separation(features.iloc[order], renamed.iloc[order], within="step", bootstrap=50)
    pd.testing.assert_frame_equal(found, expected)


def test_resamples_are_of_networks_with_all_their_members():
    """Copies of a network's members add nothing to what is known: interval and p-value stay, to the bit."""
    members = independent(60)
    features = pd.DataFrame({"feature": members["accuracy"] + np.random.default_rng(0).normal(size=60)})
    once = separation(features, members, bootstrap=100)
    copies = np.tile(np.arange(60), 7)
    often = separation(features.iloc[copies], members.iloc[copies], bootstrap=100)
    columns = ["auc", "auc_low", "auc_high", "pvalue", "networks", "ks", "ks_pvalue"]
    np.testing.assert_allclose(often[columns].to_numpy(), once[columns].to_numpy(), rtol=1e-12)
    assert often["n_low"][0] == 7 * once["n_low"][0]


def test_interval_covers_the_true_auc_as_often_as_it_says_and_members_alone_would_not():
    rng = np.random.default_rng(11)
    networks, steps, shift = 40, 6, 1.0
    true = scipy.stats.norm.cdf(shift / np.sqrt(2 * (1.0 + 0.25)))
    covered = naive = 0
    runs = 150
    network = np.repeat(np.arange(networks), steps)
    good = network % 2
    for run in range(runs):
        effect = rng.normal(size=networks)[network]  # what a network's members have in common
        values = shift * good + effect + 0.5 * rng.normal(size=network.size)
        members = pd.DataFrame({"network": network, "accuracy": np.where(good, 0.9, 0.1)})
        features = pd.DataFrame({"feature": values})
        row = separation(features, members, bootstrap=200, seed=run).iloc[0]
        covered += row["auc_low"] <= true <= row["auc_high"]
        alone = members.assign(network=np.arange(len(members)))
        row = separation(features, alone, bootstrap=200, seed=run).iloc[0]
        naive += row["auc_low"] <= true <= row["auc_high"]
    assert 0.90 <= covered / runs <= 0.99
    assert naive / runs < 0.75


def test_comparison_at_equal_time_removes_a_feature_that_only_follows_time_and_keeps_a_real_one():
    members, skill = trained(400, 8)
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(2, len(members)))
    features = pd.DataFrame(
        {
            "follows time": members["step"] + 0.5 * noise[0],
            "follows skill": skill + 0.5 * noise[1],
        }
    )
    free = separation(features, members).set_index("feature")
    matched = separation(features, members, within=("step",)).set_index("feature")
    assert free.loc["follows time", "auc"] > 0.9
    assert free.loc["follows time", "pvalue_corrected"] < 1e-6
    assert matched.loc["follows time", "auc"] == pytest.approx(0.5, abs=0.04)
    assert matched.loc["follows time", "auc_low"] < 0.5 < matched.loc["follows time", "auc_high"]
    assert matched.loc["follows time", "pvalue_corrected"] > 0.05
    assert matched.loc["follows skill", "auc"] > 0.9
    assert matched.loc["follows skill", "pvalue_corrected"] < 1e-6
    assert matched.loc["follows skill", "strata"] == 8


def test_comparison_at_equal_initialisation_removes_a_feature_that_only_tells_initialisations_apart():
    members = independent(200)
    members["support"] = np.where(members["accuracy"] > 0.5, 0.05, 5.0)
    features = pd.DataFrame({"feature": members["support"] + 0.1 * np.random.default_rng(0).normal(size=200)})
    assert separation(features, members)["auc"][0] == 0
    matched = separation(features, members, within="support").iloc[0]
    assert matched["auc_low"] < 0.5 < matched["auc_high"]


def test_strata_that_cannot_be_compared_contribute_nothing():
    members = pd.DataFrame(
        {
            "network": [0, 1, 2, 0, 1, 0, 1, 2, 0, 1, 2],
            "step": [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3],
            "accuracy": [0.1, 0.5, 0.9, 0.2, 0.8, 0.3, 0.3, 0.3, np.nan, 0.2, 0.9],
        }
    )
    features = pd.DataFrame({"feature": np.arange(11.0)})
    row = separation(features, members, within="step", bootstrap=20).iloc[0]  # step 0 is left
    assert (row["auc"], row["strata"], row["n_low"], row["n_high"], row["networks"]) == (1.0, 1, 1, 1, 2)


def test_where_nothing_is_left_to_compare_all_is_nan_and_no_network():
    members = pd.DataFrame({"network": [0, 1, 2], "step": 0, "accuracy": [0.5, 0.5, 0.5]})
    features = pd.DataFrame({"feature": [1.0, 2.0, 3.0], "other": [1.0, 1.0, 2.0]})
    for within in ((), ("step",)):
        table = separation(features, members, within=within, bootstrap=20)
        assert (table[["networks", "strata", "n_low", "n_high"]] == 0).all(axis=None)
        rest = ["auc", "auc_low", "auc_high", "pvalue", "pvalue_corrected", "ks", "ks_pvalue", "accuracy_low"]
        assert table[rest].isna().all(axis=None)


def test_many_members_of_equal_accuracy_are_one_group_beside_those_above_or_below():
    members = pd.DataFrame({"network": range(10), "accuracy": [0.1] * 7 + [0.5, 0.6, 0.7]})
    features = pd.DataFrame({"feature": np.arange(10.0)})
    row = separation(features, members, bootstrap=20).iloc[0]
    assert (row["n_low"], row["n_high"], row["auc"]) == (7, 3, 1.0)
    row = separation(features, members.assign(accuracy=1 - members["accuracy"]), bootstrap=20).iloc[0]
    assert (row["n_low"], row["n_high"], row["auc"]) == (3, 7, 0.0)
    row = separation(features, members.assign(accuracy=[0.1] + [0.5] * 8 + [0.9]), bootstrap=20).iloc[0]
    assert (row["n_low"], row["n_high"], row["auc"]) == (1, 1, 1.0)


def test_members_without_a_finite_value_are_left_out_of_that_feature_only():
    members = independent(60)
    whole = members["accuracy"] + 0.3 * np.random.default_rng(0).normal(size=60)
    low, high = thirds(members)
    holes = whole.copy()
    holes[np.flatnonzero(low)[:4]] = np.nan
    holes[np.flatnonzero(high)[:3]] = -np.inf
    table = separation(pd.DataFrame({"holes": holes, "whole": whole, "none": np.nan}), members, bootstrap=50)
    kept = np.isfinite(holes)
    expected = roc_auc_score(np.r_[np.zeros(16), np.ones(17)], np.r_[holes[low & kept], holes[high & kept]])
    assert table["auc"][0] == pytest.approx(expected, abs=1e-12)
    assert table[["n_low", "n_high", "networks"]].to_numpy().tolist() == [[16, 17, 33], [20, 20, 40], [0, 0, 0]]
    assert np.isnan(table["auc"][2])
    np.testing.assert_allclose(table["pvalue_corrected"], holm(table["pvalue"]))


def test_a_constant_feature_separates_nothing():
    row = separation(pd.DataFrame({"constant": np.zeros(30)}), independent(30), bootstrap=50).iloc[0]
    assert (row["auc"], row["auc_low"], row["auc_high"], row["pvalue"], row["ks"]) == (0.5, 0.5, 0.5, 1.0, 0.0)
    assert row["ks_pvalue"] == 1.0


def test_complete_separation_of_few_networks_is_not_certain():
    members = independent(9)
    row = separation(members[["accuracy"]].rename(columns={"accuracy": "feature"}), members, bootstrap=100).iloc[0]
    assert (row["auc"], row["auc_low"], row["auc_high"]) == (1.0, 1.0, 1.0)
    # Mann–Whitney's standard error for three against three: sqrt(7 / 108).
    assert row["pvalue"] == pytest.approx(2 * scipy.stats.norm.sf(0.5 / np.sqrt(7 / 108)), rel=1e-12)


def test_the_bootstrap_of_few_networks_is_not_relied_upon_alone():
    members = pd.DataFrame({"network": np.repeat(range(5), 2), "accuracy": np.repeat([0.1, 0.1, 0.5, 0.9, 0.9], 2)})
    features = pd.DataFrame({"feature": [0.0, 2.0, 0.1, 2.2, 9.0, 9.0, 1.0, 3.0, 0.9, 2.1]})
    row = separation(features, members, bootstrap=500).iloc[0]
    assert row["auc"] == 11 / 16
    assert 0 < row["auc_low"] < row["auc_high"] < 1
    # Mann–Whitney's standard error for two against two: sqrt(5 / 48).
    assert row["pvalue"] == pytest.approx(2 * scipy.stats.norm.sf(3 / 16 / np.sqrt(5 / 48)), rel=1e-12)


def test_the_kolmogorov_smirnov_test_gets_one_member_of_each_network():
    members, skill = trained(30, 10)
    features = pd.DataFrame({"feature": skill})
    table = [separation(features, members, bootstrap=20, seed=seed).iloc[0] for seed in (0, 0, 1)]
    low, high = thirds(members)
    everyone = scipy.stats.ks_2samp(skill[low], skill[high])
    assert table[0]["ks"] == pytest.approx(everyone.statistic)
    assert table[0]["ks_pvalue"] > 100 * everyone.pvalue  # 100 against 100 members of 30 networks are not 200 networks
    assert table[0]["ks_pvalue"] == table[1]["ks_pvalue"]
    assert table[0]["ks_pvalue"] != table[2]["ks_pvalue"]


def test_holms_correction_is_that_worked_out_by_hand():
    # Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2 = 0.06, 0.04 x 1 -> at least 0.06.
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005])), [0.03, 0.06, np.nan, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, 0.9])), [1.0, 1.0])
    assert holm(np.array([])).size == 0


def test_results_follow_from_the_seed():
    members = independent(60)
    features = pd.DataFrame({"feature": members["accuracy"] + np.random.default_rng(0).normal(size=60)})
    first, again, other = (separation(features, members, bootstrap=100, seed=seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first, again)
    assert first["auc"][0] == other["auc"][0]
    assert first["auc_low"][0] != other["auc_low"][0]


def test_resamples_in_blocks_are_the_same(monkeypatch):
    members = independent(60)
    features = pd.DataFrame({"feature": members["accuracy"] + np.random.default_rng(0).normal(size=60)})
    whole = separation(features, members, bootstrap=100)
    monkeypatch.setattr("dnn2graph.population.separation.BLOCK", 200)  # ten resamples at a time
    pd.testing.assert_frame_equal(separation(features, members, bootstrap=100), whole)


def test_progress_counts_the_features():
    seen = []
    features = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 3)), columns=["a", "b", "c"])
    separation(features, independent(30), bootstrap=10, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"within": "epoch"}, "no column epoch: theirs are network, step, accuracy"),
        ({}, {"low": 0.7, "high": 0.3}, r"low=0\.7 and high=0\.3 must be quantiles"),
        ({}, {"bootstrap": 1}, "bootstrap=1 must be at least 2"),
        ({"features": pd.DataFrame({"a": [1.0]})}, {}, "1 rows of features and 9 members"),
        ({"features": pd.DataFrame({"a": ["x"] * 9})}, {}, r"feature\(s\) a are not numbers"),
        ({"features": pd.DataFrame(np.zeros((9, 2)), columns=["a", "a"])}, {}, "two columns 'a'"),
        ({"members": independent(9).drop(columns="accuracy")}, {}, "no column accuracy"),
    ],
)
def test_tables_and_options_that_do_not_fit_are_refused(change, options, message):
    given = {"features": pd.DataFrame({"a": np.zeros(9)}), "members": independent(9), **change}
    with pytest.raises(InputError, match=message):
        separation(**given, **options)
