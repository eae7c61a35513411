"""Measure a stored population, stack by stack, in this process or across many."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..graph import NeuralGraph
from ..progress import Progress
from ..trace import from_torch
from .parallel import each
from .separation import summary_features
from .stacked import Population, layer_deviations
from .store import Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of the members of a population.

    Attributes
    ----------
    graph : NeuralGraph
        Topology of the members.
    members : DataFrame
        One row per member: network, step, accuracy, …
    strength : float64 array (members, nodes)
    features : DataFrame (members, features)
        Summaries by layer, named ``strength:<layer>:std`` (the layer's fluctuation), … and, of the links that enter
        it, ``link_weights:<layer>:mean``, …
    """

    graph: NeuralGraph
    members: pd.DataFrame
    strength: np.ndarray
    features: pd.DataFrame

    def __len__(self) -> int:
        return len(self.members)

    @property
    def fluctuation(self) -> np.ndarray:
        """Fluctuation of every layer of every member: float64 array (members, layers)."""
        return layer_deviations(self.strength, self.graph.layers)

    def finite(self) -> np.ndarray:
        """Which members have finite strengths only, bool (members,): the others diverged in training."""
        finite: np.ndarray = np.isfinite(self.strength).all(1)
        return finite

    def where(self, chosen: np.ndarray) -> Measured:
        """Keep some members, by a boolean array (members,)."""
        members, features = self.members[chosen], self.features[chosen]
        return Measured(
            self.graph, members.reset_index(drop=True), self.strength[chosen], features.reset_index(drop=True)
        )


@dataclass(frozen=True)
class Measuring:
    """How to measure: what all tasks have in common."""

    folder: Path
    granularity: str = "position"
    kinds: tuple[str, ...] | None = None

    def graph(self) -> NeuralGraph:
        """Trace the population's topology, once in each process."""
        return _traced(self.folder, self.granularity)

    def population(self, stack: Path) -> Population:
        """Read one stack."""
        weights, members = Store(self.folder).read(stack)
        return Population(self.graph(), weights, members)


@lru_cache(maxsize=4)
def _traced(folder: Path, granularity: str) -> NeuralGraph:
    store = Store(folder)
    return from_torch(store.model(), store.example_input(), granularity)


def measure(
    folder: str | Path,
    granularity: str = "position",
    kinds: Collection[str] | None = None,
    *,
    jobs: int | None = 1,
    progress: Progress | None = None,
) -> Measured:
    """Measure all members of a stored population: strengths, and summaries of strengths and link weights by layer.

    Each stack of networks is measured in one call; stacks are spread over processes.

    Parameters
    ----------
    folder : path
        That :func:`.train_population` or :func:`.gather` wrote.
    granularity : {"position", "channel"}
        Of the graph; the paper analyses positions.
    kinds : collection of str, optional
        Kinds of links that count towards strength; default all.
    jobs, progress
        As of :func:`.each`. With ``jobs=None`` inside ``joblib.parallel_config(backend="dask")`` the stacks are
        measured by the workers of a Dask cluster, which must see the folder.

    Returns
    -------
    Measured
        Members in the order of the stacks' names, whichever process measured them.

    Raises
    ------
    LoadError
        If a file is missing or damaged.
    """
    import pandas as pd

    measuring = Measuring(Path(folder), granularity, None if kinds is None else tuple(kinds))
    stacks = Store(measuring.folder).stacks()
    found = dict(each(partial(_measure_stack, measuring), stacks, jobs, progress))
    parts = [found[number] for number in range(len(stacks))]
    members, strengths, features = zip(*parts, strict=True)
    return Measured(
        measuring.graph(),
        pd.concat(members, ignore_index=True),
        np.concatenate(strengths),
        pd.concat(features, ignore_index=True),
    )


def _measure_stack(measuring: Measuring, stack: Path) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
    """Measure the networks of one file: members, strengths, features."""
    import pandas as pd

    torch.set_num_threads(1)  # the processes share the cores
    population = measuring.population(stack)
    strength = population.strength(kinds=measuring.kinds)
    columns = {}
    for layer in population.graph.layers:
        columns.update(summary_features(strength[:, layer.start : layer.stop], f"strength:{layer.name}:"))
    for name, values in population.link_weights().items():
        columns.update(summary_features(values, f"link_weights:{name}:"))
    return population.members, strength, pd.DataFrame(columns)
