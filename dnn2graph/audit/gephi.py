"""What Gephi does, as its importers say: ImporterGraphML, ImporterGEXF and ImportContainerImpl."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .census import Tally
from .elements import OWNERS, PROPERTIES
from .findings import MISSING_NODES, REPEATED_NODES, Finding, View, listed
from .keys import of_unknown_type, tally_of, undeclared

SCALARS = (
    "boolean", "bool", "integer", "int", "long", "float", "double", "string", "bigdecimal", "biginteger", "byte",
    "char", "character", "short",
)  # fmt: skip
TYPES = (*SCALARS, *(f"list{name}" for name in SCALARS))


def findings(view: View) -> Iterator[Finding]:
    """Yield what Gephi will do with a file."""
    yield from _weights(view)
    yield from _edges(view)
    yield from _nodes(view)
    yield from _attributes(view)
    if view.census.format == "GEXF":
        yield from _gexf(view)


def _weights(view: View) -> Iterator[Finding]:
    yield from view.found(
        "loss", view["zero weight"], "edges of weight 0 are deleted: leave them out, or give them another weight"
    )
    yield from view.found(
        "loss",
        view["tiny weight"],
        "edges are deleted, for their weights are 0 in single precision (below 7e-46): scale the weights up",
    )
    message = "weights that Java cannot read silently become 1.0: {}"
    yield from view.found(
        "loss", view["weight not finite to Java"], message.format("remove these edges, or give them finite weights")
    )
    yield from view.found("loss", view["weight no number"], message.format("write them as numbers, such as -0.5"))
    if view.census.format == "GEXF":
        yield from view.found("loss", view["weight with a comma"], message.format("write a decimal point"))
    yield from view.found(
        "warning",
        view["weight not finite"],
        "weights that are not finite are kept, and spoil layouts and statistics: give these edges finite weights",
    )
    yield from view.found(
        "warning", view["huge weight"], "weights beyond single precision become infinite: scale the weights down"
    )
    yield from view.found(
        "warning",
        view["negative weight"],
        "negative weights get a warning each, are drawn thinnest, and make force layouts diverge: write absolute "
        "values, and the sign as another attribute (weight='abs')",
    )
    if view["no weight"].count < view.census.counts["edge"]:
        yield from view.found("warning", view["no weight"], "edges without a weight get 1.0: give each a weight")


def _edges(view: View) -> Iterator[Finding]:
    yield from view.found(
        "loss",
        view["parallel"],
        "edges of the same source, target and type are merged into one whose weight is the sum: merge them yourself, "
        "or tell them apart by " + ("a label" if view.census.format == "GraphML" else "their kind"),
    )
    yield from view.found(
        "loss", view["repeated edge id"], "edges are dropped, for an edge of their id came before: leave edge ids out"
    )
    yield from view.found("loss", view["no end"], "edges without a source or a target are dropped: name both nodes")
    yield from view.found("warning", view["missing node"], MISSING_NODES)
    census, graphml = view.census, view.census.format == "GraphML"
    types = len(census.types - {0})
    if types:
        said = census.feature("edge", "edge@label" if graphml else "edge@kind")
        cause = "attribute label of <edge>" if graphml else "kind of edges"
        message = f"edge types are made, one for each {cause}: leave it out if none are meant"
        yield from view.found("note", Tally(types, said.line), message)


def _nodes(view: View) -> Iterator[Finding]:
    yield from view.found("loss", view["repeated node id"], REPEATED_NODES)
    census, nodes = view.census, view.census.counts["node"]
    if census.format == "GEXF":
        labelled = census.feature("node", "node@label").count
    else:
        labels = [key.id for key in census.keys if key.owner == "node" and key.property == "label"]
        labelled = max((census.feature("node", f"key {identifier}").count for identifier in labels), default=0)
    named = [key for key in census.keys if key.owner == "node" and key.name == "name"]
    if named and not labelled:
        message = "nodes show their ids, for a name is no label: add an attribute label"
        yield from view.found("warning", Tally(nodes, named[0].line), message)
    else:
        message = "nodes without a label show their ids: add one if that matters"
        yield from view.found("note", Tally(nodes - labelled), message)
    if nodes and not census.placed:
        yield from view.found("note", Tally(nodes), "nodes get places at random, for none has one: run a layout")
    yield from view.found(
        "loss",
        view["no colour"],
        "colours are not read, for red, green and blue must be whole numbers from 0 to 255: write such",
    )


def _attributes(view: View) -> Iterator[Finding]:
    census = view.census
    yield from view.found(
        "loss",
        undeclared(census),
        "values are dropped, for nothing before them declares their attribute: declare it at the head of the file",
    )
    yield from view.found(
        "loss",
        of_unknown_type(census, TYPES),
        "attributes of an unknown type are dropped: use boolean, int, long, float, double or string",
    )
    for owner in OWNERS:
        folded = Counter(key.id.lower() for key in census.keys if key.owner == owner)
        clash = [key for key in census.keys if key.owner == owner and folded[key.id.lower()] > 1]
        yield from view.found(
            "loss",
            tally_of(clash),
            f"{owner} attributes share one column, for case does not tell ids apart "
            f"({listed([key.id for key in clash])}): rename them",
        )
    if census.format != "GraphML":
        return
    consumed = [key for key in census.keys if key.property]
    names = list(dict.fromkeys(key.id if key.id == key.name else f"{key.name} (id {key.id})" for key in consumed))
    yield from view.found(
        "note",
        tally_of(consumed),
        f"attributes are read as properties and make no column ({listed(names, 12)}): rename those that are meant as "
        "data",
    )
    lost = [key for key in census.defaults if key.property]
    yield from view.found(
        "loss", tally_of(lost), "default values of properties are ignored: write the value at each node or edge"
    )
    kept_out = [key for key in census.keys if key.owner == "all" and _is_property(key.id, key.name)]
    yield from view.found(
        "warning",
        tally_of(kept_out),
        'attributes for="all" are never properties, such as weights or labels: declare them for="node" or for="edge"',
    )
    yield from view.found(
        "warning",
        tally_of(key for key in census.keys if key.owner == "graph"),
        "attributes of the graph itself are not read: keep them elsewhere",
    )


def _is_property(identifier: str, name: str) -> bool:
    return any({identifier, name} & set(names) for names in PROPERTIES.values())


def _gexf(view: View) -> Iterator[Finding]:
    census = view.census
    for owner in OWNERS:
        yield from view.found(
            "loss",
            census.feature(owner, "size value not first"),
            'sizes are not read, for value must be the first attribute of viz:size: write <viz:size value="…"/>',
        )
        for tag in ("thickness", "shape"):
            yield from view.found("note", census.feature(owner, tag), f"viz:{tag} is not read: leave it out")
        stamped = census.feature(owner, "attvalue@timestamp")
        attributes = census.graphs[0][0] if census.graphs else {}
        if attributes.get("timerepresentation", "").lower() != "timestamp":
            yield from view.found(
                "loss",
                stamped,
                'values with a time stamp are refused: write timerepresentation="timestamp" at <graph>',
            )
