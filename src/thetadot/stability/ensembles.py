"""Many starts of one map at once: where they are after n steps, and how frames grow along them.

Steps of fixed size have no lock-step waste, so members go through one vectorised loop, in batches that fit in cache.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.dynamics import StepMap
from thetadot.stability.frames import orthonormalise
from thetadot.stability.ginelli import end_matrices, undo
from thetadot.stability.tangent import push

_BATCH_NUMBERS = 2**18


def batches(rows: int, numbers: int) -> list[slice]:
    """Slices of equal length that cover the rows, each of about 2¹⁸ numbers."""
    size = max(1, min(rows, _BATCH_NUMBERS // numbers))
    size = -(-rows // (-(-rows // size)))
    return [slice(begin, begin + size) for begin in range(0, rows, size)]


def padded(rows: np.ndarray, size: int) -> np.ndarray:
    """Rows filled up to `size` with copies of the first."""
    return (
        rows if len(rows) == size else np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])
    )


@eqx.filter_jit
def _later(system: StepMap, states: Float[Array, "R d"], first: Array, steps: Array) -> Array:
    def one(i, states):
        return jax.vmap(lambda state: system(state, first + i))(states)

    return jax.lax.fori_loop(0, steps, one, states)


def later(
    system: StepMap, states: Float[np.ndarray, "R d"], first: int, steps: int
) -> Float[np.ndarray, "R d"]:
    """States `steps` steps after step number `first`."""
    parts = batches(len(states), states.shape[1])
    size = parts[0].stop - parts[0].start
    number, amount = jnp.asarray(first, jnp.int32), jnp.asarray(steps, jnp.int32)
    out = []
    for part in parts:
        given = states[part]
        out.append(np.asarray(_later(system, jnp.asarray(padded(given, size)), number, amount))[: len(given)])
    return np.concatenate(out)


@eqx.filter_jit
def _grown(system: StepMap, states: Array, frames: Array, first: Array, steps: Array):
    def one(i, carry):
        states, frames, logs = carry

        def member(state, frame):
            state, rows = push(system, False, state, frame, first + i)
            q, r = orthonormalise(rows)
            return state, q, jnp.log(jnp.diagonal(r))

        states, frames, more = jax.vmap(member)(states, frames)
        return states, frames, logs + more

    return jax.lax.fori_loop(0, steps, one, (states, frames, jnp.zeros(frames.shape[:2])))


def mean_growth(
    system: StepMap, states: Float[np.ndarray, "R d"], windows: Sequence[int], count: int, key: PRNGKeyArray
) -> tuple[Float[np.ndarray, "R W k"], Float[np.ndarray, "R W d"]]:
    """Orthogonal finite-time exponents over the first steps, one per window, and the states at their ends."""
    rows, size = states.shape
    parts = batches(rows, count * size)
    width = parts[0].stop - parts[0].start
    rates, ends = np.empty((rows, len(windows), count)), np.empty((rows, len(windows), size))
    frames = _frames(rows, size, count, key)
    for part in parts:
        amount = len(states[part])
        at = jnp.asarray(padded(states[part], width))
        frame = jnp.asarray(padded(frames[part], width))
        total, first = 0.0, 0
        for number, window in enumerate(windows):
            at, frame, logs = _grown(
                system, at, frame, jnp.asarray(first, jnp.int32), jnp.asarray(window - first, jnp.int32)
            )
            total, first = total + np.asarray(logs), window
            rates[part, number] = (total / window)[:amount]
            ends[part, number] = np.asarray(at)[:amount]
    return rates, ends


def _frames(rows: int, size: int, count: int, key: PRNGKeyArray) -> Float[np.ndarray, "R k d"]:
    draw = np.asarray(jax.random.normal(jax.random.fold_in(key, 7), (rows, size, count)))
    return np.swapaxes(np.linalg.qr(draw)[0], 1, 2)


@eqx.filter_jit
def _triangles(system: StepMap, states: Array, frames: Array, numbers: Array) -> Array:
    def one(carry, n):
        def member(state, frame):
            state, rows = push(system, False, state, frame, n)
            q, r = orthonormalise(rows)
            return (state, q), r

        return jax.vmap(member)(*carry)

    return jax.lax.scan(one, (states, frames), numbers)[1]


@jax.jit
def _undone(triangles: Any, ends: Array) -> Array:
    amount = triangles.shape[1]
    whole = jnp.asarray(amount, jnp.int32), jnp.asarray(triangles.shape[2], jnp.int32)
    return jax.vmap(lambda rows: undo(rows, ends, *whole)[1].logs)(triangles)


def covariant_growth(
    system: StepMap, states: Float[np.ndarray, "R d"], window: int, count: int, key: PRNGKeyArray
) -> Float[np.ndarray, "R k"]:
    """Mean growth of covariant vectors over the middle half of the first `window` steps; the first quarter is their
    past, the last their future."""
    rows, size = states.shape
    parts = batches(rows, window * count * count + count * size)
    width = parts[0].stop - parts[0].start
    frames, ends = _frames(rows, size, count, key), end_matrices(count, key)
    inside = slice(window // 4, window - window // 4)
    out = []
    for part in parts:
        at, frame = padded(states[part], width), padded(frames[part], width)
        r = _triangles(system, jnp.asarray(at), jnp.asarray(frame), jnp.arange(window, dtype=jnp.int32))
        logs = np.asarray(_undone(jnp.swapaxes(r, 0, 1), ends))
        out.append(logs[: len(states[part]), inside].mean(axis=1))
    return np.concatenate(out)
