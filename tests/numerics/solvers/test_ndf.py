"""The multistep method: its differences, its orders, what a step costs, and what deflation saves."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import thetadot as td
from thetadot.dynamics.right_sides import TrainingSide
from thetadot.numerics.solvers import NDF, ndf_table
from thetadot.numerics.solvers.ndf_krylov import KrylovAlgebra
from thetadot.numerics.solvers.stepping import Verdict

TIMES = np.arange(8)


def differences_of(values: np.ndarray) -> np.ndarray:
    """Backward differences 0 … 7 at the newest of eight values (newest first)."""
    rows, found = np.asarray(values, float), []
    for _ in range(len(rows)):
        found.append(rows[0])
        rows = rows[:-1] - rows[1:]
    return np.array(found)


def polynomial(t, order):
    return np.stack([np.polyval(np.arange(1, order + 2) * (-1.0) ** np.arange(order + 1), t), t**order], -1)


@pytest.mark.parametrize("order", range(1, 6))
@pytest.mark.parametrize("ratio", [0.3, 1.0, 1.7])
def test_rescaled_differences_are_those_of_the_same_polynomial_on_the_other_grid(order, ratio):
    coarse = differences_of(polynomial(2.0 - 0.5 * TIMES, order))
    fine = differences_of(polynomial(2.0 - 0.5 * ratio * TIMES, order))
    found = ndf_table.rescaled(jnp.asarray(coarse), jnp.asarray(order), jnp.asarray(ratio))
    np.testing.assert_allclose(found[: order + 1], fine[: order + 1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("order", range(1, 6))
def test_differences_after_a_step_are_those_at_the_new_point(order):
    before = differences_of(polynomial(1.0 - 0.1 * (TIMES + 1), order + 2))
    after = differences_of(polynomial(1.0 - 0.1 * TIMES, order + 2))
    correction = after[0] - before[: order + 1].sum(axis=0)
    found = ndf_table.shifted(jnp.asarray(before), jnp.asarray(order), jnp.asarray(correction))
    np.testing.assert_allclose(found[: order + 3], after[: order + 3], rtol=1e-9, atol=1e-10)


def test_the_interpolant_is_the_polynomial():
    values = differences_of(polynomial(3.0 - 0.2 * TIMES, 5))[:6]
    for offset in (-1.0, -0.37, 0.0):
        found = ndf_table.basis(jnp.asarray(offset)) @ values
        np.testing.assert_allclose(found, polynomial(3.0 + 0.2 * offset, 5), rtol=1e-11)


LOGISTIC = td.FunctionRisk(lambda theta: jnp.sum(theta**3 / 3 - theta**2 / 2), jnp.ones(1))
"""θ̇ = θ − θ²: θ(t) = 1/(1 + e^(−t)), and ∫θ̇² = θ²/2 − θ³/3 from −∞."""


def logistic(t):
    y = 1 / (1 + np.exp(-np.asarray(t, float)))
    return np.stack([y, y**2 / 2 - y**3 / 3], -1)


@eqx.filter_jit
def _fixed_steps(solver, memory, h, count):
    side = TrainingSide()

    def one(carry):
        memory, done = carry
        y = memory.differences[0, :-1]
        step = solver.step(side, LOGISTIC, y, y, h, jnp.full(1, 1e-14), memory)
        # A step is repeated, at the same length, only where Newton asks for a new Jacobian.
        verdict = Verdict(step.solved, jnp.asarray(1.0), h, lambda vector, work: jnp.asarray(1.0))
        after, _ = solver.settle(step, verdict)
        after = after._replace(equal=jnp.zeros_like(after.equal), order=memory.order)
        return after, done + step.solved.astype(done.dtype)

    carry = (memory, jnp.asarray(0))
    return jax.lax.while_loop(lambda carry: carry[1] < count, one, carry)[0].differences[0]


@pytest.mark.parametrize("linear", ["cholesky", "cg"])
@pytest.mark.parametrize("order", range(1, 6))
def test_each_formula_converges_with_its_order_for_the_state_and_for_the_energy(linear, order):
    solver, errors = NDF(linear), []
    counts = np.array([45, 90]) if order == 5 else np.array([60, 120])
    for count in counts:
        h = 3.0 / count
        history = differences_of(logistic(-h * TIMES))
        y = jnp.asarray(history[0, :1])
        memory = solver.start(TrainingSide(), LOGISTIC, y, y, jnp.asarray(h))
        memory = memory._replace(differences=jnp.asarray(history), order=jnp.asarray(order, jnp.int64))
        end = _fixed_steps(solver, memory, jnp.asarray(h), jnp.asarray(count))
        errors.append(np.abs(end - logistic(3.0)))
    slopes = np.log2(errors[0] / errors[1])
    assert slopes == pytest.approx(order, abs=0.15), errors


def _quadratic(curvatures):
    scales = jnp.asarray(curvatures)
    return td.FunctionRisk(lambda theta: 0.5 * jnp.sum(scales * theta**2), jnp.ones(scales.size))


@pytest.mark.parametrize("solver", ["NDF", "NDF-cg"])
def test_a_stiff_step_costs_little_more_than_one_gradient(solver):
    problem = _quadratic(np.geomspace(1e-4, 1e4, 30))
    path = td.flow(problem, jnp.ones(30), until=td.Until(time=1e5), rtol=1e-6, solver=solver, progress=False)
    assert path.outcome is td.Outcome.REACHED_TIME
    rows = path.stats.gradients - len(path.ts)  # each row is evaluated where it is
    assert rows < 1.6 * path.stats.accepted, path.stats
    assert path.stats.hessians < 0.1 * path.stats.accepted
    truth = np.exp(-np.outer(path.ts, np.geomspace(1e-4, 1e4, 30)))
    assert np.linalg.norm(path.thetas - truth, axis=1).max() < 1e-4


@eqx.filter_jit
def _products(state, problem, c):
    algebra, theta = KrylovAlgebra(), jnp.ones(problem.size)
    state, solve, (field, _), _, cost = algebra.prepare(state, TrainingSide(), problem, theta, c)
    move, products, radius = solve(field, jnp.full(problem.size, 1e-6), jnp.asarray(1e-3))
    return state, move, field, products, radius, cost.products


def test_a_basis_of_leading_curvatures_saves_products():
    curvatures = np.concatenate([np.geomspace(1e-3, 1.0, 60), np.geomspace(1e2, 1e4, 12)])
    problem, c = _quadratic(curvatures), jnp.asarray(10.0)
    cold = KrylovAlgebra().start(TrainingSide(), jnp.ones(72), problem)
    _, move, field, before, radius, none = _products(cold, problem, c)
    np.testing.assert_allclose(move, field / (1 + 10 * curvatures), atol=1e-8)
    assert none == 0
    due = cold._replace(excess=jnp.asarray(10**6))
    state, move, field, after, _, spent = _products(due, problem, c)
    np.testing.assert_allclose(move, field / (1 + 10 * curvatures), atol=1e-8)
    assert spent == 3 * state.curvatures.size
    assert int(after) < 0.6 * int(before)
    assert 0.5e4 < float(radius) <= 1e4 * (1 + 1e-12)
    assert float(state.spectral_radius) == pytest.approx(1e4, rel=1e-6)


def test_a_system_that_is_not_symmetric_is_solved_with_lu_factors():
    def oscillator(state, args):
        position, velocity = state
        return jnp.stack([velocity, args * (1 - position**2) * velocity - position])

    ts = np.linspace(0.0, 300.0, 31)
    path = td.integrate(
        td.Flow(oscillator, jnp.asarray(100.0)), jnp.array([2.0, 0.0]), saves=ts, solver="NDF", accuracy=1e-5,
        certify=True, progress=False,
    )  # fmt: skip
    truth = solve_ivp(
        lambda t, s: [s[1], 100 * (1 - s[0] ** 2) * s[1] - s[0]], (0, 300), [2.0, 0.0], "Radau", ts,
        rtol=1e-11, atol=1e-12,
    ).y.T  # fmt: skip
    assert path.accuracy.global_error <= 1e-5
    errors = np.linalg.norm(path.thetas - truth, axis=1) / np.linalg.norm(truth, axis=1)
    assert errors.max() <= 3 * path.accuracy.global_error


def test_conjugate_gradients_refuse_a_system_that_is_not_symmetric():
    with pytest.raises(td.ThetadotError, match="NDF-cg needs a field with a symmetric Jacobian"):
        td.integrate(td.Flow(lambda s, a: -s), jnp.ones(2), until=td.Until(time=1.0), solver="NDF-cg")


def test_dense_output_comes_from_the_formula_itself():
    path = td.integrate(
        td.Flow(lambda state, args: state - state**2), jnp.array([0.5]), until=td.Until(time=5.0), solver="NDF",
        rtol=1e-9, dense=True, progress=False,
    )  # fmt: skip
    ts = np.linspace(0.0, 5.0, 57)
    assert np.abs(path.at(ts)[:, 0] - logistic(ts)[:, 0]).max() < 1e-7
