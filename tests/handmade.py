"""Graphs from a matrix written out by hand or at random, for measures whose values are known there."""

from __future__ import annotations

import numpy as np
import torch

from dnn2graph.graph import Layer, NeuralGraph, Output
from dnn2graph.links import Links, Listed
from dnn2graph.nodes import Nodes
from dnn2graph.profile.view import Unrolled, View
from dnn2graph.weights import Constant


def graph_of_matrix(matrix, sizes=None, outputs=None):
    """Make a graph with the given adjacency matrix and sizes of layers; the first is the input, the last the output.

    One links for each two layers that edges join; those that do not lead forward are recurrent.
    """
    matrix = np.asarray(matrix, float)
    sizes = [len(matrix)] if sizes is None else sizes
    stops = np.cumsum(sizes)
    layers = tuple(
        Layer(f"layer{place}", "input" if place == 0 else "linear", (size,), None, int(stop) - size, int(stop))
        for place, (size, stop) in enumerate(zip(sizes, stops, strict=True))
    )
    links = []
    for target in layers:
        for source in layers:
            block = matrix[source.start : source.stop, target.start : target.stop]
            i, j = np.nonzero(block)
            if len(i):
                links.append(
                    Links(
                        "weight" if source.start < target.start else "recurrent",
                        source.nodes,
                        target.nodes,
                        Listed(source.size, target.size, i, j),
                        Constant(torch.from_numpy(block[i, j])),
                        dtype=torch.float64,
                        sources=(source,),
                        target=target,
                    )
                )
    leaves = (layers[-1].nodes,) if layers and outputs is None else (Nodes(np.array(outputs or [], np.int64)),)
    return NeuralGraph(layers, tuple(links), Output(leaves, None), {}, inputs=layers[:1], dtype=torch.float64)


def layered(sizes, density=0.7, seed=0, skip=2):
    """Make a random feed-forward graph: links lead at most ``skip`` layers ahead, weights are whole numbers."""
    random = np.random.default_rng(seed)
    layer = np.repeat(np.arange(len(sizes)), sizes)
    ahead = layer[None] - layer[:, None]
    matrix = random.integers(1, 6, (len(layer),) * 2) * random.choice([-1, 1], (len(layer),) * 2)
    matrix = matrix * (random.random(matrix.shape) < density) * (ahead > 0) * (ahead <= skip)
    return graph_of_matrix(matrix, sizes)


def view_of(graph, measure, **options):
    """Give the view of a graph that a profile would give a measure."""
    return View(Unrolled(graph, options.pop("kinds", None), **options), measure.weight, measure.name)


NOTHING = {
    "no node": graph_of_matrix(np.zeros((0, 0)), []),
    "one node": graph_of_matrix(np.zeros((1, 1))),
    "one loop": graph_of_matrix(np.ones((1, 1))),
    "no edge": graph_of_matrix(np.zeros((4, 4)), [2, 2]),
    "an isolated node": graph_of_matrix([[0, 0, 0, 2], [0, 0, 0, -1], [0, 0, 0, 0], [0, 0, 0, 0]], [2, 1, 1]),
    "a cycle": graph_of_matrix([[0, 1, 0, 0], [0, 0, -2, 0], [0, 1, 0, 3], [0, 0, 0, 0]], [1, 1, 1, 1]),
    "a cycle in a layer": graph_of_matrix([[0, 1, 2], [0, 1, 2], [0, -1, 0]], [1, 2]),
    "no output": graph_of_matrix([[0, 1], [0, 0]], [1, 1], outputs=[]),
}  # graphs on which hardly anything is defined


def check_columns(graph, measure):
    """Compute a measure and check what a profile asks of it: names, shapes, and a note where a value is missing."""
    view = view_of(graph, measure)
    columns = measure.compute(view)
    length = {"node": len(graph), "layer": len(graph.layers), "links": len(graph.links), "graph": None}[measure.level]
    for name, value in columns.items():
        assert name.startswith(measure.name)
        assert np.shape(value) == (() if length is None else (length,)), name
    missing = [name for name, value in columns.items() if np.isnan(np.asarray(value, float)).any()]
    assert not missing or view.notes, f"{missing} without a note"
    return columns
