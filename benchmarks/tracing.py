"""Tracing against running the model, and what importing costs."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import torch

import dnn2graph as dg
from tests.checkpoints import resnet20

from .measuring import Figure, in_fresh_process, medians


def run(smoke: bool) -> Iterator[Figure]:
    """Yield the figures."""
    model, x = resnet20().eval(), torch.rand(1, 3, 32, 32)

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return model(x)

    took = medians({"trace": lambda: dg.from_torch(model, x), "forward": forward}, 5 if smoke else 15)
    budget = 5 * took["forward"] + 0.3
    note = f"trace {took['trace'] * 1e3:.0f} ms, forward pass {took['forward'] * 1e3:.1f} ms"
    share, peer = took["trace"] / budget, "five forward passes + 0.3 s"
    yield Figure("tracing ResNet-20", peer, share, 1, "of the time", note, lower_is_better=True)
    yield _recurrence(100 if smoke else 1000)
    code = """
import sys, time, torch
sys.dont_write_bytecode = False  # all but the first import are those of an installed package
begin = time.perf_counter()
from dnn2graph import *
print(time.perf_counter() - begin)
"""
    added = statistics.median(in_fresh_process(code)[0] for _ in range(3 if smoke else 7))
    yield Figure("from dnn2graph import *", "after import torch", added, 0.3, "s", lower_is_better=True)


def _recurrence(steps: int) -> Figure:
    """Trace a recurrent layer whose steps are the same neurons, against a copy of them for each step."""
    model, x = torch.nn.LSTM(16, 32, batch_first=True).eval(), torch.rand(1, steps, 16)
    calls = {shared: (lambda shared=shared: dg.from_torch(model, x, shared=shared)) for shared in ("fold", "unfold")}
    took = medians(calls, 1)
    note = f"folded {took['fold']:.2f} s, unfolded {took['unfold']:.1f} s"
    return Figure(f"tracing an LSTM, {steps} steps", "the same, unfolded", took["unfold"] / took["fold"], 5, note=note)
