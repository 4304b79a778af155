"""A diffrax term as the flat field that our methods step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, Float


class FlatTerm(NamedTuple):
    """The state at t0 as a vector, the way back to the pytree, and the field at a vector and a time after t0."""

    y: Float[Array, " n"]
    unravel: Callable[[Float[Array, " n"]], Any]
    field: Callable[[Float[Array, " n"], Any], Float[Array, " n"]]


def flat_term(terms: diffrax.AbstractTerm, t0: Any, y0: Any, args: Any) -> FlatTerm:
    """The term at t0 as a flat field; of a term wrapped to run backwards, in the wrapped time."""
    y, unravel = jax.flatten_util.ravel_pytree(y0)
    start = jnp.asarray(t0)
    unit = terms.contr(jnp.zeros_like(start), jnp.ones_like(start))

    def field(flat, elapsed):
        rate = terms.vf_prod(start + elapsed, unravel(flat), args, unit)
        return jax.flatten_util.ravel_pytree(rate)[0]

    return FlatTerm(y, unravel, field)
