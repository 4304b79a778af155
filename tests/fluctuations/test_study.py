"""The lens on runs of studies, its options, and its figures."""

import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pydantic
import pytest

import thetadot as td
from tests.oracles.sgd_moments import curvature_and_noise, linear_regression, random_pair
from thetadot import fluctuations
from thetadot.dynamics.wording import number
from thetadot.fluctuations import (
    FluctuationsError,
    NotAtMinimumWarning,
    NotStochasticError,
    Options,
    UnsupportedRuleError,
    UnsupportedSamplingError,
    analyse,
    stationary_covariance,
)
from thetadot.report.lens_panels import lens_sections
from thetadot.report.lens_record import Found
from thetadot.report.series import Series

X, Y, BEST = linear_regression(40, 6)
LINEAR = td.EmpiricalRisk(td.linear([6, 1]), td.squared, X, Y[:, None])
QUICK = {"members": 40, "steps": 300, "burn_in": 100, "every": 5, "leading": 4}


@pytest.fixture(scope="module")
def settled():
    """A run without noise that has reached the minimum; the lens knows a flow by its missing rule."""
    return td.descend(LINEAR, BEST + 0.1, td.GradientDescent(0.3), 1000, progress=False)


@pytest.fixture(scope="module")
def found(settled):
    return analyse(
        LINEAR,
        settled,
        Options(learning_rate=0.1, batch_size=4, **QUICK, fit={"min_points": 4, "min_decades": 0}),
    )


def test_after_a_run_without_noise_it_says_how_sgd_would_fluctuate(found):
    assert str(found.theory.status) == "stationary"
    assert found.predicted.shape == (4,)
    H, D = curvature_and_noise(X, Y, BEST)
    dense = stationary_covariance(H, D, learning_rate=0.1, batch_size=4).covariance
    V = found.directions
    np.testing.assert_allclose(found.predicted, np.diag(V.T @ dense @ V), rtol=1e-4)
    assert found.relaxed.all()
    assert found.prediction_error < 0.3
    assert found.balance.lower_bound
    assert "detailed balance broken" in found.summary()
    assert "ψ =" in found.summary()
    data = found.to_xarray()
    assert data.sizes["direction"] == 4
    assert data.attrs["theory_status"] == "stationary"
    assert "simulation_covariance" in data
    assert "fit_status" in data.attrs
    assert all(isinstance(value, (str, int, float)) for value in data.attrs.values())


def test_the_report_draws_what_the_lens_found(found, settled):
    def looked(result, number):
        series = Series(settled, number, 0, f"rule {number}")
        data = result.to_xarray()
        stored = {key: "nan" if value != value else value for key, value in data.attrs.items()}
        return Found("fluctuations", series, "done", result.summary(), data=data.assign_attrs(stored))

    bare = dataclasses.replace(found, simulation=None, flatness=None, fit=None)
    (section,) = lens_sections([looked(found, 0), looked(bare, 1)])
    panels = {panel.name.removeprefix("lens-fluctuations-"): panel for panel in section.panels}
    assert list(panels) == ["variance-curvature", "theory-simulation", "variance-width"]
    assert all(panel.chart.x_label and panel.chart.y_label and panel.method for panel in panels.values())
    curve = panels["variance-curvature"].chart
    other, predicted, simulated = curve.dots
    np.testing.assert_array_equal(predicted.x, found.curvatures)
    np.testing.assert_array_equal(predicted.y, found.predicted)
    np.testing.assert_array_equal(other.y, found.predicted)
    variances = np.diag(found.simulation.covariance)
    np.testing.assert_array_equal(simulated.y, variances)
    assert number(found.balance.defect) in panels["variance-curvature"].reading
    assert "stationary state on 2 of 2 paths" in panels["variance-curvature"].reading
    ratio = panels["theory-simulation"].chart
    np.testing.assert_allclose(ratio.dots[0].y, variances / found.predicted)
    band = 4 * np.diag(found.simulation.standard_error) / found.predicted
    np.testing.assert_allclose(ratio.bands[0].high - ratio.bands[0].low, band)
    width = panels["variance-width"]
    end = width.chart.lines[0]
    slope = np.diff(np.log(end.y)) / np.diff(np.log(end.x))
    np.testing.assert_allclose(slope, -found.fit.exponent)
    assert f"ψ = {number(found.fit.exponent)}" in width.reading
    refused = dataclasses.replace(found, fit=fluctuations.variance_flatness([1.0, 2.0], [1.0, 2.0]))
    (section,) = lens_sections([looked(refused, 0)])
    assert "not enough to fit" in section.panels[-1].reading
    assert not section.panels[-1].chart.lines
    (section,) = lens_sections([looked(refused, 0), looked(found, 1)])
    said = f"fitted on 1 of 2 paths. ψ: {number(found.fit.exponent)} under rule 1. Its interval holds 0 on"
    assert said in section.panels[-1].reading


def test_dense_theory_of_all_kinds_without_simulation(settled):
    for kind in ("continuum", "multiplicative"):
        options = Options(learning_rate=0.05, batch_size=4, leading=None, kind=kind, members=0, flatness=None)
        found = analyse(LINEAR, settled, options)
        assert found.simulation is None
        assert found.fit is None
        assert not found.balance.lower_bound
        assert found.predicted.shape == (6,)
        assert np.isnan(found.prediction_error)
        assert found.to_xarray().sizes["direction"] == 6


def test_a_flow_without_a_learning_rate_has_no_noise(settled):
    with pytest.raises(NotStochasticError, match="learning_rate"):
        analyse(LINEAR, settled, Options())


def test_mini_batch_runs_tell_their_own_rule():
    rule = td.MiniBatch(0.05, 4, jax.random.key(0))
    rows = np.r_[0:4000, 4000:8001:2]
    path = td.descend(LINEAR, BEST, rule, 8000, saves=rows, progress=False)
    found = analyse(LINEAR, path, Options(**QUICK | {"members": 0}), rule=rule)
    assert found.theory.learning_rate == 0.05
    assert found.theory.noise_scale == pytest.approx(36 / (4 * 39))
    assert any("mean of 2001 rows" in note for note in found.notes), "those of half of the time"
    with pytest.raises(UnsupportedSamplingError, match="sgd_ensemble"):
        analyse(LINEAR, path, Options(), rule=td.MiniBatch(0.05, 4, jax.random.key(0), epochs=True))
    with pytest.raises(UnsupportedRuleError, match="MiniBatch only"):
        analyse(LINEAR, path, Options(), rule=td.GradientDescent(0.05))


def test_what_the_lens_does_not_apply_to():
    quadratic = td.FunctionRisk(lambda t: 0.5 * jnp.sum(t**2), jnp.zeros(2))
    path = td.descend(quadratic, np.ones(2), td.GradientDescent(0.1), 5, progress=False)
    with pytest.raises(FluctuationsError, match="no samples"):
        analyse(quadratic, path, Options(learning_rate=0.1))
    with pytest.raises(FluctuationsError, match="columns"):
        analyse(LINEAR, path, Options(learning_rate=0.1))


def test_a_network_away_from_its_minimum_is_reported_and_not_crashed():
    rng = np.random.default_rng(1)
    problem = td.EmpiricalRisk(
        td.mlp([3, 4, 2], "tanh"), td.squared, rng.normal(size=(23, 3)), rng.normal(size=(23, 2))
    )
    path = td.descend(problem, problem.init(jax.random.key(2)), td.GradientDescent(0.1), 3, progress=False)
    options = Options(learning_rate=0.05, batch_size=4, **QUICK | {"members": 0})
    with pytest.warns(NotAtMinimumWarning, match="not at a minimum"):
        found = analyse(problem, path, options)
    assert str(found.theory.status) == "non_stationary"
    assert np.isnan(found.predicted).all()
    assert "non_stationary" in found.summary()
    found.to_xarray()


def test_options_are_bounded_and_know_all_their_keys():
    given = {"learning_rate": None, "batch_size": 16, "kind": "discrete", "leading": 50, "members": 256,
             "steps": 20000, "burn_in": 5000, "every": 50, "flatness": {"factor": 2.718281828459045, "max_width": 1e3},
             "fit": {"min_points": 5, "min_decades": 1.0}}  # fmt: skip
    assert Options.model_validate(given).flatness.factor == pytest.approx(np.e)
    for wrong in ({"kind": "exact"}, {"rate": 1.0}, {"flatness": {"factor": 1.0}}, {"learning_rate": -1.0}):
        with pytest.raises(pydantic.ValidationError):
            Options.model_validate(wrong)


def texts(axes):
    legend = axes.get_legend()
    labels = [] if legend is None else [text.get_text() for text in legend.get_texts()]
    return [axes.get_xlabel(), axes.get_ylabel(), *labels]


def test_every_figure_names_its_axes_and_lines(found):
    H, D = random_pair(5, 0)
    theory = stationary_covariance(H, D, learning_rate=0.05, batch_size=2)
    drawn = [texts(fluctuations.plot_spectra(theory))]
    assert len(drawn[0]) == 5
    matrix, plane = fluctuations.plot_circulation(fluctuations.detailed_balance(H, D))
    drawn += [texts(matrix), texts(plane)]
    layers = [np.diag([1.0, 0.5, 0.1]), np.ones((1, 3))]
    pair = fluctuations.linear_layer_fluctuations(layers, learning_rate=0.1, batch_size=1, label_variance=1.0)
    drawn.append(texts(fluctuations.plot_layers(pair)))
    assert any("layer2.weight" in text for text in drawn[-1])
    width = np.geomspace(0.1, 10, 12)
    noisy = width**-2.0 * np.exp(np.random.default_rng(0).normal(size=12) / 5)
    fit = fluctuations.variance_flatness(noisy, width)
    drawn.append(texts(fluctuations.plot_variance_flatness(fit, reference=1.0)))
    assert any("ψ" in text for text in drawn[-1])
    refused = fluctuations.variance_flatness(noisy[:3], width[:3])
    assert "too few" in fluctuations.plot_variance_flatness(refused).get_title(loc="left")
    ensemble = found.simulation
    ax = fluctuations.plot_theory_against_simulation([found.theory], ensemble)
    drawn.append(texts(ax))
    points = ax.containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(points, np.diag(ensemble.covariance) / found.predicted)
    assert all(all(text for text in each) for each in drawn)
    with pytest.raises(FluctuationsError, match="variances"):
        fluctuations.plot_theory_against_simulation({"short": np.ones(2)}, ensemble)
    with pytest.raises(FluctuationsError, match="expected 2"):
        fluctuations.plot_circulation(fluctuations.detailed_balance(H, D), [matrix])
    plt.close("all")
