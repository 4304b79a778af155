"""How neurons lie towards a subspace: their mass, and their angles to it, by the sign of their outgoing weight."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.symmetry.errors import ParticleError
from thetadot.symmetry.particles import Particles


class Alignment(eqx.Module):
    """Weighted readouts of a cloud, each (2,): entry 0 for positive outgoing weights, entry 1 for negative ones.

    Attributes:
        mass: Σ|a||b|/m.
        mean_sine_squared: ⟨sin²θ⟩ with weights |a||b|, θ the angle to the subspace.
        distance_to_subspace: √⟨θ²⟩.
        distance_to_complement: √⟨(π/2 − θ)²⟩.

    A sign without mass has NaN angles.
    """

    mass: Array
    mean_sine_squared: Array
    distance_to_subspace: Array
    distance_to_complement: Array

    @property
    def table(self) -> Float[Array, "4 2"]:
        """All four readouts as one array, the form in which `flow` records observables."""
        return jnp.stack(
            [self.mass, self.mean_sine_squared, self.distance_to_subspace, self.distance_to_complement]
        )

    def __str__(self) -> str:
        texts = []
        for column, sign in enumerate("+−"):
            mass, sine = float(self.mass[column]), float(self.mean_sine_squared[column])
            tilt = "no mass, so no angles" if np.isnan(sine) else f"mean sin² to the subspace {sine:.3g}"
            texts.append(f"{sign}: mass {mass:.4g}, {tilt}")
        return "; ".join(texts)


def weighted_angles(weights: Float[Array, "2 n"], angles: Float[Array, " n"]) -> Alignment:
    """Readouts of angles to the subspace with non-negative weights per sign."""
    mass = weights.sum(axis=1)
    some = mass > 0

    def mean(values: Array) -> Array:
        return jnp.where(some, (weights @ values) / jnp.where(some, mass, 1.0), jnp.nan)

    return Alignment(
        mass, mean(jnp.sin(angles) ** 2), jnp.sqrt(mean(angles**2)), jnp.sqrt(mean((np.pi / 2 - angles) ** 2))
    )


def alignment(particles: Particles, basis: Float[Array | np.ndarray, "d k"]) -> Alignment:
    """How neurons lie towards the span of an orthonormal basis; traceable.

    In `flow`, which records arrays: observe={"alignment": lambda theta, problem:
    alignment(to_particles(problem, theta), basis).table}.

    Example:
        >>> cloud = Particles(jnp.array([1.0, -1.0]), jnp.array([[2.0, 0.0], [0.0, 1.0]]))
        >>> print(alignment(cloud, jnp.array([[1.0], [0.0]])))
        +: mass 1, mean sin² to the subspace 0; −: mass 0.5, mean sin² to the subspace 1
    """
    basis = jnp.asarray(basis)
    if basis.shape[0] != particles.dimension:
        raise ParticleError(
            f"basis has shape {basis.shape}, the particles have dimension {particles.dimension}"
        )
    along = particles.incoming @ basis
    across = particles.incoming - along @ basis.T
    inside, outside = (jnp.sqrt(jnp.sum(part**2, axis=1)) for part in (along, across))
    size = jnp.abs(particles.outgoing) * jnp.sqrt(jnp.sum(particles.incoming**2, axis=1)) / particles.width
    signs = jnp.stack([particles.outgoing > 0, particles.outgoing < 0])
    return weighted_angles(jnp.where(signs, size[None, :], 0.0), jnp.arctan2(outside, inside))
