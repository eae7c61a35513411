"""Reads a GraphML or GEXF file once: elements that are written alike by template, everything else by an XML parser.

Both tell a :class:`~dnn2graph.audit.census.Census` the same. The parser sees the file without the runs of elements
that the templates took, which are well-formed and stand between two of its elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from xml.parsers import expat

from ..errors import LoadError
from .census import Census
from .elements import COLOUR, Item, Key, key_of, local
from .regular import Templates

PLAIN_ENCODINGS = (None, "utf-8", "us-ascii", "iso-8859-1")  # in which ASCII text is what it looks like
BYTE = re.compile("0*(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])")
CANDIDATE = re.compile(rb"<(?:node|edge)[ \t\r\n]")
NEWLINE = re.compile(rb"\r\n?|\n")
# From where the parser last saw a tag begin (of an empty element: end), that tag and white space: what follows stands
# between elements, in no comment or other tag.
LAST_TAG = re.compile(
    rb"(?:</[^<>\"']*>|<[^<>\"'/!?]+(?:\"[^\"<]*\"[^<>\"'/]*|'[^'<]*'[^<>\"'/]*)*/?>)?[ \t\r\n]*"
)
PARENTS = {"GraphML": {"node": "graph", "edge": "graph"}, "GEXF": {"node": "nodes", "edge": "edges"}}

DEEPEST = 1000  # elements within elements
LONGEST_TOKEN = 1 << 24  # bytes of one tag, comment or the like
LONGEST_TEXT = 1 << 10  # characters of a value that are looked at
FARTHEST = 1 << 16  # bytes that the parser reads before templates are tried again, where they did not fit


def read(path: Path, blocks: Iterable[bytes], *, templates: bool = True) -> Census:
    """Read a file's blocks of bytes and count what is in it.

    Parameters
    ----------
    path : Path
        For messages.
    blocks : iterable of bytes
    templates : bool
        Whether elements may be read by template; without, the parser reads everything, with the same result.

    Raises
    ------
    LoadError
        If the file is not well-formed, neither GraphML nor GEXF, or declares entities.
    """
    reader = _Reader(path, templates)
    for block in blocks:
        reader.feed(block)
    return reader.finish()


class _Reader:
    def __init__(self, path: Path, use_templates: bool) -> None:
        self.name = repr(str(path))
        self.handler = _Handler(self.name)
        self.parser = expat.ParserCreate()
        self.parser.ordered_attributes = True
        self.parser.buffer_text = False
        if hasattr(self.parser, "SetReparseDeferralEnabled"):
            self.parser.SetReparseDeferralEnabled(False)  # tokens are short: see LONGEST_TOKEN
        self.handler.attach(self.parser)
        self.use_templates = use_templates
        self.buffer = b""  # what was not read yet
        self.parsed = 0  # bytes that the parser was given
        self.given = b""  # the last of them
        self.stride = 0

    def feed(self, block: bytes) -> None:
        """Read as much as is whole."""
        self.buffer += block
        start = 0
        while True:
            if self._between_elements():
                start = self._by_template(start)
            candidate = CANDIDATE.search(self.buffer, start + 1 + self.stride) if self.use_templates else None
            stop = candidate.start() if candidate else len(self.buffer)
            if candidate is None and self._between_elements() and self._may_grow(start):
                break
            self._parse(self.buffer[start:stop])
            start = stop
            if candidate is None:
                break
        self.buffer = self.buffer[start:]

    def finish(self) -> Census:
        """Read the rest, and return what was counted."""
        self._parse(self.buffer, final=True)
        if self.handler.census is None:
            raise LoadError(f"{self.name} is empty: export the graph again")
        self.handler.census.settle()
        return self.handler.census

    def _may_grow(self, start: int) -> bool:
        """Whether an element begins at ``start`` that the next block may complete."""
        return CANDIDATE.match(self.buffer, start) is not None and len(self.buffer) - start < FARTHEST

    def _by_template(self, start: int) -> int:
        """Read the elements that are written alike from ``start`` on; return where they end."""
        handler = self.handler
        if handler.census is None or not CANDIDATE.match(self.buffer, start):
            return start
        begin = start
        line = handler.line + handler.skipped + len(NEWLINE.findall(self.given, self._last_tag()))
        for run in handler.templates.runs(self.buffer, start):
            if PARENTS[handler.census.format][run.owner] != handler.path[-1]:
                break
            handler.census.add_run(run, line)
            line += run.lines * run.count
            handler.skipped += run.lines * run.count
            start = run.stop
        self.stride = 0 if start > begin else min(2 * self.stride + 256, FARTHEST)
        return start

    def _between_elements(self) -> bool:
        """Whether what comes next stands directly in the graph, and its bytes are what they look like."""
        handler = self.handler
        if not self.use_templates or not handler.plain or not handler.path:
            return False
        if handler.path[-1] not in ("graph", "nodes", "edges") or handler.records:
            return False
        begin = self._last_tag()
        return begin >= 0 and LAST_TAG.fullmatch(self.given, begin) is not None

    def _last_tag(self) -> int:
        """Where in the bytes given to the parser it saw the last tag; negative if it was in earlier ones."""
        return self.handler.last_tag - (self.parsed - len(self.given))

    def _parse(self, data: bytes, final: bool = False) -> None:
        handler = self.handler
        if data:
            self.given, self.parsed = data, self.parsed + len(data)
        try:
            self.parser.Parse(data, final)
        except expat.ExpatError as error:
            line = error.lineno + handler.skipped
            cause = expat.ErrorString(error.code)
            remedy = "export the graph again, or repair that line"
            raise LoadError(f"{self.name} is no well-formed XML ({cause}, line {line:,}): {remedy}") from error
        except (LookupError, ValueError) as error:
            raise LoadError(f"{self.name} has an encoding that is not known ({error}): save it as UTF-8") from error
        if self.parsed - max(self.parser.CurrentByteIndex, 0) > LONGEST_TOKEN and not final:
            size = f"{LONGEST_TOKEN >> 20} MB"
            raise LoadError(f"{self.name} has a tag or comment of more than {size}: it is no graph file")


class _Record:
    """A node or an edge while the parser reads it."""

    def __init__(self, owner: str, line: int, depth: int) -> None:
        self.owner, self.line, self.depth = owner, line, depth
        self.items: list[Item] = []
        self.values: dict[str, str] = {}
        self.text: list[str] | None = None  # of an element whose text is looked at
        self.column = ""

    def value(self, column: str, text: str) -> None:
        """Note a value; of several of one column, the last, and of colours whether any is none."""
        if column == COLOUR:
            if not BYTE.fullmatch(text):
                self.values.setdefault(COLOUR, text)
        elif text:
            self.values[column] = text[:LONGEST_TEXT]


class _Handler:
    """What the parser calls."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.census: Census | None = None
        self.path: list[str] = []
        self.records: list[_Record] = []
        self.plain = True  # whether templates may be used
        self.skipped = 0  # lines that the parser was not given
        self.last_tag = 0
        self.line = 1
        self.declaring = ("", False)  # of a block of GEXF declarations: class, dynamic
        self.declared: Key | None = None
        self.blocks = 0

    def attach(self, parser: expat.XMLParserType) -> None:
        self.parser = parser
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.text
        parser.XmlDeclHandler = self.declaration
        parser.StartDoctypeDeclHandler = self.doctype
        parser.EntityDeclHandler = self.entity

    # ------------------------------------------------------------------ prologue

    def declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if (encoding.lower() if encoding else None) not in PLAIN_ENCODINGS:
            self.plain = False

    def doctype(self, *declared: object) -> None:
        self.plain = False  # it may give elements attributes that are not written

    def entity(self, name: str, *declared: object) -> None:
        raise LoadError(
            f"{self.name} declares an entity ({name!r}), which graph files have no use for and attacks have: "
            "remove its DOCTYPE if you trust it"
        )

    # ------------------------------------------------------------------ elements

    def start(self, name: str, listed: list[str]) -> None:
        parser = self.parser
        self.last_tag, self.line = parser.CurrentByteIndex, parser.CurrentLineNumber
        tag, line = local(name), self.line + self.skipped
        attributes, values = [local(each) for each in listed[::2]], listed[1::2]
        if not self.path:
            self._root(tag, dict(zip(listed[::2], values, strict=True)))
        elif len(self.path) >= DEEPEST:
            raise LoadError(f"{self.name} nests more than {DEEPEST:,} elements (line {line:,}): it is no graph file")
        census, parent = self.census, self.path[-1] if self.path else ""
        assert census is not None
        self.path.append(tag)
        if tag in ("node", "edge") and parent in ("graph", "nodes", "edges"):
            self.records.append(_Record(tag, line, len(self.path)))
        if self.records:
            self._item(self.records[-1], tag, attributes, values)
        elif tag == "graph":
            census.graph(dict(zip(attributes, values, strict=True)), line)
        elif tag in ("key", "attributes", "attribute", "default"):
            self._declare(tag, dict(zip(attributes, values, strict=True)), line)

    def end(self, name: str) -> None:
        parser, tag = self.parser, self.path.pop()
        self.last_tag, self.line = parser.CurrentByteIndex, parser.CurrentLineNumber
        if not self.records:
            return
        record = self.records[-1]
        if record.text is not None and tag == "data":
            record.value(record.column, "".join(record.text).strip())
            record.text = None
        if len(self.path) < record.depth:
            self.records.pop()
            assert self.census is not None
            self.census.add_element(record.owner, tuple(record.items), record.values, record.line)

    def text(self, data: str) -> None:
        if self.records:
            text = self.records[-1].text
            if text is not None and len(text) < LONGEST_TEXT:  # pieces: enough to tell that it is no number
                text.append(data[:LONGEST_TEXT])

    def _root(self, tag: str, attributes: dict[str, str]) -> None:
        formats = {"graphml": "GraphML", "gexf": "GEXF"}
        if tag not in formats:
            raise LoadError(f"{self.name} is neither GraphML nor GEXF: its first element is <{tag[:40]}>")
        self.census = Census(formats[tag], attributes.get("xmlns", ""))
        self.templates = Templates(self.census.columns)

    def _declare(self, tag: str, attributes: dict[str, str], line: int) -> None:
        assert self.census is not None
        if tag == "attributes":
            self.blocks += 1
            dynamic = "dynamic" in (attributes.get("mode"), attributes.get("type"))
            self.declaring = attributes.get("class", ""), dynamic
        elif tag == "key" or tag == "attribute":
            if tag == "key":
                owner, name, kind = attributes.get("for", ""), "attr.name", "attr.type"
                dynamic = False
            else:
                (owner, dynamic), name, kind = self.declaring, "title", "type"
            identifier = attributes.get("id", "")
            title, type_ = attributes.get(name) or identifier, attributes.get(kind, "")
            self.declared = Key(owner, identifier, title, type_, line, dynamic, self.blocks)
            self.census.declare(self.declared)
            self.templates.forget()
        elif self.declared is not None and self.path[-2] in ("key", "attribute"):
            self.census.default(self.declared)

    def _item(self, record: _Record, tag: str, attributes: list[str], values: list[str]) -> None:
        """Note an element within a node or an edge."""
        assert self.census is not None
        columns = self.census.columns
        item = Item(tag, tuple(attributes), key_of(tag, attributes, values))
        record.items.append(item)
        for attribute, value in zip(attributes, values, strict=True):
            if column := columns.of_attribute(record.owner, tag, attribute):
                record.value(column, value)
        if column := columns.of_text(record.owner, item):
            record.text, record.column = [], column
