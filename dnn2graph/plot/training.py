"""Figures of a training run: how each recorded measure changes while the network learns."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import InputError
from ..export.series import listed, run_table
from .style import DISTINCT, INK, MUTED, WIDTH, compact, gradient, gradient_map, plain, shortened, style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

PANELS_PER_ROW = 5  # of layers
WIDE_PANELS_PER_ROW = 3  # of layer measures and of scalars
PANEL_HEIGHT, WIDE_PANEL_HEIGHT, HEADING = 1.15, 2.1, 0.55  # inches
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FEW = 12  # snapshots; so few are marked each
ROUND = (1, 2, 2.5, 5, 10)  # steps between numbers on an axis
NAMED = 12  # layers that a colour bar can name

NAMES = {
    "strength": "node strength",
    "strength_in": "in-strength",
    "strength_out": "out-strength",
    "strength_abs": "absolute strength",
}


def training_curves(
    run: pd.DataFrame | str | Path, title: str | None = None, *, measures: Collection[str] | None = None
) -> Figure:
    """Draw every recorded measure over training.

    Values of the whole network, such as an accuracy, and measures of layers have a panel each, with a line per layer
    coloured by its depth. Measures of nodes have a panel for each layer: the median of its nodes, and between which
    values half of them and nine in ten lie. Several runs are laid over each other, layer by layer.

    Parameters
    ----------
    run : DataFrame, str or Path
        The table of a run, or of a few, with the columns ``run``, ``step``, ``layer``, ``node``, ``measure``,
        ``value``; or the folder they were recorded in.
    title : str, optional
        Default: the names of the runs.
    measures : collection of str, optional
        What to draw; default everything that was recorded.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    InputError
        If matplotlib is not installed, a measure was not recorded, or there are more runs than can be told apart.
    """
    table = _chosen(run_table(run), measures)
    runs = [str(name) for name in table["run"].unique()]
    if len(runs) > len(DISTINCT):
        raise InputError(f"{len(runs)} runs ({listed(runs)}) cannot be told apart in one figure: choose some")
    with style():
        from matplotlib.figure import Figure

        sections = _sections(table, runs)
        heights = [section.height for section in sections]
        figure = Figure(figsize=(WIDTH, sum(heights) + HEADING), layout="constrained")
        figure.suptitle(plain(_named(runs) if title is None else title), x=0.01, ha="left", weight="bold")
        for section, part in zip(sections, _parts(figure, heights), strict=True):
            if section.title:
                part.suptitle(section.title, x=0.01, ha="left", fontsize=9.5)
            section.draw(part)
        if len(runs) > 1:
            figure.legend(handles=_run_lines(runs), loc="upper right", ncols=min(len(runs), 4))
    return figure


def _chosen(table: pd.DataFrame, measures: Collection[str] | None) -> pd.DataFrame:
    """Select measures; numbers that are not finite become missing ones."""
    known = [str(name) for name in table["measure"].unique()]
    if measures is not None:
        wanted = [measures] if isinstance(measures, str) else list(measures)
        if unknown := [name for name in wanted if name not in known]:
            raise InputError(f"the run has no measure {unknown[0]!r}: it has {', '.join(known)}")
        table = table[table["measure"].isin(wanted)]
    value = table["value"].to_numpy(np.float64)
    return table.assign(value=np.where(np.isfinite(value), value, np.nan))


def _named(runs: list[str]) -> str:
    return f"Training run {runs[0]}" if len(runs) == 1 else f"{len(runs)} training runs"


def _parts(figure: Figure, heights: list[float]) -> list[SubFigure]:
    return list(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])


# ---------------------------------------------------------------------- what is drawn where


class _Section(NamedTuple):
    """One measure of nodes; or all other measures."""

    title: str
    height: float
    draw: Callable[[SubFigure], None]


def _sections(table: pd.DataFrame, runs: list[str]) -> list[_Section]:
    """Arrange the figure, from top to bottom."""
    of_layer, of_node = table["layer"].notna(), table["node"].notna()
    scalars = _by_measure(table[~of_layer])
    layer_measures, node_measures = _by_measure(table[of_layer & ~of_node]), _by_measure(table[of_node])
    sections = []
    wide = scalars | (layer_measures if len(runs) == 1 else {})
    if wide:
        height = panel_grid(len(wide), WIDE_PANELS_PER_ROW)[0] * WIDE_PANEL_HEIGHT
        sections.append(_Section("", height, lambda part: _draw_wide(part, scalars, layer_measures, wide, runs)))
    if len(runs) > 1:
        sections += [_grid_section(measure_name(name), rows, runs) for name, rows in layer_measures.items()]
    bands = "median, 25–75 % and 5–95 % of each layer's n nodes" if len(runs) == 1 else "median of each layer's n nodes"
    for name, rows in node_measures.items():
        sections.append(_grid_section(f"{measure_name(name)}: {bands}", rows, runs))
    return sections


def _by_measure(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {str(name): table[table["measure"] == name] for name in table["measure"].unique()}


def measure_name(measure: str) -> str:
    """Call a measure as a person would."""
    name = NAMES.get(measure, measure.replace("_", " "))
    return plain(name[:1].upper() + name[1:])


def layer_names(rows: pd.DataFrame) -> list[str]:
    """Name the layers of a table in the order of the network, which is that of their nodes, or that of recording."""
    names = [str(name) for name in rows["layer"].unique()]
    if rows["node"].notna().all():
        first = rows.groupby("layer", observed=True)["node"].min()
        names.sort(key=lambda name: int(first[name]))
    return names


# ---------------------------------------------------------------------- scalars and measures of layers


def _draw_wide(
    part: SubFigure,
    scalars: dict[str, pd.DataFrame],
    layer_measures: dict[str, pd.DataFrame],
    wide: Collection[str],
    runs: list[str],
) -> None:
    rows, columns = panel_grid(len(wide), WIDE_PANELS_PER_ROW)
    panels = part.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes, measure in zip(panels, wide, strict=False):
        axes.set_title(measure_name(measure))
        number_axes(axes, most=6)
        if measure in scalars:
            draw_scalar(axes, scalars[measure], runs)
        else:
            _draw_layers(axes, layer_measures[measure])
    for axes in panels[len(wide) :]:
        axes.remove()
    for axes in panels[max(len(wide) - columns, 0) : len(wide)]:
        axes.set_xlabel("training step")
    if len(wide) > len(scalars):
        names = layer_names(next(iter(layer_measures.values())))
        if len(names) > 1:
            _draw_depths(part, panels[: len(wide)], names)


def draw_scalar(axes: Axes, rows: pd.DataFrame, runs: list[str]) -> None:
    """Draw a number of the whole network over training, one line for each run."""
    for run, colour in zip(runs, _run_colours(runs), strict=True):
        values = rows[rows["run"] == run].groupby("step")["value"].last()
        axes.plot(values.index, values, color=colour, marker=_marker(len(values)))
    value = rows["value"]
    if "accuracy" in str(rows["measure"].iloc[0]) and value.min() >= 0 and value.max() <= 1:
        axes.set_ylim(0, 1.02)


def _draw_layers(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw one line for each layer, coloured by its depth."""
    names = layer_names(rows)
    values = rows.pivot_table(index="step", columns="layer", values="value", aggfunc="last", observed=True)
    for name, colour in zip(names, gradient(len(names)), strict=True):
        if name in values:
            axes.plot(values.index, values[name], color=colour, marker=_marker(len(values)))


def _draw_depths(part: SubFigure, panels: list[Axes], names: list[str]) -> None:
    """Say which colour is which layer."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm

    norm = BoundaryNorm(np.arange(len(names) + 1) - 0.5, 256)
    bar = part.colorbar(ScalarMappable(norm, gradient_map()), ax=panels, aspect=30, pad=0.01, shrink=0.9)
    shown = range(0, len(names), -(-len(names) // NAMED))
    bar.set_ticks(list(shown), labels=[plain(shortened(names[place], 18)) for place in shown])
    bar.ax.tick_params(which="both", length=0, labelsize=7)
    bar.ax.invert_yaxis()  # the input first
    bar.outline.set_visible(False)


# ---------------------------------------------------------------------- panels of layers


def _grid_section(title: str, rows: pd.DataFrame, runs: list[str]) -> _Section:
    height = panel_grid(len(layer_names(rows)))[0] * PANEL_HEIGHT + HEADING
    return _Section(title, height, lambda part: _draw_grid(part, rows, runs))


def _draw_grid(part: SubFigure, rows: pd.DataFrame, runs: list[str]) -> None:
    """Draw the values of each layer in a panel of its own."""
    names = layer_names(rows)
    steps = rows["step"].min(), rows["step"].max()
    sizes = rows.groupby("layer", observed=True)["node"].nunique()
    quantiles = rows.groupby(["run", "layer", "step"], observed=True)["value"].quantile(list(QUANTILES)).unstack()
    colours = gradient(len(names)) if len(runs) == 1 else [INK] * len(names)
    for axes, name, depth_colour in zip(layer_panels(part, names, sizes), names, colours, strict=True):
        number_axes(axes)
        for run, colour in zip(runs, [depth_colour] if len(runs) == 1 else _run_colours(runs), strict=True):
            if (run, name) in quantiles.index:
                _draw_bands(axes, quantiles.loc[(run, name)], colour, bands=len(runs) == 1)
        _widen(axes)
        if steps[0] < steps[1]:
            axes.set_xlim(*steps)
    part.supxlabel("training step", fontsize=9)


def panel_grid(panels: int, per_row: int = PANELS_PER_ROW) -> tuple[int, int]:
    """Arrange panels in rows and columns, the last row nearly as full as the others."""
    rows = -(-panels // per_row)
    return rows, -(-panels // rows)


def layer_panels(part: SubFigure, names: list[str], sizes: pd.Series | None = None) -> list[Axes]:
    """Make a panel for each layer; only the lowest of each column has numbers on its axis."""
    rows, columns = panel_grid(len(names))
    panels = part.subplots(rows, columns, squeeze=False).ravel().tolist()
    for place, (axes, name) in enumerate(zip(panels, names, strict=False)):
        axes.set_title(plain(shortened(name, 15)), fontsize=8, pad=3)
        if sizes is not None and sizes[name]:
            axes.set_title(f"n={int(sizes[name])}", fontsize=7, color=MUTED, loc="right", pad=3)
        axes.tick_params(labelsize=7, labelbottom=place + columns >= len(names))
    for axes in panels[len(names) :]:
        axes.remove()
    return panels[: len(names)]


def _draw_bands(axes: Axes, quantiles: pd.DataFrame, colour: np.ndarray | str, bands: bool) -> None:
    steps = quantiles.index.to_numpy()
    lowest, lower, median, upper, highest = (quantiles[q].to_numpy() for q in QUANTILES)
    if bands:
        axes.fill_between(steps, lowest, highest, color=colour, alpha=0.18, linewidth=0)
        axes.fill_between(steps, lower, upper, color=colour, alpha=0.35, linewidth=0)
    axes.plot(steps, median, color=colour, marker=_marker(len(steps)))


# ---------------------------------------------------------------------- details


def number_axes(axes: Axes, most: int = 4, steps: bool = True) -> None:
    """Write few and short numbers on both axes; those of steps are whole."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(most, steps=ROUND, integer=steps))
    axes.yaxis.set_major_locator(MaxNLocator(most, steps=ROUND))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(compact))
    axes.grid(axis="y")


def _widen(axes: Axes) -> None:
    """Show values that do not change as a line in the middle, without digits that only rounding makes."""
    low, high = axes.dataLim.intervaly
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        axes.set_ylim(low - 1, high + 1)


def _marker(snapshots: int) -> str:
    return "." if snapshots < FEW else ""


def _run_colours(runs: list[str]) -> list[str]:
    return [INK] if len(runs) == 1 else list(DISTINCT[: len(runs)])


def _run_lines(runs: list[str]) -> list[Line2D]:
    from matplotlib.lines import Line2D

    colours = _run_colours(runs)
    labels = [plain(shortened(run, 24)) for run in runs]
    return [Line2D([], [], color=colour, label=label) for label, colour in zip(labels, colours, strict=True)]
