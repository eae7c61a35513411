"""Measures of the graph, computed from the weights and never from a list of edges."""

from .attributes import node_attributes
from .link_weights import link_weights
from .strength import directed_strengths, fluctuation, strength
from .tables import layer_table, node_table

__all__ = [
    "directed_strengths",
    "fluctuation",
    "layer_table",
    "link_weights",
    "node_attributes",
    "node_table",
    "strength",
]
