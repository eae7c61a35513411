"""What separates accurate networks from poor ones: accuracy bins, features of each network, and how well they separate.

A *member* is one network at one training step. Members of one network are not independent, therefore everything that
says how sure a result is (intervals, p-values) counts networks, not members.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .features import summary_features

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["accuracy_bins", "holm", "separation", "summary_features"]

PAPER_WIDTH = 0.025  # of the accuracy bins
ROUNDING = 1e-7  # an accuracy stored in float32 may be this much below the edge that it should be on
LEAST_NETWORKS = 3  # in a stratum
FEW_NETWORKS = 10  # in a group: the bootstrap of fewer is not relied upon alone
BLOCK = 1 << 21  # values at a time


def accuracy_bins(
    accuracy: np.ndarray,
    width: float | None = None,
    edges: Sequence[float] | None = None,
    quantiles: int | Sequence[float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Sort members into bins of accuracy. Give one of width, edges and quantiles; default ``width=0.025``, the paper's.

    Parameters
    ----------
    accuracy : array (members,)
        Fractions from 0 to 1; NaN is in no bin.
    width : float
        Bins start at multiples of it, and cover the accuracies that occur.
    edges : sequence of float
        Increasing.
    quantiles : int or sequence of float
        Number of bins of about the same number of members, or their edges as quantiles. Edges that coincide, because
        many members have the same accuracy, are one.

    Returns
    -------
    edges : float64 array (bins + 1,)
        A bin contains its lower edge and not its upper one, the last bin both.
    index : int64 array (members,)
        The bin of each member; -1 outside all of them.

    Raises
    ------
    InputError
        If no accuracy is known, one is not a fraction, or the options do not make bins.

    Examples
    --------
    >>> edges, index = accuracy_bins(np.array([0.1, 0.5, 0.9, 1.0]), width=0.25)
    >>> edges, index
    (array([0.  , 0.25, 0.5 , 0.75, 1.  ]), array([0, 2, 3, 3]))
    """
    accuracy = np.asarray(accuracy, np.float64)
    known = accuracy[~np.isnan(accuracy)]
    if not known.size:
        raise InputError(f"none of {accuracy.size} members has an accuracy: there are no bins to make")
    if known.min() < 0 or known.max() > 1 + ROUNDING:
        wrong = known.max() if known.min() >= 0 else known.min()
        raise InputError(f"accuracy {wrong:g} is not a fraction from 0 to 1: divide percentages by 100")
    if sum(option is not None for option in (width, edges, quantiles)) > 1:
        raise InputError("width, edges and quantiles exclude each other: give one")
    if edges is not None:
        found = np.asarray(edges, np.float64)
        if found.ndim != 1 or len(found) < 2 or not (np.diff(found) > 0).all():
            raise InputError(f"edges={list(edges)} must be at least two numbers that increase")
    elif quantiles is not None:
        shares = np.linspace(0, 1, quantiles + 1) if isinstance(quantiles, int) else np.asarray(quantiles, np.float64)
        if len(shares) < 2 or not ((shares >= 0) & (shares <= 1)).all():
            raise InputError(f"quantiles={quantiles} must be a number of bins, or at least two numbers from 0 to 1")
        found = np.unique(np.quantile(known, shares))
        found = np.repeat(found, 2) if len(found) == 1 else found  # all the same: one bin of one value
    else:
        found = _multiples(PAPER_WIDTH if width is None else width, float(known.min()), float(known.max()))
    index = np.searchsorted(found[:-1], accuracy + ROUNDING, side="right") - 1
    index[~(accuracy <= found[-1] + ROUNDING)] = -1  # NaN too
    return found, index


def _multiples(width: float, low: float, high: float) -> np.ndarray:
    """Multiples of a width around accuracies; 1 is in the bin below it."""
    if not 0 < width <= 1:
        raise InputError(f"width={width} must be positive and at most 1")
    first = int(np.floor((low + ROUNDING) / width))
    last = int(np.floor((high + ROUNDING) / width)) + 1
    top = max(int(np.ceil(1 / width - ROUNDING)), 1)
    last = min(last, top)
    return np.round(np.arange(min(first, last - 1), last + 1) * width, 12)


def separation(
    features: pd.DataFrame,
    members: pd.DataFrame,
    low: float = 1 / 3,
    high: float = 2 / 3,
    within: str | Sequence[str] = (),
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> pd.DataFrame:
    """How well each feature separates members of low accuracy from members of high accuracy.

    Members whose accuracy is at or below the ``low`` quantile are *low*, at or above the ``high`` quantile *high*; the
    others are left out. The AUC is the share of (low, high) pairs in which the feature is larger for the accurate
    member, ties counted half: 0.5 separates nothing, 1 and 0 separate perfectly.

    A feature that merely follows training time, or initialisation, separates accuracy too, since accuracy does follow
    them. ``within`` controls for that: quantiles are taken, and pairs are formed, among members of the same stratum
    only, and the AUC is the share of concordant pairs among all pairs of all strata.

    Parameters
    ----------
    features : DataFrame (members, features)
        Numbers, one row per member in the order of ``members``, such as
        :func:`~dnn2graph.population.features.summary_features` gives. Of a feature that is NaN or infinite for some
        members the others are compared.
    members : DataFrame
        Columns ``network``, ``accuracy``, and those of ``within``. Members without accuracy are left out.
    low, high : float
        Quantiles of accuracy. Where so many members have the same accuracy that the quantiles coincide, low and high
        are the members below and above it; or those of that accuracy, if there are none on that side.
    within : str or sequence of str
        Columns of ``members`` whose values make the strata, such as ``("step",)``,
        ``("initialisation", "support")``, or all three. A stratum of fewer than three networks, or without a difference
        in accuracy, contributes nothing.
    bootstrap : int
        Resamples. Networks are drawn with replacement, each with all its members, and keep their groups.
    seed : int
        Of the resamples, and of the members that the Kolmogorov–Smirnov test takes.
    progress : callable, optional
        Called with the number of features done and of all.

    Returns
    -------
    DataFrame
        One row per feature, in their order:

        - ``feature``;
        - ``auc``, and ``auc_low``, ``auc_high``: its 95 % percentile interval of the bootstrap (which is a point where
          the groups do not overlap);
        - ``pvalue`` of AUC = 0.5, two-sided, from the normal approximation with the bootstrap's standard error. Where a
          group has fewer than ten networks, or the interval reaches 0 or 1, that error is too small (three networks
          completely separated from three have none), and is taken to be at least that of a Mann–Whitney test of as
          many independent networks; ``pvalue_corrected``: Holm's, for all features;
        - ``ks``, the Kolmogorov–Smirnov statistic of the two groups, ``ks_pvalue``, ``ks_pvalue_corrected``: the test
          assumes independent observations, and therefore gets one member of each network, drawn by ``seed``. NaN with
          ``within``: two distributions of pooled strata would show the strata;
        - ``n_low``, ``n_high`` members, of how many ``networks`` and ``strata``;
        - ``accuracy_low``, ``accuracy_high``: median accuracy of the groups.

        A constant feature has AUC 0.5 and p-value 1. Where nothing can be compared, NaN and 0 networks.

    Raises
    ------
    InputError
        If tables do not fit each other, a column is missing, or an option is out of range.

    References
    ----------
    Mann, Whitney 1947 (the AUC is their U over the number of pairs); Holm 1979 (the correction); Field, Welsh 2007,
    "Bootstrapping clustered data".

    Examples
    --------
    >>> import pandas as pd
    >>> members = pd.DataFrame({"network": range(6), "accuracy": [0.1, 0.2, 0.5, 0.6, 0.8, 0.9]})
    >>> features = pd.DataFrame({"follows": [1, 2, 9, 9, 2, 3], "constant": [0] * 6})
    >>> separation(features, members, bootstrap=100)[["feature", "auc", "n_low", "n_high"]]
        feature    auc  n_low  n_high
    0   follows  0.875      2       2
    1  constant  0.500      2       2
    """
    import pandas as pd

    within = (within,) if isinstance(within, str) else tuple(within)
    _check(features, members, low, high, within, bootstrap)
    groups = _choose_groups(members, low, high, within, bootstrap, np.random.default_rng(seed))
    rows = []
    for done, name in enumerate(features.columns):
        if progress:
            progress(done, features.shape[1])
        row = {"feature": name, **_compare(features[name].to_numpy(np.float64, na_value=np.nan), groups)}
        rows.append({**row, "ks": np.nan, "ks_pvalue": np.nan} if within else row)
    if progress:
        progress(features.shape[1], features.shape[1])
    table = pd.DataFrame(rows)
    for column in ("pvalue", "ks_pvalue"):
        table.insert(table.columns.get_loc(column) + 1, f"{column}_corrected", holm(table[column].to_numpy()))
    return table


def holm(pvalues: np.ndarray) -> np.ndarray:
    """Holm's step-down correction: p-values that hold for the family of tests as a whole.

    Parameters
    ----------
    pvalues : array (tests,)
        NaN is no test, and stays NaN.

    Returns
    -------
    float64 array (tests,)

    References
    ----------
    S. Holm 1979, "A simple sequentially rejective multiple test procedure".

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03, np.nan]))
    array([0.03, 0.06, 0.06,  nan])
    """
    pvalues = np.asarray(pvalues, np.float64)
    tested = np.flatnonzero(~np.isnan(pvalues))
    order = tested[np.argsort(pvalues[tested])]
    corrected = np.full(len(pvalues), np.nan)
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(pvalues[order] * factors), 1.0)
    return corrected


@dataclass(frozen=True)
class _Groups:
    """Who is compared; members as row numbers, networks and strata as small integers."""

    low: np.ndarray  # (low members,)
    high: np.ndarray  # (high members,)
    stratum: np.ndarray  # (members,)
    network: np.ndarray  # (members,)
    accuracy: np.ndarray  # (members,)
    drawn: np.ndarray  # (networks, resamples) how often each network was drawn
    independent: np.ndarray  # (members,) bool: one compared member of each network


def _choose_groups(
    members: pd.DataFrame, low: float, high: float, within: tuple[str, ...], bootstrap: int, rng: np.random.Generator
) -> _Groups:
    """Choose low and high members in each stratum, and draw the resamples of their networks."""
    accuracy = members["accuracy"].to_numpy(np.float64, na_value=np.nan)
    network = np.unique(members["network"].to_numpy(), return_inverse=True)[1]
    stratum = np.zeros(len(members), np.int64)
    if within:
        stratum = members.groupby(list(within), dropna=False).ngroup().to_numpy()
    rows = np.flatnonzero(np.isfinite(accuracy))
    rows = rows[np.argsort(stratum[rows], kind="stable")]
    chosen_low, chosen_high = [rows[:0]], [rows[:0]]
    for of_stratum in np.split(rows, np.flatnonzero(np.diff(stratum[rows])) + 1):
        if len(np.unique(network[of_stratum])) >= LEAST_NETWORKS:
            is_low, is_high = _low_and_high(accuracy[of_stratum], low, high)
            chosen_low.append(of_stratum[is_low])
            chosen_high.append(of_stratum[is_high])
    lows, highs = np.concatenate(chosen_low), np.concatenate(chosen_high)
    of_members, of_networks = rng.spawn(2)
    compared = of_members.permutation(np.union1d(lows, highs))
    present, first = np.unique(network[compared], return_index=True)
    independent = np.zeros(len(members), bool)
    independent[compared[first]] = True
    network = np.searchsorted(present, network)  # renumbered; members that are not compared get any number
    count = max(len(present), 1)
    drawn = of_networks.multinomial(count, np.full(count, 1 / count), size=bootstrap).T.astype(np.float64)
    return _Groups(lows, highs, stratum, network, accuracy, drawn, independent)


def _low_and_high(accuracy: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Which members are low and high; none if all have the same accuracy."""
    bottom, top = np.quantile(accuracy, [low, high])
    is_low, is_high = accuracy <= bottom, accuracy >= top
    tied = is_low & is_high
    below, above = is_low & ~tied, is_high & ~tied
    if not below.any() and not above.any():
        return below, above
    return below if below.any() else tied, above if above.any() else tied


def _compare(values: np.ndarray, groups: _Groups) -> dict[str, float]:
    """All but the corrections, of one feature."""
    low, high = (rows[np.isfinite(values[rows])] for rows in (groups.low, groups.high))
    shared = np.intersect1d(groups.stratum[low], groups.stratum[high])  # strata that have pairs
    low, high = (rows[np.isin(groups.stratum[rows], shared)] for rows in (low, high))
    row = dict.fromkeys(("auc", "auc_low", "auc_high", "pvalue", "ks", "ks_pvalue"), np.nan)
    row |= {"n_low": len(low), "n_high": len(high), "networks": 0, "strata": len(shared)}
    row |= {"accuracy_low": np.nan, "accuracy_high": np.nan}
    if not len(shared):
        return row
    of_low, of_high = groups.network[low], groups.network[high]
    pairs = _Pairs(values, groups.stratum, low, high)
    row["auc"] = float(pairs.auc(np.ones((len(low), 1)), np.ones((len(high), 1)))[0])
    resampled = np.concatenate(
        [
            pairs.auc(groups.drawn[of_low, block], groups.drawn[of_high, block])
            for block in _blocks(groups.drawn.shape[1], max(len(low), len(high)))
        ]
    )
    resampled = resampled[~np.isnan(resampled)]  # a resample of few networks may lack a group
    networks = np.unique(of_low).size, np.unique(of_high).size
    if resampled.size > 1:
        row["auc_low"], row["auc_high"] = np.quantile(resampled, [0.025, 0.975]).tolist()
        row["pvalue"] = _pvalue(row["auc"], resampled, *networks)
    row["networks"] = np.union1d(of_low, of_high).size
    row["ks"], row["ks_pvalue"] = _kolmogorov_smirnov(values, low, high, groups.independent)
    row["accuracy_low"], row["accuracy_high"] = (float(np.median(groups.accuracy[rows])) for rows in (low, high))
    return row


class _Pairs:
    """The (low, high) pairs of one feature within strata, ready to be counted with weights of members."""

    def __init__(self, values: np.ndarray, stratum: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        distinct, rank = np.unique(values[np.concatenate([low, high])], return_inverse=True)
        key_low = stratum[low] * len(distinct) + rank[: len(low)]  # orders by stratum, then by value
        key_high = stratum[high] * len(distinct) + rank[len(low) :]
        self.order = np.argsort(key_low)
        key_low = key_low[self.order]
        start = stratum[high] * len(distinct)
        # For each high member, the ranges of sorted low ones: of its stratum, and of its stratum with the same value.
        self.begin, self.end = np.searchsorted(key_low, start), np.searchsorted(key_low, start + len(distinct))
        self.tied, self.above = np.searchsorted(key_low, key_high), np.searchsorted(key_low, key_high, side="right")

    def auc(self, low_weights: np.ndarray, high_weights: np.ndarray) -> np.ndarray:
        """Share of concordant pairs, of weights (low, resamples) and (high, resamples); NaN where there are none."""
        before = np.zeros((len(low_weights) + 1, low_weights.shape[1]))
        np.cumsum(low_weights[self.order], axis=0, out=before[1:])
        begin = before[self.begin]
        smaller = (before[self.tied] + before[self.above]) / 2 - begin
        concordant = np.einsum("ij,ij->j", high_weights, smaller)
        pairs = np.einsum("ij,ij->j", high_weights, before[self.end] - begin)
        return np.divide(concordant, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def _blocks(resamples: int, rows: int) -> list[slice]:
    """Cut the resamples so that tables of so many rows stay small."""
    size = max(1, BLOCK // rows)
    return [slice(begin, begin + size) for begin in range(0, resamples, size)]


def _pvalue(auc: float, resampled: np.ndarray, low: int, high: int) -> float:
    """Two-sided p-value of AUC = 0.5, from its resamples and the numbers of networks."""
    from scipy.special import ndtr

    error = float(resampled.std(ddof=1))
    bottom, top = np.quantile(resampled, [0.025, 0.975])
    if error == 0 or bottom == 0 or top == 1 or min(low, high) < FEW_NETWORKS:
        error = max(error, np.sqrt((low + high + 1) / (12 * low * high)))  # Mann–Whitney's, of independent networks
    return float(2 * ndtr(-abs(auc - 0.5) / error))


def _kolmogorov_smirnov(
    values: np.ndarray, low: np.ndarray, high: np.ndarray, independent: np.ndarray
) -> tuple[float, float]:
    """Statistic of all members, p-value of independent ones (NaN if a group then has none)."""
    import warnings

    from scipy.stats import ks_2samp

    alone = [values[rows[independent[rows]]] for rows in (low, high)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where scipy has to take the asymptotic distribution
        statistic = float(ks_2samp(values[low], values[high], method="asymp").statistic)
        pvalue = float(ks_2samp(*alone).pvalue) if alone[0].size and alone[1].size else np.nan
    return statistic, pvalue


def _check(
    features: pd.DataFrame, members: pd.DataFrame, low: float, high: float, within: tuple[str, ...], bootstrap: int
) -> None:
    """Refuse tables and options that cannot be meant."""
    if missing := [column for column in ("network", "accuracy", *within) if column not in members.columns]:
        present = ", ".join(map(str, members.columns))
        raise InputError(f"members have no column {', '.join(missing)}: theirs are {present}")
    if len(features) != len(members):
        raise InputError(f"{len(features)} rows of features and {len(members)} members: give one row for each member")
    if features.columns.has_duplicates:
        twice = features.columns[features.columns.duplicated()][0]
        raise InputError(f"features have two columns {twice!r}: rename one")
    wrong = [str(name) for name, kind in features.dtypes.items() if kind.kind not in "biuf"]
    if wrong:
        raise InputError(f"feature(s) {', '.join(wrong)} are not numbers: leave out identifying columns")
    if not 0 < low <= high < 1:
        raise InputError(f"low={low} and high={high} must be quantiles, 0 < low <= high < 1")
    if bootstrap < 2:
        raise InputError(f"bootstrap={bootstrap} must be at least 2 resamples")
