"""Kernel density estimates on a grid against scipy's, which sums the kernels of all values at each point."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import gaussian_kde

from dnn2graph.measures.density import density_of

from .measuring import Figure, medians

WEIGHTS, POINTS = 200_000, 1000  # one dense layer of the paper's medium network, 784 x 256


def run(smoke: bool) -> Iterator[Figure]:
    """Yield the figures."""
    weights = 0.05 * np.random.default_rng(0).standard_normal(WEIGHTS)
    x, ours = density_of(weights, POINTS)
    theirs = gaussian_kde(weights)(x)
    error = float(np.abs(ours / theirs - 1).max())
    calls = {"grid": lambda: density_of(weights, POINTS), "scipy": lambda: gaussian_kde(weights)(x)}
    took = medians(calls, 1 if smoke else 5)
    note = f"{WEIGHTS:,} weights, {POINTS} points; {took['grid'] * 1e3:.1f} ms, scipy {took['scipy']:.2f} s"
    peer = "scipy.stats.gaussian_kde"
    yield Figure("density of link weights", peer, took["scipy"] / took["grid"], 200, note=note)
    yield Figure(
        "its largest relative error",
        peer,
        error,
        1e-5,
        "",
        "to three bandwidths beyond the weights",
        lower_is_better=True,
    )
