"""Each learning rule moves as its formula says, written out in NumPy; momentum also as in Optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import thetadot as td
from tests.dynamics.regression import HAND, RISK, SAMPLES, THETA0, batch_gradient
from thetadot.dynamics import RuleError

STEPS = 30
RATE, MOMENTUM = 0.3, 0.8
KEY = jax.random.key(3)


def decaying(n):
    return 0.3 / (1.0 + n.astype(float) / 10)


def descent(rate=lambda n: RATE):
    thetas = [THETA0]
    for n in range(STEPS):
        thetas.append(thetas[-1] - rate(n) * HAND.gradient(thetas[-1]))
    return np.array(thetas)


def heavy_ball():
    thetas, v = [THETA0], np.zeros_like(THETA0)
    for _ in range(STEPS):
        v = MOMENTUM * v - RATE * HAND.gradient(thetas[-1])
        thetas.append(thetas[-1] + v)
    return np.array(thetas)


def nesterov():
    thetas, v = [THETA0], np.zeros_like(THETA0)
    for _ in range(STEPS):
        v = MOMENTUM * v - RATE * HAND.gradient(thetas[-1] + MOMENTUM * v)
        thetas.append(thetas[-1] + v)
    return np.array(thetas)


def sampled(rule):
    """Descent on the samples that the rule says it draws."""
    chosen = rule.draw(RISK)
    thetas = [THETA0]
    for n in range(STEPS):
        thetas.append(thetas[-1] - RATE * batch_gradient(thetas[-1], np.asarray(chosen(jnp.int32(n)))))
    return np.array(thetas)


CASES = {
    "descent": (td.GradientDescent(RATE), descent),
    "scheduled descent": (td.GradientDescent(decaying), lambda: descent(lambda n: 0.3 / (1 + n / 10))),
    "heavy ball": (td.HeavyBall(RATE, MOMENTUM), heavy_ball),
    "nesterov": (td.Nesterov(RATE, MOMENTUM), nesterov),
    "batches": (td.MiniBatch(RATE, 5, KEY), None),
    "batches with replacement": (td.MiniBatch(RATE, 5, KEY, replace=True), None),
    "batches of passes": (td.MiniBatch(RATE, 5, KEY, epochs=True), None),
    "samples in order": (td.PerSample(RATE), None),
    "samples at random": (td.PerSample(RATE, order="random", key=KEY), None),
}


@pytest.mark.parametrize("name", CASES)
def test_every_rule_moves_as_its_formula_says(name):
    rule, loop = CASES[name]
    expected = sampled(rule) if loop is None else loop()
    path = td.descend(RISK, THETA0, rule, STEPS, saves="steps", progress=False)
    np.testing.assert_allclose(path.thetas, expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(path.losses, [HAND.loss(theta) for theta in expected], rtol=1e-12)
    norms = [np.linalg.norm(HAND.gradient(theta)) for theta in expected]
    np.testing.assert_allclose(path.grad_norms, norms, rtol=1e-11)


@pytest.mark.parametrize("name", ["scheduled descent", "heavy ball", "nesterov", "batches of passes"])
def test_the_map_of_a_rule_takes_the_same_steps_as_descend(name):
    rule, loop = CASES[name]
    expected = sampled(rule) if loop is None else loop()
    system = td.training_map(RISK, rule)
    state = system.start(THETA0)
    for n in range(6):
        np.testing.assert_allclose(system.theta(state), expected[n], rtol=0, atol=1e-13)
        state = system(state, n)


def test_samples_in_order_go_through_the_data_again_and_again():
    chosen = td.PerSample(RATE).draw(RISK)
    assert [int(chosen(jnp.int32(n))[0]) for n in range(2 * SAMPLES + 1)] == [
        *range(SAMPLES),
        *range(SAMPLES),
        0,
    ]


def optax_iterates(transformation):
    theta, memory, iterates = jnp.asarray(THETA0), transformation.init(jnp.asarray(THETA0)), [THETA0]
    for _ in range(STEPS):
        change, memory = transformation.update(jnp.asarray(HAND.gradient(np.asarray(theta))), memory, theta)
        theta = theta + change
        iterates.append(np.asarray(theta))
    return np.array(iterates)


def test_heavy_ball_is_sgd_with_momentum_of_optax():
    path = td.descend(RISK, THETA0, td.HeavyBall(RATE, MOMENTUM), STEPS, saves="steps", progress=False)
    np.testing.assert_allclose(path.thetas, optax_iterates(optax.sgd(RATE, MOMENTUM)), rtol=0, atol=1e-13)


def test_nesterovs_points_ahead_are_the_parameters_of_nesterov_in_optax():
    expected = optax_iterates(optax.sgd(RATE, MOMENTUM, nesterov=True))
    system = td.training_map(RISK, td.Nesterov(RATE, MOMENTUM))
    state = system.start(THETA0)
    for n in range(12):
        theta, velocity = np.split(np.asarray(state), 2)
        np.testing.assert_allclose(theta + MOMENTUM * velocity, expected[n], rtol=0, atol=1e-13)
        state = system(state, n)


def test_a_rule_says_what_it_is():
    assert td.HeavyBall(0.1, 0.9).description == "heavy ball, learning rate 0.1, momentum 0.9"
    assert td.GradientDescent(decaying).description == "gradient descent, learning rate scheduled (decaying)"
    text = td.MiniBatch(0.1, 5, KEY, replace=True).description
    assert text == "mini-batch descent, learning rate 0.1, batches of 5 drawn with replacement"


REFUSED = {
    "a learning rate that is not finite": (lambda: td.GradientDescent(np.nan), "nan"),
    "a vector of rates": (lambda: td.GradientDescent([0.1, 0.2]), "schedule"),
    "an infinite momentum": (lambda: td.HeavyBall(0.1, np.inf), "momentum"),
    "a batch of no samples": (lambda: td.MiniBatch(0.1, 0, KEY), "positive integer"),
    "half a sample": (lambda: td.MiniBatch(0.1, 2.5, KEY), "positive integer"),
    "batches without a key": (lambda: td.MiniBatch(0.1, 4), r"jax.random.key\(0\)"),
    "a seed for a key": (lambda: td.MiniBatch(0.1, 4, 17), r"jax.random.key\(seed\)"),
    "many keys": (lambda: td.MiniBatch(0.1, 4, jax.random.split(KEY)), "one JAX random key"),
    "passes with replacement": (lambda: td.MiniBatch(0.1, 4, KEY, replace=True, epochs=True), "exclude"),
    "an unknown order": (lambda: td.PerSample(0.1, order="shuffled"), "fixed"),
    "a key that nothing uses": (lambda: td.PerSample(0.1, key=KEY), "random"),
    "a random order without a key": (lambda: td.PerSample(0.1, order="random"), "key"),
    "a batch larger than the data": (lambda: td.MiniBatch(0.1, 13, KEY).draw(RISK), "12 samples"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_rules_refuse(what):
    make, words = REFUSED[what]
    with pytest.raises(RuleError, match=words):
        make()


def test_rules_refuse_float32():
    with pytest.raises(td.PrecisionError, match="float64"):
        td.GradientDescent(np.float32(0.1))


def test_rules_that_draw_samples_refuse_a_problem_without_samples():
    bowl = td.FunctionRisk(lambda theta: jnp.sum(theta**2), jnp.ones(2))
    for rule in (td.PerSample(0.1), td.MiniBatch(0.1, 1, KEY)):
        with pytest.raises(RuleError, match="EmpiricalRisk"):
            td.training_map(bowl, rule)


def test_a_schedule_that_returns_a_vector_is_refused():
    system = td.training_map(RISK, td.GradientDescent(lambda n: jnp.ones(2) * n.astype(float)))
    with pytest.raises(RuleError, match="one number"):
        system(THETA0, 0)
