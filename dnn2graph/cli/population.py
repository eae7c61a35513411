"""``dnn2graph population train | gather``: many networks of one architecture in a folder."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from .ensemble import analyse, measure, reproduce
from .failures import debug_option, printable
from .images import NAMES
from .options import NUMBERS, SHAPE, Separated, example, json_option
from .terminal import print_json, progress_bar

if TYPE_CHECKING:
    import pandas as pd

# Written out, since the library's own lists come with torch, and help should not wait for it.
ARCHITECTURES = ("fc", "cnn")
INITIALISATIONS = ("normal", "uniform", "truncated", "variance-scaling")
BATCH_ORDERS = ("own", "common")
AUTO = "auto"


class GroupSize(click.ParamType):
    """A number of networks, or "auto"."""

    name = "integer or auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        return value if value == AUTO else click.IntRange(1).convert(value, param, ctx)


TRAIN_EXAMPLE = (
    "dnn2graph population train -o out/digits --data-set digits --width 8 --networks 12 --steps 50 "
    "--initialisation normal,uniform --support 0.05,0.5,5"
)
GATHER_EXAMPLE = (
    "dnn2graph population gather data/digits_cnn.pt -o out/cnns --arch examples.train_digits:digits_cnn "
    "--input-shape 1,8,8"
)


@click.group(epilog=example(TRAIN_EXAMPLE))
def population() -> None:
    """Many networks of one architecture: train or gather, measure, and compare them."""


for command in (measure, analyse, reproduce):
    population.add_command(command)


@population.command(epilog=example(TRAIN_EXAMPLE))
@click.option("-o", "--out", "folder", required=True, type=click.Path(), help="Folder of the population.")
@click.option("--data-set", type=click.Choice(NAMES), default="mnist", show_default=True)
@click.option(
    "--architecture",
    type=click.Choice(ARCHITECTURES),
    default="fc",
    show_default=True,
    help="One hidden dense layer, or one 3x3 convolution; then a dense classifier.",
)
@click.option(
    "--width", type=click.IntRange(1), default=32, show_default=True, help="Of the hidden layer: neurons or channels."
)
@click.option("--networks", type=click.IntRange(1), default=64, show_default=True, help="How many to train.")
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True, help="Updates of each network.")
@click.option(
    "--snapshots",
    type=click.IntRange(2),
    default=12,
    show_default=True,
    help="How often all networks are kept: at the start, the end, and in between, early steps densely.",
)
@click.option(
    "--initialisation",
    "initialisations",
    type=Separated("normal,uniform", str, INITIALISATIONS),
    default="normal",
    show_default=True,
    help=f"{', '.join(INITIALISATIONS)}; networks cycle through them.",
)
@click.option(
    "--support", "supports", type=NUMBERS, default="0.05", show_default=True, help="Scales of the initialisations."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the first network.")
@click.option("--batch-size", type=click.IntRange(1), default=128, show_default=True, help="Images for each update.")
@click.option("--learning-rate", type=float, default=0.01, show_default=True, help="Of gradient descent.")
@click.option("--train-images", type=click.IntRange(1), help="Train on the first images only.  [all]")
@click.option(
    "--batch-order",
    type=click.Choice(BATCH_ORDERS),
    default="own",
    show_default=True,
    help="Batches drawn for each network, or the same for all, which is faster.",
)
@click.option(
    "--group-size", type=GroupSize(), default=AUTO, show_default=True, help="Networks that are trained at once."
)
@click.option("--jobs", type=int, default=1, show_default=True, help="Processes; -1 for one on each core.")
@click.option("--data", type=click.Path(), help="Folder of data sets.  [DNN2GRAPH_DATA, else data]")
@json_option
@debug_option
def train(
    folder: str, snapshots: int, data: str | None, group_size: int | str, jobs: int, as_json: bool, **design: Any
) -> None:
    """Train a population as La Malfa et al. do, and keep it at several steps.

    A training that was stopped goes on when the same command is given again.
    """
    from ..population.design import Design, snapshot_steps
    from ..population.training import train_population
    from ..population.workers import keep_freed_memory

    keep_freed_memory()
    plan = Design(snapshots=snapshot_steps(design["steps"], snapshots), **design)
    begin = time.perf_counter()
    with progress_bar("training") as progress:
        store = train_population(plan, folder, data=data, group_size=group_size, jobs=jobs, progress=progress)
    seconds = time.perf_counter() - begin
    members = store.members()
    last = members[members["step"] == plan.steps]
    found = {"folder": folder, "group_size": store.description["group_size"], "seconds": seconds, **_summary(last)}
    if as_json:
        print_json(found)
    else:
        networks = _counted(plan.networks, "network")
        click.echo(printable(f"trained {networks}, {_said(found)}, in {seconds:.1f} s: {folder}"))


@population.command(epilog=example(GATHER_EXAMPLE))
@click.argument("checkpoints", type=click.Path(), nargs=-1, required=True)
@click.option("-o", "--out", "folder", required=True, type=click.Path(), help="Folder of the population.")
@click.option(
    "--arch", required=True, metavar="PACKAGE.MODULE:CALLABLE", help="What builds the model of the checkpoints."
)
@click.option(
    "--input-shape",
    type=SHAPE,
    multiple=True,
    required=True,
    help="Shape of one sample, without the batch axis; once for each input.",
)
@click.option(
    "--accuracies",
    type=click.Path(),
    help="CSV with a column checkpoint, and any of accuracy, network, step, initialisation, support and seed.",
)
@json_option
@debug_option
def gather(
    checkpoints: tuple[str, ...],
    folder: str,
    arch: str,
    input_shape: tuple[tuple[int, ...], ...],
    accuracies: str | None,
    as_json: bool,
) -> None:
    """Make a population of checkpoints of one architecture.

    Network and step are told by the last two numbers in a file's name; with --accuracies a table may say otherwise.
    """
    from ..population.gathering import gather as gather_checkpoints

    with progress_bar("gathering") as progress:
        store = gather_checkpoints(checkpoints, arch, input_shape, folder, accuracies, progress=progress)
    members = store.members()
    found = {"folder": folder, "checkpoints": len(checkpoints), **_summary(members)}
    if as_json:
        print_json(found)
    else:
        files, networks = _counted(len(checkpoints), "checkpoint"), _counted(found["networks"], "network")
        click.echo(printable(f"gathered {files} of {networks}, {_said(found)}: {folder}"))


def _summary(members: pd.DataFrame) -> dict[str, Any]:
    accuracy = members["accuracy"]
    return {
        "networks": members["network"].nunique(),
        "diverged": int(members["diverged"].sum()),
        "accuracy": {"min": accuracy.min(), "median": accuracy.median(), "max": accuracy.max()},
    }


def _said(found: dict[str, Any]) -> str:
    low, middle, high = found["accuracy"].values()
    accuracy = "accuracy unknown" if low != low else f"accuracy {low:.3f} to {high:.3f}, median {middle:.3f}"
    return accuracy + (f", {found['diverged']} diverged" if found["diverged"] else "")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
