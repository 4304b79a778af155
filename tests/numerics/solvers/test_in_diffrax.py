"""Our one-step methods run in plain diffrax, with all that it offers."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from thetadot.numerics.solvers import RKC2, ExponentialRosenbrock, SolverError

METHODS = [RKC2(), ExponentialRosenbrock()]
TS = np.linspace(0.0, 2.0, 9)


def _energy(state, stiffness):
    a, b = state["a"], state["b"]
    bend = jnp.sum(a**2) * b
    return (
        0.25 * jnp.sum((a**2 - 1) ** 2)
        + 0.5 * stiffness * (a[0] - a[1]) ** 2
        + 0.5 * (b - 1) ** 2
        + 0.1 * bend
    )


def _field(t, state, stiffness):
    slope = jax.grad(_energy)(state, stiffness)
    return jax.tree.map(lambda part: -part - 0.3 * jnp.sin(2 * t), slope)


TERM = diffrax.ODETerm(_field)
START = {"a": jnp.array([1.5, 0.2]), "b": jnp.asarray(-0.5)}
STIFFNESS = jnp.asarray(30.0)


def _solve(method, start=START, stiffness=STIFFNESS, tolerance=1e-7, t0=0.0, t1=2.0, **settings):
    # Numbers go in as arrays, so that each method is compiled once.
    t0, t1, tolerance = (jnp.asarray(number) for number in (t0, t1, tolerance))
    settings.setdefault("saveat", diffrax.SaveAt(ts=jnp.linspace(t0, t1, len(TS)), dense=True))
    settings.setdefault("stepsize_controller", diffrax.PIDController(rtol=tolerance, atol=tolerance))
    return diffrax.diffeqsolve(TERM, method, t0, t1, None, start, stiffness, **settings)


def _flat(tree):
    return np.concatenate([np.asarray(leaf).reshape(len(TS), -1) for leaf in jax.tree.leaves(tree)], axis=1)


@pytest.fixture(scope="module")
def truth():
    """The states (T, 3) at TS by Dormand and Prince's eighth order."""
    return _flat(_solve(diffrax.Dopri8(), tolerance=1e-12).ys)


def _named(method):
    return type(method).__name__


# Errors at a tolerance of 1e-7 per step: tolerance^(2/3) for a method of order 2 whose estimate is of order 3.
EXPECTED = [(METHODS[0], 2e-5), (METHODS[1], 1e-6)]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "expected"), EXPECTED, ids=["RKC2", "ExponentialRosenbrock"])
def test_states_between_the_steps_are_those_of_another_method(method, expected, truth):
    solution = _solve(method)
    np.testing.assert_allclose(_flat(solution.ys), truth, rtol=0, atol=expected)
    dense = jax.vmap(solution.evaluate)(jnp.asarray(TS))
    np.testing.assert_allclose(_flat(dense), _flat(solution.ys), rtol=0, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=_named)
def test_a_batch_is_its_members(method):
    starts = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.7 * leaf, leaf + 0.2]), START)
    rates = jnp.array([30.0, 3.0, 300.0])
    batch = jax.jit(jax.vmap(lambda start, rate: _solve(method, start, rate).ys))(starts, rates)
    for member in range(3):
        alone = _solve(method, jax.tree.map(lambda leaf, k=member: leaf[k], starts), rates[member]).ys
        np.testing.assert_allclose(
            _flat(jax.tree.map(lambda leaf, k=member: leaf[k], batch)), _flat(alone), atol=1e-8
        )


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=_named)
def test_time_may_run_backwards(method):
    there = _solve(diffrax.Dopri8(), stiffness=jnp.asarray(1.0), tolerance=1e-12, t1=0.5)
    end = jax.tree.map(lambda leaf: leaf[-1], there.ys)
    back = _solve(method, end, stiffness=jnp.asarray(1.0), t0=0.5, t1=0.0)
    np.testing.assert_allclose(_flat(back.ys), _flat(there.ys)[::-1], rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=_named)
def test_gradients_through_the_solution_are_those_of_another_method(method):
    def end(stiffness, method, tolerance):
        settings = {"saveat": diffrax.SaveAt(t1=True), "tolerance": tolerance}
        return _energy(
            jax.tree.map(lambda leaf: leaf[-1], _solve(method, stiffness=stiffness, **settings).ys), 1.0
        )

    found = jax.grad(end)(STIFFNESS, method, 1e-7)
    np.testing.assert_allclose(found, jax.grad(end)(STIFFNESS, diffrax.Dopri8(), 1e-12), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=_named)
def test_fixed_steps_converge_with_the_order_of_the_method(method):
    order = method.order(TERM)
    coarse, fine = (100, 400) if order == 2 else (16, 40)

    def end(method, controller, step):
        settings = {"saveat": diffrax.SaveAt(t1=True), "stepsize_controller": controller, "max_steps": 20_000}
        out = diffrax.diffeqsolve(TERM, method, 0.0, 2.0, step, START, jnp.asarray(1.0), **settings)
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(out.ys)])

    exact = end(diffrax.Dopri8(), diffrax.PIDController(rtol=1e-13, atol=1e-13), None)
    errors = [
        np.linalg.norm(end(method, diffrax.ConstantStepSize(), jnp.asarray(2.0 / count)) - exact)
        for count in (coarse, fine)
    ]
    slope = np.log(errors[0] / errors[1]) / np.log(fine / coarse)
    assert slope == pytest.approx(order, abs=0.15), errors


@pytest.mark.slow
def test_a_step_that_needs_too_many_stages_is_rejected_or_becomes_nan():
    term = diffrax.ODETerm(lambda t, y, rates: -rates * y)
    few, start, rates = RKC2(most_stages=8), jnp.ones(2), jnp.array([1.0, 1e4])
    controller = diffrax.PIDController(rtol=1e-4, atol=1e-6)
    out = diffrax.diffeqsolve(term, few, 0.0, 1.0, 0.5, start, rates, stepsize_controller=controller)
    np.testing.assert_allclose(out.ys[0], [np.exp(-1.0), 0.0], atol=1e-3)
    assert out.stats["num_accepted_steps"] >= 1.2e4 / 31, "a step was longer than eight stages bear"
    fixed = diffrax.diffeqsolve(term, few, 0.0, 1.0, 0.5, start, rates)
    assert np.isnan(fixed.ys[0]).all()


@pytest.mark.parametrize("most_stages", [2, 0, -5])
def test_a_limit_that_leaves_no_method_is_refused(most_stages):
    with pytest.raises(SolverError, match="most_stages is"):
        RKC2(most_stages)
