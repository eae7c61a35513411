"""Weights that are the given ones in another order, with other signs, or drawn anew: functions of weight expressions.

Each takes a kernel and gives one of the same shape. They are evaluated when the graph is, so that a null model follows
the parameters as every graph does. A weight of exactly zero is no edge, and stays zero at its place.
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

from ..links.sums import as_numpy
from .streams import Stream, generator


def shuffled(kernel: Tensor, shape: tuple[int, ...], classes: Tensor | None, numbers: Stream) -> Tensor:
    """Permute the entries that are not zero within their classes.

    Parameters
    ----------
    kernel : tensor
        Broadcasts to ``shape``.
    shape : tuple of int
    classes : int64 tensor, optional
        Broadcasts to ``shape``; default one class.
    numbers : tuple of int
        Of the stream of random numbers.

    Returns
    -------
    tensor of that shape
    """
    flat = kernel.expand(shape).reshape(-1)
    return flat[_order(flat, shape, classes, numbers)].reshape(shape)


def resigned(kernel: Tensor, shape: tuple[int, ...], classes: Tensor | None, numbers: Stream) -> Tensor:
    """Permute the signs of the entries that are not zero within their classes; see :func:`shuffled`."""
    flat = kernel.expand(shape).reshape(-1)
    signs = flat.detach().sign()
    return (flat.abs() * signs[_order(flat, shape, classes, numbers)]).reshape(shape)


def normal(kernel: Tensor, shape: tuple[int, ...], edges: Tensor | None, numbers: Stream) -> Tensor:
    """Draw the entries that are not zero from a normal distribution, and give them the mean and deviation they had.

    Parameters
    ----------
    kernel, shape, numbers
        As of :func:`shuffled`.
    edges : int64 tensor, optional
        How many edges carry each entry: the moments are those of the edges' weights. Broadcasts to ``shape``; default
        equally many.
    """
    values = as_numpy(kernel.expand(shape)).astype(np.float64).reshape(-1)
    share = np.ones(len(values)) if edges is None else edges.expand(shape).reshape(-1).numpy().astype(np.float64)
    places = np.flatnonzero(values)
    drawn = generator(numbers).standard_normal(len(places))
    if share[places].sum() > 0:
        mean, std = _moments(values[places], share[places])
        centre, spread = _moments(drawn, share[places])
        values[places] = mean + (drawn - centre) * (std / spread if spread > 0 else 0.0)
    return torch.from_numpy(values).to(kernel).reshape(shape)


def _moments(values: np.ndarray, share: np.ndarray) -> tuple[float, float]:
    mean = float(np.average(values, weights=share))
    return mean, float(np.sqrt(np.average(np.square(values - mean), weights=share)))


def _order(flat: Tensor, shape: tuple[int, ...], classes: Tensor | None, numbers: Stream) -> Tensor:
    """Say for each place where its entry comes from: a permutation of the places that are not zero."""
    random, size = generator(numbers), prod(shape)
    order = np.arange(size)
    places = np.flatnonzero(as_numpy(flat))
    if classes is None:
        order[places] = random.permutation(places)
    else:
        group = classes.expand(shape).reshape(-1).numpy()[places]
        by_class = places[np.argsort(group, kind="stable")]
        order[by_class] = places[np.lexsort((random.random(len(places)), group))]
    return torch.from_numpy(order).to(flat.device)
