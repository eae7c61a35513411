"""Tracing: a module and an example input become a graph."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import Dnn2graphError, InputError, ModelError, UnsupportedOperation
from ..graph import GRANULARITIES, Layer, NeuralGraph, Output, assemble, common_dtype
from ..weights import AGGREGATES
from .channels import channel_classes
from .hollow import REMEDY, Run, needs_values, running
from .inputs import as_arguments, input_tensors, one_sample
from .registry import rule
from .simplify import Draft, finish, leave_out_gates, simplify
from .watch import Options, Watch

__all__ = ["Options", "from_torch", "graph_of", "prepared", "reached_nodes", "rule", "traced", "watched"]


def from_torch(
    model: nn.Module,
    example_input: Any,
    granularity: str = "channel",
    aggregate: str = "sum",
    shared: str = "fold",
    simplify: bool = True,
    fold_norm: bool = True,
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    batch_axis: int | None = 0,
    vocabulary: str = "entries",
    gates: bool = True,
) -> NeuralGraph:
    """Trace a model into the graph that computes it, by watching one forward pass.

    The model runs once, in eval mode and without gradients, on the first sample of the example; its mode and hooks are
    put back. Its parameters are referred to, not copied.

    Parameters
    ----------
    model : Module
    example_input : tensor or tuple
        A tensor, or a tuple of positional arguments. Values matter only where the model's control flow depends on them.
    granularity : {"channel", "position"}
        "channel": one node per channel, an edge per pair of channels whose weight aggregates the kernel's taps.
        "position": one node per channel and position, the unrolled form that the paper analyses.
    aggregate : {"sum", "mean", "l1", "l2", "maxabs"}
        How taps are aggregated in channel granularity.
    shared : {"fold", "unfold"}
        Whether a module with parameters that is called several times is one set of nodes, or one for each call.
    simplify : bool
        Contract chains such as convolution, batch-norm, ReLU into one layer.
    fold_norm : bool
        Let simplify multiply batch-norm scales into the links before them.
    example_kwargs : mapping, optional
        Keyword arguments of the model.
    batch_axis : int or None
        The axis of every input along which samples lie; None if each input is one sample as it stands.
    vocabulary : {"entries", "aggregate"}
        Whether an embedding has a node for each entry of its vocabulary, or one whose links aggregate all entries.
    gates : bool
        Whether the graph has links of the kind "gate", from the operands of products and of other functions of several
        neurons. Without them it also lacks nodes that only gates lead to and from, such as normalisers.

    Returns
    -------
    NeuralGraph

    Raises
    ------
    UnsupportedOperation
        If operations have no rule; all of them are named.
    ModelError
        If the model raises, returns no tensor, or returns nothing that depends on its input.
    InputError
        If an option is unknown or the example input holds no tensor.

    Examples
    --------
    >>> import torch, dnn2graph as dg
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> graph = dg.from_torch(model, torch.zeros(1, 4))
    >>> graph.number_of_nodes(), graph.number_of_edges()
    (9, 18)
    """
    options = Options(granularity, aggregate, shared, simplify, fold_norm, batch_axis, vocabulary, gates)
    return traced(model, as_arguments(example_input), dict(example_kwargs or {}), options)[0]


def traced(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options, keep_values: bool = False
) -> tuple[NeuralGraph, list[Tensor]]:
    """Trace a model; with ``keep_values`` also return what each operation of the run gave, by ``Layer.origin``."""
    with prepared(model, args, kwargs, options) as (args, kwargs, options, run):
        if run.hollow and keep_values:
            raise ModelError(f"the model must be run to be compared with its graph, and {REMEDY}")
        watch, result = watched(model, args, kwargs, options, keep_values, run)
        output = watch.output(result)
        if watch.unsupported:
            raise UnsupportedOperation(list(watch.unsupported))
        if not list(output.nodes()):
            raise ModelError(
                f"the model returned {type(result).__name__}, and no tensor in it depends on the input as far as its "
                "operations tell: return tensors, and do not leave torch (numpy, plain numbers) on the way"
            )
        graph = graph_of(watch, output)
    _check_reached(graph, watch.notes)
    return graph, watch.values


@contextmanager
def prepared(
    model: nn.Module, example_input: Any, example_kwargs: Mapping[str, Any] | None, options: Options
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any], Options, Run]]:
    """Check what :func:`from_torch` is given, and let the model run, with or without weights.

    Yields
    ------
    args, kwargs
        One sample of the example.
    options
        With the batch axis that it has.
    run
    """
    _check(model, options)
    args, kwargs, batch_axis = one_sample(as_arguments(example_input), dict(example_kwargs or {}), options.batch_axis)
    with running(model) as run:
        yield args, kwargs, Options(**{**vars(options), "batch_axis": batch_axis}), run


def watched(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options, keep_values: bool, run: Run
) -> tuple[Watch, Any]:
    """Watch a model run on one sample; what it does not represent stands in ``unsupported``.

    Raises
    ------
    ModelError
        If the model raises.
    """
    inputs = input_tensors(args, kwargs)
    watch = Watch(model, options, keep_values, run, common_dtype(inputs))
    try:
        classes = None if watch.by_position else channel_classes(model, args, kwargs, inputs, run)
        for place, x in enumerate(inputs):
            _input_layer(watch, place, x, classes)
        with torch.no_grad(), watch.modules.watching(), watch:
            return watch, model(*args, **kwargs)
    except Dnn2graphError:
        raise
    except Exception as error:
        if "HigherOrderOperator" not in str(error):
            raise ModelError(_explain(error, inputs, watch)) from error
        watch.refuse_name(str(error).split("HigherOrderOperator ")[1].split()[0])
        return watch, None


def graph_of(watch: Watch, output: Output) -> NeuralGraph:
    """Make the graph of what was watched."""
    watch.loops.close()
    options = watch.options
    draft = Draft(watch.layers, watch.links, output)
    if options.simplify:
        _simplify(draft, options)
    if not options.gates:
        leave_out_gates(draft)
    finished, links, output = finish(draft)
    return assemble(
        finished,
        links,
        watch.dtype,
        output=output,
        weights=watch.run.weights_of(watch.model),
        buffers=frozenset(name for name, _ in watch.model.named_buffers(remove_duplicate=False)),
        granularity=options.granularity,
        aggregate=options.aggregate,
        inputs=tuple(layer for layer in finished if layer.kind == "input"),
        folded=watch.folded,
        options=vars(options),
        notes=tuple(watch.notes),
    )


def _explain(error: Exception, inputs: list[Tensor], watch: Watch) -> str:
    """Say what the model or the watch raised, on what, and what to try."""
    if watch.run.hollow and needs_values(error):
        return f"the model leaves torch or depends on values ({type(error).__name__}: {error}), and {REMEDY}"
    shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error):
        last = f", after layer {watch.layers[-1].name!r}" if watch.layers else ""
        return (
            f"memory ran out at {watch.count:,} nodes{last}, on one sample of the example input, shape {shapes}: "
            f"{error} (trace a smaller example, whose graph is smaller)"
        )
    whole = "" if watch.options.batch_axis is None else ", or pass batch_axis=None if it needs the whole example"
    return (
        f"the model raised {type(error).__name__} on one sample of the example input, shape {shapes}: {error} "
        f"(check that the example is what the model takes{whole})"
    )


def _simplify(draft: Draft, options: Options) -> None:
    simplify(draft, options.fold_norm, None if options.granularity == "position" else options.aggregate)


def _input_layer(watch: Watch, place: int, x: Tensor, classes: list[Tensor] | None) -> Layer:
    """Give an input its nodes."""
    name = "input" if place == 0 else f"input{place + 1}"
    local = watch.new_by_element(x.shape) if classes is None else classes[place]
    size = int(local.max()) + 1
    axis = 1 if x.dim() > 1 else 0
    layer = watch.add_layer(name, "input", x.shape, size, channel_axis=axis)
    if watch.keep_values:
        watch.values[layer.origin] = x.detach().clone() if watch.by_position else local
    watch.node_ids.write(x, local + layer.start)
    return layer


def _check(model: nn.Module, options: Options) -> None:
    for name, allowed in (
        ("granularity", GRANULARITIES),
        ("aggregate", AGGREGATES),
        ("shared", ("fold", "unfold")),
        ("vocabulary", ("entries", "aggregate")),
    ):
        value = getattr(options, name)
        if value not in allowed:
            raise InputError(f"{name}={value!r} is unknown: choose from {', '.join(allowed)}")
    if not isinstance(model, nn.Module):
        raise InputError(f"the model must be a torch.nn.Module, not {type(model).__name__}: load it first")


def _check_reached(graph: NeuralGraph, notes: Collection[str]) -> None:
    """Raise if no output is reached from any input: a link was cut outside torch, or by whole numbers."""
    reached = reached_nodes(graph)
    if any(reached[nodes.flat[nodes.flat >= 0]].any() for nodes in graph.output.nodes()):
        return
    cut = "; ".join(list(notes)[:3])
    raise ModelError(
        "no output of the model depends on any input as far as its operations tell: "
        + (f"everything passes through values that are taken as they are ({cut})" if cut else "values left torch on "
           "the way (numpy, plain numbers), or the output is a constant")
    )


def reached_nodes(graph: NeuralGraph) -> np.ndarray:
    """Mark the nodes of layers that values come to from the inputs, layer by layer; bool (nodes,)."""
    reached = np.zeros(graph.number_of_nodes(), bool)
    for layer in graph.inputs:
        reached[layer.start : layer.stop] = True
    ways = [(links.source_nodes, links.target) for links in graph.links if links.target is not None]
    ways += [(nodes, layer) for layer in graph.layers for nodes in layer.operands]  # links of gates may be left out
    ways.sort(key=lambda way: way[1].start)
    changed = True
    while changed:
        changed = False
        for nodes, layer in ways:
            span = slice(layer.start, layer.stop)
            if not reached[span].any() and reached[nodes.flat[nodes.flat >= 0]].any():
                reached[span] = changed = True
    return reached
