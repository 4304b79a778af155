"""The Hessian of any problem, column by column within a stated amount of memory."""

import logging
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

if TYPE_CHECKING:
    from thetadot.problems.problem import Problem

WORKING_MEMORY = 2**29
"""Bytes that a Hessian may use beside its own P² · 8: half a gibibyte."""

_log = logging.getLogger("thetadot.problems")


def _bytes_of(function, argument) -> int:
    """An upper bound on the bytes of the intermediate results of one call."""
    jaxpr = jax.make_jaxpr(function)(argument).jaxpr
    return sum(math.prod(var.aval.shape) * 8 for equation in jaxpr.eqns for var in equation.outvars)


def hessian_by_columns(
    problem: "Problem", theta: Float[Array, " P"], *, memory: int = WORKING_MEMORY
) -> Float[Array, "P P"]:
    """∇²L(θ) of any problem: Hessian-vector products of unit vectors, as many at once as `memory` bytes
    allow.

    The same numbers as `jax.hessian`, which does all columns at once. Traceable. The number of columns per
    chunk is logged when it is below P.

    Arguments:
        problem: any problem.
        theta: parameters (P,).
        memory: bytes that the intermediate results of one chunk may take.
    """
    size = theta.size
    push = jax.linearize(lambda point: problem.value_and_grad(point)[1], theta)[1]
    chunk = max(1, min(size, memory // max(1, _bytes_of(push, theta))))
    if chunk < size:
        _log.info(
            "Hessian of %s: %d of %d columns at a time (memory cap %d MiB)",
            problem.description,
            chunk,
            size,
            memory // 2**20,
        )
    columns = (
        jax.lax.map(push, jnp.eye(size), batch_size=chunk) if chunk < size else jax.vmap(push)(jnp.eye(size))
    )
    return 0.5 * (columns + columns.T)
