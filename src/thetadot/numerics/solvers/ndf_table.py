"""Coefficients of the numerical differentiation formulas, and what is done with backward differences."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

HIGHEST = 5
ROWS = HIGHEST + 3  # differences 0 … 7: two beyond the highest order, for the choice of the next one

_KAPPA = np.array([0.0, -0.1850, -1 / 9, -0.0823, -0.0415, 0.0])
GAMMA = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, HIGHEST + 1))])
ALPHA = (1 - _KAPPA) * GAMMA
ERROR = np.append(_KAPPA * GAMMA + 1 / np.arange(1, HIGHEST + 2), 1 / (HIGHEST + 2))
"""The local error of order k is ERROR[k] times the difference of order k+1."""

_NUMBERS = np.arange(1.0, HIGHEST + 1)


def basis(offset: Float[Array, ""]) -> Float[Array, " rows"]:
    """Weights of the backward differences at t_n in the polynomial at t_n + offset·h (Newton's formula)."""
    numbers = np.arange(float(HIGHEST))
    factors = (offset + numbers) / (numbers + 1.0)
    return jnp.concatenate([jnp.ones((1,), factors.dtype), jnp.cumprod(factors)])


def rescaled(
    differences: Float[Array, "rows m"], order: Int[Array, ""], ratio: Float[Array, ""]
) -> Float[Array, "rows m"]:
    """Differences, up to `order`, of the same polynomial on a grid `ratio` times as wide.

    Source: Shampine & Reichelt (1997), The MATLAB ODE suite, §2.2.
    """
    i, j = _NUMBERS[:, None], _NUMBERS[None, :]
    wider = jnp.cumprod((i - 1 - ratio * j) / i, axis=0)
    same = np.cumprod((i - 1 - j) / i, axis=0)
    low = np.arange(1, HIGHEST + 1) <= order
    kept = low[:, None] & low[None, :]
    change = jnp.where(kept, wider @ same, np.eye(HIGHEST))
    return differences.at[1 : HIGHEST + 1].set(change.T @ differences[1 : HIGHEST + 1])


def shifted(
    differences: Float[Array, "rows m"], order: Int[Array, ""], correction: Float[Array, " m"]
) -> Float[Array, "rows m"]:
    """Differences at the new point, where the predicted value was corrected by `correction`."""
    numbers = np.arange(ROWS)
    topmost = correction - jnp.take(differences, order + 1, axis=0)
    rows = jnp.where((numbers == order + 1)[:, None], correction[None, :], differences)
    rows = jnp.where((numbers == order + 2)[:, None], topmost[None, :], rows)
    # D_i ← D_i + D_{i+1} from i = order down to 0: sums of all rows from i to order + 1.
    summed = jnp.where((numbers <= order + 1)[:, None], rows, 0.0)
    totals = jnp.cumsum(summed[::-1], axis=0)[::-1]
    return jnp.where((numbers <= order)[:, None], totals, rows)
