"""How times, memory and ratios are taken."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


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


def medians(calls: Mapping[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Time calls in turns, so that whatever disturbs the machine disturbs all of them; median seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():  # the first call pays for imports and page faults
        call()
    for _ in range(repeat):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(each) for name, each in times.items()}


def in_fresh_process(code: str) -> list[float]:
    """Run code in a new interpreter and return the numbers that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


PEAK = """
import resource, sys
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # bytes
"""
