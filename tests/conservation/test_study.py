"""The lens in a study, and its figures."""

import jax
import numpy as np
import pytest
from matplotlib.axes import Axes
from pydantic import ValidationError

import thetadot as td
from thetadot import conservation


@pytest.fixture(scope="module")
def classifier():
    rng = np.random.default_rng(0)
    problem = td.EmpiricalRisk(
        td.mlp([2, 3, 2], "relu"), td.cross_entropy, rng.normal(size=(8, 2)), rng.integers(0, 2, 8)
    )
    return problem, problem.init(jax.random.key(0))


@pytest.fixture(scope="module")
def flowed(classifier):
    problem, theta = classifier
    return td.flow(problem, theta, until=td.Until(time=0.5), saves=np.linspace(0, 0.5, 6), progress=False)


def test_the_lens_counts_and_checks_a_flow(classifier, flowed):
    problem, _ = classifier
    result = conservation.analyse(problem, flowed, conservation.Options(kernel_test=True))
    assert result.count is not None
    assert result.drift is not None
    assert result.count.laws == 3 + 4
    assert result.steps is None
    assert result.drift.worst < 1e-6
    assert "7 independent laws, PROVED by column sums" in result.summary()
    assert "away from the exact flow" in result.summary()
    data = result.to_xarray()
    assert data["relative_drift"].dims == ("save", "law")
    assert data.attrs["count_laws"] == 7
    assert data.attrs["kernel_status"] in ("RECOVERABLE", "AMBIGUOUS")


def test_the_lens_checks_every_step_of_descent(classifier):
    problem, theta = classifier
    path = td.descend(problem, theta, td.GradientDescent(0.1), 20, saves="steps", progress=False)
    result = conservation.analyse(problem, path, conservation.Options(reduced="auto"))
    assert result.steps is not None
    assert result.steps.exact
    assert "every step is one of gradient descent" in result.summary()
    assert any("gradient flow, not to steps" in note for note in result.notes)
    assert result.to_xarray()["residual"].dims == ("step", "law")


def test_the_lens_follows_the_reduced_flow(classifier, flowed):
    problem, _ = classifier
    result = conservation.analyse(
        problem, flowed, conservation.Options(reduced="auto", count=False, drift=False)
    )
    assert result.comparison is not None
    assert result.comparison.maximum < 1e-5  # the path itself was asked for 1e-6
    assert result.to_xarray()["reduced_error"].dims == ("reduced_save",)


def test_a_network_without_lift_is_refused_with_the_reason(flowed):
    rng = np.random.default_rng(0)
    problem = td.EmpiricalRisk(
        td.mlp([2, 3, 1], "tanh"), td.squared, rng.normal(size=(4, 2)), rng.normal(size=4)
    )
    with pytest.raises(conservation.UnsupportedArchitectureError, match="tanh"):
        conservation.analyse(problem, flowed, conservation.Options())


def test_a_tanh_classifier_is_followed_by_the_sums_that_softmax_keeps():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 2)), rng.integers(0, 2, 8)
    problem = td.EmpiricalRisk(td.mlp([2, 3, 2], "tanh"), td.cross_entropy, x, y)
    path = td.descend(
        problem, problem.init(jax.random.key(0)), td.GradientDescent(0.1), 20, saves="steps", progress=False
    )
    options = conservation.Options(kernel_test=True, laws="polynomial", max_size=10)
    result = conservation.analyse(problem, path, options)
    assert len(result.laws) == 4
    assert result.drift is not None
    assert result.drift.status is conservation.LawStatus.CONSERVED
    assert result.steps is not None
    assert result.steps.exact
    summary = result.summary()
    assert "17 parameters, at least 4 independent laws: OPEN" in summary
    assert "no measure of its error" in summary
    for note in ("has activation tanh", "needs a lift", "polynomial laws were not searched for"):
        assert any(note in said for said in result.notes)
    assert result.to_xarray().attrs["count_laws"] == "unknown"


def test_options_are_closed_and_bounded():
    for wrong in ({"los": "own"}, {"degree": 0}, {"tolerance": 2.0}, {"steps": "sometimes"}):
        with pytest.raises(ValidationError):
            conservation.Options(**wrong)


def test_every_figure_is_drawn_with_labels_and_its_data(classifier, flowed):
    problem, theta = classifier
    laws = conservation.known_laws(problem)
    path = td.descend(problem, theta, td.GradientDescent(0.1), 20, saves="steps", progress=False)
    linear = td.EmpiricalRisk(td.linear([2, 2, 2]), td.squared, problem.x, np.ones((8, 2)))
    moved = td.flow(linear, linear.init(theta_key()), until=td.Until(time=1.0), progress=False)
    reduced = conservation.reduced_flow(problem, theta, flowed.ts)
    comparison = conservation.compare(conservation.lift_of(problem), flowed, reduced)
    lift = conservation.LinearLift((2, 2, 2))
    tests = {e: conservation.kernel_test(lift, np.array([1, 0, 0, 1, 1 + e, 0, 0, 1.0])) for e in (0.0, 0.1)}
    ode = conservation.LinearNeuralODE(2, nodes=5)
    weights = np.ones((5, 2, 2))
    drawn = [
        conservation.plot_law_count(conservation.count_laws(conservation.LinearLift((2, 4, 4, 2)))),
        conservation.plot_law_drift(conservation.law_drift(laws, path)),
        *conservation.plot_law_steps(conservation.law_steps(laws, path.thetas)),
        *conservation.plot_reduced(comparison, reduced),
        conservation.plot_imbalance(moved, lift),
        conservation.plot_kernel(tests),
        conservation.plot_neural_ode_invariant(ode, weights, weights),
    ]
    assert all(isinstance(axes, Axes) for axes in drawn)
    assert all(axes.get_ylabel() for axes in drawn)
    assert all(axes.get_lines() for axes in drawn)
    stairs = drawn[0]
    assert stairs.get_lines()[1].get_ydata().tolist() == [4, 8, 12]
    with pytest.raises(conservation.ConservationError, match="LinearLift"):
        conservation.plot_imbalance(moved, conservation.lift_of(problem))
    with pytest.raises(conservation.ConservationError, match="axes were given"):
        conservation.plot_reduced(comparison, reduced, [stairs])


def theta_key():
    return jax.random.key(1)
