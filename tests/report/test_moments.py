"""The figures of one moment of a path, against networks of which everything is known."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from bokeh.models import GlyphRenderer
from bokeh.models import Image as ImageGlyph
from matplotlib.figure import Figure

import thetadot as td
from tests.report.runs import flow
from thetadot.dynamics import Outcome
from thetadot.problems import (
    GaussianInputs,
    Layout,
    LinearTarget,
    PopulationRisk,
    conv,
    linear,
    mlp,
    two_layer,
)
from thetadot.report import FigureError, figures
from thetadot.report.chart import Chart, Line
from thetadot.report.interactive import interactive_figure
from thetadot.report.moment_time import marked_at
from thetadot.report.moments import PANES, Moments
from thetadot.report.spectrum_at import ALL_UP_TO, SpectrumAt, eigenvalues
from thetadot.report.still import draw

CURVATURES = np.array([4.0, 1.0, 0.25, -0.5, -2.0, 0.0])
CORNERS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])


def rows(thetas, **changes):
    """A path through given weights, at t = 0, 1, 2, …"""
    thetas = np.asarray(thetas, float)
    amount = len(thetas)
    plain = {
        "ts": np.arange(float(amount)),
        "thetas": thetas,
        "losses": np.ones(amount),
        "grad_norms": np.ones(amount),
        "steps": np.arange(amount),
        "observed": {},
        "events": (),
        "layout": None,
    }
    return flow(**(plain | changes))


def descent_of(path, rate):
    """The same rows as those of gradient descent."""
    return dataclasses.replace(
        path, info={"kind": "descent", "method": f"gradient descent, learning rate {rate}"}
    )


def quadratic(curvatures):
    """½ Σ c_i θ_i², of which the Hessian is diagonal."""
    curvatures = jnp.asarray(curvatures)
    return td.FunctionRisk(lambda theta: 0.5 * jnp.sum(curvatures * theta**2), jnp.zeros(curvatures.size))


def marks(chart, shape):
    """Dots of a shape, in order."""
    return [dots for dots in chart.dots if dots.shape == shape]


# The spectrum


def test_the_spectrum_of_a_quadratic_is_its_curvatures_told_apart_by_sign():
    path = descent_of(rows([np.ones(6), np.zeros(6)]), 0.25)
    panel = Moments(path, quadratic(CURVATURES)).panel("spectrum", 1)
    positive, negative = panel.chart.dots
    assert np.allclose(positive.y, [4.0, 1.0, 0.25], rtol=1e-14)
    assert np.allclose(negative.y, [2.0, 0.5], rtol=1e-14)
    assert positive.x.tolist() == [1.0, 2.0, 3.0]
    assert negative.names == ("λ = −2", "λ = −0.5")
    assert [level.value for level in panel.chart.levels] == [8.0]
    assert "of 6 eigenvalues 2 are negative and 1 vanishes to rounding" in panel.reading
    assert "The largest is 50 % of 2/η = 8" in panel.reading
    assert "At t = 1 the largest eigenvalue is 4, the smallest −2" in panel.description


def test_a_flow_has_no_bound_and_a_zero_hessian_no_points():
    chart = Moments(rows([np.ones(3)]), quadratic(np.zeros(3))).panel("spectrum", 0).chart
    assert chart.levels == ()
    assert chart.empty


def test_beyond_the_dense_size_lanczos_finds_the_ends_and_nothing_that_is_not_there():
    size = ALL_UP_TO + 100
    curvatures = np.concatenate(
        [-np.geomspace(3, 1, 5), np.linspace(0.0, 0.1, size - 12), np.geomspace(10, 90, 7)]
    )
    found = eigenvalues(quadratic(curvatures), np.zeros(size))
    assert not found.complete
    assert np.allclose(found.signed(1)[:7], np.geomspace(90, 10, 7), rtol=1e-6)
    assert np.allclose(found.signed(-1)[:5], np.geomspace(3, 1, 5), rtol=1e-6)
    nearest = np.abs(found.values[:, None] - curvatures[None, :]).min(axis=1)
    assert np.all(nearest <= 1e-3 * np.abs(found.values))


def test_other_data_and_other_rows_of_the_same_shape_compile_nothing(count_compilations):
    def trained(seed):
        problem = td.EmpiricalRisk(mlp([2, 3, 2], "tanh"), "cross_entropy", CORNERS + seed, [0, 1, 0, 1])
        thetas = np.random.default_rng(seed).normal(size=(4, problem.size))
        return rows(thetas, layout=problem.layout), problem

    def all_panes(path, problem):
        moments = Moments(path, problem)
        return [moments.panel(pane, save) for pane in PANES for save in (1, 2)]

    all_panes(*trained(0))
    other = trained(1)
    with count_compilations() as counted:
        all_panes(*other)
    assert counted.total == 0, counted


def test_a_path_that_grows_keeps_the_spectra_it_has():
    path, problem = rows([np.ones(2), np.zeros(2)]), quadratic([1.0, 2.0])
    first = SpectrumAt(rows([np.ones(2)]), problem)
    kept = first.at(0)
    assert SpectrumAt(path, problem, first.known).at(0) is kept
    assert SpectrumAt(path, problem, first.known).at(1) is not kept


# The neurons


def test_neurons_of_two_inputs_stand_at_their_weights_with_tails_behind_them():
    network = two_layer(2, 2, "relu")
    weights = np.arange(4.0 * 3).reshape(3, 4)
    outgoing = np.array([[1.0, -4.0], [1.0, -4.0], [4.0, -1.0]])
    moments = Moments(rows(np.concatenate([weights, outgoing], axis=1), layout=network.layout))
    chart = moments.panel("neurons", 1).chart
    up, down = marks(chart, "end")
    assert (up.x.tolist(), up.y.tolist()) == ([4.0], [5.0])
    assert (down.x.tolist(), down.y.tolist()) == ([6.0], [7.0])
    assert np.allclose([up.sizes[0], down.sizes[0]], [0.5, 1.0]), "area goes like the outgoing norm"
    assert down.names == ("neuron 1: incoming norm 9.22, outgoing weight −4",)
    tail = chart.lines[0]
    assert np.array_equal(tail.x, [0, 4, np.nan, 2, 6, np.nan], equal_nan=True)
    assert np.array_equal(tail.y, [1, 5, np.nan, 3, 7, np.nan], equal_nan=True)
    assert "1 outgoing weights are positive, 1 negative" in moments.panel("neurons", 1).reading


def test_the_plane_and_the_axes_of_neurons_stay_the_same_along_the_path():
    problem = td.EmpiricalRisk(mlp([1, 4, 1], "tanh"), "squared", np.ones((3, 1)), np.ones(3))
    thetas = np.random.default_rng(0).normal(size=(30, problem.size))
    moments = Moments(rows(thetas, layout=problem.layout), problem)
    charts = [moments.panel("neurons", save).chart for save in range(30)]
    assert {(chart.x_ends, chart.y_ends, chart.x_label, chart.y_label) for chart in charts} == {
        (charts[0].x_ends, charts[0].y_ends, "weight of input 1", "bias")
    }
    for save, chart in enumerate(charts):
        x = np.concatenate([dots.x for dots in marks(chart, "end")])
        y = np.concatenate([dots.y for dots in marks(chart, "end")])
        assert np.array_equal(np.sort(x), np.sort(thetas[save, :4]))
        assert np.array_equal(np.sort(y), np.sort(thetas[save, 4:8]))
        assert chart.x_range[0] < x.min() <= x.max() < chart.x_range[1]


def test_weights_that_lie_in_a_plane_are_shown_whole_in_the_principal_plane():
    rng = np.random.default_rng(1)
    frame = np.linalg.qr(rng.normal(size=(5, 5)))[0][:2]
    network = two_layer(5, 6, "relu")
    inside = rng.normal(size=(4, 6, 2)) * [3.0, 1.0]
    thetas = np.concatenate([(inside @ frame).reshape(4, 30), np.ones((4, 6))], axis=1)
    chart = Moments(rows(thetas, layout=network.layout)).panel("neurons", 2).chart
    up = marks(chart, "end")[0]
    shown = np.stack([up.x, up.y], axis=1)
    assert np.allclose(shown @ shown.T, inside[2] @ inside[2].T, atol=1e-12)
    shares = np.linalg.svd(inside.reshape(-1, 2), compute_uv=False) ** 2
    assert f"{100 * shares[0] / shares.sum():.2g} % of squares" in chart.x_label
    assert "shows 100 %" in Moments(rows(thetas, layout=network.layout)).panel("neurons", 2).reading


def test_layers_are_chosen_by_their_number():
    network = mlp([3, 4, 2, 1], "tanh")
    moments = Moments(rows(np.random.default_rng(2).normal(size=(3, network.size)), layout=network.layout))
    assert moments.layers == (1, 2)
    second = moments.panel("neurons", -1, layer=2).chart
    assert sum(len(dots.x) for dots in marks(second, "end")) == 2
    assert "layer 2 at t = 2" in second.title
    with pytest.raises(FigureError, match=r"no hidden neurons in layer 3; there are in 1, 2"):
        moments.panel("neurons", 0, layer=3)


# The network function


def test_the_function_of_a_linear_network_of_one_input_is_a_line_through_the_origin():
    problem = td.EmpiricalRisk(
        linear([1, 1, 2]), "squared", np.array([[-1.0], [3.0]]), np.array([[1, 2], [3, 4.0]])
    )
    moments = Moments(rows([[2.0, 1.0, -1.0], [0.5, 1.0, 1.0]]), problem)
    chart = moments.panel("function", 0).chart
    first, second = chart.lines
    assert np.allclose(first.y, 2 * first.x, atol=1e-13)
    assert np.allclose(second.y, -2 * second.x, atol=1e-13)
    assert chart.dots[1].y.tolist() == [2.0, 4.0]
    assert chart.x_range[0] < -1
    assert chart.x_range[1] > 3
    assert chart.y_range == moments.panel("function", 1).chart.y_range


def test_the_function_of_two_inputs_has_the_sign_as_colour_and_the_size_as_ink():
    problem = td.EmpiricalRisk(linear([2, 1]), "squared", CORNERS, np.zeros(4))
    moments = Moments(rows([[1.0, 2.0], [0.5, -1.0]]), problem)
    (cells,) = moments.panel("function", 0).chart.cells
    x, y = (part.reshape(80, 80) for part in cells.centres)
    assert np.allclose(cells.values, x + 2 * y, atol=1e-13)
    assert np.array_equal(cells.colours, np.where(x + 2 * y < 0, 1, 0))
    (later,) = moments.panel("function", 1).chart.cells
    scale = np.abs(cells.values).max() / cells.ink.max()
    assert np.allclose(later.ink, np.abs(0.5 * x - y) / scale, atol=1e-12), (
        "full colour means the same all along"
    )


def test_classes_are_shown_by_the_most_probable_one():
    problem = td.EmpiricalRisk(linear([2, 3]), "cross_entropy", CORNERS, [0, 1, 2, 0])
    weights = np.array([[3.0, 0.1], [0.2, 3.0], [-3.0, 0.3]])
    moments = Moments(rows([weights.ravel(), 0 * weights.ravel()]), problem)
    chart = moments.panel("function", 0).chart
    (cells,) = chart.cells
    x, y = (part.reshape(80, 80) for part in cells.centres)
    logits = np.stack([a * x + b * y for a, b in weights])
    assert np.array_equal(cells.colours, logits.argmax(axis=0))
    assert np.allclose(cells.values, np.exp(logits.max(axis=0)) / np.exp(logits).sum(axis=0))
    assert [dots.colour for dots in chart.dots] == [0, 1, 2]
    even = moments.panel("function", 1)
    assert np.allclose(even.chart.cells[0].values, 1 / 3)
    assert "1 of 3 classes is the most probable somewhere; class 0 on 100 %" in even.reading


# The confusion matrix


def test_the_confusion_matrix_counts_what_is_taken_for_what():
    labels = [0, 1, 2, 0]
    problem = td.EmpiricalRisk(linear([2, 3]), "cross_entropy", CORNERS, labels)
    weights = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -2.0]])
    panel = Moments(rows([weights.ravel()]), problem).panel("confusion", 0)
    (cells,) = panel.chart.cells
    assert np.array_equal(cells.values[::-1], [[1, 0, 1], [0, 1, 0], [0, 0, 1]]), "row 0 stands at the top"
    assert cells.texts == ("", "", "1", "", "1", "", "1", "", "1")
    assert np.array_equal(cells.colours[::-1] == 0, np.eye(3, dtype=bool))
    assert np.isclose(cells.ink[-1, 2], np.sqrt(1 / 2))
    assert panel.chart.title == "Confusion matrix at t = 0: 75 % right"
    assert panel.chart.y_names == {0.0: "2", 1.0: "1", 2.0: "0"}
    assert "most often 0 is taken for 2 (1 times)" in panel.reading


def test_the_confusion_matrix_of_signs_has_two_classes():
    problem = td.EmpiricalRisk(linear([2, 1]), "logistic", CORNERS, np.array([1.0, 1.0, -1.0, 1.0]))
    panel = Moments(rows([[1.0, 0.5]]), problem).panel("confusion", 0)
    assert np.array_equal(panel.chart.cells[0].values[::-1], [[1, 0], [1, 2]])
    assert "most often +1 is taken for −1 (1 times)" in panel.reading


# Both renderers


def moment_charts():
    """A chart of every kind."""
    problem = td.EmpiricalRisk(mlp([2, 3, 2], "tanh"), "cross_entropy", CORNERS, [0, 1, 0, 1])
    thetas = np.random.default_rng(3).normal(size=(4, problem.size))
    moments = Moments(rows(thetas, layout=problem.layout), problem)
    return [moments.panel(pane, 2).chart for pane in moments.panes]


def test_both_renderers_show_the_same_points_and_cells():
    charts = moment_charts()
    assert [len(chart.cells) for chart in charts] == [0, 0, 1, 1]
    assert not any(chart.empty for chart in charts)
    for chart in charts:
        axes = draw(chart, Figure().subplots())
        plot = interactive_figure(chart)
        sources = [item.data_source.data for item in plot.select(GlyphRenderer)]
        for dots in chart.dots:
            points = np.stack(chart.points(dots), axis=1)
            still = [np.asarray(line.get_xydata()) for line in axes.lines]
            still += [np.asarray(part.get_offsets()) for part in axes.collections]
            live = [np.stack([data["x"], data["y"]], axis=1) for data in sources if "name" in data]
            assert any(np.array_equal(points, other) for other in still)
            assert any(np.array_equal(points, other) for other in live)
        assert axes.get_xlim() == (plot.x_range.start, plot.x_range.end)
        assert axes.get_ylim() == (plot.y_range.start, plot.y_range.end)
        assert (axes.get_xlabel(), axes.get_ylabel()) == (plot.xaxis[0].axis_label, plot.yaxis[0].axis_label)
        for cells in chart.cells:
            image = next(item for item in plot.select(GlyphRenderer) if isinstance(item.glyph, ImageGlyph))
            shades = image.glyph.color_mapper.palette
            palette = np.array([[int(shade[k : k + 2], 16) for k in (1, 3, 5, 7)] for shade in shades]) / 255
            live = palette[np.floor(image.data_source.data["image"][0]).astype(int)]
            still = np.reshape(axes.collections[0].get_array(), live.shape)
            assert np.allclose(live, still, atol=0.5 / 39 + 1 / 255)
            assert [text.get_text() for text in axes.texts] == [text for text in cells.texts if text]


def test_ticks_of_classes_are_their_names_in_both_renderers():
    chart = moment_charts()[3]
    axes = draw(chart, Figure().subplots())
    assert [text.get_text() for text in axes.get_yticklabels()] == ["1", "0"]
    assert interactive_figure(chart).yaxis[0].major_label_overrides == {0.0: "1", 1.0: "0"}


def test_the_figures_for_notebooks_draw_these_charts():
    problem = td.EmpiricalRisk(mlp([2, 3, 2], "tanh"), "cross_entropy", CORNERS, [0, 1, 0, 1])
    path = rows(np.random.default_rng(3).normal(size=(4, problem.size)), layout=problem.layout)
    given = Figure().subplots()
    assert figures.plot_spectrum_at(path, problem, axes=given) is given
    assert figures.plot_neurons_at(path, 1).get_title() == "Neurons of layer 1 at t = 1"
    assert figures.plot_function_at(path, problem, -2).get_title() == "Network function at t = 2"
    assert figures.plot_confusion_at(path, problem, 0).get_title().startswith("Confusion matrix at t = 0: ")
    with pytest.raises(FigureError, match=r"save is 4, expected a row of the path's 4: -4 … 3"):
        figures.plot_confusion_at(path, problem, 4)
    with pytest.raises(FigureError, match=r"output is 2, expected 0 … 1"):
        figures.plot_function_at(path, problem, output=2)


# What cannot be shown


def test_what_does_not_apply_is_told_in_one_line():
    def reasons(path, problem=None):
        found = Moments(path, problem)
        assert set(found.panes) | set(found.reasons) == set(PANES)
        assert all("\n" not in reason for reason in found.reasons.values())
        return found

    lorenz = reasons(rows(np.ones((3, 3))))
    assert lorenz.panes == ()
    assert "none was given" in lorenz.reasons["spectrum"]
    assert "layout with hidden neurons" in lorenz.reasons["neurons"]
    population = PopulationRisk(two_layer(2, 2, "erf"), LinearTarget(jnp.ones(2)), GaussianInputs(2))
    shown = reasons(rows(np.ones((2, population.size)), layout=population.layout), population)
    assert shown.panes == ("spectrum", "neurons")
    assert "PopulationRisk" in shown.reasons["function"]
    images = td.EmpiricalRisk(conv((1, 4, 4), [2], 2, "relu"), "cross_entropy", np.ones((2, 1, 4, 4)), [0, 1])
    shown = reasons(rows(np.ones((2, images.size)), layout=images.layout), images)
    assert shown.panes == ("spectrum", "neurons", "confusion")
    assert "(1, 4, 4)" in shown.reasons["function"]
    bowl = quadratic(np.ones(3))
    assert reasons(rows(np.ones((2, 3)), layout=Layout({"theta": (3,)})), bowl).panes == ("spectrum",)
    assert "not stored" in reasons(rows(np.ones((2, 0))), bowl).reasons["spectrum"]
    assert "no row" in reasons(rows(np.ones((0, 3))), bowl).reasons["spectrum"]
    assert (
        "rows have 2 numbers, the problem has 3" in reasons(rows(np.ones((2, 2))), bowl).reasons["spectrum"]
    )


def test_a_row_that_is_not_finite_gives_empty_figures_that_say_so():
    problem = td.EmpiricalRisk(mlp([2, 3, 2], "tanh"), "cross_entropy", CORNERS, [0, 1, 0, 1])
    thetas = np.random.default_rng(3).normal(size=(4, problem.size))
    thetas[2] *= 1e6
    thetas[3] = np.nan
    moments = Moments(rows(thetas, layout=problem.layout, outcome=Outcome.DIVERGED), problem)
    assert moments.panes == PANES
    assert moments.panel("neurons", 0).chart.x_range[1] < 10, "the breakdown does not stretch the axes"
    for pane in PANES:
        panel = moments.panel(pane, 3)
        assert "not finite" in panel.reading
        assert not any(np.isfinite(dots.y).any() for dots in marks(panel.chart, "end"))
        draw(panel.chart, Figure().subplots())
        interactive_figure(panel.chart)


def test_a_problem_that_fails_at_a_row_is_an_empty_figure_with_the_reason():
    class Brittle(td.problems.Problem):
        size = property(lambda self: 2)
        layout = property(lambda self: Layout({"theta": (2,)}))
        time_scale = property(lambda self: 1.0)
        description = property(lambda self: "brittle")

        def init(self, key, scale=1.0):
            return jnp.zeros(2)

        def hessian(self, theta):
            raise RuntimeError("no hessian\ntoday")

        loss = value_and_grad = predict = unravel = hessian

    panel = Moments(rows(np.ones((2, 2))), Brittle()).panel("spectrum", 0)
    assert panel.chart.empty
    assert panel.reading == "Not to be had: RuntimeError: no hessian today"
    with pytest.raises(FigureError, match="needs a network on samples, this problem is a Brittle"):
        Moments(rows(np.ones((2, 2))), Brittle()).panel("confusion", 0)


# Where the moment stands on the figures over time


def test_the_marker_stands_on_every_line_that_reaches_its_time():
    long = Line(np.array([0.0, 1.0, 100.0]), np.array([5.0, 4.0, 1.0]), "long")
    short = Line(np.array([0.0, 1.0, 10.0]), np.array([8.0, 2.0, 2.0]), "short")
    stroke = Line(np.array([0.0, 100.0]), np.ones(2), "plateau", weight=9.0)
    chart = Chart("", "time", "loss", log_x=True, log_y=True, lines=(stroke, long, short))
    assert marked_at(chart, 1.0).y.tolist() == [4.0, 2.0]
    assert np.allclose(marked_at(chart, 10.0).y, [2.0, 2.0], rtol=1e-14), "halfway on both logarithmic axes"
    assert marked_at(chart, 100.0).names == ("1 at t = 100, long",)
    assert marked_at(chart, 0.0).x.size == 0
    assert marked_at(chart.altered(log_x=False), 0.0).y.tolist() == [5.0, 8.0]
