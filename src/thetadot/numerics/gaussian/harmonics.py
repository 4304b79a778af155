"""Multiples of angles, from which cosine series and their slopes are sums of rows."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def multiple_angles(
    cosine: Float[Array, " m"], sine: Float[Array, " m"], count: int
) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
    """(cos jα, sin jα) for j = 0, …, count − 1, from cos α and sin α.

    By doubling, cos (h + j)α = cos hα cos jα − sin hα sin jα: a few long vector operations, with rounding that grows
    like j.

    Example:
        >>> rows = multiple_angles(jnp.array([0.5]), jnp.array([0.75**0.5]), 4)[0]
        >>> rows[:, 0].round(12).tolist()
        [1.0, 0.5, -0.5, -1.0]
    """
    cosine, sine = cosine[None, :], sine[None, :]
    cosines, sines = jnp.ones_like(cosine), jnp.zeros_like(sine)
    while cosines.shape[0] < count:
        turned = cosines * cosine - sines * sine, sines * cosine + cosines * sine
        cosines, sines = jnp.concatenate([cosines, turned[0]]), jnp.concatenate([sines, turned[1]])
        cosine, sine = (cosine - sine) * (cosine + sine), 2.0 * cosine * sine
    return cosines[:count], sines[:count]
