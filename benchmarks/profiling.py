"""Profiles: each measure against networkx, which computes the same values, and what a whole profile costs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping

import networkx as nx
import numpy as np
import torch

import dnn2graph as dg
from dnn2graph.profile import MEASURES, Measure, View
from dnn2graph.profile.view import Unrolled
from tests.checkpoints import checkpoint_path, load_checkpoint, resnet20

from .measuring import PEAK, Figure, in_fresh_process, medians

SMALL = "data/digits_cnn.pt2"
QUICK, QUICK_IF_SMALL = 10.0, 0.3  # times as fast as networkx; a small graph is all overhead

Peer = Callable[[nx.DiGraph], Mapping[str, np.ndarray | float]]  # the graph in a measure's weights -> its columns


def run(smoke: bool) -> Iterator[Figure]:
    """Yield the figures."""
    graph = dg.load(SMALL) if smoke else dg.from_torch(_resnet20(), torch.zeros(1, 3, 32, 32))
    yield from _against_networkx(graph, QUICK_IF_SMALL if smoke else QUICK)
    yield from _whole(smoke)


def _resnet20() -> torch.nn.Module:
    """The trained network where it is at hand, else one of the same architecture."""
    if checkpoint_path("resnet20").is_file():
        return load_checkpoint("resnet20")
    torch.manual_seed(0)
    return resnet20().eval()


def _against_networkx(graph: dg.NeuralGraph, goal: float) -> Iterator[Figure]:
    """Time every measure that networkx has; its graph and ours are built beforehand."""
    unrolled = Unrolled(graph)
    for name, peer in PEERS.items():
        each = MEASURES[name]
        made = nx.from_scipy_sparse_array(unrolled.form(each.weight).matrix, create_using=nx.DiGraph)
        nx.set_node_attributes(made, dict(enumerate(graph.layer_of().tolist())), "layer")
        _ = unrolled.form(each.weight).igraph

        def ours(each: Measure = each) -> Mapping[str, np.ndarray | float]:
            return each.compute(View(unrolled, each.weight, each.name))

        begin = time.perf_counter()
        expected = peer(made)
        theirs = time.perf_counter() - begin
        found = ours()
        for column, value in expected.items():
            assert np.allclose(found[column], value, rtol=1e-5, atol=1e-9), f"{column} is not that of networkx"
        took = medians({name: ours}, 3)[name]
        note = f"{took * 1e3:,.3g} ms against {theirs * 1e3:,.3g} ms; {len(made)} nodes, {made.size():,.0f} edges"
        yield Figure(f"profile: {name}", "networkx", theirs / took, goal, note=note)


def _per_node(values: Mapping[int, float]) -> np.ndarray:
    return np.array([values[node] for node in range(len(values))], float)


def _both_ways(name: str, measure: Callable[[nx.DiGraph], Mapping[int, float]]) -> Peer:
    """Compute what networkx has along edges, and against them."""

    def columns(graph: nx.DiGraph) -> dict[str, np.ndarray]:
        into, out_of = (_per_node(measure(each)) for each in (graph, graph.reverse()))
        return {f"{name}_in": into, f"{name}_out": out_of}

    return columns


def _harmonic(graph: nx.DiGraph) -> Mapping[int, float]:
    return {node: value / (len(graph) - 1) for node, value in nx.harmonic_centrality(graph, distance="weight").items()}


def _hits(graph: nx.DiGraph) -> dict[str, np.ndarray]:
    hubs, authorities = (_per_node(each) for each in nx.hits(graph, tol=1e-12))
    return {"hits_hub": hubs / hubs.max(), "hits_authority": authorities / authorities.max()}


def _eigenvector(graph: nx.DiGraph) -> dict[str, np.ndarray]:
    found = np.abs(_per_node(nx.eigenvector_centrality_numpy(graph.to_undirected(), weight="weight")))
    return {"eigenvector": found / found.max()}


def _katz(graph: nx.DiGraph) -> dict[str, np.ndarray]:
    alpha = 0.5 / np.linalg.norm(nx.to_numpy_array(graph), 2)
    return {"katz": _per_node(nx.katz_centrality_numpy(graph, alpha=alpha, normalized=False, weight="weight"))}


def _assortativity(name: str, weight: str | None) -> Peer:
    def columns(graph: nx.DiGraph) -> dict[str, float]:
        return {
            f"{name}_{x}_{y}": float(nx.degree_pearson_correlation_coefficient(graph, x=x, y=y, weight=weight))
            for x in ("in", "out")
            for y in ("in", "out")
        }

    return columns


PEERS: dict[str, Peer] = {
    "degree": lambda graph: {"degree": _per_node(dict(graph.degree()))},
    "strength": lambda graph: {
        "strength_in": _per_node(dict(graph.in_degree(weight="weight"))),
        "strength_out": _per_node(dict(graph.out_degree(weight="weight"))),
    },
    "pagerank": lambda graph: {"pagerank": _per_node(nx.pagerank(graph, tol=1e-12, max_iter=1000))},
    "hits": _hits,
    "eigenvector": _eigenvector,
    "katz": _katz,
    "betweenness": lambda graph: {"betweenness": _per_node(nx.betweenness_centrality(graph, weight="weight"))},
    "closeness": _both_ways("closeness", lambda graph: nx.closeness_centrality(graph, distance="weight")),
    "harmonic": _both_ways("harmonic", _harmonic),
    "k_core": lambda graph: {"k_core": _per_node(nx.core_number(graph.to_undirected()))},
    "clustering": lambda graph: {"clustering": _per_node(nx.clustering(graph, weight="weight"))},
    "assortativity_degree": _assortativity("assortativity_degree", None),
    "assortativity_strength": _assortativity("assortativity_strength", "weight"),
    "assortativity_layer": lambda graph: {
        "assortativity_layer": float(nx.attribute_assortativity_coefficient(graph, "layer"))
    },
    "reciprocity": lambda graph: {"reciprocity": nx.overall_reciprocity(graph)},
}

WHOLE = """
import time, torch, dnn2graph as dg
from dnn2graph.profile import profile
from benchmarks.profiling import _resnet20
torch.set_num_threads(2)
graph = {graph}
begin = time.perf_counter()
found = profile(graph)
print(time.perf_counter() - begin, peak(), len(found.measures), found.measures["seconds"].max())
"""


def _whole(smoke: bool) -> Iterator[Figure]:
    """All measures that a profile has by default, in a fresh process: imports count."""
    graph = f"dg.load({SMALL!r})" if smoke else "dg.from_torch(_resnet20(), torch.zeros(1, 3, 32, 32))"
    took, peak, measures, slowest = in_fresh_process(PEAK + WHOLE.format(graph=graph))
    name = "digits CNN" if smoke else "ResNet-20"
    note = f"{measures:.0f} measures, the slowest takes {slowest:.2f} s"
    yield Figure(f"profile of {name}", "(absolute)", took, 120, "s", note, lower_is_better=True)
    note = f"of the process, with torch and all libraries; {os.cpu_count()} cores"
    yield Figure("peak memory of that profile", "(absolute)", peak / 1e9, 2, "GB", note, lower_is_better=True)
