"""Simulated ensembles against closed forms; what has not settled says so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.oracles.sgd_moments import by_kronecker, curvature_and_noise, linear_regression
from thetadot.fluctuations import (
    FluctuationsError,
    OnlineRisk,
    UnsupportedRuleError,
    online_gaussian_covariance,
    sgd_ensemble,
)

ENERGIES = np.array([2, 1, 0.5, 0.2, 0.05])
X, Y, BEST = linear_regression(20, 2)
LINEAR = td.EmpiricalRisk(td.linear([2, 1]), td.squared, X, Y[:, None])
H, D = curvature_and_noise(X, Y, BEST)


def ridge(theta, x, y):
    return 0.5 * (theta @ x - y) ** 2


def gaussian(energies, noise=0.5):
    """Labels are noise: the best weights are 0."""
    roots = jnp.sqrt(jnp.asarray(energies))

    def draw(key, batch_size):
        drawn = jax.random.normal(key, (batch_size, roots.size + 1))
        return drawn[:, 1:] * roots[None], noise * drawn[:, 0]

    return OnlineRisk(ridge, draw)


def rule(rate, batch, **options):
    return td.MiniBatch(rate, batch, jax.random.key(0), **({"replace": True} | options))


PRINTED = [
    (0.05, 1, 0.100995, (0.0077246, 0.0073180, 0.0071304, 0.0070224, 0.0069696)),
    (0.2, 4, 0.114957, (0.0094157, 0.0080706, 0.0075326, 0.0072429, 0.0071062)),
]


@pytest.mark.parametrize(("rate", "batch", "gain", "variances"), PRINTED)
def test_the_online_formula_gives_the_printed_values(rate, batch, gain, variances):
    found = online_gaussian_covariance(ENERGIES, label_variance=0.25, learning_rate=rate, batch_size=batch)
    assert found.gain == pytest.approx(gain, rel=5e-5)
    np.testing.assert_allclose(found.variances, variances, rtol=5e-5)
    assert found.excess_loss == pytest.approx(0.5 * ENERGIES @ found.variances, rel=1e-12)
    assert str(found.status) == "stationary"
    assert found.to_xarray().attrs["status"] == "stationary"


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "batch", "gain", "variances"), PRINTED)
def test_four_thousand_simulated_members_agree_with_the_online_formula(rate, batch, gain, variances):
    found = sgd_ensemble(
        gaussian(ENERGIES), np.zeros(5), rule(rate, batch), members=4000, steps=6000, burn_in=2000, every=20,
        key=jax.random.key(3),
    )  # fmt: skip
    np.testing.assert_allclose(np.diag(found.covariance), variances, rtol=0.02)
    assert str(found.status) == "stationary"


def test_the_online_formula_agrees_with_a_short_simulation():
    energies = np.array([2.0, 1.0])
    truth = online_gaussian_covariance(energies, label_variance=0.25, learning_rate=0.2, batch_size=2)
    found = sgd_ensemble(
        gaussian(energies), np.zeros(2), rule(0.2, 2), members=500, steps=300, burn_in=50, every=5,
        key=jax.random.key(3),
    )  # fmt: skip
    off = np.diag(found.covariance) - truth.variances
    assert (np.abs(off) < 3.5 * np.diag(found.standard_error)).all()
    assert (np.diag(found.standard_error) < 0.03 * truth.variances).all()
    assert str(found.status) == "stationary"


def test_a_quadratic_with_known_noise_has_the_covariance_of_the_discrete_equation():
    curvature, root = jnp.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, 0.0], [0.8, 0.3]])

    def draw(key, batch_size):
        push = jax.random.normal(key, (batch_size, 2)) @ jnp.asarray(root).T
        return push, jnp.zeros(batch_size)

    risk = OnlineRisk(lambda theta, push, _: 0.5 * theta @ curvature @ theta + push @ theta, draw)
    found = sgd_ensemble(
        risk, np.zeros(2), rule(0.3, 2), members=400, steps=200, burn_in=40, every=4, key=jax.random.key(4)
    )
    truth = by_kronecker(np.asarray(curvature), root @ root.T, 0.3, 0.5)[0]
    assert (np.abs(found.covariance - truth) < 3 * found.standard_error).all()
    assert (np.diag(found.standard_error) < 0.03 * np.diag(truth)).all()


def test_the_online_formula_knows_its_thresholds():
    high = online_gaussian_covariance(np.ones(40), label_variance=0.25, learning_rate=0.06)
    assert high.gain > 1
    assert str(high.status) == "non_stationary"
    assert np.isnan(high.variances).all()
    assert np.isnan(high.excess_loss)
    steep = online_gaussian_covariance([1.0], label_variance=0.25, learning_rate=1.0)
    assert np.isinf(steep.gain)
    assert str(steep.status) == "non_stationary"
    frozen = online_gaussian_covariance([1.0, 0.0], label_variance=0.25, learning_rate=0.1)
    assert str(frozen.status) == "frozen"
    assert frozen.variances[1] == 0


@pytest.mark.parametrize("rate", [0.75, 1.05])
def test_above_the_thresholds_no_simulation_is_called_stationary(rate):
    # κ = η/(2 − 2η) = 1.5: single runs come back, but E δ² grows without end. Then ηc(1 + 1/S) = 2.1.
    theory = online_gaussian_covariance([1.0], label_variance=0.25, learning_rate=rate)
    assert theory.gain == (pytest.approx(1.5) if rate == 0.75 else np.inf)
    assert str(theory.status) == "non_stationary"
    found = sgd_ensemble(
        gaussian([1.0]), np.zeros(1), rule(rate, 1), members=4000, steps=300, burn_in=200, every=10,
        key=jax.random.key(0),
    )  # fmt: skip
    assert found.tail_exponent < 1
    assert str(found.status) == "drifting"


SETTLED = {"members": 400, "steps": 300, "burn_in": 100, "every": 4}


def test_an_ensemble_on_data_agrees_with_the_exact_second_moments():
    found = sgd_ensemble(LINEAR, BEST, rule(0.1, 3, replace=False), key=jax.random.key(5), **SETTLED)
    truth = by_kronecker(H, D, 0.1, 17 / (3 * 19), X)[0]
    assert (np.abs(found.covariance - truth) < 3 * found.standard_error).all()
    assert str(found.status) == "stationary"
    values = np.linalg.eigvalsh(found.covariance)
    assert values[0] > 0
    again = sgd_ensemble(LINEAR, BEST, rule(0.1, 3, replace=False), key=jax.random.key(5), **SETTLED)
    np.testing.assert_array_equal(found.covariance, again.covariance)
    # Another half of the members, in a call of its own.
    other = sgd_ensemble(LINEAR, BEST, rule(0.1, 3, replace=False), key=jax.random.key(6), **SETTLED)
    both = np.sqrt(found.standard_error**2 + other.standard_error**2)
    assert (np.abs(found.covariance - other.covariance) < 3.5 * both).all()
    assert not np.array_equal(found.covariance, other.covariance)
    data = found.to_xarray()
    assert data.attrs["members"] == 400
    assert "stationary" in str(found)


def test_runs_beyond_all_numbers_are_diverged():
    found = sgd_ensemble(LINEAR, BEST, rule(50.0, 3, replace=False), key=jax.random.key(0), **SETTLED)
    assert str(found.status) == "diverged"


def test_a_start_far_from_the_minimum_is_drifting():
    given = SETTLED | {"steps": 60, "burn_in": 0, "every": 2}
    found = sgd_ensemble(LINEAR, BEST + 5.0, rule(0.02, 3, replace=False), key=jax.random.key(1), **given)
    assert str(found.status) == "drifting"
    assert np.linalg.norm(found.drift) > 1e-2


def test_coordinates_along_directions_are_those_of_the_whole():
    few = {"members": 5, "steps": 40, "burn_in": 8, "every": 4, "key": jax.random.key(1)}
    V = np.array([[0.6], [0.8]])
    whole = sgd_ensemble(LINEAR, BEST, rule(0.1, 3), **few)
    part = sgd_ensemble(LINEAR, BEST, rule(0.1, 3), directions=V, **few)
    np.testing.assert_allclose(part.covariance, V.T @ whole.covariance @ V, rtol=1e-9)
    np.testing.assert_allclose(part.mean, V.T @ whole.mean, rtol=1e-9)


def test_the_covariance_is_that_of_members_run_one_by_one():
    key = jax.random.key(8)
    found = sgd_ensemble(LINEAR, BEST, rule(0.1, 3), members=5, steps=6, burn_in=2, every=2, key=key)
    rows = []
    for own in jax.random.split(key, 5):
        path = td.descend(
            LINEAR, BEST, td.MiniBatch(0.1, 3, own, replace=True), 6, saves="steps", progress=False
        )
        rows.append(path.thetas[[4, 6]])
    rows = np.array(rows)
    truth = np.mean([np.cov(rows[:, k].T) for k in range(2)], axis=0)
    np.testing.assert_allclose(found.covariance, truth, rtol=1e-9)
    np.testing.assert_allclose(found.mean, rows.mean(axis=(0, 1)), rtol=1e-12)


def test_rules_without_chance_do_not_scatter():
    found = sgd_ensemble(LINEAR, BEST, td.GradientDescent(0.1), members=4, steps=20, key=jax.random.key(1))
    assert np.abs(found.covariance).max() < 1e-20
    assert str(found.status) == "stationary"


def test_shuffled_passes_scatter_less_than_half_of_the_formula():
    # Recorded at the ends of passes: 5 steps of 4 out of 20 samples.
    found = sgd_ensemble(
        LINEAR, BEST, rule(0.05, 4, replace=False, epochs=True), members=100, steps=300, burn_in=200, every=5,
        key=jax.random.key(2),
    )  # fmt: skip
    formula = by_kronecker(H, D, 0.05, 16 / (4 * 19), X)[0]
    _values, axes = np.linalg.eigh(H)
    ratios = np.diag(axes.T @ found.covariance @ axes) / np.diag(axes.T @ formula @ axes)
    assert (ratios < 0.5).all()


def test_what_cannot_be_run_is_refused():
    few = {"members": 4, "key": jax.random.key(0)}
    with pytest.raises(FluctuationsError, match="burn_in = 10"):
        sgd_ensemble(LINEAR, BEST, rule(0.1, 3), steps=10, burn_in=10, **few)
    with pytest.raises(UnsupportedRuleError, match="OnlineRisk"):
        sgd_ensemble(gaussian([1.0]), np.zeros(1), td.GradientDescent(0.1), steps=10, **few)
    with pytest.raises(FluctuationsError, match="flat vector"):
        sgd_ensemble(LINEAR, np.zeros(3), rule(0.1, 3), steps=10, **few)
    with pytest.raises(FluctuationsError, match="members"):
        sgd_ensemble(LINEAR, BEST, rule(0.1, 3), steps=10, members=1, key=jax.random.key(0))
    with pytest.raises(td.dynamics.RuleError, match="samples"):
        sgd_ensemble(LINEAR, BEST, rule(0.1, 21, replace=False), steps=10, **few)
