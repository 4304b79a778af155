"""The lens in a study, plateaus, sparsity, and the figures."""

import dataclasses

import jax
import numpy as np
import pytest
import xarray
from matplotlib.axes import Axes
from pydantic import ValidationError

import thetadot as td
from tests.saddles.networks import generic, nudged, squares
from thetadot import saddles
from thetadot.report.lens_panels import lens_sections
from thetadot.report.lens_record import Found
from thetadot.report.series import Series
from thetadot.saddles.inertia import count_below


@pytest.fixture(scope="module")
def regression():
    """A diagonal network that learns one coordinate after another; its saddles are known."""
    x = np.sqrt(2) * np.eye(2)
    problem = td.EmpiricalRisk(td.diagonal(2), td.squared, x, x @ np.array([2.0, 0.5]))
    start = np.full(4, 1e-5)
    path = td.flow(problem, start, until=td.Until(time=200.0, grad_norm=1e-10), saves="steps", progress=False)
    return problem, path


def test_plateaus_are_the_saddles_that_the_run_passes(regression):
    _, path = regression
    found = saddles.plateaus(path)
    assert [one.status.name for one in found] == ["PASSED", "CANDIDATE"]
    # With the first coordinate learnt, L = ½·½².
    assert found[0].loss == pytest.approx(0.125, abs=1e-4)
    assert found[0].start < found[0].time < found[0].stop
    # The first mode leaves at ln(1/α)/2, the second at ln(1/α)/½.
    assert np.log(1e5) / 2 * 0.8 < found[0].start < found[0].stop < np.log(1e5) / 0.5 * 1.2


def test_a_monotone_descent_has_no_plateau_but_its_end():
    bowl = td.EmpiricalRisk(td.linear([1, 1]), td.squared, np.ones((1, 1)), np.ones(1))
    path = td.flow(bowl, np.zeros(1), until=td.Until(time=20.0), progress=False)
    assert [one.status.name for one in saddles.plateaus(path)] == ["CANDIDATE"]


def test_sparsity_tells_live_coordinates_from_dead_ones(regression):
    problem, path = regression
    found = saddles.sparsity(path, saddles.neuron_groups(problem), scale=2e-5)
    assert found.alive[-1].tolist() == [True, True]
    middle = int(np.searchsorted(path.ts, 12.0))
    assert found.alive[middle].tolist() == [True, False]
    assert found.worst_dead == 0.0
    with pytest.raises(saddles.SaddlesError, match="neuron_groups"):
        saddles.sparsity(path, (), scale=1.0)


@pytest.fixture(scope="module")
def looked(regression):
    problem, path = regression
    options = saddles.Options(mode="predict", predict_scales=[1e-30], index_rows=3)
    return saddles.analyse(problem, path, options)


def test_the_lens_walks_from_the_start_of_a_homogeneous_run(looked):
    assert looked.itinerary.status.name == "REACHED_MINIMUM"
    assert looked.itinerary.indices[:, 0].tolist() == [2, 1, 0]
    assert len(looked.predicted) == 1
    summary = looked.summary()
    assert "\n" not in summary
    assert "degree 2, covered" in summary
    assert "REACHED_MINIMUM" in summary
    data = looked.to_xarray()
    assert data["escape_predicted"].dims == ("visit",)
    assert data["plateau_time"].dims == ("plateau",)
    assert data["group_norm"].dims == ("save", "group")
    assert data["predict_escape"].shape == (1, 3)
    assert data["index_along"].values[[0, -1]].tolist() == [2, 0]
    assert data.attrs["degree"] == 2.0
    data.load()


def test_the_report_marks_the_escapes_on_the_run(regression, looked):
    _, path = regression
    scaled = xarray.Dataset(
        {
            "escape_scale_predicted": ("scale", [10.0, 12.0]),
            "escape_scale_measured": ("scale", [10.0, 12.1]),
            "path_deviation": ("deviation_scale", [0.1, 0.01]),
        },
        {"scale": [1e-3, 1e-4], "deviation_scale": [1e-3, 1e-4]},
    )
    data = looked.to_xarray().merge(scaled)
    found = [Found("saddles", Series(path), "done", looked.summary(), data=data)]
    (section,) = lens_sections(found)
    panels = {panel.name: panel for panel in section.panels}
    assert list(panels) == [f"lens-saddles-{name}" for name in ("walk", "escapes", "deviation", "index")]
    walk = panels["lens-saddles-walk"].chart
    (marks,) = walk.dots
    assert marks.x == pytest.approx(looked.itinerary.escapes_predicted[:-1])
    # The run itself falls through the marks.
    assert np.interp(marks.x, path.ts, path.losses) == pytest.approx(marks.y, rel=0.05)
    assert "8.33×10⁻³" in panels["lens-saddles-escapes"].reading
    assert "on 1 of 1 path" in panels["lens-saddles-deviation"].reading
    assert all(panel.reading and panel.method for panel in panels.values())
    assert all(panel.chart.x_label and panel.chart.y_label for panel in panels.values())


@pytest.mark.parametrize("size", [1, 2, 5, 40])
def test_eigenvalues_below_a_bound_are_counted_without_them(size):
    rng = np.random.default_rng(size)
    matrix = rng.normal(size=(size, size))
    matrix = matrix + matrix.T
    # Zeros on the diagonal force pivots of two rows.
    matrix[np.diag_indices(size)] *= rng.integers(0, 2, size)
    for bound in (-1.0, 0.1, 0.5):
        assert count_below(matrix, bound) == np.sum(np.linalg.eigvalsh(matrix) < bound)


def test_a_network_that_is_not_homogeneous_gets_plateaus_and_an_index(regression):
    rng = np.random.default_rng(0)
    problem = td.EmpiricalRisk(
        td.mlp([3, 4, 2], "tanh"), td.cross_entropy, rng.normal(size=(12, 3)), rng.integers(0, 2, 12)
    )
    theta = problem.init(jax.random.key(0), scale=0.5)
    path = td.flow(problem, theta, until=td.Until(time=3.0), progress=False)
    result = saddles.analyse(problem, path, saddles.Options())
    assert result.itinerary is None
    assert result.homogeneity.status.name == "NOT_HOMOGENEOUS"
    exact = [np.linalg.eigvalsh(problem.hessian(path.thetas[row])) for row in (0, -1)]
    counted = [int(np.sum(values < -1e-6 * np.abs(values).max())) for values in exact]
    assert result.indices.shape == (6,)
    assert result.indices[[0, -1]].tolist() == counted
    assert counted[0] > 0
    assert any("no itinerary" in note for note in result.notes)
    assert "not homogeneous" in result.summary()
    assert result.to_xarray()["index_along"].dims == ("index_time",)


def test_paths_of_other_systems_are_refused(regression):
    _, path = regression
    other = td.EmpiricalRisk(td.diagonal(3), td.squared, np.eye(3), np.ones(3))
    with pytest.raises(saddles.SaddlesError, match="training runs"):
        saddles.analyse(other, path, saddles.Options())


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "guess"}, {"max_saddles": 0}, {"accuracy": 1.0}, {"scale": 1.0}],
    ids=["mode", "saddles", "accuracy", "unknown"],
)
def test_options_are_bounded_and_closed(wrong):
    with pytest.raises(ValidationError):
        saddles.Options(**wrong)


def _texts(ax):
    return [ax.get_xlabel(), ax.get_ylabel()]


def test_every_figure_is_labelled(regression):
    problem, path = regression
    walk = saddles.saddle_itinerary(problem, np.array([1.0, 1, 1, 1]), 1e-8, mode="predict")
    upper, lower = saddles.plot_itinerary(walk)
    assert "loss" in upper.get_ylabel()
    assert "visit" in lower.get_xlabel()
    norms = saddles.plot_sparsity(saddles.sparsity(path, saddles.neuron_groups(problem), scale=2e-5))
    spectrum = saddles.plot_critical_spectrum(walk.visits[1].point)
    assert "STRICT_SADDLE" in spectrum.get_title(loc="left")
    correlation = saddles.neural_correlation(squares())
    flow = saddles.correlation_flow(correlation, nudged())
    directions = saddles.plot_directions(flow)
    escapes = [saddles.escape_time(squares(), nudged(), scale, measure=False) for scale in (1e-3, 1e-4)]
    scaling = saddles.plot_escape_scaling(escapes)
    deviation = saddles.PathDeviation(
        np.array([1e-2, 1e-3]), np.array([1e-2, 1e-3]), np.array([1.0]), 1.0, saddles.DeviationStatus.FOLLOWS
    )
    line = saddles.plot_path_deviation(deviation)
    for ax in (norms, spectrum, directions, scaling[1], line):
        assert isinstance(ax, Axes)
        assert all(_texts(ax))


def test_the_correlation_of_one_neuron_is_drawn_through_its_points():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 2))
    problem = td.EmpiricalRisk(td.two_layer(2, 3, "square"), td.squared, x, x[:, 0] ** 2)
    correlation = saddles.neural_correlation(problem)
    points = saddles.correlation_points(correlation, starts=4)
    ax = saddles.plot_correlation(correlation, points)
    _, values = ax.get_lines()[0].get_data()
    # The curve's maximum is the best point.
    assert np.max(values) == pytest.approx(points[0].value, rel=1e-3)
    with pytest.raises(saddles.SaddlesError, match="two inputs"):
        saddles.plot_correlation(saddles.neural_correlation(generic()[0]))


def test_directions_need_neurons(regression):
    _, path = regression
    with pytest.raises(saddles.SaddlesError, match="no hidden neurons"):
        saddles.plot_directions(dataclasses.replace(path, layout=None))
