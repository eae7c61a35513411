"""``dnn2graph plot``: a network as a figure, and figures and films of what was recorded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .failures import debug_option, printable
from .options import Separated, Source, example, kinds_option, takes_model
from .terminal import progress_bar, working

if TYPE_CHECKING:
    import pandas as pd

# Written out, since the library's own lists come with numpy, and help should not wait for it.
FIGURES, FILMS = (".png", ".svg", ".pdf"), (".gif", ".mp4")


@click.group(epilog=example("dnn2graph plot network data/digits_cnn.pt2 -o digits.png", "dnn2graph plot run --help"))
@debug_option
def plot() -> None:
    """Draw networks, and what was recorded of their training, as figures and films."""


@plot.command(
    "network",
    epilog=example(
        "dnn2graph plot network data/digits_cnn.pt2 -o digits.png",
        "dnn2graph plot network data/digits_cnn.pt2 --granularity position --max-edges 1000 -o digits.pdf",
    ),
)
@takes_model
@click.option("-o", "--output", required=True, type=click.Path(), help=f"The file: {', '.join(FIGURES)}.")
@click.option(
    "--max-edges", type=click.IntRange(0), default=2000, show_default=True, help="How many edges are drawn at most."
)
@click.option(
    "--max-nodes",
    type=click.IntRange(0),
    help="How many channels of a layer are drawn at most.  [64; 10 where channels are images]",
)
@click.option("--title", help="Above the figure.  [name of the file]")
@kinds_option
def plot_network(
    source: Source,
    output: str,
    max_edges: int,
    max_nodes: int | None,
    title: str | None,
    kinds: tuple[str, ...] | None,
) -> None:
    """Draw a network as its graph: layers from left to right, the strongest edges blue or red by their sign.

    In position granularity each channel is drawn as an image. The figure says how much of the graph it shows. The file
    appears at its path only when it is complete.
    """
    from ..errors import ExportError

    path = Path(output)
    if path.suffix.lower() not in FIGURES:
        raise ExportError(f"cannot write '{path}': give a name that ends in {', '.join(FIGURES)}")
    _, graph = source.open()
    with working("drawing"):
        from ..plot.network import network
        from ..plot.style import save_figure

        title = Path(source.path).stem if title is None else title
        save_figure(network(graph, title, max_edges=max_edges, max_nodes=max_nodes, kinds=kinds), path)
    click.echo(printable(f"wrote {path}"))


@plot.command(
    "run",
    epilog=example("dnn2graph plot run runs/digits -o digits.png", "dnn2graph plot run runs/digits -o digits.gif"),
)
@click.argument("folder", metavar="RUN", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help=f"The file: {', '.join(FIGURES + FILMS)}.")
@click.option(
    "--measures",
    "--measure",
    type=Separated("strength,fluctuation", str),
    help="What to draw.  [all that was recorded; in a film, strength]",
)
@click.option("--run-name", "names", multiple=True, help="Which of several runs in the folder; once for each.  [all]")
@click.option("--title", help="Above the figure.  [the run, or the measure]")
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), default=8, show_default=True, help="Length of a film."
)
@debug_option
def plot_run(
    folder: str,
    output: str,
    measures: tuple[str, ...] | None,
    names: tuple[str, ...],
    title: str | None,
    seconds: float,
) -> None:
    """Draw a training run: each measure over the steps, or a film of how a measure of nodes is distributed.

    RUN is the folder that it was recorded in. The file appears at its path only when it is complete.
    """
    from ..errors import ExportError

    path = Path(output)
    suffix = path.suffix.lower()
    if suffix in FIGURES:
        _draw_figure(read_recorded(folder, names or None, measures), path, title)
    elif suffix in FILMS:
        _draw_film(read_recorded(folder, names or None), path, measures or ("strength",), title, seconds)
    else:
        raise ExportError(f"cannot write '{path}': give a name that ends in {', '.join(FIGURES + FILMS)}")
    click.echo(printable(f"wrote {path}"))


def read_recorded(
    folder: str, runs: str | tuple[str, ...] | None = None, measures: tuple[str, ...] | None = None
) -> pd.DataFrame:
    """Read what was recorded in a folder; a line on stderr for each snapshot that is damaged."""
    with working(f"reading {folder}"), warnings.catch_warnings(record=True) as caught:
        from ..dynamics.run import read_run

        warnings.simplefilter("always")
        table = read_run(folder, runs, measures)
    for warning in caught:
        click.echo(f"dnn2graph: {printable(str(warning.message))}", err=True)
    return table


def _draw_figure(table: pd.DataFrame, path: Path, title: str | None) -> None:
    with working("drawing"):
        from ..plot.style import save_figure
        from ..plot.training import training_curves

        save_figure(training_curves(table, title), path)


def _draw_film(table: pd.DataFrame, path: Path, measures: tuple[str, ...], title: str | None, seconds: float) -> None:
    from ..errors import InputError
    from ..plot.animation import save_animation

    if len(measures) > 1:
        raise InputError(f"a film shows one measure, not {len(measures)}: name one with --measure")
    with progress_bar(f"drawing {path.name}") as progress:
        save_animation(table, path, measures[0], seconds=seconds, title=title, progress=progress)
