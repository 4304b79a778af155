"""Expectations of products of smooth functions of Gaussian variables: Hermite series with a bound on the rest.

With X = |u|z + β and h_l = E[σ(X)he_l(z)]/√l!, E[σ(X_u)σ(X_v)] = Σ_l h_l(u)h_l(v)t^l for a correlation t, and by
Parseval what is left out beyond n terms is at most |t|ⁿ√(rest(u)rest(v)) with rest = Eσ² − Σ_{l<n}h_l².
"""

import functools
from collections.abc import Callable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.errors import ThetadotError
from thetadot.numerics.gaussian.rows import lengths_and_directions

_REACH, _STEP = 11.0, 0.025
MOVES_AT_MOST = 1e-10


class NotSmoothError(ThetadotError):
    """A function with a kink, or too steep for a rule that needs smooth ones."""


@functools.lru_cache(maxsize=32)
def hermite_rule(
    order: int, step: float = _STEP
) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, "q order"]]:
    """Nodes z (q,) and weights·he_l(z)/√l! (q, order) of the trapezoid rule for E over z ~ N(0, 1)."""
    nodes = np.arange(-round(_REACH / step), round(_REACH / step) + 1) * step
    table = np.zeros((nodes.size, order))
    table[:, 0] = step * np.exp(-0.5 * nodes**2) / np.sqrt(2 * np.pi)
    if order > 1:
        table[:, 1] = nodes * table[:, 0]
    for degree in range(2, order):
        before = nodes * table[:, degree - 1] - np.sqrt(degree - 1) * table[:, degree - 2]
        table[:, degree] = before / np.sqrt(degree)
    return nodes, table


def coefficients(
    activation: Callable,
    lengths: Float[Array, " m"],
    biases: Float[Array, " m"] | None = None,
    *,
    order: int = 64,
    step: float = _STEP,
) -> tuple[Float[Array, "m order"], Float[Array, " m"]]:
    """(h_l (m, order), Eσ² (m,)) of σ(|u|z + β)."""
    nodes, table = hermite_rule(order, step)
    arguments = lengths[:, None] * jnp.asarray(nodes)[None, :]
    values = activation(arguments if biases is None else arguments + biases[:, None])
    return values @ jnp.asarray(table), (values * values) @ jnp.asarray(table[:, 0])


@jax.custom_jvp
def correlate(
    left: Float[Array, "m order"], right: Float[Array, "n order"], t: Float[Array, "m n"]
) -> Float[Array, "m n"]:
    """Σ_l left_l right_l t^l by Horner's rule; differentiable any number of times without storing its steps."""
    return _horner(left, right, t)


def _horner(left: Array, right: Array, t: Array) -> Array:
    def step(total, pair):
        return total * t + pair[0][:, None] * pair[1][None, :], None

    return jax.lax.scan(step, jnp.zeros_like(t), (left.T, right.T), reverse=True)[0]


@correlate.defjvp
def _(primals, tangents):
    (left, right, t), (d_left, d_right, dt) = primals, tangents
    degrees = jnp.arange(1.0, left.shape[1])
    slope = correlate(left[:, 1:] * degrees[None, :], right[:, 1:], t)
    moved = _horner(d_left, right, t) + _horner(left, d_right, t)  # plain scans: linear in the tangents
    return correlate(left, right, t), moved + slope * dt


def _rest(terms: Float[Array, "m order"], power: Float[Array, " m"]) -> Float[Array, " m"]:
    return jnp.sqrt(jnp.maximum(power - jnp.sum(terms * terms, axis=1), 0.0))


def hermite_kernel(
    activation: Callable,
    u: Float[Array, "m d"],
    v: Float[Array, "n d"],
    *,
    other: Callable | None = None,
    bias_u: Float[Array, " m"] | None = None,
    bias_v: Float[Array, " n"] | None = None,
    order: int = 64,
) -> tuple[Float[Array, "m n"], Float[Array, "m n"]]:
    """E[σ(u_i·x + β_i)τ(v_j·x + β′_j)] for x ~ N(0, I) and smooth σ, τ, with a bound on each error.

    Arguments:
        activation: σ, an elementwise JAX function.
        u (m, d), v (n, d): weights. Where v is u itself, with the same biases and no `other`, the diagonal is E[σ²].
        other: τ; σ if left out.
        bias_u (m,), bias_v (n,): β, β′; 0 if left out.
        order: terms of the series.

    Returns:
        values (m, n), bounds (m, n): |error| ≤ bound, besides rounding.

    Raises:
        NotSmoothError: the one-dimensional rule moves by more than 1e-10 when its step is halved: σ or τ has a kink,
            or |u| is too large for it. Concrete arrays only.

    Source: Mehler's formula; the bound is Parseval's and Cauchy–Schwarz's.

    Example:
        >>> import jax.numpy as jnp
        >>> u = jnp.eye(2)
        >>> values, bounds = hermite_kernel(jnp.tanh, u, u)
        >>> print(f"{values[0, 0]:.10f}", bool(jnp.all(bounds < 1e-10)))
        0.3942944904 True
    """
    same = v is u and other is None and bias_v is bias_u
    other = activation if other is None else other
    lengths_u, directions_u = lengths_and_directions(u)
    lengths_v, directions_v = lengths_and_directions(v)
    require_smooth(activation, lengths_u, bias_u, order=order)
    require_smooth(other, lengths_v, bias_v, order=order)
    left, power_u = coefficients(activation, lengths_u, bias_u, order=order)
    right, power_v = coefficients(other, lengths_v, bias_v, order=order)
    t = directions_u @ directions_v.T
    values = correlate(left, right, t)
    rests = _rest(left, power_u)[:, None] * _rest(right, power_v)[None, :]
    bounds = jnp.minimum(jnp.abs(t), 1.0) ** order * rests
    if same:
        on = jnp.eye(u.shape[0], dtype=bool)
        values, bounds = jnp.where(on, power_u[:, None], values), jnp.where(on, 0.0, bounds)
    return values, bounds


def step_change(
    activation: Callable,
    lengths: Float[Array, " m"],
    biases: Float[Array, " m"] | None = None,
    *,
    order: int = 64,
) -> Float[Array, ""]:
    """By how much the one-dimensional rule moves when its step is halved, in units of the largest E[σ²] or 1."""
    coarse, fine = (
        coefficients(activation, lengths, biases, order=order, step=step) for step in (_STEP, _STEP / 2)
    )
    moved = jnp.maximum(*(jnp.max(jnp.abs(a - b)) for a, b in zip(coarse, fine, strict=True)))
    return moved / jnp.maximum(1.0, jnp.max(fine[1]))


def require_smooth(
    activation: Callable,
    lengths: Float[Array, " m"],
    biases: Float[Array, " m"] | None = None,
    *,
    order: int = 64,
) -> None:
    """Raise `NotSmoothError` if the rule moves by more than 1e-10 under halving of its step (concrete arrays only)."""
    if isinstance(lengths, jax.core.Tracer):
        return
    moved = float(step_change(activation, lengths, biases, order=order))
    if not moved <= MOVES_AT_MOST:
        raise NotSmoothError(
            f"the one-dimensional rule moves by {moved:.1e} when its step is halved (allowed {MOVES_AT_MOST:.0e}): "
            f"the function has a kink, or weights of length {float(jnp.max(lengths)):.3g} make it too steep; "
            "use a closed kernel (relu_kernel, erf_kernel)"
        )
