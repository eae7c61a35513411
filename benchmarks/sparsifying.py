"""Bringing a graph down to a budget of edges: edges of the whole graph per second, and the memory that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.sparsify import METHODS, sparsify

from .measuring import PEAK, Figure, in_fresh_process, medians

BUDGET = 200_000
GOALS = {"disparity": 10.0}  # M edges/s
GOAL = 30.0


def run(smoke: bool) -> Iterator[Figure]:
    """Yield the figures."""
    yield from _speed(smoke)
    if not smoke:
        yield _memory()


def _speed(smoke: bool) -> Iterator[Figure]:
    """Every method on a convolution, whose kernel entries are carried by many edges, and on a dense matrix."""
    torch.manual_seed(0)
    image, width, budget = (24, 2048, 20_000) if smoke else (32, 4096, BUDGET)
    convolution = nn.Conv2d(64, 64, 3, padding=1, bias=False)
    graphs = {
        "convolution": dg.from_torch(convolution, torch.zeros(1, 64, image, image), granularity="position"),
        "dense matrix": dg.from_torch(nn.Linear(width, width, bias=False), torch.zeros(1, width)),
    }
    for name, graph in graphs.items():
        edges = graph.number_of_edges()
        calls: dict[str, Callable[[], object]] = {
            method: lambda graph=graph, method=method: sparsify(graph, budget, method) for method in METHODS
        }
        took = medians(calls, 3)
        for method in METHODS:
            note = f"{edges:,} edges to {budget:,} in {took[method]:.2f} s, with paths to all outputs and receipt"
            goal = GOALS.get(method, GOAL)
            yield Figure(f"{name} by {method}", "(absolute)", edges / took[method] / 1e6, goal, "M edges/s", note)


LARGE = f"""
import torch, dnn2graph as dg
from torch import nn
from dnn2graph.sparsify import METHODS, sparsify
torch.set_num_threads(1)
layers, channels = [], 3
for width in (64, 64, 128, 128):
    layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    channels = width
    if len(layers) % 2 == 0:
        layers.append(nn.MaxPool2d(2))
model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)).eval()
graph = dg.from_torch(model, torch.zeros(1, 3, 70, 70), granularity="position")
small = dg.from_torch(nn.Linear(9, 9), torch.zeros(1, 9))
for method in METHODS:
    sparsify(small, 9, method)  # pays for imports
before = reset()
for method in METHODS:
    sparsify(graph, {BUDGET}, method)
print(graph.number_of_edges(), peak() - before)
"""


def _memory() -> Figure:
    """Peak memory of a graph of hundreds of millions of edges, which as a matrix takes eight bytes each."""
    edges, added = in_fresh_process(PEAK + LARGE)
    note = f"{edges:,.0f} edges ({edges * 8 / 1e9:.1f} GB as a sparse matrix) to {BUDGET:,}, the worst of all methods"
    return Figure("memory added by sparsifying", "(absolute)", added / 1e6, 1000, "MB", note, lower_is_better=True)
