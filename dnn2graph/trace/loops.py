"""Loops that are folded: the state that a loop computes leads back to where the one that it began with is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..graph import Layer
from ..links import Links
from .ids import has_gaps
from .recurrence import State

if TYPE_CHECKING:
    from .watch import Watch


class Step(NamedTuple):
    """A step of a loop that was watched: the nodes that it reads, those of the state that it computes, what it met."""

    read: list[Tensor]
    made: list[Tensor]
    met: Counter[tuple[str, str | None]]


class Loops:
    """The recurrent loops of a watched run whose steps are the same neurons.

    A loop begins with values that may be no neurons. They are nodes for the time being, so that its first step reads
    what every later one reads; :meth:`close` lets the nodes of the final state take their place.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._initial: dict[int, Layer] = {}  # layers of values that are nodes for the time being, by their first node
        self._steps: dict[Hashable, Step] = {}  # the last one watched of each module
        # The nodes that a loop begins with, those that it ends with, and how many links there were before.
        self._ends: list[tuple[np.ndarray, np.ndarray, int]] = []

    def begin(self, state: Tensor) -> Tensor:
        """Give initial values that are no neurons nodes; what is learned keeps its own."""
        watch = self._watch
        if watch.is_neuron(state):
            return state
        learned = watch.expressions.depends_on_parameters([state])
        ids = watch.as_neurons(state) if learned else None
        state = state.clone()
        if ids is None:
            local = watch.new_by_axis(state.shape, -1)
            layer = watch.add_layer("initial", "constant", state.shape, int(local.max()) + 1)
            self._initial[layer.start] = layer
            ids = local + layer.start
        watch.node_ids.write(state, ids)
        return state

    def step(self, compute: Callable[[], State], reads: Sequence[Tensor]) -> State:
        """Compute the next state; a step that reads the nodes that the last one read is that one over again.

        In position granularity it is watched all the same, as is one that reads values that are no neurons.
        """
        watch = self._watch
        if watch.by_position or not all(map(watch.is_neuron, reads)):
            return compute()
        with watch.resting():
            read = [watch.node_ids.read(value) for value in reads]
            known = self._steps.get(watch.modules.key)
            if known is not None and all(map(torch.equal, known.read, read)):
                state = compute()
                for value, ids in zip(state, known.made, strict=True):
                    watch.node_ids.write(value, ids)
                watch.met.update(known.met)
                return state
        before = watch.met.copy()
        state = compute()
        with watch.resting():
            if not any(map(has_gaps, read)):  # else constants among the neurons count too
                made = [watch.node_ids.read(value) for value in state]
                self._steps[watch.modules.key] = Step(read, made, watch.met - before)
        return state

    def end(self, begin: Tensor, end: Tensor, since: int) -> None:
        """Take down which state a loop computed from which, and how many links there were before it."""
        watch = self._watch
        if watch.is_neuron(begin):
            begin = begin[: len(end)] if begin.shape != end.shape else begin
            ends = [watch.node_ids.read(state).clone().reshape(-1).numpy() for state in (begin, end)]
            self._ends.append((ends[0], ends[1], since))

    def close(self) -> None:
        """Lead back. Initial values that are no neurons disappear; a loop that ran once only has not led back yet."""
        if not self._ends:
            return
        watch = self._watch
        watch.folded = True
        table = np.arange(watch.count)
        for begin, end, since in self._ends:
            if begin[0] in self._initial:
                table[begin] = end
            else:
                self._lead_back(begin, end, since)
        kept: list[Links] = []
        for links in watch.links:
            moved = links.source_nodes.renumbered(table)
            if (moved.flat != links.source_nodes.flat).any():
                links = replace(links, source_nodes=moved, kind="recurrent")
                if watch.has_same(links):
                    continue
            kept.append(links)
        watch.links[:] = kept
        watch.layers[:] = [
            replace(layer, operands=tuple(nodes.renumbered(table) for nodes in layer.operands))
            for layer in watch.layers
            if layer.start not in self._initial
        ]

    def _lead_back(self, begin: np.ndarray, end: np.ndarray, since: int) -> None:
        """Add to the links by which a loop reads the state that it was given those from the state that it computes."""
        watch = self._watch
        table = np.arange(watch.count)
        table[begin[begin >= 0]] = end[begin >= 0]
        for links in watch.links[since:]:
            if links.source_nodes.size and np.isin(links.source_nodes.flat, begin).all():
                back = replace(links, source_nodes=links.source_nodes.renumbered(table), kind="recurrent")
                if not watch.has_same(back):
                    watch.links.append(back)
