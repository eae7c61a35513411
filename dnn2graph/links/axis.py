"""One axis of a linear map: which input position meets which output position, through which tap of the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np


class Sliding(NamedTuple):
    """The geometry of a convolution's axis, where torch's own kernels can run it."""

    stride: int
    dilation: int
    padding: int  # before the first position
    transposed: bool = False


class Window(NamedTuple):
    """What one output position gathers along an axis: each member weighs ``1 / divisor``."""

    members: np.ndarray  # input positions, those outside left out
    divisor: int
    reach: int  # positions of the whole window, those outside counted


class PaddedTable(NamedTuple):
    """For each input position its taps and outputs, in increasing order of output, padded to equal length."""

    tap: np.ndarray  # (inputs, most)
    target: np.ndarray  # (inputs, most)
    present: np.ndarray  # (inputs, most) bool
    counts: np.ndarray  # (inputs,)


class TapTable(NamedTuple):
    """For each output position its taps, padded to equal length, and the inputs that it meets through each."""

    tap: np.ndarray  # (outputs, most), or (1, taps) where some output meets every tap
    meets: np.ndarray  # (outputs, most, inputs) float64, zero where there is no triple


@dataclass(frozen=True, eq=False)
class Axis:
    """All triples (input position, tap, output position) of one axis.

    Padding, stride, dilation, transposition, pooling windows and ceil mode are nothing but different lists of
    triples: whatever falls outside is simply not in the list.

    Parameters
    ----------
    inputs, outputs, taps : int
        How many positions there are on either side, and how many entries the kernel has along this axis.
    source, tap, target : int64 arrays (triples,)
    sliding : Sliding, optional
        The regular geometry behind the triples, if there is one.
    reach : int64 array (taps,), optional
        For pooling windows, whose positions share one tap: how many positions a whole window has.
    """

    inputs: int
    outputs: int
    taps: int
    source: np.ndarray
    tap: np.ndarray
    target: np.ndarray
    sliding: Sliding | None = None
    reach: np.ndarray | None = None

    @classmethod
    def identity(cls, length: int) -> Axis:
        """Join each position to itself through a single tap."""
        return cls.convolution(length, length, 1, stride=1, dilation=1, padding=0)

    @classmethod
    def all_to_all(cls, inputs: int, outputs: int) -> Axis:
        """Join every input position to every output position through a single tap."""
        target, source = _grid(outputs, inputs)
        return cls(inputs, outputs, 1, source, np.zeros_like(source), target)

    @classmethod
    def linear(cls, matrix: np.ndarray) -> tuple[Axis, np.ndarray]:
        """Map positions by a matrix (outputs, inputs).

        Returns the axis and the weights of its taps: one tap for each different weight.
        """
        target, source = np.nonzero(matrix)
        weights, tap = np.unique(matrix[target, source], return_inverse=True)
        axis = cls(matrix.shape[1], matrix.shape[0], len(weights), source, tap.reshape(-1), target)
        return axis, weights

    @classmethod
    def convolution(cls, inputs: int, outputs: int, taps: int, *, stride: int, dilation: int, padding: int) -> Axis:
        """Slide a kernel: output ``y`` meets input ``y * stride - padding + tap * dilation``."""
        target, tap = _grid(outputs, taps)
        source = target * stride - padding + tap * dilation
        return cls._inside(inputs, outputs, taps, source, tap, target, Sliding(stride, dilation, padding))

    @classmethod
    def transposed(cls, inputs: int, outputs: int, taps: int, *, stride: int, dilation: int, padding: int) -> Axis:
        """Slide a kernel backwards: input ``x`` meets output ``x * stride - padding + tap * dilation``."""
        source, tap = _grid(inputs, taps)
        target = source * stride - padding + tap * dilation
        return cls._inside(inputs, outputs, taps, source, tap, target, Sliding(stride, dilation, padding, True))

    @classmethod
    def windows(cls, inputs: int, windows: Sequence[Window]) -> tuple[Axis, np.ndarray]:
        """Pool windows of positions.

        Returns the axis and the weights of its taps: one tap for each different kind of window.
        """
        kinds = np.array([(window.divisor, window.reach) for window in windows], np.int64).reshape(-1, 2)
        different, tap_of = np.unique(kinds, axis=0, return_inverse=True)
        lengths = [len(window.members) for window in windows]
        target = np.repeat(np.arange(len(windows)), lengths)
        source = np.concatenate([np.zeros(0, np.int64), *(window.members for window in windows)])
        tap = np.repeat(tap_of.reshape(-1), lengths)
        axis = cls(inputs, len(windows), len(different), source, tap, target, reach=different[:, 1])
        return axis, 1.0 / different[:, 0]

    @classmethod
    def _inside(
        cls,
        inputs: int,
        outputs: int,
        taps: int,
        source: np.ndarray,
        tap: np.ndarray,
        target: np.ndarray,
        sliding: Sliding | None,
    ) -> Axis:
        inside = (source >= 0) & (source < inputs) & (target >= 0) & (target < outputs)
        return cls(inputs, outputs, taps, source[inside], tap[inside], target[inside], sliding)

    @property
    def is_irregular(self) -> bool:
        """Whether its taps are neither those of a sliding kernel nor of pooling windows."""
        return self.sliding is None and self.reach is None

    @cached_property
    def met_by_source(self) -> np.ndarray:
        """How often each input meets each tap, float64 (inputs, taps)."""
        return _count(self.source, self.tap, (self.inputs, self.taps))

    @cached_property
    def met_by_target(self) -> np.ndarray:
        """How often each output meets each tap, float64 (outputs, taps)."""
        return _count(self.target, self.tap, (self.outputs, self.taps))

    @cached_property
    def by_source(self) -> PaddedTable:
        """The triples grouped by input position."""
        order = np.lexsort((self.target, self.source))
        source, tap, target = self.source[order], self.tap[order], self.target[order]
        counts = np.bincount(source, minlength=self.inputs)
        place = _places(counts)
        shape = (self.inputs, int(counts.max(initial=0)))
        taps, targets, present = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, bool)
        taps[source, place], targets[source, place], present[source, place] = tap, target, True
        return PaddedTable(taps, targets, present, counts)

    @cached_property
    def by_target(self) -> TapTable:
        """The triples grouped by output position: a 0/1 array, as wide as the taps of one position are many.

        Each position of an interpolation meets few of its taps, most of which are of one position alone.
        """
        pairs, pair = np.unique(self.target * self.taps + self.tap, return_inverse=True)
        target, tap = np.divmod(pairs, max(1, self.taps))
        counts = np.bincount(target, minlength=self.outputs)
        most = int(counts.max(initial=0))
        if most == self.taps:
            taps, place = np.arange(self.taps)[None], tap
        else:
            taps, place = np.zeros((self.outputs, most), np.int64), _places(counts)
            taps[target, place] = tap
        meets = np.zeros((self.outputs, most, self.inputs))
        np.add.at(meets, (self.target, place[pair.reshape(-1)], self.source), 1.0)
        return TapTable(taps, meets)


def _grid(positions: int, taps: int) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(np.arange(positions), taps), np.tile(np.arange(taps), positions)


def _places(counts: np.ndarray) -> np.ndarray:
    """Number the members of consecutive groups, each group from 0."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _count(position: np.ndarray, tap: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    counts = np.bincount(position * shape[1] + tap, minlength=shape[0] * shape[1])
    return counts.reshape(shape).astype(np.float64)
