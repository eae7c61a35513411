"""Nodes and edges that are written alike, read many at a time.

A graph file mostly repeats one line with other numbers. From one such element a *template* is made: an expression that
matches elements with exactly the same markup and plain ASCII values, nothing else. Runs of them are well-formed by
construction, so no XML parser needs to see them; their values become arrays without a Python object for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .anatomy import PATTERNS, Anatomy, Piece, Value, take_apart
from .elements import Columns, Shape

SEPARATOR = b"\x01"  # no value can hold it

FIRST_WINDOW = 1 << 12  # bytes that are tried after a template changed; the more match, the larger the next
LARGEST_WINDOW = 1 << 20
FEW = 64  # elements whose values are rather split one by one
TEMPLATES = 1 << 10  # that are kept
CREDIT, EARNED_BY = 64, 1000  # templates that may be made at once, and elements whose reading pays for one more
RECENT = 8  # of them are tried before an element is taken apart


@dataclass(frozen=True)
class Run:
    """Elements of one shape that follow each other."""

    owner: str
    shape: Shape
    count: int
    columns: dict[str, Any]  # Arrow arrays: numbers as float64, texts as dictionaries; or lists of bytes
    lines: int  # that each element takes
    stop: int  # where the run ends in the buffer


class Template:
    """Elements of one shape and the same markup around their values."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.owner, self.shape, pieces = anatomy
        wanted = [place for place, piece in enumerate(pieces) if isinstance(piece, Value) and piece.column]
        first, last = wanted[0], wanted[-1]
        self.fields: list[str] = []
        self.between: list[bytes] = []
        core = b""
        for place, piece in enumerate(pieces):
            core += b"(" if place == first else b""
            if isinstance(piece, bytes):
                core += re.escape(piece)
                if first < place < last:
                    self.between.append(piece)
            else:
                core += piece.pattern
                if first <= place <= last:
                    self.fields.append(piece.column or f"-{len(self.fields)}")
            core += b")" if place == last else b""
        self.one = re.compile(core)
        self.run = re.compile(b"(?:%b)*+" % core)
        fixed = [piece for piece in pieces if isinstance(piece, bytes)]
        self.between.sort(key=len, reverse=True)  # a piece that is part of another must not tear it
        self.lines = sum(piece.count(b"\n") for piece in fixed)
        self.opening, self.closing = b"<%b " % self.owner.encode(), fixed[-1]
        self.closings = sum(piece.count(self.closing) for piece in fixed)

    def spans(self, buffer: bytes, start: int, stop: int) -> tuple[list[bytes], int]:
        """Return, of each element of the run that begins at ``start``, the text from its first value to its last."""
        last = buffer.rfind(self.opening, start, stop)
        if last > start + FIRST_WINDOW // 2:
            spans = self.one.findall(buffer, start, last)
            # Nothing lies between the elements found if all that begin there are, and each but the first follows
            # the end of one, and nothing else ends there. Counting is faster than matching twice.
            if (
                len(spans) == buffer.count(self.opening, start, last)
                and len(spans) - 1 == buffer.count(self.closing + self.opening, start, last)
                and len(spans) * self.closings == buffer.count(self.closing, start, last)
                and buffer.endswith(self.closing, start, last)
            ):
                return spans, last
        matched = self.run.match(buffer, start, stop)
        end = matched.end() if matched else start
        return self.one.findall(buffer, start, end), end

    def columns(self, spans: list[bytes]) -> dict[str, Any]:
        """Take the values out of the texts of elements."""
        joined = b"\n".join(spans)
        for piece in self.between:
            joined = joined.replace(piece, SEPARATOR)
        if len(spans) >= FEW and (found := self._parsed(joined)) is not None:
            return found
        values = zip(*(line.split(SEPARATOR) for line in joined.split(b"\n")), strict=True)
        return {name: list(column) for name, column in zip(self.fields, values, strict=True) if name[0] != "-"}

    def _parsed(self, joined: bytes) -> dict[str, Any] | None:
        """Let Arrow parse the values; None if it takes one for no number."""
        import pyarrow as pa
        from pyarrow import csv

        text, number = pa.dictionary(pa.int32(), pa.binary()), pa.float64()
        types = {name: number if name in PATTERNS else text for name in self.fields if name[0] != "-"}
        read = csv.ReadOptions(use_threads=False, column_names=self.fields, block_size=len(joined) + 1)
        parse = csv.ParseOptions(
            delimiter=SEPARATOR.decode(), quote_char=False, escape_char=False, ignore_empty_lines=False
        )
        convert = csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            strings_can_be_null=False,
            null_values=[],
            check_utf8=False,
        )
        try:
            table = csv.read_csv(pa.BufferReader(joined), read, parse, convert)
        except pa.ArrowInvalid:
            return None
        return {name: table[name].combine_chunks() for name in types}


class Templates:
    """The templates met so far in one file."""

    def __init__(self, columns: Columns) -> None:
        self.known: dict[tuple[Piece, ...], Template] = {}
        self.columns = columns
        self.recent: list[Template] = []
        self.window = FIRST_WINDOW
        self.credit = float(CREDIT)  # compiling a template takes as long as parsing a hundred elements

    def forget(self) -> None:
        """Make templates anew: another key was declared."""
        self.known.clear()
        self.recent.clear()

    def runs(self, buffer: bytes, start: int) -> Iterator[Run]:
        """Yield the runs of elements written alike from ``start`` on, up to an element that is not plain or whole."""
        while (found := self._match(buffer, start)) is not None:
            template, end = found
            spans, stop = template.spans(buffer, start, max(min(start + self.window, len(buffer)), end))
            if stop - start > self.window // 2:
                self.window = min(4 * self.window, LARGEST_WINDOW)
            elif stop + self.window // 2 < len(buffer):  # it did not end for want of text
                self.window = max(self.window // 4, FIRST_WINDOW)
            self.credit += len(spans) / EARNED_BY
            yield Run(template.owner, template.shape, len(spans), template.columns(spans), template.lines, stop)
            start = stop

    def _match(self, buffer: bytes, start: int) -> tuple[Template, int] | None:
        """Find the template of the element at ``start``, and where that ends; None if it is not plain, or not whole."""
        for place, template in enumerate(self.recent):
            if matched := template.one.match(buffer, start):
                if place:
                    self.recent.insert(0, self.recent.pop(place))
                return template, matched.end()
        learned = self._learn(buffer, start)
        if learned is None or not (matched := learned.one.match(buffer, start)):
            return None
        self.recent.insert(0, learned)
        del self.recent[RECENT:]
        return learned, matched.end()

    def _learn(self, buffer: bytes, start: int) -> Template | None:
        """Make or find the template of the element at ``start``."""
        anatomy = take_apart(buffer, start, self.columns)
        if anatomy is None or not any(isinstance(piece, Value) and piece.column for piece in anatomy.pieces):
            return None
        markup = tuple(anatomy.pieces)
        if markup not in self.known:
            if self.credit < 1:
                return None
            self.credit -= 1
            if len(self.known) >= TEMPLATES:
                self.known.clear()
            self.known[markup] = Template(anatomy)
        return self.known[markup]
