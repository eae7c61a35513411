"""Questions about declared attributes that several viewers' rules ask."""

from __future__ import annotations

from collections.abc import Iterable

from .census import Census, Tally
from .elements import OWNERS, Key


def tally_of(keys: Iterable[Key]) -> Tally:
    """Count keys; the example is the first of them."""
    keys = list(keys)
    return Tally(len(keys), keys[0].line, keys[0].id) if keys else Tally()


def undeclared(census: Census) -> Tally:
    """Count the values of attributes that no declaration before them names."""
    known: dict[tuple[str, str], int] = {}
    for key in census.keys:
        for owner in OWNERS if key.owner == "all" else (key.owner,):
            known.setdefault((owner, key.id), key.line)
    if census.format == "GEXF":
        known.setdefault(("edge", "weight"), 0)  # Gephi and networkx know it without
    found = [
        (tally.line or 0, tally.count, feature.removeprefix("key "))
        for (owner, feature), tally in census.features.items()
        if feature.startswith("key ") and known.get((owner, feature.removeprefix("key ")), 1 << 62) > (tally.line or 0)
    ]
    if not found:
        return Tally()
    line, _, name = min(found)
    return Tally(sum(count for _, count, _ in found), line, name)


def of_unknown_type(census: Census, known: Iterable[str]) -> Tally:
    """Count the attributes of nodes and edges whose type is not among those known; none said is a string."""
    known = {*known, ""}
    return tally_of(key for key in census.keys if key.type not in known)


def used(census: Census, key: Key) -> bool:
    """Whether some node or edge has a value of an attribute."""
    return bool(census.feature(key.owner, f"key {key.id}").count)


def undirected_by_omission(census: Census) -> Tally:
    """Count the edges of a graph that does not say whether they are directed, nor do they themselves."""
    name = "edgedefault" if census.format == "GraphML" else "defaultedgetype"
    silent = [line for attributes, line in census.graphs if name not in attributes]
    said = census.tally("directed edge").count + census.tally("undirected edge").count
    return Tally(max(census.counts["edge"] - said, 0), silent[0]) if silent else Tally()
