"""Widths, exponents and principal components against closed forms and known ensembles."""

import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from thetadot.fluctuations import (
    DriftWarning,
    FewSamplesWarning,
    FluctuationsError,
    LevelError,
    flatness,
    principal_fluctuations,
    variance_flatness,
)

CURVATURES = np.array([1e-3, 1.0, 250.0])


def valley(theta):
    return 0.7 + 0.5 * jnp.sum(jnp.asarray(CURVATURES) * theta**2)


def test_a_quadratic_valley_has_the_widths_of_the_formula():
    truth = 2 * np.sqrt(2 * (np.e - 1) * 0.7 / CURVATURES)
    found = flatness(valley, np.zeros(3), np.eye(3))
    np.testing.assert_allclose(found.widths, truth, rtol=1e-8)
    np.testing.assert_allclose(found.asymmetry, 0, atol=1e-8)
    problem = td.FunctionRisk(valley, jnp.zeros(3))
    np.testing.assert_allclose(flatness(problem, np.zeros(3), np.eye(3), factor=2.0).widths,
                               2 * np.sqrt(1.4 / CURVATURES), rtol=1e-8)  # fmt: skip
    assert found.level == pytest.approx(0.7 * np.e)


def landscape(theta):
    """Along 0: a wall of NaN at −2 and a parabola; along 1: flat; along 2: flat to the right, parabola to the left;
    along 3: a narrow ridge at 0.5 in front of a parabola."""
    a, _, c, d = theta
    wall = jnp.where(a < -2.0, jnp.nan, 0.5 * a**2 / 100)
    ridge = 10 * jnp.exp(-(((d - 0.5) / 0.1) ** 2))
    return 1.0 + wall + 0.5 * jnp.minimum(c, 0.0) ** 2 + ridge + 0.5 * d**2 / 100


def test_walls_flat_sides_and_nearer_ridges():
    found = flatness(landscape, np.zeros(4), np.eye(4), factor=2.0, max_width=50.0)
    root = np.sqrt(2.0)
    np.testing.assert_allclose(found.left[[0, 2]], [2.0, root], rtol=1e-8)
    np.testing.assert_allclose(found.right[0], 10 * root, rtol=1e-8)
    assert np.isinf(found.right[[1, 2]]).all()
    assert np.isinf(found.left[1])
    assert found.reached.tolist() == [True, False, False, True]
    ridge = found.right[3]
    assert 0.3 < ridge < 0.5
    assert float(landscape(jnp.array([0, 0, 0, ridge]))) == pytest.approx(
        2 * float(landscape(jnp.zeros(4))), rel=1e-8
    )
    assert found.left[3] > 10
    assert np.isnan(found.asymmetry[2])
    assert found.to_xarray()["reached"].values.tolist() == [1, 0, 0, 1]


def test_levels_that_do_not_exist_are_refused():
    with pytest.raises(LevelError, match="above 1"):
        flatness(valley, np.zeros(3), np.eye(3), factor=1.0)
    with pytest.raises(LevelError, match="floor"):
        flatness(lambda t: jnp.sum(t**2), np.zeros(3), np.eye(3))
    with pytest.raises(FluctuationsError, match="direction zero"):
        flatness(valley, np.zeros(3), np.zeros((3, 1)))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_an_ornstein_uhlenbeck_ensemble_gives_its_exponent(power):
    # Exact steps of dδ = −hδ dt + √(2h·h^p) dW, whose stationary variances are h^p.
    h = np.geomspace(0.1, 100, 30)
    rng = np.random.default_rng(0)
    state, total = rng.normal(size=(500, 30)) * h ** (power / 2), np.zeros(30)
    decay = np.exp(-h)
    for _ in range(20):
        state = decay * state + np.sqrt(h**power * (1 - decay**2)) * rng.normal(size=state.shape)
        total += state.var(axis=0, ddof=1) / 20
    widths = 2 * np.sqrt(2 * (np.e - 1) / h)
    found = variance_flatness(total, widths)
    assert found.exponent == pytest.approx(2 * power, rel=0.03)
    assert found.least_squares == pytest.approx(2 * power, rel=0.03)
    assert found.interval[0] < found.exponent < found.interval[1]
    assert str(found.status) == "fitted"
    assert "ψ =" in str(found)


def test_fits_that_the_data_do_not_support_are_refused():
    width = np.geomspace(0.1, 10, 40)
    few = variance_flatness(width[::10] ** -2.0, width[::10])
    assert str(few.status) == "too_few_points"
    assert np.isnan(few.exponent)
    narrow = variance_flatness(width[:9] ** -2.0, width[:9])
    assert narrow.decades < 0.5
    assert str(narrow.status) == "too_narrow"
    assert "not enough span" in str(narrow)
    assert str(variance_flatness(width[:9] ** -2.0, width[:9], min_decades=0.3).status) == "fitted"
    assert str(variance_flatness(np.zeros(0), np.zeros(0)).status) == "too_few_points"


def test_useless_entries_are_dropped_and_an_outlier_hardly_counts():
    width = np.geomspace(0.1, 10, 40)
    variance = width**-2.0
    broken_width, broken_variance = width.copy(), variance.copy()
    broken_width[3], broken_variance[[5, 7]] = np.inf, [0.0, np.nan]
    found = variance_flatness(broken_variance, broken_width)
    assert (found.points, found.dropped) == (37, 3)
    assert found.exponent == pytest.approx(2.0, abs=1e-9)
    variance[2] *= 100
    found = variance_flatness(variance, width)
    assert found.exponent == pytest.approx(2.0, rel=0.05)
    assert abs(found.least_squares - 2.0) > 0.1
    assert found.to_xarray().attrs["status"] == "fitted"


def test_principal_components_of_a_known_covariance():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    variances = np.array([9.0, 2.0, 0.5])
    rows = rng.normal(size=(8, 4000, 3)) * np.sqrt(variances) @ axes.T
    found = principal_fluctuations(rows + 3.0 * np.arange(8)[:, None, None])
    np.testing.assert_allclose(found.variances, variances, rtol=0.05)
    np.testing.assert_allclose(np.abs(np.diag(found.directions.T @ axes)), 1, atol=0.01)
    assert found.drift_share < 0.01
    assert found.samples_per_component > 1e4


def test_a_drift_is_removed_and_reported():
    rng = np.random.default_rng(1)
    slope = np.array([0.01, -0.02])
    rows = rng.normal(size=(3000, 2)) + np.arange(3000)[:, None] * slope
    with pytest.warns(DriftWarning, match="removed"):
        found = principal_fluctuations(rows)
    np.testing.assert_allclose(found.variances, [1, 1], rtol=0.1)
    np.testing.assert_allclose(found.drift, slope, rtol=0.01)
    assert found.drift_share > 0.9
    with pytest.warns(DriftWarning, match="detrend"):
        raw = principal_fluctuations(rows, detrend="none")
    assert raw.variances[0] > 100
    assert raw.to_xarray().attrs["drift_share"] > 0.9


def test_short_trajectories_have_few_components():
    rows = np.random.default_rng(2).normal(size=(6, 20))
    with pytest.warns(FewSamplesWarning, match="6 rows for 5 components"):
        found = principal_fluctuations(rows, detrend="none")
    assert found.variances.shape == (5,)
    assert (found.variances > 1e-6).all()
    with pytest.warns(FewSamplesWarning):
        assert principal_fluctuations(rows).variances.shape == (4,)
    assert principal_fluctuations(np.tile(rows, (20, 1)), components=2).directions.shape == (20, 2)
    with pytest.raises(FluctuationsError, match="at least 3"):
        principal_fluctuations(rows[:2])
