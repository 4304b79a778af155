"""The backward half of covariant vectors: triangles undone one by one, C ∝ R⁻¹ C′, with two end matrices at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from thetadot.stability.frames import UNROLLED


class Undone(NamedTuple):
    """Backward over one stretch; entry b belongs to the start of block b.

    Attributes:
        coefficients (B, k, k): C, unit columns. second (B, k, k): from the other end matrix.
        logs (B, k): log growth of each covariant vector over the block.
    """

    coefficients: Array
    second: Array
    logs: Array


def end_matrices(count: int, key: PRNGKeyArray) -> Float[Array, "2 k k"]:
    """Two random upper triangular matrices with unit columns and a diagonal away from zero."""
    draw = np.asarray(jax.random.normal(key, (2, count, count)))
    upper = np.triu(draw, 1) + np.eye(count)[None]
    return jnp.asarray(upper / np.linalg.norm(upper, axis=1, keepdims=True))


def _solve(r: Float[Array, "k k"], c: Float[Array, "k n"]) -> Float[Array, "k n"]:
    """R⁻¹C for an upper triangular R."""
    k = r.shape[0]
    if k > UNROLLED:
        return jax.scipy.linalg.solve_triangular(r, c)
    rows: list[Any] = [None] * k
    for i in range(k - 1, -1, -1):
        left = c[i]
        for j in range(i + 1, k):
            left = left - r[i, j] * rows[j]
        rows[i] = left / r[i, i]
    return jnp.stack(rows)


@eqx.filter_jit
def undo(
    triangles: Float[Array, "B k k"], ends: Float[Array, "2 k k"], count: Int[Array, ""], rank: Int[Array, ""]
):
    """Backward through the first `count` triangles (the rest is filling) from C at their end.

    Only the leading `rank` vectors are followed, those of the part that no step made singular. Returns the matrices at
    the start and an `Undone`.
    """
    room, k, _ = triangles.shape
    inside = jnp.arange(k, dtype=rank.dtype) < rank
    square = inside[:, None] & inside[None, :]

    def one(i, carry):
        ends, out = carry
        b = count - 1 - i
        r = jnp.where(square, triangles[b], jnp.eye(k))
        both = _solve(r, jnp.concatenate([ends[0], ends[1]], axis=1))
        norms = jnp.sqrt(jnp.sum(both**2, axis=0))
        both = both / norms[None, :]
        ends = jnp.stack([both[:, :k], both[:, k:]])
        out = Undone(
            out.coefficients.at[b].set(ends[0]),
            out.second.at[b].set(ends[1]),
            out.logs.at[b].set(-jnp.log(norms[:k])),
        )
        return ends, out

    empty = Undone(jnp.zeros((room, k, k)), jnp.zeros((room, k, k)), jnp.zeros((room, k)))
    return jax.lax.fori_loop(0, count, one, (ends, empty))


@jax.jit
def angles_between(coefficients: Float[Array, "B k k"]) -> Float[Array, "B k k"]:
    """Angles in [0, π/2] between unit columns, by atan2 of what is left and what is common."""

    def of_one(c: Array) -> Array:
        common = c.T @ c

        def row(unit, parts):
            left = c - unit[:, None] * parts[None, :]
            return jnp.arctan2(jnp.sqrt(jnp.sum(left**2, axis=0)), jnp.abs(parts))

        found = jax.vmap(row, in_axes=(1, 0))(c, common)
        return found * (1.0 - jnp.eye(c.shape[0]))

    return jax.lax.map(of_one, coefficients)


@jax.jit
def vectors_of(frames: Float[Array, "B k d"], coefficients: Float[Array, "B k k"]) -> Float[Array, "B d k"]:
    """V = QC of each block."""
    return jnp.einsum("bid,bij->bdj", frames, coefficients)


@eqx.filter_jit
def observed(
    functions: dict[str, Callable],
    states: Float[Array, "B d"],
    frames: Float[Array, "B k d"],
    coefficients: Float[Array, "B k k"],
    numbers: Array,
) -> dict[str, Array]:
    """Each function of (state, vectors (d, k), n) at every block."""

    def one(parts):
        state, frame, c, n = parts
        vectors = frame.T @ c
        return {name: fn(state, vectors, n) for name, fn in functions.items()}

    return jax.lax.map(one, (states, frames, coefficients, numbers))
