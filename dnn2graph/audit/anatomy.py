"""Takes one plain element apart: the markup that repeats in others like it, and where its values stand."""

from __future__ import annotations

import re
from typing import NamedTuple

from .elements import COLOUR, KEY_ATTRIBUTES, OWNERS, Columns, Item, Shape, local

NAME = rb"[A-Za-z_][A-Za-z0-9_.:-]*"
SPACE = rb"[ \t\r\n]"
# Values without markup, references, quotes or control characters: what they are is what they say.
VALUE = rb"[ !#-%(-;=?-~]*+"
NUMBER, BYTE = rb"[-+.0-9eE]++", rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
PATTERNS = {COLOUR: BYTE, "weight": NUMBER, "x": NUMBER, "y": NUMBER}

TAG = re.compile(
    rb"<(?P<close>/)?(?P<name>%(name)s)(?P<attributes>(?:%(space)s+%(name)s=\"%(value)s\")*+)%(space)s*(?P<empty>/)?>"
    % {b"name": NAME, b"space": SPACE, b"value": VALUE}
)
ATTRIBUTE = re.compile(rb"(%s+)(%s)=\"(%s)\"" % (SPACE, NAME, VALUE))
PLAIN = re.compile(VALUE)
SPACES = re.compile(SPACE + rb"*")
LONE_RETURN = re.compile(rb"\r(?!\n)")  # which the parser would count as a line

LONGEST = 1 << 16  # bytes of an element that is taken apart
NESTING = ("node", "edge", "nodes", "edges", "graph")  # what within an element makes it no plain one


class Value(NamedTuple):
    """Where a value stands: the column that it belongs to, if any, and what it may be."""

    column: str | None
    pattern: bytes


Piece = bytes | Value


class Anatomy(NamedTuple):
    """An element: of a node or an edge, its shape, and fixed text and values in turns, up to the next element."""

    owner: str
    shape: Shape
    pieces: list[Piece]


def take_apart(buffer: bytes, start: int, columns: Columns) -> Anatomy | None:
    """Take the node or edge at ``start`` apart; None if it is not plain, or not whole yet."""
    scalpel = _Scalpel(buffer, start, columns)
    return Anatomy(scalpel.owner, tuple(scalpel.items), scalpel.pieces) if scalpel.cut() else None


class _Scalpel:
    """Goes through an element from one tag to the next."""

    def __init__(self, buffer: bytes, start: int, columns: Columns) -> None:
        self.buffer, self.at, self.stop = buffer, start, min(start + LONGEST, len(buffer))
        self.columns = columns
        self.owner = ""
        self.items: list[Item] = []
        self.pieces: list[Piece] = []
        self.open: list[bytes] = []

    def cut(self) -> bool:
        """Take the element apart; False if it is not plain, or not whole."""
        while True:
            tag = TAG.match(self.buffer, self.at, self.stop)
            if tag is None or not (self._end(tag) if tag["close"] else self._start(tag)):
                return False
            self.at = tag.end()
            if not self.open:
                break
            if not self._between(leaf=not tag["close"] and not tag["empty"]):
                return False
        self._space()  # is part of the element: whole if something follows
        fixed = b"".join(piece for piece in self.pieces if isinstance(piece, bytes))
        return self.at < len(self.buffer) and LONE_RETURN.search(fixed) is None

    def _start(self, tag: re.Match[bytes]) -> bool:
        attributes = ATTRIBUTE.findall(tag["attributes"])
        name, names = local(tag["name"].decode()), tuple(local(attribute.decode()) for _, attribute, _ in attributes)
        self.owner = self.owner or name
        repeated = len({attribute for _, attribute, _ in attributes}) < len(attributes)
        if self.owner not in OWNERS or repeated or (self.open and name in NESTING):
            return False
        naming = next((each for each in KEY_ATTRIBUTES.get(name, ()) if each in names), None)
        key = None
        self._fixed(b"<" + tag["name"])
        for (space, attribute, value), short in zip(attributes, names, strict=True):
            self._fixed(space + attribute + b'="')
            if short == naming:  # of values of one name, as of prefixes, the first counts
                key = key if key is not None else value.decode()
                self._fixed(value)
            elif attribute.startswith(b"xmlns"):
                self._fixed(value)
            else:
                self._value(self.columns.of_attribute(self.owner, name, short))
            self._fixed(b'"')
        self._fixed(tag[0][len(tag["name"]) + 1 + len(tag["attributes"]) :])
        self.items.append(Item(name, names, key))
        if not tag["empty"]:
            self.open.append(tag["name"])
        return True

    def _end(self, tag: re.Match[bytes]) -> bool:
        self._fixed(tag[0])
        return not (tag["attributes"] or tag["empty"]) and bool(self.open) and self.open.pop() == tag["name"]

    def _between(self, leaf: bool) -> bool:
        """Take what stands before the next tag: the value of an element without others in it, or white space.

        False if there are elements within a value that is looked at, whose text would be part of it.
        """
        text = PLAIN.match(self.buffer, self.at, self.stop)
        column = self.columns.of_text(self.owner, self.items[-1])
        if leaf and text and self.buffer.startswith(b"</", text.end()):
            self._value(column)
            self.at = text.end()
            return True
        self._space()
        return not (leaf and column) or self.buffer.startswith(b"</", self.at)

    def _space(self) -> None:
        space = SPACES.match(self.buffer, self.at)
        if space:
            self._fixed(space[0])
            self.at = space.end()

    def _fixed(self, text: bytes) -> None:
        if self.pieces and isinstance(self.pieces[-1], bytes):
            self.pieces[-1] += text
        else:
            self.pieces.append(text)

    def _value(self, column: str | None) -> None:
        """Add a value; of several of one column the last counts, as for readers."""
        pattern = PATTERNS.get(column or "", VALUE)
        if column == COLOUR:
            column = None  # the pattern says all there is to say
        elif column:
            self.pieces = [
                Value(None, piece.pattern) if isinstance(piece, Value) and piece.column == column else piece
                for piece in self.pieces
            ]
        self.pieces.append(Value(column, pattern))
