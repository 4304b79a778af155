"""Regimes of a map whose bifurcations are known, and sharpness against dense eigenvalues."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.stability.networks import NET, THETA, hessian
from tests.stability.textbook import HYPERBOLA, cubic
from thetadot.stability import Regime, StabilityError, regime_scan, sharpness, sharpness_along

RATES = [0.9, 1.1, 1.25, 1.35, 1.7, 2.01]


@pytest.fixture(scope="module")
def scan():
    return regime_scan(cubic, RATES, np.array([[0.3], [-0.71]]), transient=20_000, duration=24_000)


def test_the_cubic_map_goes_through_its_known_regimes_from_two_starts(scan):
    for column in range(2):
        names = [Regime(code).name for code in scan.regime[:, column]]
        assert names == ["FIXED_POINT", "PERIODIC", "PERIODIC", "CHAOTIC", "PERIODIC", "DIVERGED"]
        assert scan.period[:, column].tolist() == [1, 2, 4, 0, 6, 0]
    np.testing.assert_allclose(scan.exponent[0], np.log(0.8), rtol=0, atol=1e-9)
    np.testing.assert_allclose(scan.exponent[4], -0.4351061, rtol=0, atol=1e-5)
    assert np.all(scan.survived[:5] == 44_000)
    assert np.all(scan.survived[5] < 20_000)
    assert np.isnan(scan.orbit[5]).all()
    assert scan.orbit.shape == (6, 2, 256)
    assert scan.to_xarray().sizes["rate"] == 6


def test_a_turn_is_quasiperiodic_and_a_slow_drift_undecided():
    def turn(angle):
        def step(s, n, a):
            c, d = jnp.cos(a[0]), jnp.sin(a[0])
            return jnp.stack([c * s[0] - d * s[1], d * s[0] + c * s[1]])

        return td.StepMap(step, jnp.reshape(angle, (1, 1)))

    found = regime_scan(turn, [1.0], np.array([[1.0, 0.0]]), transient=10, duration=2000)
    assert found.regime[0, 0] == Regime.QUASIPERIODIC

    def creep(rate):
        return td.StepMap(lambda s, n, a: s + a[0], jnp.reshape(rate, (1, 1)))

    slow = regime_scan(creep, [0.01], np.array([[1.0]]), transient=10, duration=2000)
    assert slow.regime[0, 0] == Regime.UNDECIDED


def test_learning_rates_of_a_problem_are_scanned_by_its_loss():
    def descent(rate):
        return td.training_map(HYPERBOLA, td.GradientDescent(rate))

    found = regime_scan(descent, [0.2, 5.0], np.array([[1.5, 0.5]]), transient=2000, duration=500)
    assert found.regime[:, 0].tolist() == [Regime.FIXED_POINT, Regime.DIVERGED]
    assert found.orbit[0, 0].max() < 1e-20
    with pytest.raises(StabilityError, match="period_max"):
        regime_scan(descent, [0.2], np.ones((1, 2)), transient=0, duration=100)
    with pytest.raises(StabilityError, match="states"):
        regime_scan(descent, [0.2], np.ones(2), transient=0, duration=1000)


def test_sharpness_of_the_hyperbola_is_its_curvature_across():
    a = 1.3
    found = sharpness(HYPERBOLA, np.array([a, 1 / a]), count=2)
    np.testing.assert_allclose(found.values, [a**2 + a**-2, 0], rtol=0, atol=1e-12)
    assert found.converged


def test_sharpness_of_a_network_is_the_largest_algebraic_eigenvalue_at_every_save():
    path = td.descend(NET, THETA, td.GradientDescent(0.1), 60, saves="steps", progress=False)
    track = sharpness_along(NET, path, count=3, rule=td.GradientDescent(0.1))
    for theta, row in zip(path.thetas, track.values, strict=True):
        dense = np.linalg.eigvalsh(hessian(theta))[::-1][:3]
        np.testing.assert_allclose(row, dense, rtol=0, atol=1e-8 * max(1.0, dense[0]))
    assert track.thresholds == {"2/η": 20.0}
    assert track.residuals.max() < 1e-6 * track.values.max()


def _indefinite(matrix, theta):
    return 0.5 * theta @ matrix @ theta


def test_a_strongly_negative_curvature_and_a_repeated_one_are_no_trouble():
    values = np.array([-50.0, 2.0, 2.0, 1.0, 0.5, 0.0])
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))[0]
    problem = td.FunctionRisk(
        jax.tree_util.Partial(_indefinite, jnp.asarray(turn @ np.diag(values) @ turn.T)), jnp.zeros(6)
    )
    found = sharpness(problem, np.zeros(6), count=3)
    np.testing.assert_allclose(found.values, [2, 2, 1], rtol=0, atol=1e-9)
    stuck = sharpness(problem, np.zeros(6), start=turn[:, 3])
    np.testing.assert_allclose(stuck.values, [2], rtol=0, atol=1e-9)
    with pytest.raises(StabilityError, match="count"):
        sharpness(problem, np.zeros(6), count=7)
    with pytest.raises(StabilityError, match=r"\(S, 6\)"):
        sharpness_along(problem, np.zeros(6))
