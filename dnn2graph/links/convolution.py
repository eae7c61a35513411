"""The linear map behind almost every link: a grouped convolution over any number of axes.

A dense matrix is a convolution without axes; batch-norm one with a group per channel and one tap; average pooling
one whose kernel is constant; a residual sum one whose kernel is 1. One class serves them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .axis import Axis, Sliding
from .sums import kernel_sums, tensor_sums

Numbers = TypeVar("Numbers", np.ndarray, Tensor)
BLOCK_EDGES = 1 << 18  # edges unrolled at a time: large enough for numpy, small enough for the cache


class RowBlock(NamedTuple):
    """Consecutive rows of the unrolled map, ``groups`` of equal structure: input element to output elements."""

    first: int  # flat index of the first input element
    counts: np.ndarray  # (groups, rows) edges of each row
    targets: np.ndarray  # (groups, edges) flat index of the output element
    weights: np.ndarray  # (groups, edges)


@dataclass(frozen=True, eq=False)
class Convolution:
    """Apply a kernel ``(out, in / groups, *taps)`` to ``(copies, in, *positions)``.

    Parameters
    ----------
    in_channels, out_channels, groups : int
    axes : tuple of Axis
        One for each positional axis; none for a dense matrix.
    copies : int
        How often the same map stands side by side (tokens of a sequence, elements of a sum).
    """

    in_channels: int
    out_channels: int
    axes: tuple[Axis, ...] = ()
    groups: int = 1
    copies: int = 1

    @cached_property
    def in_shape(self) -> tuple[int, ...]:
        """(copies, in channels, *input positions)."""
        return (self.copies, self.in_channels, *(axis.inputs for axis in self.axes))

    @cached_property
    def out_shape(self) -> tuple[int, ...]:
        """(copies, out channels, *output positions)."""
        return (self.copies, self.out_channels, *(axis.outputs for axis in self.axes))

    @cached_property
    def kernel_shape(self) -> tuple[int, ...]:
        """(out channels, in channels / groups, *taps)."""
        return (self.out_channels, self.in_channels // self.groups, *(axis.taps for axis in self.axes))

    # ------------------------------------------------------------------ the operator

    def apply(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Map (batch, *in_shape) to (batch, *out_shape)."""
        batch = len(x)
        if not prod(self.out_shape) or not prod(self.in_shape):
            return x.new_zeros(batch, *self.out_shape)
        x = x.reshape(-1, *self.in_shape[1:])  # (batch * copies, in, *positions)
        slides = [axis.sliding for axis in self.axes if axis.sliding is not None]
        regular = len(slides) == len(self.axes) <= 3
        if not self.axes:
            y = self._apply_dense(x, kernel)
        elif regular and not any(slide.transposed for slide in slides):
            y = self._apply_convolution(x, kernel, slides)
        elif regular and all(slide.transposed for slide in slides):
            y = self._apply_transposed(x, kernel, slides)
        else:
            y = self._apply_tables(x, kernel)
        return y.reshape(batch, *self.out_shape)

    def _apply_dense(self, x: Tensor, kernel: Tensor) -> Tensor:
        if self.groups == 1:
            return x @ kernel.T
        grouped = kernel.reshape(self.groups, -1, kernel.shape[1])  # (groups, out, in)
        return torch.einsum("bgi,goi->bgo", x.reshape(len(x), self.groups, -1), grouped)

    def _apply_convolution(self, x: Tensor, kernel: Tensor, slides: Sequence[Sliding]) -> Tensor:
        padding: list[int] = []  # innermost axis first; a negative number crops
        for axis, slide in zip(reversed(self.axes), reversed(slides), strict=True):
            reach = (axis.outputs - 1) * slide.stride + (axis.taps - 1) * slide.dilation + 1
            padding += [slide.padding, reach - slide.padding - axis.inputs]
        x = _pad(x, padding)
        strides, dilations = [s.stride for s in slides], [s.dilation for s in slides]
        return _CONVOLVE[len(slides)](x, kernel, None, strides, 0, dilations, self.groups)

    def _apply_transposed(self, x: Tensor, kernel: Tensor, slides: Sequence[Sliding]) -> Tensor:
        grouped = kernel.reshape(self.groups, -1, *kernel.shape[1:]).transpose(1, 2)  # (groups, in, out, *taps)
        strides, dilations = [s.stride for s in slides], [s.dilation for s in slides]
        y = _TRANSPOSE[len(slides)](x, grouped.flatten(0, 1), None, strides, 0, 0, self.groups, dilations)
        padding: list[int] = []
        for axis, slide, length in zip(reversed(self.axes), reversed(slides), reversed(y.shape[2:]), strict=True):
            padding += [-slide.padding, axis.outputs + slide.padding - length]
        return _pad(y, padding)

    def _apply_tables(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Contract each axis with its table, then channels and taps with what each position meets of the kernel."""
        tables = [axis.by_target for axis in self.axes]
        x = x.unflatten(1, (self.groups, self.in_channels // self.groups))  # (batch, groups, in, *positions)
        kernel = kernel.unflatten(0, (self.groups, self.out_channels // self.groups))  # (groups, out, in, *taps)
        for place, table in enumerate(tables):
            meets = torch.as_tensor(table.meets, dtype=x.dtype, device=x.device)  # (outputs, most, inputs)
            x = torch.tensordot(x, meets, dims=([3], [2]))  # moves this axis to the end, as (outputs, most)
            tap = torch.as_tensor(table.tap, device=x.device)
            kernel = kernel.index_select(3 + 2 * place, tap.reshape(-1)).unflatten(3 + 2 * place, tap.shape)
        batch, group, source, target, *places = range(4 + 2 * len(tables))  # places: output and tap of each axis
        read, weighed = [batch, group, source, *places], [group, target, source, *places]
        return torch.einsum(x, read, kernel, weighed, [batch, group, target, *places[::2]])

    # ------------------------------------------------------------------ measures, in closed form

    def sums(self, kernel: Tensor, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Sum the edges into each output element and out of each input element, without unrolling.

        Returns float64 arrays ``L(1)`` (out_shape) and ``Lᵀ(1)`` (in_shape), where ``L`` has the given ``part`` of
        each weight (see :func:`~dnn2graph.links.sums.kernel_sums`).
        """
        return self._by_position(*kernel_sums(kernel, self.groups, part))

    def tensor_sums(self, kernel: Tensor, part: str) -> tuple[Tensor, Tensor]:
        """Sum as :meth:`sums` does, in torch operations that autograd follows and in the kernel's precision."""
        return self._by_position(*tensor_sums(kernel, self.groups, part))

    def _by_position(self, per_output: Numbers, per_input: Numbers) -> tuple[Numbers, Numbers]:
        """Turn sums by channel and tap, (out, *taps) and (in, *taps), into sums by channel and position."""
        for axis in self.axes:
            per_output = _taps_to_positions(per_output, axis.met_by_target)
            per_input = _taps_to_positions(per_input, axis.met_by_source)
        return _broadcast(per_output, self.out_shape), _broadcast(per_input, self.in_shape)

    def multiplicities(self) -> np.ndarray:
        """How many edges carry each entry of the kernel; int64, broadcasts against it."""
        counts = np.full((1, 1), self.copies, np.int64)
        for axis in self.axes:
            counts = counts[..., None] * np.bincount(axis.tap, minlength=axis.taps)
        return counts

    # ------------------------------------------------------------------ the list of edges

    def row_counts(self) -> np.ndarray:
        """Count the edges out of each input element, int64 (in_shape)."""
        counts = np.full((), self.out_channels // self.groups, np.int64)
        for axis in self.axes:
            counts = counts[..., None] * axis.by_source.counts
        return np.broadcast_to(counts, self.in_shape)

    def rows(self, kernel: np.ndarray, block_edges: int = BLOCK_EDGES) -> Iterator[RowBlock]:
        """Unroll, row by row (an input element and its edges), in blocks of about ``block_edges`` edges.

        Every in-channel has the same structure. It is built once, as a template of output elements and kernel
        entries; a channel's weights are then one ``take``.
        """
        positions, out_positions = prod(self.in_shape[2:]), prod(self.out_shape[2:])
        if not positions or not out_positions or not self.copies or not kernel.size:
            return
        channels = np.arange(self.copies * self.in_channels)
        copy, channel = channels // self.in_channels, channels % self.in_channels
        group, place = channel // (self.in_channels // self.groups), channel % (self.in_channels // self.groups)
        offset = ((copy * self.groups + group) * (self.out_channels // self.groups) * out_positions).astype(self._index)
        # (groups, in / groups, out / groups, taps), a view: no more than one block's entries are ever copied
        grouped = kernel.reshape(self.groups, -1, kernel.shape[1], prod(kernel.shape[2:])).swapaxes(1, 2)
        edges = int(self.row_counts().reshape(-1, positions)[0].sum())
        leading = self.axes[0].inputs if self.axes else 1
        step = leading if edges <= block_edges else max(1, leading * block_edges // edges)
        for begin in range(0, leading, step):
            counts, target, entry = self._template(begin, min(begin + step, leading))
            in_order = np.array_equal(entry, np.arange(grouped[0, 0].size))
            first = begin * (positions // leading)
            together = max(1, block_edges // max(1, len(target))) if step == leading else 1
            for m in range(0, len(channels), together):
                block = slice(m, m + together)
                entries = _entries(grouped, group[block], place[block])
                yield RowBlock(
                    m * positions + first,
                    np.broadcast_to(counts, (len(entries), len(counts))),
                    target + offset[block, None],
                    entries if in_order else np.take(entries, entry, axis=1, mode="clip"),
                )

    @property
    def _index(self) -> type[np.signedinteger]:
        """The type of output elements' flat indices: half the bytes wherever they fit."""
        return np.int32 if prod(self.out_shape) < 2**31 else np.int64

    def _template(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edges of one in-channel from positions ``begin:end`` of the first axis: counts, targets, kernel entries."""
        out_per_group = self.out_channels // self.groups
        axes = len(self.axes)
        dims = 2 * axes + 1  # (position, …, out channel, choice, …)
        target = np.arange(out_per_group, dtype=self._index).reshape(_along(axes, dims)) * prod(self.out_shape[2:])
        entry = np.arange(out_per_group).reshape(_along(axes, dims)) * prod(self.kernel_shape[2:])
        present = np.ones((1,) * dims, bool)
        counts = np.full((), out_per_group, np.int64)
        for place, axis in enumerate(self.axes):
            table, part = axis.by_source, slice(begin, end) if place == 0 else slice(None)
            counts = counts[..., None] * table.counts[part]
            shape = [1] * dims
            shape[place], shape[axes + 1 + place] = table.tap[part].shape
            target = target + table.target[part].reshape(shape).astype(self._index) * prod(self.out_shape[3 + place :])
            entry = entry + table.tap[part].reshape(shape) * prod(self.kernel_shape[3 + place :])
            present = present & table.present[part].reshape(shape)
        present = np.broadcast_to(present, target.shape)
        return counts.reshape(-1), target[present], entry[present]


def _entries(grouped: np.ndarray, group: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Collect the kernel entries that each of some in-channels meets: (channels, out / groups * taps)."""
    if group[0] == group[-1] and place[-1] - place[0] == len(place) - 1:  # neighbours
        columns = grouped[group[0], place[0] : place[-1] + 1]
        # Transposed reads of a large matrix miss the cache: copy as the kernel lies, then transpose the small copy.
        columns = columns.swapaxes(0, 1).copy().swapaxes(0, 1)
    else:
        columns = grouped[group, place]
    return columns.reshape(len(place), -1)


def _taps_to_positions(sums: Numbers, met: np.ndarray) -> Numbers:
    """Sum over the taps that each position meets: (channels, taps, …) to (channels, …, positions)."""
    if isinstance(sums, Tensor):
        return sums.movedim(1, -1) @ torch.as_tensor(met.T, dtype=sums.dtype, device=sums.device)
    return np.moveaxis(sums, 1, -1) @ met.T


def _broadcast(sums: Numbers, shape: tuple[int, ...]) -> Numbers:
    if prod(sums.shape) == prod(shape):  # there are but axes of length 1 to add, which numpy takes longer to see
        return sums.reshape(shape)
    return torch.broadcast_to(sums, shape) if isinstance(sums, Tensor) else np.broadcast_to(sums, shape)


def _pad(x: Tensor, padding: list[int]) -> Tensor:
    """Pad, then crop where a number is negative; torch crops first, and cannot crop what is not there yet."""
    for change in ([max(p, 0) for p in padding], [min(p, 0) for p in padding]):
        x = F.pad(x, change) if any(change) else x
    return x


def _along(place: int, dims: int) -> list[int]:
    shape = [1] * dims
    shape[place] = -1
    return shape


_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
