"""Measuring the tensors of a file one after another, as they lie in the file: no model, no graph, hardly any memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..progress import Progress
from .formats import Format
from .moments import NOTHING, Sums, Totals, blocks, fast_sums, moments, totals
from .result import Faults, MeasuredFile, MeasuredTensor, look_for_faults
from .tensors import MappedFile, StoredTensor, mapped, stored_tensors

TILE = 1 << 23  # bytes that a thread takes on, at least, and then gives back: to wake a thread takes long
TILE_ROWS = 64  # at least, so that few sums of columns are added up
LARGE = 1 << 25  # bytes of a file; from here on the compiled loop saves more than it costs to import or to compile
LINE = 1 << 12  # weights in a row, where a tensor has no rows of its own


def measure_file(path: str | Path, *, threads: int | None = None, progress: Progress | None = None) -> MeasuredFile:
    """Measure the tensors of a safetensors file without a model: link weights, and strengths of rows and columns.

    Weights are read once, where the system keeps the file, so that memory does not grow with it. They are decoded
    exactly (float64, float32, bfloat16, float16, float8_e4m3fn, float8_e5m2), and all sums are float64. With the
    ``speed`` extra a thread measures 2 to 4 weights in a nanosecond, in whatever format.

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
    total, done = sum(tensor.nbytes for tensor in chosen), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, total)

    measured = []
    with _workers(threads) as apply:
        walk = _Walk(apply, fast_sums() if total >= LARGE else None, advance)
        for file, tensors in groupby(chosen, key=lambda tensor: tensor.file):
            with mapped(file) as source:
                measured += [walk.measure(source, tensor) for tensor in tensors]
    return MeasuredFile(tuple(measured), tuple(tensor for tensor in stored if tensor.format is None))


def processors() -> int:
    """Count the processors that may be used."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@contextmanager
def _workers(threads: int) -> Iterator[Map]:
    """Yield what applies a function to each of some parts, in order, with so many threads; an error ends them soon."""
    if threads == 1:
        yield map
        return
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, eq=False)
class _Walk:
    """How tensors are measured.

    Attributes
    ----------
    apply : callable
        Applies a function to each of some parts.
    fast : callable or None
        The compiled pass over a matrix.
    advance : callable
        Is told how many bytes have been measured.
    """

    apply: Map
    fast: Sums | None
    advance: Callable[[int], None]

    def measure(self, source: MappedFile, tensor: StoredTensor) -> MeasuredTensor:
        """Measure one tensor."""
        format = tensor.format
        assert format is not None
        matrices = _matrices(source.bits(tensor, format), tensor.shape)
        rows, columns = (np.zeros(count) for count in (*tensor.shape, 0, 0)[:2])
        found, begin = NOTHING, tensor.begin
        for matrix in matrices:
            rows, columns = np.zeros(len(matrix)), np.zeros(matrix.shape[1])
            found += self._pass(source, begin, matrix, format, rows, columns)
            begin += matrix.nbytes
        if len(tensor.shape) < 2:
            rows = columns = np.zeros(0)
        elif tensor.size:
            columns = columns.reshape(tensor.shape[1], -1).sum(1)  # over the taps

        def weights() -> Iterator[np.ndarray]:
            return (format.decode(matrix[block]) for matrix in matrices for block in blocks(matrix.shape))

        faults = Faults()
        if not found.finite:
            faults, zeros = look_for_faults(weights())
            found = replace(found, zeros=zeros)
        statistics = moments(found, weights)
        source.release(tensor.begin, tensor.end)  # where there was a second pass
        return MeasuredTensor(tensor, statistics, found.zeros, faults, rows, columns)

    def _pass(
        self,
        source: MappedFile,
        begin: int,
        matrix: np.ndarray,
        format: Format,
        rows: np.ndarray,
        columns: np.ndarray,
    ) -> Totals:
        """Pass over a matrix that begins at some byte, several tiles at a time."""
        length = matrix[0].nbytes

        def measured(tile: slice) -> tuple[Totals, np.ndarray, int]:
            down = np.zeros(len(columns))
            of_tile = totals(matrix[tile], format, rows[tile], down, self.fast)
            source.release(begin + tile.start * length, begin + tile.stop * length)
            return of_tile, down, matrix[tile].nbytes

        found = NOTHING
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are told by name
            for of_tile, down, size in self.apply(measured, _cut(matrix)):  # in order, however many threads there are
                found += of_tile
                columns += down
                self.advance(size)
        return found


def _matrices(bits: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Lay out weights as a matrix (out, in * taps); without two axes, in lines and what remains of the last."""
    if len(shape) > 1:
        return [bits.reshape(shape[0], -1)] if bits.size else []
    whole = len(bits) // LINE * LINE
    return [part for part in (bits[:whole].reshape(-1, LINE), bits[None, whole:]) if part.size]


def _cut(matrix: np.ndarray) -> Iterator[slice]:
    """Cut a matrix into tiles of rows."""
    step = max(TILE_ROWS, TILE // matrix[0].nbytes)
    return (slice(begin, min(begin + step, len(matrix))) for begin in range(0, len(matrix), step))
