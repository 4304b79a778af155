"""Optax transformations as rules: their steps from any step number, and refusals where they cannot be set."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import thetadot as td
from tests.dynamics.regression import HAND, RISK, THETA0
from thetadot.dynamics import RuleError, StateError
from thetadot.dynamics.closures import shared

RATE = 0.05
SIZE = THETA0.size


def adam(steps):
    """States (θ, m, v) of Adam by its formulas (Kingma and Ba 2015, algorithm 1)."""
    theta, m, v = THETA0, np.zeros(SIZE), np.zeros(SIZE)
    states = [np.concatenate([theta, m, v])]
    for n in range(1, steps + 1):
        gradient = HAND.gradient(theta)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        theta = theta - RATE * (m / (1 - 0.9**n)) / (np.sqrt(v / (1 - 0.999**n)) + 1e-8)
        states.append(np.concatenate([theta, m, v]))
    return np.array(states)


def loop(transformation, steps):
    """θ and the floats of Optax's state by a loop over Optax itself."""
    with jax.numpy_dtype_promotion("standard"):
        theta = jnp.asarray(THETA0)
        memory, states = transformation.init(theta), []
        for _ in range(steps + 1):
            floats = [
                jnp.ravel(leaf) for leaf in jax.tree.leaves(memory) if jnp.issubdtype(leaf.dtype, float)
            ]
            states.append(np.concatenate([theta, *floats]))
            gradient = jnp.asarray(HAND.gradient(np.asarray(theta)))
            change, memory = transformation.update(gradient, memory, theta)
            theta = optax.apply_updates(theta, change)
    return np.array(states)


def test_adam_takes_its_steps_from_any_step_number():
    states, system = adam(51), td.training_map(RISK, td.Optax(optax.adam(RATE)))
    np.testing.assert_array_equal(system.start(THETA0), states[0])
    for n in (0, 1, 50):
        np.testing.assert_allclose(system(states[n], n), states[n + 1], rtol=0, atol=1e-14)


def test_descend_with_adam_is_adam():
    path = td.descend(RISK, THETA0, td.Optax(optax.adam(RATE), RATE), 51, saves="steps", progress=False)
    np.testing.assert_allclose(path.thetas, adam(51)[:, :SIZE], rtol=0, atol=1e-13)
    np.testing.assert_allclose(path.ts, RATE * np.arange(52), rtol=1e-15)


SCHEDULE = optax.exponential_decay(0.1, transition_steps=10, decay_rate=0.5)
TRANSFORMATIONS = {
    "momentum under a schedule": optax.sgd(SCHEDULE, momentum=0.9),
    "rmsprop": optax.rmsprop(0.02),
    "a clipped chain": optax.chain(optax.clip_by_global_norm(0.2), optax.ema(0.8), optax.scale(-0.3)),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_transformations_take_the_steps_of_optax(name):
    states = loop(TRANSFORMATIONS[name], 20)
    system = td.training_map(RISK, td.Optax(TRANSFORMATIONS[name]))
    np.testing.assert_array_equal(system.start(THETA0), states[0])
    for n in (0, 19):
        np.testing.assert_allclose(system(states[n], n), states[n + 1], rtol=0, atol=1e-14)


def test_a_transformation_that_asks_for_the_loss_gets_it():
    rule = td.Optax(optax.polyak_sgd(max_learning_rate=0.5))
    path = td.descend(RISK, THETA0, rule, 5, saves=np.array([0, 1, 5]), progress=False)
    gradient = HAND.gradient(THETA0)
    polyak = min(0.5, HAND.loss(THETA0) / (gradient @ gradient))
    np.testing.assert_allclose(path.thetas[1], THETA0 - polyak * gradient, rtol=0, atol=1e-14)


def test_time_is_the_step_number_where_no_learning_rate_is_stated():
    path = td.descend(RISK, THETA0, td.Optax(optax.sgd(0.1)), 4, saves="steps", progress=False)
    assert path.ts.tolist() == [0, 1, 2, 3, 4]
    assert path.info["time"] == "number of steps"
    assert td.training_map(RISK, td.Optax(optax.sgd(0.1))).time_per_step is None


REFUSED = {
    "gradient accumulation": (lambda: optax.MultiSteps(optax.adam(0.1), 4), "mini_step"),
    "rare accumulation": (lambda: optax.MultiSteps(optax.sgd(0.1), 1000), "mini_step"),
    "updates at every 37th step": (lambda: optax.apply_every(37), "count"),
    "flags": (lambda: optax.optimistic_gradient_descent(0.1), "is_initial_step"),
    "random keys": (lambda: optax.add_noise(0.1, 0.5, key=jax.random.key(0)), "rng_key"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_state_that_cannot_be_set_from_the_step_number_is_refused(what):
    make, leaf = REFUSED[what]
    with pytest.raises(StateError, match=leaf):
        td.Optax(make())


def with_line_search(gradient, memory, theta, *, value_fn, **_):
    return -gradient * value_fn(theta), memory


def test_other_misfits_are_refused_by_name():
    with pytest.raises(td.PrecisionError, match="float32"):
        td.Optax(optax.adam(0.1, mu_dtype=jnp.float32))
    with pytest.raises(RuleError, match="value_fn"):
        td.Optax(optax.GradientTransformationExtraArgs(lambda theta: (), with_line_search))
    with pytest.raises(RuleError, match="transformation"):
        td.Optax(0.1)


def test_a_traced_learning_rate_may_be_inside_the_transformation():
    @jax.jit
    def step(rate, state):
        return td.training_map(RISK, td.Optax(optax.adam(rate), rate))(state, 3)

    np.testing.assert_allclose(step(RATE, adam(3)[3]), adam(4)[4], rtol=0, atol=1e-14)


def test_transformations_made_twice_are_one_program(count_compilations):
    def run():
        return td.descend(RISK, THETA0, td.Optax(optax.adam(RATE), RATE), 5, progress=False)

    run()
    with count_compilations() as counted:
        run()
    assert not counted.compiled, counted


def test_only_functions_that_do_the_same_are_shared():
    def made(rate, table=None):
        return lambda n: rate * n + (0 if table is None else table[0])

    assert shared(made(0.1)) is shared(made(0.1))
    assert shared(made(0.0)) is not shared(made(-0.0))
    assert shared(made(1)) is not shared(made(1.0))
    array = made(1.0, np.ones(1))
    assert shared(array) is array
    assert shared(optax.adam(SCHEDULE)) is shared(optax.adam(optax.exponential_decay(0.1, 10, 0.5)))
    assert shared(optax.adam(0.1)) is not shared(optax.adam(0.2))
