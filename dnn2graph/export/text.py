"""The text of graph files in XML: what every format writes, whatever its tags are.

Text is woven from columns: constants and lists of byte strings, one item for each row, are interleaved and joined. No
Python code runs for a single edge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import orjson
import torch

from ..errors import InputError
from ..graph import NeuralGraph
from ..links import EdgeBlock, Links
from ..links.sums import as_numpy

Column = bytes | list[bytes]

WEIGHTS = ("abs", "signed")
PRECISIONS = ("float32", "float64")
ROWS = 2048  # woven at a time: the pieces of that many edges stay in the cache
BLOCK = 1 << 16  # edges listed at a time
TABLE = 1 << 16  # nodes whose texts are kept, at most
SIGN_COLOURS = {1: (33, 102, 172), -1: (178, 24, 43)}  # blue and red that the colour-blind tell apart

# What XML 1.0 cannot hold, even escaped, and the carriage return, which it turns into a line feed.
FORBIDDEN = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def check_options(weight: str, precision: str | None) -> None:
    """Raise if an option of a writer is unknown.

    Raises
    ------
    InputError
        With the value and the choices.
    """
    if weight not in WEIGHTS:
        raise InputError(f"weight={weight!r} is unknown: choose from {', '.join(WEIGHTS)}")
    if precision is not None and precision not in PRECISIONS:
        raise InputError(f"precision={precision!r} is unknown: choose from {', '.join(PRECISIONS)}")


# ---------------------------------------------------------------------- text


def weave(columns: Sequence[Column], count: int) -> bytes:
    """Join columns row by row; a column of bytes repeats in every row."""
    woven = [column if isinstance(column, bytes) else b"" for column in columns] * count
    for place, column in enumerate(columns):
        if not isinstance(column, bytes):
            woven[place :: len(columns)] = column
    return b"".join(woven)


def texts(numbers: np.ndarray) -> list[bytes]:
    """Write numbers as text, the shortest that reads back exactly."""
    if not len(numbers):
        return []
    listed = orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY)
    return listed[1:-1].split(b",")


def clean(text: str) -> str:
    """Put U+FFFD where a text has something that not every reader survives: control characters, lone surrogates."""
    return FORBIDDEN.sub("\ufffd", text)


def escape(text: str) -> bytes:
    """Make any text a valid XML 1.0 text, in UTF-8; what XML cannot hold becomes U+FFFD."""
    text = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&quot;").encode()


def escape_attribute(text: str) -> bytes:
    """Make any text a valid value of an XML attribute, where readers take a tab or a line feed for a space."""
    return escape(text).replace(b"\t", b"&#9;").replace(b"\n", b"&#10;")


# ---------------------------------------------------------------------- edges


class EdgeMarkup(NamedTuple):
    """What a format writes around the numbers of an edge: source, target, weight, and the signed weight again."""

    before_source: bytes
    before_target: bytes
    before_weight: bytes
    before_signed: bytes | None  # None: the weight is written once
    end: tuple[bytes, bytes]  # of a positive edge, and of a negative one
    absolute: bool = False  # whether a weight that is written once is the absolute one
    first_id: int = 0  # what the format calls the first node


def edge_texts(links: Links, markup: EdgeMarkup, precision: str | None) -> Iterator[tuple[int, bytes]]:
    """Write the edges of one set of links, some at a time: their number and their text."""
    target_texts = _TargetTexts(links, markup)
    if markup.before_signed is not None:
        before_signed = np.array([markup.before_signed, markup.before_signed + b"-"], object)
        end = np.array(markup.end, object)
    for block in links.blocks(BLOCK):
        opened = _opened(block, markup)
        for begin in range(0, len(block.weights), ROWS):
            rows = slice(begin, begin + ROWS)
            columns: list[Column] = [opened[rows].tolist(), *target_texts(block.targets[rows])]
            weights = in_precision(block.weights[rows], precision)
            if markup.before_signed is None:
                columns += [texts(np.abs(weights) if markup.absolute else weights), markup.end[0]]
            else:
                size, negative = texts(np.abs(weights)), (weights < 0).view(np.int8)
                columns += [size, before_signed[negative].tolist(), size, end[negative].tolist()]
            yield len(weights), weave(columns, len(weights))


def _opened(block: EdgeBlock, markup: EdgeMarkup) -> np.ndarray:
    """Open each edge. Edges of one node follow each other: the text is made once for all of them."""
    first = np.flatnonzero(np.diff(block.sources, prepend=-1))
    before, after = markup.before_source, markup.before_target
    sources = (block.sources[first] + markup.first_id).tolist()
    opened = np.array([b"%b%d%b" % (before, source, after) for source in sources], object)
    return np.repeat(opened, np.diff(first, append=len(block.sources)))


class _TargetTexts:
    """What stands in an edge from its target to its weight: looked up where a table of all targets is small."""

    def __init__(self, links: Links, markup: EdgeMarkup) -> None:
        nodes, self.table, self.markup = links.target_nodes.flat, None, markup
        if 0 < len(nodes) <= min(TABLE, int(links.map.row_counts().sum()) // 4):
            self.first = int(nodes.min())
            ids = range(self.first + markup.first_id, int(nodes.max()) + markup.first_id + 1)
            self.table = np.array([b"%d%b" % (node, markup.before_weight) for node in ids], object)

    def __call__(self, targets: np.ndarray) -> tuple[Column, ...]:
        if self.table is None:
            return texts(targets + self.markup.first_id), self.markup.before_weight
        return (self.table[targets - self.first].tolist(),)


def weight_dtype(graph: NeuralGraph, precision: str | None) -> np.dtype:
    """Tell the type in which a graph's weights are written; half precision, which few readers know, as float32."""
    return np.dtype(precision) if precision else as_numpy(torch.zeros(0, dtype=graph.dtype)).dtype


def in_precision(weights: np.ndarray, precision: str | None) -> np.ndarray:
    """Convert weights; those beyond float32's range stay edges, finite and not zero."""
    if precision is None or weights.dtype == precision:
        return weights
    if precision == "float64":
        return weights.astype(np.float64)
    limits = np.finfo(np.float32)
    with np.errstate(over="ignore"):
        magnitudes = np.abs(weights).astype(np.float32).clip(limits.smallest_subnormal, limits.max)
    return np.copysign(magnitudes, weights).astype(np.float32)
