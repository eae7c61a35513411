"""What is wrong with a network, or odd: neurons that do nothing, do the same, or do it whatever the input is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..graph import Layer, NeuralGraph
from ..links import Links
from ..measures.strength import directed_strengths
from ..sparsify.reach import output_nodes

if TYPE_CHECKING:
    import pandas as pd

    from ..activity import Activity

PROBES = 4  # random inputs that tell neurons apart: two different ones answer all of them alike never by chance
TOLERANCE = 1e-6  # of unit vectors, by which equal neurons may differ after rounding in float32
NOTHING = 1e-12  # a sum so small beside that of its absolute terms is none
MOSTLY = 0.5  # share of a layer's activations at the bounds of its function, from which on it is saturated
NOT_NEGATIVE = frozenset(("relu", "relu6", "sigmoid", "hardsigmoid", "softplus", "softmax"))  # names of functions
RECTIFIED = frozenset(("relu", "relu6"))
HOMOGENEOUS = frozenset((None, "relu", "leaky_relu", "abs"))  # let a positive factor pass

PROBLEMS = {  # what is said of nodes that have them
    "isolated": "without any edges",
    "unread": "that nothing reads: without out-weights",
    "unread input": "that the network ignores: without out-weights",
    "constant": "with the same value whatever the input is: without in-weights",
    "never active": "that cannot become active: no weight nor bias is positive, and no value that enters negative",
    "dead": "with zero for every sample of the data",
    "unvarying": "with the same value, not zero, for every sample of the data",
    "duplicate": "like another of their layer: with equal in-weights and bias, up to a factor",
    "saturated": "mostly within 1 % of the bounds of their activation function",
}
NOTES = frozenset(("unread input",))  # what is usual, such as the rim of an image


@dataclass(frozen=True, eq=False)
class Finding:
    """Some nodes of one layer that have the same problem.

    Attributes
    ----------
    problem : str
        A key of ``PROBLEMS``.
    layer : str
    size : int
        Number of nodes of the layer.
    nodes : int64 array
        The nodes that have it, ascending.
    groups : int64 array
        Which of them are alike: of duplicates, the first node of each one's group; else the nodes themselves.
    """

    problem: str
    layer: str
    size: int
    nodes: np.ndarray
    groups: np.ndarray

    @property
    def is_warning(self) -> bool:
        """Whether it is unusual, and not only worth knowing."""
        return self.problem not in NOTES

    def __str__(self) -> str:
        count = f"all {self.size:,}" if len(self.nodes) == self.size else f"{len(self.nodes):,} of {self.size:,}"
        alike = ""
        if self.problem == "duplicate":
            kinds = len(np.unique(self.groups))
            alike = f" ({kinds:,} different one{'s' if kinds > 1 else ''})"
        return f"{self.layer}: {count} nodes {PROBLEMS[self.problem]}{alike}"


def findings(
    graph: NeuralGraph, activity: Activity | None = None, *, kinds: Collection[str] | None = None
) -> tuple[Finding, ...]:
    """Look for nodes that do nothing, do the same as others, or never change.

    Straight from the weights, without unrolling. Neurons are duplicates if their sums are the same for every input, up
    to a positive factor where their activation function lets it pass (as ReLU does): then one of them, with larger
    out-weights, could stand for both. They are told apart by their sums for a few random inputs.

    Parameters
    ----------
    graph : NeuralGraph
    activity : Activity, optional
        Of :func:`dnn2graph.activity.activations`: then also nodes that are dead, unvarying or saturated on its data.
    kinds : collection of str, optional
        Kinds of links that count; default all.

    Returns
    -------
    tuple of Finding
        Layer by layer. Nodes of a problem that follows from another are left out: an isolated node is not unread too.

    Raises
    ------
    InputError
        If the activity is of another graph, or a kind is unknown.
    WeightsError
        If weights are NaN or infinite.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.report import findings
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3, bias=False), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> model[0].weight.data = torch.tensor([[1.0, -2.0], [3.0, -6.0], [0.5, 0.5]])
    >>> model[2].weight.data = torch.tensor([[1.0, 1.0, 0.0]])
    >>> for each in findings(dg.from_torch(model, torch.zeros(1, 2))):
    ...     print(each)
    0: 1 of 3 nodes that nothing reads: without out-weights
    0: 2 of 3 nodes like another of their layer: with equal in-weights and bias, up to a factor
    (1 different one)
    """
    graph.check_finite()
    marks = _from_weights(graph, kinds)
    if activity is not None:
        marks |= _from_activity(graph, activity)
        marks["dead"] &= ~(marks["constant"] | marks["isolated"] | marks["never active"])
    groups = _alike(graph, kinds)
    marks["duplicate"] = np.bincount(groups, minlength=len(graph))[groups] > 1
    found = []
    for layer in graph.layers:
        for problem in (each for each in PROBLEMS if each in marks):
            nodes = layer.start + np.flatnonzero(marks[problem][layer.start : layer.stop])
            if len(nodes):
                alike = groups[nodes] if problem == "duplicate" else nodes
                found.append(Finding(problem, layer.name, layer.size, nodes, alike))
    return tuple(found)


def findings_table(graph: NeuralGraph, found: Sequence[Finding]) -> pd.DataFrame:
    """Give one row per finding and node.

    Returns
    -------
    DataFrame
        Columns ``problem``, ``layer``, ``node``, ``label``, ``group`` (the first node of those that are alike).
    """
    import pandas as pd

    from ..measures.attributes import places_of

    layers = {layer.name: layer for layer in graph.layers}
    parts = []
    for each in found:
        suffixes = places_of(layers[each.layer]).suffixes
        labels = [each.layer + suffixes[node - layers[each.layer].start] for node in each.nodes.tolist()]
        parts.append(
            pd.DataFrame(
                {
                    "problem": each.problem,
                    "layer": each.layer,
                    "node": each.nodes,
                    "label": labels,
                    "group": each.groups,
                }
            )
        )
    columns = ["problem", "layer", "node", "label", "group"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


# ---------------------------------------------------------------------- from weights


def _from_weights(graph: NeuralGraph, kinds: Collection[str] | None) -> dict[str, np.ndarray]:
    """Mark the nodes without edges, and those that no input can make active."""
    into, out_of = directed_strengths(graph, weight="abs", kinds=kinds)
    inputs = np.zeros(len(graph), bool)
    for layer in graph.inputs or graph.layers[:1]:
        inputs[layer.start : layer.stop] = True
    outputs = np.zeros(len(graph), bool)
    outputs[output_nodes(graph)] = True
    unread = (out_of == 0) & ~outputs
    constant = (into == 0) & ~inputs & ~_of_kind(graph, "constant")
    isolated = unread & constant
    return {
        "isolated": isolated,
        "unread": unread & ~inputs & ~isolated,
        "unread input": unread & inputs,
        "constant": constant & ~isolated,
        "never active": _never_active(graph, kinds) & ~constant,
    }


def _of_kind(graph: NeuralGraph, kind: str) -> np.ndarray:
    return np.repeat([layer.kind == kind for layer in graph.layers], [layer.size for layer in graph.layers])


def _never_active(graph: NeuralGraph, kinds: Collection[str] | None) -> np.ndarray:
    """Mark rectified nodes whose sum cannot be positive: no weight nor bias is, and no value that enters negative."""
    positive, _ = directed_strengths(graph, weight="positive", kinds=kinds)
    silent = (positive <= 0) & (graph.bias() <= 0)
    entered: dict[str, bool] = {}
    for links in graph.links:
        if links.target is not None:
            known = all(map(_is_not_negative, links.sources)) and not _is_aggregated(graph, links)
            entered[links.target.name] = entered.get(links.target.name, True) and known
    for layer in graph.layers:
        if layer.activation not in RECTIFIED or not entered.get(layer.name, False) or layer.function is not None:
            silent[layer.start : layer.stop] = False
    return silent


def _is_not_negative(layer: Layer) -> bool:
    return layer.activation in NOT_NEGATIVE


def _is_aggregated(graph: NeuralGraph, links: Links) -> bool:
    """Whether weights may be sums over a kernel's taps, which do not tell the signs of these."""
    sizes = [graph.weights[name].numel() for name in links.weight.parameters()]
    return prod(links.map.kernel_shape) < max(sizes, default=0)


def _alike(graph: NeuralGraph, kinds: Collection[str] | None) -> np.ndarray:
    """Say of each node which is the first of those that do the same: int64 (nodes,)."""
    random = torch.Generator().manual_seed(0)
    values = torch.randn(PROBES, len(graph) + 1, generator=random, dtype=torch.float64)
    values[:, -1] = 0  # what is no node
    sums = torch.randn(PROBES, 1, generator=random, dtype=torch.float64).numpy() * graph.bias()  # (probes, nodes)
    for links in graph.select(kinds):
        given = links.apply(links.source_nodes.gather(values)).reshape(PROBES, -1).numpy(force=True)
        nodes = links.target_nodes.flat
        if links.target_nodes.has_repeats:
            np.add.at(sums.T, nodes, given.T)
        else:
            sums[:, nodes] += given
    length = np.sqrt(np.square(sums).sum(axis=0))
    into, _ = directed_strengths(graph, weight="abs", kinds=kinds)
    comparable = (into > 0) & (length > NOTHING * into)
    for layer in graph.layers:
        mine = slice(layer.start, layer.stop)
        comparable[mine] &= layer.function is None
        if layer.activation not in HOMOGENEOUS:
            length[mine] = length[mine].max(initial=0)
    nodes = np.flatnonzero(comparable)
    labels = _clusters((sums[:, nodes] / length[nodes]).T, graph.layer_of()[nodes])
    first = np.arange(len(graph))
    _, place, group = np.unique(labels, return_index=True, return_inverse=True)
    first[nodes] = nodes[place[group]]
    return first


def _clusters(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Part points (nodes, axes) that have the same label where, along one axis after the other, there is a gap."""
    for axis in points.T:
        order = np.lexsort((axis, labels))
        parted = (np.diff(labels[order]) != 0) | (np.diff(axis[order]) > TOLERANCE)
        labels = labels.copy()
        labels[order] = np.cumsum(np.concatenate([[0], parted]))[: len(order)]
    return labels


# ---------------------------------------------------------------------- from data


def _from_activity(graph: NeuralGraph, activity: Activity) -> dict[str, np.ndarray]:
    """Mark the nodes that are dead, unvarying or saturated on data; inputs are what they are."""
    from ..errors import InputError

    if len(activity) != len(graph):
        raise InputError(
            f"the activity is that of {len(activity):,} nodes, the graph has {len(graph):,}: measure it on this graph"
        )
    computed = np.ones(len(graph), bool)
    for layer in (*graph.inputs, *(layer for layer in graph.layers if layer.kind in ("input", "constant"))):
        computed[layer.start : layer.stop] = False
    into, _ = directed_strengths(graph, weight="abs")
    dead = activity.dead() & computed
    unvarying = (activity.min == activity.max) & computed & ~dead & (into > 0)
    return {"dead": dead, "unvarying": unvarying, "saturated": (activity.saturated > MOSTLY) & computed & ~unvarying}


def saturated_layers(graph: NeuralGraph, activity: Activity) -> Iterator[tuple[str, float]]:
    """Name the layers of which most activations are at the bounds of their function, and how large that share is."""
    for layer in graph.layers:
        share = float(activity.saturated[layer.start : layer.stop].mean()) if layer.size else np.nan
        if share > MOSTLY:
            yield layer.name, share
