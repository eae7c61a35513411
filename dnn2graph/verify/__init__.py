"""Proof that a graph computes what its model computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from ..errors import ModelError
from ..graph import NeuralGraph
from ..links import Links
from ..nodes import Nodes
from ..replay import inbound_links, node_values, replay, sample_batch
from ..trace import traced
from ..trace.inputs import as_arguments
from ..trace.modules import ModuleStack
from ..trace.watch import Options
from .channels import channel_difference
from .dependency import Dependency, check_dependency

__all__ = ["Dependency", "LayerError", "Verification", "check_dependency", "deviation", "verify"]

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5}
HALF_TOLERANCE = 2e-2  # half precision keeps 8 to 11 bits, and torch accumulates in another order than the graph

STEEP = 100  # by so much a network may magnify the rounding of its layers


@dataclass(frozen=True)
class LayerError:
    """How far one layer's values are from the model's, on the first sample."""

    layer: str
    max_abs_error: float
    max_rel_error: float


@dataclass(frozen=True)
class Verification:
    """What :func:`verify` found; true if the graph is the network.

    Attributes
    ----------
    ok : bool
        Whether every error is within the tolerance.
    max_abs_error, max_rel_error : float
        Largest deviation of the graph's outputs from the model's, over all samples; relative to the largest absolute
        value of the same output.
    first_divergent_layer : str or None
        The first layer, in topological order, whose values deviate by more than the tolerance.
    tolerance : float
    samples : int
    layers : tuple of LayerError
    aggregation_error : float or None
        For a channel graph, the largest relative difference between its weights and the aggregated kernels of the
        position graph; None otherwise.
    unchecked : tuple of str
        Links of a channel graph whose kernels have no one-to-one counterpart to compare with, and outputs of the model
        that the graph has as constants.
    notes : tuple of str
        What of the graph holds for the example only that it was traced with.
    """

    ok: bool
    max_abs_error: float
    max_rel_error: float
    first_divergent_layer: str | None
    tolerance: float
    samples: int
    layers: tuple[LayerError, ...] = field(repr=False)
    aggregation_error: float | None = None
    unchecked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        verdict = "the graph computes what the model computes" if self.ok else "the graph does NOT compute the model"
        lines = [
            f"{verdict}: outputs of {self.samples} sample(s) deviate by at most {self.max_rel_error:.2g} relative "
            f"({self.max_abs_error:.2g} absolute), tolerance {self.tolerance:g}; {len(self.layers)} layers compared"
        ]
        if self.aggregation_error is not None:
            lines.append(f"channel weights differ from the aggregated kernels by at most {self.aggregation_error:.2g}")
        if self.unchecked:
            lines.append(f"links and outputs that could not be compared: {', '.join(self.unchecked)}")
        if self.first_divergent_layer is not None:
            lines.append(f"first diverging layer: {self.first_divergent_layer}")
        if not self.ok:
            lines += [*self._causes(), *self.notes]
        return "\n".join(lines)

    def _causes(self) -> list[str]:
        """Name what may be the cause, if the errors look like one."""
        worst = max([self.max_rel_error, *(layer.max_rel_error for layer in self.layers)])
        if self.max_rel_error > self.tolerance and self.first_divergent_layer is None and self.samples > 1:
            return ["the first sample agrees in every layer: the model mixes samples, or takes another way on others"]
        if self.tolerance == TOLERANCES[torch.float32] and worst <= STEEP * self.tolerance:
            return ["so little may be rounding: repeat in float64, verify(model.double(), graph, x.double())"]
        return []


def verify(
    model: nn.Module,
    graph: NeuralGraph,
    example_input: Any,
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    tolerance: float | None = None,
) -> Verification:
    """Replay the graph and compare it with the model: the outputs of all samples, every layer of the first.

    A position graph is replayed as it is. A channel graph, or one that folds a shared module, has no value per position
    to replay: the model is traced again position by position and unfolded, that graph is replayed, and the channel
    graph's weights are compared with its aggregated kernels.

    Parameters
    ----------
    model : Module
    graph : NeuralGraph
        Traced from a model of this architecture; its weights may be others, then it will not verify.
    example_input : tensor or tuple
        A batch of samples, as the model takes it.
    example_kwargs : mapping, optional
    tolerance : float, optional
        Largest relative error. Default 1e-12 where all layers are computed in float64, 1e-5 where some are in float32,
        2e-2 where some are in half precision.

    Returns
    -------
    Verification

    Raises
    ------
    InputError, ModelError, UnsupportedOperation
        If the example does not fit or the model cannot be traced on it.
    """
    args, kwargs = as_arguments(example_input), dict(example_kwargs or {})
    options = Options(**{**graph.options, "granularity": "position", "shared": "unfold"})
    unrolled, values = traced(model, args, kwargs, options, keep_values=True)
    replayable = graph.granularity == "position" and not graph.folded
    subject = graph if replayable else unrolled.with_weights(graph.weights)
    expected = _outputs(model, args, kwargs)
    if tolerance is None:
        tensors = [t for t in (*values, *expected) if isinstance(t, Tensor)]
        computed_in = {t.dtype for t in tensors if t.is_floating_point() and t.numel()}
        tolerance = max(TOLERANCES.get(dtype, HALF_TOLERANCE) for dtype in (*computed_in, graph.dtype))

    worst_abs, worst_rel, samples = _compare_outputs(model, subject, args, kwargs, expected)
    layers = _compare_layers(subject, unrolled, values, args, kwargs, tolerance)
    divergent = next((each.layer for each in layers if not each.max_rel_error <= tolerance), None)
    difference: float | None = None
    unchecked = tuple(f"output {place}" for place, leaf in enumerate(graph.output.leaves) if isinstance(leaf, Tensor))
    if graph.granularity == "channel":
        difference, others = channel_difference(model, graph, unrolled.with_weights(graph.weights), args, kwargs)
        unchecked += others
    ok = worst_rel <= tolerance and divergent is None and (difference is None or difference <= tolerance)
    return Verification(
        ok, worst_abs, worst_rel, divergent, tolerance, samples, layers, difference, unchecked, graph.notes
    )


def _compare_outputs(
    model: nn.Module, graph: NeuralGraph, args: tuple[Any, ...], kwargs: dict[str, Any], expected: list[Any]
) -> tuple[float, float, int]:
    """Return the largest absolute and relative error of the outputs, and the number of samples."""
    samples = len(sample_batch(graph, args, kwargs)[0])
    found = tree_leaves(replay(graph, args, kwargs))
    if any(isinstance(o, Tensor) and o.shape != t.shape for o, t in zip(found, expected, strict=True)):
        # the outputs do not keep samples along the batch axis: the graph gives them sample by sample
        axis = graph.options["batch_axis"]
        singles = [_outputs(model, *_sample(args, kwargs, axis, i)) for i in range(samples)]
        together = zip(*singles, strict=True)
        expected = [torch.stack(parts) if isinstance(parts[0], Tensor) else parts[0] for parts in together]
    worst_abs = worst_rel = 0.0
    for leaf, ours, theirs in zip(graph.output.leaves, found, expected, strict=True):
        if isinstance(leaf, Nodes):
            absolute, relative = deviation(ours.reshape(-1), theirs.reshape(-1))
            worst_abs, worst_rel = max(worst_abs, absolute), max(worst_rel, relative)
    return worst_abs, worst_rel, samples


def _outputs(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Run the model itself, in eval mode, on a copy of the inputs: it may change them in place."""
    args, kwargs = tree_map_only(Tensor, torch.clone, (args, kwargs))
    try:
        with torch.no_grad(), ModuleStack(model).watching():
            return tree_leaves(model(*args, **kwargs))
    except Exception as error:
        raise ModelError(f"the model raised {type(error).__name__} on the batch to verify with: {error}") from error


def _sample(args: tuple[Any, ...], kwargs: dict[str, Any], axis: int, place: int) -> tuple[Any, dict[str, Any]]:
    """Cut one sample out of a call."""
    return tree_map_only(Tensor, lambda x: x.narrow(axis, place, 1), (args, kwargs))


def _compare_layers(
    graph: NeuralGraph,
    traced_now: NeuralGraph,
    values: Sequence[Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    tolerance: float,
) -> tuple[LayerError, ...]:
    """Compare every layer on the first sample with what the model's own operations gave.

    What is left of large terms that cancel, such as the mean of normalised values, is as uncertain as they are: where
    an error is too large for the sum, it counts relative to the terms.
    """
    if [layer.name for layer in graph.layers] != [layer.name for layer in traced_now.layers]:
        raise ModelError(
            "the model took another path on this input than when it was traced, its graph is a different one: "
            "trace it with this input"
        )
    batch = [x[:1] for x in sample_batch(graph, args, kwargs)]
    ours = node_values(graph, batch)
    inbound = inbound_links(graph)
    errors = []
    for layer in graph.layers:
        theirs = values[layer.origin]
        if layer.kind == "constant" or not theirs.numel():
            continue
        absolute, relative = deviation(ours[0, layer.start : layer.stop], theirs.reshape(-1))
        if relative > tolerance and layer.function is None and layer.activate is None:
            terms = _size_of_terms(inbound[layer.name], ours)
            relative = min(relative, absolute / terms) if terms else relative
        errors.append(LayerError(layer.name, absolute, relative))
    return tuple(errors)


def _size_of_terms(inbound: Sequence[Links], values: Tensor) -> float:
    """Return the largest sum of absolute terms that enters a node."""
    largest = 0.0
    for links in inbound:
        total = links.map.apply(links.source_nodes.gather(values).abs(), links.kernel().abs().to(values.dtype))
        largest = max(largest, float(total.max()) if total.numel() else 0.0)
    return largest


def deviation(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Return the largest absolute difference, and the same relative to the largest absolute value.

    NaN agrees with NaN and infinity with itself; anything else with either is infinitely far.
    """
    ours, theirs = ours.detach().double().cpu(), theirs.detach().double().cpu()
    if not theirs.numel():
        return 0.0, 0.0
    agree = (ours == theirs) | (ours.isnan() & theirs.isnan())
    difference = torch.where(agree, 0.0, (ours - theirs).abs())
    worst = float(torch.nan_to_num(difference, nan=torch.inf).max())
    finite = theirs[theirs.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    return worst, (worst / scale if scale else worst)
