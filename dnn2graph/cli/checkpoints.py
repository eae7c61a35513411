"""Several files of one training: which step each of them is, and that they are of the same network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .options import Separated, Source

if TYPE_CHECKING:
    from ..load import LoadedModel

steps_option = click.option(
    "--steps", type=Separated("0,10,20", int), help="Step of each file.  [the last number in its name, if all differ]"
)


class Checkpoints(NamedTuple):
    """Files of one training."""

    sources: list[Source]
    steps: tuple[int, ...]
    note: str | None  # what is to be said about the steps, if they had to be counted

    @property
    def last(self) -> Source:
        """The file of the last step."""
        return self.sources[self.steps.index(max(self.steps))]


def in_steps(sources: Sequence[Source], given: Sequence[int] | None) -> Checkpoints:
    """Tell the step of each file: the one given, or what its name says; else they are counted in natural order.

    Raises
    ------
    InputError
        If there is not a step for each file, or two of one.
    """
    from ..errors import InputError

    steps = tuple(given) if given else _steps_of_names(sources)
    if steps is None:
        note = "the names tell no step of each file: they are counted from 0 in natural order; --steps says otherwise"
        return Checkpoints(sorted(sources, key=_natural), tuple(range(len(sources))), note)
    if len(steps) != len(sources):
        raise InputError(f"--steps has {len(steps)} numbers for {len(sources)} files: give one for each")
    if len(set(steps)) < len(sources) or min(steps) < 0:
        raise InputError(f"--steps {','.join(map(str, steps))}: give a different number from 0 on for each file")
    return Checkpoints(list(sources), steps, None)


def _steps_of_names(sources: Sequence[Source]) -> tuple[int, ...] | None:
    """Tell the step of each file from its name, or else from its folder's; None if they do not tell them apart."""
    for name in (lambda path: path.stem, lambda path: path.parent.name):
        found = [re.findall(r"\d+", name(Path(source.path))) for source in sources]
        steps = tuple(int(numbers[-1]) for numbers in found if numbers)
        if len(set(steps)) == len(sources):
            return steps
    return None


def _natural(source: Source) -> list[Any]:
    """Sort numbers within names by their value."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", source.path)]


def load_alike(source: Source, first: LoadedModel, named: Source) -> LoadedModel:
    """Load a further file into what the first one was loaded into; its parameters must be the same."""
    from ..errors import LoadError

    shapes = {name: tensor.shape for name, tensor in first.model.state_dict().items()}
    loaded = source.load()
    theirs = {name: tensor.shape for name, tensor in loaded.model.state_dict().items()}
    if different := sorted(name for name in shapes | theirs if shapes.get(name) != theirs.get(name)):
        raise LoadError(
            f"'{source.path}' is of another network than '{named.path}': {different[0]!r} is "
            f"{_shape(theirs.get(different[0]))} instead of {_shape(shapes.get(different[0]))}: take each apart"
        )
    return loaded


def _shape(shape: Sequence[int] | None) -> str:
    return "missing" if shape is None else str(tuple(shape))
