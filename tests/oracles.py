"""Both oracles at once: a model's graphs compute it, and their paths are its derivatives."""

from __future__ import annotations

from typing import Any

import torch

import dnn2graph as dg
from dnn2graph.verify import check_dependency


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Draw from a normal distribution, in double precision."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def parameter(*shape: int, seed: int = 1) -> torch.nn.Parameter:
    """Draw a parameter."""
    return torch.nn.Parameter(random(*shape, seed=seed))


def assert_represented(
    model: torch.nn.Module,
    *example: Any,
    example_kwargs: dict[str, Any] | None = None,
    aggregates: tuple[str, ...] = ("sum",),
    exactly: bool = True,
    draws: int = 3,
    **options: Any,
) -> dg.NeuralGraph:
    """Check a model in double precision, on a batch of samples; give its first channel graph.

    Parameters
    ----------
    exactly : bool
        Whether there may be no path but where a derivative is not zero.
    """
    torch.manual_seed(0)
    model = model.double()
    for p in model.parameters():
        with torch.no_grad():
            p.copy_(torch.randn_like(p) / 2)
    graphs = [dg.from_torch(model, example, "position", example_kwargs=example_kwargs, **options)]
    graphs += [
        dg.from_torch(model, example, "channel", each, example_kwargs=example_kwargs, **options) for each in aggregates
    ]
    for graph in graphs:
        found = dg.verify(model, graph, example, example_kwargs=example_kwargs)
        assert found.ok, found
    dependency = check_dependency(model, graphs[1], example, example_kwargs=example_kwargs, draws=draws)
    assert dependency.ok, dependency
    assert not (exactly and dependency.spurious), dependency
    return graphs[1]
