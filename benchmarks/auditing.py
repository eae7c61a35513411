"""Auditing graph files, against what a parser of XML takes for the same file without looking at anything."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

import dnn2graph as dg
from dnn2graph.audit import audit

from .measuring import PEAK, Figure, in_fresh_process, medians, memory_folder
from .networks import mlp_graph

SMALL, MILLION, LARGE = (784, 300, 100, 10), (1000, 800, 200, 100), (2200, 2000)  # 0.27, 0.98 and 4.4 million edges
GOAL = 100  # MB/s


def run(smoke: bool) -> Iterator[Figure]:
    """Yield the figures."""
    graph = mlp_graph(*(SMALL if smoke else MILLION))
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        for name, write in (("graphml", dg.write_graphml), ("gexf", dg.write_gexf)):
            for weight in ("abs", "signed"):
                path = Path(folder) / f"{weight}.{name}"
                write(graph, path, weight=weight)
                yield from _audited(path, smoke)
                path.unlink()
    yield _memory()


def _audited(path: Path, smoke: bool) -> Iterator[Figure]:
    """Time an audit and a parser that is told to do nothing but call Python for each element."""

    def parse() -> None:
        parser = expat.ParserCreate()
        parser.StartElementHandler = lambda name, attributes: None
        with path.open("rb") as file:
            parser.ParseFile(file)

    took = medians({"audit": lambda: audit(path), "expat": parse}, 3 if smoke else 5)
    size = path.stat().st_size / 1e6
    note = f"{size:,.0f} MB in {took['audit']:.2f} s; expat {took['expat']:.2f} s ({size / took['expat']:.0f} MB/s)"
    yield Figure(f"audit of {path.name}", "(absolute)", size / took["audit"], GOAL, "MB/s", note)
    yield Figure(f"audit of {path.name}", "expat, start of elements", took["expat"] / took["audit"], 1, note=note)


def _memory() -> Figure:
    """Memory that an audit of a file of 1.1 GB adds, for each edge."""
    code = f"""
import os, tempfile, dnn2graph as dg
from dnn2graph.audit import audit
from benchmarks.measuring import memory_folder
from benchmarks.networks import mlp_graph
with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
    dg.write_graphml(mlp_graph(40, 30), folder + "/small.graphml")
    audit(folder + "/small.graphml")
    graph = mlp_graph(*{LARGE})
    dg.write_graphml(graph, folder + "/graph.graphml")
{PEAK.replace(chr(10), chr(10) + "    ")}
    before = reset()
    audit(folder + "/graph.graphml")
    print(peak() - before, graph.number_of_edges(), os.path.getsize(folder + "/graph.graphml"))
"""
    added, edges, size = in_fresh_process(code)
    note = f"{added / 1e6:.0f} MB added for {edges:,.0f} edges, {size / 1e6:,.0f} MB of GraphML"
    what, unit = "memory added by an audit", "bytes per edge"
    return Figure(what, "(absolute)", added / edges, 24, unit, note, lower_is_better=True)
