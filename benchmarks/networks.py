"""Networks that the benchmarks measure."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

import dnn2graph as dg


def mlp_graph(*widths: int) -> dg.NeuralGraph:
    """Trace a chain of dense layers."""
    model = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths)))
    return dg.from_torch(model, torch.zeros(1, widths[0]))
