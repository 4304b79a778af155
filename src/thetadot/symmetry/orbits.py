"""Clouds of neurons under a group: making them symmetric, and how far they are from it."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from thetadot.problems import Problem
from thetadot.problems.checks import Numbers, as_float64
from thetadot.symmetry.errors import ParticleError
from thetadot.symmetry.groups import SymmetryGroup
from thetadot.symmetry.inner import mean_square
from thetadot.symmetry.particles import Particles, network_of, to_particles

_MOST_MATCHED = 2000


def symmetrize(particles: Particles, group: SymmetryGroup) -> Particles:
    """G·m particles: block g holds (χ_g a, T_g b); the first block is the given cloud.

    Example:
        >>> from thetadot.symmetry import generate_group
        >>> flip = generate_group([[[-1.0]]], [-1.0])
        >>> symmetrize(Particles(jnp.array([2.0]), jnp.array([[3.0]])), flip).incoming.tolist()
        [[3.0], [-3.0]]
    """
    if group.matrices.shape[1] != particles.dimension:
        raise ParticleError(
            f"the group acts on dimension {group.matrices.shape[1]}, the particles have dimension {particles.dimension}"
        )
    signs, matrices = jnp.asarray(group.signs), jnp.asarray(group.matrices)
    outgoing = signs[:, None] * particles.outgoing[None, :]
    incoming = jnp.einsum("gij,mj->gmi", matrices, particles.incoming)
    return Particles(outgoing.ravel(), incoming.reshape(-1, particles.dimension))


def orbit_residual(particles: Particles, group: SymmetryGroup) -> float:
    """max|difference| between each block and the transported first block, for clouds in the order of `symmetrize`.

    Raises:
        ParticleError: the width is no multiple of the group's order.
    """
    if particles.width % group.order:
        raise ParticleError(
            f"{particles.width} particles are no whole number of orbits of a group of order {group.order}: start from "
            "symmetrize(particles, group)"
        )
    count = particles.width // group.order
    whole = symmetrize(Particles(particles.outgoing[:count], particles.incoming[:count]), group)
    gaps = (jnp.abs(whole.outgoing - particles.outgoing), jnp.abs(whole.incoming - particles.incoming))
    return max(float(jnp.max(gap)) for gap in gaps)


def matching_residual(particles: Particles, matrix: Numbers, sign: float = 1.0) -> float:
    """max|difference| of the transported cloud (sa, Tb) from the cloud itself, by the best assignment; width ≤ 2000."""
    if particles.width > _MOST_MATCHED:
        raise ParticleError(
            f"{particles.width} particles: the assignment is solved up to {_MOST_MATCHED}; use orbit_residual for "
            "clouds made by symmetrize, or symmetry_defect"
        )
    t = np.asarray(as_float64(matrix, "matrix"))
    a, b = np.asarray(particles.outgoing), np.asarray(particles.incoming)
    here = np.column_stack([a, b])
    there = np.column_stack([sign * a, b @ t.T])
    rows, columns = linear_sum_assignment(cdist(there, here, "sqeuclidean"))
    return float(np.abs(there[rows] - here[columns]).max())


def symmetry_defect(
    problem: Problem, theta: Float[Array | np.ndarray, " P"], matrix: Numbers, sign: float = 1.0
) -> float:
    """E[(f(Tx) − s f(x))²], exact; its rounding floor is about 1e-16·E[f²]."""
    particles = to_particles(problem, jnp.asarray(theta))
    t = as_float64(matrix, "matrix")
    weights = network_of(problem).chain.output_scale * particles.outgoing
    rows = jnp.concatenate([particles.incoming @ t, particles.incoming])
    return mean_square(problem, jnp.concatenate([weights, -sign * weights]), rows)
