"""Expectations of products of ReLU-like functions under x ~ N(0, I): the arc-cosine kernels and their fields.

With t = û·v̂ and φ = arccos t, E[relu(u·x)relu(v·x)] = |u||v|(sinφ + (π − φ)t)/2π. Its gradient needs no derivative of
arccos, and the second derivatives stay finite for parallel and antiparallel pairs.

Source: Y. Cho, L. Saul, NIPS 22 (2009); derivatives re-derived.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.numerics.elementwise import arccos_and_sine
from thetadot.numerics.gaussian.rows import by_blocks, lengths_and_directions

_TURN = 2 * np.pi
Number = float | Float[Array, ""]


@jax.custom_jvp
def arc_terms(t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """(sinφ, π − φ) at t = cosφ; slopes (−t, 1)/sinφ, taken as 0 where sinφ = 0: there their factors vanish."""
    complement, sine = arccos_and_sine(-t)
    return sine, complement


@arc_terms.defjvp
def _(primals, tangents):
    (t,), (dt,) = primals, tangents
    sine, complement = arc_terms(t)
    some = sine > 0
    slope = jnp.where(some, 1.0 / jnp.where(some, sine, 1.0), 0.0) * dt
    return (sine, complement), (-t * slope, slope)


@jax.custom_jvp
def first_arc(t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """sinφ + (π − φ)cosφ, with slope π − φ."""
    sine, complement = arc_terms(t)
    return sine + complement * t


@first_arc.defjvp
def _(primals, tangents):
    return first_arc(*primals), arc_terms(*primals)[1] * tangents[0]


@jax.custom_jvp
def second_arc(t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """3 sinφ cosφ + (π − φ)(1 + 2cos²φ), with slope 4(sinφ + (π − φ)cosφ)."""
    sine, complement = arc_terms(t)
    return 3.0 * sine * t + complement * (1.0 + 2.0 * t * t)


@second_arc.defjvp
def _(primals, tangents):
    return second_arc(*primals), 4.0 * first_arc(*primals) * tangents[0]


def relu_kernel(
    u: Float[Array, "m d"], v: Float[Array, "n d"], *, slope: Number = 0.0, other_slope: Number | None = None
) -> Float[Array, "m n"]:
    """E[σ(u_i·x)σ(v_j·x)] for x ~ N(0, I) and σ the (leaky) ReLU.

    Arguments:
        u (m, d), v (n, d): weights.
        slope: slope of σ for negative arguments; 0 is the ReLU, 1 the identity.
        other_slope: slope of the second factor where it differs.

    Returns:
        (m, n). Differentiable twice at every pair of non-zero rows, parallel and antiparallel ones included.

    Source: with σ_γ(z) = (1 − γ)relu(z) + γz, the kernel is (1 − γ)(1 − γ′)K + ½(γ + γ′)u·v.

    Example:
        >>> import jax.numpy as jnp
        >>> relu_kernel(jnp.array([[1.0, 0.0]]), jnp.array([[2.0, 0.0], [-3.0, 0.0]])).tolist()
        [[1.0, 0.0]]
    """
    other = slope if other_slope is None else other_slope
    (lengths_u, directions_u), (lengths_v, directions_v) = (lengths_and_directions(rows) for rows in (u, v))
    arcs = first_arc(directions_u @ directions_v.T) / _TURN
    plain = lengths_u[:, None] * lengths_v[None, :] * arcs
    return (1.0 - slope) * (1.0 - other) * plain + 0.5 * (slope + other) * (u @ v.T)


def relu_field(
    u: Float[Array, "m d"],
    v: Float[Array, "n d"],
    weights: Float[Array, " n"],
    *,
    slope: Number = 0.0,
    block: int = 256,
) -> tuple[Float[Array, " m"], Float[Array, "m d"]]:
    """Σ_j weights_j E[σ(u_i·x)σ(v_j·x)] and its gradient in u_i, in one pass, for x ~ N(0, I).

    Exact to rounding in O(mnd) time and O(block·n) memory; with v the same array as u each pair is evaluated once. Both
    results are differentiable once more, so that Hessian-vector products work.

    Arguments:
        u (m, d): where; at a row of zeros both results are 0.
        v (n, d), weights (n,): the neurons.
        slope: of the (leaky) ReLU σ for negative arguments.
        block: rows at a time.

    Returns:
        values (m,), gradients (m, d).

    Example:
        >>> import jax.numpy as jnp
        >>> e = jnp.array([[1.0, 0.0]])
        >>> [part.tolist() for part in relu_field(e, jnp.concatenate([2 * e, -2 * e]), jnp.ones(2))]
        [[1.0], [[1.0, 0.0]]]
    """
    lengths, directions = lengths_and_directions(u)
    own = v is u
    lengths_v, directions_v = (lengths, directions) if own else lengths_and_directions(v)
    reach, moved = weights * lengths_v, weights[:, None] * v

    def rows(part: Array) -> tuple[Array, Array]:
        sine, complement = arc_terms(directions_v @ part.T)
        return reach @ sine, complement.T @ moved

    if own and u.shape[0] > block:
        across, along = _sums_over_pairs(directions, reach, moved, block)
    else:
        across, along = by_blocks(rows, directions, block)
    value = lengths * (across + jnp.sum(directions * along, axis=1)) / _TURN
    some = jnp.any(u != 0, axis=1, keepdims=True)
    gradient = jnp.where(some, (across[:, None] * directions + along) / _TURN, 0.0)
    mean = moved.sum(axis=0)
    bend = (1.0 - slope) ** 2
    straight = jnp.where(some, mean[None, :], 0.0)
    return bend * value + slope * (u @ mean), bend * gradient + slope * straight


def _sums_over_pairs(directions: Array, reach: Array, moved: Array, block: int) -> tuple[Array, Array]:
    """(Σ_j sinφ_ij reach_j, Σ_j (π − φ_ij)moved_j): each pair of blocks is evaluated once and serves both."""
    count, blocks = directions.shape[0], -(-directions.shape[0] // block)

    def split(part: Array) -> Array:
        filled = jnp.zeros((blocks * block, *part.shape[1:])).at[:count].set(part)
        return filled.reshape(blocks, block, *part.shape[1:])

    rows, reaches, moves = split(directions), split(reach), split(moved)

    def step(sums: tuple[Array, Array], pair: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        (across, along), (i, j) = sums, pair
        sine, complement = arc_terms(rows[i] @ rows[j].T)
        across, along = across.at[i].add(sine @ reaches[j]), along.at[i].add(complement @ moves[j])
        other = jnp.where(i == j, 0.0, 1.0)  # a block with itself counts once
        across = across.at[j].add(other * (reaches[i] @ sine))
        return (across, along.at[j].add(other * (complement.T @ moves[i]))), None

    first, second = np.triu_indices(blocks)
    pairs = jnp.asarray(first), jnp.asarray(second)
    (across, along), _ = jax.lax.scan(step, (jnp.zeros_like(reaches), jnp.zeros_like(moves)), pairs)
    return across.reshape(-1)[:count], along.reshape(-1, moved.shape[1])[:count]


def squared_relu_kernel(u: Float[Array, "m d"], v: Float[Array, "n d"]) -> Float[Array, "m n"]:
    """E[relu(u_i·x)²relu(v_j·x)²] for x ~ N(0, I), (m, n), differentiable twice at non-zero rows."""
    (lengths_u, directions_u), (lengths_v, directions_v) = (lengths_and_directions(rows) for rows in (u, v))
    squares = lengths_u[:, None] ** 2 * lengths_v[None, :] ** 2
    return squares * second_arc(directions_u @ directions_v.T) / _TURN
