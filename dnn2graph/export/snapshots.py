"""Snapshots of a training: the weights of a graph's links step by step, read when they are used.

All snapshots have the same links. Their kernels are unrolled side by side, so that each edge comes with its weight at
every step, and no snapshot is ever unrolled as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from ..errors import InputError, WeightsError
from ..graph import NeuralGraph
from ..links import EdgeBlock, Links
from ..links.sums import as_numpy
from ..load.layers import without_prefixes
from ..load.state_dict import read_state_dict
from ..measures.attributes import node_numbers
from ..weights import Weights
from .nodes import isolated_nodes
from .series import Series
from .text import BLOCK

Given = Weights | NeuralGraph | nn.Module | str | Path
Snapshot = Given | Callable[[], Given]

MEASURES = ("strength", "strength_in", "strength_out")
TOGETHER = 1 << 26  # bytes of kernels that are read from each snapshot at a time


class TimedEdges(NamedTuple):
    """Some edges with their weights at every step; each edge has a weight other than zero at one of them at least."""

    sources: np.ndarray  # node ids, int64 (edges,)
    targets: np.ndarray  # node ids, int64 (edges,)
    weights: list[np.ndarray]  # of each step (edges,): signed, in the snapshot's own precision; zero: no edge then
    pairs: int  # how many pairs of nodes were looked at


class Survey(NamedTuple):
    """What all snapshots say about the nodes."""

    isolated: np.ndarray  # bool (nodes,): without an edge at every step
    series: list[Series]


class Snapshots:
    """A graph with other weights at each step.

    Parameters
    ----------
    graph : NeuralGraph
    given : mapping from step to snapshot
        A state dict, a model, a graph of the same model, the path of a file that holds a state dict, or a function
        without arguments that returns one of these. It is read, or called, when the weights are needed, which is
        several times.

    Attributes
    ----------
    steps : tuple of int
        In ascending order.

    Raises
    ------
    InputError
        If there is none, or a step is no whole number.
    """

    def __init__(self, graph: NeuralGraph, given: Mapping[int, Snapshot]) -> None:
        if not given:
            raise InputError("there is no snapshot: give one at least, as {step: state_dict}")
        if wrong := [step for step in given if isinstance(step, bool) or not isinstance(step, int | np.integer)]:
            raise InputError(f"snapshots have the step {wrong[0]!r}, which is no whole number: count steps or epochs")
        self._graph, self._given = graph, given
        self._needed = frozenset(graph.parameters())
        self._held: frozenset[str] | None = None  # by every snapshot, of what is needed
        self.steps = tuple(sorted(int(step) for step in given))

    def at(self, step: int) -> NeuralGraph:
        """Give the graph with the weights of a step.

        Raises
        ------
        WeightsError
            If they do not fit the graph; the message names the step.
        InputError
            If the snapshot is nothing that holds weights, or the graph none that can be given other weights.
        """
        weights = _weights_of(self._given[step], step)
        if not self._needed <= weights.keys():
            weights = without_prefixes(weights)
        with _naming(step):
            self._check_names(frozenset(weights))
            return self._graph.with_weights(weights)

    def _check_names(self, names: frozenset[str]) -> None:
        """Raise WeightsError if parameters are missing that other snapshots hold, or all of them."""
        held = self._needed & names
        if self._needed and not held:
            raise WeightsError(
                f"it holds none of the graph's parameters, such as {min(self._needed)!r}: give weights of the model "
                "that was traced"
            )
        if self._held is None:
            self._held = held
        elif held != self._held:
            raise WeightsError(f"{min(held ^ self._held)!r} is in some snapshots only: give weights of one model")

    def survey(self, kinds: Collection[str] | None = None, measures: Collection[str] = ()) -> Survey:
        """Read every snapshot once: check its weights, and take measures of its nodes.

        Raises
        ------
        WeightsError
            If weights do not fit, or are NaN or infinite; the message names the step and the layer.
        InputError
            If a measure is unknown.
        """
        measures = [measures] if isinstance(measures, str) else list(measures)
        if unknown := [name for name in measures if name not in MEASURES]:
            raise InputError(f"snapshots have no node measure {unknown[0]!r}: they have {', '.join(MEASURES)}")
        isolated = np.ones(len(self._graph), bool)
        values = {name: np.empty((len(self.steps), len(self._graph))) for name in measures}
        for place, step in enumerate(self.steps):
            graph = self.at(step)
            with _naming(step):
                numbers = node_numbers(graph, kinds)
            isolated &= isolated_nodes(graph, kinds)
            for name in measures:
                values[name][place] = numbers[name]
        steps = np.array(self.steps, np.int64)
        return Survey(isolated, [Series(name, steps, values[name]) for name in measures])

    def number_of_edges(self, kinds: Collection[str] | None = None) -> int:
        """Count the edges that are there at one of the steps at least."""
        return sum(len(edges.sources) for _, edges in self.edges(kinds))

    def number_of_pairs(self, kinds: Collection[str] | None = None) -> int:
        """Count the pairs of nodes that the links may join, from their geometry alone."""
        return sum(_pairs(links) for links in self._graph.select(kinds))

    def edges(self, kinds: Collection[str] | None = None) -> Iterator[tuple[Links, TimedEdges]]:
        """List the edges that are there at one of the steps at least, links by links, in blocks.

        Memory holds one snapshot, and of the links that are listed their weights at every step. Only where a node
        stands in several elements of links are all edges of those links held, since their weights are sums.
        """
        chosen = self._graph.select(kinds)
        for group in _groups(chosen, len(self.steps)):
            unrolled = [self._unrolled(step, kinds, group) for step in self.steps]
            for place, links in enumerate(chosen[group]):
                for edges in _side_by_side(links, [each[place] for each in unrolled]):
                    yield links, edges

    def _unrolled(self, step: int, kinds: Collection[str] | None, group: slice) -> list[np.ndarray | EdgeBlock]:
        """Give of some links at a step the kernel, or the merged edges where nodes stand in several elements."""
        links = self.at(step).select(kinds)[group]
        return [each.coo() if _merges(each) else as_numpy(each.kernel()) for each in links]


@contextmanager
def _naming(step: int) -> Iterator[None]:
    """Say of which snapshot an error is."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"snapshot {step}: {error}") from error


def _weights_of(snapshot: Snapshot, step: int) -> Weights:
    """Read the weights of a snapshot."""
    if callable(snapshot) and not isinstance(snapshot, nn.Module):
        snapshot = snapshot()
    if isinstance(snapshot, str | Path):
        return read_state_dict(snapshot)
    if isinstance(snapshot, NeuralGraph):
        return snapshot.weights
    if isinstance(snapshot, nn.Module):
        return dict(snapshot.state_dict())
    if isinstance(snapshot, Mapping):
        return snapshot
    raise InputError(
        f"snapshot {step} is a {type(snapshot).__name__}: give a state dict, a model, the path of a state dict, or a "
        "function that returns one"
    )


def _merges(links: Links) -> bool:
    """Whether two pairs of elements may be the same pair of nodes."""
    return links.source_nodes.has_repeats or links.target_nodes.has_repeats


def _pairs(links: Links) -> int:
    return int(links.map.row_counts().sum())


def _groups(chosen: Sequence[Links], steps: int) -> Iterator[slice]:
    """Group neighbouring links, so that each snapshot is read as seldom as memory allows."""
    begin = held = 0
    for place, links in enumerate(chosen):
        size = steps * (24 * _pairs(links) if _merges(links) else links.dtype.itemsize * prod(links.map.kernel_shape))
        if place > begin and held + size > TOGETHER:
            yield slice(begin, place)
            begin, held = place, 0
        held += size
    if len(chosen) > begin:
        yield slice(begin, len(chosen))


def _side_by_side(links: Links, unrolled: Sequence[np.ndarray | EdgeBlock]) -> Iterator[TimedEdges]:
    """List the edges of one links with their weights at every step."""
    kernels = [each for each in unrolled if isinstance(each, np.ndarray)]
    size = max(1, BLOCK // len(unrolled))
    if not kernels:
        yield from _aligned([each for each in unrolled if isinstance(each, EdgeBlock)], size, _pairs(links))
        return
    sources, targets = links.source_nodes.flat, links.target_nodes
    for blocks in zip(*(links.map.rows(kernel, size) for kernel in kernels), strict=True):
        weights = [block.weights.reshape(-1) for block in blocks]
        row, target = np.arange(blocks[0].counts.size) + blocks[0].first, blocks[0].targets.reshape(-1)
        source = np.repeat(sources[row], blocks[0].counts.reshape(-1))
        keep = np.any([each != 0 for each in weights], axis=0) & (source >= 0)  # below 0: no node
        target = target[keep]
        target = target.astype(np.int64) + targets.start if targets.is_range else targets.flat[target]
        yield TimedEdges(source[keep], target, [each[keep] for each in weights], len(keep))


def _aligned(blocks: Sequence[EdgeBlock], size: int, pairs: int) -> Iterator[TimedEdges]:
    """Bring edges that were listed for each step by itself together."""
    span = 1 + max(int(block.targets.max(initial=0)) for block in blocks)
    keys = [block.sources * span + block.targets for block in blocks]
    all_keys = np.unique(np.concatenate(keys))
    columns = [np.zeros(len(all_keys), block.weights.dtype) for block in blocks]
    for column, key, block in zip(columns, keys, blocks, strict=True):
        column[np.searchsorted(all_keys, key)] = block.weights
    sources, targets = np.divmod(all_keys, span)
    for begin in range(0, max(1, len(all_keys)), size):
        rows = slice(begin, begin + size)
        yield TimedEdges(sources[rows], targets[rows], [each[rows] for each in columns], 0 if begin else pairs)
