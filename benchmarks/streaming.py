"""Measuring the tensors of a file against reading that file, and against loading it to measure it with torch."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dnn2graph.streaming import measure_file

from .measuring import PEAK, Figure, in_fresh_process, medians

SIDE, VOCABULARY = 4096, 32000
THREADS = len(os.sched_getaffinity(0))  # one thread that only reads gets what memory gives; to measure takes some more
FORMATS = (torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2)
PEERS = FORMATS[:2]  # measured with torch too, which takes long


def run(smoke: bool) -> Iterator[Figure]:
    """Yield the figures."""
    gigabytes = 0.25 if smoke else 1.25
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        for dtype in FORMATS:
            _write(path, dtype, gigabytes)
            yield from _speed(path, dtype, smoke)
            yield _memory(path, str(dtype).removeprefix("torch."), VOCABULARY * SIDE * dtype.itemsize)
        small = torch.randn(1024, 1024)
        save_file({f"layers.{number}.weight": small.clone() for number in range(round(gigabytes * 200))}, path)
        yield _memory(path, "small tensors of float32", small.nbytes)


def _write(path: Path, dtype: torch.dtype, gigabytes: float) -> None:
    """Write random weights in the sizes of a Llama-7B; what was just written is in the page cache."""
    torch.manual_seed(0)
    embedding = torch.randn(VOCABULARY, SIDE)
    layer = embedding[:SIDE]
    layers = max(2, round((gigabytes * 1e9 / dtype.itemsize - embedding.numel()) / layer.numel()))
    weights = {f"layers.{number}.weight": layer.roll(number).to(dtype) for number in range(layers)}
    save_file({"embed_tokens.weight": embedding.to(dtype), **weights}, path)


def _speed(path: Path, dtype: torch.dtype, smoke: bool) -> Iterator[Figure]:
    size, name = path.stat().st_size, str(dtype).removeprefix("torch.")
    read = _reader()
    calls = {
        "read": lambda: _read_mapped(path, read),
        "one": lambda: measure_file(path, threads=1),
        "all": lambda: measure_file(path, threads=THREADS),
    }
    wall, processor = _fastest(calls, 3 if smoke else 7)
    what, peer = f"tensors of a file, {name}", "reading the mapped file once, one thread"
    one = size / processor["one"] / 1e9
    note = f"{size / 1e9:.2f} GB in the page cache: read at {size / wall['read'] / 1e9:.1f} GB/s, "
    note += f"ours {size / wall['all'] / 1e9:.1f}; one thread of ours {one:.1f}, {one / dtype.itemsize:.1f} weights/ns"
    yield Figure(f"{what}, threads: {THREADS}", peer, wall["read"] / wall["all"], 0.7, "of bandwidth", note)
    if dtype in PEERS:
        theirs = medians({"torch": lambda: _with_torch(path)}, 1)["torch"]
        note = f"ours {wall['one']:.2f} s, torch {theirs:.1f} s, one thread each"
        yield Figure(what, "load_file and torch", theirs / wall["one"], 20, note=note)


def _fastest(calls: Mapping[str, Callable[[], object]], repeat: int) -> tuple[dict[str, float], dict[str, float]]:
    """Time calls in turns; the least seconds of each, by the wall and of processors.

    Bandwidth is a limit, so that the fastest run comes nearest to it; processor time says what a thread can do even
    while others keep it from running.
    """
    wall, processor = (dict.fromkeys(calls, float("inf")) for _ in range(2))
    for turn in range(repeat + 1):
        for name, call in calls.items():
            begin, used = time.perf_counter(), time.process_time()
            call()
            if turn:  # the first pays for imports and page faults
                wall[name] = min(wall[name], time.perf_counter() - begin)
                processor[name] = min(processor[name], time.process_time() - used)
    return wall, processor


def _reader() -> Callable[[np.ndarray], object]:
    """Give what reads an array at the speed of memory: a loop that adds up words, compiled where numba is installed."""
    try:
        import numba
    except ImportError:
        return np.sum

    @numba.njit
    def total(words: np.ndarray) -> np.uint64:
        found = np.uint64(0)
        for word in words:
            found += word
        return found

    return total


def _read_mapped(path: Path, read: Callable[[np.ndarray], object]) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        words = np.frombuffer(content, np.uint64, len(content) // 8)
        read(words)
        del words  # else the mapping could not end


def _with_torch(path: Path) -> list[list[Tensor]]:
    """Compute the same numbers from loaded tensors, in operations of torch."""
    return [_statistics(tensor) for tensor in load_file(path).values()]


def _statistics(tensor: Tensor) -> list[Tensor]:
    weights = tensor.double()
    mean, std = weights.mean(), weights.std(correction=0)
    centred = (weights - mean) / std
    powers = [(centred**3).mean(), (centred**4).mean()]
    sums = [weights.sum(0), weights.sum(1)]
    rest = [weights.min(), weights.max(), weights.abs().sum(), weights.square().sum().sqrt(), (weights == 0).sum()]
    return [mean, std, *powers, *sums, *(each.std(correction=0) for each in sums), *rest]


def _memory(path: Path, what: str, largest: int) -> Figure:
    """Take the peak of a process that measures the file, beyond what it had when it began."""
    code = f"""
import os
os.environ["OMP_NUM_THREADS"] = "1"
from dnn2graph.streaming import measure_file
{PEAK}
before = reset()
measure_file({os.fspath(path)!r}, threads={THREADS})
print(peak() - before)
"""
    (grown,) = in_fresh_process(code)
    whole = path.stat().st_size
    note = f"{grown / 1e6:.0f} MB; the largest tensor has {largest / 1e6:.0f} MB, the file {whole / 1e6:.0f}"
    peer = "the largest tensor + 100 MB"
    return Figure(f"memory of measuring a file, {what}", peer, grown / (largest + 1e8), 1, "of it", note, True)
