"""E[f(x)relu(u·x)] for x ~ N(0, I) and functions f of few directions."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import gammaln

from thetadot.numerics.elementwise import erf
from thetadot.numerics.gaussian.rows import lengths_and_directions
from thetadot.numerics.gaussian.zonal import DimensionError

_ROOT_TURN = np.sqrt(2 * np.pi)


def norm_scale(subspace_dimension: int) -> float:
    """c_k = √π Γ((k + 1)/2)/Γ(k/2)."""
    k = subspace_dimension
    return float(np.sqrt(np.pi) * np.exp(gammaln((k + 1) / 2) - gammaln(k / 2)))


@functools.lru_cache(maxsize=32)
def norm_table(subspace_dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev coefficients in 2s − 1, s ∈ [0, 1], of h = ₂F₁(−½, −½; k/2; 1 − s²) and of h′(s)/s.

    In s both are analytic for odd k and have one weak logarithm, s^{k+2}log s and s^k log s, for even k; in 1 − s² they
    would converge slowly.
    """
    import mpmath

    k, count = subspace_dimension, 64 if subspace_dimension % 2 else 256 if subspace_dimension == 2 else 128
    angles = (np.arange(count) + 0.5) * np.pi / count
    with mpmath.workdps(25):
        half = mpmath.mpf(k) / 2
        below = [1 - mpmath.cos(mpmath.mpf(a) / 2) ** 4 for a in angles]  # s = cos²(angle/2)
        h = [float(mpmath.hyp2f1(-0.5, -0.5, half, y)) for y in below]
        slope = [float(-mpmath.hyp2f1(0.5, 0.5, half + 1, y) / (2 * half)) for y in below]
    cosines = np.cos(np.outer(np.arange(count), angles))
    tables = []
    for values in (h, slope):
        found = 2 / count * (cosines @ np.array(values))
        found[0] /= 2
        kept = np.flatnonzero(np.abs(found) > 1e-17 * np.abs(found).max())
        tables.append(found[: kept[-1] + 1])
    return tables[0], tables[1]


def _chebyshev(table: np.ndarray, s: Array) -> Array:
    """Σ_n table_nT_n(2s − 1), as a cosine series in the angle whose half has the cosine √s."""
    angle = 2.0 * jnp.arctan2(jnp.sqrt(jnp.maximum(1.0 - s, 0.0)), jnp.sqrt(s))
    return jnp.asarray(table) @ jnp.cos(jnp.arange(float(len(table)))[:, None] * angle[None, :])


def _table_slope(table: np.ndarray) -> np.ndarray:
    return np.polynomial.chebyshev.chebder(table) * 2.0


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def norm_profile(k: int, square: Float[Array, " m"]) -> Float[Array, " m"]:
    """h(s) as a function of s²: with slope ½h′(s)/s, finite at 0."""
    return _chebyshev(norm_table(k)[0], jnp.sqrt(square))


@norm_profile.defjvp
def _(k, primals, tangents):
    return norm_profile(k, *primals), 0.5 * norm_bend(k, *primals) * tangents[0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def norm_bend(k: int, square: Float[Array, " m"]) -> Float[Array, " m"]:
    """h′(s)/s as a function of s²."""
    return _chebyshev(norm_table(k)[1], jnp.sqrt(square))


@norm_bend.defjvp
def _(k, primals, tangents):
    (square,) = primals
    some = square > 0
    s = jnp.sqrt(jnp.where(some, square, 1.0))
    slope = _chebyshev(_table_slope(norm_table(k)[1]), s) / (2 * s)
    return norm_bend(k, square), jnp.where(some, slope, 0.0) * tangents[0]


def norm_moment(u: Float[Array, "m d"], basis: Float[Array, "d k"]) -> Float[Array, " m"]:
    """E[|x_H| relu(u·x)] for x ~ N(0, I): (c_k/π)|u|h(|u_⊥|/|u|).

    Arguments:
        u (m, d): weights; differentiable at every u ≠ 0, those in H included.
        basis (d, k): orthonormal columns that span H.

    Source: re-derived; h is a Gauss hypergeometric function, accurate to 1e-13 here.

    Example:
        >>> import jax.numpy as jnp
        >>> e = jnp.eye(2)
        >>> [f"{value:.6f}" for value in norm_moment(e, e[:, :1]).tolist()]
        ['0.500000', '0.318310']
    """
    k = basis.shape[1]
    if not 1 <= k <= basis.shape[0]:
        raise DimensionError(f"basis has shape {basis.shape}, expected (d, k) with 1 ≤ k ≤ d")
    length, direction = lengths_and_directions(u)
    across = direction - (direction @ basis) @ basis.T
    square = jnp.minimum(jnp.sum(across * across, axis=1), 1.0)
    return norm_scale(k) / np.pi * length * norm_profile(k, square)


def product_moment(
    u: Float[Array, "m d"], i: int, j: int, covariance: Float[Array, "d d"] | None = None
) -> Float[Array, " m"]:
    """E[x_i x_j relu(u·x)] for x ~ N(0, Σ): (Σ_ij|Σ^½u| + (Σu)_i(Σu)_j/|Σ^½u|)/√(2π).

    Arguments:
        u (m, d): weights, not in the kernel of Σ.
        i, j: coordinates, which may be equal.
        covariance (d, d): Σ; the identity if left out.

    Example:
        >>> import jax.numpy as jnp
        >>> [f"{value:.6f}" for value in product_moment(jnp.eye(2), 0, 0).tolist()]
        ['0.797885', '0.398942']
    """
    moved = u if covariance is None else u @ covariance
    square = jnp.sum(u * moved, axis=1)
    some = square > 0
    length = jnp.sqrt(jnp.where(some, square, 1.0))
    entry = float(i == j) if covariance is None else covariance[i, j]
    return jnp.where(some, (entry * length + moved[:, i] * moved[:, j] / length) / _ROOT_TURN, 0.0)


@functools.cache
def half_line_rule() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for E over z ~ N(0, 1) of functions that are smooth on each half-line, bunched at 0.

    z = ±exp(s − e^{−s}), trapezoid in s.
    """
    s, step = np.linspace(-4.5, 2.6, 120, retstep=True)
    nodes = np.exp(s - np.exp(-s))
    weights = step * nodes * (1 + np.exp(-s)) * np.exp(-0.5 * nodes**2) / _ROOT_TURN
    return np.concatenate([-nodes[::-1], nodes]), np.concatenate([weights[::-1], weights])


def ridge_parts(
    function: Callable, along: Float[Array, " m"], across: Float[Array, " m"]
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    """(E[g(z)zΦ(ρ)], E[g(z)ϕ(ρ)/|u_⊥|]) with ρ = z·along/across, across ≥ 0: the slopes of E[g(e·x)relu(u·x)]."""
    nodes, weights = (jnp.asarray(part) for part in half_line_rule())
    values = weights * function(nodes)
    some = across > 0
    safe = jnp.where(some, across, 1.0)
    steep = jnp.where(some, along / safe, jnp.sign(along) * 1e300)
    rho = jnp.clip(steep[:, None] * nodes[None, :], -1e100, 1e100)
    cumulated = 0.5 * (1.0 + erf(rho * 2**-0.5))
    bell = jnp.exp(-0.5 * rho * rho) / _ROOT_TURN
    return cumulated @ (values * nodes), jnp.where(some, (bell @ values) / safe, 0.0)


def ridge_moment(
    function: Callable, direction: Float[Array, " d"], u: Float[Array, "m d"]
) -> Float[Array, " m"]:
    """E[g(e·x)relu(u·x)] for x ~ N(0, I).

    Arguments:
        function: g, elementwise, smooth on each half-line (a kink at 0 costs nothing).
        direction (d,): e, a unit vector.
        u (m, d): weights.

    Returns:
        (m,); E[g(z)(z c Φ(ρ) + s ϕ(ρ))], c = u·e, s = |u − ce|, ρ = zc/s. Differentiable at every u that is not
        parallel to e, and once there.

    Example:
        >>> import jax.numpy as jnp
        >>> e = jnp.array([1.0, 0.0])
        >>> moments = ridge_moment(jax.nn.relu, e, jnp.array([[2.0, 0.0], [0.0, 1.0]]))
        >>> [f"{value:.9f}" for value in moments.tolist()]
        ['1.000000000', '0.159154943']
    """
    along = u @ direction
    rest = u - along[:, None] * direction[None, :]
    square = jnp.sum(rest * rest, axis=1)
    return _ridge(function, along, square)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _ridge(function: Callable, along: Array, square: Array) -> Array:
    mean, bend = ridge_parts(function, along, jnp.sqrt(square))
    return along * mean + square * bend


@_ridge.defjvp
def _(function, primals, tangents):
    along, square = primals
    some = square > 0
    across = jnp.where(some, jnp.sqrt(jnp.where(some, square, 1.0)), 0.0)
    mean, bend = ridge_parts(function, along, across)
    return _ridge(function, along, square), mean * tangents[0] + 0.5 * bend * tangents[1]
