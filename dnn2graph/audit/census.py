"""What is in a graph file, counted: no viewer's view yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .elements import COLOUR, OWNERS, Columns, Key, Shape
from .regular import FEW, Run
from .repeats import FIRST, SECOND, THIRD, Lines, Missing, Repeats, hashes

PENDING = 2048  # elements that were read one by one are counted together
SHAPES = 10_000  # of elements that are remembered
NAMES = 100_000  # different keys and attributes that are told apart; a graph file has dozens

# What Java's Float.parseFloat takes for a number, and for none but keeps; white space around is ignored.
JAVA_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?[fFdD]?")
JAVA_SPECIAL = re.compile(r"[-+]?(?:NaN|Infinity)")
# What every reader takes for a number.
NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?(?:nan|inf|infinity)", re.IGNORECASE)

Distinct = tuple[np.ndarray, np.ndarray]  # of one value each element: hash, and the distinct hashes


@dataclass(frozen=True)
class Tally:
    """How often something was met, and on which line first."""

    count: int = 0
    line: int | None = None
    example: str = ""

    def more(self, count: int) -> Tally:
        """Count it again."""
        return Tally(self.count + count, self.line, self.example)


@dataclass(frozen=True)
class Rows:
    """Elements to count together, and the lines that they begin on."""

    count: int
    columns: dict[str, Any]  # Arrow arrays, or lists of bytes or None
    line: Callable[[int], int]  # of an element, by its place among them


class Census:
    """Counts nodes, edges, keys and values of one file.

    Memory does not grow with the file, apart from 8 bytes for each id of a node or an edge and for each edge; in
    :meth:`settle` twice that.
    """

    def __init__(self, format: str, namespace: str) -> None:
        self.format, self.namespace = format, namespace
        self.columns = Columns(format)
        self.keys: list[Key] = []
        self.defaults: list[Key] = []
        self.graphs: list[tuple[dict[str, str], int]] = []
        self.counts = {"node": 0, "edge": 0}
        self.features: dict[tuple[str, str], Tally] = {}  # (owner, what its markup holds)
        self.tallies: dict[str, Tally] = {}
        self.types: set[int] = set()
        self.placed = False  # whether a node has a position other than the origin
        self.ids = {"node": Repeats(), "edge": Repeats()}
        self.id_lines = {"node": Lines(), "edge": Lines()}
        self.parallel, self.edge_lines = Repeats(), Lines()
        self.missing = Missing(self.ids["node"])
        self.pending: dict[str, list[tuple[dict[str, bytes], int]]] = {"node": [], "edge": []}
        self.known_shapes: dict[Shape, frozenset[str]] = {}

    # ------------------------------------------------------------------ what the reader tells

    def graph(self, attributes: dict[str, str], line: int) -> None:
        """Take the start of a graph."""
        self.graphs.append((attributes, line))

    def declare(self, key: Key) -> None:
        """Take the declaration of an attribute."""
        if len(self.keys) < NAMES:
            self.keys.append(key)
        self.columns.declare(key)

    def default(self, key: Key) -> None:
        """Take the default value of an attribute."""
        if len(self.defaults) < NAMES:
            self.defaults.append(key)

    def add_run(self, run: Run, line: int) -> None:
        """Count elements of one shape that follow each other, from a line on."""
        self._count(run.owner, run.shape, run.count, line)
        if run.count < FEW:
            for place, values in enumerate(zip(*run.columns.values(), strict=True)):
                row = {name: value for name, value in zip(run.columns, values, strict=True) if value}
                self._wait(run.owner, row, line + place * run.lines)
            return
        self._flush(run.owner)
        rows = Rows(run.count, run.columns, lambda place: line + place * run.lines)
        self._add(run.owner, rows, lambda lines: lines.add(run.count, line, run.lines))

    def add_element(self, owner: str, shape: Shape, values: dict[str, str], line: int) -> None:
        """Count one element."""
        self._count(owner, shape, 1, line)
        if colour := values.pop(COLOUR, None):
            self._tally("no colour", 1, line, colour)
        self._wait(owner, {name: value.encode() for name, value in values.items()}, line)

    def settle(self) -> None:
        """Count what is only known at the end."""
        self._flush("node")
        self._flush("edge")
        for owner in OWNERS:
            count, first = self.ids[owner].found()
            self._tally(f"repeated {owner} id", count, self.id_lines[owner].at(first))
        count, first = self.parallel.found()
        self._tally("parallel", count, self.edge_lines.at(first))
        count, first = self.missing.found()
        self._tally("missing node", count, self.edge_lines.at(first))

    # ------------------------------------------------------------------ what the rules ask

    def tally(self, name: str) -> Tally:
        """Return how often something was met."""
        return self.tallies.get(name, Tally())

    def feature(self, owner: str, name: str) -> Tally:
        """Return how many nodes or edges hold something in their markup."""
        return self.features.get((owner, name), Tally())

    # ------------------------------------------------------------------ counting

    def _tally(self, name: str, count: int, line: int | None, example: str = "") -> None:
        if count:
            known = self.tallies.get(name)
            self.tallies[name] = known.more(count) if known else Tally(count, line, example)

    def _count(self, owner: str, shape: Shape, count: int, line: int) -> None:
        self.counts[owner] += count
        found = self.known_shapes.get(shape)
        if found is None:
            if len(self.known_shapes) >= SHAPES:
                self.known_shapes.clear()
            found = self.known_shapes[shape] = frozenset(_features(shape))
        for feature in found:
            known = self.features.get((owner, feature))
            if known is None and len(self.features) >= NAMES:
                continue
            self.features[owner, feature] = known.more(count) if known else Tally(count, line)

    def _wait(self, owner: str, values: dict[str, bytes], line: int) -> None:
        pending = self.pending[owner]
        pending.append((values, line))
        if len(pending) >= PENDING:
            self._flush(owner)

    def _flush(self, owner: str) -> None:
        """Count the elements that wait."""
        pending = self.pending[owner]
        if not pending:
            return
        self.pending[owner] = []
        names = dict.fromkeys(name for values, _ in pending for name in values)
        columns = {name: [values.get(name) for values, _ in pending] for name in names}

        def add(lines: Lines) -> None:
            for _, line in pending:
                lines.add(1, line, 0)

        self._add(owner, Rows(len(pending), columns, lambda place: pending[place][1]), add)

    def _add(self, owner: str, rows: Rows, add_lines: Callable[[Lines], None]) -> None:
        self._add_ids(owner, rows, add_lines)
        if owner == "node":
            self._add_places(rows)
        else:
            self._add_edges(rows)
            add_lines(self.edge_lines)

    def _add_ids(self, owner: str, rows: Rows, add_lines: Callable[[Lines], None]) -> None:
        if "id" not in rows.columns:
            return
        keys, _ = _hashed(rows, "id")
        if keys.all():
            self.ids[owner].add(keys)
            add_lines(self.id_lines[owner])
        else:
            there = np.flatnonzero(keys)
            self.ids[owner].add(keys[there])
            for place in there.tolist():
                self.id_lines[owner].add(1, rows.line(place), 0)

    def _add_places(self, rows: Rows) -> None:
        for name in ("x", "y"):
            if not self.placed and name in rows.columns:
                values, _ = _numbers(rows.columns[name])
                self.placed = bool((np.nan_to_num(values) != 0).any())

    def _add_edges(self, rows: Rows) -> None:
        (sources, from_), (targets, to) = _hashed(rows, "source"), _hashed(rows, "target")
        ends = (sources != 0) & (targets != 0)
        self._mark("no end", ~ends, rows)
        begin = self.parallel.count
        for keys, distinct in ((sources, from_), (targets, to)):
            self.missing.add(distinct[distinct != 0], keys, begin)
        directed = self._directed(rows)
        if not directed.all():
            low, high = np.minimum(sources, targets), np.maximum(sources, targets)
            sources, targets = np.where(directed, sources, low), np.where(directed, targets, high)
        keys = sources * FIRST + targets * SECOND
        if "type" in rows.columns:
            types, distinct = _hashed(rows, "type")
            keys += types * THIRD
            if len(self.types) < NAMES:
                self.types.update(distinct.tolist())
        else:
            self.types.add(0)
        self.parallel.add(keys)
        if "weight" in rows.columns:
            self._add_weights(rows)
        else:
            self._tally("no weight", rows.count, rows.line(0))

    def _directed(self, rows: Rows) -> np.ndarray:
        """Return which edges Gephi takes for directed: those of a directed graph; otherwise those that say so."""
        attributes = self.graphs[-1][0] if self.graphs else {}
        graphml = self.format == "GraphML"
        default = attributes.get("edgedefault" if graphml else "defaultedgetype", "")
        directed = np.full(rows.count, default == "directed")
        if "direction" in rows.columns:
            said, _ = _hashed(rows, "direction")
            yes, no = hashes((b"true", b"false") if graphml else (b"directed", b"undirected"), 2)
            self._mark("undirected edge", said == no, rows)
            self._mark("directed edge", said == yes, rows)
            if default not in ("directed", "undirected"):
                directed = said == yes
        return directed

    def _add_weights(self, rows: Rows) -> None:
        column = rows.columns["weight"]
        weights, strange = _numbers(column)
        with np.errstate(over="ignore", under="ignore"):
            single = weights.astype(np.float32)
        self._mark("zero weight", weights == 0, rows, column)
        self._mark("tiny weight", (single == 0) & (weights != 0), rows, column)
        self._mark("negative weight", single < 0, rows, column)
        self._mark("huge weight", np.isinf(single), rows, column)
        for place in strange:
            text = None if column[place] is None else column[place].decode()
            self._tally(_strangeness(text), 1, rows.line(place), text or "")

    def _mark(self, name: str, mask: np.ndarray, rows: Rows, column: Sequence[Any] | None = None) -> None:
        if mask.any():
            first = int(mask.argmax())
            example = "" if column is None else _number(column[first])
            self._tally(name, int(mask.sum()), rows.line(first), example)


def _features(shape: Shape) -> list[str]:
    """List what the markup of an element holds."""
    found = []
    for tag, attributes, key in shape:
        found += [tag, *(f"{tag}@{attribute}" for attribute in attributes)]
        if key is not None:
            found.append(f"key {key}")
        if tag == "size" and "value" in attributes[1:]:
            found.append("size value not first")
    return found


def _hashed(rows: Rows, name: str) -> Distinct:
    """Return the hash of each value, 0 if there is none, and the distinct hashes."""
    column = rows.columns.get(name)
    if column is None:
        return np.zeros(rows.count, np.uint64), np.empty(0, np.uint64)
    if isinstance(column, list):
        keys = hashes((value or b"" for value in column), len(column))  # Python's hash of an empty text is 0
        return keys, np.unique(keys)
    distinct = hashes(column.dictionary.to_pylist(), len(column.dictionary))
    return distinct[column.indices.to_numpy()], distinct


def _numbers(column: Any) -> tuple[np.ndarray, list[int]]:
    """Return values as float64, NaN where there is none or no number, and the places of those."""
    if not isinstance(column, list):
        return column.to_numpy(), []
    values, strange = np.full(len(column), np.nan), []
    for place, text in enumerate(column):
        if text is not None and NUMBER.fullmatch(text.decode()):
            values[place] = float(text)
        else:
            strange.append(place)
    return values, strange


def _strangeness(text: str | None) -> str:
    """Say what kind of no number a weight is."""
    if not text:
        return "no weight"
    if JAVA_SPECIAL.fullmatch(text):
        return "weight not finite"
    if NOT_FINITE.fullmatch(text):
        return "weight not finite to Java"
    if JAVA_NUMBER.fullmatch(text):
        return "weight of Java"
    return "weight with a comma" if NUMBER.fullmatch(text.replace(",", ".")) else "weight no number"


def _number(value: Any) -> str:
    """Write a number of a column the same, however it was read."""
    return repr(float(value if isinstance(value, bytes) else value.as_py()))
