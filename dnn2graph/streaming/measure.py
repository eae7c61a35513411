"""Measuring the tensors of a file one after another, as they lie in the file: no model, no graph, hardly any memory."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..progress import Progress
from .formats import Format
from .moments import NOTHING, Sums, Totals, blocks, moments, totals, written_zeros
from .native import fast_sums
from .result import Faults, MeasuredFile, MeasuredTensor, look_for_faults
from .tensors import MappedFile, StoredTensor, mapped, stored_tensors
from .threads import in_threads

TILES = 1 << 24  # bytes that all threads together have in hand, at least
SHARE = 4  # or such a part of the largest tensor: the fewer tiles, the less is spent between them
TILE = 1 << 21  # that a thread takes on, at least: to wake a thread takes long
TILE_ROWS = 64  # at least, so that few sums of columns are added up
LARGE = 1 << 25  # bytes of a format in a file; from here on its compiled loop saves more than it costs to load
LINE = 1 << 12  # weights in a row, where a tensor has no rows of its own


def measure_file(path: str | Path, *, threads: int | None = None, progress: Progress | None = None) -> MeasuredFile:
    """Measure the tensors of a safetensors file without a model: link weights, and strengths of rows and columns.

    Weights are read once, where the system keeps the file, so that memory does not grow with it. They are decoded
    exactly (float64, float32, bfloat16, float16, float8_e4m3fn, float8_e5m2), and all sums are float64. With the
    ``speed`` extra a thread measures 2 to 10 weights in a nanosecond where there is AVX-512. The first large file of a
    format waits some seconds for that to be compiled, which takes 200 MB; then it is kept, where Python keeps what it
    compiles or, if nothing can be written there, among the user's caches.

    A tensor is taken as ``(out, in, *taps)``, as linear layers and convolutions store it. Then a row's sum is the
    in-strength that the tensor gives to a neuron or a channel, and a column's, over all taps, the out-strength, both as
    in a graph of channels with ``aggregate="sum"``. What a file does not say: transposed convolutions and some
    libraries' linear layers are stored the other way round, an embedding's rows are its inputs, and a convolution in
    groups has columns for the in-channels of one group.

    Parameters
    ----------
    path : str or Path
        A ``.safetensors`` file, the index of sharded ones (``model.safetensors.index.json``), or a folder with either.
    threads : int, optional
        Default: as OMP_NUM_THREADS says, else as many as there are processors.
    progress : callable, optional
        Called with the number of bytes measured and their total.

    Returns
    -------
    MeasuredFile

    Raises
    ------
    LoadError
        If a file is missing or damaged; told before any weight is read.
    InputError
        If ``threads`` is not positive.

    Examples
    --------
    >>> import tempfile, torch
    >>> from safetensors.torch import save_file
    >>> from dnn2graph.streaming import measure_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file({"weight": torch.tensor([[1.0, 2.0], [-3.0, 0.0]])}, f"{folder}/model.safetensors")
    ...     found = measure_file(f"{folder}/model.safetensors")
    >>> found["weight"].rows, found["weight"].columns
    (array([ 3., -3.]), array([-2.,  2.]))
    >>> found.table()[["tensor", "count", "zeros", "mean", "l1"]].to_dict("records")
    [{'tensor': 'weight', 'count': 3, 'zeros': 1, 'mean': 0.0, 'l1': 6.0}]
    """
    threads = processors() if threads is None else threads
    if threads < 1:
        raise InputError(f"threads={threads} must be at least 1")
    stored = stored_tensors(path)
    chosen = [tensor for tensor in stored if tensor.format is not None]
    sizes: Counter[Format | None] = Counter()
    for tensor in chosen:
        sizes[tensor.format] += tensor.nbytes
    total, done = sizes.total(), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, total)

    measured: list[MeasuredTensor] = []
    fast = {format: fast_sums(format) for format, size in sizes.items() if format and size >= LARGE}
    for file, tensors in groupby(chosen, key=lambda tensor: tensor.file):
        with mapped(file) as source:
            measured += _measured(source, list(tensors), threads, fast, advance)
    return MeasuredFile(tuple(measured), tuple(tensor for tensor in stored if tensor.format is None))


def processors() -> int:
    """Count the processors that may be used."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, eq=False)
class _Part:
    """Weights of a tensor that lie in their file as a matrix does.

    Attributes
    ----------
    format : Format
    matrix : array (height, width) of the format's bits
    rows, columns : float64 array (height,), (width,)
        To which their sums are added.
    """

    format: Format
    matrix: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    def tiles(self, size: int) -> list[slice]:
        """Cut the rows into tiles of so many bytes or more."""
        step = max(TILE_ROWS, size // self.matrix[0].nbytes)
        height = len(self.matrix)
        return [slice(begin, min(begin + step, height)) for begin in range(0, height, step)]


class _Work(NamedTuple):
    """What a thread takes on at a time: some rows of a part of a tensor."""

    parts: Sequence[_Part]  # all of the tensor's
    part: _Part
    rows: slice


def _measured(
    source: MappedFile,
    tensors: Sequence[StoredTensor],
    threads: int,
    fast: Mapping[Format, Sums | None],
    advance: Callable[[int], None],
) -> Iterator[MeasuredTensor]:
    """Measure the tensors of a file one after another; threads go on to the next before a tensor's tiles are done."""
    largest = max(tensor.nbytes for tensor in tensors)
    in_hand = max(TILES, largest // SHARE)

    def tiles() -> Iterator[_Work]:
        left = sum(tensor.nbytes for tensor in tensors)
        for tensor in tensors:
            parts = _parts(source, tensor)
            for part in parts:
                for rows in part.tiles(max(TILE, min(in_hand, left // 4) // threads)):  # so that all end together
                    yield _Work(parts, part, rows)
                left -= part.matrix.nbytes

    def measured(work: _Work) -> tuple[_Work, Totals, np.ndarray]:
        part, down = work.part, written_zeros(len(work.part.columns))
        matrix, along = part.matrix[work.rows], part.rows[work.rows]
        return work, totals(matrix, part.format, along, down, fast.get(part.format)), down

    held = largest - in_hand  # with what threads have in hand, as much as the largest
    with closing(in_threads(measured, tiles(), threads)) as done:
        of_tensors = groupby(done, key=lambda result: result[0].parts)
        for tensor in tensors:
            if not tensor.size:
                yield _put_together(source, tensor, [], NOTHING)
                continue
            parts, results = next(of_tensors)
            found, end = NOTHING, tensor.begin
            for work, of_tile, down in results:  # in order, however many threads there are
                with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are told by name
                    found += of_tile
                    work.part.columns[:] += down
                read = of_tile.size * work.part.matrix.itemsize
                end += read
                source.passed(end, held)
                advance(read)
            yield _put_together(source, tensor, parts, found)


def _put_together(source: MappedFile, tensor: StoredTensor, parts: Sequence[_Part], found: Totals) -> MeasuredTensor:
    """Say what the sums of a tensor's weights say; pass over them again where sums do not tell enough."""

    def weights() -> Iterator[np.ndarray]:
        for part in parts:
            for block in blocks(part.matrix.shape):
                yield part.format.decode(part.matrix[block])
        source.release(tensor.begin, tensor.end)

    faults = Faults()
    if not found.finite:
        faults, zeros = look_for_faults(weights())
        found = replace(found, zeros=zeros)
    statistics = moments(found, weights)
    if len(tensor.shape) < 2:
        rows = columns = np.zeros(0)
    elif not parts:
        rows, columns = np.zeros(tensor.shape[0]), np.zeros(tensor.shape[1])
    else:
        rows, columns = parts[0].rows, parts[0].columns
        if len(columns) > tensor.shape[1]:
            columns = columns.reshape(tensor.shape[1], -1).sum(1)  # over the taps
    return MeasuredTensor(tensor, statistics, found.zeros, faults, rows, columns)


def _parts(source: MappedFile, tensor: StoredTensor) -> list[_Part]:
    """Lay out weights as a matrix (out, in * taps); without two axes, in lines and what remains of the last."""
    format = tensor.format
    assert format is not None
    bits = source.bits(tensor, format)
    if len(tensor.shape) > 1:
        matrices = [bits.reshape(tensor.shape[0], -1)] if bits.size else []
    else:
        whole = len(bits) // LINE * LINE
        matrices = [part for part in (bits[:whole].reshape(-1, LINE), bits[None, whole:]) if part.size]
    return [_Part(format, matrix, *(written_zeros(length) for length in matrix.shape)) for matrix in matrices]
