"""The Hessian of any problem, column by column within a stated amount of memory."""

import logging
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jaxtyping import Array, Float

from thetadot.problems.errors import HessianTooLargeError

if TYPE_CHECKING:
    from thetadot.problems.problem import Problem

WORKING_MEMORY = 2**27
"""Bytes that a Hessian may use beside its own P² · 8: 128 MiB. More is slower on CPUs, whose caches it leaves."""

LARGEST_HESSIAN = 2**34
"""Bytes of the largest Hessian that is formed: 16 GiB, or 46340 parameters."""

_log = logging.getLogger("thetadot.problems")


def require_size(size: int) -> None:
    """Raise `HessianTooLargeError` if a Hessian of P = `size` parameters would not fit in `LARGEST_HESSIAN`."""
    if 8 * size**2 > LARGEST_HESSIAN:
        raise HessianTooLargeError(
            f"the Hessian of {size} parameters takes {8 * size**2 / 2**30:.0f} GiB, more than the "
            f"{LARGEST_HESSIAN // 2**30} GiB allowed: use hvp or linearize, which never form it"
        )


def _bytes_of(function, argument) -> int:
    """An upper bound on the bytes of the intermediate results of one call: their sum."""
    return 8 * _numbers_in(jax.make_jaxpr(function)(argument).jaxpr)


def _numbers_in(program: jex.Jaxpr) -> int:
    total = 0
    for equation in program.eqns:
        inner: list[Any] = [
            getattr(part, "jaxpr", part)
            for parameter in equation.params.values()
            for part in (parameter if isinstance(parameter, (tuple, list)) else (parameter,))
            if isinstance(part, (jex.Jaxpr, jex.ClosedJaxpr))
        ]
        total += sum(math.prod(getattr(result.aval, "shape", ())) for result in equation.outvars)
        total += sum(_numbers_in(part) for part in inner)
    return total


def hessian_by_columns(
    problem: "Problem", theta: Float[Array, " P"], *, memory: int = WORKING_MEMORY
) -> Float[Array, "P P"]:
    """∇²L(θ) of any problem by products with unit vectors, as many at once as fit in `memory` bytes.

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
