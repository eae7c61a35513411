"""What is asked of one architecture: is it traced, is everything represented, do the oracles agree."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

import dnn2graph as dg
from dnn2graph.trace.inputs import one_sample
from dnn2graph.verify.dependency import check_dependency

from .families import Call, Entry
from .reasons import reason

Answer = dict[str, Any]  # what a stage found, fit for JSON

SIDES = (32, 64, 96, 128, 160, 192)  # of images, where the architecture's own are too large for an oracle
PRODUCTS = 1e8  # multiplications of a forward pass, above which an oracle gets a smaller image
WEIGHTS = 5e6  # of a model, above which they are not compared one by one
OUTPUTS = 8  # channels of each output whose derivatives are taken
TOLERANCE = 1e-5
LACKS_MEMORY = ("allocate memory", "bad_alloc", "memory ran out")  # what errors say that are no MemoryError
SEEDS = 4  # of weights that are tried until the output is not zero


class Subject:
    """A model, its example call, and what several stages need of them."""

    def __init__(self, call: Call, size: str | None = None) -> None:
        self.model, self.args, self.kwargs = call
        self.size = size  # of the image, where it is not the architecture's own

    @cached_property
    def batch_axis(self) -> int | None:
        """0 if samples lie along the first axis and are computed each for itself; else None."""
        leaves = [x for x in tree_leaves((self.args, self.kwargs)) if isinstance(x, Tensor)]
        if any(not x.dim() for x in leaves) or len({len(x) for x in leaves}) != 1:
            return None
        if all(len(x) == 1 for x in leaves):
            return 0
        try:
            whole = outputs(self.model, self.args, self.kwargs)
            first = outputs(self.model, *one_sample(self.args, self.kwargs, 0)[:2])
        except Exception:
            return None
        alike = (
            x.shape[1:] == y.shape[1:] and len(x) > 1 and torch.allclose(x[:1], y, 1e-3, 1e-5, equal_nan=True)
            for x, y in zip(whole, first, strict=True)
        )
        return 0 if all(alike) else None

    def first_only(self) -> None:
        """Leave out all samples but the first: a graph that shows choices of the example holds for that one."""
        args, self.kwargs, _ = one_sample(self.args, self.kwargs, self.batch_axis)
        self.args = tuple(args)

    @cached_property
    def graph(self) -> dg.NeuralGraph:
        return self.trace("channel")

    def trace(self, granularity: str) -> dg.NeuralGraph:
        return dg.from_torch(
            self.model,
            self.args,
            granularity,
            shared="unfold" if granularity == "position" else "fold",
            example_kwargs=self.kwargs,
            batch_axis=self.batch_axis,
        )


def prepared(build: Callable[[], Call]) -> Call:
    """Build a model whose output is not zero, to be run in eval mode, with the same random numbers in each run."""
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        model, args, kwargs = build()
        model.eval()
        model.register_forward_pre_hook(_same_random_numbers)
        _add_noise_to_constants(model, seed)
        if any(bool((x != 0).any()) for x in outputs(model, args, kwargs)):
            break
    return model, args, dict(kwargs)


def _same_random_numbers(*_: Any) -> None:
    torch.manual_seed(0)


def _add_noise_to_constants(model: nn.Module, seed: int) -> None:
    """Let no parameter begin as all zeros, ones or the like: it would hide what it is multiplied by, or itself."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            plain = parameter.is_floating_point() and parameter.layout is torch.strided and parameter.numel() > 0
            if plain and bool((parameter == parameter.reshape(-1)[0]).all()):
                parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter) * 0.1)


def outputs(model: nn.Module, args: Any, kwargs: Any) -> list[Tensor]:
    """Run the model on a copy of its inputs, which it may change in place; give its tensors of numbers."""
    args, kwargs = tree_map_only(Tensor, torch.clone, (args, kwargs))
    with torch.no_grad():
        leaves = tree_leaves(model(*args, **kwargs))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]


# --- stages ----------------------------------------------------------------------------------------------------------


def trace(entry: Entry) -> Answer:
    """Trace in channel granularity, and see whether every parameter that influences the output is represented."""
    subject = Subject(prepared(entry.build))
    axis = subject.batch_axis
    start = time.perf_counter()
    graph = subject.graph
    seconds = time.perf_counter() - start
    represented = set(graph.parameters())
    influencing = influence(subject)
    return {
        "nodes": graph.number_of_nodes(),
        "edges": graph.number_of_edges(),
        "seconds": seconds,
        "whole": axis is None,
        "folded": graph.folded,
        "parameters": len(dict(subject.model.named_parameters())),
        "influencing": None if influencing is None else len(influencing),
        "lost": sorted((influencing or set()) - represented),
        "notes": list(graph.notes),
    }


def influence(subject: Subject) -> set[str] | None:
    """Name the parameters that have a gradient other than zero on the sample that was traced; None if it has none."""
    args, kwargs, _ = one_sample(subject.args, subject.kwargs, subject.batch_axis)
    subject.model.zero_grad()
    total = torch.zeros((), dtype=torch.float64)
    try:
        with torch.enable_grad():
            for leaf in tree_leaves(subject.model(*args, **kwargs)):
                if isinstance(leaf, Tensor) and leaf.requires_grad:
                    total = total + (leaf * torch.randn_like(leaf)).double().sum()
            if total.requires_grad:
                total.backward()
    except (RuntimeError, NotImplementedError):  # operations that torch itself cannot derive
        return None
    named = subject.model.named_parameters()
    return {name for name, p in named if p.grad is not None and bool((p.grad != 0).any())}


def value(entry: Entry) -> Answer:
    """Replay the position graph and compare every layer and output with the model's."""
    subject = affordable(entry)
    for dtype in (None, torch.float64):
        if dtype is not None:  # rounding alone may add up to more than the tolerance: in double precision it does not
            subject.model.to(dtype)
            subject.args, subject.kwargs = tree_map_only(Tensor, _double, (subject.args, subject.kwargs))
        graph = subject.trace("position")
        if graph.notes:
            subject.first_only()
        found = dg.verify(
            subject.model, graph, subject.args, example_kwargs=subject.kwargs, tolerance=TOLERANCE
        )
        answer = {
            "ok": found.ok,
            "error": found.max_rel_error,
            "layer": found.first_divergent_layer,
            "size": subject.size,
            "edges": graph.number_of_edges(),
            "double": dtype is not None,
        }
        if found.ok or found.max_rel_error > 0.1:
            break
    return answer


def _double(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x


def aggregation(entry: Entry) -> Answer:
    """Compare the channel graph's weights with the kernels of the position graph, aggregated by the definition."""
    subject = affordable(entry)
    weights = sum(p.numel() for p in subject.model.parameters())
    if weights > WEIGHTS:
        return {"skipped": f"{weights:,} weights"}
    if subject.graph.notes:
        subject.first_only()
    found = dg.verify(subject.model, subject.graph, subject.args, example_kwargs=subject.kwargs, tolerance=TOLERANCE)
    error = found.aggregation_error
    return {"ok": error is not None and error <= TOLERANCE, "error": error, "unchecked": len(found.unchecked)}


def dependency(entry: Entry) -> Answer:
    """Compare the paths of the channel graph with derivatives of the model at random weights."""
    subject = affordable(entry)
    graph, kwargs = subject.graph, subject.kwargs
    found = check_dependency(subject.model, graph, subject.args, example_kwargs=kwargs, outputs=OUTPUTS)
    return {
        "ok": found.ok,
        "pairs": found.pairs,
        "missing": len(found.missing),
        "spurious": len(found.spurious),
        "unrepresented": list(found.unrepresented),
        "examples": [str(pair) for pair in (*found.missing[:3], *found.spurious[:3])],
        "draws": found.draws,
        "unchecked": list(found.unchecked),
        "size": subject.size,
    }


STAGES: dict[str, Callable[[Entry], Answer]] = {
    "trace": trace,
    "value": value,
    "aggregation": aggregation,
    "dependency": dependency,
}


def attempt(stage: str, entry: Entry) -> Answer:
    """Run a stage; whatever is raised becomes part of the answer."""
    start = time.perf_counter()
    try:
        return {**STAGES[stage](entry), "took": time.perf_counter() - start}
    except Exception as error:
        if isinstance(error, MemoryError) or any(each in str(error) for each in LACKS_MEMORY):
            limit = resource.getrlimit(resource.RLIMIT_DATA)[0] / (1 << 30)
            return {"failed": f"needs more than {limit:g} GB of memory"}
        return {"failed": reason(error)}


# --- the size of images ----------------------------------------------------------------------------------------------


def affordable(entry: Entry) -> Subject:
    """Make the architecture with the largest image, up to its own, whose forward pass has no more than PRODUCTS.

    If every size that the architecture takes has more, it gets the smallest of them.
    """
    call = prepared(entry.build)
    if entry.build_for is None or products(*call) <= PRODUCTS:
        return Subject(call)
    smallest = None
    for side in SIDES:
        smaller, cost = _with_side(entry, call[0], side)
        if smaller is None:
            continue
        if smallest is not None and cost > PRODUCTS:
            break
        smallest = Subject(smaller, f"{side} × {side}")
    return smallest or Subject(call)


def _with_side(entry: Entry, model: nn.Module, side: int) -> tuple[Call | None, float]:
    """Give the model an image of that side; where it refuses, make it for that side."""
    call: Call = (model, (torch.rand(1, 3, side, side),), {})
    try:
        return call, products(*call)
    except Exception:
        pass
    build = entry.build_for
    assert build is not None
    try:
        call = prepared(lambda: build(side))
        return call, products(*call)
    except Exception:
        return None, 0.0


def products(model: nn.Module, args: Any, kwargs: Any) -> float:
    """Count the multiplications of a forward pass."""
    with _Counter() as counter:
        outputs(model, args, kwargs)
    return counter.products


class _Counter(TorchDispatchMode):
    """Count by torch's own table, without looking at modules as torch's own counter does: that needs gradients."""

    products = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.products += count(*args, **(kwargs or {}), out_val=out) / 2
        return out
