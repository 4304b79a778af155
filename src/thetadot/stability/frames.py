"""Frames of tangent vectors: k rows in d dimensions, made orthonormal with a triangle of positive diagonal."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from thetadot.numerics.linalg import qr_positive

UNROLLED = 4
"""Up to this many vectors, calls of LAPACK cost more than arithmetic written out."""

_CONDITION = 1e7
_TINY = 1e-290


def orthonormalise(rows: Float[Array, "k d"]) -> tuple[Float[Array, "k d"], Float[Array, "k k"]]:
    """(Q, R) with rowsᵀ = QᵀR, orthonormal rows Q, R upper triangular with non-negative diagonal.

    Rows that depend on those before them get a zero on the diagonal of R, and some unit vector orthogonal to all
    others in Q.
    """
    k, d = rows.shape
    if k <= UNROLLED:
        return _gram_schmidt(rows)
    if jax.default_backend() != "cpu" and d >= 16 * k:
        return cholesky_qr(rows)
    q, r = qr_positive(rows.T)
    return q.T, r


def _gram_schmidt(rows: Float[Array, "k d"]) -> tuple[Float[Array, "k d"], Float[Array, "k k"]]:
    k, d = rows.shape
    found: list[Array] = []
    r = [[jnp.zeros((), rows.dtype)] * k for _ in range(k)]
    for j in range(k):
        left = rows[j]
        for _ in range(2):  # once is not enough for orthogonality to rounding, twice is
            for i, unit in enumerate(found):
                part = jnp.dot(unit, left)
                r[i][j] = r[i][j] + part
                left = left - part * unit
        size = jnp.sqrt(jnp.dot(left, left))
        lost = size <= 4 * d * jnp.finfo(rows.dtype).eps * jnp.sqrt(jnp.dot(rows[j], rows[j]))
        r[j][j] = jnp.where(lost, 0.0, size)
        unit = left / jnp.where(lost, 1.0, size)
        found.append(jax.lax.cond(lost, lambda q: _outside(q, d), lambda _, unit=unit: unit, tuple(found)))
    return jnp.stack(found), jnp.stack([jnp.stack(row) for row in r])


def _outside(units: tuple[Array, ...], d: int) -> Float[Array, " d"]:
    """A unit vector orthogonal to orthonormal ones: the axis that they contain least, projected."""
    if not units:
        return jnp.zeros(d).at[0].set(1.0)
    q = jnp.stack(units)
    vector = jax.nn.one_hot(jnp.argmin(jnp.sum(q * q, axis=0)), d, dtype=q.dtype)
    for _ in range(2):
        vector = vector - q.T @ (q @ vector)
    return vector / jnp.linalg.norm(vector)


def cholesky_qr(rows: Float[Array, "k d"]) -> tuple[Float[Array, "k d"], Float[Array, "k k"]]:
    """`orthonormalise` by two Cholesky factorisations of Gram matrices, which are matrix products; by Householder
    reflections where the Gram matrix is conditioned worse than 1e7 (or not positive).

    Source: T. Fukaya et al., CholeskyQR2 (2014).
    """

    def once(v: Array) -> tuple[Array, Array]:
        lower = jnp.linalg.cholesky(v @ v.T, symmetrize_input=False)
        return jax.scipy.linalg.solve_triangular(lower, v, lower=True), lower.T

    def twice(v: Array) -> tuple[Array, Array]:
        q, first = once(v)
        q, second = once(q)
        return q, second @ first

    def householder(v: Array) -> tuple[Array, Array]:
        q, r = qr_positive(v.T)
        return q.T, r

    values = jnp.linalg.eigvalsh(rows @ rows.T)
    good = values[0] * _CONDITION > values[-1]
    return jax.lax.cond(good, twice, householder, rows)


def zeros_on_diagonal(
    diagonal: Float[Array, " k"], size: int, floor: Float[Array, ""] | float
) -> Bool[Array, " k"]:
    """Which R_ii of a one-step block are zero to rounding: ≤ 8dε·max(max_j R_jj, floor), or below 1e-290."""
    largest = jnp.maximum(jnp.max(diagonal), floor)
    return (diagonal <= 8 * size * jnp.finfo(diagonal.dtype).eps * largest) | (diagonal < _TINY)
