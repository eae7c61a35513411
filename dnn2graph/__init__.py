"""dnn2graph: a trained neural network as the weighted directed graph that computes it."""

from .trace import from_torch, rule
