"""``dnn2graph record``: the checkpoints of a training as a recorded run."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .failures import printable
from .images import Images, accuracy, takes_images
from .options import Separated, Source, example, json_option, kinds_option, takes_models
from .terminal import print_json, progress_bar

if TYPE_CHECKING:
    from torch import Tensor

    from ..load import LoadedModel

# Written out, since the library's own list comes with torch, and help should not wait for it.
MEASURES = ("strength", "strength_in", "strength_out", "strength_abs", "fluctuation", "link_weights")

COUNTED = "the names tell no step of each file: they are counted from 0 in natural order; --steps says otherwise"


@click.command(
    epilog=example(
        "dnn2graph record data/digits_mlp.pt -o run",
        "dnn2graph record data/digits_cnn.pt --arch examples.train_digits:digits_cnn --input-shape 1,8,8 "
        "--images digits -o run_cnn",
    )
)
@takes_models
@click.option("-o", "--out", "folder", required=True, type=click.Path(), help="Folder of the record.")
@click.option("--run-name", "run", default="run", show_default=True, help="What the run is called in the record.")
@click.option(
    "--measures",
    type=Separated("strength,fluctuation", str, MEASURES),
    default="strength,fluctuation",
    show_default=True,
    help=f"What to record: {', '.join(MEASURES)}.",
)
@click.option(
    "--steps", type=Separated("0,10,20", int), help="Step of each file.  [the last number in its name, if all differ]"
)
@kinds_option
@takes_images
@click.option("--samples", type=click.IntRange(1), help="How many test images to take the accuracy on.  [all]")
@json_option
def record(
    sources: Sequence[Source],
    folder: str,
    run: str,
    measures: tuple[str, ...],
    steps: tuple[int, ...] | None,
    kinds: tuple[str, ...] | None,
    images: Images | None,
    samples: int | None,
    as_json: bool,
) -> None:
    """Record checkpoints of one training, as a Recorder would have done while it ran.

    With --images, the accuracy on test images is recorded too.
    """
    from ..dynamics.recorder import Recorder

    numbers = steps or _steps_of_names(sources)
    if numbers is None:
        sources = sorted(sources, key=_natural)
    steps = numbers or tuple(range(len(sources)))
    _check_steps(steps, len(sources))
    first, graph = sources[0].open()
    judge = _judge(first, images, samples, sources[0])
    recorder = Recorder(graph, folder, 1, measures, run, kinds=kinds)
    if numbers is None:
        click.echo(f"dnn2graph: {COUNTED}", err=True)
    snapshots = []
    with progress_bar("recording") as progress, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for place, (source, step) in enumerate(zip(sources, steps, strict=True)):
            loaded = first if place == 0 else _load_alike(source, first, sources[0])
            scalars = judge(loaded)
            recorder.record(loaded.model, step, scalars)
            snapshots.append({"file": source.path, "step": step, **scalars})
            if progress:
                progress(place + 1, len(sources))
    for warning in caught:
        click.echo(f"dnn2graph: {printable(str(warning.message))}", err=True)
    if as_json:
        print_json({"folder": folder, "run": run, "measures": list(measures), "snapshots": snapshots})
    else:
        count = f"{len(steps)} snapshot{'s' if len(steps) > 1 else ''}"
        which = f"steps {min(steps)} to {max(steps)}" if len(steps) > 1 else f"step {steps[0]}"
        click.echo(printable(f"recorded {count} ({which}) of run {run!r} in {folder}"))


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


def _check_steps(steps: Sequence[int], files: int) -> None:
    from ..errors import InputError

    if len(steps) != files:
        raise InputError(f"--steps has {len(steps)} numbers for {files} files: give one for each")
    if len(set(steps)) < files or min(steps) < 0:
        raise InputError(f"--steps {','.join(map(str, steps))}: give a different number from 0 on for each file")


def _load_alike(source: Source, first: LoadedModel, named: Source) -> LoadedModel:
    """Load a further file into what the first one was loaded into; its parameters must be the same."""
    from ..errors import LoadError

    shapes = {name: tensor.shape for name, tensor in first.model.state_dict().items()}
    loaded = source.load()
    theirs = {name: tensor.shape for name, tensor in loaded.model.state_dict().items()}
    if different := sorted(name for name in shapes | theirs if shapes.get(name) != theirs.get(name)):
        raise LoadError(
            f"'{source.path}' is of another network than '{named.path}': {different[0]!r} is "
            f"{_shape(theirs.get(different[0]))} instead of {_shape(shapes.get(different[0]))}: record each apart"
        )
    return loaded


def _shape(shape: Sequence[int] | None) -> str:
    return "missing" if shape is None else str(tuple(shape))


def _judge(
    first: LoadedModel, images: Images | None, samples: int | None, source: Source
) -> Callable[[LoadedModel], dict[str, float]]:
    """Prepare what gives the accuracy of a model, if images are given."""
    from ..errors import InputError

    if images is None:
        return lambda loaded: {}
    if first.is_chain:
        raise InputError(f"'{source.path}' is a state dict without a model that takes images: name one by --arch")
    test: tuple[Tensor, Tensor] = images.load(first, samples)
    return lambda loaded: {"accuracy": accuracy(loaded, *test)}
