"""The same architecture before any training: fresh parameters, drawn as the model draws its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..graph import NeuralGraph
from ..population.initialisation import draw
from ..weights import Weights
from .streams import Seed

INITIALISATIONS = ("normal", "uniform", "truncated", "variance-scaling")
BUFFERS = {"running_mean": 0.0, "running_var": 1.0, "num_batches_tracked": 0.0}  # before any batch was seen

Model = nn.Module | Callable[[], nn.Module]


def initialised(
    graph: NeuralGraph,
    seed: Seed,
    model: Model | None = None,
    initialisation: str | None = None,
    support: float | None = None,
) -> NeuralGraph:
    """Give a graph fresh parameters; see :func:`dnn2graph.nulls.null_model`."""
    if initialisation is not None and initialisation not in INITIALISATIONS:
        raise InputError(f"initialisation={initialisation!r} is unknown: choose from {', '.join(INITIALISATIONS)}")
    if (initialisation is None) != (support is None):
        raise InputError("initialisation and support belong together: give both, such as 'normal' and 0.05, or neither")
    if model is not None and initialisation is not None:
        raise InputError("a model knows how it is initialised: give either model, or initialisation and support")
    words = np.random.SeedSequence(seed).generate_state(2)
    if model is None:
        return graph.with_weights(_by_shape(graph, np.random.default_rng(words), initialisation, support))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(words[0]) << 32 | int(words[1]))
        return graph.with_weights(_reset(model, graph) if isinstance(model, nn.Module) else _state(model()))


def _state(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers, under all their names."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: tensor.detach() for name, tensor in named}


def _reset(model: nn.Module, graph: NeuralGraph) -> dict[str, Tensor]:
    """Let every module of a copy draw its own parameters."""
    fresh = deepcopy(model)
    for module in fresh.modules():
        reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
        if reset is not None:
            reset()
    before, after = _state(model), _state(fresh)
    parameters = dict(model.named_parameters())
    kept = [
        name
        for name in graph.parameters()
        if name in parameters and torch.equal(before[name], after[name]) and len(before[name].unique()) > 1
    ]
    if kept:
        raise InputError(
            f"nothing initialises {', '.join(kept)}: their modules have no reset_parameters(); give model= a function "
            "that builds the model afresh"
        )
    return after


def _by_shape(
    graph: NeuralGraph, random: np.random.Generator, initialisation: str | None, support: float | None
) -> Weights:
    """Draw parameters as torch does for linear, convolutional and normalisation layers, told by their shapes."""
    fresh = {}
    for name in sorted(graph.parameters()):  # the order in which random numbers are drawn
        known = graph.weights[name]
        if not known.is_floating_point() or name.endswith("_mask"):
            continue  # of pruning
        owner, _, own = name.rpartition(".")
        if own in BUFFERS:
            fresh[name] = torch.full_like(known, BUFFERS[own])
            continue
        matrix = _matrix_of(graph.weights, owner, own) if known.dim() < 2 else known
        if matrix is None:  # of a normalisation
            values = np.zeros(known.shape) if "bias" in own else np.ones(known.shape)
        elif initialisation is not None and support is not None:
            values = draw(initialisation, support, tuple(known.shape), random)
        else:
            bound = 1 / np.sqrt(max(1, prod(matrix.shape[1:])))  # kaiming_uniform_ with a = √5, and its bias
            values = random.uniform(-bound, bound, known.shape)
        fresh[name] = torch.from_numpy(np.asarray(values)).to(known)
    return fresh


def _matrix_of(weights: Mapping[str, Tensor], owner: str, own: str) -> Tensor | None:
    """Find the weight that stands beside a bias, if it has a fan-in."""
    if "bias" not in own:
        return None
    prefix = f"{owner}." if owner else ""
    beside = own.replace("bias", "weight").removesuffix("_orig")
    for name in (beside, f"{beside}_orig"):
        found = weights.get(prefix + name)
        if found is not None and found.dim() >= 2:
            return found
    return None
