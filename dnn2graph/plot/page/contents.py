"""What a page shows of a graph: nodes, the strongest edges and layers, as plain values and packed arrays."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...export.layout import STEP, layered_positions, node_sizes
from ...graph import NeuralGraph
from ...links import EdgeBlock, Links
from ...measures import layer_table, strength
from ...measures.attributes import layer_shape, node_attributes
from ...progress import Progress
from ..columns import layer_grid
from ..strongest import shares, strongest_edges, strongest_nodes
from ..style import gradient
from .template import hex_colour, pack

SHADES = 64  # of the gradient
CLEAR = 2.0  # steps that curves keep from the nodes they pass over
BINS = 24  # of the histogram in a row of the table


@dataclass(frozen=True)
class Contents:
    """What a page shows."""

    title: str
    nodes: int  # of the graph
    edges: int
    nodes_shown: int
    edges_shown: int
    data: dict[str, Any]  # for the page's script
    rows: list[dict[str, Any]]  # of the table of layers


def contents(
    graph: NeuralGraph,
    title: str,
    max_edges: int,
    max_nodes: int,
    kinds: Collection[str] | None,
    progress: Progress | None = None,
) -> Contents:
    """Collect what a page shows; the numbers of nodes and layers are always those of the whole graph."""
    columns = node_attributes(graph, kinds)  # finite, or it raises
    columns["strength_abs"] = strength(graph, weight="abs", kinds=kinds)
    columns["degree_in"], columns["degree_out"] = _degrees(graph, kinds)
    shown = _shown_nodes(graph, columns["strength_abs"], max_nodes)
    chosen = []
    for each in strongest_edges(graph, max_edges, kinds, None if shown.all() else shown):
        chosen.append(each)
        if progress:
            progress(len(chosen), len(graph.select(kinds)))
    x, y = _positions(graph, shown)
    place = np.cumsum(shown) - 1  # of each node among those that are shown
    edges = EdgeBlock(*(np.concatenate([np.zeros(0, part[0].dtype), *part]) for part in _columns(chosen)))
    colours = [hex_colour(colour) for colour in gradient(len(graph.layers))]
    total = graph.number_of_edges(kinds)
    data = {
        "nodes": {
            "id": pack(np.flatnonzero(shown), np.uint32),
            "layer": pack(graph.layer_of()[shown], np.uint32),
            "x": pack(x, np.float32),
            "y": pack(y, np.float32),
            "radius": pack(node_sizes(graph, kinds)[shown], np.float32),
            "label": columns["label"][shown].tolist(),
            **{name: pack(columns[name][shown], np.float64) for name in NUMBERS},
            **{name: pack(columns[name][shown], np.uint32) for name in ("degree_in", "degree_out")},
        },
        "edges": {
            "source": pack(place[edges.sources], np.uint32),
            "target": pack(place[edges.targets], np.uint32),
            "weight": pack(edges.weights, edges.weights.dtype),
        },
        "links": list(_links(graph, chosen, y, shown)),
        "layers": [{"name": layer.name, "kind": layer.kind, "activation": layer.activation} for layer in graph.layers],
        "colours": colours,
        "gradient": [hex_colour(colour) for colour in gradient(SHADES)],
        "step": STEP,
        "edges_in_graph": total,
        "nodes_in_graph": len(graph),
    }
    rows = _rows(graph, columns["strength"], kinds, colours)
    return Contents(title, len(graph), total, int(shown.sum()), len(edges.weights), data, rows)


NUMBERS = ("bias", "strength_in", "strength_out", "strength", "strength_abs")


def _shown_nodes(graph: NeuralGraph, values: np.ndarray, most: int) -> np.ndarray:
    """Choose the strongest channels, where there are more nodes than a page can show; layers share evenly."""
    per_layer = shares([layer.size for layer in graph.layers], most)
    positions = [max(1, layer_grid(layer).shape[1]) for layer in graph.layers]
    return strongest_nodes(
        graph, values, [max(1, count // each) for count, each in zip(per_layer, positions, strict=True)]
    )


def _positions(graph: NeuralGraph, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place the nodes that are shown, as if their channels were all there is."""
    if shown.all():
        return layered_positions(graph)
    layers, start = [], 0
    for layer in graph.layers:
        shape, axis = list(layer_shape(layer)), layer.channel_axis % len(layer_shape(layer))
        nodes = layer_grid(layer)
        shape[axis] = int(shown[nodes].all(axis=1).sum()) if nodes.size else 0
        stop = start + int(shown[layer.start : layer.stop].sum())
        layers.append(replace(layer, shape=tuple(shape), start=start, stop=stop))
        start = stop
    return layered_positions(replace(graph, layers=tuple(layers)))


def _degrees(graph: NeuralGraph, kinds: Collection[str] | None) -> tuple[np.ndarray, np.ndarray]:
    into, out_of = np.zeros(len(graph)), np.zeros(len(graph))
    for links in graph.select(kinds):
        links.add_strengths(into, out_of, "nonzero")
    return into, out_of


def _columns(chosen: list[tuple[Links, EdgeBlock]]) -> Iterable[list[np.ndarray]]:
    blocks = [block for _, block in chosen] or [EdgeBlock(*(np.zeros(0, np.int64),) * 2, np.zeros(0, np.float32))]
    return (list(part) for part in zip(*blocks, strict=True))


def _links(
    graph: NeuralGraph, chosen: list[tuple[Links, EdgeBlock]], y: np.ndarray, shown: np.ndarray
) -> Iterable[dict[str, Any]]:
    """Say of each links which edges are theirs, and how high those rise that pass over layers."""
    depth = {layer.name: place for place, layer in enumerate(graph.layers)}
    layer_of = graph.layer_of()[shown]
    tops = [y[layer_of == place].max(initial=0) for place in range(len(graph.layers))]
    first = 0
    for links, block in chosen:
        ends = [depth[layer.name] for layer in (*links.sources, *([links.target] if links.target else []))]
        low, high = min(ends, default=0), max(ends, default=0)
        passes = high - low > 1 or (bool(ends) and ends[-1] == low)
        rises = float(max(tops[low : high + 1])) + CLEAR * STEP if passes else None
        yield {"first": first, "count": len(block.weights), "rises": rises, "kind": links.kind}
        first += len(block.weights)


def _rows(
    graph: NeuralGraph, values: np.ndarray, kinds: Collection[str] | None, colours: list[str]
) -> list[dict[str, Any]]:
    """Describe the layers, each with a histogram of its nodes' strengths."""
    table = layer_table(graph, kinds)
    rows = []
    for layer, colour, row in zip(graph.layers, colours, table.to_dict("records"), strict=True):
        mine = values[layer.start : layer.stop]
        counts, edges = np.histogram(mine, BINS) if mine.size else (np.zeros(BINS, np.int64), np.zeros(BINS + 1))
        rows.append(
            {str(key): value for key, value in row.items()} | {"colour": colour, "counts": counts, "edges": edges}
        )
    return rows
