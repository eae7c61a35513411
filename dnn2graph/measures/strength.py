"""Nodes strength and layers fluctuation, from the weights alone."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ..errors import InputError
from ..graph import NeuralGraph

DIRECTIONS = ("total", "in", "out")
WEIGHTS = ("signed", "abs", "positive", "negative")
CONVENTIONS = ("formula", "reference")


def strength(
    graph: NeuralGraph,
    direction: str = "total",
    weight: str = "signed",
    kinds: Collection[str] | None = None,
    *,
    bias: bool = False,
    convention: str = "formula",
) -> np.ndarray:
    """Strength of every node: the sum of the weights of its edges.

    ``s_in[j] = sum_i A[i, j]``, ``s_out[i] = sum_j A[i, j]``, ``s = s_in + s_out``, without unrolling the graph: links
    are applied to ones, convolutions in closed form, exact at their borders.

    Parameters
    ----------
    graph : NeuralGraph
    direction : {"total", "in", "out"}
    weight : {"signed", "abs", "positive", "negative"}
        What of each weight is summed: itself, its absolute value, or its positive or negative part.
    kinds : collection of str, optional
        Kinds of links that count, such as ``("weight",)``; default all.
    bias : bool
        Add each node's bias to its in-strength.
    convention : {"formula", "reference"}
        "reference" reproduces the numbers of the paper's published code: it adds the bias, and a constant 1 for the
        side that the nodes of the first layer (no in-edges) and of the last (no out-edges) do not have. It applies to
        signed weights, and agrees with that code where the code agrees with itself (convolutions without padding).

    Returns
    -------
    float64 array (nodes,)

    Raises
    ------
    InputError
        If an option is unknown.
    WeightsError
        If weights are NaN or infinite; the message names the layer.

    References
    ----------
    La Malfa et al. 2021, "Characterizing Learning Dynamics of Deep Neural Networks via Complex Networks"
    (arXiv 2110.02628): Nodes Strength.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> _ = torch.nn.init.constant_(layer.weight, 0.5)
    >>> dg.strength(dg.from_torch(layer, torch.zeros(1, 2)))
    array([0.5, 0.5, 1. ])
    """
    check_options(direction, weight)
    into, out_of = _strengths(graph, weight, kinds, bias, convention, together=direction == "total")
    return out_of if direction == "out" else into


def directed_strengths(
    graph: NeuralGraph,
    weight: str = "signed",
    kinds: Collection[str] | None = None,
    *,
    bias: bool = False,
    convention: str = "formula",
) -> tuple[np.ndarray, np.ndarray]:
    """In- and out-strength of every node, in one pass over the weights.

    Parameters
    ----------
    graph, weight, kinds, bias, convention
        As of :func:`strength`.

    Returns
    -------
    s_in, s_out : float64 arrays (nodes,)
    """
    return _strengths(graph, weight, kinds, bias, convention, together=False)


def _strengths(
    graph: NeuralGraph, weight: str, kinds: Collection[str] | None, bias: bool, convention: str, together: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Sum what enters and what leaves each node; ``together``, into one and the same array."""
    check_options("total", weight, convention)
    if convention == "reference" and weight != "signed":
        raise InputError("convention='reference' is defined for weight='signed' only")
    into = np.zeros(graph.number_of_nodes())
    out_of = into if together else np.zeros(graph.number_of_nodes())
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are reported below, by layer
        for links in graph.select(kinds):
            links.add_strengths(into, out_of, weight)
        if bias or convention == "reference":
            into += graph.bias()
        if convention == "reference":
            _add_missing_side(graph, into, out_of)
        finite = np.isfinite(into.sum()) and np.isfinite(out_of.sum())
    if not finite:
        graph.check_finite()
    return into, out_of


def fluctuation(
    graph: NeuralGraph,
    direction: str = "total",
    weight: str = "signed",
    kinds: Collection[str] | None = None,
    *,
    bias: bool = False,
    convention: str = "formula",
) -> np.ndarray:
    """Fluctuation of every layer: the population standard deviation of its nodes' strengths.

    Parameters
    ----------
    graph, direction, weight, kinds, bias, convention
        As of :func:`strength`.

    Returns
    -------
    float64 array (layers,)
        0 for a layer of one node.

    References
    ----------
    La Malfa et al. 2021 (arXiv 2110.02628): Layers Fluctuation.
    """
    values = strength(graph, direction, weight, kinds, bias=bias, convention=convention)
    return np.array([values[layer.start : layer.stop].std() if layer.size else np.nan for layer in graph.layers])


def _add_missing_side(graph: NeuralGraph, into: np.ndarray, out_of: np.ndarray) -> None:
    """Add 1 where a whole layer has no in-edges, or no out-edges."""
    entered: set[str] = set()
    left: set[str] = set()
    for links in graph.links:
        assert links.target is not None
        entered.add(links.target.name)
        left.update(layer.name for layer in links.sources)
    for layer in graph.layers:
        if layer.name not in entered:
            into[layer.start : layer.stop] += 1
        if layer.name not in left:
            out_of[layer.start : layer.stop] += 1


def check_options(direction: str, weight: str, convention: str = "formula") -> None:
    """Raise InputError if one of the options of strength is unknown."""
    for name, value, allowed in (
        ("direction", direction, DIRECTIONS),
        ("weight", weight, WEIGHTS),
        ("convention", convention, CONVENTIONS),
    ):
        if value not in allowed:
            raise InputError(f"{name}={value!r} is unknown: choose from {', '.join(allowed)}")
