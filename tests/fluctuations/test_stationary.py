"""Stationary covariances against Lyapunov solvers, Kronecker systems and hand calculation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import thetadot as td
from tests.oracles.sgd_moments import (
    by_kronecker,
    curvature_and_noise,
    linear_regression,
    random_pair,
    rotation,
)
from thetadot import fluctuations
from thetadot.fluctuations import (
    FluctuationsError,
    UnsupportedRuleError,
    UnsupportedSamplingError,
    gradient_noise,
    noise_scale,
    online_gaussian_covariance,
    sample_jacobians,
    stationary_covariance,
    stationary_covariance_of,
)

KEY = jax.random.key(0)
X, Y, BEST = linear_regression(30, 4)
LINEAR = td.EmpiricalRisk(td.linear([4, 1]), td.squared, X, Y[:, None])
KINDS = ("continuum", "discrete", "multiplicative")


def positive(matrix):
    values = np.linalg.eigvalsh(matrix)
    return values[0] >= -1e-12 * values[-1]


def network():
    rng = np.random.default_rng(1)
    problem = td.EmpiricalRisk(
        td.mlp([3, 4, 2], "tanh"), td.squared, rng.normal(size=(23, 3)), rng.normal(size=(23, 2))
    )
    return problem, problem.init(jax.random.key(2))


def test_the_continuum_covariance_solves_the_lyapunov_equation():
    H, D = random_pair(20, 0)
    found = stationary_covariance(H, D, learning_rate=0.02, batch_size=3, kind="continuum")
    truth = scipy.linalg.solve_continuous_lyapunov(H, 0.02 / 3 * D)
    np.testing.assert_allclose(found.covariance, truth, rtol=0, atol=1e-10 * np.abs(truth).max())
    assert found.residual < 1e-12
    assert str(found.status) == "stationary"
    assert positive(found.covariance)


def test_the_discrete_covariance_solves_the_discrete_lyapunov_equation():
    H, D = random_pair(20, 0)
    rate = 1.5 / np.linalg.eigvalsh(H)[-1]
    found = stationary_covariance(H, D, learning_rate=rate, batch_size=3)
    truth = scipy.linalg.solve_discrete_lyapunov(np.eye(20) - rate * H, rate**2 / 3 * D)
    np.testing.assert_allclose(found.covariance, truth, rtol=0, atol=1e-10 * np.abs(truth).max())
    assert found.residual < 1e-12
    assert found.excess_loss == pytest.approx(0.5 * np.trace(H @ truth))
    assert positive(found.covariance)


def test_diagonal_cases_by_hand_for_all_kinds():
    h, d, rate = np.array([0.5, 2.0, 3.0]), np.array([1.0, 0.2, 4.0]), 0.2
    given = {"learning_rate": rate, "batch_size": 2}
    found = stationary_covariance(np.diag(h), np.diag(d), kind="continuum", **given)
    np.testing.assert_allclose(np.diag(found.covariance), rate / 2 * d / (2 * h), rtol=1e-13)
    found = stationary_covariance(np.diag(h), np.diag(d), **given)
    np.testing.assert_allclose(np.diag(found.covariance), rate / 2 * d / (2 * h - rate * h**2), rtol=1e-13)
    # Samples along the axes: M is diagonal too, M_ii = (3h_i² − h_i²)Σ_ii for three equal shares.
    rows = np.diag(np.sqrt(3 * h))
    found = stationary_covariance(
        np.diag(h), np.diag(d), kind="multiplicative", sample_jacobians=rows, **given
    )
    truth = rate / 2 * d / (2 * h - rate * h**2 - rate / 2 * 2 * h**2)
    np.testing.assert_allclose(found.covariance, np.diag(truth), rtol=1e-11, atol=1e-14)


def test_discrete_tends_to_continuum_in_first_order():
    H, D = random_pair(5, 3)
    off = []
    for rate in (1e-2, 5e-3):
        pair = [
            stationary_covariance(H, D, learning_rate=rate, batch_size=1, kind=kind).covariance
            for kind in ("continuum", "discrete")
        ]
        off.append(np.linalg.norm(pair[0] - pair[1]) / np.linalg.norm(pair[0]))
    assert off[1] < 0.02
    assert off[0] / off[1] == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("replace", [True, False])
def test_the_multiplicative_covariance_equals_the_kronecker_system(size, replace):
    x, y, best = linear_regression(12, size, seed=size)
    H, D = curvature_and_noise(x, y, best)
    rate, batch = 0.25 / np.linalg.eigvalsh(H)[-1], 3
    scale = 1 / 3 if replace else 9 / (3 * 11)
    found = stationary_covariance(
        H, D, learning_rate=rate, batch_size=batch, kind="multiplicative", sample_jacobians=x, replace=replace
    )
    truth, radius = by_kronecker(H, D, rate, scale, x)
    np.testing.assert_allclose(found.covariance, truth, rtol=0, atol=1e-9 * np.abs(truth).max())
    assert found.spectral_radius == pytest.approx(radius, rel=1e-9)
    assert found.noise_scale == pytest.approx(scale)
    assert found.residual < 1e-9
    assert found.approximation == ""
    assert positive(found.covariance)


def test_several_outputs_enter_the_multiplicative_noise_together():
    rng = np.random.default_rng(0)
    J = rng.normal(size=(9, 2, 3))
    H = np.einsum("nqi,nqj->ij", J, J) / 9
    D = random_pair(3, 1)[1]
    rate = 0.2 / np.linalg.eigvalsh(H)[-1]
    found = stationary_covariance(
        H, D, learning_rate=rate, batch_size=1, kind="multiplicative", sample_jacobians=J
    )
    parts = np.einsum("nqi,nqj->nij", J, J)
    step = np.eye(3) - rate * H
    matrix = np.kron(step, step) + rate**2 * (sum(np.kron(p, p) for p in parts) / 9 - np.kron(H, H))
    truth = np.linalg.solve(np.eye(9) - matrix, rate**2 * D.ravel()).reshape(3, 3)
    np.testing.assert_allclose(found.covariance, truth, rtol=0, atol=1e-9 * np.abs(truth).max())


def test_many_gaussian_samples_reproduce_the_online_formula():
    energies = np.array([2, 1, 0.5, 0.2, 0.05])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200_000, 5)) * np.sqrt(energies)
    residual = 0.5 * rng.normal(size=len(x))
    H, D = x.T @ x / len(x), (x * residual[:, None] ** 2).T @ x / len(x)
    for rate, batch in ((0.05, 1), (0.2, 4)):
        found = stationary_covariance(
            H, D, learning_rate=rate, batch_size=batch, kind="multiplicative", sample_jacobians=x
        )
        truth = online_gaussian_covariance(
            energies, label_variance=0.25, learning_rate=rate, batch_size=batch
        )
        np.testing.assert_allclose(np.diag(found.covariance), truth.variances, rtol=0.03)


def test_sampling_without_replacement():
    H, D = random_pair(4, 5)
    given = {"learning_rate": 0.05, "replace": False, "samples": 10}
    assert not stationary_covariance(H, D, batch_size=10, **given).covariance.any()
    single = stationary_covariance(H, D, batch_size=1, **given).covariance
    with_replacement = stationary_covariance(H, D, learning_rate=0.05, batch_size=1).covariance
    np.testing.assert_array_equal(single, with_replacement)
    assert noise_scale(1, replace=False, samples=1) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_rotations_and_scaled_noise_carry_over(kind):
    x, y, best = linear_regression(12, 4, seed=7)
    H, D = curvature_and_noise(x, y, best)
    Q = rotation(4, 1)
    given = {"learning_rate": 0.05, "batch_size": 2, "kind": kind}
    plain, turned, scaled = (
        stationary_covariance(
            a, b, sample_jacobians=rows if kind == "multiplicative" else None, **given
        ).covariance
        for a, b, rows in ((H, D, x), (Q @ H @ Q.T, Q @ D @ Q.T, x @ Q.T), (H, 3 * D, x))
    )
    np.testing.assert_allclose(turned, Q @ plain @ Q.T, rtol=0, atol=1e-10 * np.abs(plain).max())
    np.testing.assert_allclose(scaled, 3 * plain, rtol=0, atol=1e-10 * np.abs(plain).max())


@pytest.mark.parametrize("kind", KINDS)
def test_null_directions_are_frozen_or_diffuse(kind):
    x, y, best = linear_regression(12, 3, seed=2)
    H, D = curvature_and_noise(x, y, best)
    Q = rotation(5, 3)
    wide = Q[:, :3]
    H, D, x = wide @ H @ wide.T, wide @ D @ wide.T, x @ wide.T
    rows = x if kind == "multiplicative" else None
    given = {"learning_rate": 0.1, "batch_size": 2, "kind": kind, "sample_jacobians": rows}
    found = stationary_covariance(H, D, **given)
    assert str(found.status) == "frozen"
    assert found.frozen.shape == (5, 2)
    np.testing.assert_allclose(found.covariance @ found.frozen, 0, atol=1e-14)
    assert found.spectral_radius < 1
    assert positive(found.covariance)
    restless = stationary_covariance(H, D + 0.7 * np.outer(Q[:, 4], Q[:, 4]), **given)
    assert str(restless.status) == "diffusing"
    assert restless.diffusion_rate == pytest.approx(0.1**2 / 2 * 0.7)
    assert restless.frozen.shape == (5, 1)
    np.testing.assert_allclose(abs(restless.frozen[:, 0] @ Q[:, 3]), 1, rtol=1e-9)
    np.testing.assert_allclose(restless.covariance, found.covariance, atol=1e-12)
    assert "null space" in restless.summary()


def test_no_stationary_state_at_a_saddle_or_above_the_critical_rate():
    H, D = np.diag([1.0, -0.1]), np.eye(2)
    assert str(stationary_covariance(H, D, learning_rate=0.1, batch_size=1).status) == "non_stationary"
    for kind in ("continuum", "discrete"):
        found = stationary_covariance(np.eye(2), D, learning_rate=2.0, batch_size=1, kind=kind)
        assert str(found.status) == "non_stationary"
        assert np.isnan(found.covariance).all()
    x, y, best = linear_regression(12, 3, seed=2)
    H, D = curvature_and_noise(x, y, best)
    rates = np.linspace(0.1, 1.9, 19) / np.linalg.eigvalsh(H)[-1]
    given = {"batch_size": 1, "kind": "multiplicative", "sample_jacobians": x}
    statuses = [str(stationary_covariance(H, D, learning_rate=rate, **given).status) for rate in rates]
    radii = np.array([by_kronecker(H, D, rate, 1.0, x)[1] for rate in rates])
    assert statuses == ["stationary" if radius < 1 else "non_stationary" for radius in radii]
    assert 0 < np.sum(radii >= 1) < 19


@pytest.mark.parametrize("kind", KINDS)
def test_directions_that_settle_after_very_many_steps_are_stationary(kind):
    # ηh = 1e-16: (1 − ηh)² rounds to 1.
    h = np.array([1.0, 1e-13])
    rows = np.diag(np.sqrt(2 * h)) if kind == "multiplicative" else None
    found = stationary_covariance(
        np.diag(h), np.diag(h), learning_rate=1e-3, batch_size=1, kind=kind, sample_jacobians=rows
    )
    assert str(found.status) == "stationary"
    np.testing.assert_allclose(np.diag(found.covariance), 1e-3 / 2, rtol=2e-3)
    assert found.residual < 1e-12


def test_near_the_critical_rate_it_warns():
    with pytest.warns(fluctuations.NearInstabilityWarning, match="close to instability"):
        stationary_covariance(np.eye(2), np.eye(2), learning_rate=1.9999, batch_size=1)


def test_gradient_noise_equals_numpy_for_every_chunk():
    H, D = curvature_and_noise(X, Y, BEST + 0.1)
    mean = np.mean([((BEST + 0.1) @ row - label) * row for row, label in zip(X, Y, strict=True)], axis=0)
    directions = rotation(4, 0)[:, :2]
    for chunk in (1, 7, 30):
        noise = gradient_noise(LINEAR, BEST + 0.1, chunk=chunk)
        np.testing.assert_allclose(noise.mean, mean, atol=1e-12)
        np.testing.assert_allclose(noise.covariance, D, rtol=0, atol=1e-12 * np.abs(D).max())
    noise = gradient_noise(LINEAR, BEST + 0.1, chunk=7)
    np.testing.assert_allclose(noise.matvec(directions[:, 0]), D @ directions[:, 0], atol=1e-12)
    np.testing.assert_allclose(noise.project(directions), directions.T @ D @ directions, atol=1e-12)
    assert noise.trace == pytest.approx(np.trace(D), rel=1e-12)
    np.testing.assert_allclose(np.asarray(LINEAR.hessian(BEST)), H, atol=1e-12)


def test_a_problem_with_its_own_noise_and_jacobians():
    H, D = curvature_and_noise(X, Y, BEST)
    np.testing.assert_allclose(sample_jacobians(LINEAR, BEST)[:, 0], X, atol=1e-14)
    rule = td.MiniBatch(0.05, 3, KEY)
    for kind in KINDS:
        found = stationary_covariance_of(LINEAR, BEST, rule, kind=kind)
        rows = X if kind == "multiplicative" else None
        given = stationary_covariance(
            H,
            D,
            learning_rate=0.05,
            batch_size=3,
            kind=kind,
            replace=False,
            samples=30,
            sample_jacobians=rows,
        )
        np.testing.assert_allclose(found.covariance, given.covariance, atol=1e-10 * np.abs(D).max())
        assert found.approximation == ""
        assert found.gradient_ratio < 1e-10
    assert "user" in str(given)
    assert "½" in str(found)


def test_jacobians_weigh_other_losses_by_the_root_of_their_curvature():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(15, 3)), rng.integers(0, 3, 15)
    problem = td.EmpiricalRisk(td.linear([3, 3]), td.cross_entropy, x, y)
    theta = problem.init(KEY)
    J = sample_jacobians(problem, theta)
    H = np.asarray(jax.jit(jax.hessian(problem.loss))(theta))
    np.testing.assert_allclose(np.einsum("nqi,nqj->ij", J, J) / 15, H, atol=1e-12)


def test_the_leading_block_is_that_of_the_dense_answer():
    x, y, best = linear_regression(80, 60, seed=4)
    problem = td.EmpiricalRisk(td.linear([60, 1]), td.squared, x, y[:, None])
    rule = td.MiniBatch(0.05, 4, KEY, replace=True)
    for kind in ("continuum", "discrete"):
        dense = stationary_covariance_of(problem, best, rule, kind=kind)
        found = stationary_covariance_of(problem, best, rule, kind=kind, leading=5)
        V = found.directions
        assert V.shape == (60, 5)
        truth = V.T @ dense.covariance @ V
        np.testing.assert_allclose(found.covariance, truth, rtol=0, atol=1e-8 * np.abs(truth).max())
        np.testing.assert_allclose(found.curvatures, dense.curvatures[:5], rtol=1e-10)
    with pytest.raises(FluctuationsError, match="couples"):
        stationary_covariance_of(problem, best, rule, kind="multiplicative", leading=5)


def test_a_leading_block_at_a_saddle_has_no_stationary_state():
    problem, theta = network()
    with pytest.warns(fluctuations.NotAtMinimumWarning):
        dense = stationary_covariance_of(problem, theta, td.MiniBatch(0.05, 4, KEY))
    with pytest.warns(fluctuations.NotAtMinimumWarning):
        found = stationary_covariance_of(problem, theta, td.MiniBatch(0.05, 4, KEY), leading=1)
    assert str(found.status) == str(dense.status) == "non_stationary"
    assert np.isnan(found.covariance).all()
    assert found.lowest_curvature == pytest.approx(dense.lowest_curvature, abs=1e-3)
    assert "curvatures from −" in found.summary()


def test_away_from_a_minimum_it_warns_and_remembers():
    with pytest.warns(fluctuations.NotAtMinimumWarning, match="not at a minimum"):
        found = stationary_covariance_of(LINEAR, BEST + 1.0, td.MiniBatch(0.05, 3, KEY))
    assert found.gradient_ratio > 1


@pytest.mark.parametrize(
    ("rule", "error", "way_out"),
    [
        (td.MiniBatch(0.1, 4, KEY, epochs=True), UnsupportedSamplingError, "sgd_ensemble"),
        (td.PerSample(0.1), UnsupportedSamplingError, "replace=True"),
        (td.HeavyBall(0.1, momentum=0.9), UnsupportedRuleError, "MiniBatch only"),
        (td.MiniBatch(lambda n: 0.1, 4, KEY), UnsupportedRuleError, "constant"),
    ],
)
def test_theory_refuses_what_it_does_not_cover(rule, error, way_out):
    with pytest.raises(error, match=way_out):
        stationary_covariance_of(LINEAR, BEST, rule)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "multiplicative"}, "sample_jacobians"),
        ({"kind": "exact"}, "continuum, discrete, multiplicative"),
        ({"replace": False}, "samples=N"),
        ({"replace": False, "samples": 1}, "more than the 1 samples"),
        ({"hessian": np.array([[1.0, 0.1], [0.0, 1.0]])}, "not symmetric"),
        ({"noise": np.array([[1.0, 0.1], [0.0, 1.0]])}, "not symmetric"),
        ({"noise": np.eye(3)}, "equal"),
        ({"noise": np.full((2, 2), np.nan)}, "finite"),
        ({"learning_rate": 0.0}, "positive"),
        ({"batch_size": 0}, "at least 1"),
        ({"kind": "multiplicative", "sample_jacobians": np.ones((3, 5))}, "one per sample"),
    ],
)
def test_bad_questions_are_refused_in_one_line(changes, says):
    given = {"hessian": np.eye(2), "noise": np.eye(2), "learning_rate": 0.1, "batch_size": 2} | changes
    with pytest.raises(FluctuationsError, match=says) as caught:
        stationary_covariance(given.pop("hessian"), given.pop("noise"), **given)
    assert "\n" not in str(caught.value)


def test_single_precision_and_problems_without_samples_are_refused():
    with pytest.raises(td.PrecisionError, match="float64"):
        stationary_covariance(np.eye(2, dtype="float32"), np.eye(2), learning_rate=0.1, batch_size=1)
    quadratic = td.FunctionRisk(lambda t: 0.5 * jnp.sum(t**2), jnp.zeros(2))
    with pytest.raises(FluctuationsError, match="no samples"):
        gradient_noise(quadratic, np.zeros(2))


def test_dense_covariances_have_a_limit():
    big = td.EmpiricalRisk(td.linear([5001, 1]), td.squared, np.zeros((1, 5001)), np.zeros((1, 1)))
    with pytest.raises(fluctuations.SizeError, match="leading=k"):
        _ = gradient_noise(big, np.zeros(5001)).covariance


def test_results_become_labelled_arrays():
    data = stationary_covariance_of(LINEAR, BEST, td.MiniBatch(0.05, 3, KEY), leading=2).to_xarray()
    assert data["covariance"].attrs["units"] == "weight²"
    assert data.sizes == {"direction": 2, "direction_": 2, "parameter": 4}
    assert data.attrs["status"] == "stationary"
