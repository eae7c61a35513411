"""What a profile gives: tables of nodes, layers and links, numbers of the whole graph, and what each measure is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..graph import NeuralGraph
from .measure import Columns, Measure

if TYPE_CHECKING:
    import pandas as pd

DESCRIBED = ("measure", "group", "level", "weight", "definition", "source", "seconds", "note")
TABLES = ("nodes", "layers", "links", "graph", "measures")
FORMATS = ("csv", "parquet")


@dataclass(frozen=True, eq=False, repr=False)
class Profile:
    """The measures of one graph; made by :func:`dnn2graph.profile`.

    Attributes
    ----------
    nodes, layers, links : DataFrame
        One row per node, layer, links, in the graph's order. What it is, then the columns of each measure.
    graph : Series of float
        The numbers of the whole graph.
    measures : DataFrame
        One row per measure: ``measure``, ``group``, ``level``, ``weight`` (the convention it was given),
        ``definition``, ``source``, ``seconds``, ``note`` (why values are missing, how sampled values were estimated).
    """

    nodes: pd.DataFrame
    layers: pd.DataFrame
    links: pd.DataFrame
    graph: pd.Series
    measures: pd.DataFrame

    def write(self, folder: str | Path, format: str = "csv") -> None:
        """Write the tables into a folder, which appears at its path only when it is complete.

        Parameters
        ----------
        folder : str or Path
            Gets the tables nodes, layers, links, graph and measures. An older folder of a profile is replaced; any
            other is left alone.
        format : {"csv", "parquet"}

        Raises
        ------
        InputError
            If the format is unknown.
        ExportError
            If the folder cannot be written, or holds other files; what is at that path is untouched.
        """
        from ..export.files import complete, explaining
        from ..export.together import replacing_folder

        if format not in FORMATS:
            raise InputError(f"format={format!r} is unknown: choose from {', '.join(FORMATS)}")
        every = [f"{name}.{suffix}" for name in TABLES for suffix in FORMATS]
        with replacing_folder(folder, every) as unfinished, explaining(Path(folder)):
            for name in TABLES:
                table, path = self._table(name), unfinished / f"{name}.{format}"
                with complete(path, path) as file:
                    table.to_csv(file, index=False) if format == "csv" else table.to_parquet(file, index=False)

    def to_dict(self) -> dict[str, list[dict[str, object]]]:
        """Return each table as a list of rows, in plain values: for JSON."""
        return {name: self._table(name).to_dict("records") for name in TABLES}

    def _table(self, name: str) -> pd.DataFrame:
        """Give a table with its index, if it has one that says something, as its first column."""
        table = getattr(self, name)
        return table.reset_index() if table.index.name else table

    def __repr__(self) -> str:
        return (
            f"Profile({len(self.measures)} measures of {len(self.nodes):,} nodes, {len(self.layers)} layers, "
            f"{len(self.links)} links: {', '.join(self.measures['measure'])})"
        )


def assemble(graph: NeuralGraph, found: Sequence[tuple[Measure, Columns, float, list[str]]]) -> Profile:
    """Arrange columns in tables."""
    import pandas as pd

    columns, lengths = _identities(graph), _lengths(graph)
    for each, values, _, _ in found:
        table = columns[each.level]
        for name, value in values.items():
            assert name.startswith(each.name), f"the column {name} belongs to {each.name}"
            assert name not in table, f"two measures have the column {name}"
            if each.level == "graph":
                table[name] = float(value)
            else:
                assert np.shape(value) == (lengths[each.level],), f"{name} has shape {np.shape(value)}"
                table[name] = value
    described = [
        (each.name, each.group, each.level, each.weight, each.definition, each.source, seconds, "; ".join(notes))
        for each, _, seconds, notes in found
    ]
    return Profile(
        nodes=pd.DataFrame(columns["node"]).rename_axis("node"),
        layers=pd.DataFrame(columns["layer"]),
        links=pd.DataFrame(columns["links"]),
        graph=pd.Series(columns["graph"], dtype=float, name="value").rename_axis("measure"),
        measures=pd.DataFrame(described, columns=list(DESCRIBED)),
    )


def _lengths(graph: NeuralGraph) -> dict[str, int]:
    return {"node": len(graph), "layer": len(graph.layers), "links": len(graph.links)}


def _identities(graph: NeuralGraph) -> dict[str, dict[str, object]]:
    """Say, in the first columns of each table, what its rows are of."""
    from ..measures.attributes import node_attributes

    attributes = node_attributes(graph)
    known = ("label", "layer", "layer_index", "channel", "position", "kind", "activation", "bias")
    return {
        "node": {name: attributes[name] for name in known},
        "layer": {
            "layer": [layer.name for layer in graph.layers],
            "kind": [layer.kind for layer in graph.layers],
            "nodes": [layer.size for layer in graph.layers],
        },
        "links": {
            "source": [", ".join(layer.name for layer in links.sources) for links in graph.links],
            "target": [links.target.name if links.target else "" for links in graph.links],
            "kind": [links.kind for links in graph.links],
        },
        "graph": {},
    }
