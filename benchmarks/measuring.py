"""How times, memory and ratios are taken."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One line of the report.

    Attributes
    ----------
    what, peer : str
        What was measured, against what.
    value : float
        The figure.
    goal : float
        What it should reach; "at most" where ``lower_is_better``.
    unit : str
        Such as "x" for a ratio of times.
    note : str
        The sizes and absolute times behind it.
    """

    what: str
    peer: str
    value: float
    goal: float
    unit: str = "x"
    note: str = ""
    lower_is_better: bool = False

    @property
    def reached(self) -> bool:
        """Whether the goal is met in this run."""
        return self.value <= self.goal if self.lower_is_better else self.value >= self.goal


SHORTEST = 0.02  # seconds that one measurement lasts at least


def medians(calls: Mapping[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Time calls in turns, so that whatever disturbs the machine disturbs all of them; median seconds of each.

    A short call is repeated within its turn, as timeit does: what is compared is the work, not the caches that the
    others left.
    """
    number = {}
    for name, call in calls.items():
        _timed(call, 1)  # pays for imports and page faults
        number[name] = max(1, int(SHORTEST / _timed(call, 1)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            times[name].append(_timed(call, number[name]))
    return {name: statistics.median(each) for name, each in times.items()}


def _timed(call: Callable[[], object], number: int) -> float:
    """Seconds per call."""
    begin = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - begin) / number


def in_fresh_process(code: str) -> list[float]:
    """Run code in a new interpreter and return the numbers that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


# Linux only: the most memory that a process had, from a reset on. What getrusage says includes the parent's.
PEAK = """
def reset():
    open("/proc/self/clear_refs", "w").write("5")
    return peak()
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
"""


def memory_folder() -> str | None:
    """A folder in memory, so that writers are compared and not disks; None for the usual temporary folder."""
    folder = Path("/dev/shm")
    return str(folder) if folder.is_dir() and os.access(folder, os.W_OK) else None
