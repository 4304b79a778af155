"""Activation functions and losses against their definitions in high precision."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import thetadot as td
from thetadot.problems import NetworkError, UnknownNameError, as_activation
from thetadot.problems.activations import NAMES

DEFINITIONS = {
    "tanh": mpmath.tanh,
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "erf": mpmath.erf,
    "softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
    "gelu": lambda z: z * mpmath.ncdf(z),
    "relu": lambda z: max(z, mpmath.mpf(0)),
    "leaky_relu": lambda z: z if z >= 0 else mpmath.mpf(0.2) * z,
    "squared_relu": lambda z: max(z, mpmath.mpf(0)) ** 2,
    "square": lambda z: z**2,
    "cube": lambda z: z**3,
    "identity": lambda z: z,
}
POINTS = [-9.5, -3.0, -1.25, -0.5, -1e-3, 1e-9, 0.25, 1.0, 2.5, 8.0]


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
def test_activation_and_both_derivatives_equal_their_definition(name):
    found = as_activation(name, slope=0.2).with_derivatives(jnp.array(POINTS))
    with mpmath.workdps(40):
        for order, values in enumerate(found):
            exact = [float(mpmath.diff(DEFINITIONS[name], mpmath.mpf(z), order)) for z in POINTS]
            np.testing.assert_allclose(values, exact, rtol=2e-14, atol=1e-15)


def test_every_name_is_defined_here():
    assert sorted(DEFINITIONS) == sorted(NAMES)


def test_the_slope_is_read_by_leaky_relu_only():
    assert as_activation("relu", slope=0.3) == as_activation("relu", slope=0.1)
    assert as_activation("leaky_relu", slope=0.3) != as_activation("leaky_relu", slope=0.1)
    assert float(as_activation("leaky_relu")(jnp.array(-1.0))) == -0.01


def test_a_function_of_ones_own_is_taken_by_its_name():
    def bump(z):
        return jnp.exp(-(z**2))

    activation = as_activation(bump)
    assert activation.name == "bump"
    assert activation == as_activation(bump)
    np.testing.assert_allclose(activation.with_derivatives(jnp.array(0.5))[1], -np.exp(-0.25))


def test_functions_of_jax_that_have_a_name_here_are_known_by_it():
    assert as_activation(jax.nn.relu) == as_activation("relu")
    assert as_activation(jnp.tanh) == as_activation("tanh")
    assert as_activation(jax.nn.softplus) == as_activation("softplus")
    assert as_activation(jax.scipy.special.erf) == as_activation("erf")


def test_unknown_names_come_with_the_nearest_known_one():
    with pytest.raises(UnknownNameError, match="did you mean 'squared_relu'"):
        td.mlp([2, 3, 1], "squared-relu")
    with pytest.raises(UnknownNameError, match="unknown activation 'swish'; known are cube, erf"):
        td.mlp([2, 3, 1], "swish")
    with pytest.raises(UnknownNameError, match="did you mean 'cross_entropy'"):
        td.EmpiricalRisk(td.linear([1, 2]), "crossentropy", [[1.0]], [0])


def total(z):
    return jnp.sum(z)


def halved(z):
    return z.astype(jnp.float32)


def failing(z):
    return z @ z


@pytest.mark.parametrize(
    ("function", "words"), [(total, "elementwise"), (halved, "float64"), (failing, "failing")]
)
def test_a_function_that_is_not_elementwise_in_float64_is_refused(function, words):
    with pytest.raises(NetworkError, match=words):
        td.mlp([2, 3, 1], function)


def test_losses_of_one_sample_equal_their_definition():
    prediction, label = jnp.array([0.3, -1.2, 2.0]), jnp.array([1.0, -1.0, 1.0])
    assert float(td.squared(prediction, label)) == pytest.approx((0.7**2 + 0.2**2 + 1.0) / 2, rel=1e-15)
    logits = np.exp(np.asarray(prediction))
    for chosen in range(3):
        expected = -np.log(logits[chosen] / logits.sum())
        assert float(td.cross_entropy(prediction, chosen)) == pytest.approx(expected, rel=1e-14)
    expected = sum(np.log(1 + np.exp(-y * f)) for f, y in zip(prediction, label, strict=True))
    assert float(td.logistic(prediction, label)) == pytest.approx(float(expected), rel=1e-14)


def test_the_gradient_of_cross_entropy_is_probability_minus_indicator():
    prediction = jnp.array([0.3, -1.2, 2.0])
    gradient = jax.grad(td.cross_entropy)(prediction, 2)
    np.testing.assert_allclose(gradient, jax.nn.softmax(prediction) - jnp.array([0, 0, 1.0]), atol=1e-16)
