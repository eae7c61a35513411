"""What is asked of a graph and of its null models: measures by name, or functions, as one row of numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..dynamics.measures import LAYER, NODE, Snapshot, as_values, entering
from ..dynamics.measures import MEASURES as NATIVE
from ..errors import InputError
from ..graph import NeuralGraph

if TYPE_CHECKING:
    import pandas as pd

REDUCTIONS: dict[str, Callable[[np.ndarray], float]] = {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}

Function = Callable[[NeuralGraph], "float | Mapping[str, float] | pd.Series[float]"]
Asked = str | Function | Collection["str | Function"]


class Row(NamedTuple):
    """What one number is of."""

    measure: str
    level: str  # "graph", "layer" or "links"
    place: str  # name of the layer; "source → target" of links; empty for the whole graph


@dataclass(frozen=True)
class Measuring:
    """How graphs are measured.

    Attributes
    ----------
    asked : tuple of str and functions
        Names may end in "of layer NAME".
    kinds : tuple of str or None
        Kinds of links that count in named measures.
    reduce : {"mean", "std", "min", "max"}
        What makes one number of the values of a layer's nodes.
    """

    asked: tuple[str | Function, ...]
    kinds: tuple[str, ...] | None = None
    reduce: str = "mean"

    def __call__(self, graph: NeuralGraph) -> dict[Row, float]:
        """Measure a graph."""
        snapshot, found = Snapshot(graph, self.kinds), dict[Row, float]()
        for each in self.asked:
            if not isinstance(each, str):
                found.update(_of_function(each, graph))
                continue
            name, _, place = each.partition(" of ")
            rows = self._native(name, snapshot) if name in NATIVE else self._profiled(name, graph)
            found.update(_chosen(dict(rows), each, place.removeprefix("layer ")))
        return found

    def _native(self, name: str, snapshot: Snapshot) -> Iterator[tuple[Row, float]]:
        """Measure from the weights, without unrolling."""
        measure, graph = NATIVE[name], snapshot.graph
        values = measure.compute(snapshot)
        if measure.level == NODE:
            yield from self._of_nodes(name, values, graph)
        elif measure.level == LAYER:
            yield from _of_layers(name, values, graph)
        else:  # of the links that enter a layer
            layers = [graph.layers[index].name for index in entering(graph, self.kinds)]
            for statistic, row in zip(measure.names, values, strict=True):
                yield from ((Row(statistic, "layer", at), float(v)) for at, v in zip(layers, row, strict=True))

    def _profiled(self, name: str, graph: NeuralGraph) -> Iterator[tuple[Row, float]]:
        """Measure the unrolled graph as a profile does."""
        from ..profile import MEASURES, profile

        try:
            found = profile(graph, name, kinds=self.kinds)
        except InputError:
            if name in MEASURES or name in {each.group for each in MEASURES.values()}:
                raise
            known = ", ".join(dict.fromkeys([*NATIVE, *MEASURES]))
            raise InputError(f"unknown measure {name!r}: choose from {known}, or give a function of graphs") from None
        measured = tuple(found.measures["measure"])

        def columns(table: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
            for column in table.columns:
                known = column.startswith(measured) and not column.endswith("_error")  # of an estimate
                if known and table[column].dtype.kind in "biuf":
                    yield column, table[column].to_numpy(np.float64)

        for column, value in found.graph.items():
            yield Row(str(column), "graph", ""), float(value)
        for column, values in columns(found.layers):
            yield from _of_layers(column, values, graph)
        for column, values in columns(found.links):
            yield from _of_links(column, values, graph)
        for column, values in columns(found.nodes):
            yield from self._of_nodes(column, values, graph)

    def _of_nodes(self, name: str, values: np.ndarray, graph: NeuralGraph) -> Iterator[tuple[Row, float]]:
        """Reduce node values layer by layer; undefined ones are left out."""
        for layer in graph.layers:
            known = values[layer.start : layer.stop]
            known = known[~np.isnan(known)]
            value = float(REDUCTIONS[self.reduce](known)) if len(known) else float("nan")
            yield Row(f"{self.reduce} {name}", "layer", layer.name), value


def measuring(asked: Asked, kinds: Collection[str] | str | None, reduce: str) -> Measuring:
    """Take what a user asks for.

    Raises
    ------
    InputError
        If nothing is asked for, or the reduction is unknown.
    """
    if reduce not in REDUCTIONS:
        raise InputError(f"reduce={reduce!r} is unknown: choose from {', '.join(REDUCTIONS)}")
    every = (asked,) if isinstance(asked, str) or callable(asked) else tuple(asked)
    if not every:
        raise InputError("no measure is asked for: give a name such as 'fluctuation', or a function of the graph")
    chosen = (kinds,) if isinstance(kinds, str) else kinds
    return Measuring(every, None if chosen is None else tuple(chosen), reduce)


def _of_layers(name: str, values: np.ndarray, graph: NeuralGraph) -> Iterator[tuple[Row, float]]:
    for layer, value in zip(graph.layers, values, strict=True):
        yield Row(name, "layer", layer.name), float(value)


def _of_links(name: str, values: np.ndarray, graph: NeuralGraph) -> Iterator[tuple[Row, float]]:
    """Name links by their ends; of several between the same layers, by their number too."""
    seen: dict[str, int] = {}
    for links, value in zip(graph.links, values, strict=True):
        ends = f"{', '.join(layer.name for layer in links.sources)} → {links.target.name if links.target else ''}"
        seen[ends] = seen.get(ends, 0) + 1
        yield Row(name, "links", ends if seen[ends] == 1 else f"{ends} ({seen[ends]})"), float(value)


def _of_function(function: Function, graph: NeuralGraph) -> Iterator[tuple[Row, float]]:
    """Call a user's function."""
    name = getattr(function, "__name__", type(function).__name__)
    name = "measure" if name == "<lambda>" else name
    value: Any = function(graph)
    named = value.items() if hasattr(value, "items") else [(name, value)]
    for label, each in named:
        number = as_values(each)
        if number.shape != ():
            raise InputError(
                f"the measure {name!r} gave an array of shape {number.shape}: return a number, or a mapping from name "
                "to number"
            )
        yield Row(str(label), "graph", ""), float(number)


def _chosen(rows: dict[Row, float], asked: str, place: str) -> dict[Row, float]:
    """Keep the values of one place, if one is asked for."""
    if not place:
        return rows
    found = {row: value for row, value in rows.items() if row.place == place}
    if not found:
        known = ", ".join(dict.fromkeys(row.place for row in rows if row.place))
        raise InputError(f"{asked!r} is of no layer of this graph: choose from {known}")
    return found
