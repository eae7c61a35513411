"""How a network's weights and biases start: the paper's four distributions, at a scale that it calls support."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from .design import Design

TRUNCATED_STD = 0.87962566103423978  # of a standard normal distribution that is redrawn beyond 2
INITIAL, ORDER = 0, 1  # what a network's seed is used for: numbers for one thing say nothing about the other


def initial_weights(design: Design, networks: Iterable[int]) -> dict[str, Tensor]:
    """Draw the first weights of some networks of a design, each from its own seed alone.

    Parameters
    ----------
    design : Design
    networks : iterable of int

    Returns
    -------
    dict of str to float32 tensor (networks, *shape)
        By the names of the parameters.
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in design.model().named_parameters()}
    drawn = []
    for k in networks:
        initialisation, support, seed = design.network(k)
        rng = np.random.default_rng((seed, INITIAL))
        drawn.append({name: draw(initialisation, support, shape, rng) for name, shape in shapes.items()})
    return {name: torch.from_numpy(np.stack([each[name] for each in drawn])) for name in shapes}


def draw(initialisation: str, support: float, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw one weight or bias.

    Parameters
    ----------
    initialisation : {"normal", "uniform", "truncated", "variance-scaling"}
        "normal": of mean 0 and standard deviation ``support``. "uniform": from ``-support`` to ``support``.
        "truncated": normal, redrawn where it is beyond two standard deviations. "variance-scaling": truncated, with
        the variance ``support / fan_in`` after truncation.
    support : float
    shape : tuple of int
        (out, in, *kernel), whose fan is ``in * kernel``; or (out,), a bias, whose fan is its length as in Keras.
    rng : Generator

    Returns
    -------
    float32 array
    """
    if initialisation == "normal":
        values = rng.normal(0, support, shape)
    elif initialisation == "uniform":
        values = rng.uniform(-support, support, shape)
    elif initialisation == "truncated":
        values = support * _truncated(shape, rng)
    else:
        fan_in = math.prod(shape[1:]) if len(shape) > 1 else shape[0]
        values = math.sqrt(support / fan_in) / TRUNCATED_STD * _truncated(shape, rng)
    return values.astype(np.float32)


def _truncated(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    values = rng.standard_normal(shape)
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = rng.standard_normal(beyond.sum())
    return values
