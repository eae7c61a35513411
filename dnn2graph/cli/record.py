"""``dnn2graph record``: the checkpoints of a training as a recorded run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from .checkpoints import in_steps, load_alike, steps_option
from .failures import printable
from .images import Images, accuracy, takes_images
from .options import Separated, Source, example, json_option, kinds_option, takes_models
from .terminal import print_json, progress_bar

if TYPE_CHECKING:
    from torch import Tensor

    from ..load import LoadedModel

# Written out, since the library's own list comes with torch, and help should not wait for it.
MEASURES = ("strength", "strength_in", "strength_out", "strength_abs", "fluctuation", "link_weights")


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
@steps_option
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

    sources, steps, note = in_steps(sources, steps)
    first, graph = sources[0].open()
    judge = _judge(first, images, samples, sources[0])
    recorder = Recorder(graph, folder, 1, measures, run, kinds=kinds)
    if note:
        click.echo(f"dnn2graph: {note}", err=True)
    snapshots = []
    with progress_bar("recording") as progress, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for place, (source, step) in enumerate(zip(sources, steps, strict=True)):
            loaded = first if place == 0 else load_alike(source, first, sources[0])
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
