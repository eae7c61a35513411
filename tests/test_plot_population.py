"""Figures of populations show the numbers of the analysis, and say which are which."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection

import dnn2graph as dg
from dnn2graph.plot import population as figures
from dnn2graph.population.ensemble import analyse
from dnn2graph.population.measuring import measure
from tests.test_ensemble import write


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return measure(write(tmp_path_factory.mktemp("population")))


@pytest.fixture(scope="module")
def analysis(measured):
    return analyse(measured, bin_width=0.2, bootstrap=20)


def panels(figure):
    return [axes for axes in figure.axes if axes.get_title("left")]


def test_densities_are_drawn_for_each_bin_in_the_order_of_accuracy(analysis):
    figure = figures.densities(analysis, "digits")
    assert figure.get_suptitle() == "digits"
    for axes, pooled in zip(panels(figure), analysis.of("strength"), strict=True):
        assert axes.get_title("left") == f"node strength, {pooled.layer}"
        drawn = [line.get_ydata() for line in axes.get_lines()]
        np.testing.assert_array_equal(drawn, pooled.density[analysis.networks > 0])
        brightness = [sum(line.get_color()) for line in axes.get_lines()]
        assert brightness == sorted(brightness)
    (bar,) = (axes for axes in figure.axes if axes.get_ylabel() == "test accuracy")
    np.testing.assert_allclose([float(text.get_text()) for text in bar.get_yticklabels()], analysis.edges)


def test_divergences_are_drawn_as_they_are_and_the_diagonal_is_left_out(analysis):
    figure = figures.divergences(analysis, "jensen-shannon")
    for axes, pooled in zip(panels(figure), analysis.of("strength"), strict=True):
        shown = axes.get_images()[0].get_array().filled(np.nan)
        matrix = pooled.divergence("jensen-shannon")
        np.testing.assert_array_equal(shown, np.where(matrix > 0, matrix, np.nan))
        assert np.isnan(np.diag(shown)).all()


def test_every_member_is_a_point_of_fluctuation_and_accuracy(measured):
    figure = figures.fluctuation_by_accuracy(measured)
    layers = measured.graph.layers
    for place, axes in enumerate(panels(figure)):
        points = axes.collections[0].get_offsets()
        expected = np.stack([measured.members["accuracy"], measured.fluctuation[:, place]], 1)
        np.testing.assert_allclose(sorted(points.tolist()), sorted(expected.tolist()))
        assert axes.get_title("left") == layers[place].name
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["support 0.05", "support 0.5", "support 5"]


def test_the_chart_shows_each_auc_with_its_interval(analysis):
    feature = "strength:input:std"
    figure = figures.separation_chart(analysis, [feature])
    (axes,) = figure.axes
    rows = analysis.separation[analysis.separation["feature"] == feature]
    points = [each.get_offsets()[0, 0] for each in axes.collections if isinstance(each, PathCollection)]
    np.testing.assert_allclose(points, rows["auc"])
    lines = [each.get_segments()[0] for each in axes.collections if isinstance(each, LineCollection)]
    np.testing.assert_allclose([line[0, 0] for line in lines], rows["auc_low"])
    np.testing.assert_allclose([line[1, 0] for line in lines], rows["auc_high"])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["fluctuation, input"]


def test_what_cannot_be_drawn_is_said(measured, analysis):
    with pytest.raises(dg.InputError, match="no column 'colour'"):
        figures.fluctuation_by_accuracy(measured, by="colour")
    with pytest.raises(dg.InputError, match="'network' has 18 values"):
        figures.fluctuation_by_accuracy(measured, by="network")
    alone = analyse(measured, bin_width=1.0, bootstrap=20)
    with pytest.raises(dg.InputError, match="fewer than two accuracy bins"):
        figures.divergences(alone)
