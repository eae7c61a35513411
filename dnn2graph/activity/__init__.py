"""What data does to a graph: activations of its nodes, functional graphs, and accuracy without some of its neurons."""

from .graph import FunctionalGraph, functional_graph
from .neurons import layer_fluctuation, neurons_activation, neurons_strength
from .silencing import accuracy_without, silence, silencing_order
from .statistics import Activity, activations
from .together import coactivation

__all__ = [
    "Activity",
    "FunctionalGraph",
    "accuracy_without",
    "activations",
    "coactivation",
    "functional_graph",
    "layer_fluctuation",
    "neurons_activation",
    "neurons_strength",
    "silence",
    "silencing_order",
]
