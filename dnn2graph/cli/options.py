"""What all commands take: a model file, how to build its model, and how to trace it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from .failures import debug_option
from .terminal import working

if TYPE_CHECKING:
    from ..graph import NeuralGraph
    from ..load import LoadedModel

# Written out, since the library's own lists come with torch, and help should not wait for it.
GRANULARITIES = ("channel", "position")
AGGREGATES = ("sum", "mean", "l1", "l2", "maxabs")
SHARED = ("fold", "unfold")
KINDS = ("weight", "unit", "pool", "gate", "recurrent")


def example(*commands: str) -> str:
    """Write examples for the end of a help text; the first character keeps click from joining the lines."""
    return "\n".join(["\b", "Example:", *(f"  {command}" for command in commands)])


class Separated(click.ParamType):
    """Values separated by commas, such as ``1,28,28``."""

    def __init__(self, name: str, convert: Callable[[str], Any], choices: tuple[str, ...] = ()) -> None:
        self.name, self.convert_one, self.choices = name, convert, choices

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        try:
            values = tuple(self.convert_one(part.strip()) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of the form {self.name}", param, ctx)
        if unknown := [each for each in values if self.choices and each not in self.choices]:
            self.fail(f"{unknown[0]!r} is unknown: choose from {', '.join(self.choices)}", param, ctx)
        return values


def _length(text: str) -> int:
    length = int(text)
    if length < 1:
        raise ValueError(text)
    return length


SHAPE = Separated("1,28,28", _length)
NUMBERS = Separated("0.5,0.5,0.5", float)

kinds_option = click.option(
    "--kinds", type=Separated("weight,pool", str, KINDS), help=f"Kinds of links that count: {', '.join(KINDS)}.  [all]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_OPTIONS = (
    click.option("--arch", metavar="PACKAGE.MODULE:CALLABLE", help="What builds the model of a state dict."),
    click.option(
        "--input-shape",
        type=SHAPE,
        multiple=True,
        help="Shape of one sample, without the batch axis; once for each input.  [of the .pt2 or .onnx file or "
        "the folder, or of a linear first layer]",
    ),
    click.option(
        "--granularity",
        type=click.Choice(GRANULARITIES),
        default="channel",
        show_default=True,
        help="A node per channel, or per channel and position.",
    ),
    click.option(
        "--aggregate",
        type=click.Choice(AGGREGATES),
        default="sum",
        show_default=True,
        help="How a kernel's taps make the weight between two channels.",
    ),
    click.option(
        "--shared",
        type=click.Choice(SHARED),
        default="fold",
        show_default=True,
        help="Whether a module that is called again has the same nodes, or new ones.",
    ),
    click.option("--no-simplify", is_flag=True, help="Keep a layer for every operation."),
    click.option("--no-fold-norm", is_flag=True, help="Keep batch-norm scales as links of their own."),
    debug_option,
)


@dataclass(frozen=True)
class Source:
    """A model file and how to read and trace it, as named on the command line."""

    path: str
    arch: str | None
    input_shapes: tuple[tuple[int, ...], ...]
    options: dict[str, Any]

    def load(self) -> LoadedModel:
        """Read the model."""
        import torch
        from torch.utils._pytree import tree_map_only

        from ..graph import common_dtype
        from ..load import load_model

        inputs = tuple(torch.zeros(1, *shape) for shape in self.input_shapes)
        loaded = load_model(self.path, self.arch, inputs or None)
        if inputs:
            dtype = common_dtype(list(loaded.model.parameters()))

            def fitting(x: torch.Tensor) -> torch.Tensor:
                return x.to(dtype) if x.is_floating_point() else x  # indices stay whole numbers

            args, kwargs = tree_map_only(torch.Tensor, fitting, (loaded.args, loaded.kwargs))
            loaded = replace(loaded, args=args, kwargs=kwargs)
        return loaded

    def open(self) -> tuple[LoadedModel, NeuralGraph]:
        """Read the model and trace it."""
        with working(f"loading {self.path}"):
            loaded = self.load()
        with working("tracing"):
            return loaded, loaded.trace(**self.options)


def takes_model(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument MODEL and its options to a command, which is given a :class:`Source` in their place."""
    return _takes(command, click.argument("model", type=click.Path()), lambda sources: sources[0])


def takes_models(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments MODEL… and their common options to a command, which is given a list of :class:`Source`."""
    return _takes(command, click.argument("model", type=click.Path(), nargs=-1, required=True), lambda sources: sources)


def _takes(
    command: Callable[..., Any], argument: Callable[..., Any], given: Callable[[list[Source]], Any]
) -> Callable[..., Any]:
    """Add an argument that names files and the options of models; the command is ``given`` some of their sources."""

    @wraps(command)
    def wrapped(
        model: str | tuple[str, ...],
        arch: str | None,
        input_shape: tuple[tuple[int, ...], ...],
        granularity: str,
        aggregate: str,
        shared: str,
        no_simplify: bool,
        no_fold_norm: bool,
        **rest: Any,
    ) -> Any:
        options = {
            "granularity": granularity,
            "aggregate": aggregate,
            "shared": shared,
            "simplify": not no_simplify,
            "fold_norm": not no_fold_norm,
        }
        paths = [model] if isinstance(model, str) else model
        return command(given([Source(path, arch, input_shape, options) for path in paths]), **rest)

    decorated: Callable[..., Any] = wrapped
    for option in reversed((argument, *_OPTIONS)):
        decorated = option(decorated)
    return decorated
