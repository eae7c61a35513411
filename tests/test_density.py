"""Densities on a grid are scipy's Gaussian kernel estimates, far into their tails, however the sample arrives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from dnn2graph.errors import InputError
from dnn2graph.measures import grid as grids
from dnn2graph.measures.density import Grid, densities_of, density, density_of, log_density, scott

SMALLEST = np.finfo(np.float64).tiny  # below, numbers are subnormal and have few digits


def draw(name):
    """Draw a sample by name."""
    rng = np.random.default_rng(7)
    return {
        "normal": lambda: rng.normal(size=3000) * 0.05,
        "float32": lambda: (rng.normal(size=3000) * 0.05).astype(np.float32),
        "uniform": lambda: rng.uniform(-1, 1, size=3000),
        "heavy tails": lambda: rng.standard_cauchy(3000),
        "supports 0.05 and 5": lambda: np.concatenate([rng.normal(size=2000) * 0.05, rng.normal(size=2000) * 5]),
        "far from zero": lambda: 1e6 + rng.normal(size=1000),
        "few different values": lambda: rng.integers(0, 4, size=1000) / 7,
        "two values": lambda: np.array([0.0, 1.0]),
        "tiny": lambda: rng.normal(size=500) * 1e-9,
        "huge": lambda: rng.normal(size=500) * 1e9,
    }[name]()


SAMPLES = [
    "normal",
    "float32",
    "uniform",
    "heavy tails",
    "supports 0.05 and 5",
    "far from zero",
    "few different values",
    "two values",
    "tiny",
    "huge",
]


@pytest.mark.parametrize("extend", [0.0, 3.0, 45.0, 3000.0])
@pytest.mark.parametrize("name", SAMPLES)
def test_density_and_its_logarithm_are_scipys_at_any_distance_from_the_sample(name, extend):
    sample = draw(name)
    x, found = density_of(sample, 400, extend=extend)
    reference = gaussian_kde(sample.astype(np.float64))
    expected = reference(x)
    # What scipy sums before it divides by the bandwidth may be subnormal although the density is not.
    exact = expected > SMALLEST * max(1.0, 1e20 / np.ptp(sample) if np.ptp(sample) < 1 else 1.0)
    assert exact.any()
    np.testing.assert_allclose(found[exact], expected[exact], rtol=1e-5)
    logarithm = density_of(sample, 400, extend=extend, log=True)[1]
    assert np.isfinite(logarithm).all()
    np.testing.assert_allclose(logarithm, reference.logpdf(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bandwidth", [2e-4, 0.003, 0.05, 1.0, 300.0])
def test_a_given_bandwidth_may_be_narrower_than_a_step_or_wider_than_the_sample(bandwidth):
    sample = draw("normal") * 20
    x, found = density_of(sample, 300, bandwidth=bandwidth, log=True)
    reference = gaussian_kde(sample, bandwidth / sample.std(ddof=1))
    np.testing.assert_allclose(found, reference.logpdf(x), rtol=1e-5, atol=1e-5)


def test_a_cell_of_many_values_is_as_exact_in_the_tail_as_a_cell_of_one():
    rng = np.random.default_rng(0)
    sample = np.concatenate([rng.uniform(0.0, 0.001, 500), [0.0, 0.001], rng.choice([0.002, 0.0021], 200)])
    x, found = density_of(sample, 200, bandwidth=0.1, extend=400, log=True)
    expected = gaussian_kde(sample, 0.1 / sample.std(ddof=1)).logpdf(x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    near = expected > -700
    np.testing.assert_allclose(np.exp(found[near]), np.exp(expected[near]), rtol=1e-5)


def test_values_at_both_ends_of_a_cell_count_by_their_spread():
    grid = Grid(0.0, 400.0, 401, 128)
    sample = np.repeat(
        [200 + 1e-9, 200 + 1 / 128 - 1e-9], 500
    )  # in one cell, as wide as the grid allows for bandwidth 1
    expected = gaussian_kde(sample, 1.0 / sample.std(ddof=1)).logpdf(grid.x)
    np.testing.assert_allclose(log_density(grid.count(sample), grid, 1.0), expected, rtol=2e-6)


def test_counts_of_blocks_add_up_to_those_of_the_sample():
    sample = draw("supports 0.05 and 5")
    bandwidth = float(scott(sample.size, sample.std(ddof=1)))
    grid = Grid.covering(sample.min() - 1, sample.max() + 1, bandwidth)
    whole, parts = grid.count(sample), [grid.count(part) for part in np.split(sample, [0, 10, 1500, 1501, 4000])]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert total.number == whole.number == sample.size
    assert total.first == whole.first
    np.testing.assert_allclose(total.moments, whole.moments, rtol=0, atol=1e-9)
    np.testing.assert_allclose(log_density(total, grid, bandwidth), log_density(whole, grid, bandwidth), rtol=1e-12)


def test_large_samples_are_counted_block_by_block(monkeypatch):
    sample = draw("uniform")
    grid = Grid(-1.0, 1.0, 11)
    whole = grid.count(sample)
    monkeypatch.setattr(grids, "BLOCK", 7)
    np.testing.assert_allclose(grid.count(sample).moments, whole.moments, rtol=0, atol=1e-10)


def test_cells_keep_the_moments_of_their_values_and_halving_keeps_them_exactly():
    grid = Grid(0.0, 4.0, points=2, refine=4)  # four cells, of width 1
    counts = grid.count([0.25, 1.5, 1.75, 4.0])
    assert counts.first == 0
    np.testing.assert_array_equal(counts.moments[:3], [[1, 2, 0, 1], [-0.25, 0.25, 0, 0.5], [0.0625, 0.0625, 0, 0.25]])
    half = counts.halved()
    np.testing.assert_allclose(half.moments, Grid(0.0, 4.0, points=2, refine=2).count([0.25, 1.5, 1.75, 4.0]).moments)


@pytest.mark.parametrize("first", [0.0, 1.0, 2.0])
def test_halving_aligns_counts_that_begin_in_the_middle_of_a_pair(first):
    values = np.array([0.25, 0.5, 1.75]) + first
    half = Grid(0.0, 8.0, points=2, refine=8).count(values).halved()
    expected = Grid(0.0, 8.0, points=2, refine=4).count(values)
    assert half.first == expected.first
    np.testing.assert_allclose(half.moments, expected.moments)


def test_a_grid_for_narrow_bandwidths_serves_wide_ones_with_the_same_result():
    sample = draw("normal")
    fine, coarse = Grid.covering(-1, 1, np.array([1e-4, np.nan, 0.1])), Grid.covering(-1, 1, 0.1)
    assert fine.refine > coarse.refine
    np.testing.assert_allclose(
        density(fine.count(sample), fine, 0.1), density(coarse.count(sample), coarse, 0.1), rtol=1e-6
    )


def test_scotts_bandwidth_is_scipys_and_unknown_without_two_different_values():
    sample = draw("heavy tails")
    expected = np.sqrt(gaussian_kde(sample).covariance[0, 0])
    assert scott(sample.size, sample.std(ddof=1)) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(scott([0, 1, 5, 32], [np.nan, np.nan, 0.0, 3.0]), [np.nan, np.nan, np.nan, 1.5])


def test_the_points_reach_three_bandwidths_beyond_the_sample_or_as_far_as_asked():
    x, p = density_of([0.0, 2.0], points=5, bandwidth=1.0)
    np.testing.assert_allclose(x, [-3.0, -1.0, 1.0, 3.0, 5.0])
    np.testing.assert_array_equal(density_of([0.0, 2.0], points=3, extend=0)[0], [0.0, 1.0, 2.0])
    np.testing.assert_allclose(p[0], 0.5 * (np.exp(-4.5) + np.exp(-12.5)) / np.sqrt(2 * np.pi), rtol=1e-6)


def test_equal_values_have_a_density_of_a_given_bandwidth_only():
    _, p = density_of([0.1] * 3, points=3, bandwidth=2.0)
    np.testing.assert_allclose(p, np.exp([-4.5, 0.0, -4.5]) / np.sqrt(8 * np.pi), rtol=1e-6)
    with pytest.raises(InputError, match=r"no density: all values are 0\.1"):
        density_of([0.1] * 3)
    with pytest.raises(InputError, match="no density: all values are 5"):
        density_of([5.0])


def test_samples_share_their_points_and_those_without_a_density_are_nan():
    samples = [draw("normal"), np.array([]), np.array([0.5]), np.full(4, 0.1), draw("uniform")]
    x, found = densities_of(samples, 50)
    assert found.shape == (5, 50)
    assert np.isnan(found[1:4]).all()
    for index in (0, 4):
        np.testing.assert_allclose(found[index], gaussian_kde(samples[index])(x), rtol=1e-5)


def test_single_values_that_differ_have_points_but_no_densities():
    x, found = densities_of([np.array([1.0]), np.array([2.0])], 3)
    np.testing.assert_array_equal(x, [1.0, 1.5, 2.0])
    assert np.isnan(found).all()


def test_a_sample_that_is_thousands_of_times_narrower_is_seen_on_the_same_grid():
    samples = [draw("normal") * 1e-3, draw("normal") * 100]
    x, found = densities_of(samples, 201, log=True)
    for sample, row in zip(samples, found, strict=True):
        np.testing.assert_allclose(row, gaussian_kde(sample).logpdf(x), rtol=1e-5, atol=1e-5)


def test_nothing_counted_is_nan():
    grid = Grid(0.0, 1.0, 4, 256)
    assert np.isnan(density(grid.count([]), grid, 1.0)).all()
    assert np.isnan(density(grid.count([0.5]), grid, float("nan"))).all()
    assert (grid.count([]) + grid.count([])).number == 0


def test_what_cannot_be_estimated_is_refused_with_the_reason(monkeypatch):
    grid = Grid(0.0, 1.0, 11)
    with pytest.raises(InputError, match=r"1 value\(s\), the first nan, are NaN or outside"):
        grid.count([0.5, np.nan])
    with pytest.raises(InputError, match=r"2 value\(s\), the first 1\.5, are NaN or outside"):
        grid.count([0.5, 1.5, -1.0])
    with pytest.raises(InputError, match="too narrow"):
        density(grid.count([0.5]), grid, 0.01)
    with pytest.raises(InputError, match="must be positive and finite"):
        density(grid.count([0.5]), grid, -1.0)
    with pytest.raises(InputError, match=r"bandwidth=-1\.0 must be positive"):
        Grid.covering(0, 1, -1.0)
    with pytest.raises(InputError, match="are not of"):
        density(grid.count([0.5]), Grid(0.0, 2.0, 11), 1.0)
    with pytest.raises(InputError, match="two grids cannot be added"):
        grid.count([0.5]) + Grid(0.0, 2.0, 11).count([0.5])
    with pytest.raises(InputError, match="low must be finite and below high"):
        Grid(1.0, 1.0)
    with pytest.raises(InputError, match="do not exist in float64"):
        Grid(1.0, 1.0 + 1e-15)
    with pytest.raises(InputError, match="at least 2 and 1"):
        Grid(0.0, 1.0, points=1)
    with pytest.raises(InputError, match="bandwidth is too small for this range"):
        Grid.covering(0.0, 1.0, 1e-9)
    with pytest.raises(InputError, match="sample 1 has values that are NaN or infinite"):
        densities_of([np.zeros(2), np.array([np.inf])])
    with pytest.raises(InputError, match="there are no values"):
        density_of([])
    with pytest.raises(InputError, match="spread over 8,388,609 cells"):
        Grid(0.0, 1.0, 2, 1 << 24).count([0.0, 0.5])
