"""Odd targets: linear predictors, moment equations, closed forms and guaranteed rates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.symmetry.risks import cubic_risk
from thetadot import symmetry


@pytest.fixture(scope="module")
def symmetric_run():
    problem = cubic_risk(100)
    theta = symmetry.to_theta(
        problem, symmetry.sample_particles(jax.random.key(0), 100, 10, scheme="antithetic")
    )
    path = td.flow(
        problem, theta, until=td.Until(time=8.0), saves=[1.0, 4.0, 8.0], accuracy=1e-9, progress=False
    )
    return problem, theta, path


@pytest.mark.slow
def test_a_symmetric_network_stays_linear_and_follows_the_moment_equations(symmetric_run):
    problem, theta, path = symmetric_run
    reduced = symmetry.odd_reduction(problem, theta)
    found = reduced.solve(path.ts, accuracy=1e-10)
    for row, predictor in zip(path.thetas, found.observed["predictor"], strict=True):
        parts = symmetry.split_odd_even(problem, jnp.asarray(row))
        assert abs(parts.even_power) < 1e-14
        np.testing.assert_allclose(parts.linear, predictor, atol=1e-8)
    np.testing.assert_allclose(found.losses, path.losses, atol=1e-8)
    assert max(reduced.residuals.values()) == 0.0


def test_the_isotropic_moments_follow_their_closed_form():
    times = [1.0, 2.0, 4.0, 6.0]
    closed = symmetry.isotropic_solution(times, 1.0, metric_sum=1.1)
    np.testing.assert_allclose(closed.norm[:3], [0.26919043, 0.55602043, 0.91343539], atol=5e-9)
    assert closed.rate == pytest.approx(1.0371234, abs=1e-7)
    assert closed.rate_bound == pytest.approx(0.275)
    reduced = symmetry.odd_reduction(cubic_risk(4))
    found = reduced.solve(times)
    np.testing.assert_allclose(np.linalg.norm(found.observed["predictor"], axis=1), closed.norm, atol=1e-9)
    assert np.all(found.observed["gap"] <= np.exp(-0.275 * np.array(times)))
    assert reduced.rate_bound == pytest.approx(0.275)
    fitted = -np.log(found.observed["gap"][3] / found.observed["gap"][2]) / 2
    assert fitted == pytest.approx(1.002, abs=2e-3)


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_the_anisotropic_flow_obeys_its_bound_and_its_invariants(slope):
    sigma = np.diag(np.linspace(0.3, 2.0, 10))
    rng = np.random.default_rng(1)
    mean = rng.normal(size=10)
    root = rng.normal(size=(10, 10)) / 3
    reduced = symmetry.OddReduction(
        sigma, mean, 40.0, outgoing_moment=0.7, incoming_moment=root @ root.T, slope=slope
    )
    times = np.linspace(0, 20, 41)
    found = reduced.solve(times, accuracy=1e-11)
    excess = found.losses - reduced.limit_risk
    assert np.all(excess <= excess[0] * np.exp(-2 * reduced.rate_bound * times) * (1 + 1e-9) + 1e-12)
    assert reduced.rate_bound > 0
    a, b = found.observed["outgoing_moment"], found.observed["incoming_moment"]
    assert np.all(a >= a[0] - 1e-10)
    assert np.all(np.linalg.eigvalsh(b)[:, 0] >= np.linalg.eigvalsh(b[0])[0] - 1e-10)
    assert np.ptp(np.trace(b, axis1=1, axis2=2) - a) < 1e-10
    assert found.observed["gap"][-1] < 0.2 * found.observed["gap"][0]


def test_a_start_off_zero_has_its_own_bound():
    root = np.random.default_rng(2).normal(size=(11, 11))
    whole = root @ root.T + 0.1 * np.eye(11)
    mean = np.concatenate([[1.0, 2.0], np.zeros(8)])
    reduced = symmetry.OddReduction(
        np.eye(10), mean, 9.0, outgoing_moment=whole[0, 0], incoming_moment=whole[1:, 1:],
        predictor=whole[0, 1:] / 2,
    )  # fmt: skip
    times = np.linspace(0, 5, 11)
    excess = reduced.solve(times).losses - reduced.limit_risk
    assert reduced.rate_bound == pytest.approx(2 * 0.25 * np.linalg.eigvalsh(whole)[0])
    assert np.all(excess <= excess[0] * np.exp(-2 * reduced.rate_bound * times) * (1 + 1e-9) + 1e-12)


def test_directions_without_inputs_are_left_out_of_the_optimum():
    first = np.eye(10)[0]
    reduced = symmetry.OddReduction(np.diag(first), 2 * first, 5.0)
    np.testing.assert_allclose(reduced.optimum, 2 * first)
    assert reduced.rate_bound == 0.0
    assert reduced.limit_risk == pytest.approx(0.5)
    assert reduced.solve([30.0]).observed["gap"][0] < 1e-6


@pytest.mark.slow
def test_a_start_with_positive_outputs_only_is_refused_and_does_not_stay_linear():
    problem = cubic_risk(100)
    cloud = symmetry.sample_particles(jax.random.key(0), 100, 10)
    theta = symmetry.to_theta(problem, symmetry.Particles(jnp.abs(cloud.outgoing), cloud.incoming))
    with pytest.raises(symmetry.HypothesisError, match="start invariant"):
        symmetry.odd_reduction(problem, theta)
    loose = symmetry.odd_reduction(problem, theta, strict=False)
    assert loose.residuals["start invariant under (a, b) → (−a, −b)"] > 0.1
    path = td.flow(
        problem, theta, until=td.Until(time=8.0), saves=[0.0, 2.0, 8.0], accuracy=1e-5, progress=False
    )
    powers = [symmetry.split_odd_even(problem, jnp.asarray(row)).even_power for row in path.thetas]
    assert min(np.sqrt(powers)) >= 0.3


def test_even_targets_and_smooth_activations_are_refused():
    even = td.PopulationRisk(td.two_layer(3, 4, "relu"), td.ProductTarget(0, 1), td.GaussianInputs(3))
    with pytest.raises(symmetry.HypothesisError, match="odd target"):
        symmetry.odd_reduction(even)
    false = td.OddTarget([1.0, 0, 0], 3.0, lambda x: x[:, 0] ** 2)
    said = td.PopulationRisk(td.two_layer(3, 4, "relu"), false, td.GaussianInputs(3))
    with pytest.raises(symmetry.HypothesisError, match="odd target"):
        symmetry.odd_reduction(said)
    smooth = td.PopulationRisk(td.two_layer(3, 4, "erf"), td.LinearTarget([1.0, 0, 0]), td.GaussianInputs(3))
    with pytest.raises(symmetry.HypothesisError, match="not piecewise linear"):
        symmetry.odd_reduction(smooth)


@pytest.mark.slow
def test_data_closed_under_negation_follow_the_moment_equations():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3))
    y = x @ np.array([1.0, -1.0, 0.5]) + x[:, 0] ** 3
    problem = td.EmpiricalRisk(
        td.two_layer(3, 6, "leaky_relu", scaling="mean_field", slope=0.2),
        "squared",
        np.concatenate([x, -x]),
        np.concatenate([y, -y])[:, None],
    )
    theta = symmetry.to_theta(
        problem, symmetry.sample_particles(jax.random.key(1), 6, 3, scheme="antithetic")
    )
    path = td.flow(problem, theta, until=td.Until(time=0.5), saves=[0.5], accuracy=1e-8, progress=False)
    found = symmetry.odd_reduction(problem, theta).solve([0.5])
    np.testing.assert_allclose(found.losses, path.losses, rtol=1e-7)
    np.testing.assert_allclose(
        found.observed["predictor"][-1],
        symmetry.split_odd_even(problem, jnp.asarray(path.thetas[-1])).linear,
        atol=1e-7,
    )


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_the_square_of_a_network_splits_into_its_linear_and_even_parts(activation):
    problem = td.PopulationRisk(
        td.two_layer(4, 7, activation, slope=0.3), td.ProductTarget(0, 1), td.GaussianInputs(4)
    )
    theta = jax.random.normal(jax.random.key(0), (35,))
    parts = symmetry.split_odd_even(problem, theta)
    whole = symmetry.mean_square_distance(problem, theta, jnp.zeros(35))
    assert parts.even_power + float(parts.linear @ parts.linear) == pytest.approx(whole, rel=1e-13)
    x = jax.random.normal(jax.random.key(1), (50, 4))
    odd = (problem.predict(theta, x) - problem.predict(theta, -x))[:, 0] / 2
    np.testing.assert_allclose(odd, x @ parts.linear, atol=1e-12)


def test_distances_between_predictors_are_metric_and_equal_draws():
    problem = td.PopulationRisk(td.two_layer(4, 7, "relu"), td.ProductTarget(0, 1), td.GaussianInputs(4))
    first, second = jax.random.normal(jax.random.key(0), (2, 35))
    assert abs(symmetry.mean_square_distance(problem, first, first)) < 1e-13
    there, back = (
        symmetry.mean_square_distance(problem, first, second),
        symmetry.mean_square_distance(problem, second, first),
    )
    assert there == pytest.approx(back, rel=1e-13)
    x = problem.inputs.sample(jax.random.key(2), 200_000)
    squares = np.asarray((problem.predict(first, x) - problem.predict(second, x))[:, 0] ** 2)
    assert abs(squares.mean() - there) < 4 * squares.std() / np.sqrt(squares.size)


@pytest.mark.slow
def test_distances_of_smooth_networks_equal_draws():
    first, second = jax.random.normal(jax.random.key(0), (2, 35))
    series = td.PopulationRisk(td.two_layer(4, 7, "tanh"), td.LinearTarget(np.ones(4)), td.GaussianInputs(4))
    x = series.inputs.sample(jax.random.key(2), 200_000)
    squares = np.asarray((series.predict(first, x) - series.predict(second, x))[:, 0] ** 2)
    found = symmetry.mean_square_distance(series, first, second)
    assert abs(squares.mean() - found) < 4 * squares.std() / np.sqrt(squares.size)


def test_the_floor_of_the_risk_of_a_product_is_as_derived():
    assert 0.5 * symmetry.homogeneous_floor(2, 5) == pytest.approx(0.03436, abs=5e-6)
    assert 0.5 * symmetry.homogeneous_floor(2, 6) == pytest.approx(0.0302, abs=5e-5)
    assert symmetry.homogeneous_floor(1, 7) == pytest.approx(0, abs=1e-14)
