"""Null models measured from their weights, against the same nulls unrolled into igraph."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.nulls import null_model, significance

from .measuring import Figure, medians
from .networks import mlp_graph

NULLS, SMOKE_NULLS = 100, 10
UNROLLED = 2  # nulls that the peer measures in one turn: each takes seconds, and all the same time


def run(smoke: bool) -> Iterator[Figure]:
    """Time per null of the fluctuation of all layers under a weight shuffle."""
    number = SMOKE_NULLS if smoke else NULLS
    convolutions = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
    graphs = {
        "MLP 784-256-10": mlp_graph(784, 256, 10),
        "CNN of 16 channels, 16x16": dg.from_torch(convolutions, torch.zeros(1, 3, 16, 16), granularity="position"),
    }
    for name, graph in graphs.items():
        yield _figure(name, graph, number, repeat=1 if smoke else 5)


def _figure(name: str, graph: dg.NeuralGraph, number: int, repeat: int) -> Figure:
    found = significance(graph, "fluctuation", "weight-shuffle", UNROLLED)
    for k in range(UNROLLED):  # what is timed is the same: to the rounding of single precision
        np.testing.assert_allclose(found.nulls[k], _unrolled(graph, k), rtol=1e-4, atol=1e-5)
    times = medians(
        {
            "native": lambda: significance(graph, "fluctuation", "weight-shuffle", number),
            "igraph": lambda: [_unrolled(graph, k) for k in range(UNROLLED)],
        },
        repeat,
    )
    native, unrolled = times["native"] / number, times["igraph"] / UNROLLED
    edges = graph.number_of_edges()
    note = f"{edges:,} edges, {number} nulls: {native * 1e3:.3g} ms each, unrolled {unrolled * 1e3:.3g} ms"
    return Figure(f"fluctuation of null models, {name}", "unrolling and igraph", unrolled / native, 5, note=note)


def _unrolled(graph: dg.NeuralGraph, k: int) -> np.ndarray:
    """Measure null k as a user of igraph would."""
    null = null_model(graph, "weight-shuffle", (0, k)).to_igraph()
    strengths = np.array(null.strength(mode="all", weights="weight"))
    return np.array([strengths[layer.start : layer.stop].std() for layer in graph.layers])
