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
    code = "import time, torch; a = time.perf_counter(); import dnn2graph; print(time.perf_counter() - a)"
    added = statistics.median(in_fresh_process(code)[0] for _ in range(3 if smoke else 7))
    yield Figure("import dnn2graph", "after import torch", added, 0.3, "s", lower_is_better=True)
