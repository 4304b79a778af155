"""Step sizes: the proportional–integral controller."""

import jax.numpy as jnp
from jaxtyping import Array, Float

SAFETY = 0.9
SHRINK, GROW = 0.1, 5.0
FLOOR = 1e-4


def accepted_factor(error: Float[Array, ""], previous: Float[Array, ""], order: int) -> Float[Array, ""]:
    """Factor for the next step after an accepted one: 0.9·e^(−0.7/p)·e_prev^(0.4/p), clipped to [0.1, 5]."""
    error, previous = jnp.maximum(error, FLOOR), jnp.maximum(previous, FLOOR)
    return jnp.clip(SAFETY * error ** (-0.7 / order) * previous ** (0.4 / order), SHRINK, GROW)


def rejected_factor(error: Float[Array, ""], order: int) -> Float[Array, ""]:
    """Factor after a rejected step: 0.9·e^(−1/p) in [0.1, 0.9]; 0.25 where the error is not even a number."""
    factor = jnp.clip(SAFETY * jnp.maximum(error, 1.0) ** (-1.0 / order), SHRINK, SAFETY)
    return jnp.where(jnp.isfinite(error), factor, 0.25)
