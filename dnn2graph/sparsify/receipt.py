"""The receipt: what a sparsified graph kept of the whole, and what it lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..graph import NeuralGraph
from .census import Census
from .edges import Edges
from .reach import UNREACHED

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LinksReceipt:
    """What is left of one links.

    Attributes
    ----------
    source, target, kind : str
        Names of the layers that they join (several sources: with commas between), kind of the links.
    edges, kept : int
    mass : float
        Share of the sum of |w| that is kept; NaN where there was none.
    """

    source: str
    target: str
    kind: str
    edges: int
    kept: int
    mass: float


@dataclass(frozen=True)
class LayerReceipt:
    """What is left around one layer.

    Attributes
    ----------
    layer : str
    nodes : int
    isolated : int
        Nodes without an edge.
    isolated_before : int
        Nodes that had none in the whole graph.
    edges, kept : int
        In-edges.
    mass : float
        Share of the sum of their |w| that is kept; NaN where there was none.
    spearman : float
        Rank correlation of the absolute strengths of the layer's nodes, before and after; NaN where either is constant.
    """

    layer: str
    nodes: int
    isolated: int
    isolated_before: int
    edges: int
    kept: int
    mass: float
    spearman: float


@dataclass(frozen=True)
class Receipt:
    """What :func:`dnn2graph.sparsify` kept, and what was lost; ``print`` shows it as a table.

    Attributes
    ----------
    method : str
    options : mapping
        The method's parameter, ``max_edges``, ``keep_outputs`` and ``kinds``, where they were given.
    edges, kept : int
    mass : float
        Share of the sum of |w| that is kept.
    nodes, isolated, isolated_before : int
        As of :class:`LayerReceipt`, of the whole graph.
    spearman : float
        Of all nodes together.
    outputs, reachable_outputs : int
        Output nodes that an input reaches in the whole graph; how many of them it still reaches.
    layers : tuple of LayerReceipt
    links : tuple of LinksReceipt
    """

    method: str
    options: Mapping[str, Any]
    edges: int
    kept: int
    mass: float
    nodes: int
    isolated: int
    isolated_before: int
    spearman: float
    outputs: int
    reachable_outputs: int
    layers: tuple[LayerReceipt, ...]
    links: tuple[LinksReceipt, ...]

    def to_frame(self, by: str = "layer") -> pd.DataFrame:
        """Return one row per layer, or per links with ``by="links"``; columns as the attributes of either."""
        import pandas as pd

        if by not in ("layer", "links"):
            raise InputError(f"by={by!r} is unknown: choose from layer, links")
        rows = [asdict(row) for row in (self.layers if by == "layer" else self.links)]
        columns = fields(LayerReceipt if by == "layer" else LinksReceipt)
        return pd.DataFrame(rows, columns=[column.name for column in columns])

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain dictionaries and lists, for JSON."""
        return {**asdict(self), "options": dict(self.options)}

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        lines = [
            f"kept {self.kept:,} of {self.edges:,} edges by {self.method}" + (f" ({options})" if options else ""),
            f"{_percent(self.mass)} of the absolute weight; Spearman correlation of strengths {self.spearman:.3f}; "
            f"{self.isolated:,} of {self.nodes:,} nodes isolated ({self.isolated_before:,} before); "
            f"{self.reachable_outputs:,} of {self.outputs:,} outputs reachable",
            "",
        ]
        head = ("layer", "kept in-edges", "of", "|w|", "Spearman", "isolated", "of nodes")
        cells = [head, *(_cells(row) for row in self.layers)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join([row[0].ljust(len(first)), *others]))
        return "\n".join(lines)


def _cells(row: LayerReceipt) -> tuple[str, ...]:
    spearman = "" if np.isnan(row.spearman) else f"{row.spearman:.3f}"
    kept, edges, isolated, nodes = (f"{count:,}" for count in (row.kept, row.edges, row.isolated, row.nodes))
    return row.layer, kept, edges, _percent(row.mass), spearman, isolated, nodes


def _percent(share: float) -> str:
    if np.isnan(share):
        return ""
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def receipt_of(
    graph: NeuralGraph,
    census: Census,
    edges: Edges,
    method: str,
    options: Mapping[str, Any],
    outputs: np.ndarray,
    order: np.ndarray,
) -> Receipt:
    """Compare the kept edges with the census of all.

    Parameters
    ----------
    outputs : int64 array
        Output nodes that all edges together reach.
    order : int64 array (nodes,)
        What :func:`.reached` says of the kept edges.
    """
    nodes = census.nodes
    before = census.into + census.out_of
    after = sum(np.bincount(ends, edges.magnitudes, nodes) for ends in (edges.sources, edges.targets))
    assert isinstance(after, np.ndarray)
    kept = np.bincount(edges.links, minlength=len(census.links))
    held = np.bincount(edges.links, edges.magnitudes, len(census.links))
    links = tuple(
        LinksReceipt(
            ", ".join(layer.name for layer in each.sources),
            each.target.name if each.target else "",
            each.kind,
            int(census.counts[i]),
            int(kept[i]),
            _share(held[i], census.masses[i]),
        )
        for i, each in enumerate(census.links)
    )
    layers = []
    for layer in graph.layers:
        here = slice(layer.start, layer.stop)
        entering = [i for i, each in enumerate(census.links) if each.target is layer]
        layers.append(
            LayerReceipt(
                layer.name,
                layer.size,
                int((after[here] == 0).sum()),
                int((before[here] == 0).sum()),
                int(census.counts[entering].sum()),
                int(kept[entering].sum()),
                _share(held[entering].sum(), census.masses[entering].sum()),
                _spearman(before[here], after[here]),
            )
        )
    return Receipt(
        method,
        dict(options),
        int(census.counts.sum()),
        edges.size,
        _share(held.sum(), census.masses.sum()),
        nodes,
        int((after == 0).sum()),
        int((before == 0).sum()),
        _spearman(before, after),
        len(outputs),
        int((order[outputs] != UNREACHED).sum()),
        tuple(layers),
        links,
    )


def _share(part: float, whole: float) -> float:
    return min(1.0, float(part / whole)) if whole else float("nan")


def _spearman(before: np.ndarray, after: np.ndarray) -> float:
    if not len(before) or (before == before[0]).all() or (after == after[0]).all():
        return float("nan")
    from scipy.stats import spearmanr

    return float(spearmanr(before, after).statistic)
