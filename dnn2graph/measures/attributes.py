"""What every export says about a node: the same columns, under the same names, everywhere."""

from __future__ import annotations

from collections.abc import Collection
from math import prod
from typing import NamedTuple

import numpy as np

from ..errors import WeightsError
from ..graph import Layer, NeuralGraph
from .strength import directed_strengths


class Places(NamedTuple):
    """Where some nodes of one layer stand in it."""

    channels: np.ndarray  # int64 (nodes,)
    positions: list[str]  # such as "3,5"; empty where a layer has channels only
    suffixes: list[str]  # of the layer's name, which make it the node's label: "[7]", or "[7]@3,5"


def node_attributes(
    graph: NeuralGraph, kinds: Collection[str] | None = None, *, convention: str = "formula"
) -> dict[str, np.ndarray]:
    """Describe every node, in columns.

    Parameters
    ----------
    graph : NeuralGraph
    kinds : collection of str, optional
        Kinds of links that count towards strengths; default all.
    convention : {"formula", "reference"}
        Of strengths; see :func:`dnn2graph.strength`.

    Returns
    -------
    dict of str to array (nodes,)
        ``label`` (unique: ``conv1[3]``, with a position ``conv1[3]@5,7``), ``layer``, ``layer_index``, ``channel``,
        ``position`` (``"5,7"``, or empty), ``kind``, ``activation`` (or empty), ``bias``, ``strength_in``,
        ``strength_out``, ``strength``. Texts are Python strings, numbers int64 and float64.

    Raises
    ------
    WeightsError
        If a weight or a bias is NaN or infinite; the message names the layer.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.measures.attributes import node_attributes
    >>> columns = node_attributes(dg.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)), torch.zeros(1, 2)))
    >>> columns["label"].tolist()
    ['input[0]', 'input[1]', '0[0]']
    """
    labels, channels, positions = [], [], []
    for layer in graph.layers:
        places = places_of(layer)
        labels += [layer.name + suffix for suffix in places.suffixes]
        channels.append(places.channels)
        positions += places.positions
    index = graph.layer_of()

    def of_layer(values: list[str]) -> np.ndarray:
        return np.array(values, object)[index]

    return {
        "label": np.array(labels, object),
        "layer": of_layer([layer.name for layer in graph.layers]),
        "layer_index": index,
        "channel": np.concatenate([np.zeros(0, np.int64), *channels]),
        "position": np.array(positions, object),
        "kind": of_layer([layer.kind for layer in graph.layers]),
        "activation": of_layer([layer.activation or "" for layer in graph.layers]),
        **node_numbers(graph, kinds, convention=convention),
    }


def node_numbers(
    graph: NeuralGraph, kinds: Collection[str] | None = None, *, convention: str = "formula"
) -> dict[str, np.ndarray]:
    """Compute the bias and the strengths of every node: float64 (nodes,), all finite."""
    into, out_of = directed_strengths(graph, kinds=kinds, convention=convention)
    numbers = {"bias": graph.bias(), "strength_in": into, "strength_out": out_of, "strength": into + out_of}
    for name, values in numbers.items():
        finite = np.isfinite(values)
        if not finite.all():
            node = int(np.argmin(finite))
            layer = graph.layers[int(graph.layer_of()[node])]
            raise WeightsError(
                f"layer {layer.name!r} has a {name.replace('_', ' ')} of {values[node]} at its node "
                f"{node - layer.start}: clean the checkpoint before you export it"
            )
    return numbers


def places_of(layer: Layer, begin: int = 0, end: int | None = None) -> Places:
    """Say where the nodes ``begin, …, end - 1`` of a layer stand in it."""
    shape = layer_shape(layer)
    axis = layer.channel_axis % len(shape)
    index = np.unravel_index(np.arange(begin, layer.size if end is None else end), shape)
    channels = index[axis]
    others = [place.tolist() for number, place in enumerate(index) if number != axis]
    if not others:
        return Places(channels, [""] * len(channels), [f"[{channel}]" for channel in channels.tolist()])
    template = ",".join(["%d"] * len(others))
    positions = [template % place for place in zip(*others, strict=True)]
    suffixes = [f"[{channel}]@{place}" for channel, place in zip(channels.tolist(), positions, strict=True)]
    return Places(channels, positions, suffixes)


def layer_shape(layer: Layer) -> tuple[int, ...]:
    """Return the shape that a layer's nodes fill in row-major order; at least one axis."""
    return layer.shape if layer.shape and prod(layer.shape) == layer.size else (layer.size,)
