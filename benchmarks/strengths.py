"""Strength of dense layers and of convolutions, from the weights alone."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx
import numpy as np
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.links import sums

from .measuring import Figure, medians
from .networks import mlp_graph
from .published import convolution_strengths


def run(smoke: bool) -> Iterator[Figure]:
    """Yield the figures."""
    yield from _bandwidth(smoke)
    yield from _libraries(smoke)
    yield _convolution(smoke)


def _bandwidth(smoke: bool) -> Iterator[Figure]:
    """Row and column sums against the fastest plain read of the same matrix."""
    rng = np.random.default_rng(0)
    for shape in [(4096, 4096)] if smoke else [(4096, 4096), (4096, 11008), (25088, 4096)]:
        matrix = rng.standard_normal(shape, dtype=np.float32)
        tensor = torch.from_numpy(matrix)
        calls = {"read": lambda t=tensor: t.sum(), "numpy": lambda m=matrix: sums._blocked_sums(m, "signed")}
        compiled = sums.compiled_sums()
        if compiled is not None:
            rows, columns = np.zeros(shape[0]), np.zeros(shape[1])
            calls["numba"] = lambda m=matrix, r=rows, c=columns, f=compiled: f(m, r, c, False)
        took = medians(calls, 7 if smoke else 25)
        speed = matrix.nbytes / took["read"] / 1e9
        note = f"{shape[0]} x {shape[1]} float32; the read runs at {speed:.1f} GB/s"
        peer = "torch.sum of the matrix, one thread"
        yield Figure("dense strength, numpy", peer, took["read"] / took["numpy"], 0.5, "of bandwidth", note)
        if compiled is not None:
            yield Figure("dense strength, numba", peer, took["read"] / took["numba"], 0.85, "of bandwidth", note)


def _libraries(smoke: bool) -> Iterator[Figure]:
    """Strength of a traced MLP against libraries that hold its graph."""
    sizes = {"270k": (784, 300, 100, 10)} if smoke else {"270k": (784, 300, 100, 10), "5M": (2048, 1536, 1024, 256)}
    for label, widths in sizes.items():
        graph = mlp_graph(*widths)
        ours, theirs = graph.estimate(), graph.to_igraph()
        calls = {
            "ours": lambda g=graph: dg.directed_strengths(g),
            "igraph": lambda g=theirs: [g.strength(mode=mode, weights="weight") for mode in ("in", "out")],
            "ours, total": lambda g=graph: dg.strength(g),
            "igraph, total": lambda g=theirs: g.strength(mode="all", weights="weight"),
        }
        if label == "270k":
            digraph: nx.DiGraph = graph.to_networkx()
            calls["networkx, total"] = lambda g=digraph: dict(g.degree(weight="weight"))
        took = medians(calls, 5 if smoke else 15)
        for way in ("", ", total"):
            mine, other = took["ours" + way], took["igraph" + way]
            note = f"{ours.edges:,} edges; ours {mine * 1e3:.3f} ms, igraph {other * 1e3:.2f} ms"
            what = f"strength{way or ', in and out'}, {label} edges"
            yield Figure(what, "igraph, graph built", other / mine, 90, note=note)
        if "networkx, total" in took:
            ratio = took["networkx, total"] / took["ours, total"]
            note = f"networkx {took['networkx, total'] * 1e3:.1f} ms"
            yield Figure(f"strength, total, {label} edges", "networkx, graph built", ratio, 400, note=note)


def _convolution(smoke: bool) -> Figure:
    """Strengths of a convolution against the published loops."""
    kernel = np.random.default_rng(0).standard_normal((64, 3, 3, 3)).astype(np.float32)
    model = nn.Conv2d(3, 64, 3, bias=False)
    model.weight.data = torch.from_numpy(kernel)
    graph = dg.from_torch(model, torch.zeros(1, 3, 32, 32), granularity="position")
    took = medians({"ours": lambda: dg.strength(graph)}, 50)
    loops = medians({"loops": lambda: convolution_strengths(kernel, 32, 32)}, 1 if smoke else 3)
    note = f"3 to 64 channels, 3 x 3 on 32 x 32; ours {took['ours'] * 1e3:.2f} ms, loops {loops['loops']:.2f} s"
    return Figure("convolution strengths", "the published loops", loops["loops"] / took["ours"], 5000, note=note)
