"""What is looked at in the nodes and edges of a graph file, however they are read.

An element's *shape* is its markup without its values: tags, names of attributes, and the keys of its data. Elements
of one shape are counted together; of their values, only those that a *column* is made of are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

# Names that Gephi takes for properties of nodes and edges (ImporterGraphML), where a key's id or name equals them.
NODE_PROPERTIES = {
    "label": "label", "nodelabel": "label", "x": "x", "xpos": "x", "y": "y", "ypos": "y", "z": "z", "zpos": "z",
    "size": "size", "r": "r", "g": "g", "b": "b", "color": "color",
}  # fmt: skip
EDGE_PROPERTIES = {
    "weight": "weight", "Edge Weight": "weight", "label": "label", "edgelabel": "label",
    "r": "r", "g": "g", "b": "b", "color": "color",
}  # fmt: skip
PROPERTIES = {"node": NODE_PROPERTIES, "edge": EDGE_PROPERTIES}

OWNERS = ("node", "edge")
COLOUR = "colour"  # a column whose values must be whole numbers from 0 to 255
COLUMNS = {
    "GraphML": {
        "node": {("node", "id"): "id"},
        "edge": {
            ("edge", "id"): "id", ("edge", "source"): "source", ("edge", "target"): "target",
            ("edge", "directed"): "direction", ("edge", "label"): "type",
        },
    },
    "GEXF": {
        "node": {
            ("node", "id"): "id", ("position", "x"): "x", ("position", "y"): "y",
            ("color", "r"): COLOUR, ("color", "g"): COLOUR, ("color", "b"): COLOUR,
        },
        "edge": {
            ("edge", "id"): "id", ("edge", "source"): "source", ("edge", "target"): "target",
            ("edge", "type"): "direction", ("edge", "kind"): "type", ("edge", "weight"): "weight",
            ("color", "r"): COLOUR, ("color", "g"): COLOUR, ("color", "b"): COLOUR,
        },
    },
}  # fmt: skip
KEY_ATTRIBUTES = {"data": ("key",), "attvalue": ("for", "id")}  # which attribute of an element names its key


class Item(NamedTuple):
    """One element within the markup of a node or an edge, or the node or edge itself."""

    tag: str
    attributes: tuple[str, ...]
    key: str | None


Shape = tuple[Item, ...]


@dataclass(frozen=True)
class Key:
    """A declaration of an attribute: ``<key>`` in GraphML, ``<attribute>`` in GEXF."""

    owner: str  # "node", "edge", or what else the file says
    id: str
    name: str
    type: str
    line: int
    dynamic: bool = False
    block: int = 0  # of GEXF, which block of declarations

    @property
    def property(self) -> str | None:
        """What Gephi takes a GraphML key's values for, if not for a column."""
        names = PROPERTIES.get(self.owner, {})
        return names.get(self.id) or names.get(self.name)


@dataclass
class Columns:
    """Which values of nodes and edges are looked at: attributes, and the data of keys declared so far."""

    format: str
    properties: dict[tuple[str, str], str] = field(default_factory=dict)  # (owner, key id) -> column

    def declare(self, key: Key) -> None:
        """Take the data of a GraphML key for what Gephi takes them for."""
        if self.format == "GraphML" and key.property:
            column = COLOUR if key.property in ("r", "g", "b") else key.property
            if column in ("weight", "x", "y", COLOUR):
                self.properties[key.owner, key.id] = column

    def of_attribute(self, owner: str, tag: str, attribute: str) -> str | None:
        """Return the column of an attribute's value."""
        return COLUMNS[self.format][owner].get((tag, attribute))

    def of_text(self, owner: str, item: Item) -> str | None:
        """Return the column of an element's text."""
        return self.properties.get((owner, item.key)) if item.tag == "data" and item.key is not None else None


def key_of(tag: str, attributes: list[str], values: list[str]) -> str | None:
    """Return the key that an element's value belongs to."""
    for name in KEY_ATTRIBUTES.get(tag, ()):
        if name in attributes:
            return values[attributes.index(name)]
    return None


def local(name: str) -> str:
    """Return a name without its prefix: readers match local names."""
    return name.rpartition(":")[2]
