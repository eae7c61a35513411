"""Divergences between densities are those of their definitions, also where densities hardly meet."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import logsumexp
from scipy.stats import entropy, gaussian_kde

from dnn2graph.errors import InputError
from dnn2graph.measures.density import densities_of
from dnn2graph.measures.divergence import (
    divergence_matrix,
    jensen_shannon,
    kullback_leibler,
    symmetric_kullback_leibler,
)

MEASURES = [kullback_leibler, symmetric_kullback_leibler, jensen_shannon]


def test_divergences_of_probabilities_are_scipys():
    p, q = np.random.default_rng(0).dirichlet(np.ones(20), size=(2, 5))
    step = 0.25
    np.testing.assert_allclose(kullback_leibler(p / step, q / step, step), entropy(p, q, axis=1), rtol=1e-12)
    both = entropy(p, q, axis=1) + entropy(q, p, axis=1)
    np.testing.assert_allclose(symmetric_kullback_leibler(p / step, q / step, step), both, rtol=1e-12)
    np.testing.assert_allclose(jensen_shannon(p / step, q / step, step), jensenshannon(p, q, axis=1) ** 2, rtol=1e-12)


def test_divergence_of_two_normal_densities_is_the_closed_form():
    x = np.linspace(-40, 40, 8001)
    log_p, log_q = -0.5 * x**2 - np.log(2 * np.pi) / 2, -0.125 * (x - 1) ** 2 - np.log(8 * np.pi) / 2
    expected = np.log(2) + (1 + 1) / 8 - 0.5
    assert kullback_leibler(log_p, log_q, 0.01, log=True) == pytest.approx(expected, rel=1e-10)
    other = -np.log(2) + (4 + 1) / 2 - 0.5
    assert symmetric_kullback_leibler(log_p, log_q, 0.01, log=True) == pytest.approx(expected + other, rel=1e-10)


SAMPLES = {
    "alike": lambda rng: [rng.normal(size=2000), rng.normal(size=1500) * 1.001],
    "of other width": lambda rng: [rng.normal(size=2000) * 0.05, rng.normal(size=2000) * 5],
    "far apart": lambda rng: [rng.normal(size=2000), 400 + rng.normal(size=1000) * 2],
    "of heavy tails": lambda rng: [rng.standard_cauchy(2000), rng.normal(size=2000)],
}


@pytest.mark.parametrize("name", SAMPLES)
def test_divergences_of_samples_are_those_of_scipys_log_densities(name):
    samples = SAMPLES[name](np.random.default_rng(3))
    x, (p, q) = densities_of(samples, log=True)
    step = x[1] - x[0]
    exact_p, exact_q = (gaussian_kde(sample).logpdf(x) for sample in samples)
    kl = [(np.exp(a) * (a - b)).sum() * step for a, b in [(exact_p, exact_q), (exact_q, exact_p)]]
    middle = logsumexp([exact_p, exact_q], axis=0) - np.log(2)
    js = sum((np.exp(a) * (a - middle)).sum() for a in (exact_p, exact_q)) * step / 2
    assert kullback_leibler(p, q, step, log=True) == pytest.approx(kl[0], rel=1e-5)
    assert kullback_leibler(q, p, step, log=True) == pytest.approx(kl[1], rel=1e-5)
    assert symmetric_kullback_leibler(p, q, step, log=True) == pytest.approx(sum(kl), rel=1e-5)
    assert jensen_shannon(p, q, step, log=True) == pytest.approx(js, rel=1e-5)
    assert np.isfinite(kl).all()


def test_plain_densities_that_underflow_diverge_infinitely_and_logarithms_do_not():
    samples = SAMPLES["far apart"](np.random.default_rng(3))
    x, logarithms = densities_of(samples, log=True)
    step = x[1] - x[0]
    assert symmetric_kullback_leibler(*np.exp(logarithms), step) == np.inf
    assert 1e6 < symmetric_kullback_leibler(*logarithms, step, log=True) < np.inf
    assert jensen_shannon(*np.exp(logarithms), step) == pytest.approx(np.log(2), rel=1e-3)


def test_zeros_follow_the_definition():
    p, q = np.array([0.5, 0.5, 0.0, 0.0]), np.array([0.25, 0.5, 0.25, 0.0])
    assert kullback_leibler(p, q, 1.0) == pytest.approx(0.5 * np.log(2))
    assert kullback_leibler(q, p, 1.0) == np.inf
    assert symmetric_kullback_leibler(p, q, 1.0) == np.inf
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 1.0) == pytest.approx(np.log(2))
    for measure in MEASURES:
        assert measure(p, p, 1.0) == 0


@pytest.mark.parametrize("kind", ["symmetric-kl", "jensen-shannon"])
@pytest.mark.parametrize("log", [False, True])
def test_a_matrix_holds_all_pairs_and_nan_for_bins_without_data(kind, log):
    densities = np.random.default_rng(1).dirichlet(np.ones(30), size=4)
    densities[2] = np.nan
    given = np.log(densities) if log else densities
    measure = jensen_shannon if kind == "jensen-shannon" else symmetric_kullback_leibler
    matrix = divergence_matrix(given, 0.5, kind, log=log)
    for i in range(4):
        for j in range(4):
            np.testing.assert_allclose(matrix[i, j], measure(densities[i], densities[j], 0.5), rtol=1e-12)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert np.isnan(matrix[2]).all()
    np.testing.assert_array_equal(np.diag(matrix)[[0, 1, 3]], 0.0)


def test_a_divergence_is_never_negative_by_rounding():
    p = np.random.default_rng(2).dirichlet(np.ones(1000), size=50)
    q = np.nextafter(p, 1)
    assert (jensen_shannon(p, q, 1.0) >= 0).all()
    assert (symmetric_kullback_leibler(p, q, 1.0) >= 0).all()


def test_what_has_no_divergence_is_refused_with_the_reason():
    p = np.full(4, 0.25)
    with pytest.raises(InputError, match=r"shapes \(4,\) and \(3,\) are not at the same points"):
        kullback_leibler(p, p[:3], 1.0)
    with pytest.raises(InputError, match="negative: pass log=True"):
        jensen_shannon(np.log(p), np.log(p), 1.0)
    with pytest.raises(InputError, match=r"step=0\.0 must be positive"):
        kullback_leibler(p, p, 0.0)
    with pytest.raises(InputError, match="'kl' is unknown: choose from symmetric-kl, jensen-shannon"):
        divergence_matrix(p[None], 1.0, "kl")
    with pytest.raises(InputError, match=r"\(4,\) must be \(bins, points\)"):
        divergence_matrix(p, 1.0)
