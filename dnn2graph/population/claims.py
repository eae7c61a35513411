"""The paper's claims about populations, each asked of an analysis in numbers that can say no."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .ensemble import Analysis

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.05  # of p-values after Holm's correction for all features of a population
VERDICTS = HOLDS, IN_PART, FAILS, UNKNOWN = "holds", "in part", "does not hold", "cannot be told"


@dataclass(frozen=True)
class Finding:
    """What one population says about one claim, under one control.

    Attributes
    ----------
    claim : str
    control : str
    verdict : {"holds", "in part", "does not hold", "cannot be told"}
    evidence : str
    """

    claim: str
    control: str
    verdict: str
    evidence: str


def findings(analysis: Analysis) -> Iterator[Finding]:
    """Ask all claims, under each control."""
    for control, table in analysis.separation.groupby("control", sort=False):
        if table["auc"].isna().all():
            evidence = "fewer than three networks are alike in what is controlled for"
            yield from (Finding(claim, str(control), UNKNOWN, evidence) for claim in CLAIMS)
            continue
        for claim, ask in CLAIMS.items():
            yield Finding(claim, str(control), *ask(table))


def strongest(table: pd.DataFrame, prefix: str, suffix: str = "") -> pd.Series:
    """Return the row of the feature that separates best, of those whose names begin and end so."""
    of_kind = table[table["feature"].str.startswith(prefix) & table["feature"].str.endswith(suffix)]
    distance = (of_kind["auc"] - 0.5).abs()
    return of_kind.loc[distance.idxmax()]


def _separates(table: pd.DataFrame, prefix: str, suffix: str = "") -> tuple[int, int, str]:
    """Count the features that separate, and describe the best: (how many, of how many, in words)."""
    of_kind = table[table["feature"].str.startswith(prefix) & table["feature"].str.endswith(suffix)]
    count = int((of_kind["pvalue_corrected"] < LEVEL).sum())
    tested = int(of_kind["auc"].notna().sum())
    best = strongest(table, prefix, suffix)
    return count, tested, f"{count} of {tested} features separate; the best is {_named(best)}"


def _named(row: pd.Series) -> str:
    return f"`{row['feature']}`, AUC {row['auc']:.2f} [{row['auc_low']:.2f}, {row['auc_high']:.2f}]"


def _link_weights_do_not(table: pd.DataFrame) -> tuple[str, str]:
    count, _, evidence = _separates(table, "link_weights:")
    return (FAILS if count else HOLDS), evidence


def _strength_does(table: pd.DataFrame) -> tuple[str, str]:
    count, _, evidence = _separates(table, "strength:")
    return (HOLDS if count else FAILS), evidence


def _fluctuation_does(table: pd.DataFrame) -> tuple[str, str]:
    count, tested, evidence = _separates(table, "strength:", ":std")
    evidence = evidence.replace("features separate", "layers' fluctuations separate")
    return (FAILS if not count else HOLDS if count == tested else IN_PART), evidence


def _strength_is_better(table: pd.DataFrame) -> tuple[str, str]:
    strength, weights = strongest(table, "strength:"), strongest(table, "link_weights:")

    def interval(row: pd.Series) -> tuple[float, float]:
        """Distance from 0.5."""
        low, high = row["auc_low"] - 0.5, row["auc_high"] - 0.5
        ends = sorted((abs(low), abs(high)))
        return (0.0 if low <= 0 <= high else ends[0]), ends[1]

    (worst, best), (other_worst, other_best) = interval(strength), interval(weights)
    verdict = HOLDS if worst > other_best else FAILS if other_worst > best else UNKNOWN
    return verdict, f"{_named(strength)} against {_named(weights)}"


def _extremes_are_heavier(table: pd.DataFrame) -> tuple[str, str]:
    counts, parts = {1: 0, -1: 0, 0: 0}, []
    for statistic in ("kurtosis", "spread"):
        rows = table[table["feature"].str.startswith("strength:") & table["feature"].str.endswith(f":{statistic}")]
        for _, row in rows[rows["auc"].notna()].iterrows():
            direction = 0 if not row["pvalue_corrected"] < LEVEL else 1 if row["auc"] > 0.5 else -1
            counts[direction] += 1
            word = {1: "larger", -1: "smaller", 0: "not told apart"}[direction]
            parts.append(f"{statistic} in {row['feature'].split(':')[1]} {word} ({row['auc']:.2f})")
    if not parts:
        return UNKNOWN, "no layer has two nodes"
    verdict = HOLDS if counts[1] == len(parts) else IN_PART if counts[1] else FAILS
    return verdict, "of accurate networks: " + ", ".join(parts)


CLAIMS: dict[str, Callable[[pd.DataFrame], tuple[str, str]]] = {
    "link weights alone do not separate accurate from poor networks": _link_weights_do_not,
    "nodes strength separates them": _strength_does,
    "layers fluctuation separates them": _fluctuation_does,
    "nodes strength separates better than link weights": _strength_is_better,
    "strengths of accurate networks have heavier extremes": _extremes_are_heavier,
}
