"""Which entries of a kernel may change places without changing what a null model keeps.

A kernel entry is carried by many edges where a convolution is unrolled, and by fewer at borders. Entries are therefore
sorted into classes, and only those of one class change places: then what is kept is kept in the unrolled graph, for
every node and exactly.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ..links import Convolution, Links


def carried(links: Links) -> np.ndarray | None:
    """Count the edges that carry each entry of the kernel.

    Returns
    -------
    int64 array that broadcasts against the kernel, or None
        None where all entries are carried by equally many edges.
    """
    if links.is_irregular:
        size = prod(links.map.kernel_shape)
        counts = np.bincount(links.entries().weights, minlength=size).reshape(links.map.kernel_shape)
    else:
        counts = links.map.multiplicities()
    return None if counts.size == 0 or (counts == counts.flat[0]).all() else counts


def meeting(links: Links, end: str) -> np.ndarray:
    """Number the sets of nodes that the entries of a kernel meet at one end of their edges.

    Parameters
    ----------
    links : Links
    end : {"source", "target"}

    Returns
    -------
    int64 array that broadcasts against the kernel
        Entries with the same number meet the same nodes, each equally often: exchanging them changes no sum of weights
        at that end.
    """
    if links.is_irregular or not isinstance(links.map, Convolution):
        return _listed(links, end)
    return _regular(links.map, end)


def _regular(geometry: Convolution, end: str) -> np.ndarray:
    """Number channels and, along each axis, the taps that meet the same positions."""
    outs, ins = geometry.kernel_shape[:2]
    if end == "target":
        classes = np.arange(outs).reshape(-1, 1)
    else:
        group = np.arange(outs) // (outs // geometry.groups)
        classes = group[:, None] * ins + np.arange(ins) if geometry.groups > 1 else np.arange(ins).reshape(1, -1)
    for axis in geometry.axes:
        met = axis.met_by_target if end == "target" else axis.met_by_source
        different, which = np.unique(met, axis=1, return_inverse=True)
        classes = classes[..., None] * different.shape[1] + which.reshape(-1)
    return classes


def _listed(links: Links, end: str) -> np.ndarray:
    """Compare the nodes that each entry meets by sums of random numbers of theirs, 64 bits wide."""
    pairs = links.entries()
    nodes, node = np.unique(pairs.sources if end == "source" else pairs.targets, return_inverse=True)
    marks = np.random.default_rng(0).integers(0, 2**64, len(nodes), np.uint64)
    size = prod(links.map.kernel_shape)
    sums = np.zeros(size, np.uint64)
    np.add.at(sums, pairs.weights, marks[node])  # wraps around, as sums of hashes may
    return np.unique(sums, return_inverse=True)[1].reshape(links.map.kernel_shape)
