"""Every operation that torch tests itself by samples: its graph computes it and has its paths, or it is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

import dnn2graph as dg

ROLES = ("first", "second", "learned")  # which tensor is the input, and whether all others are parameters
EXAMPLES = int(os.environ.get("DNN2GRAPH_EXAMPLES", "2"))  # of each operation and role
LARGEST = 400  # elements
DRAWN = {"normal", "uniform", "multinomial", "empty", "empty_like", "empty_permuted", "empty_strided", "new_empty"}

# Derivatives of these say nothing.
UNEVEN = {
    "as_strided_scatter": "torch's derivative counts elements that are overwritten",
    "nn.functional.layer_norm": "of a single constant, what is normalised is zero up to rounding",
}


class Call(nn.Module):
    """One call of an operation, of whose tensors one is the input and the others are constants or parameters."""

    def __init__(self, operation: Any, sample: Any, role: str) -> None:
        super().__init__()
        self.operation = operation
        self.leaves, self.spec = tree_flatten((sample.input, sample.args, sample.kwargs))
        real = [place for place, leaf in enumerate(self.leaves) if _is_real(leaf)]
        self.place = next(iter(real[1:] if role == "second" else real), None)
        for place in real:
            self.leaves[place] = self.leaves[place].detach().clone()
            if role == "learned" and place != self.place:
                self.register_parameter(f"p{place}", nn.Parameter(self.leaves[place]))
        fits = real and all(0 < self.leaves[place].numel() <= LARGEST for place in real)
        self.fits = self.place is not None and fits and (role != "learned" or len(real) > 1)

    @property
    def example(self) -> Tensor:
        return self.leaves[self.place]

    def forward(self, x: Tensor) -> Any:
        leaves = [getattr(self, f"p{place}", leaf) for place, leaf in enumerate(self.leaves)]
        leaves[self.place] = x
        first, others, named = tree_unflatten(leaves, self.spec)
        return self.operation(first, *others, **named)


def _is_real(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.layout is torch.strided


def _calls(operation: Any, role: str) -> Iterator[Call]:
    """Give calls that work, always give the same, and give real numbers."""
    torch.manual_seed(0)
    for sample in operation.sample_inputs("cpu", torch.float64):
        call = Call(operation.op, sample, role)
        if not call.fits:
            continue
        try:
            with torch.no_grad():
                results = [tree_leaves(call(call.example.clone())) for _ in range(2)]
        except (RuntimeError, TypeError, ValueError, IndexError, AssertionError):
            continue  # not of real numbers, not on this machine
        pairs = list(zip(*results, strict=True))
        if any(map(_is_real, results[0])) and all(
            torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in pairs if _is_real(one)
        ):
            yield call


NAMES = {f"{each.name}{each.variant_test_name and '-' + each.variant_test_name}": each for each in op_db}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", sorted(name for name, each in NAMES.items() if each.name not in DRAWN))
def test_an_operation_is_represented_or_refused(name, role):
    operation = NAMES[name]
    for call in islice(_calls(operation, role), EXAMPLES):
        x = call.example
        try:
            position, channel = (
                dg.from_torch(call, x, each, "l1", batch_axis=None) for each in ("position", "channel")
            )
        except dg.UnsupportedOperation:
            continue
        except dg.ModelError:
            assert operation.name in UNEVEN or not _depends(call), call.leaves
            continue
        for graph in (position, channel):
            found = dg.verify(call, graph, x)
            assert found.ok, found
        if not channel.notes and operation.name not in UNEVEN:
            _check_paths(call, channel, x)


def _depends(call):
    """Whether some result has a derivative by the input."""
    x = call.example.clone().requires_grad_()
    try:
        results = [leaf for leaf in tree_leaves(call(x)) if _is_real(leaf) and leaf.requires_grad]
    except RuntimeError:  # it is not differentiable by this one
        return False
    if not results:
        return False
    (gradient,) = torch.autograd.grad(sum(each.sum() for each in results), x, allow_unused=True)
    return gradient is not None and bool(gradient.any())


def _check_paths(call, graph, x):
    try:
        found = dg.check_dependency(call, graph, x)
    except dg.ModelError:  # it has no derivative by one of them, or not at random numbers
        return
    assert found.ok, found
