"""Heavy tails: whether strengths or weights follow a power law, or rather a lognormal or an exponential."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np

from .measure import Columns, measure
from .undefined import undefined
from .view import View

FEWEST = 50  # values, below which no tail can be told from another
MOST = 3000  # values: every one of them is tried as the beginning of the tail
SOURCE = "Clauset, Shalizi & Newman 2009, doi:10.1137/070710111; Alstott et al. 2014, doi:10.1371/journal.pone.0085777"
NAMES = (
    "xmin", "share", "alpha", "alpha_error", "distance", "lognormal_mu", "lognormal_sigma",
    "lognormal_ratio", "lognormal_p", "exponential_ratio", "exponential_p", "truncated_ratio", "truncated_p",
)  # fmt: skip


@measure("graph", weight="abs", source=SOURCE, default=False, extra="powerlaw")
def strength_tail(view: View) -> Columns:
    """Power law fitted to the tail of the nodes' total strength of |weight|: where the tail begins (xmin), the share of
    values in it, the exponent alpha of the density x^(-alpha) with its standard error, the Kolmogorov-Smirnov distance;
    a lognormal fitted to the same tail; and likelihood-ratio tests of the power law against lognormal, exponential and
    power law with exponential cut-off: above 0 the power law is the better one, if p is small.
    """
    return _fitted(view, "strength_tail", np.asarray(view.matrix.sum(0) + view.matrix.sum(1)))


@measure("graph", weight="abs", source=SOURCE, default=False, extra="powerlaw")
def weight_tail(view: View) -> Columns:
    """Power law fitted to the tail of |weight| over the edges, with the numbers of strength_tail."""
    return _fitted(view, "weight_tail", view.matrix.data)


def _fitted(view: View, name: str, values: np.ndarray) -> Columns:
    names = tuple(f"{name}_{what}" for what in NAMES)
    values = values[values > 0]
    if len(values) < FEWEST:
        return undefined(view, f"{len(values):,} values are too few for a tail: {FEWEST} are needed", names)
    if len(values) > MOST:
        view.note(f"of {MOST:,} values drawn from {len(values):,}")
        values = view.random.choice(values, MOST, replace=False)
    if len(np.unique(values)) < 3:
        return undefined(view, "the values are all alike, and have no tail", names)
    with _quietly():
        found = _fit(values)
    if not np.isfinite(found).all():
        view.note("some fits found no parameters")
    return dict(zip(names, (float(number) for number in found), strict=True))


def _fit(values: np.ndarray) -> list[float]:
    """Give the numbers of ``NAMES``."""
    import powerlaw

    fit = powerlaw.Fit(values, verbose=False)
    law, lognormal = fit.power_law, fit.lognormal
    found = [fit.xmin, (values >= fit.xmin).mean(), law.alpha, law.sigma, law.D, lognormal.mu, lognormal.sigma]
    for other in ("lognormal", "exponential", "truncated_power_law"):
        found += fit.distribution_compare("power_law", other, normalized_ratio=True)
    return found


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep what the package prints and warns about single trials of a fit."""
    silence = io.StringIO()
    with (
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        contextlib.redirect_stdout(silence),
        contextlib.redirect_stderr(silence),
    ):
        warnings.simplefilter("ignore")
        yield
