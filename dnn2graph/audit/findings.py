"""What an audit says: findings, and the whole of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from .census import Census, Tally

SEVERITIES = ("loss", "warning", "note")

# What several viewers do alike.
MISSING_NODES = "nodes that edges name but nothing declares are made, without attributes: declare them"
REPEATED_NODES = "nodes of an id that came before are no nodes of their own: give each node its own id"
REFUSED = "the file is refused because {}"
NO_NUMBERS = REFUSED.format("weights are no numbers: write numbers, such as -0.5")
NO_DIRECTION = "edges lose their direction, for the graph does not say that they have one: write {}"
DIRECTION = {"GraphML": 'edgedefault="directed"', "GEXF": 'defaultedgetype="directed"'}


@dataclass(frozen=True)
class Finding:
    """What a viewer will do with something in a file.

    Attributes
    ----------
    viewer : str
        "Gephi", "Gephi Lite", "igraph", "networkx", "Cytoscape" or "yEd".
    severity : {"loss", "warning", "note"}
        "loss": something of the file will be missing or other than it is, or the viewer refuses the file for it.
    count : int
        How many nodes, edges or attributes it is about.
    message : str
        The cause and the remedy.
    line : int or None
        Of the first example.
    example : str
        The first example: a value, or the id of an attribute.
    """

    viewer: str
    severity: str
    count: int
    message: str
    line: int | None = None
    example: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity {self.severity!r} is unknown: choose from {', '.join(SEVERITIES)}")


@dataclass(frozen=True)
class Audit:
    """What viewers will do with a file: an iterable of findings, the gravest first.

    Attributes
    ----------
    path, format : str
        "GraphML" or "GEXF".
    nodes, edges, bytes : int
        Of the file; bytes as it lies on the disk.
    memory : dict
        About how many bytes each viewer takes to open it; the rules are in :mod:`dnn2graph.audit.memory`.
    findings : tuple of Finding
    """

    path: str
    format: str
    nodes: int
    edges: int
    bytes: int
    memory: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is lost in any viewer."""
        return not self.of("loss")

    def of(self, severity: str, viewer: str | None = None) -> tuple[Finding, ...]:
        """Return the findings of a severity, and of one viewer if it is named."""
        return tuple(each for each in self.findings if each.severity == severity and viewer in (None, each.viewer))

    def as_dict(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {**asdict(self), "findings": [asdict(each) for each in self.findings], "ok": self.ok}

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)


@dataclass(frozen=True)
class View:
    """A census as a viewer's rules look at it."""

    viewer: str
    census: Census
    bytes: int  # of the XML
    compressed: bool

    def found(self, severity: str, tally: Tally, message: str) -> Iterator[Finding]:
        """Yield a finding if something was met."""
        if tally.count:
            yield Finding(self.viewer, severity, tally.count, message, tally.line, tally.example)

    def __getitem__(self, name: str) -> Tally:
        return self.census.tally(name)


def listed(names: list[str], at_most: int = 6) -> str:
    """Name a few of many."""
    return ", ".join(names[:at_most]) + (", …" if len(names) > at_most else "")
