"""About how much memory viewers take to open a file: rules, and where they come from.

Gephi: the fields of the objects that it makes, in a 64-bit Java with compressed references (12 bytes of header, 4 for a
reference, sizes in multiples of 8). Importing keeps a draft of each element (ElementDraftImpl, EdgeDraftImpl and the
container's maps) beside the graph itself (GraphStore: EdgeImpl, its properties and text properties, the array of its
values, the id as a text, the boxed weight, entries of the store's maps).

The others: the highest resident memory while they read files of this package with 200 000 edges, over the bytes of the
XML: networkx 3.6 14 to 20, igraph 1.0 1.9 to 2.0, graphology 0.26 with its document for Node 36 to 58. Documents of
browsers differ.
"""

from __future__ import annotations

from .census import Census
from .elements import OWNERS

GEPHI_ELEMENTS = {"node": 600, "edge": 430}  # bytes, without values of its own
GEPHI_NUMBER, GEPHI_TEXT = 32, 64  # bytes of one value, in draft and store, with the references to it
OF_THE_FILE = {"Gephi Lite": 50, "igraph": 2, "networkx": 20}  # times the bytes of the XML
NO_GEXF = ("igraph",)


def estimate(census: Census, size: int) -> dict[str, int]:
    """Estimate the bytes that each viewer takes, from what is in a file and the bytes of its XML."""
    found = {"Gephi": 0}
    for owner in OWNERS:
        found["Gephi"] += GEPHI_ELEMENTS[owner] * census.counts[owner]
        for key in census.keys:
            if key.owner in (owner, "all") and not (census.format == "GraphML" and key.property):
                cost = GEPHI_TEXT if key.type in ("string", "") else GEPHI_NUMBER
                found["Gephi"] += cost * census.feature(owner, f"key {key.id}").count
    for viewer, times in OF_THE_FILE.items():
        if census.format == "GraphML" or viewer not in NO_GEXF:
            found[viewer] = times * size
    return found
