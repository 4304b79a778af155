"""Finite-time exponents against a product of tangents with 120 digits."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import thetadot as td
from tests.stability.networks import DESCENT, NET, THETA, hessian
from tests.stability.textbook import CAT, LORENZ_FLOW, quadratic
from thetadot.stability import (
    FiniteTimeStatus,
    StabilityError,
    finite_time,
    finite_time_exponents,
    tangent_matrix,
)

STEPS = 50


@pytest.fixture(scope="module")
def tangents():
    """T_n = I − ηH along the run, by automatic differentiation."""
    theta, found = np.asarray(THETA), []
    for n in range(STEPS):
        found.append(np.eye(31) - 0.1 * hessian(theta))
        theta = np.asarray(DESCENT(theta, n))
    return found


@pytest.fixture(scope="module")
def truth(tangents):
    """Logarithms of the singular values of the product, per step, with 120 digits."""
    with mp.workdps(120):
        product = mp.eye(31)
        for matrix in tangents:
            product = mp.matrix(matrix.tolist()) * product
        values = mp.svd_r(product, compute_uv=False)
        return np.sort([float(mp.log(value)) / STEPS for value in values])[::-1]


@pytest.fixture(scope="module")
def singular():
    return finite_time_exponents(DESCENT, THETA, STEPS)


def test_all_singular_exponents_are_those_of_the_product(singular, truth):
    assert singular.status is FiniteTimeStatus.CONVERGED
    np.testing.assert_allclose(singular.exponents, truth, rtol=0, atol=1e-12)
    assert np.ptp(truth) * STEPS > 40  # far beyond what a product in float64 could tell


def test_they_sum_to_the_mean_log_determinant_and_do_not_depend_on_the_key(singular, tangents):
    mean = np.mean([np.linalg.slogdet(matrix)[1] for matrix in tangents])
    assert abs(singular.exponents.sum() - mean) < 1e-10
    other = finite_time_exponents(DESCENT, THETA, STEPS, key=jax.random.key(5))
    np.testing.assert_allclose(other.exponents, singular.exponents, rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 8])
def test_a_few_leading_exponents_come_without_matrices(count, truth, monkeypatch):
    monkeypatch.setattr(finite_time, "_MATRIX_BYTES", 0)
    monkeypatch.setattr(finite_time, "_STATE_NUMBERS", 31 * 7)  # stretches of 7 states, computed again
    found = finite_time_exponents(DESCENT, THETA, STEPS, count=count)
    np.testing.assert_allclose(found.exponents, truth[:count], rtol=0, atol=1e-9)


def test_sweeps_without_matrices_part_values_that_lie_far_apart(monkeypatch):
    system = td.training_map(quadratic(), td.GradientDescent(0.8))
    rates = np.sort(np.log(np.abs(1 - 0.8 * np.array([3.0, 1.5, 0.9, 0.1, 0.0]))))[::-1]
    monkeypatch.setattr(finite_time, "_MATRIX_BYTES", 0)
    found = finite_time_exponents(system, np.ones(5), 40)
    np.testing.assert_allclose(found.exponents, rates, rtol=0, atol=1e-12)


def test_a_constant_symmetric_tangent_gives_its_eigenvalues():
    found = finite_time_exponents(CAT, np.zeros(2), 30)
    golden = np.log((3 + np.sqrt(5)) / 2)
    np.testing.assert_allclose(found.exponents, [golden, -golden], rtol=0, atol=1e-12)


def test_orthogonal_exponents_have_the_same_sum_but_depend_on_the_frame(singular):
    found = finite_time_exponents(DESCENT, THETA, STEPS, kind="orthogonal", repeats=3)
    assert abs(found.exponents.sum() - singular.exponents.sum()) < 1e-10
    assert np.all(found.spread[:3] > 1e-4)
    assert found.exponents[0] < singular.exponents[0]


@pytest.mark.slow
def test_singular_exponents_of_a_flow_are_those_of_its_tangent_matrix():
    start = np.array([1.0, 1.0, 20.0])
    found = finite_time_exponents(LORENZ_FLOW, start, 1.0)
    values = np.linalg.svd(np.asarray(tangent_matrix(LORENZ_FLOW, start, interval=1.0)), compute_uv=False)
    np.testing.assert_allclose(found.exponents[:2], np.log(values)[:2], rtol=0, atol=1e-6)
    assert abs(found.exponents.sum() + 41 / 3) < 1e-7


def test_a_singular_step_gives_minus_infinity_and_a_lost_orbit_nan():
    flat = td.StepMap(lambda s, n, aux: jnp.array([0.5, 0.0]) * s)
    found = finite_time_exponents(flat, np.ones(2), 5)
    assert found.status is FiniteTimeStatus.SUPERSTABLE
    assert found.exponents[0] == pytest.approx(np.log(0.5))
    assert np.isneginf(found.exponents[1])
    burst = td.StepMap(lambda s, n, aux: s**3)
    assert finite_time_exponents(burst, np.full(2, 10.0), 20).status is FiniteTimeStatus.DIVERGED


def test_what_a_window_cannot_give_is_refused():
    with pytest.raises(StabilityError, match="covariant_vectors"):
        finite_time_exponents(DESCENT, THETA, 10, kind="covariant")
    with pytest.raises(StabilityError, match="expected one of"):
        finite_time_exponents(DESCENT, THETA, 10, kind="local")
    with pytest.raises(StabilityError, match="window"):
        finite_time_exponents(DESCENT, THETA, 0)
    assert "per step" in repr(finite_time_exponents(CAT, np.zeros(2), 3))
    assert finite_time_exponents(CAT, np.zeros(2), 3).to_xarray().sizes["exponent"] == 2
    assert NET.size == 31
