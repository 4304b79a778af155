"""What a two-layer network predicts: its linear and even parts, distances between predictors, a floor of the risk."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.numerics.gaussian import chi_moment
from thetadot.problems import Problem
from thetadot.problems.expectations import slope_of
from thetadot.symmetry.errors import HypothesisError
from thetadot.symmetry.inner import mean_square
from thetadot.symmetry.particles import network_of, to_particles


@dataclasses.dataclass(frozen=True)
class OddEven:
    """f(x) = w·x + f_even(x) of a network of (leaky) ReLU neurons.

    Attributes:
        linear (d,): w = κo Σ a_jb_j.
        even_power: E[f_even²]; a difference, with a rounding floor of about 1e-16·E[f²].
    """

    linear: Float[Array, " d"]
    even_power: float


def kappa_of(problem: Problem) -> float:
    """κ with σ(z) − σ(−z) = 2κz.

    Raises:
        HypothesisError: the activation is not piecewise linear.
    """
    activation = network_of(problem).activation
    slope = slope_of(activation)
    if slope is None:
        raise HypothesisError(
            f"the activation {activation.name} is not piecewise linear: σ(z) − σ(−z) = 2κz holds for relu, leaky_relu "
            "and identity only, so that the odd part of the network is no linear function"
        )
    return 0.5 * (1 + slope)


def split_odd_even(problem: Problem, theta: Float[Array | np.ndarray, " P"]) -> OddEven:
    """The linear and the even part of a network of (leaky) ReLU neurons, exact.

    Raises:
        HypothesisError: another activation.

    Example:
        >>> import thetadot as td
        >>> problem = td.PopulationRisk(td.two_layer(2, 2, "relu"), td.ProductTarget(0, 1), td.GaussianInputs(2))
        >>> parts = split_odd_even(problem, jnp.array([1.0, 0.0, -1.0, 0.0, 1.0, -1.0]))
        >>> parts.linear.tolist(), parts.even_power
        ([1.0, 0.0], 0.0)
    """
    kappa, particles = kappa_of(problem), to_particles(problem, jnp.asarray(theta))
    weights = network_of(problem).chain.output_scale * particles.outgoing
    both = jnp.concatenate([particles.incoming, -particles.incoming])
    even = mean_square(problem, 0.5 * jnp.concatenate([weights, weights]), both)
    return OddEven(kappa * (weights @ particles.incoming), even)


def mean_square_distance(
    problem: Problem, theta: Float[Array | np.ndarray, " P"], other: Float[Array | np.ndarray, " P"]
) -> float:
    """E[(f_θ − f_other)²], exact; rounding floor about 1e-16·E[f²]."""
    first, second = (to_particles(problem, jnp.asarray(point)) for point in (theta, other))
    scale = network_of(problem).chain.output_scale
    weights = scale * jnp.concatenate([first.outgoing, -second.outgoing])
    return mean_square(problem, weights, jnp.concatenate([first.incoming, second.incoming]))


def homogeneous_floor(degree: float, dimension: int) -> float:
    """1 − (E|x|^{p+1})²/(E|x|²E|x|^{2p}), x ~ N(0, I): no 1-homogeneous network has a risk below half of this share of
    E[f*²] on a target that is homogeneous of degree p.

    Example:
        >>> round(0.5 * homogeneous_floor(2, 6), 4)
        0.0302
    """
    square = chi_moment(dimension, degree + 1) ** 2
    return 1 - square / (chi_moment(dimension, 2) * chi_moment(dimension, 2 * degree))
