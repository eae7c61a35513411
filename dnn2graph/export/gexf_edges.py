"""The edges of GEXF files: each with its weight, or with its weight at every step of a training."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from ..graph import NeuralGraph
from .gexf_text import attvalue, colour, declared, flat_name, opening, timed_closing, timed_opening
from .snapshots import Snapshots, TimedEdges
from .text import ROWS, SIGN_COLOURS, Column, EdgeMarkup, edge_texts, in_precision, texts, weave

TYPES = {
    "signed": {"kind": "string"},
    "abs": {"signed_weight": "double", "sign": "integer", "kind": "string"},
}
CHANGING = {"signed": ("weight",), "abs": ("weight", "signed_weight")}  # the names by which Gephi knows them
OPENING = b'<edge source="', b'" target="', b'" weight="'
ROW_PIECES = 16  # of an edge that does not change; fewer edges are woven at a time where steps make them longer


def edge_declarations(weight: str, steps: Sequence[int], flat: bool) -> bytes:
    """Declare the attributes of edges; those that change are the last."""
    types, changing = TYPES[weight], CHANGING[weight] if steps else ()
    if flat:
        return declared("edge", "static", types | {flat_name(each, s): "double" for s in steps for each in changing})
    still = declared("edge", "static", {name: kind for name, kind in types.items() if name not in changing})
    return still + declared("edge", "dynamic", dict.fromkeys(changing, "double")) if changing else still


def still_edges(
    graph: NeuralGraph, kinds: Collection[str] | None, weight: str, precision: str | None
) -> Iterator[tuple[int, bytes]]:
    """Write edges that do not change, some at a time: their number and their text."""
    for links in graph.select(kinds):
        if weight == "signed":
            closing = b'"><attvalues>' + _end(links.kind, None)
            markup = EdgeMarkup(*OPENING, None, (closing, closing))
        else:
            ends = b'"/>' + _end(links.kind, 1), b'"/>' + _end(links.kind, -1)
            markup = EdgeMarkup(*OPENING, b'"><attvalues>' + opening("signed_weight"), ends)
        yield from edge_texts(links, markup, precision)


def changing_edges(
    snapshots: Snapshots, kinds: Collection[str] | None, weight: str, precision: str | None, flat: bool
) -> Iterator[tuple[int, bytes]]:
    """Write edges with their weights at every step, some at a time: how many pairs were looked at, and the text."""
    rows = max(1, ROWS * ROW_PIECES // (ROW_PIECES + 5 * len(snapshots.steps)))
    for links, edges in snapshots.edges(kinds):
        yield edges.pairs, b""
        for begin in range(0, len(edges.sources), rows):
            part = slice(begin, begin + rows)
            weights = [_precise(each[part], precision) for each in edges.weights]
            some = TimedEdges(edges.sources[part], edges.targets[part], weights, 0)
            yield 0, _woven(some, snapshots.steps, links.kind, weight, flat)


def _woven(edges: TimedEdges, steps: Sequence[int], kind: str, weight: str, flat: bool) -> bytes:
    last = _last_weights(edges.weights)
    before_source, before_target, before_weight = OPENING
    columns: list[Column] = [before_source, texts(edges.sources), before_target, texts(edges.targets), before_weight]
    if weight == "signed":
        columns += [texts(last), b'"><attvalues>']
        for step, weights in zip(steps, edges.weights, strict=True):
            columns += [timed_opening("weight", step, flat), texts(weights), timed_closing(step, flat)]
        return weave([*columns, _end(kind, None)], len(last))
    size = texts(np.abs(last))
    columns += [size, b'"><attvalues>']
    if flat:
        columns += [_before_sign(opening("signed_weight"), last), size, b'"/>']
    for step, weights in zip(steps, edges.weights, strict=True):
        size, closing = texts(np.abs(weights)), timed_closing(step, flat)
        between = closing + timed_opening("signed_weight", step, flat)
        columns += [timed_opening("weight", step, flat), size, _before_sign(between, weights), size, closing]
    ends = np.array([_end(kind, 1), _end(kind, -1)], object)
    return weave([*columns, ends[_negative(last)].tolist()], len(last))


def _last_weights(weights: Sequence[np.ndarray]) -> np.ndarray:
    """Give the last weight of each edge that is not zero."""
    last = weights[-1]
    for earlier in reversed(weights[:-1]):
        if last.all():
            break
        last = np.where(last == 0, earlier, last)
    return last


def _precise(weights: np.ndarray, precision: str | None) -> np.ndarray:
    """Convert weights; zeros, which are no edges, are positive zeros."""
    return np.where(weights == 0, weights.dtype.type(0), in_precision(weights, precision))


def _negative(weights: np.ndarray) -> np.ndarray:
    return (weights < 0).view(np.int8)


def _before_sign(text: bytes, weights: np.ndarray) -> list[bytes]:
    """Write a text, and the sign of the number that follows."""
    listed: list[bytes] = np.array([text, text + b"-"], object)[_negative(weights)].tolist()
    return listed


def _end(kind: str, sign: int | None) -> bytes:
    """End an edge; with its sign, if that is written beside its weight."""
    value = attvalue("kind", kind) + b"</attvalues>"
    if sign is None:
        return value + b"</edge>\n"
    return attvalue("sign", str(sign)) + value + colour(SIGN_COLOURS[sign]) + b"</edge>\n"
