"""From which nodes shortest paths are searched: all of them, or a sample that bounds the error of what it estimates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .view import View

QUICK = 4e9  # edges looked at by all searches together; about ten seconds
FEWEST = 100  # nodes of a sample that nobody asked for
RISK = 0.05  # that any node's value is off by more than the bound


@dataclass(frozen=True)
class Sources:
    """Some nodes, drawn uniformly without replacement.

    Attributes
    ----------
    nodes : int64 array (sources,)
        Ascending.
    total : int
        Of how many they were drawn.
    """

    nodes: np.ndarray
    total: int

    @property
    def scale(self) -> float:
        """What a sum over the sample is multiplied with to estimate the sum over all nodes."""
        return self.total / max(1, len(self.nodes))

    @property
    def is_exact(self) -> bool:
        """Whether they are all nodes."""
        return len(self.nodes) == self.total

    @property
    def error(self) -> float:
        """By how much a mean over the sample may miss the mean over all nodes, as a share of the range of its terms.

        It holds for the means of all nodes at once, with probability ``1 - RISK``: Hoeffding's bound for each, in the
        sharper form of Serfling for samples without replacement, and the union of them.

        References
        ----------
        Hoeffding 1963, J. Am. Stat. Assoc. 58:13; Serfling 1974, Ann. Stat. 2:39; for betweenness: Brandes & Pich 2007,
        Int. J. Bifurcation Chaos 17:2303.
        """
        if self.is_exact:
            return 0.0
        count = len(self.nodes)
        left_out = 1 - (count - 1) / self.total
        return float(np.sqrt(np.log(2 * self.total / RISK) * left_out / (2 * count)))


def sources(view: View) -> Sources:
    """Choose the nodes to search from: as many as the user asked for, else all of them where that is quick."""
    total, edges = view.matrix.shape[0], view.matrix.nnz
    count = view.sample
    if count is None:
        count = total if total * edges <= QUICK else max(FEWEST, int(QUICK / edges))
    if count >= total:
        return Sources(np.arange(total), total)
    chosen = Sources(np.sort(view.random.choice(total, count, replace=False)), total)
    view.note(
        f"estimated from {count:,} of {total:,} nodes: with probability {1 - RISK:.0%} no value is off by more than "
        "its _error"
    )
    return chosen
