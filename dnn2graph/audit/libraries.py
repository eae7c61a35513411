"""What igraph's and networkx's readers do, and what is known of Cytoscape and yEd."""

from __future__ import annotations

from collections.abc import Iterator

from .census import Tally
from .findings import (
    DIRECTION,
    MISSING_NODES,
    NO_DIRECTION,
    NO_NUMBERS,
    REFUSED,
    REPEATED_NODES,
    Finding,
    View,
)
from .keys import of_unknown_type, tally_of, undeclared, undirected_by_omission

NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
NUMERIC = ("int", "integer", "long", "float", "double")
GRAPHML_TYPES = ("boolean", "int", "long", "float", "double", "string")


def igraph(view: View) -> Iterator[Finding]:
    """Yield what igraph will do with a GraphML file; it reads no GEXF."""
    census = view.census
    if census.format != "GraphML":
        return
    yield from _common(view)
    if _weight_type(view) in NUMERIC:
        for name in ("weight no number", "weight with a comma"):
            yield from view.found("loss", view[name], NO_NUMBERS)
        if view["no weight"].count < census.counts["edge"]:
            yield from view.found("warning", view["no weight"], "edges without a weight get NaN: give each a weight")
    yield from view.found(
        "loss",
        undeclared(census),
        "values are ignored, for nothing before them declares their attribute: declare it at the head of the file",
    )
    yield from view.found(
        "loss",
        of_unknown_type(census, GRAPHML_TYPES),
        REFUSED.format(f"attributes have a type it does not know: use {', '.join(GRAPHML_TYPES)}"),
    )
    yield from view.found(
        "loss",
        tally_of(key for key in census.keys if key.owner == "all"),
        'attributes for="all" are ignored: declare them once for="node" and once for="edge"',
    )


def networkx(view: View) -> Iterator[Finding]:
    """Yield what networkx will do with a file: readwrite/graphml.py and readwrite/gexf.py."""
    census = view.census
    yield from _common(view)
    if census.format == "GEXF" or _weight_type(view) in NUMERIC:
        for name in ("weight no number", "weight with a comma", "weight of Java"):
            yield from view.found("loss", view[name], NO_NUMBERS)
    yield from view.found(
        "loss",
        undeclared(census),
        REFUSED.format("nothing declares the attributes of some values: declare them at the head of the file"),
    )
    message = "edges of the same source and target make it a multigraph: merge them if none is meant"
    yield from view.found("note", view["parallel"], message)
    if census.format == "GraphML":
        known = (*GRAPHML_TYPES, "integer", "yfiles")
        yield from view.found(
            "loss",
            of_unknown_type(census, known),
            REFUSED.format(f"attributes have a type it does not know: use {', '.join(GRAPHML_TYPES)}"),
        )
        if census.namespace != NAMESPACE:
            said = Tally(1, None, census.namespace)
            yield from view.found("loss", said, REFUSED.format(f'its namespace is another: write xmlns="{NAMESPACE}"'))
    else:
        for owner in ("node", "edge"):
            yield from view.found(
                "warning",
                census.feature(owner, "attvalue@timestamp"),
                REFUSED.format("values have time stamps: write a column for each time (--flat)"),
            )
    default = census.graphs[0][0].get(DIRECTION[census.format].partition("=")[0]) if census.graphs else None
    other = view["undirected edge"] if default == "directed" else view["directed edge"]
    yield from view.found("loss", other, REFUSED.format("edges contradict the direction of the graph: make all alike"))


def others(view: View) -> Iterator[Finding]:
    """Yield what is known of Cytoscape and yEd."""
    census = view.census
    if census.format == "GEXF":
        yield Finding("Cytoscape", "note", 1, "GEXF is not read: write GraphML beside it")
        return
    names = {key.name for key in census.keys if key.owner == "node"}
    if "label" in names and "name" not in names:
        yield Finding(
            "yEd", "note", census.counts["node"], "nodes show no label, for it shows the attribute name: write it too"
        )


def _common(view: View) -> Iterator[Finding]:
    yield from view.found(
        "loss",
        undirected_by_omission(view.census),
        NO_DIRECTION.format(DIRECTION[view.census.format]),
    )
    yield from view.found("loss", view["repeated node id"], REPEATED_NODES)
    yield from view.found("warning", view["missing node"], MISSING_NODES)


def _weight_type(view: View) -> str:
    keys = [key for key in view.census.keys if key.owner == "edge" and key.property == "weight"]
    return keys[0].type if keys else ""
