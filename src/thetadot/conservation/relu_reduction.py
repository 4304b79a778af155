"""Two-layer networks of gated neurons in the products z_j = u_jv_jᵀ of outgoing and incoming weights.

c_j = |u_j|² − |v_j|² is conserved and |z_j| = |u_j||v_j|, so that both lengths, and with them the flow of z_j, are
functions of z_j: z_j′ = −(G_jz_jᵀz_j/|u_j|² + z_jz_jᵀG_j/|v_j|²). z_j does not tell (u, v) from (−u, −v), but the
activation does; a reference direction of v_j is carried along.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from thetadot.conservation.errors import ZeroWeightError
from thetadot.problems.chain import Chain

_VANISHED = 0.02  # of the length before; dense output is rough across the kink where a product vanishes


class Products(NamedTuple):
    """State: z (H, k, i), i counting the inputs and, with hidden biases, one; bias (k,) of the outputs or (0,)."""

    z: Float[Array, "H k i"]
    bias: Float[Array, " b"]


class Context(NamedTuple):
    """What the flow of products needs besides the state.

    Attributes:
        problem: the risk. levels (H,): c_j. directions (H, i): unit vectors near those of v_j. along (H, k): |v_j|u_j
            when these were taken.
    """

    problem: Any
    levels: Float[Array, " H"]
    directions: Float[Array, "H i"]
    along: Float[Array, "H k"]


def products_of(problem: Any, theta: Float[Array, " P"]) -> tuple[Products, Context]:
    """The state at parameters, and its context.

    Raises:
        ZeroWeightError: an incoming or outgoing vector vanishes: one factor's direction is not in z.
    """
    (inner, inner_bias), (outer, outer_bias) = problem.network.chain.layers(theta)
    v = inner if inner_bias is None else jnp.concatenate([inner, inner_bias[:, None]], axis=1)
    u = outer.T
    lengths = jnp.linalg.norm(v, axis=1), jnp.linalg.norm(u, axis=1)
    for what, length in zip(("incoming", "outgoing"), lengths, strict=True):
        if bool(jnp.any(length == 0)):
            neuron = int(jnp.argmax(length == 0))
            raise ZeroWeightError(
                f"all {what} weights of hidden neuron {neuron} are zero: its products do not tell where it would "
                "go; start elsewhere, or leave the neuron out"
            )
    bias = jnp.zeros(0) if outer_bias is None else outer_bias
    levels = jnp.sum(u**2, axis=1) - jnp.sum(v**2, axis=1)
    context = Context(problem, levels, v / lengths[0][:, None], u * lengths[0][:, None])
    return Products(u[:, :, None] * v[:, None, :], bias), context


def renewed(state: Products, context: Context) -> Context | None:
    """The context with directions taken anew; None where a product vanishes, which then has none."""
    along = _along(state, context)
    before = jnp.linalg.norm(context.along, axis=1)
    small = jnp.linalg.norm(along, axis=1) <= _VANISHED * before
    if bool(jnp.any(small & (jnp.sum(along * context.along, axis=1) <= 1e-3 * before**2))):
        return None
    return context._replace(directions=directions_of(state, context.directions), along=along)


def _along(state: Products, context: Context) -> Float[Array, "H k"]:
    """|v_j|u_j."""
    return jnp.einsum("hki,hi->hk", state.z, directions_of(state, context.directions))


def directions_of(state: Products, near: Float[Array, "H i"]) -> Float[Array, "H i"]:
    """Unit vectors of v_j on the side of the reference."""
    moved = jnp.einsum("hki,hkl,hl->hi", state.z, state.z, near)
    return moved / jnp.linalg.norm(moved, axis=1, keepdims=True)


def lengths_of(state: Products, levels: Float[Array, " H"]) -> tuple[Float[Array, " H"], Float[Array, " H"]]:
    """(|u_j|², |v_j|²), the smaller one without cancellation."""
    square = jnp.sum(state.z**2, axis=(1, 2))
    root = jnp.sqrt(levels**2 + 4 * square)
    larger = (root + jnp.abs(levels)) / 2
    smaller = 2 * square / (root + jnp.abs(levels))
    return jnp.where(levels >= 0, larger, smaller), jnp.where(levels >= 0, smaller, larger)


def gates_of(context: Context, state: Products) -> Float[Array, "N H"]:
    """Slopes of the activation of every neuron at every sample."""
    x = _samples(context.problem)
    before = x @ directions_of(state, context.directions).T
    return jnp.where(before > 0, 1.0, context.problem.network.chain.activation.slope)


def _samples(problem: Any) -> Array:
    x = problem.x
    return jnp.concatenate([x, jnp.ones((x.shape[0], 1))], axis=1) if problem.network.chain.biases[0] else x


def _risk(state: Products, gates: Array, problem: Any) -> Array:
    chain = problem.network.chain
    outputs = jnp.einsum("nh,hki,ni->nk", gates, state.z, _samples(problem))
    outputs = outputs + state.bias[None, :] if chain.biases[1] else outputs
    return jnp.mean(jax.vmap(problem.sample_loss)(chain.output_scale * outputs, problem.y))


def product_field(state: Products, context: Context) -> Products:
    """d state/dt."""
    gates = gates_of(context, state)
    slope = jax.grad(_risk)(state, gates, context.problem)
    u, v = lengths_of(state, context.levels)
    first = jnp.einsum("hki,hli,hlj->hkj", slope.z, state.z, state.z) / u[:, None, None]
    second = jnp.einsum("hki,hli,hlj->hkj", state.z, state.z, slope.z) / v[:, None, None]
    time_scale = context.problem.time_scale
    return Products(-time_scale * (first + second), -time_scale * slope.bias)


def parameters_of(chain: Chain, state: Products, context: Context) -> Float[Array, " P"]:
    """θ of a state."""
    _, v_square = lengths_of(state, context.levels)
    direction = directions_of(state, context.directions)
    v = jnp.sqrt(v_square)[:, None] * direction
    u = _along(state, context) / jnp.sqrt(v_square)[:, None]
    inner = v[:, :-1] if chain.biases[0] else v
    parts = [inner.ravel()]
    if chain.biases[0]:
        parts.append(v[:, -1])
    parts.append(u.T.ravel())
    return jnp.concatenate([*parts, state.bias])


def turned(state: Products, context: Context) -> Float[Array, ""]:
    """Smallest cosine between a direction and its reference, less ½: negative when references need renewing."""
    cosines = jnp.sum(directions_of(state, context.directions) * context.directions, axis=1)
    return jnp.min(cosines) - 0.5


def crossed(state: Products, context: Context) -> Float[Array, ""]:
    """Negative once a u_j has turned by a right angle, or one of u_j and v_j has passed zero."""
    before = jnp.maximum(jnp.sum(context.along**2, axis=1), 1e-300)
    return jnp.min(jnp.sum(_along(state, context) * context.along, axis=1) / before)


def activations_of(chain: Chain, theta: Float[Array, " P"], x: Float[Array, "N d"]) -> Bool[Array, "N H"]:
    """Which hidden neurons are active, layer after layer, at every sample."""
    hidden, found = x, []
    layers = chain.layers(theta)
    for weight, bias in layers[:-1]:
        before = hidden @ weight.T + (0.0 if bias is None else bias[None, :])
        found.append(before > 0)
        hidden = chain.activation(before)
    return jnp.concatenate(found, axis=1)
