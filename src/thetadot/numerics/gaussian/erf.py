"""Expectations of products of error functions under x ~ N(0, I)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.numerics.gaussian.rows import by_blocks

ERF_SCALE = 2**-0.5


def erf_kernel(
    u: Float[Array, "m d"], v: Float[Array, "n d"], *, scale: float = ERF_SCALE
) -> Float[Array, "m n"]:
    """E[erf(s u_i·x)erf(s v_j·x)] for x ~ N(0, I): (2/π)asin(2s²u·v/√((1 + 2s²|u|²)(1 + 2s²|v|²))).

    Arguments:
        u (m, d), v (n, d): weights.
        scale: s.

    Source: C. Williams, NIPS 9 (1997).

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(erf_kernel(jnp.ones((1, 1)), jnp.ones((1, 1)))[0, 0]), 12)
        0.333333333333
    """
    twice = 2.0 * scale**2
    sizes_u, sizes_v = (1.0 + twice * jnp.sum(rows * rows, axis=1) for rows in (u, v))
    return (2 / np.pi) * jnp.arcsin(twice * (u @ v.T) / jnp.sqrt(sizes_u[:, None] * sizes_v[None, :]))


def erf_field(
    u: Float[Array, "m d"],
    v: Float[Array, "n d"],
    weights: Float[Array, " n"],
    *,
    scale: float = ERF_SCALE,
    block: int = 256,
) -> tuple[Float[Array, " m"], Float[Array, "m d"]]:
    """Σ_j weights_j E[erf(s u_i·x)erf(s v_j·x)] (m,) and its gradient in u_i (m, d), in one pass.

    Arguments:
        u (m, d): where.
        v (n, d), weights (n,): the neurons.
        scale: s.
        block: rows of u at a time.
    """
    twice = 2.0 * scale**2
    sizes_v = 1.0 + twice * jnp.sum(v * v, axis=1)
    scaled = v / jnp.sqrt(sizes_v)[:, None]

    def rows(part: Array) -> tuple[Array, Array]:
        sizes = 1.0 + twice * jnp.sum(part * part, axis=1)
        root = jnp.sqrt(sizes)[:, None]
        cosine = (twice / root) * (part @ scaled.T)
        slope = weights[None, :] / jnp.sqrt((1.0 - cosine) * (1.0 + cosine))
        gradient = (twice / root) * (slope @ scaled)
        gradient = gradient - (twice * jnp.sum(slope * cosine, axis=1) / sizes)[:, None] * part
        return (2 / np.pi) * (jnp.arcsin(cosine) @ weights), (2 / np.pi) * gradient

    return by_blocks(rows, u, block)
