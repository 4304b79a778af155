"""Which activations have closed expectations over Gaussian and spherical inputs, and those of single neurons."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from thetadot.numerics import gaussian
from thetadot.numerics.gaussian.moments import half_line_rule
from thetadot.numerics.gaussian.rows import lengths_and_directions
from thetadot.problems.activations import Activation
from thetadot.problems.errors import UnsupportedExpectation
from thetadot.problems.inputs import GaussianInputs, InputLaw

ERF_ARGUMENT = 1.0
"""The activation named erf is erf(z), without a factor."""

CLOSED = ("relu", "leaky_relu", "identity", "erf", "squared_relu")


def slope_of(activation: Activation) -> float | None:
    """Slope for negative arguments of max(z, slope·z): 0 for the ReLU, 1 for the identity; None for all others."""
    if activation.function is not None:
        return None
    return {"relu": 0.0, "leaky_relu": activation.slope, "identity": 1.0}.get(activation.name)


def degree_of(activation: Activation) -> int | None:
    """Degree of homogeneity, None where there is none."""
    if slope_of(activation) is not None:
        return 1
    return {"squared_relu": 2, "square": 2, "cube": 3}.get(activation.name)


def closed_kernel(
    u: Float[Array, "m d"], v: Float[Array, "n d"], first: Activation, second: Activation, inputs: InputLaw
) -> Float[Array, "m n"]:
    """E[σ(u_i·x)τ(v_j·x)] in closed form, differentiable twice at non-zero rows.

    Raises:
        UnsupportedExpectation: there is none for this pair of activations under this law.
    """
    u, v = inputs.whiten(u), inputs.whiten(v)
    slopes = slope_of(first), slope_of(second)
    if slopes[0] is not None and slopes[1] is not None:
        scale = inputs.homogeneous_scale(2)
        return scale * gaussian.relu_kernel(u, v, slope=slopes[0], other_slope=slopes[1])
    if first.name == second.name == "squared_relu":
        return inputs.homogeneous_scale(4) * gaussian.squared_relu_kernel(u, v)
    if first.name == second.name == "erf" and isinstance(inputs, GaussianInputs):
        return gaussian.erf_kernel(u, v, scale=ERF_ARGUMENT)
    raise UnsupportedExpectation(
        f"no closed form of E[σ(u·x)τ(v·x)] for σ = {first.name} and τ = {second.name} with {inputs.description}: "
        'use method="series" for smooth activations and Gaussian inputs'
    )


def closed_field(
    u: Float[Array, "m d"],
    v: Float[Array, "n d"],
    weights: Float[Array, " n"],
    activation: Activation,
    inputs: InputLaw,
) -> tuple[Float[Array, " m"], Float[Array, "m d"]]:
    """Σ_j weights_j E[σ(u_i·x)σ(v_j·x)] and its gradient in u_i, in one pass."""
    slope = slope_of(activation)
    white_u = inputs.whiten(u)
    white_v = white_u if v is u else inputs.whiten(v)
    if slope is not None:
        scale = inputs.homogeneous_scale(2)
        value, gradient = gaussian.relu_field(white_u, white_v, weights, slope=slope)
    elif activation.name == "erf":
        scale = 1.0
        value, gradient = gaussian.erf_field(white_u, white_v, weights, scale=ERF_ARGUMENT)
    else:
        return value_and_slope(
            lambda rows: closed_kernel(rows, v, activation, activation, inputs) @ weights, u
        )
    return scale * value, scale * inputs.whiten(gradient)  # Σ^½ is symmetric


def value_and_slope(
    function: Callable, rows: Float[Array, "m d"]
) -> tuple[Float[Array, " m"], Float[Array, "m d"]]:
    """Values and gradients of a function that takes each row to a number."""
    value, back = jax.vjp(function, rows)
    return value, back(jnp.ones_like(value))[0]


def mean_direction(
    rows: Float[Array, "n d"], activation: Activation, inputs: InputLaw, biases: Array | None = None
) -> Float[Array, "n d"]:
    """E[xσ(w_j·x + β_j)] of each row, by Stein's identity: Σw E[σ(|Σ^½w|z + β)z]/|Σ^½w|."""
    white = inputs.whiten(rows)
    lengths, _ = lengths_and_directions(white)
    nodes, weights = (jnp.asarray(part) for part in half_line_rule())
    arguments = lengths[:, None] * nodes[None, :]
    values = activation(arguments if biases is None else arguments + biases[:, None]) @ (weights * nodes)
    scale = values / jnp.where(lengths > 0, lengths, 1.0)
    if isinstance(inputs, GaussianInputs):
        return scale[:, None] * (rows @ inputs.second_moment)
    degree = degree_of(activation)
    if degree is None or biases is not None:
        raise UnsupportedExpectation(
            f"no rule for E[xσ(w·x)] with σ = {activation.name} on a sphere: use Gaussian inputs"
        )
    return inputs.homogeneous_scale(degree + 1) * scale[:, None] * rows
