"""Training in other processes: how far they are, and how they end."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from .parallel import each

INTERVAL = 0.1  # seconds between two reports
KEPT = 1 << 30  # bytes; see keep_freed_memory

Train = Callable[[int, Callable[[int], None]], None]
Report = Callable[[Iterable[int]], None]


def in_turn(train: Train, groups: Sequence[int], report: Report) -> None:
    """Train one group after another in this process; as :func:`in_workers`, but the report comes at every step."""
    steps = [0] * len(groups)

    def count(group: int, done: int) -> None:
        steps[group] = done
        report(steps)

    for group in groups:
        train(group, partial(count, group))


def in_workers(train: Train, groups: Sequence[int], jobs: int | None, report: Report) -> None:
    """Train groups in worker processes; one that is lost is replaced, and goes on from the last snapshot.

    Parameters
    ----------
    train : callable
        Of the number of a group, and of what to call with the number of steps done.
    groups : sequence of int
        Numbers from 0 on.
    jobs : int, optional
        As of :func:`.each`.
    report : callable
        Called with the steps that each group has done, ten times a second, by a thread.
    """
    with TemporaryDirectory(prefix="dnn2graph-") as folder:
        path = Path(folder) / "steps"  # done by each group: memory that the processes share
        steps = np.memmap(path, np.int64, "w+", shape=len(groups))
        with _repeating(lambda: report(steps)):
            for _ in each(partial(_in_worker, train, path), groups, jobs):
                pass


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread: more gain little on small networks, and change the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for the rest of its life.

    The activations of a convolution are large enough for glibc to return them to the system after every step, and
    to be given them back page by page: about half of the time of a step. Other C libraries are left as they are.
    """
    trim_threshold, mmap_threshold = -1, -3  # of malloc.h
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(mmap_threshold, KEPT)
        mallopt(trim_threshold, KEPT)


def _in_worker(train: Train, path: Path, group: int) -> None:
    parent = os.getppid()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends its workers
    keep_freed_memory()
    steps = np.memmap(path, np.int64, "r+") if path.exists() else None  # on another machine there is none

    def report(done: int) -> None:
        if os.getppid() != parent:  # it was killed: nobody waits for this
            os._exit(1)
        if steps is not None:
            steps[group] = done

    with one_thread():
        train(group, report)


@contextmanager
def _repeating(call: Callable[[], None]) -> Iterator[None]:
    """Call something at intervals, and once more at the end."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(INTERVAL):
            call()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    call()
