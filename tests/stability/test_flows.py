"""Exponents of flows, and the integration of their tangents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.stability.networks import NET, THETA, hessian
from tests.stability.textbook import CURVATURES, HYPERBOLA, LORENZ, LORENZ_FLOW, lorenz_field, quadratic
from thetadot.stability import SpectrumStatus, fixed_point_exponents, lyapunov, tangent
from thetadot.stability.variational import _krylov_exponential, exponential_step, propagate

FLOW = td.training_flow(quadratic())
TRUTH = np.sort(-CURVATURES)[::-1]
SMALL = td.training_flow(NET)


@pytest.mark.parametrize("method", ["joint", "exponential"])
@pytest.mark.parametrize("start", [np.zeros(5), np.ones(5)])
def test_the_flow_of_a_quadratic_has_minus_its_curvatures_as_exponents(method, start):
    found = lyapunov(FLOW, start, 200.0, transient=100.0, method=method)
    np.testing.assert_allclose(found.ordered, TRUTH, rtol=0, atol=1e-6)
    np.testing.assert_allclose(fixed_point_exponents(FLOW, np.zeros(5)), TRUTH, rtol=0, atol=1e-12)
    assert found.method.startswith(method)
    assert found.unit == "time"


def test_a_minimum_of_the_hyperbola_has_a_neutral_and_a_stable_exponent():
    a = 1.3
    found = lyapunov(td.training_flow(HYPERBOLA), np.array([a, 1 / a]), 40.0, transient=20.0)
    np.testing.assert_allclose(found.ordered, [0, -(a**2 + a**-2)], rtol=0, atol=1e-8)


def test_the_time_scale_of_a_problem_multiplies_the_exponents_of_its_flow():
    x = np.linspace(-1, 1, 6)[:, None]
    wide = td.two_layer(1, 4, "tanh", scaling="mean_field")
    problem = td.EmpiricalRisk(wide, td.squared, x, np.zeros_like(x))
    assert problem.time_scale == 4
    at = np.zeros(problem.size)
    values = np.linalg.eigvalsh(np.asarray(problem.hessian(at)))
    found = fixed_point_exponents(td.training_flow(problem), at)
    np.testing.assert_allclose(found, -4 * values, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ["joint", "exponential"])
def test_the_field_is_carried_to_the_field(method):
    field = jax.jit(lambda x: SMALL.field(x, NET))
    start = jnp.asarray(THETA)
    end, moved = propagate(SMALL, start, field(start)[None], 3.0, method=method, tolerance=1e-12)
    truth = field(end)
    assert np.linalg.norm(moved[0] - truth) < 1e-8 * np.linalg.norm(truth)


def test_the_field_of_lorenz_is_carried_to_the_field():
    start = np.array([1.0, 1.0, 20.0])
    end, moved = tangent(LORENZ_FLOW, start, np.asarray(lorenz_field(start, None))[:, None], interval=2.0)
    truth = np.asarray(lorenz_field(np.asarray(end), None))
    assert np.linalg.norm(moved[:, 0] - truth) < 1e-8 * np.linalg.norm(truth)


def test_the_exponential_step_has_order_four_and_no_other_order():
    turn = jnp.asarray(np.random.default_rng(1).normal(size=(3, 3)))
    one, two = turn + turn.T, turn @ turn.T

    def at(t):
        return -(two + jnp.sin(3 * t) * one)

    @jax.jit
    def error(steps):
        h = 1.0 / steps

        def step(n, rows):
            t = n * h
            node = np.sqrt(3) / 6
            return exponential_step(at(t + (0.5 - node) * h), at(t + (0.5 + node) * h), rows, h)

        return jax.lax.fori_loop(0, steps.astype(int), step, jnp.eye(3))

    truth = error(jnp.asarray(2048.0))
    errors = [np.abs(error(jnp.asarray(float(n))) - truth).max() for n in (16, 32, 64, 128)]
    slopes = np.diff(np.log(errors)) / -np.log(2)
    np.testing.assert_allclose(slopes, 4, rtol=0, atol=0.2)


def test_the_krylov_exponential_is_the_exponential():
    rng = np.random.default_rng(2)
    root = rng.normal(size=(40, 40))
    matrix = -root @ root.T / 8
    rows = rng.normal(size=(3, 40))
    moved, estimate = jax.jit(lambda r: _krylov_exponential(lambda v: jnp.asarray(matrix) @ v, r))(
        jnp.asarray(rows)
    )
    values, vectors = np.linalg.eigh(matrix)
    truth = rows @ vectors * np.exp(values) @ vectors.T
    error = np.linalg.norm(moved - truth, axis=1).max()
    assert error <= max(10 * float(estimate), 1e-9)
    assert error < 1e-6


@pytest.mark.slow
def test_a_flow_of_many_parameters_has_the_same_leading_exponents_by_lanczos_and_jointly(monkeypatch):
    from thetadot.stability import variational

    joint = lyapunov(SMALL, THETA, 4.0, count=2, method="joint", basis=np.eye(31)[:, :2])
    monkeypatch.setattr(variational, "DENSE_EXPONENTIAL", 10)
    lanczos = lyapunov(SMALL, THETA, 4.0, count=2, basis=np.eye(31)[:, :2])
    assert lanczos.method == "exponential (Lanczos)"
    np.testing.assert_allclose(lanczos.exponents, joint.exponents, rtol=0, atol=1e-7)


def test_exponents_of_a_network_agree_between_methods_and_resume_to_the_bit():
    frame = np.eye(31)[:, :3]
    joint = lyapunov(SMALL, THETA, 6.0, method="joint", basis=frame, every=0.25)
    whole = lyapunov(SMALL, THETA, 6.0, method="exponential", basis=frame, every=0.25)
    np.testing.assert_allclose(whole.exponents, joint.exponents, rtol=0, atol=1e-7)
    for method, full in (("joint", joint), ("exponential", whole)):
        part = lyapunov(SMALL, THETA, 2.6, method=method, basis=frame, every=0.25)
        both = lyapunov(SMALL, THETA, 3.4, resume=part)
        assert both.exponents.tobytes() == full.exponents.tobytes()
        assert both.basis.tobytes() == full.basis.tobytes()


def test_multiplying_a_field_multiplies_its_exponents():
    fast = td.Flow(lambda x, c: c * lorenz_field(x, None), 3.0)
    start, frame = np.array([1.0, 1.0, 20.0]), np.eye(3)
    one = lyapunov(LORENZ_FLOW, start, 6.0, basis=frame, every=0.3, tolerance=1e-13)
    three = lyapunov(fast, start, 2.0, basis=frame, every=0.1, tolerance=1e-13)
    np.testing.assert_allclose(three.exponents, 3 * one.exponents, rtol=0, atol=1e-10)


def _lorenz_is_right(found):
    truth = np.array(LORENZ["exponents"])
    assert np.all(np.abs(found.ordered - truth) < 4 * found.standard_error[np.argsort(-found.exponents)])
    assert abs(found.exponents.sum() - LORENZ["sum"]) < 1e-6


def test_lorenz_has_its_exponents():
    found = lyapunov(LORENZ_FLOW, np.array([1.0, 1.0, 20.0]), 2000.0, transient=50.0)
    _lorenz_is_right(found)
    assert abs(found.kaplan_yorke - LORENZ["dimension"]) < 0.002
    assert found.status is SpectrumStatus.CONVERGED


@pytest.mark.slow
def test_lorenz_over_twenty_thousand_time_units_has_its_dimension():
    found = lyapunov(LORENZ_FLOW, np.array([1.0, 1.0, 20.0]), 2e4, transient=50.0)
    _lorenz_is_right(found)
    assert abs(found.kaplan_yorke - LORENZ["dimension"]) < 0.002


def test_a_flow_that_blows_up_is_diverged_at_its_time():
    found = lyapunov(td.Flow(lambda x, args: x**2), np.array([1.0]), 2.0, every=0.1)
    assert found.status is SpectrumStatus.DIVERGED
    assert 0.9 <= found.first_bad <= 1.01


def test_a_block_in_which_tangents_would_overflow_is_done_in_pieces():
    saddle = td.Flow(lambda x, args: jnp.array([1.0, -1.0]) * x)
    found = lyapunov(saddle, np.zeros(2), 2000.0, every=1000.0, count=1)
    np.testing.assert_allclose(found.exponents, [1.0], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.log_growth[1], [1000.0], rtol=0, atol=1e-6)
    assert found.stats["redone_blocks"] == 2
    assert found.status is SpectrumStatus.FINITE_TIME


def test_exponents_along_training_tend_to_those_of_its_minimum():
    x = np.array([[0.0], [1.0], [2.0]])
    problem = td.EmpiricalRisk(td.linear([1, 1], bias=True), td.squared, x, 2 * x + 1)
    system = td.training_flow(problem)
    values = np.linalg.eigvalsh(np.asarray(problem.hessian(np.zeros(2))))
    found = lyapunov(system, np.array([3.0, -2.0]), 50.0, transient=30.0)
    np.testing.assert_allclose(found.ordered, -values, rtol=0, atol=1e-8)
    assert hessian(np.asarray(THETA)).shape == (31, 31)
