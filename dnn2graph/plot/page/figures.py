"""The two figures of a page, without data: the page's script fills them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..style import FAINT, INK, MUTED

if TYPE_CHECKING:
    from bokeh.plotting import figure

TOOLTIPS = (
    ("node", "@label (@id)"),
    ("strength", "@strength{%.6g}"),
    ("in, out", "@strength_in{%.6g}, @strength_out{%.6g}"),
    ("absolute strength", "@strength_abs{%.6g}"),
    ("bias", "@bias{%.6g}"),
    ("degree in, out", "@degree_in, @degree_out"),
)
FORMATTED = ("strength", "strength_in", "strength_out", "strength_abs", "bias")
MANY, FACTOR = 20_000, 16  # edges from which on, while the picture moves, only one in so many is drawn
STILL, LATEST = 600, 3000  # milliseconds after which all are drawn again, and that a slow frame may take
HISTOGRAM_HEIGHT = 190


def network_figure() -> figure:
    """Prepare the figure of the graph: straight and curved edges, those of a chosen node, and the nodes."""
    from bokeh.models import ColumnDataSource, HoverTool, Range1d
    from bokeh.plotting import figure

    plot = figure(
        name="plot",
        sizing_mode="stretch_both",
        x_range=Range1d(start=0, end=1),
        y_range=Range1d(start=0, end=1),
        tools="pan,box_zoom,wheel_zoom,tap,save",
        active_scroll="wheel_zoom",
        toolbar_location="above",
        output_backend="canvas",  # looks the same on machines without a graphics card
        lod_threshold=MANY,
        lod_factor=FACTOR,
        lod_timeout=STILL,
        lod_interval=LATEST,
        outline_line_color=None,
        min_border=4,
    )
    plot.axis.visible = False
    plot.grid.visible = False
    plot.toolbar.logo = None
    look: dict[str, Any] = {
        "line_color": "colour",
        "line_alpha": "alpha",
        "line_width": "width",
        "line_dash": "dash",
    }
    ends, controls, looks = ("x0", "y0", "x1", "y1"), ("cx", "cy"), tuple(look.values())
    straight = ColumnDataSource({name: [] for name in (*ends, *looks)})
    plot.segment(*ends, source=straight, name="straight", **look)
    for name in ("curved", "chosen"):
        source = ColumnDataSource({column: [] for column in (*ends, *controls, *looks)})
        plot.quadratic(*ends, *controls, source=source, name=name, **look)
    names = ("id", "x", "y", "size", "colour", "marker", "label", "degree_in", "degree_out", *FORMATTED)
    nodes = plot.scatter(
        "x",
        "y",
        source=ColumnDataSource({name: [] for name in names}),
        name="nodes",
        size="size",
        fill_color="colour",
        marker="marker",
        line_color="white",
        line_width=0.5,
        nonselection_alpha=1,
        selection_line_color=INK,
    )
    chosen: Any = nodes.selection_glyph
    chosen.line_width = 3
    hover = HoverTool(
        renderers=[nodes], tooltips=list(TOOLTIPS), formatters={f"@{name}": "printf" for name in FORMATTED}
    )
    plot.add_tools(hover)
    return plot


def histogram_figure() -> figure:
    """Prepare the histogram of a measure of the nodes that are shown."""
    from bokeh.models import ColumnDataSource, Range1d
    from bokeh.plotting import figure

    plot = figure(
        name="histogram",
        sizing_mode="stretch_width",
        height=HISTOGRAM_HEIGHT,
        tools="",
        toolbar_location=None,
        x_range=Range1d(start=0, end=1),
        y_range=Range1d(start=0, end=1),
        outline_line_color=None,
        y_axis_label="nodes",
    )
    plot.grid.grid_line_color = FAINT
    plot.xgrid.visible = False
    plot.axis.axis_line_color = plot.axis.major_tick_line_color = MUTED
    plot.axis.minor_tick_line_color = None
    plot.axis.axis_label_text_font_style = "normal"
    bars = ColumnDataSource({"left": [], "right": [], "top": []})
    plot.quad(
        left="left", right="right", top="top", bottom=0, source=bars, name="bars", fill_color=MUTED, line_color="white"
    )
    return plot
