"""A two-layer network as a cloud of particles (a, b): its neurons."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.problems import Problem
from thetadot.problems.checks import as_vector, known_name
from thetadot.problems.two_layer import TwoLayer
from thetadot.symmetry.errors import ParticleError, UnsupportedNetworkError

SCHEMES = ("independent", "antithetic", "doubled")


class Particles(eqx.Module):
    """Neurons of f(x) = o Σ_j a_jσ(b_j·x).

    Attributes:
        outgoing (m,): a.
        incoming (m, d): b.
    """

    outgoing: Array
    incoming: Array

    @property
    def width(self) -> int:
        """m."""
        return self.incoming.shape[0]

    @property
    def dimension(self) -> int:
        """d."""
        return self.incoming.shape[1]


def network_of(problem: Problem) -> TwoLayer:
    """The problem's two-layer network without biases.

    Raises:
        UnsupportedNetworkError: it has another network.
    """
    network: Any = getattr(problem, "network", None)
    if not isinstance(network, TwoLayer) or network.bias:
        given = getattr(network, "description", None) or problem.description
        raise UnsupportedNetworkError(
            f"the lens of symmetry reads two-layer networks with one output and no biases; this is {given}: pose the "
            "problem on td.two_layer(dimension, width, activation)"
        )
    return network


def to_particles(problem: Problem, theta: Float[Array | np.ndarray, " P"]) -> Particles:
    """The neurons of θ; traceable.

    Example:
        >>> import thetadot as td
        >>> problem = td.PopulationRisk(td.two_layer(2, 3, "relu"), td.ProductTarget(0, 1), td.GaussianInputs(2))
        >>> to_particles(problem, jnp.arange(9.0)).outgoing.tolist()
        [6.0, 7.0, 8.0]
    """
    network_of(problem)
    parts = problem.layout.split(as_vector(theta, problem.size, "theta"))
    return Particles(parts["layer2.weight"][0], parts["layer1.weight"])


def to_theta(problem: Problem, particles: Particles) -> Float[Array, " P"]:
    """θ (P,) of these neurons; inverse of `to_particles`.

    Raises:
        ParticleError: their number or dimension is not the network's.
    """
    network = network_of(problem)
    if particles.incoming.shape != (network.width, network.dimension):
        raise ParticleError(
            f"{particles.width} particles in dimension {particles.dimension}, the network has {network.width} neurons "
            f"in dimension {network.dimension}"
        )
    return jnp.concatenate([particles.incoming.ravel(), particles.outgoing])


def sample_particles(
    key: PRNGKeyArray,
    width: int,
    dimension: int,
    *,
    outgoing: str = "rademacher",
    incoming: str = "sphere",
    scheme: str = "independent",
) -> Particles:
    """A random cloud.

    Arguments:
        key: of the draw.
        width, dimension: m and d.
        outgoing: "rademacher" (±1) or "gaussian" (N(0, 1)).
        incoming: "sphere" (uniform on the unit sphere) or "gaussian" (N(0, I/d)).
        scheme: "independent"; "antithetic", (a, b) and then (−a, −b), so that f is odd; "doubled", (a, b) and then
            (−a, b), so that f = 0.

    Raises:
        ParticleError: an odd width with a scheme of pairs.

    Example:
        >>> cloud = sample_particles(jax.random.key(0), 4, 3, scheme="antithetic")
        >>> (cloud.incoming[:2] + cloud.incoming[2:]).tolist()
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    known_name(outgoing, ("rademacher", "gaussian"), "outgoing")
    known_name(incoming, ("sphere", "gaussian"), "incoming")
    known_name(scheme, SCHEMES, "scheme")
    if scheme != "independent" and width % 2:
        raise ParticleError(f"width is {width}: the scheme {scheme!r} draws pairs, choose an even width")
    count = width if scheme == "independent" else width // 2
    row_key, sign_key = jax.random.split(key)
    b = jax.random.normal(row_key, (count, dimension))
    b = b / (jnp.linalg.norm(b, axis=1, keepdims=True) if incoming == "sphere" else float(dimension) ** 0.5)
    if outgoing == "rademacher":
        a = jax.random.rademacher(sign_key, (count,), dtype=jnp.float64)
    else:
        a = jax.random.normal(sign_key, (count,))
    if scheme == "independent":
        return Particles(a, b)
    return Particles(jnp.concatenate([a, -a]), jnp.concatenate([b, -b if scheme == "antithetic" else b]))
