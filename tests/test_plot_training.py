"""Figures and films of a training run: what they draw, and that it can be read."""

from __future__ import annotations

import os
import sys
from itertools import combinations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import gaussian_kde

import dnn2graph as dg
from dnn2graph.plot.animation import FRAMES_PER_SECOND, save_animation, strength_animation
from dnn2graph.plot.style import compact, save_figure, shortened
from dnn2graph.plot.training import QUANTILES, training_curves

COLUMNS = ["run", "step", "layer", "node", "measure", "value"]


def table_of(rows):
    """Make the table of a run from tuples; None stands for no layer and no node."""
    return pd.DataFrame(rows, columns=COLUMNS).astype({"node": "Int64", "layer": "string", "value": float})


def node_rows(layers, steps, measure="strength", run="a", seed=0):
    """Make values of nodes, normally distributed, from {layer: size}."""
    random = np.random.default_rng(seed)
    places = [(layer, size) for layer, size in layers.items() for _ in range(size)]
    return [
        (run, step, layer, node, measure, random.normal(scale=1 + step / 8))
        for step in steps
        for node, (layer, _) in enumerate(places)
    ]


def layer_rows(layers, steps, measure="fluctuation", run="a"):
    return [(run, step, layer, None, measure, depth + step) for step in steps for depth, layer in enumerate(layers)]


def scalar_rows(steps, measure="accuracy", run="a"):
    return [(run, step, None, None, measure, 1 - 1 / (2 + step)) for step in steps]


LAYERS = {"input": 3, "hidden": 40, "output": 5}
STEPS = (0, 1, 3, 8)


def a_run(run="a", seed=0):
    """Make a run with a measure of nodes, one of layers, and an accuracy."""
    parts = (
        node_rows(LAYERS, STEPS, run=run, seed=seed),
        layer_rows(LAYERS, STEPS, run=run),
        scalar_rows(STEPS, run=run),
    )
    return table_of([row for part in parts for row in part])


def panels(figure):
    """Find the panels of a figure by their title."""
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_title(loc="left")}


# ---------------------------------------------------------------------- figures


def test_every_measure_has_its_panel_and_a_node_measure_one_for_each_layer_in_the_order_of_the_network():
    figure = training_curves(a_run().sample(frac=1, random_state=0))
    assert list(panels(figure)) == ["Accuracy", "Fluctuation", "input", "hidden", "output"]
    assert figure.get_suptitle() == "Training run a"
    assert [part.get_suptitle() for part in figure.subfigs] == [
        "", "Node strength: median, 25–75 % and 5–95 % of each layer's n nodes",
    ]  # fmt: skip


def test_a_node_measure_is_drawn_as_the_quantiles_of_its_layer():
    run = a_run()
    axes = panels(training_curves(run))["hidden"]
    rows = run[(run["measure"] == "strength") & (run["layer"] == "hidden")]
    expected = np.array([np.quantile(rows.loc[rows["step"] == step, "value"], QUANTILES) for step in STEPS])
    (median,) = axes.lines
    np.testing.assert_allclose(median.get_xydata(), np.stack([STEPS, expected[:, 2]], axis=1))
    for band, low, high in zip(axes.collections, (0, 1), (4, 3), strict=True):
        corners = band.get_paths()[0].vertices
        for place, step in enumerate(STEPS):
            here = corners[corners[:, 0] == step, 1]
            np.testing.assert_allclose([here.min(), here.max()], expected[place, [low, high]])


def test_measures_of_layers_and_of_the_network_are_drawn_as_recorded():
    found = panels(training_curves(a_run()))
    np.testing.assert_allclose([line.get_ydata() for line in found["Fluctuation"].lines],
                               [[depth + step for step in STEPS] for depth in range(3)])  # fmt: skip
    (accuracy,) = found["Accuracy"].lines
    np.testing.assert_allclose(accuracy.get_ydata(), [1 - 1 / (2 + step) for step in STEPS])
    assert found["Accuracy"].get_ylim() == (0, 1.02)


def test_colours_say_depth_and_the_bar_names_the_layers():
    figure = training_curves(a_run())
    bar = next(axes for axes in figure.axes if axes.get_label() == "<colorbar>")
    assert [label.get_text() for label in bar.get_yticklabels()] == ["input", "hidden", "output"]
    colours = [matplotlib.colors.to_hex(line.get_color()) for line in panels(figure)["Fluctuation"].lines]
    assert len(set(colours)) == 3
    assert [matplotlib.colors.to_hex(panels(figure)[layer].lines[0].get_color()) for layer in LAYERS] == colours


def test_several_runs_are_laid_over_each_other():
    runs = pd.concat([a_run("a"), a_run("b", seed=1)])
    figure = training_curves(runs)
    assert figure.get_suptitle() == "2 training runs"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert all(len(axes.lines) == 2 for axes in panels(figure).values())
    medians = [line.get_ydata()[-1] for line in panels(figure)["hidden"].lines]
    last = runs[(runs["step"] == 8) & (runs["layer"] == "hidden") & (runs["measure"] == "strength")]
    np.testing.assert_allclose(medians, last.groupby("run")["value"].median())


def test_more_runs_than_can_be_told_apart_are_a_choice_to_make():
    runs = pd.concat([table_of(scalar_rows(STEPS, run=f"run {number}")) for number in range(8)])
    with pytest.raises(dg.InputError, match=r"8 runs \(run 0, .*, …\) cannot be told apart in one figure: choose some"):
        training_curves(runs)


def test_measures_can_be_chosen():
    assert list(panels(training_curves(a_run(), "mine", measures=["fluctuation"]))) == ["Fluctuation"]
    assert list(panels(training_curves(a_run(), measures="accuracy"))) == ["Accuracy"]
    with pytest.raises(dg.InputError, match="the run has no measure 'loss': it has strength, fluctuation, accuracy"):
        training_curves(a_run(), measures=["loss"])


@pytest.mark.parametrize("rows", [node_rows(LAYERS, [7]), node_rows({"only": 1}, STEPS), scalar_rows([3])])
def test_one_snapshot_or_one_node_or_one_number_is_seen(rows):
    figure = training_curves(table_of(rows))
    figure.draw_without_rendering()
    for axes in panels(figure).values():
        (line,) = axes.lines
        assert line.get_marker() == "."
        assert np.isfinite(line.get_xydata()).all()


def test_values_that_are_not_finite_are_gaps():
    run = a_run()
    run.loc[(run["step"] == 3), "value"] = np.inf
    run.loc[(run["step"] == 8) & (run["node"] == 4), "value"] = np.nan
    found = panels(training_curves(run))
    assert np.isnan(found["Accuracy"].lines[0].get_ydata()).tolist() == [False, False, True, False]
    assert np.isnan(found["hidden"].lines[0].get_ydata()).tolist() == [False, False, True, False]


def test_a_value_that_does_not_change_is_a_line_in_the_middle():
    rows = [("a", step, "pool", 0, "strength", 3.0) for step in STEPS]
    axes = panels(training_curves(table_of(rows)))["pool"]
    assert axes.get_ylim() == (2, 4)


def overlapping(figure):
    """Find the pairs of texts that overlap, of all that are seen."""
    figure.draw_without_rendering()
    renderer, seen = figure._get_renderer(), []
    for text in texts_of(figure):
        if text.get_visible() and text.get_text().strip():
            seen.append((text.get_text(), text.get_window_extent(renderer).shrunk(0.98, 0.9)))
    assert len(seen) > 10
    return [(a, b) for (a, here), (b, there) in combinations(seen, 2) if here.overlaps(there)]


def texts_of(figure):
    """List the texts that are drawn: of an axis, the numbers within its limits; others are made, but not shown."""
    for part in (figure, *figure.subfigs):
        yield from part.texts
        for legend in part.legends:
            yield from legend.get_texts()
    for axes in figure.axes:
        yield from (axes.title, axes._left_title, axes._right_title, *axes.texts)
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            yield axis.label
            for tick in axis.get_major_ticks():
                if min(limits) <= tick.get_loc() <= max(limits):
                    yield from (tick.label1, tick.label2)


def deep_run():
    """Make a run of a network of 25 layers with long names."""
    layers = {f"stages.{depth // 9}.blocks.{depth % 9}.downsample.conv": 4 + depth for depth in range(25)}
    steps = range(0, 40_000, 4_000)
    parts = node_rows(layers, steps), layer_rows(layers, steps), scalar_rows(steps), scalar_rows(steps, "loss")
    return table_of([row for part in parts for row in part])


@pytest.mark.parametrize(
    "run", [a_run(), deep_run(), pd.concat([a_run("a"), a_run("b")])], ids=["small", "deep", "two"]
)
def test_no_texts_overlap(run):
    figure = training_curves(run)
    assert overlapping(figure) == []
    film = strength_animation(run[run["run"] == "a"])
    film._draw_frame(0)
    assert overlapping(film._fig) == []


def test_names_are_shown_as_they_are_and_long_ones_by_their_ends():
    rows = node_rows({"a$b$": 2, "$\\frac": 2, "an.extremely.long.name.of.layer": 2}, STEPS)
    figure = training_curves(table_of(rows))
    figure.draw_without_rendering()  # a formula that is none would raise here
    assert list(panels(figure)) == [r"a\$b\$", r"\$\frac", "a.e.l.n.o.layer"]
    assert shortened("conv1", 17) == "conv1"


def test_numbers_on_axes_are_short():
    numbers = [compact(value) for value in (0, -0.5, 1500, 9999, 10_000, 12_500, 1e6, 3.2e9)]
    assert numbers == ["0", "−0.5", "1500", "9999", "10k", "12.5k", "1M", "3.2G"]


def test_the_style_stays_within_the_figure():
    before = dict(matplotlib.rcParams)
    training_curves(a_run())
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_equal_runs_make_equal_files(suffix, tmp_path):
    for name in "ab":
        save_figure(training_curves(a_run()), tmp_path / f"{name}{suffix}")
    contents = [(tmp_path / f"{name}{suffix}").read_bytes() for name in "ab"]
    assert contents[0] == contents[1]
    assert contents[0].startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])


def test_a_figure_is_not_written_under_a_name_that_says_otherwise(tmp_path):
    with pytest.raises(dg.ExportError, match=r"run.jpeg': give a figure a name that ends in .png, .svg, .pdf"):
        save_figure(training_curves(a_run()), tmp_path / "run.jpeg")


def test_a_table_that_is_no_run_says_what_is_missing():
    with pytest.raises(dg.InputError, match=r"lacks the column\(s\) step"):
        training_curves(a_run().drop(columns="step"))
    with pytest.raises(dg.InputError, match="is empty"):
        training_curves(a_run().iloc[:0])


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(dg.InputError, match=r"dnn2graph\[plot\]"):
        training_curves(a_run())


def test_a_run_is_drawn_from_where_it_was_recorded(monkeypatch):
    monkeypatch.setattr("dnn2graph.dynamics.run.read_run", lambda folder: {"recorded": a_run()}[folder])
    assert len(panels(training_curves("recorded"))) == 5


# ---------------------------------------------------------------------- films


def shown(film, frame):
    """Draw a frame; give its heading, the curve of each layer, and the point on the time line."""
    film._draw_frame(frame)
    top, grid, *below = film._fig.subfigs
    curves = {axes.get_title(loc="left"): axes.lines[0].get_xydata().copy() for axes in grid.axes}
    now = below[0].axes[0].lines[1].get_xydata()[-1].tolist() if below else None
    return top.texts[0].get_text(), curves, now


def test_each_frame_shows_the_densities_at_a_step_as_scipy_estimates_them():
    run = a_run()
    film = strength_animation(run)
    for frame, step in enumerate(STEPS):
        heading, curves, now = shown(film, frame)
        assert heading == f"Node strength, density in each layer: step {step}"
        assert list(curves) == list(LAYERS)
        assert now == [step, 1 - 1 / (2 + step)]
        values = run[(run["measure"] == "strength") & (run["step"] == step) & (run["layer"] == "hidden")]["value"]
        x, density = curves["hidden"].T
        np.testing.assert_allclose(density, gaussian_kde(values)(x), rtol=1e-4, atol=1e-9)


def test_nothing_but_the_curves_moves():
    film = strength_animation(a_run())
    limits = []
    for frame in range(len(STEPS)):
        shown(film, frame)
        limits.append([(axes.get_xlim(), axes.get_ylim(), axes.get_position().bounds) for axes in film._fig.axes])
    assert limits == [limits[0]] * len(STEPS)


def test_a_long_run_is_sampled_from_the_first_to_the_last_snapshot():
    run = table_of(node_rows({"only": 4}, range(0, 3000, 10)))
    film = strength_animation(run, seconds=2)
    headings = list(dict.fromkeys(shown(film, frame)[0] for frame in film.new_frame_seq()))
    assert len(headings) == 2 * FRAMES_PER_SECOND
    assert headings[0].endswith("step 0")
    assert headings[-1].endswith("step 2,990")
    assert len(list(film.new_frame_seq())) == 3 * FRAMES_PER_SECOND  # the last stays for a second


def test_equal_values_one_node_and_values_that_are_not_finite_are_drawn():
    run = a_run()
    strength = run["measure"] == "strength"
    run.loc[strength & (run["layer"] == "output"), "value"] = 2.0
    run.loc[strength & (run["layer"] == "input") & (run["node"] > 0), "value"] = np.nan
    run.loc[strength & (run["layer"] == "hidden") & (run["step"] == 1), "value"] = np.inf
    film = strength_animation(run)
    for frame, step in enumerate(STEPS):
        _, curves, _ = shown(film, frame)
        x, density = curves["output"].T
        assert x[np.argmax(density)] == pytest.approx(2, abs=0.01)
        for name, curve in curves.items():
            area = np.trapezoid(curve[:, 1], curve[:, 0])
            assert area == pytest.approx(0 if (name, step) == ("hidden", 1) else 1, abs=0.01)


def test_a_film_without_numbers_of_the_network_has_no_time_line():
    film = strength_animation(table_of(node_rows(LAYERS, STEPS, "strength_in")), "strength_in", title="mine")
    heading, curves, now = shown(film, 1)
    assert (heading, list(curves), now) == ("mine: step 1", list(LAYERS), None)


def test_the_time_line_shows_accuracy_before_all_else():
    rows = node_rows(LAYERS, STEPS) + scalar_rows(STEPS, "learning_rate") + scalar_rows(STEPS, "loss")
    assert "Loss" in panels(strength_animation(table_of(rows))._fig)
    assert "Accuracy" in panels(strength_animation(table_of(rows + scalar_rows(STEPS)))._fig)


def test_a_film_is_written_as_gif_of_the_length_asked_for(tmp_path):
    calls = []
    save_animation(a_run(), tmp_path / "run.gif", seconds=2, progress=lambda *call: calls.append(call))
    with Image.open(tmp_path / "run.gif") as film:
        durations = []
        for frame in range(film.n_frames):
            film.seek(frame)
            durations.append(film.info["duration"])
    assert durations == [500, 500, 500, 1500]  # the last stays for a second
    assert calls == [(done, 6) for done in range(1, 7)]
    assert os.listdir(tmp_path) == ["run.gif"]


def test_a_film_that_is_interrupted_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "run.gif").write_text("old")

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_animation(a_run(), tmp_path / "run.gif", progress=stop)
    assert (tmp_path / "run.gif").read_text() == "old"
    assert os.listdir(tmp_path) == ["run.gif"]


@pytest.fixture
def ffmpeg(tmp_path):
    """Install a program that stands for ffmpeg: it takes frames and writes the file that it is told to."""
    program = tmp_path / "ffmpeg"
    program.write_text('#!/bin/sh\nfor last; do :; done\nwc -c > "$last"\n')
    program.chmod(0o755)
    with matplotlib.rc_context({"animation.ffmpeg_path": str(program)}):
        yield program


def test_a_film_is_written_as_mp4_by_ffmpeg(tmp_path, ffmpeg):
    run = a_run()
    save_animation(run, tmp_path / "run.mp4", seconds=2)
    width, height = (strength_animation(run)._fig.get_size_inches() * 100).astype(int)
    assert int((tmp_path / "run.mp4").read_text()) == 6 * 4 * (width // 2 * 2) * (height // 2 * 2)  # RGBA, even sizes


def test_without_ffmpeg_the_error_says_what_to_do(tmp_path):
    with (
        matplotlib.rc_context({"animation.ffmpeg_path": str(tmp_path / "no-such-program")}),
        pytest.raises(dg.ExportError, match=r"run.mp4': .mp4 needs the program ffmpeg: install it, or write .gif"),
    ):
        save_animation(a_run(), tmp_path / "run.mp4")
    assert os.listdir(tmp_path) == []


def test_what_no_film_can_show_is_named(tmp_path):
    with pytest.raises(dg.InputError, match="no node measure 'fluctuation': it has strength"):
        strength_animation(a_run(), "fluctuation")
    with pytest.raises(dg.InputError, match="no node measure 'strength': record one"):
        strength_animation(table_of(scalar_rows(STEPS)))
    with pytest.raises(dg.InputError, match=r"2 runs \(a, b\): choose one"):
        strength_animation(pd.concat([a_run("a"), a_run("b")]))
    with pytest.raises(dg.InputError, match="seconds=0 must be positive"):
        strength_animation(a_run(), seconds=0)
    with pytest.raises(dg.InputError, match="no value of 'strength' in this run is finite"):
        strength_animation(a_run().assign(value=np.nan))
    with pytest.raises(dg.ExportError, match=r"run.avi': give an animation a name that ends in .gif or .mp4"):
        save_animation(a_run(), tmp_path / "run.avi")
