"""Exact inner products of network functions under the law of the inputs."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from thetadot.numerics.gaussian import hermite_kernel
from thetadot.problems import EmpiricalRisk, PopulationRisk, Problem
from thetadot.problems.expectations import closed_field
from thetadot.symmetry.errors import SymmetryError
from thetadot.symmetry.particles import network_of


@jax.jit
def _closed_square(problem: PopulationRisk, weights: Array, rows: Array) -> Array:
    return weights @ closed_field(rows, rows, weights, problem.network.activation, problem.inputs)[0]


@jax.jit
def _sample_square(problem: EmpiricalRisk, weights: Array, rows: Array) -> Array:
    values = problem.network.activation(problem.x @ rows.T) @ weights
    return jnp.mean(values**2)


def mean_square(problem: Problem, weights: Float[Array, " n"], rows: Float[Array, "n d"]) -> float:
    """E[(Σ_j weights_jσ(rows_j·x))²]: exact for population risks, over the samples for empirical ones.

    A difference of large terms: its rounding floor is about 1e-16 of Σ|weights|²K.
    """
    network_of(problem)
    if isinstance(problem, EmpiricalRisk):
        return float(_sample_square(problem, weights, rows))
    if not isinstance(problem, PopulationRisk) or problem.method == "cubature":
        raise SymmetryError(
            "expectations of products of neurons are known for closed and series population risks, and over samples"
        )
    if problem.method == "closed":
        return float(_closed_square(problem, weights, rows))
    white = problem.inputs.whiten(rows)
    values, _ = hermite_kernel(problem.network.activation, white, white, order=problem.order or 64)
    return float(weights @ (values @ weights))
