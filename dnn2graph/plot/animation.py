"""A film of a training run: how the strengths of each layer's nodes are distributed while the network learns."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import ExportError, InputError
from ..export.files import replacing
from ..export.series import listed, one_run, run_table
from ..measures.density import densities_of, scott
from .style import FAINT, INK, MUTED, WIDTH, gradient, plain, style
from .training import PANEL_HEIGHT, draw_scalar, layer_names, layer_panels, measure_name, number_axes, panel_grid

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.animation import AbstractMovieWriter, FuncAnimation
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Polygon

WRITERS = {".gif": "pillow", ".mp4": "ffmpeg"}
PIXELS_PER_INCH = 100
HEADING, HIGH_PANEL, TIME_LINE = 0.35, 1.7, 1.5  # inches; a panel is high where there are two rows of them at most
FRAMES_PER_SECOND = 12  # at most; a run of fewer snapshots shows each for longer
LAST = 1.0  # seconds that the last snapshot stays
POINTS = 240  # of a density
NARROWEST = 1 / 60  # bandwidth, of what a panel shows: the density of equal values is a peak, not infinite
TALLEST = 3.0  # times the median peak, which a panel shows: a narrow start does not flatten all that follows
SCALARS = ("accuracy", "test_accuracy", "loss")  # the time line shows the first that was recorded, or else any


class _Film(NamedTuple):
    """A figure and what changes in it."""

    figure: Figure
    draw: Callable[[int], None]  # shows a snapshot
    frames: list[int]  # which snapshot each frame shows
    interval: float  # milliseconds


def strength_animation(
    run: pd.DataFrame | str | Path, measure: str = "strength", *, seconds: float = 8.0, title: str | None = None
) -> FuncAnimation:
    """Animate the distribution of a node measure in each layer over training, above the accuracy if it was recorded.

    The axes do not move; a dashed line keeps the first snapshot in sight. A run of many snapshots is sampled evenly,
    the first and the last included.

    Parameters
    ----------
    run : DataFrame, str or Path
        The table of one run, or the folder it was recorded in.
    measure : str
        Any that has a value for each node.
    seconds : float
        Length of the film, without the second that the last snapshot stays.
    title : str, optional
        Default: the measure's name.

    Returns
    -------
    matplotlib FuncAnimation
        To be saved, or shown in a notebook by ``HTML(animation.to_jshtml())``.

    Raises
    ------
    InputError
        If matplotlib is not installed, the table holds several runs, or the measure has no values of nodes.
    """
    with style():
        from matplotlib.animation import FuncAnimation

        film = _make_film(run, measure, seconds, title)
        return FuncAnimation(
            film.figure, film.draw, film.frames, init_func=lambda: None, interval=film.interval, cache_frame_data=False
        )


def save_animation(
    run: pd.DataFrame | str | Path,
    path: str | Path,
    measure: str = "strength",
    *,
    seconds: float = 8.0,
    title: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the film of :func:`strength_animation` as GIF or MP4; the file appears only when it is complete.

    Parameters
    ----------
    run, measure, seconds, title
        As of :func:`strength_animation`.
    path : str or Path
        Ends in ``.gif``, or in ``.mp4``, for which the program ffmpeg must be installed.
    progress : callable, optional
        Called with the number of frames drawn and their total.

    Raises
    ------
    ExportError
        If the name has another ending, ffmpeg is not installed, or the file cannot be written.
    InputError
        As of :func:`strength_animation`.
    """
    writer = WRITERS.get(suffix := Path(path).suffix.lower())
    if writer is None:
        raise ExportError(f"cannot write '{path}': give an animation a name that ends in {' or '.join(WRITERS)}")
    with style():
        from matplotlib.animation import writers

        if not writers.is_available(writer):
            raise ExportError(f"cannot write '{path}': {suffix} needs the program {writer}: install it, or write .gif")
        film = _make_film(run, measure, seconds, title)
        with replacing(path) as file, TemporaryDirectory() as folder:
            made = Path(folder) / f"film{suffix}"  # writers take names, not files
            try:
                make: Any = writers[writer]  # takes a fraction, whatever its annotation says
                _write(film, make(fps=1000 / film.interval), made, progress)
            except CalledProcessError as error:
                raise ExportError(
                    f"cannot write '{path}': {writer} failed with exit code {error.returncode}"
                ) from error
            with made.open("rb") as whole:
                shutil.copyfileobj(whole, file)


def _write(film: _Film, writer: AbstractMovieWriter, path: Path, progress: Callable[[int, int], None] | None) -> None:
    writer.setup(film.figure, str(path), PIXELS_PER_INCH)
    try:
        for done, frame in enumerate(film.frames, start=1):
            film.draw(frame)
            writer.grab_frame()
            if progress:
                progress(done, len(film.frames))
    except BaseException:
        with suppress(Exception):  # of a film without frames; what stopped the drawing matters
            writer.finish()  # lets a program that takes the frames end
        raise
    writer.finish()


# ---------------------------------------------------------------------- what is shown


def _node_rows(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Select the finite values of a node measure."""
    rows = table[table["node"].notna()]
    known = [str(name) for name in rows["measure"].unique()]
    if measure not in known:
        has = f"it has {listed(known)}" if known else "record one, such as 'strength'"
        raise InputError(f"the run has no node measure {measure!r}: {has}")
    rows = rows[(rows["measure"] == measure) & np.isfinite(rows["value"].to_numpy(np.float64))]
    if not len(rows):
        raise InputError(f"no value of {measure!r} in this run is finite: there is nothing to show")
    return rows


def _scalar_rows(table: pd.DataFrame) -> pd.DataFrame | None:
    """Select the number of the whole network that says best how far training is."""
    rows = table[table["layer"].isna()]
    known = [str(name) for name in rows["measure"].unique()]
    best = next((name for name in (*SCALARS, *known) if name in known), None)
    return None if best is None else rows[rows["measure"] == best]


def _frame_steps(rows: pd.DataFrame, seconds: float) -> np.ndarray:
    """Choose the steps that are shown."""
    steps, most = np.unique(rows["step"].to_numpy(np.int64)), max(2, round(seconds * FRAMES_PER_SECOND))
    if len(steps) <= most:
        return steps
    return steps[np.linspace(0, len(steps) - 1, most).round().astype(int)]


def _densities(rows: pd.DataFrame, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the density of one layer's values at each step, at common points."""
    values, step = rows["value"].to_numpy(np.float64), rows["step"].to_numpy(np.int64)
    samples = [values[step == each] for each in steps]
    low, high = values.min(), values.max()
    constant = high - low <= 1e-6 * max(abs(low), abs(high))
    narrowest = NARROWEST * (1.0 if constant else high - low)
    deviations = [sample.std(ddof=1) if len(sample) > 1 else 0.0 for sample in samples]
    widths = scott(np.array([len(sample) for sample in samples]), np.array(deviations))
    extend = 0.5 / NARROWEST if constant else 3.0  # bandwidths to either side
    x, densities = densities_of(samples, POINTS, extend=extend, bandwidths=np.fmax(widths, narrowest).tolist())
    return x, np.nan_to_num(densities)  # of no values: a line at zero


# ---------------------------------------------------------------------- drawing


def _make_film(run: pd.DataFrame | str | Path, measure: str, seconds: float, title: str | None) -> _Film:
    """Draw the first snapshot, and say how the others are drawn."""
    if not seconds > 0:
        raise InputError(f"seconds={seconds} must be positive")
    table = one_run(run_table(run))
    rows, scalar = _node_rows(table, measure), _scalar_rows(table)
    steps = _frame_steps(rows, seconds)
    figure, (top, grid, time_line) = _make_figure(len(layer_names(rows)), scalar is not None)
    heading = f"{measure_name(measure)}, density in each layer" if title is None else plain(title)
    text = top.text(0.01, 0.5, "", va="center", weight="bold", fontsize=11)
    top.text(0.99, 0.5, "dashed: the first snapshot", ha="right", va="center", color=MUTED, fontsize=8)
    layers = _draw_layers(grid, rows, steps)
    values, now = (None, None) if scalar is None else _draw_time_line(time_line, scalar)

    def draw(snapshot: int) -> None:
        text.set_text(f"{heading}: step {steps[snapshot]:,}")
        for shape, line, densities in layers:
            x, density = np.asarray(line.get_xdata()), densities[snapshot]
            shape.set_xy(np.stack([np.r_[x[0], x, x[-1]], np.r_[0, density, 0]], axis=1))
            line.set_ydata(density)
        if values is not None and now is not None:
            past = values[values.index <= steps[snapshot]]
            now.set_data(past.index.to_numpy(), past.to_numpy())

    draw(0)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # from here on nothing moves
    interval = 1000 * seconds / len(steps)
    frames = [*range(len(steps)), *[len(steps) - 1] * round(LAST * 1000 / interval)]
    return _Film(figure, draw, frames, interval)


def _make_figure(layers: int, with_time_line: bool) -> tuple[Figure, tuple[SubFigure, SubFigure, SubFigure]]:
    """Make the figure, and its parts for the heading, the layers and the time line (or the layers, without one)."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows, _ = panel_grid(layers)
    heights = [HEADING, rows * (PANEL_HEIGHT if rows > 2 else HIGH_PANEL), *[TIME_LINE] * with_time_line]
    apart = ConstrainedLayoutEngine(w_pad=0.1)  # numbers at the ends of neighbouring axes do not touch
    figure = Figure((WIDTH, sum(heights)), dpi=PIXELS_PER_INCH, layout=apart)
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    return figure, (parts[0], parts[1], parts[-1])


def _draw_layers(part: SubFigure, rows: pd.DataFrame, steps: np.ndarray) -> list[tuple[Polygon, Line2D, np.ndarray]]:
    """Draw what does not change of each layer, and make what does."""
    names = layer_names(rows)
    sizes = rows.groupby("layer", observed=True)["node"].nunique()
    drawn = []
    for axes, name, colour in zip(layer_panels(part, names, sizes), names, gradient(len(names)), strict=True):
        x, densities = _densities(rows[rows["layer"] == name], steps)
        (shape,) = axes.fill(x, densities[0], color=(*colour, 0.4), linewidth=0)
        (line,) = axes.plot(x, densities[0], color=colour)
        axes.plot(x, densities[0], color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
        peaks = densities.max(axis=1)
        axes.set_ylim(0, 1.08 * min(peaks.max(), TALLEST * float(np.median(peaks))))
        axes.set_xlim(x[0], x[-1])
        number_axes(axes, steps=False)
        axes.tick_params(labelbottom=True)  # the scale is each layer's own
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        drawn.append((shape, line, densities))
    return drawn


def _draw_time_line(part: SubFigure, rows: pd.DataFrame) -> tuple[pd.Series, Line2D]:
    """Draw a number of the whole network over training, and the point that will move along it."""
    axes = part.subplots()
    draw_scalar(axes, rows, [str(rows["run"].iloc[0])])
    number_axes(axes, most=8)
    axes.set_title(measure_name(str(rows["measure"].iloc[0])))
    axes.set_xlabel("training step")
    axes.lines[0].set(color=FAINT if len(rows) > 1 else "none", marker="")
    (now,) = axes.plot([], [], color=INK, marker="o", markevery=[-1], markersize=5)
    return rows.groupby("step")["value"].last().sort_index(), now
