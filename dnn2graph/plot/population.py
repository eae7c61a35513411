"""Figures of the ensemble analysis of a population, layer by layer, as in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..population.ensemble import Analysis, Pooled
from ..population.measuring import Measured
from .style import DISTINCT, FAINT, MUTED, WIDTH, compact, gradient, gradient_map, plain, save_figure, shortened, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {"strength": "node strength", "link_weights": "link weight"}
KINDS = {"symmetric-kl": "symmetric Kullback–Leibler divergence", "jensen-shannon": "Jensen–Shannon divergence"}
LOWEST = 1e-5  # of a layer's highest density: what is drawn below it would be a network or two
PANEL = (2.6, 2.1)  # inches
NAME_LENGTH = 22
SHOWN_FEATURES = (":mean", ":std", ":kurtosis", ":spread")
MARKERS = "osD^vP*X"
OFF_CENTRE = 0.17  # between the marks of the controls of one feature, in rows

# Colours of the controls: what matters is which of two AUCs is the controlled one.
CONTROL_COLOURS = dict(zip(("none", "time", "initialisation", "time and initialisation"), DISTINCT, strict=False))


def densities(analysis: Analysis, title: str | None = None) -> Figure:
    """Draw the pooled densities of each accuracy bin: a row for each measure, a column for each layer.

    The scale is logarithmic, so that extremes show.

    Returns
    -------
    matplotlib Figure
    """
    with style():
        figure, rows = _panels([analysis.of(measure) for measure in NAMES], title)
        colours = gradient(len(analysis.networks))
        for pooled, axes in rows:
            _draw_densities(axes, pooled, colours)
        _name_axes([axes for _, axes in rows], "", "density")
        _accuracy_bar(figure, [axes for _, axes in rows], analysis.edges)
        return figure


def divergences(analysis: Analysis, kind: str = "symmetric-kl", title: str | None = None) -> Figure:
    """Draw the divergence between all pairs of accuracy bins, for each measure and layer, on one colour scale.

    Parameters
    ----------
    kind : {"symmetric-kl", "jensen-shannon"}

    Returns
    -------
    matplotlib Figure
    """
    from matplotlib.colors import LogNorm

    with style():
        figure, rows = _panels([analysis.of(measure) for measure in NAMES], title)
        matrices = [pooled.divergence(kind) for pooled, _ in rows]
        values = np.concatenate([matrix[matrix > 0] for matrix in matrices])
        if not values.size:
            raise InputError("fewer than two accuracy bins have networks: there is no divergence, take narrower bins")
        norm = LogNorm(max(values.min(), values.max() * 1e-4), values.max())
        for (_, axes), matrix in zip(rows, matrices, strict=True):
            image = axes.imshow(np.where(matrix > 0, matrix, np.nan), norm=norm, origin="lower", cmap="magma")
            axes.set_facecolor(FAINT)
            _label_bins(axes, analysis.edges)
        _name_axes([axes for _, axes in rows], "accuracy", "accuracy")
        bar = figure.colorbar(image, ax=[axes for _, axes in rows], shrink=0.8, aspect=30)
        bar.set_label(KINDS[kind])
        return figure


def fluctuation_by_accuracy(measured: Measured, by: str | None = None, title: str | None = None) -> Figure:
    """Draw each layer's fluctuation against accuracy: a point for each member.

    Parameters
    ----------
    by : str, optional
        Column of ``members`` that the colour shows, at most seven different values. Default: the support, where it is
        known.

    Returns
    -------
    matplotlib Figure
    """
    sound = measured.where(measured.finite())
    known = sound.members.dropna(axis="columns")
    if by is None and "support" in known:
        by = "support"
    if by is not None and by not in known:
        columns = ", ".join(map(str, known.columns))
        raise InputError(f"members have no column {by!r} that is known of all: theirs are {columns}")
    layers = [place for place, layer in enumerate(sound.graph.layers) if layer.size > 1]
    values, accuracy = sound.fluctuation, sound.members["accuracy"].to_numpy()
    group = np.zeros(len(sound), np.int64) if by is None else known[by].to_numpy()
    groups, group = np.unique(group, return_inverse=True)
    if len(groups) > len(DISTINCT):
        raise InputError(f"{by!r} has {len(groups)} values, colours tell {len(DISTINCT)} apart: choose another column")
    random = np.random.default_rng(0).permutation(len(sound))  # no group covers the others
    with style():
        figure, panels = _grid_of(len(layers), title)
        for place, axes in zip(layers, panels, strict=True):
            layer = sound.graph.layers[place]
            colours = np.array(DISTINCT)[group[random]]
            axes.scatter(accuracy[random], values[random, place], s=5, c=colours, alpha=0.45, linewidths=0)
            axes.set_title(plain(shortened(layer.name, NAME_LENGTH)))
            axes.set_yscale("log")
        _name_axes(panels, "test accuracy", "fluctuation")
        if by is not None:
            labels = [f"{by} {value:g}" if isinstance(value, float) else str(value) for value in groups.tolist()]
            _legend(figure, labels, DISTINCT)
        return figure


def separation_chart(analysis: Analysis, features: Sequence[str] | None = None, title: str | None = None) -> Figure:
    """Draw how well features separate low from high accuracy: the AUC with its 95 % interval, under each control.

    Parameters
    ----------
    features : sequence of str, optional
        Default: of each measure and layer the mean, the deviation, the kurtosis and the spread.

    Returns
    -------
    matplotlib Figure
    """
    table = analysis.separation
    if features is None:
        features = [name for name in table["feature"].unique() if name.endswith(SHOWN_FEATURES)]
    controls = [control for control in CONTROL_COLOURS if control in set(table["control"])]
    found = table.set_index(["feature", "control"])
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(WIDTH * 0.8, 1.3 + 0.3 * len(features)), layout="constrained")
        axes = figure.subplots()
        for shift, control in enumerate(controls):
            rows = found.loc[[(feature, control) for feature in features]]
            y = np.arange(len(features)) + OFF_CENTRE * (shift - (len(controls) - 1) / 2)
            auc, low, high = (rows[column].to_numpy() for column in ("auc", "auc_low", "auc_high"))
            axes.hlines(y, low, high, color=CONTROL_COLOURS[control], linewidth=1.4, alpha=0.7)
            axes.scatter(auc, y, s=16, color=CONTROL_COLOURS[control], marker=MARKERS[shift], zorder=3)
        axes.axvline(0.5, color=MUTED, linewidth=0.8, zorder=0)
        axes.set_yticks(range(len(features)), [_readable(feature) for feature in features])
        axes.set_ylim(len(features) - 0.4, -0.6)
        axes.set_xlim(-0.02, 1.02)
        axes.grid(axis="x")
        axes.set_xlabel("AUC: 0.5 separates nothing; above, the value is larger in accurate networks")
        if title:
            figure.suptitle(plain(title))
        labels = [f"control: {control}" for control in controls]
        _legend(figure, labels, [CONTROL_COLOURS[control] for control in controls], MARKERS)
        return figure


def write_figures(
    measured: Measured, analysis: Analysis, folder: str | Path, title: str, pooled: str = "", prefix: str = ""
) -> None:
    """Write all four figures as PNG: densities, divergences, fluctuation and separation.

    Parameters
    ----------
    folder : path
        Exists.
    title : str
    pooled : str
        Which members are pooled, if not all: what the titles of densities and divergences add.
    prefix : str
        Goes before the names of the files.
    """
    of_pooled = f"{title}: {pooled}" if pooled else title
    figures = {
        "densities": densities(analysis, of_pooled),
        "divergences": divergences(analysis, title=of_pooled),
        "fluctuation": fluctuation_by_accuracy(measured, title=title),
        "separation": separation_chart(analysis, title=title),
    }
    for name, figure in figures.items():
        save_figure(figure, Path(folder) / f"{prefix}{name}.png")


# ---------------------------------------------------------------------- panels


def _panels(rows: Sequence[Sequence[Pooled]], title: str | None) -> tuple[Figure, list[tuple[Pooled, Axes]]]:
    """Lay out one row of panels for each measure that was pooled; columns are the layers."""
    from matplotlib.figure import Figure

    rows = [row for row in rows if row]
    if not rows:
        raise InputError("nothing was pooled: no layer's values differ")
    layers = list(dict.fromkeys(pooled.layer for row in sorted(rows, key=len, reverse=True) for pooled in row))
    size = (max(WIDTH * 0.6, PANEL[0] * len(layers) + 1.2), PANEL[1] * len(rows) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), len(layers), squeeze=False)
    shown = []
    for row, line in zip(rows, grid, strict=True):
        by_layer = {pooled.layer: pooled for pooled in row}
        for layer, axes in zip(layers, line, strict=True):
            if layer in by_layer:
                axes.set_title(f"{NAMES[row[0].measure]}, {plain(shortened(layer, NAME_LENGTH))}")
                shown.append((by_layer[layer], axes))
            else:
                axes.set_visible(False)
    if title:
        figure.suptitle(plain(title))
    return figure, shown


def _grid_of(count: int, title: str | None) -> tuple[Figure, list[Any]]:
    """Lay out panels in lines of at most four."""
    from matplotlib.figure import Figure

    columns = min(count, 4)
    lines = -(-count // columns)
    figure = Figure(figsize=(max(WIDTH * 0.6, PANEL[0] * columns), PANEL[1] * 1.2 * lines + 0.7), layout="constrained")
    every = figure.subplots(lines, columns, squeeze=False).ravel().tolist()
    for axes in every[count:]:
        axes.set_visible(False)
    if title:
        figure.suptitle(plain(title))
    return figure, every[:count]


def _name_axes(panels: Sequence[Axes], x: str, y: str) -> None:
    """Name the y axis of the first panel in each line, and the x axis of the lowest one in each column."""
    lines: dict[int, Axes] = {}
    columns: dict[int, Axes] = {}
    for axes in panels:
        place = axes.get_subplotspec()
        assert place is not None
        lines.setdefault(place.rowspan.start, axes)
        columns[place.colspan.start] = axes
    for axes in lines.values():
        axes.set_ylabel(y)
    for axes in columns.values():
        axes.set_xlabel(x)


def _draw_densities(axes: Axes, pooled: Pooled, colours: np.ndarray) -> None:
    """Draw one density for each bin, as far as anything can be seen."""
    density = pooled.density
    top = np.nanmax(density)
    for row, colour in zip(density, colours, strict=True):
        if not np.isnan(row).all():
            axes.plot(pooled.x, row, color=colour, linewidth=1.1)
    seen = pooled.x[np.nan_to_num(density).max(0) > LOWEST * top]
    axes.set_xlim(seen[0], seen[-1])
    axes.set_yscale("log")
    axes.set_ylim(LOWEST * top, 2 * top)
    axes.xaxis.set_major_formatter(compact)


def _accuracy_bar(figure: Figure, panels: Sequence[Axes], edges: np.ndarray) -> None:
    """Say which colour is which accuracy."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm

    mappable = ScalarMappable(BoundaryNorm(edges, 256), gradient_map())
    bar = figure.colorbar(mappable, ax=list(panels), shrink=0.8, aspect=30, spacing="proportional")
    bar.set_label("test accuracy")
    bar.set_ticks(edges[:: max(1, -(-len(edges) // 11))].tolist())


def _label_bins(axes: Axes, edges: np.ndarray) -> None:
    """Write accuracies on both axes of a heat map: at the edges of the bins."""
    every = max(1, -(-len(edges) // 6))
    places, labels = np.arange(len(edges))[::every] - 0.5, [f"{edge:.3g}" for edge in edges[::every]]
    axes.set_xticks(places, labels)
    axes.set_yticks(places, labels)


def _legend(figure: Figure, labels: Sequence[str], colours: Sequence[str], markers: str = "o" * len(DISTINCT)) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=plain(label))
        for label, colour, marker in zip(labels, colours, markers, strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))


def _readable(feature: str) -> str:
    """Write ``strength:hidden:std`` for people."""
    measure, layer, statistic = feature.split(":")
    statistic = {"std": "deviation"}.get(statistic, statistic)
    if (measure, statistic) == ("strength", "deviation"):
        return f"fluctuation, {plain(shortened(layer, NAME_LENGTH))}"
    return f"{NAMES[measure]} {statistic}, {plain(shortened(layer, NAME_LENGTH))}"
