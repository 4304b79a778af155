"""Orthonormal polynomials of a start law of angles, and the averaged ReLU kernel in them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import roots_jacobi


def jacobi_coefficients(degrees: int, alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """(d, o) of the recurrence o_{l+1}p_{l+1} = (x − d_l)p_l − o_l p_{l−1} under the law ∝ (1 − x)^α(1 + x)^β."""
    l = np.arange(degrees + 1, dtype=float)  # noqa: E741
    total = alpha + beta
    with np.errstate(divide="ignore", invalid="ignore"):
        diagonal = (beta**2 - alpha**2) / ((2 * l + total) * (2 * l + total + 2))
        square = 4 * l * (l + alpha) * (l + beta) * (l + total)
        square = square / ((2 * l + total) ** 2 * (2 * l + total + 1) * (2 * l + total - 1))
    diagonal[0] = (beta - alpha) / (total + 2)
    square[0] = 0.0
    if degrees:  # where 2l + α + β − 1 vanishes with l + α + β
        square[1] = 4 * (1 + alpha) * (1 + beta) / ((2 + total) ** 2 * (3 + total))
    return diagonal, np.sqrt(square)


def gauss_rule(nodes: int, alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes x and weights (sum 1) of the Gauss rule for the law ∝ (1 − x)^α(1 + x)^β on [−1, 1]."""
    x, w = roots_jacobi(nodes, alpha, beta)
    return x, w / w.sum()


class ZonalSeries(eqx.Module):
    """Σ_l λ_l p_l(x)p_l(x′), p_l orthonormal under a Jacobi law."""

    diagonal: Array
    off: Array
    eigenvalues: Array

    @classmethod
    def of(cls, eigenvalues: Float[np.ndarray, " n"], alpha: float, beta: float) -> "ZonalSeries":
        """The series with these λ_l, l = 0, 1, …"""
        diagonal, off = jacobi_coefficients(len(eigenvalues) - 1, alpha, beta)
        return cls(jnp.asarray(diagonal), jnp.asarray(off), jnp.asarray(eigenvalues))

    def polynomials(self, x: Float[Array, " m"]) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
        """p_l(x) and dp_l/dx for all l."""

        def step(carry, row):
            p, before, dp, dbefore = carry
            diagonal, off, following = row
            upper = ((x - diagonal) * p - off * before) / following
            slope = (p + (x - diagonal) * dp - off * dbefore) / following
            return (upper, p, slope, dp), (upper, slope)

        one, zero = jnp.ones_like(x), jnp.zeros_like(x)
        rows = (self.diagonal[:-1], self.off[:-1], self.off[1:])
        _, (values, slopes) = jax.lax.scan(step, (one, zero, zero, zero), rows)
        return jnp.concatenate([one[None], values]), jnp.concatenate([zero[None], slopes])
