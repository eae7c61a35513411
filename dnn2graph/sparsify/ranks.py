"""How strong the strongest edges of each node are, found on the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from ..links import Axis, Convolution, Links
from ..links.sums import as_numpy
from ..nodes import Nodes

CHUNKS = 8  # for each rank: of so many largest values of chunks, the k-th is close to the k-th of all


def strong_bounds(links: Links, k: int, at_source: np.ndarray, at_target: np.ndarray) -> None:
    """Raise bounds of nodes to the |w| of their k-th strongest edge among some links, or to a little less.

    Parameters
    ----------
    links : Links
    k : int
    at_source, at_target : float64 arrays (nodes,)
        Are changed. A node with fewer than k edges of these links keeps its bound, and so do all nodes of irregular
        links and of lists of edges.
    """
    geometry = links.map
    if links.is_irregular or not isinstance(geometry, Convolution) or not prod(geometry.kernel_shape):
        return
    kernel = as_numpy(links.kernel()).reshape(*geometry.kernel_shape[:2], -1)  # (out, in / groups, taps)
    of_input, of_output = _largest(kernel, geometry.groups, CHUNKS * k)  # (channels, chunks, taps)
    for nodes, largest, side, shape in (
        (links.source_nodes, of_input, at_source, geometry.in_shape),
        (links.target_nodes, of_output, at_target, geometry.out_shape),
    ):
        found = np.zeros((shape[1], prod(shape[2:])))
        for places, taps in _alike(geometry.axes, side is at_source):
            found[:, places] = _kth(largest[..., taps].reshape(len(largest), -1), k)[:, None]
        _raise_to(nodes, np.broadcast_to(found, (shape[0], *found.shape)).reshape(-1), side)


def _largest(kernel: np.ndarray, groups: int, chunks: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut the edges of every channel into chunks and take the largest |w| of each chunk, for each tap.

    Returns
    -------
    of_input : array (in, chunks, taps)
    of_output : array (out, chunks, taps)
    """
    out, per_in, taps = kernel.shape
    if groups > 1:  # small: every edge is its own chunk
        grouped = np.abs(kernel).reshape(groups, -1, per_in, taps)
        return grouped.swapaxes(1, 2).reshape(groups * per_in, -1, taps), grouped.reshape(out, per_in, taps)
    rows, width = -(-out // chunks), -(-per_in // chunks)
    whole = per_in // width * width
    of_input = np.empty((-(-out // rows), per_in, taps), kernel.dtype)
    of_output = np.empty((out, -(-per_in // width), taps), kernel.dtype)
    for place, begin in enumerate(range(0, out, rows)):
        part = np.abs(kernel[begin : begin + rows])
        part.max(axis=0, out=of_input[place])
        # The chunk of an in-channel is its number modulo the number of chunks: maxima then run along memory.
        folded = part[:, :whole].reshape(len(part), width, -1, taps)
        folded.max(axis=1, out=of_output[begin : begin + rows, : whole // width])
        if whole < per_in:
            part[:, whole:].max(axis=1, out=of_output[begin : begin + rows, -1])
    return of_input.swapaxes(0, 1), of_output


def _alike(axes: tuple[Axis, ...], sources: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Group the positions that meet the same taps: flat positions, flat taps."""
    groups: list[tuple[np.ndarray, np.ndarray]] = [(np.zeros(1, np.int64), np.zeros(1, np.int64))]
    for axis in axes:
        met = (axis.met_by_source if sources else axis.met_by_target) > 0
        kinds, kind = np.unique(met, axis=0, return_inverse=True)
        here = [(np.flatnonzero(kind.reshape(-1) == i), np.flatnonzero(row)) for i, row in enumerate(kinds)]
        length = len(met)
        groups = [
            ((p[:, None] * length + q).reshape(-1), (s[:, None] * axis.taps + t).reshape(-1))
            for p, s in groups
            for q, t in here
        ]
    return iter(groups)


def _kth(values: np.ndarray, k: int) -> np.ndarray:
    """Return the k-th largest value of each row; 0 where there are fewer."""
    if values.shape[1] < k:
        return np.zeros(len(values))
    return np.partition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k]


def _raise_to(nodes: Nodes, values: np.ndarray, bounds: np.ndarray) -> None:
    where = slice(nodes.start, nodes.start + nodes.size) if nodes.is_range else nodes.flat
    bounds[where] = np.maximum(bounds[where], values)
