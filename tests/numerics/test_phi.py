"""The φ-functions against fifty digits."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np

from thetadot.numerics.phi import ORDERS, phi

POINTS = np.concatenate(
    [
        -np.geomspace(1e-12, 1e12, 241),
        np.geomspace(1e-12, 50, 130),
        [0.0, 2.0, -2.0, np.nextafter(2.0, 0), np.nextafter(-2.0, 0)],
    ]
)


def exact(order: int, z: float) -> mp.mpf:
    """φ_k(z) by its definition: (e^z − Σ_{j<k} z^j/j!)/z^k."""
    with mp.workdps(120):
        z = mp.mpf(z)
        if z == 0:
            return 1 / mp.factorial(order)
        return (mp.exp(z) - mp.fsum(z**j / mp.factorial(j) for j in range(order))) / z**order


def test_no_digit_is_lost_from_minus_1e12_to_50():
    found = np.asarray(phi(jnp.asarray(POINTS)))
    for order in range(1, ORDERS + 1):
        for z, value in zip(POINTS, found[order - 1], strict=True):
            wanted = exact(order, float(z))
            assert abs((mp.mpf(float(value)) - wanted) / wanted) < 2e-15, (order, z)


def test_derivatives_are_finite_and_right_on_both_branches():
    for z in (-1e8, -3.0, -1.0, 0.0, 1.0, 3.0):
        # φ_k′ = φ_k − k·φ_{k+1}, from the integral
        found = jax.jacfwd(phi)(jnp.asarray(z))
        with mp.workdps(50):
            wanted = [float(exact(k, z) - k * exact(k + 1, z)) for k in range(1, ORDERS + 1)]
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
