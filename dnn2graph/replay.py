"""Run the graph: links are linear maps, layers add a bias and apply a function. The model takes no part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_unflatten

from .errors import InputError
from .graph import Layer, NeuralGraph
from .links import Links
from .nodes import Nodes
from .trace.inputs import input_tensors
from .weights import Expression

CHUNK_BYTES = 1 << 28  # values of all nodes, for as many samples as run together


def replay(graph: NeuralGraph, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> Any:
    """Compute the model's outputs from the graph alone.

    Parameters
    ----------
    graph : NeuralGraph
        In position granularity; no shared module folded.
    args, kwargs
        What the model would be called with; samples lie along the batch axis that the graph was traced with.

    Returns
    -------
    The outputs, in the nesting in which the model returns them.

    Raises
    ------
    InputError
        If the graph is in channel granularity or folded, or the inputs do not fit its input layers.
    """
    chunks: list[list[Tensor]] = []
    for inputs in sample_chunks(graph, sample_batch(graph, args, kwargs or {})):
        values = node_values(graph, inputs)
        chunks.append([nodes.gather(values) for nodes in graph.output.nodes()])
    axis = graph.options.get("batch_axis")
    joined = (_join(torch.cat(parts), axis) for parts in zip(*chunks, strict=True))
    leaves = [next(joined) if isinstance(leaf, Nodes) else leaf for leaf in graph.output.leaves]
    return tree_unflatten(leaves, graph.output.structure)


def sample_chunks(graph: NeuralGraph, batch: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Cut a batch, of one tensor (samples, *shape) per input layer, into parts whose node values fit into memory."""
    samples = len(batch[0])
    per_sample = (graph.number_of_nodes() + 1) * graph.dtype.itemsize
    step = max(1, min(samples, CHUNK_BYTES // per_sample))
    for begin in range(0, samples, step):
        yield [x[begin : begin + step] for x in batch]


def node_values(graph: NeuralGraph, inputs: Sequence[Tensor]) -> Tensor:
    """Compute the value of every node for each sample: (samples, nodes + 1), the last column zero.

    ``inputs`` holds one tensor (samples, *shape) per input layer.
    """
    first = inputs[0]
    dtype = torch.promote_types(graph.dtype, first.dtype) if first.dtype.is_floating_point else graph.dtype
    values = torch.zeros(len(first), graph.number_of_nodes() + 1, dtype=dtype, device=first.device)
    for layer, x in zip(graph.inputs, inputs, strict=True):
        values[:, layer.start : layer.stop] = x.reshape(len(x), -1)
    inbound = inbound_links(graph)
    given = {layer.name for layer in graph.inputs}
    for layer in graph.layers:
        if layer.name not in given:
            values[:, layer.start : layer.stop] = layer_values(graph, layer, inbound[layer.name], values)
    return values


def inbound_links(graph: NeuralGraph) -> dict[str, list[Links]]:
    """Give the links that enter each layer, by its name."""
    inbound: dict[str, list[Links]] = {layer.name: [] for layer in graph.layers}
    for links in graph.links:
        assert links.target is not None
        inbound[links.target.name].append(links)
    return inbound


def layer_values(graph: NeuralGraph, layer: Layer, inbound: Sequence[Links], values: Tensor) -> Tensor:
    """Compute one layer's values (samples, nodes) from those of the layers before it."""
    shape = (len(values), *layer.tensor_shape)
    if layer.function is not None:
        operands = [nodes.gather(values) for nodes in layer.operands]
        result = call(layer.function, graph, operands).reshape(shape)
    else:
        total = values.new_zeros(len(values), layer.size)
        for links in inbound:
            y = links.apply(links.source_nodes.gather(values)).reshape(len(values), -1)
            target = links.target_nodes
            if target.is_range and target.size == layer.size:
                total = total + y
            else:
                total = total.index_add(1, torch.from_numpy(target.flat - layer.start).to(y.device), y)
        result = total.reshape(shape)
    if layer.bias is not None:
        result = result + layer.bias.detached(graph.weights).to(result)
    if layer.activate is not None:
        result = call(layer.activate, graph, [result])
    return result.reshape(len(values), layer.size).to(values.dtype)


def call(expression: Expression, graph: NeuralGraph, operands: Sequence[Tensor]) -> Tensor:
    """Evaluate a layer function on operands (samples, …), sample by sample as the model saw them."""

    def one_sample(*sample: Tensor) -> Tensor:
        return expression.detached(graph.weights, sample)

    if len(operands[0]) > 1:
        try:
            return torch.vmap(one_sample)(*operands)
        except RuntimeError:  # not every operation runs on many samples at once
            pass
    return torch.stack([one_sample(*sample) for sample in zip(*operands, strict=True)])


def sample_batch(graph: NeuralGraph, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Bring the inputs of a call to one tensor (samples, *shape of the input layer) each.

    Raises
    ------
    InputError
        As of :func:`replay`.
    """
    if graph.granularity != "position":
        raise InputError(
            "a graph in channel granularity has no values per position to replay: trace it with "
            "granularity='position', or let dnn2graph.verify do so"
        )
    if graph.folded:
        raise InputError(
            "the graph folds a module that is called more than once: trace it with shared='unfold' to replay"
        )
    tensors = input_tensors(args, kwargs)
    if len(tensors) != len(graph.inputs):
        raise InputError(f"the graph has {len(graph.inputs)} input(s), {len(tensors)} tensor(s) were given")
    axis = graph.options.get("batch_axis")
    batch = []
    for layer, x in zip(graph.inputs, tensors, strict=True):
        sample = list(layer.tensor_shape)
        if axis is None:
            fits = list(x.shape) == sample
            x = x[None]
        else:
            fits = x.dim() == len(sample) and [*x.shape[:axis], 1, *x.shape[axis + 1 :]] == sample
            x = x.movedim(axis, 0).unsqueeze(1 + axis) if fits else x
        if not fits:
            wanted = ["N" if i == axis else n for i, n in enumerate(sample)]
            shape = ", ".join(map(str, wanted))
            raise InputError(f"input {layer.name!r} must have shape ({shape}), not {tuple(x.shape)}")
        batch.append(x)
    if len({len(x) for x in batch}) != 1:
        raise InputError(f"the inputs hold different numbers of samples: {[len(x) for x in batch]}")
    return batch


def _join(outputs: Tensor, axis: int | None) -> Tensor:
    """Bring (samples, *shape of one sample's output) to the shape in which the model returns a batch."""
    if axis is None:
        return outputs[0]
    if outputs.dim() > axis + 1 and outputs.shape[axis + 1] == 1:
        return outputs.squeeze(axis + 1).movedim(0, axis)
    return outputs
