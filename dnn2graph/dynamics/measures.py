"""What a recorder can measure, by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cached_property, partial
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import InputError
from ..graph import NeuralGraph
from ..links import Links
from ..measures.link_weights import edge_weights
from ..measures.moments import Moments, moments
from ..measures.strength import directed_strengths, strength

NODE, LAYER, ENTERED, NETWORK = "node", "layer", "entered", "network"  # where values stand; entered: by links


class Snapshot:
    """The graph at one moment of a training; the sums over its weights are taken once for all measures."""

    def __init__(self, graph: NeuralGraph, kinds: Collection[str] | None = None) -> None:
        self.graph, self.kinds = graph, kinds

    @cached_property
    def directed(self) -> tuple[np.ndarray, np.ndarray]:
        """In- and out-strength, float64 (nodes,)."""
        return directed_strengths(self.graph, kinds=self.kinds)

    @property
    def into(self) -> np.ndarray:
        """In-strength, float64 (nodes,)."""
        return self.directed[0]

    @property
    def out_of(self) -> np.ndarray:
        """Out-strength, float64 (nodes,)."""
        return self.directed[1]

    @property
    def absolute(self) -> np.ndarray:
        """Strength by absolute weights, float64 (nodes,)."""
        return strength(self.graph, weight="abs", kinds=self.kinds)

    @cached_property
    def total(self) -> np.ndarray:
        """Strength, float64 (nodes,)."""
        return self.into + self.out_of

    @cached_property
    def fluctuation(self) -> np.ndarray:
        """Standard deviation of the strengths within each layer, float64 (layers,)."""
        layers = self.graph.layers
        return np.array([self.total[layer.start : layer.stop].std() if layer.size else np.nan for layer in layers])

    @property
    def link_weights(self) -> np.ndarray:
        """Statistics of the weights that enter each layer, float64 (statistics, layers entered).

        If several links enter a layer, the edges of all of them are one sample.
        """
        found = []
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are reported below, by layer
            for together in entering(self.graph, self.kinds).values():
                found.append(moments(lambda t=together: chain.from_iterable(map(edge_weights, t))))  # type: ignore[misc]
        values = np.array([[getattr(each, name) for name in STATISTICS] for each in found]).reshape(-1, len(STATISTICS))
        if not all(np.isfinite(each.l1) for each in found):
            self.graph.check_finite()
        return values.T


@dataclass(frozen=True, eq=False)
class Measure:
    """Something to record of every snapshot.

    Attributes
    ----------
    names : tuple of str
        Of the values, as they stand in the column ``measure``.
    level : str or None
        Where the values stand; None if their number says so.
    compute : callable
        From a snapshot, an array of as many values as the level has places; for several names one such row each.
    """

    names: tuple[str, ...]
    level: str | None
    compute: Callable[[Snapshot], Any]


STATISTICS = tuple(field.name for field in fields(Moments) if field.name != "count")
MEASURES = {
    "strength": Measure(("strength",), NODE, attrgetter("total")),
    "strength_in": Measure(("strength_in",), NODE, attrgetter("into")),
    "strength_out": Measure(("strength_out",), NODE, attrgetter("out_of")),
    "strength_abs": Measure(("strength_abs",), NODE, attrgetter("absolute")),
    "fluctuation": Measure(("fluctuation",), LAYER, attrgetter("fluctuation")),
    "link_weights": Measure(tuple(f"link_weight_{each}" for each in STATISTICS), ENTERED, attrgetter("link_weights")),
}

Measures = str | Collection[str] | Mapping[str, Measure | Callable[[NeuralGraph], Any]]


def resolve_measures(measures: Measures) -> tuple[Measure, ...]:
    """Look measures up by name, or take them as they are given.

    Raises
    ------
    InputError
        If a name is unknown; the message lists those that are known.
    """
    if isinstance(measures, Mapping):
        return tuple(
            given if isinstance(given, Measure) else Measure((name,), None, partial(_of_graph, given))
            for name, given in measures.items()
        )
    names = dict.fromkeys([measures] if isinstance(measures, str) else measures)
    if unknown := [name for name in names if name not in MEASURES]:
        near = get_close_matches(str(unknown[0]), MEASURES, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(
            f"measure {unknown[0]!r} is unknown{hint}: choose from {', '.join(MEASURES)}, or give a mapping from "
            "name to function of the graph"
        )
    return tuple(MEASURES[name] for name in names)


def _of_graph(function: Callable[[NeuralGraph], Any], snapshot: Snapshot) -> Any:
    return function(snapshot.graph)


def entering(graph: NeuralGraph, kinds: Collection[str] | None) -> dict[int, list[Links]]:
    """Group links by the index of the layer that they enter; in the order of the layers."""
    index = {layer.name: place for place, layer in enumerate(graph.layers)}
    found: dict[int, list[Links]] = {}
    for links in graph.select(kinds):
        assert links.target is not None
        found.setdefault(index[links.target.name], []).append(links)
    return dict(sorted(found.items()))


def as_values(value: Any) -> np.ndarray:
    """Take what a measure gave, array, tensor or number, as float64."""
    if isinstance(value, Tensor):
        value = value.detach().double().cpu().numpy()
    return np.asarray(value, np.float64)


def level_of(name: str, values: np.ndarray, graph: NeuralGraph) -> str:
    """Tell where the values of a user's measure stand, by their number.

    Raises
    ------
    InputError
        If they are as many as neither nodes nor layers.
    """
    nodes, layers = graph.number_of_nodes(), len(graph.layers)
    levels = {(): NETWORK, (layers,): LAYER, (nodes,): NODE}
    if values.shape not in levels:
        raise InputError(
            f"measure {name!r} gave an array of shape {values.shape}: return one value for each of the {nodes} nodes, "
            f"one for each of the {layers} layers, or a single number"
        )
    return levels[values.shape]
