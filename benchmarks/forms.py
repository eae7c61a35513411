"""Unrolling into a sparse matrix, an igraph graph, files of all formats."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import igraph
import networkx as nx
import numpy as np
import torch
from torch import nn

import dnn2graph as dg
from dnn2graph.export.formats import FORMATS
from dnn2graph.export.parquet import write_parquet

from .measuring import PEAK, Figure, in_fresh_process, medians, memory_folder
from .networks import mlp_graph


def run(smoke: bool) -> Iterator[Figure]:
    """Yield the figures."""
    yield from _unrolling(smoke)
    yield _to_igraph(smoke)
    yield from _graphml(smoke)
    yield from _gexf(smoke)
    yield _parquet(smoke)
    yield from _growth(smoke)
    yield from _read_back(smoke)
    yield _training(smoke)


SMALL, MILLION = (784, 300, 100, 10), (1000, 800, 200, 100)  # 266 000 and 980 000 edges
LARGE = (6000, 4000, 700, 100)  # 27 million

CONVOLUTION = """
import torch, dnn2graph as dg
torch.set_num_threads(1)
graph = dg.from_torch(torch.nn.Conv2d(64, 64, 3, padding=1, bias=False), torch.zeros(1, 64, 32, 32),
                      granularity="position")
"""


def _unrolling(smoke: bool) -> Iterator[Figure]:
    """Edges per second and peak memory of the sparse matrix of a convolution."""
    model = nn.Conv2d(64, 64, 3, padding=1, bias=False)
    graph = dg.from_torch(model, torch.zeros(1, 64, 32, 32), granularity="position")
    edges = graph.number_of_edges()
    empty = np.empty(edges, np.int64)  # as many bytes as indices and weights together
    calls = {"ours": lambda: graph.adjacency(), "fill": lambda: empty.fill(1)}
    took = medians(calls, 3 if smoke else 9)
    rate = edges / took["ours"] / 1e6
    note = f"{edges:,} edges in {took['ours']:.2f} s; filling as much memory takes {took['fill']:.2f} s"
    yield Figure("unrolling a convolution", "(absolute)", rate, 200, "M edges/s", note)
    code = CONVOLUTION + PEAK + "before = reset(); a = graph.adjacency(); after = peak()\n"
    code += "print(after - before, a.data.nbytes + a.indices.nbytes + a.indptr.nbytes)"
    added, size = in_fresh_process(code)
    note = f"{added / 1e6:.0f} MB added for a matrix of {size / 1e6:.0f} MB"
    yield Figure("peak memory of unrolling", "size of the CSR", added / size, 1.2, "x", note, lower_is_better=True)


def _to_igraph(smoke: bool) -> Figure:
    """An igraph graph with all attributes, against one with weights only from a matrix that is there already."""
    graph = mlp_graph(*(SMALL if smoke else MILLION))
    matrix = graph.adjacency()

    def plainly() -> igraph.Graph:
        coo = matrix.tocoo()
        made = igraph.Graph(coo.shape[0], edges=np.stack([coo.row, coo.col], 1), directed=True)
        made.es["weight"] = coo.data
        return made

    took = medians({"ours": lambda: graph.to_igraph(), "ndarray": plainly}, 3 if smoke else 7)
    note = f"{matrix.nnz:,} edges; {took['ours']:.2f} s, with unrolling and attributes, against {took['ndarray']:.2f} s"
    ratio, peer = took["ours"] / took["ndarray"], "Graph(n, edges=ndarray) and weights"
    return Figure("to_igraph", peer, ratio, 0.5, "of the time", note, lower_is_better=True)


def _graphml(smoke: bool) -> Iterator[Figure]:
    """Writers of the same graph with the same attributes of nodes and edges, in memory: text, not disks."""
    graph = mlp_graph(*(SMALL if smoke else MILLION))
    edges = graph.number_of_edges()
    theirs = graph.to_igraph()
    viewed = _as_viewers_see(theirs)
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        path = str(Path(folder) / "graph.graphml")
        calls = {
            "signed": lambda: dg.write_graphml(graph, path, weight="signed"),
            "igraph, signed": lambda: theirs.write_graphml(path),
            "abs": lambda: dg.write_graphml(graph, path, weight="abs"),
            "igraph, abs": lambda: viewed.write_graphml(path),
        }
        took = medians(calls, 3 if smoke else 5)
        digraph = graph.to_networkx()
        took |= medians({"networkx": lambda: nx.write_graphml_xml(digraph, path)}, 1)
    for weight, what in (("signed", "GraphML, signed weights"), ("abs", "GraphML, for viewers")):
        mine, other = took[weight], took[f"igraph, {weight}"]
        note = f"{edges:,} edges; {mine:.2f} s ({edges / mine / 1e6:.1f} M edges/s) against {other:.2f} s"
        yield Figure(what, "igraph's C writer", other / mine, 5, note=note)
    ratio = took["networkx"] / took["signed"]
    yield Figure("GraphML, signed weights", "networkx", ratio, 50, note=f"against {took['networkx']:.1f} s")


def _gexf(smoke: bool) -> Iterator[Figure]:
    """GEXF against igraph, which writes none but GraphML, and networkx."""
    graph = mlp_graph(*(SMALL if smoke else MILLION))
    edges = graph.number_of_edges()
    theirs = graph.to_igraph()
    viewed = _as_viewers_see(theirs)
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        path = str(Path(folder) / "graph.gexf")
        calls = {
            "signed": lambda: dg.write_gexf(graph, path, weight="signed"),
            "igraph, signed": lambda: theirs.write_graphml(path),
            "abs": lambda: dg.write_gexf(graph, path, weight="abs"),
            "igraph, abs": lambda: viewed.write_graphml(path),
        }
        took = medians(calls, 3 if smoke else 5)
        digraph = graph.to_networkx()
        took |= medians({"networkx": lambda: nx.write_gexf(digraph, path)}, 1)
    for weight, what in (("signed", "GEXF, signed weights"), ("abs", "GEXF, for viewers")):
        mine, other = took[weight], took[f"igraph, {weight}"]
        note = f"{edges:,} edges; {mine:.2f} s ({edges / mine / 1e6:.1f} M edges/s) against {other:.2f} s"
        yield Figure(what, "igraph's C writer of GraphML", other / mine, 4, note=note)
    ratio = took["networkx"] / took["signed"]
    yield Figure("GEXF, signed weights", "networkx", ratio, 35, note=f"against {took['networkx']:.1f} s")


def _parquet(smoke: bool) -> Figure:
    """Edges per second of the folder of tables."""
    graph = mlp_graph(*(MILLION if smoke else LARGE))
    edges = graph.number_of_edges()
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        path = Path(folder) / "graph.parquet"
        took = medians({"ours": lambda: write_parquet(graph, path)}, 3 if smoke else 5)["ours"]
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    note = f"{edges:,} edges in {took:.2f} s, {size / edges:.1f} bytes per edge"
    return Figure("Parquet", "(absolute)", edges / took / 1e6, 10, "M edges/s", note)


GROWTH = """
import os, tempfile, time, dnn2graph as dg
from dnn2graph.export.formats import write
from benchmarks.measuring import memory_folder
from benchmarks.networks import mlp_graph
with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
    for warm in range(2):  # pays for imports
        write(mlp_graph(20, 10), f"{{folder}}/warm{ending}")
    graph = mlp_graph(*{widths})
    dg.strength(graph)
    if {discarded}:  # gigabytes of text, for which a folder in memory has no room
        os.symlink(os.devnull, f"{{folder}}/graph{ending}")
    before = reset()
    times = []
    for repetition in range({repeat}):
        begin = time.perf_counter()
        write(graph, f"{{folder}}/graph{ending}")
        times.append(time.perf_counter() - begin)
    print(peak() - before, min(times))
"""


def _growth(smoke: bool) -> Iterator[Figure]:
    """Memory and time of every writer, from small graphs to large ones."""
    sizes = [SMALL, MILLION] if smoke else [SMALL, MILLION, LARGE]
    numbers = [sum(a * b for a, b in pairwise(widths)) for widths in sizes]
    for each in FORMATS:
        if each.name == "DOT":  # for tiny graphs only
            continue
        added, took = [], []
        for widths in sizes:
            repeat = 3 if widths is LARGE else 7
            discarded = each.is_text and each.name != "CSV tables"
            given = {"ending": each.suffixes[0], "widths": widths, "repeat": repeat, "discarded": discarded}
            memory, seconds = in_fresh_process(PEAK + GROWTH.format(**given))
            added.append(memory)
            took.append(seconds)
        measured = zip(numbers, took, added, strict=True)
        note = ", ".join(f"{n:,} edges {s:.2f} s {m / 1e6:.0f} MB" for n, s, m in measured)
        exponent = float(np.polyfit(np.log(numbers), np.log(took), 1)[0])
        what = f"{each.name}: growth of time with edges"
        yield Figure(what, "(exponent)", exponent, 1.05, "", note, lower_is_better=True)
        peer = "(absolute)"
        if each.name == "npz":  # it builds the matrix that it writes
            peer, added = "beyond the CSR", [m - 8 * n for m, n in zip(added, numbers, strict=True)]
        yield Figure(f"{each.name}: memory added", peer, max(added) / 1e6, 80, "MB", lower_is_better=True)


READ_BACK = """
import ctypes, os, tempfile, time, dnn2graph as dg
from dnn2graph.export.formats import write
from benchmarks.measuring import memory_folder
from benchmarks.networks import mlp_graph
with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
    dg.save_npz(mlp_graph(*{widths}), f"{{folder}}/graph.npz")
    graph = dg.read(f"{{folder}}/graph.npz")
    write(mlp_graph(20, 10), f"{{folder}}/warm{ending}")
    os.symlink(os.devnull, f"{{folder}}/graph{ending}")
    ctypes.CDLL(None).malloc_trim(0)  # what reading has freed would hide what writing takes
    before, begin = reset(), time.perf_counter()
    write(graph, f"{{folder}}/graph{ending}")
    print(peak() - before, time.perf_counter() - begin, graph.number_of_edges())
"""


def _read_back(smoke: bool) -> Iterator[Figure]:
    """Memory that writing a graph takes whose edges are a list, as those of a graph that was read from a file."""
    for ending in (".graphml", ".gexf", ".mtx"):
        code = READ_BACK.format(widths=MILLION if smoke else LARGE, ending=ending)
        added, took, edges = in_fresh_process(PEAK + code)
        note = f"{edges:,.0f} edges in {took:.1f} s"
        what = f"{ending[1:]} of a graph read from a file: memory added"
        yield Figure(what, "(absolute)", added / 1e6, 80, "MB", note, lower_is_better=True)


TRAINING = """
import tempfile, time, torch, dnn2graph as dg
from benchmarks.measuring import memory_folder
from benchmarks.networks import mlp_graph
graph = mlp_graph(*{widths})
shapes = {{name: value.shape for name, value in graph.weights.items()}}
def weights(step):
    chance = torch.Generator().manual_seed(step)
    return {{name: torch.randn(shape, generator=chance) for name, shape in shapes.items()}}
backbone = dg.sparsify(graph, {edges})
snapshots = {{step: lambda step=step: weights(step) for step in range(20)}}
with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
    small = mlp_graph(20, 10)
    dg.write_gexf(small, f"{{folder}}/warm.gexf", snapshots={{0: small}})
    weights(0)
    before, begin = reset(), time.perf_counter()
    dg.write_gexf(backbone, f"{{folder}}/training.gexf", snapshots=snapshots)
    print(peak() - before, time.perf_counter() - begin)
"""


def _training(smoke: bool) -> Figure:
    """Memory that a backbone takes whose edges have their weights at twenty steps."""
    edges = 20_000 if smoke else 200_000
    added, took = in_fresh_process(PEAK + TRAINING.format(widths=MILLION, edges=edges))
    note = f"{edges:,} edges at 20 steps in {took:.1f} s ({40 * edges / took / 1e6:.1f} M weights/s)"
    return Figure("GEXF of a training: memory added", "(absolute)", added / 1e6, 80, "MB", note, lower_is_better=True)


def _as_viewers_see(graph: igraph.Graph) -> igraph.Graph:
    """Give an igraph graph the edge attributes that are written for viewers."""
    viewed = graph.copy()
    weights = np.array(graph.es["weight"])
    viewed.es["weight"], viewed.es["signed_weight"] = np.abs(weights).tolist(), weights.tolist()
    viewed.es["sign"] = np.sign(weights).tolist()
    for colour, positive, negative in (("r", 33, 178), ("g", 102, 24), ("b", 172, 43)):
        viewed.es[colour] = np.where(weights > 0, positive, negative).tolist()
    return viewed
