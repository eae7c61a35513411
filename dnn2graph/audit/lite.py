"""What Gephi Lite does: graphology-graphml and graphology-gexf, called with addMissingNodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .census import Tally
from .elements import OWNERS
from .findings import DIRECTION, MISSING_NODES, NO_DIRECTION, REFUSED, Finding, View, listed
from .keys import tally_of, undirected_by_omission, used

TYPES = ("boolean", "int", "long", "float", "double", "string", "")  # of GraphML; none said is a string
OWNERS_KNOWN = ("node", "edge", "graph", "")

# A whole file becomes one text, then a document: no text of JavaScript in a browser on V8 may be longer than this.
LONGEST_TEXT = (1 << 29) - 24
# And a document takes about fifty times its text (see memory.py), of the 4 GB that a page may have at most.
LARGE = 50_000_000


def findings(view: View) -> Iterator[Finding]:
    """Yield what Gephi Lite will do with a file."""
    census = view.census
    yield from _size(view)
    yield from view.found(
        "loss",
        undirected_by_omission(census),
        NO_DIRECTION.format(DIRECTION[census.format]),
    )
    yield from view.found("loss", view["repeated node id"], REFUSED.format("node ids repeat: give each its own"))
    yield from view.found("loss", view["repeated edge id"], REFUSED.format("edge ids repeat: leave edge ids out"))
    yield from view.found("warning", view["missing node"], MISSING_NODES)
    message = "weights become NaN, for JavaScript takes them for no numbers: write them as numbers, such as -0.5"
    for name in ("weight no number", "weight with a comma", "weight not finite to Java", "weight of Java"):
        yield from view.found("loss", view[name], message)
    yield from _graphml(view) if census.format == "GraphML" else _gexf(view)


def _size(view: View) -> Iterator[Finding]:
    if view.compressed:
        yield from view.found("warning", Tally(1), "compressed files are not opened: decompress it first")
    size = f"{view.bytes / 1e6:,.0f} MB"
    if view.bytes > LONGEST_TEXT:
        message = REFUSED.format(f"{size} are more than a text in a browser may have (537 MB)")
    else:
        message = f"the file may be too large for a browser: {size}"
    if view.bytes > LARGE:
        yield from view.found("warning", Tally(1), f"{message}: keep fewer edges (--max-edges)")


def _graphml(view: View) -> Iterator[Finding]:
    keys = view.census.keys
    wrong = [key for key in keys if key.owner in OWNERS and key.type not in TYPES and used(view.census, key)]
    types = listed(sorted({key.type for key in wrong}))
    yield from view.found(
        "loss", tally_of(wrong), REFUSED.format(f"attributes are of the type {types}: use {', '.join(TYPES[:-1])}")
    )
    yield from view.found(
        "loss",
        tally_of(key for key in keys if key.owner not in OWNERS_KNOWN),
        REFUSED.format('attributes are for="all" or the like: declare them once for="node" and once for="edge"'),
    )
    yield from view.found(
        "warning",
        tally_of(key for key in view.census.defaults if key.type not in ("string", "")),
        "default values stay texts, such as \"7\": write the value at each node or edge",
    )


def _gexf(view: View) -> Iterator[Finding]:
    census = view.census
    for owner in OWNERS:
        yield from view.found(
            "warning",
            census.feature(owner, "color@a"),
            f"{owner}s are grey, for their colours have an alpha: leave a= out",
        )
        yield from view.found(
            "warning",
            census.feature(owner, "attvalue@timestamp"),
            "time stamps are ignored, and of values of one attribute the last is kept: write a column for each time "
            "(--flat)",
        )
        blocks = Counter(key.block for key in census.keys if key.owner == owner)
        earlier = [key for key in census.keys if key.owner == owner and blocks and key.block < max(blocks)]
        yield from view.found(
            "warning",
            tally_of(key for key in earlier if key.type != "string"),
            "numbers become texts, for only the last block of declarations counts: declare all attributes of "
            f"{owner}s in one",
        )
        yield from view.found(
            "note",
            tally_of(key for key in census.keys if key.owner == owner and key.name != key.id and not _number(key.id)),
            "attributes are called by their ids and not by their titles: make id and title equal",
        )


def _number(text: str) -> bool:
    """Whether JavaScript would take an id for a number."""
    try:
        float(text.strip() or "0")
    except ValueError:
        return False
    return True
