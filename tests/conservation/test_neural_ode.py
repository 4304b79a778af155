"""The infinitely deep linear network: its invariant, its closed flow, its finite approximations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import thetadot as td
from thetadot.conservation import ConservationError, LinearNeuralODE, neural_ode_field

ODE = LinearNeuralODE(3)
RNG = np.random.default_rng(0)
MIXED, SYMMETRIC, TARGET = (RNG.normal(size=(3, 3)) for _ in range(3))
TIMES = np.linspace(0, 1, 4)
OPTIONS = {"saves": TIMES, "rtol": 1e-11, "atol": 1e-13, "solver": "Dopri8", "progress": False}


def trained(state, args):
    ode, target = args
    return ode.field(state, lambda z: z - target)


def closed(z, target):
    return neural_ode_field(lambda product: product - target)(z)


def start(imbalance):
    return ODE.relaxed_balanced(
        0.2 * (MIXED - MIXED.T), 0.2 * (SYMMETRIC + SYMMETRIC.T), imbalance * ODE.positions
    )


def both(weights):
    """(A along training, Z along training, Z by the closed flow)."""
    target = jnp.asarray(TARGET)
    rows = td.integrate(td.Flow(trained, (ODE, target)), weights, **OPTIONS).thetas.reshape(-1, 19, 3, 3)
    ends = np.asarray(jax.vmap(ODE.endpoint)(jnp.asarray(rows)))
    reduced = td.integrate(td.Flow(closed, target), ODE.endpoint(weights), **OPTIONS).thetas.reshape(-1, 3, 3)
    return rows, ends, reduced


def test_quadrature_and_transition_are_spectrally_accurate():
    assert float(ODE.weights @ jnp.exp(ODE.positions)) == pytest.approx(np.e - 1, rel=1e-14)
    weights = jnp.broadcast_to(jnp.asarray(0.5 * MIXED), (19, 3, 3))
    np.testing.assert_allclose(ODE.endpoint(weights), scipy.linalg.expm(0.5 * MIXED), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("imbalance", [0.0, 2.0])
def test_relaxed_balanced_networks_close_on_their_endpoint(imbalance):
    weights = start(imbalance)
    profile = ODE.relaxed(weights)
    assert profile.relaxed
    np.testing.assert_allclose(profile.imbalance, imbalance, atol=1e-10)
    rows, ends, reduced = both(weights)
    invariants = np.asarray(jax.vmap(ODE.invariant)(jnp.asarray(rows)))
    assert np.abs(invariants - invariants[0]).max() <= 1e-8
    assert np.abs(ends - reduced).max() <= 1e-8
    assert np.abs(ends[-1] - ends[0]).max() > 0.1


def test_other_starts_do_not():
    weights = (
        jnp.asarray(1.5 * MIXED)[None] - ODE.positions[:, None, None] * jnp.asarray(1.5 * SYMMETRIC)[None]
    )
    assert not ODE.relaxed(weights).relaxed
    rows, ends, reduced = both(weights)
    invariants = np.asarray(jax.vmap(ODE.invariant)(jnp.asarray(rows)))
    assert np.abs(invariants - invariants[0]).max() <= 1e-6 * np.abs(invariants).max()
    assert np.abs(ends - reduced).max() > 0.1


def test_the_logarithmic_mean_is_the_integral_of_fractional_powers():
    z = SYMMETRIC + 2 * np.eye(3)

    def power(matrix, exponent):
        values, vectors = np.linalg.eigh(matrix)
        return vectors @ np.diag(values**exponent) @ vectors.T

    def integrand(s):
        return (power(z @ z.T, 1 - s) @ MIXED @ power(z.T @ z, s)).ravel()

    expected = -scipy.integrate.quad_vec(integrand, 0, 1, epsabs=1e-12)[0].reshape(3, 3)
    ours = neural_ode_field(lambda _: jnp.asarray(MIXED))(jnp.asarray(z))
    np.testing.assert_allclose(ours, expected, rtol=1e-10)
    equal = neural_ode_field(lambda _: jnp.asarray(MIXED))(2 * jnp.eye(3))
    np.testing.assert_allclose(equal, -4 * MIXED, rtol=1e-14)


def slowed(factors, target):
    def risk(stack):
        product = jnp.eye(3)
        for k in range(stack.shape[0]):
            product = stack[k] @ product
        return 0.5 * jnp.sum((product - target) ** 2)

    return -jax.grad(risk)(factors) / factors.shape[0]


@pytest.mark.slow
def test_deep_networks_approach_it_like_one_over_depth():
    weights = start(2.0)
    _, ends, _ = both(weights)
    errors = []
    for depth in (8, 16):
        factors = ODE.finite_depth(weights, depth)
        rows = td.integrate(td.Flow(slowed, jnp.asarray(TARGET)), factors, **OPTIONS).thetas
        products = [np.linalg.multi_dot(list(row[::-1])) for row in rows.reshape(-1, depth, 3, 3)]
        errors.append(np.abs(np.array(products) - ends).max())
    assert 1.7 < errors[0] / errors[1] < 2.3


def test_bad_arguments_are_named():
    with pytest.raises(ConservationError, match="skew"):
        ODE.relaxed_balanced(np.eye(3), np.eye(3))
    with pytest.raises(ConservationError, match="nodes"):
        LinearNeuralODE(3, nodes=1)
