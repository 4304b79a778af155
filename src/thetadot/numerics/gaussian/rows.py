"""Rows of vectors: their lengths and directions, and functions of rows taken block by block."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def lengths_and_directions(u: Float[Array, "m d"]) -> tuple[Float[Array, " m"], Float[Array, "m d"]]:
    """(|u|, u/|u|) of each row; a row of zeros has direction 0, and its length has slope 0."""
    square = jnp.sum(u * u, axis=1)
    some = square > 0
    length = jnp.where(some, jnp.sqrt(jnp.where(some, square, 1.0)), 0.0)
    return length, u / jnp.where(some, length, 1.0)[:, None]


def by_blocks(function: Callable, u: Float[Array, "m d"], block: int) -> Any:
    """function(u), for a function that maps rows to rows, at most `block` rows at a time to bound the memory."""
    count, dimension = u.shape
    if count <= block:
        return function(u)
    blocks = -(-count // block)
    filled = jnp.concatenate([u, jnp.zeros((blocks * block - count, dimension))])
    parts = jax.lax.map(function, filled.reshape(blocks, block, dimension))
    return jax.tree.map(lambda part: part.reshape(blocks * block, *part.shape[2:])[:count], parts)
