"""Neurons Strength and Neurons Activation: what a neuron receives and what it gives, on data.

Both continue Nodes Strength, which looks at weights alone, with samples of the data that a network was trained on
(La Malfa et al. 2022 and 2024). With ``x`` the activations of the neurons before it, a neuron ``k`` receives
``z_k = sum_j x_j w_jk`` and gives ``a_k = f(z_k + b_k)``. *Neurons Strength* is the mean of ``z_k`` over the samples,
*Neurons Activation* that of ``a_k``. As ``z`` is linear in ``x``, Neurons Strength is the in-strength of the
functional graph, whose edges weigh ``mean(x_j) w_jk``. The *fluctuation* of a layer is the population standard
deviation of either over its neurons, as it is of Nodes Strength.

The papers introduce both measures; the formulas are written out here because they are this package's reading of them.
State the formula beside the numbers, above all whether biases are in them (``bias=``), when you compare with others.

References
----------
La Malfa et al. 2022 (arXiv 2209.05488), *Deep Neural Networks as Complex Networks*.

La Malfa et al. 2024 (arXiv 2404.11172), *Deep Neural Networks via Complex Network Theory: a Perspective*.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from torch import nn

from ..errors import InputError
from ..graph import NeuralGraph
from ..measures import strength
from ..progress import Progress
from .graph import functional_graph
from .statistics import as_activity


def neurons_strength(
    graph: NeuralGraph,
    loader: Any,
    *,
    bias: bool = False,
    kinds: Collection[str] | None = None,
    model: nn.Module | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Neurons Strength: the mean over samples of what each neuron receives, ``sum_j x_j w_jk``.

    Parameters
    ----------
    graph : NeuralGraph
        In position granularity the value is that of the network. In channel granularity it is that of the channel
        graph, whose weights aggregate taps and whose activations are means over positions.
    loader : iterable, tensor or Activity
        As of :func:`.functional_graph`.
    bias : bool
        Whether to add the neuron's bias, as its activation function sees it.
    kinds : collection of str, optional
        Kinds of links that count; default all.
    model, progress
        As of :func:`.activations`.

    Returns
    -------
    float64 array (nodes,)
        0 for inputs, which receive nothing.

    Raises
    ------
    InputError, ModelError
        As of :func:`.functional_graph`.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> from dnn2graph.activity import neurons_activation, neurons_strength
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.ReLU())
    >>> _ = model[0].weight.data.fill_(2.0)
    >>> graph = dg.from_torch(model, torch.zeros(1, 1), granularity="position")
    >>> data = torch.tensor([[-1.0], [3.0]])
    >>> neurons_strength(graph, data).tolist(), neurons_activation(graph, data).tolist()
    ([0.0, 2.0], [1.0, 3.0])
    """
    functional = functional_graph(graph, loader, activation="mean", model=model, progress=progress)
    return strength(functional, "in", kinds=kinds, bias=bias)


def neurons_activation(
    graph: NeuralGraph, loader: Any, *, model: nn.Module | None = None, progress: Progress | None = None
) -> np.ndarray:
    """Neurons Activation: the mean over samples of what each neuron gives, after its activation function.

    Parameters
    ----------
    graph, loader, model, progress
        As of :func:`neurons_strength`.

    Returns
    -------
    float64 array (nodes,)
        Of inputs, the mean input. In channel granularity the mean is over samples and positions.

    Raises
    ------
    InputError, ModelError
        As of :func:`.activations`.
    """
    return as_activity(graph, loader, model, progress).mean


def layer_fluctuation(graph: NeuralGraph, values: np.ndarray) -> np.ndarray:
    """Fluctuation of every layer: the population standard deviation of a value of its nodes.

    Parameters
    ----------
    graph : NeuralGraph
    values : array (nodes,)
        Such as :func:`neurons_strength` or :func:`neurons_activation`.

    Returns
    -------
    float64 array (layers,)
        0 for a layer of one node.

    Raises
    ------
    InputError
        If there is not one value for each node.
    """
    values = np.asarray(values, np.float64)
    if values.shape != (len(graph),):
        raise InputError(f"the graph has {len(graph):,} nodes, the values have shape {values.shape}: one for each node")
    return np.array([values[layer.start : layer.stop].std() if layer.size else np.nan for layer in graph.layers])
