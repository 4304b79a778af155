"""Losses against a NumPy loop over samples, gradients against its complex-step derivative, for every N."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td

WIDTHS = (3, 4, 3)


def loss_of_one(name, outputs, label):
    if name == "squared":
        return 0.5 * np.sum((outputs - label) ** 2)
    if name == "cross_entropy":
        return np.log(np.sum(np.exp(outputs))) - outputs[label]
    return np.sum(np.log(1 + np.exp(-label * outputs)))


def mean_loss(name, theta, x, y):
    """The risk of a 3-4-3 tanh network, one sample after another; θ may be complex."""
    w1, b1 = theta[:12].reshape(4, 3), theta[12:16]
    w2, b2 = theta[16:28].reshape(3, 4), theta[28:31]
    total = 0.0
    for sample, label in zip(x, y, strict=True):
        total += loss_of_one(name, w2 @ np.tanh(w1 @ sample + b1) + b2, label)
    return total / len(x)


def complex_step_gradient(name, theta, x, y):
    step = 1e-30
    return np.array(
        [mean_loss(name, theta + 1j * step * unit, x, y).imag / step for unit in np.eye(len(theta))]
    )


def labels(name, rng, samples):
    if name == "squared":
        return rng.normal(size=(samples, 3))
    return rng.integers(0, 3, samples) if name == "cross_entropy" else rng.choice([-1.0, 1.0], (samples, 3))


CASES = [(samples, "squared") for samples in range(1, 41)]
CASES += [(samples, name) for name in ("cross_entropy", "logistic") for samples in (1, 7, 8, 9, 17)]


@pytest.mark.parametrize(("samples", "name"), CASES)
def test_loss_and_gradient_agree_with_a_loop_over_samples(samples, name):
    rng = np.random.default_rng(samples)
    x, y, theta = rng.normal(size=(samples, 3)), labels(name, rng, samples), rng.normal(size=31)
    problem = td.EmpiricalRisk(td.mlp(WIDTHS, "tanh"), name, x, y)
    # Two programs: a peer shipped a loss that was wrong for some N while its gradients were right.
    loss, (value, gradient) = problem.loss(theta), problem.value_and_grad(theta)
    expected = mean_loss(name, theta, x, y)
    np.testing.assert_allclose(loss, expected, rtol=1e-13)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(gradient, complex_step_gradient(name, theta, x, y), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ["squared", "cross_entropy", "logistic"])
def test_sample_losses_are_those_of_the_samples_asked_for(name):
    rng = np.random.default_rng(5)
    x, y, theta = rng.normal(size=(11, 3)), labels(name, rng, 11), rng.normal(size=31)
    problem = td.EmpiricalRisk(td.mlp(WIDTHS, "tanh"), name, x, y)
    assert problem.samples == 11
    one_by_one = np.array([mean_loss(name, theta, x[[n]], y[[n]]) for n in range(11)])
    np.testing.assert_allclose(problem.sample_losses(theta), one_by_one, rtol=1e-12)
    for indices in (np.array([7]), np.array([3, 3, 10])):
        np.testing.assert_allclose(problem.sample_losses(theta, indices), one_by_one[indices], rtol=1e-12)
    traced = eqx.filter_jit(problem.sample_losses)(jnp.asarray(theta), jnp.array([2, 0]))
    np.testing.assert_allclose(traced, one_by_one[[2, 0]], rtol=1e-12)


def test_the_squared_loss_has_its_half_and_the_mean():
    # One weight, f = wx: L = ½·mean (wx − y)² = ½·(1 + 9)/2 at w = 1.
    problem = td.EmpiricalRisk(td.linear([1, 1]), td.squared, [[1.0], [2.0]], [[0.0], [5.0]])
    assert float(problem.loss(np.array([1.0]))) == 2.5
    assert float(problem.value_and_grad(np.array([1.0]))[1][0]) == -2.5


def test_duplicating_the_data_changes_nothing():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    once = td.EmpiricalRisk(td.mlp(WIDTHS), td.squared, x, y)
    twice = td.EmpiricalRisk(td.mlp(WIDTHS), td.squared, np.r_[x, x], np.r_[y, y])
    theta = jnp.asarray(rng.normal(size=31))
    np.testing.assert_allclose(once.loss(theta), twice.loss(theta), rtol=1e-14)
    np.testing.assert_allclose(once.value_and_grad(theta)[1], twice.value_and_grad(theta)[1], rtol=1e-12)


def test_large_outputs_do_not_overflow():
    x, y = np.array([[1.0]]), np.array([0])
    classes = td.EmpiricalRisk(td.linear([1, 2]), td.cross_entropy, x, y)
    assert float(classes.loss(np.array([-1000.0, 1000.0]))) == 2000.0
    signs = td.EmpiricalRisk(td.linear([1, 1]), td.logistic, x, np.array([-1.0]))
    assert float(signs.loss(np.array([1000.0]))) == 1000.0
    assert np.isfinite(signs.value_and_grad(np.array([1000.0]))[1]).all()


def test_a_loss_of_ones_own_sees_one_sample_at_a_time_and_gives_the_same_gradient():
    def own(prediction, label):
        assert (prediction.shape, label.shape) == ((3,), ())
        return jax.nn.logsumexp(prediction) - prediction[label]

    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(7, 2)), rng.integers(0, 3, 7)
    network = td.mlp([2, 4, 3], "tanh")
    named, owned = (td.EmpiricalRisk(network, loss, x, y) for loss in (td.cross_entropy, own))
    theta = named.init(jax.random.key(0))
    np.testing.assert_allclose(named.value_and_grad(theta)[1], owned.value_and_grad(theta)[1], atol=1e-15)
    outputs = named.predict(theta, x)
    single = [td.cross_entropy(one, int(label)) for one, label in zip(outputs, y, strict=True)]
    np.testing.assert_allclose(named.sample_losses(theta), single, rtol=1e-14)
