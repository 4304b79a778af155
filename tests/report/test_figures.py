"""The figures: that both renderers show the path's numbers, on labelled axes, in the same colours."""

import dataclasses

import numpy as np
import pytest
from bokeh.models import GlyphRenderer, Label, LogScale, Span
from bokeh.models.glyphs import Line as LineGlyph
from bokeh.models.glyphs import Scatter
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tests.report.runs import LAYOUT, StandIn, broken, descent, flow
from thetadot.dynamics.palette import EVENT, member_dashes, rule_colour
from thetadot.report import FigureError, figures
from thetadot.report.charts import loss_chart, sharpness_chart
from thetadot.report.interactive import interactive_figure
from thetadot.report.series import as_series


def two_rules():
    """Two members under a flow and a descent."""
    return {"gradient flow": [flow(0), flow(1)], "descent": [descent(0.5, 120, 0), descent(0.5, 120, 1)]}


def curves(axes):
    """{(colour, dashes): (x, y)} of the curves on matplotlib axes."""
    found = {}
    for line in axes.lines:
        if line.get_marker() in (None, "None", "none", "") and len(line.get_xdata()) > 2:
            style = "solid" if line.get_linestyle() == "-" else "dashed"
            found[to_hex(line.get_color()), style] = line.get_data()
    return found


@pytest.mark.parametrize(
    ("plot", "values", "label"),
    [
        (figures.plot_loss, lambda path: path.losses, "loss L"),
        (figures.plot_gradient_norm, lambda path: path.grad_norms, "‖∇L‖ (loss per weight)"),
        (figures.plot_sharpness, lambda path: path.observed["sharpness"], "sharpness λmax(∇²L) (1/time)"),
    ],
)
def test_a_figure_over_time_shows_the_numbers_of_every_path_on_labelled_axes(plot, values, label):
    paths = two_rules()
    axes = plot(paths)
    assert axes.get_xlabel() == "time t (units of the loss gradient)"
    assert axes.get_ylabel() == label
    assert axes.get_xscale() == "log"
    shown = curves(axes)
    for rule, members in enumerate(paths.values()):
        for path, style in zip(members, ("solid", "dashed"), strict=True):
            x, y = shown[rule_colour(rule), style]
            assert np.array_equal(x, path.ts[1:])
            assert np.array_equal(y, values(path)[1:])


def test_the_interactive_twin_shows_the_same_numbers_and_colours():
    series = as_series(two_rules())
    chart = loss_chart(series)
    plot = interactive_figure(chart)
    lines = [r for r in plot.select(GlyphRenderer) if isinstance(r.glyph, LineGlyph)]
    assert len(lines) == 4
    for item in series:
        drawn = next(line for line in lines if line.name == item.name)
        assert np.array_equal(drawn.data_source.data["x"], item.path.ts[1:])
        assert np.array_equal(drawn.data_source.data["y"], item.path.losses[1:])
        assert drawn.glyph.line_color == rule_colour(item.rule)
        assert drawn.tags == [f"rule:{item.rule}", f"member:{item.member}"]
        assert len(drawn.glyph.line_dash) == len(member_dashes(item.member))
    assert isinstance(plot.x_scale, LogScale)
    assert isinstance(plot.y_scale, LogScale)
    assert plot.xaxis[0].axis_label == "time t (units of the loss gradient)"
    assert (plot.x_range.start, plot.x_range.end) == chart.x_range


def test_an_event_stands_on_its_curve_at_its_time():
    path = flow()
    marks = interactive_figure(loss_chart(as_series(path))).select(GlyphRenderer)
    mark = next(r for r in marks if isinstance(r.glyph, Scatter))
    assert mark.glyph.fill_color == EVENT
    assert mark.data_source.data["x"].tolist() == [path.events[0].time]
    near = np.searchsorted(path.ts, path.events[0].time)
    height = mark.data_source.data["y"][0]
    assert path.losses[near] <= height <= path.losses[near - 1]
    assert "small gradient at t = 20" in mark.data_source.data["name"][0]


def test_every_descent_has_its_stability_bound_at_two_over_its_learning_rate():
    series = as_series([flow(), descent(0.5, 120), descent(1.5, 40)])
    axes = figures.plot_sharpness(series)
    levels = [line for line in axes.lines if len(line.get_xdata()) == 2]
    found = {(line.get_ydata()[0], to_hex(line.get_color())) for line in levels}
    assert found == {(4.0, rule_colour(1)), (4 / 3, rule_colour(2))}
    plot = interactive_figure(sharpness_chart(series))
    assert sorted(span.location for span in plot.select(Span)) == [4 / 3, 4.0]
    assert sorted(label.text for label in plot.select(Label)) == ["2/η = 1.33", "2/η = 4"]


def test_paths_of_one_method_are_the_members_of_one_rule():
    series = as_series([flow(0), descent(0.5, 120, 0), flow(1), descent(0.5, 120, 1), descent(1.5, 40)])
    assert [(item.rule, item.member) for item in series] == [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0)]
    assert series[1].rule_name == "gradient descent (learning rate 0.5)"


def test_neuron_norms_are_those_of_all_weights_of_each_neuron():
    path = flow()
    axes = figures.plot_neuron_norms(path)
    thin = sorted((line.get_ydata() for line in axes.lines if line.get_linewidth() < 2), key=lambda y: y[0])
    expected = []
    for neuron in range(5):
        parts = [path.thetas[:, LAYOUT.indices("layer1.weight")[neuron]]]
        parts += [path.thetas[:, [LAYOUT.indices("layer1.bias")[neuron]]]]
        parts += [path.thetas[:, LAYOUT.indices("layer2.weight")[:, neuron]]]
        expected.append(np.linalg.norm(np.concatenate(parts, axis=1), axis=1)[1:])
    for found, truth in zip(thin, sorted(expected, key=lambda y: y[0]), strict=True):
        assert np.allclose(found, truth, rtol=1e-13)
    bold = next(line for line in axes.lines if line.get_linewidth() > 2)
    assert np.allclose(bold.get_ydata(), np.median(expected, axis=0), rtol=1e-13)


def test_the_principal_plane_marks_starts_and_ends_of_the_projected_paths():
    axes = figures.plot_principal_plane([flow(0), flow(1)])
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    marks = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert len(lines) == 2
    assert len(marks) == 4
    for line in lines:
        x, y = line.get_data()
        ends = {(float(x[0]), float(y[0])), (float(x[-1]), float(y[-1]))}
        assert ends <= {(float(m.get_xdata()[0]), float(m.get_ydata()[0])) for m in marks}
    assert "% of variance" in axes.get_xlabel()


def test_the_members_figure_shows_the_last_finite_loss_of_each(tmp_path):
    run = StandIn(tmp_path, [flow(0), flow(1)], [[descent(0.5, 120, 0), broken(1)]])
    axes = figures.plot_members(run)
    found = {to_hex(line.get_color()): [] for line in axes.lines}
    for line in axes.lines:
        found[to_hex(line.get_color())].append(float(line.get_ydata()[0]))
    assert found[rule_colour(0)] == [flow(0).losses[-1], flow(1).losses[-1]]
    assert found[rule_colour(1)][0] == descent(0.5, 120, 0).losses[-1]
    low, high = axes.get_ylim()
    assert low < found[rule_colour(1)][1] < high, "the cross of a broken path stands inside of the frame"
    assert axes.get_xlabel() == "member"


def test_the_fan_holds_median_and_middle_of_the_members():
    factors = np.array([1.0, 2.0, 3.0, 5.0, 8.0, 13.0])
    path = flow()
    paths = [flow(losses=factor * path.losses) for factor in factors]
    axes = figures.plot_fan(paths)
    x, y = axes.lines[0].get_data()
    base = np.exp(np.interp(np.log(x), np.log(path.ts[1:]), np.log(path.losses[1:])))
    assert np.allclose(y / base, np.exp(np.median(np.log(factors))), rtol=1e-9)
    edges = axes.collections[0].get_paths()[0].vertices
    assert np.isclose(edges[:, 1].max(), (base * np.exp(np.quantile(np.log(factors), 0.9))).max())


def test_a_path_that_diverges_leaves_the_frame_and_the_rest_readable():
    axes = figures.plot_loss([flow(0), broken(0)])
    assert axes.get_ylim()[1] < 1e4 * flow(0).losses.max()
    assert axes.get_ylim()[0] < flow(0).losses.min()


def test_observables_with_components_have_a_line_and_a_name_for_each():
    path = flow()
    norms = np.stack(
        [np.linalg.norm(path.thetas[:, where], axis=1) for where in LAYOUT.slices.values()], axis=1
    )
    path = dataclasses.replace(path, observed={"layer_norms": norms})
    axes = figures.plot_observed(path, "layer_norms")
    assert len(axes.lines) == 4
    for component, line in enumerate(axes.lines):
        assert np.array_equal(line.get_ydata(), norms[1:, component])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(LAYOUT.slices)


def test_what_cannot_be_drawn_is_refused_with_a_way_out():
    path = flow(observed={}, layout=None)
    with pytest.raises(FigureError, match=r"no path observed 'sharpness'.*observe="):
        figures.plot_sharpness(path)
    with pytest.raises(FigureError, match="hidden neurons"):
        figures.plot_neuron_norms(path)
    with pytest.raises(FigureError, match="got int"):
        figures.plot_loss(iter([path, 3]))
    still = flow(thetas=np.ones_like(path.thetas))
    with pytest.raises(FigureError, match="paths that move"):
        figures.plot_principal_plane(still)


def test_figures_are_drawn_on_given_axes():
    given = Figure().subplots()
    assert figures.plot_loss(flow(), given) is given


def test_members_that_are_first_saved_at_different_times_start_together_in_the_fan():
    early, late = np.geomspace(1e-3, 10, 40), np.geomspace(1e-1, 10, 40)
    paths = [
        flow(
            ts=np.concatenate([[0.0], ts]),
            losses=np.concatenate([[size], size / (1 + ts)]),
            grad_norms=np.ones(41),
            thetas=np.ones((41, 2)),
            steps=np.arange(41),
            observed={},
            layout=None,
            events=(),
        )
        for ts, size in ((early, 1.0), (late, 4.0))
    ]
    line = figures.plot_fan(paths).lines[0]
    x, y = line.get_data()
    assert np.allclose(y, 2 / (1 + x), rtol=0.02), (
        "the geometric mean of both members, from the first time on"
    )
