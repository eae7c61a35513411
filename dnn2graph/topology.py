"""What a file of ours says about a graph beside the numbers of its nodes and edges: a versioned document.

Files that can be read back carry it as JSON: see :func:`dnn2graph.read`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from .errors import LoadError
from .graph import GRANULARITIES, Layer, NeuralGraph
from .links import KINDS

FORMAT, VERSION = "dnn2graph", 1
DOCUMENT = "dnn2graph.json"  # its name, where it is a file of its own
DTYPES = ("float32", "float64")
FIELDS = ("granularity", "aggregate", "dtype", "kinds", "layers")
LAYER_FIELDS = ("name", "kind", "shape", "activation", "size", "channel_axis")


@dataclass(frozen=True)
class Topology:
    """The layers of a graph and what its numbers mean.

    Attributes
    ----------
    layers : tuple of Layer
        Without biases and functions.
    granularity, aggregate : str
        As of :class:`.NeuralGraph`.
    dtype : {"float32", "float64"}
        Precision of the weights in the file.
    kinds : tuple of str
        Names of the kinds of links, in the order by which files may number them.
    extra : dict
        What one format says beyond that.
    """

    layers: tuple[Layer, ...]
    granularity: str
    aggregate: str
    dtype: str
    kinds: tuple[str, ...]
    extra: dict[str, Any]

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.layers[-1].stop if self.layers else 0


def to_json(graph: NeuralGraph, dtype: np.dtype | str, **extra: Any) -> str:
    """Describe a graph whose weights are written in some precision; ASCII, on one line."""
    layers = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "shape": list(layer.shape),
            "activation": layer.activation,
            "size": layer.size,
            "channel_axis": layer.channel_axis,
        }
        for layer in graph.layers
    ]
    described = {
        "format": FORMAT,
        "version": VERSION,
        "granularity": graph.granularity,
        "aggregate": graph.aggregate,
        "dtype": str(np.dtype(dtype)),
        "kinds": list(KINDS),
        **extra,
        "layers": layers,
    }
    return json.dumps(described, separators=(",", ":"))


def from_json(text: str | bytes, path: object) -> Topology:
    """Read what :func:`to_json` wrote.

    Raises
    ------
    LoadError
        If it is no such document, of another version, or something is missing; ``path`` is the file to name.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise LoadError(f"'{path}' is damaged: its description is no JSON ({error}): write it again") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise LoadError(f"'{path}' holds no graph of dnn2graph: only what dnn2graph wrote can be read back")
    if found.get("version") != VERSION:
        raise LoadError(
            f"'{path}' is of version {found.get('version')!r} of its format, this dnn2graph reads version {VERSION}: "
            "install a dnn2graph that reads it, or write it again"
        )
    if missing := [name for name in FIELDS if name not in found]:
        raise LoadError(f"'{path}' lacks {listed(missing)}; a graph has {listed(FIELDS)}: write it again")
    try:
        layers = _layers(found["layers"], path)
        kinds = tuple(map(str, found["kinds"]))
    except (TypeError, ValueError) as error:
        raise LoadError(f"'{path}' is damaged: its description makes no sense ({error}): write it again") from error
    for name, value, known in (("granularity", found["granularity"], GRANULARITIES), ("dtype", found["dtype"], DTYPES)):
        if value not in known:
            raise LoadError(f"'{path}' has the {name} {value!r}; known are {listed(known)}: write it again")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise LoadError(f"'{path}' has links of the kind {unknown[0]!r}; known are {listed(KINDS)}: write it again")
    extra = {name: value for name, value in found.items() if name not in FIELDS}
    return Topology(layers, found["granularity"], str(found["aggregate"]), found["dtype"], kinds, extra)


def _layers(described: Iterable[dict[str, Any]], path: object) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    start = 0
    for each in described:
        if missing := [name for name in LAYER_FIELDS if name not in each]:
            raise LoadError(f"'{path}' lacks {listed(missing)} of layer {len(layers)}: write it again")
        shape, size = tuple(map(int, each["shape"])), int(each["size"])
        if size < 0 or (prod(shape) != size and shape != ()):
            raise ValueError(f"layer {each['name']!r} has shape {shape} and {size} nodes")
        layer = Layer(
            str(each["name"]),
            str(each["kind"]),
            shape,
            None if each["activation"] is None else str(each["activation"]),
            start,
            start + size,
            int(each["channel_axis"]),
            tensor_shape=(size,),
        )
        layers.append(layer)
        start += size
    return tuple(layers)


def listed(names: Iterable[str]) -> str:
    """Name things in a sentence."""
    return ", ".join(map(repr, names))
