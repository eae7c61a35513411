"""One observed number against those of null models: how far it is from them, and how often they are as far."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..population.separation import holm

ALTERNATIVES = ("two-sided", "greater", "less")
CORRECTIONS = ("holm", "fdr")
CONFIDENCE = 0.95

UNCHANGED = "unchanged: the null keeps it"
CONSTANT = "all nulls have the same value"
UNDEFINED = "undefined in the graph"


class Comparison(NamedTuple):
    """The columns of a table of significance."""

    observed: float
    null_mean: float
    null_std: float
    null_low: float
    null_high: float
    z: float
    pvalue: float
    pvalue_low: float
    pvalue_high: float
    note: str


def compare(observed: float, nulls: np.ndarray, alternative: str, tolerance: float) -> Comparison:
    """Compare a number with those of null models.

    Parameters
    ----------
    observed : float
    nulls : float64 array (nulls,)
        Those that are undefined count as extreme.
    alternative : {"two-sided", "greater", "less"}
        What is extreme. Two-sided: what is at least as far from the mean of all values, the observed one among them,
        which is what makes the p-value exact under the null.
    tolerance : float
        Differences up to this are rounding: such values are equal.
    """
    nothing = float("nan")
    if not np.isfinite(observed):
        return _nothing(observed, UNDEFINED)
    known = nulls[np.isfinite(nulls)]
    undefined = len(nulls) - len(known)
    note = f"undefined in {undefined} of {len(nulls)} nulls" if undefined else ""
    if not len(known):
        return _nothing(observed, note)
    mean = float(known.mean())
    std = float(known.std(ddof=1)) if len(known) > 1 else nothing
    low, high = (float(q) for q in np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    z = nothing
    if np.ptp(known) > tolerance:
        z = (observed - mean) / std
    elif abs(observed - mean) <= tolerance and not undefined:
        note = UNCHANGED
    else:
        note = "; ".join(filter(None, [CONSTANT, note]))
    extreme = undefined + _extreme(observed, known, alternative, tolerance)
    interval = _clopper_pearson(extreme, len(nulls))
    return Comparison(observed, mean, std, low, high, z, (1 + extreme) / (1 + len(nulls)), *interval, note)


def corrected(pvalues: np.ndarray, correction: str | None) -> np.ndarray:
    """Correct p-values for their number; NaN is no test, and stays NaN."""
    if correction is None:
        return pvalues.copy()
    if correction == "holm":
        return holm(pvalues)
    from scipy.stats import false_discovery_control

    found, tested = np.full(len(pvalues), np.nan), ~np.isnan(pvalues)
    if tested.any():
        found[tested] = false_discovery_control(pvalues[tested], method="bh")
    return found


def check_options(alternative: str, correction: str | None) -> None:
    """Raise InputError if an option is unknown."""
    if alternative not in ALTERNATIVES:
        raise InputError(f"alternative={alternative!r} is unknown: choose from {', '.join(ALTERNATIVES)}")
    if correction is not None and correction not in CORRECTIONS:
        raise InputError(f"correction={correction!r} is unknown: choose from {', '.join(CORRECTIONS)}, or None")


def _nothing(observed: float, note: str) -> Comparison:
    nan = float("nan")
    return Comparison(observed, nan, nan, nan, nan, nan, nan, nan, nan, note)


def _extreme(observed: float, nulls: np.ndarray, alternative: str, tolerance: float) -> int:
    """Count the nulls that are at least as extreme as the graph."""
    if alternative == "greater":
        return int(np.count_nonzero(nulls >= observed - tolerance))
    if alternative == "less":
        return int(np.count_nonzero(nulls <= observed + tolerance))
    centre = (nulls.sum() + observed) / (len(nulls) + 1)
    return int(np.count_nonzero(np.abs(nulls - centre) >= abs(observed - centre) - tolerance))


def _clopper_pearson(extreme: int, number: int) -> tuple[float, float]:
    """Confidence interval of the probability that a null is as extreme."""
    from scipy.special import betaincinv  # scipy.stats.binomtest finds the same by search, in milliseconds

    tail = (1 - CONFIDENCE) / 2
    low = betaincinv(extreme, number - extreme + 1, tail) if extreme > 0 else 0.0
    high = betaincinv(extreme + 1, number - extreme, 1 - tail) if extreme < number else 1.0
    return float(low), float(high)
