"""Load a model, and an input to watch it on, from a file of any kind; and its graph."""

from __future__ import annotations

import os
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
from .chain import load_chain
from .files import existing_file
from .formats import INDEX, ONNX, PROGRAM, SAFETENSORS, SUFFIXES, suffix_of, unknown
from .huggingface import WEIGHTS, example_of, load_folder
from .layers import REMEDY
from .onnx import load_onnx
from .program import load_program
from .state_dict import load_weights, read_state_dict


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
        Some files bring their own model: an exported program (``.pt2``), an ONNX file (``.onnx``, opset 9 and later;
        needs the extra ``onnx``), and a folder of transformers (``config.json`` and safetensors; needs transformers).
        A state dict (``.pt .pth .th .model .bin .ckpt``, ``.safetensors``, or an index of shards such as
        ``model.safetensors.index.json``) needs ``model``, unless its shapes form one unambiguous chain of linear and
        convolution layers: then the graph of its channels needs no more. A feature map before a linear layer is taken
        to be flattened channel by channel, as ``torch.flatten`` does.
    model : Module or str, optional
        The architecture that a state dict belongs to. A module is given the weights; a string
        ``package.module:callable`` is imported, called without arguments, and given the weights.
    example_input : tensor or tuple, optional
        As of :func:`dnn2graph.from_torch`. Default: that of the program; one sample of the sizes that an ONNX file or
        a configuration declares; one sample of a model that starts with a linear layer.
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
    if os.path.isdir(path):  # Path.is_dir raises on names that are too long
        if model is None:
            return _of_folder(path, example_input)
        path = next((path / name for name in WEIGHTS if (path / name).exists()), path / WEIGHTS[0])
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        raise unknown(path)
    path = existing_file(path)
    if suffix in (PROGRAM, ONNX):
        if model is not None:
            raise InputError(f"'{path}' brings its own architecture: leave the model out")
        return _of_program(path, example_input) if suffix == PROGRAM else _of_onnx(path, example_input)
    state_dict = read_state_dict(path)
    if model is None:
        if example_input is not None:
            raise InputError(f"an example input is of use only with the architecture of '{path}': {REMEDY}")
        chain, example = load_chain(path, state_dict, ordered=suffix not in (SAFETENSORS, INDEX))
        return LoadedModel(chain, (example,), is_chain=True)
    built = resolve_architecture(model) if isinstance(model, str) else model
    load_weights(built, state_dict, path)
    return LoadedModel(built, _default_input(built) if example_input is None else as_arguments(example_input))


def _of_program(path: Path, example_input: Any) -> LoadedModel:
    program, args, kwargs = load_program(path)
    if example_input is not None:
        args, kwargs = as_arguments(example_input), {}
    return LoadedModel(program, args, kwargs)


def _of_onnx(path: Path, example_input: Any) -> LoadedModel:
    model, args = load_onnx(path, needs_example=example_input is None)
    return LoadedModel(model, args if example_input is None else model.converted(as_arguments(example_input)))


def _of_folder(path: Path, example_input: Any) -> LoadedModel:
    """Load a folder of transformers, whose models take their main input by its name."""
    model = load_folder(path)
    if example_input is None:
        return LoadedModel(model, (), example_of(model, path))
    args = as_arguments(example_input)
    if model.main_input_name == "input_ids":
        args = tuple(x.long() if isinstance(x, torch.Tensor) else x for x in args)
    main = str(model.main_input_name)
    return LoadedModel(model, (), {main: args[0]}) if len(args) == 1 else LoadedModel(model, args)


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
