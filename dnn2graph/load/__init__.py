"""Loading: a file becomes a model, and a model a graph. No code in a file is ever run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import InputError, LoadError
from ..graph import NeuralGraph, common_dtype
from ..trace import from_torch
from ..trace.inputs import as_arguments
from .architecture import resolve_architecture
from .chain import REMEDY, load_chain
from .files import existing_file
from .program import load_program
from .state_dict import STATE_DICTS, load_weights, read_state_dict

__all__ = ["LoadedModel", "load", "load_model", "read_state_dict", "resolve_architecture"]

PROGRAM = ".pt2"


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model from a file, with an input to watch it on.

    Attributes
    ----------
    model : Module
    args, kwargs
        An example input: one sample at least.
    is_chain : bool
        Whether the model was put together from the shapes of a state dict. Then activations, strides and padding are
        unknown, and there are channels but no positions.
    """

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    is_chain: bool = False

    def trace(self, **options: Any) -> NeuralGraph:
        """Trace the model, with the options of :func:`dnn2graph.from_torch`.

        Raises
        ------
        LoadError
            If positions are asked of a chain; else as of :func:`dnn2graph.from_torch`.
        """
        if self.is_chain:
            if options.get("granularity", "channel") == "position":
                raise LoadError(
                    "a state dict without a model has channels but no positions, since strides and padding are not "
                    f"stored: use granularity='channel', or {REMEDY}"
                )
            options["simplify"] = False  # between its layers stand unknown activations: none can be contracted
        return from_torch(self.model, self.args, example_kwargs=self.kwargs, **options)


def load(
    path: str | Path, model: nn.Module | str | None = None, example_input: Any = None, **options: Any
) -> NeuralGraph:
    """Load the graph of a trained network from a file. Code in the file is never run.

    Parameters
    ----------
    path : path
        An exported program (``.pt2``) brings its own model. A state dict (``.pt .pth .th .model .bin .ckpt`` or
        ``.safetensors``) needs ``model``, unless its shapes form one unambiguous chain of linear and convolution
        layers: then the graph of its channels needs no more. A feature map before a linear layer is taken to be
        flattened channel by channel, as ``torch.flatten`` does.
    model : Module or str, optional
        The architecture that a state dict belongs to. A module is given the weights; a string
        ``package.module:callable`` is imported, called without arguments, and given the weights.
    example_input : tensor or tuple, optional
        As of :func:`dnn2graph.from_torch`. Default: that of the program; one sample of a model that starts with a
        linear layer.
    **options
        As of :func:`dnn2graph.from_torch`: granularity, aggregate, shared, …

    Returns
    -------
    NeuralGraph

    Raises
    ------
    LoadError
        If the file is missing, damaged, would run code, does not fit the model or is ambiguous without one.
    UnsupportedOperation, ModelError, InputError
        As of :func:`dnn2graph.from_torch`.

    Examples
    --------
    >>> import dnn2graph as dg
    >>> graph = dg.load("data/digits_cnn.pt2")
    >>> [layer.name for layer in graph.layers]
    ['input', 'conv1', 'conv2', 'conv3', 'add', 'pool', 'classifier']
    """
    return load_model(path, model, example_input).trace(**options)


def load_model(path: str | Path, model: nn.Module | str | None = None, example_input: Any = None) -> LoadedModel:
    """Load a model, and an input to watch it on, from a file.

    Parameters
    ----------
    path, model, example_input
        As of :func:`load`.

    Returns
    -------
    LoadedModel

    Raises
    ------
    LoadError
        As of :func:`load`.
    InputError
        If an example input is needed, or cannot be used.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (PROGRAM, *STATE_DICTS):
        raise _unknown(path, suffix)
    path = existing_file(path)
    if suffix == PROGRAM:
        if model is not None:
            raise InputError(f"'{path}' brings its own architecture: leave the model out")
        program, args, kwargs = load_program(path)
        if example_input is not None:
            args, kwargs = as_arguments(example_input), {}
        return LoadedModel(program, args, kwargs)
    state_dict = read_state_dict(path)
    if model is None:
        if example_input is not None:
            raise InputError(f"an example input is of use only with the architecture of '{path}': {REMEDY}")
        chain, example = load_chain(path, state_dict, ordered=suffix != ".safetensors")
        return LoadedModel(chain, (example,), is_chain=True)
    built = resolve_architecture(model) if isinstance(model, str) else model
    load_weights(built, state_dict, path)
    return LoadedModel(built, _default_input(built) if example_input is None else as_arguments(example_input))


def _default_input(model: nn.Module) -> tuple[Any, ...]:
    """Give one sample for a model that starts with a linear layer, whose shape tells it."""
    with_weights = (module for module in model.modules() if next(module.parameters(recurse=False), None) is not None)
    first = next(with_weights, None)
    if not isinstance(first, nn.Linear):
        raise InputError(
            f"the shape of an input of {type(model).__name__} cannot be told from its first layer with weights"
            f"{f' ({type(first).__name__})' if first else ''}: name it, --input-shape 1,28,28 without the batch axis, "
            "in Python example_input=..."
        )
    return (torch.zeros(1, first.in_features, dtype=common_dtype([first.weight])),)


def _unknown(path: Path, suffix: str) -> LoadError:
    """Say which files are read."""
    if suffix == ".onnx":
        return LoadError(
            f"'{path}' is an ONNX file, which this version does not read: convert it to a torch module, "
            "for instance with onnx2torch.convert(path), and pass that to dnn2graph.from_torch"
        )
    kind = f"has the suffix '{suffix}'" if suffix else "has no suffix"
    return LoadError(f"'{path}' {kind}; known are {PROGRAM} (torch.export) and state dicts: {', '.join(STATE_DICTS)}")
