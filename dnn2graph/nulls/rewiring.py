"""Other edges between the same two layers: every node keeps its number of edges, in and out.

Edges are traded by the curveball algorithm, whose trades draw every wiring with these degrees equally often in the long
run: two sources put the targets that only one of them has together, and deal them out again at random, as many to each
as before. An edge's weight stays with its source, therefore out-strengths are kept too, as in randmio_dir of the Brain
Connectivity Toolbox.

References
----------
Strona, Nappo, Boccacci, Fattorini, San-Miguel-Ayanz 2014, "A fast and unbiased procedure to randomize ecological binary
matrices with fixed row and column totals"; Carstens, Berger, Strona 2016, "Curveball: a new generation of sampling
algorithms for graphs with fixed degree sequence"; Carstens et al. 2018, "Parallel and I/O-efficient randomisation of
massive networks using global curveball trades" (rounds in which every source trades once).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from math import prod

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..links import Convolution, Links, Listed
from ..links.sums import as_numpy
from ..sparsify.graph import picked_entries
from ..weights import Call
from .streams import Stream, generator

ROUNDS = 20  # in each of which every source trades once; a chain of as many trades as are called plenty is five


def rewired(links: Links, numbers: Stream) -> Links:
    """Rewire links.

    A list of edges gets other targets. Of a convolution the kernel does: pairs of channels trade, each with all its
    taps, if all pairs that are linked have the same taps; otherwise every tap trades by itself, which is what keeps the
    degrees at every position.
    """
    shape = links.map.kernel_shape
    if links.is_irregular:
        name = links.target.name if links.target else "?"
        raise InputError(
            f"links to layer {name!r} cannot be rewired in place, since several taps of their kernel join the same two "
            "nodes or meet no node: list their edges first, with dnn2graph.sparsify(graph, threshold=0)"
        )
    if isinstance(links.map, Convolution):
        return replace(links, weight=Call(rewired_kernel, (links.weight, shape, links.map.groups, numbers)))
    assert isinstance(links.map, Listed)
    source, target = links.map.source, traded(links.map.source, links.map.target, generator(numbers))
    order = np.lexsort((target, source))
    geometry = replace(links.map, source=source[order], target=target[order])
    weight = Call(picked_entries, (links.weight, shape, torch.from_numpy(order)))
    return replace(links, map=geometry, weight=weight)


def rewired_kernel(kernel: Tensor, shape: tuple[int, ...], groups: int, numbers: Stream) -> Tensor:
    """Rewire a kernel (out, in / groups, *taps)."""
    pairs = kernel.expand(shape).reshape(prod(shape[:2]), prod(shape[2:]))  # (out * in / groups, taps)
    random = generator(numbers)
    order = np.arange(len(pairs))[:, None].repeat(pairs.shape[1], axis=1)  # where the entry of each place comes from
    for taps, source, target in _wirings(kernel, shape, groups):
        after = traded(source, target, random)
        here, there = (_place(source, ends, shape) for ends in (target, after))
        vacated, taken = np.setdiff1d(here, there), np.setdiff1d(there, here)
        for tap in taps:
            order[there, tap] = here
            order[vacated, tap] = taken  # the zeros of the places that edges moved to
    return pairs.gather(0, torch.from_numpy(order).to(pairs.device)).reshape(shape)


def can_be_rewired(links: Links) -> bool:
    """Whether there is another wiring with the same degrees: not where every pair of nodes is linked, or none.

    Sources cannot trade if their sets of targets contain each other. If that holds for all, each set contains the next
    smaller one.
    """
    if isinstance(links.map, Listed):
        return _can_trade(links.map.source, links.map.target)
    assert isinstance(links.map, Convolution)
    wirings = _wirings(links.kernel(), links.map.kernel_shape, links.map.groups)
    return any(_can_trade(source, target) for _, source, target in wirings)


def traded(source: np.ndarray, target: np.ndarray, random: np.random.Generator, rounds: int = ROUNDS) -> np.ndarray:
    """Trade the targets of edges.

    Parameters
    ----------
    source, target : int64 arrays (edges,)
        Sorted by source; no pair twice.
    random : Generator
    rounds : int
        In each of which every source trades once.

    Returns
    -------
    int64 array (edges,)
        The targets afterwards, in the order of the edges. No pair is there twice.
    """
    sets = _sets(source, target)
    mark = np.zeros(int(target.max(initial=-1)) + 1, bool)
    for _ in range(rounds):
        turn = random.permutation(len(sets))
        for a, b in zip(turn[::2].tolist(), turn[1::2].tolist(), strict=False):
            only_a, only_b = _not_in(sets[a], sets[b], mark), _not_in(sets[b], sets[a], mark)
            if len(only_a) and len(only_b):
                pool = random.permutation(np.concatenate([sets[a][only_a], sets[b][only_b]]))
                sets[a][only_a], sets[b][only_b] = pool[: len(only_a)], pool[len(only_a) :]
    return np.concatenate([np.zeros(0, np.int64), *sets])


def _wirings(kernel: Tensor, shape: tuple[int, ...], groups: int) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """List what trades apart from all else: which taps, and the sources and targets of its edges, by channel.

    Channels of different groups never have edges in common, and could not be given any: they are listed apart.
    """
    outs, ins = shape[:2]
    present = as_numpy(kernel.expand(shape)).reshape(outs, ins, prod(shape[2:])) != 0
    linked = present.any(2)
    patterns = present[linked]  # (linked pairs, taps)
    if len(patterns) and (patterns == patterns[0]).all():
        wirings = [(list(range(present.shape[2])), linked)]
    else:
        wirings = [([tap], present[:, :, tap]) for tap in range(present.shape[2])]
    for taps, matrix in wirings:
        for group, of_group in enumerate(np.split(matrix, groups)):
            source, target = np.nonzero(of_group.T)  # sorted by source
            yield taps, source + group * ins, target + group * (outs // groups)


def _place(source: np.ndarray, target: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Find the pairs of channels in a kernel (out, in / groups)."""
    return target * shape[1] + source % shape[1]


def _sets(source: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
    """Split the targets by source; each a copy."""
    return [part.copy() for part in np.split(target, np.flatnonzero(np.diff(source)) + 1)] if len(source) else []


def _not_in(one: np.ndarray, other: np.ndarray, mark: np.ndarray) -> np.ndarray:
    """Find the places of what is in one set only; ``mark`` is all false, and will be."""
    mark[other] = True
    places = np.flatnonzero(~mark[one])
    mark[other] = False
    return places


def _can_trade(source: np.ndarray, target: np.ndarray) -> bool:
    sets = sorted(_sets(source, target), key=len)
    mark = np.zeros(int(target.max(initial=-1)) + 1, bool)
    return any(len(_not_in(small, large, mark)) for small, large in pairwise(sets))
