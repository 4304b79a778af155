"""Orbits with frames, in blocks: push a frame along, make it orthonormal again, keep the triangle.

A block is `every` units long (steps of a map, time of a flow). The compiled loop is the same whatever the number and
the length of the blocks, so that a stretch computed again gives the same bits.
"""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from thetadot.dynamics import StepMap
from thetadot.stability.frames import orthonormalise, zeros_on_diagonal
from thetadot.stability.tangent import push

_WORST_RATIO = 1e-8
_ROOM = 2**18
_MOST_ROWS = 1024
_MOST_FRAMES = 1024


class Carry(NamedTuple):
    """Where a computation stands: state (d,), orthonormal frame in rows (k, d), and the mover's clock (the number of
    steps made, or the step size to try next)."""

    state: Array
    basis: Array
    clock: Array


class Rows(NamedTuple):
    """What blocks leave behind, one row each: logs (B, k) of R_ii, and where frames are kept the triangles
    (B, k, k), and the frame (B, k, d), state (B, d) and clock (B,) before the block."""

    logs: np.ndarray
    triangles: np.ndarray | None = None
    frames: np.ndarray | None = None
    states: np.ndarray | None = None
    clocks: np.ndarray | None = None


class Advance(NamedTuple):
    """What `advance` returns: the carry after the last good block, its rows, how many blocks were good (fewer than
    asked if the state left the finite numbers), and how many were redone in pieces."""

    carry: Carry
    rows: Rows
    good: int
    redone: int
    solver_steps: int


class MapMover(eqx.Module):
    """Moves a state and a frame by steps of a map; the clock counts them.

    Attributes:
        system: the map.
        dense: whether T is applied as a matrix.
    """

    system: StepMap
    dense: bool = eqx.field(static=True)

    @property
    def floor(self) -> float:
        """The size that T certainly has: 1 for training maps, whose T is the identity and a correction."""
        return 0.0 if self.system.problem is None else 1.0

    def clock(self) -> Int[Array, ""]:
        """At the start."""
        return jnp.zeros((), jnp.int32)

    def pieces(self, length: float) -> tuple[int, int]:
        """Into how many pieces a block is cut when it is redone, and their length."""
        return int(length), 1

    def move(self, carry: Carry, length: Array) -> tuple[Carry, Array]:
        """On by `length` steps; no solver steps."""

        def one(_, now: Carry) -> Carry:
            state, rows = push(self.system, self.dense, now.state, now.basis, now.clock)
            return Carry(state, rows, now.clock + 1)

        return jax.lax.fori_loop(0, length, one, carry), jnp.zeros((), jnp.int32)


class _Loop(NamedTuple):
    carry: Carry
    rows: tuple[Array, ...]
    done: Array
    bad: Array
    unsafe: Array
    spent: Array


@eqx.filter_jit
def _run(mover: Any, carry: Carry, length: Array, count: Array, whole: Array, room: int, keep: bool) -> _Loop:
    """Blocks until `count`, a state that is not finite, or (if `whole`) a triangle that has lost trailing entries."""
    k, d = carry.basis.shape
    rows: tuple = (jnp.zeros((room, k)),)
    if keep:
        frames, states = jnp.zeros((room, k, d)), jnp.zeros((room, d))
        rows += (jnp.zeros((room, k, k)), frames, states, jnp.zeros((room,), carry.clock.dtype))

    def one(loop: _Loop) -> _Loop:
        now = loop.carry
        moved, spent = mover.move(now, length)
        q, r = orthonormalise(moved.basis)
        diagonal = jnp.diagonal(r)
        largest = jnp.maximum(jnp.max(diagonal), mover.floor)
        safe = (jnp.min(diagonal) > _WORST_RATIO * largest) & (largest < 1e150) & (largest > 1e-150)
        finite = jnp.all(jnp.isfinite(moved.state))
        unsafe = whole & finite & ~safe
        zero = zeros_on_diagonal(diagonal, d, mover.floor)
        logs = jnp.where(zero, -jnp.inf, jnp.log(jnp.where(zero, 1.0, diagonal)))
        bad = ~unsafe & ~(finite & (jnp.max(logs) < jnp.inf))
        values = (logs, r, now.basis, now.state, now.clock)[: len(loop.rows)]
        rows = tuple(buffer.at[loop.done].set(value) for buffer, value in zip(loop.rows, values, strict=True))
        good = ~unsafe & ~bad
        after = jax.tree.map(lambda new, old: jnp.where(good, new, old), moved._replace(basis=q), now)
        return _Loop(after, rows, loop.done + good.astype(loop.done.dtype), bad, unsafe, loop.spent + spent)

    zero, no = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    return jax.lax.while_loop(
        lambda loop: (loop.done < count) & ~loop.bad & ~loop.unsafe,
        one,
        _Loop(carry, rows, zero, no, no, zero),
    )


def room_for(k: int, d: int, keep: bool) -> int:
    """Blocks that one compiled call holds; of the sizes alone, so that bits cannot depend on anything else."""
    if keep:
        return max(1, min(_MOST_FRAMES, _ROOM // (k * d + k * k + d)))
    return max(1, min(_MOST_ROWS, _ROOM // k))


def advance(
    mover: Any, carry: Carry, length: float | int, count: int, keep: bool = False, room: int | None = None
) -> Advance:
    """On by `count` blocks of `length` units, at most until the state stops being finite.

    A block whose triangle has lost trailing entries to rounding is done once more, in pieces: a rule of the data alone.
    """
    if not isinstance(mover, eqx.Module):
        return mover.advance(carry, length, count, keep)
    k, d = carry.basis.shape
    size = room_for(k, d, keep) if room is None else room
    kind = jnp.int32 if isinstance(mover, MapMover) else jnp.float64

    def run(carry: Carry, length: float | int, wanted: int, whole: bool) -> _Loop:
        unit, amount = jnp.asarray(length, kind), jnp.asarray(min(size, wanted), jnp.int32)
        return _run(mover, carry, unit, amount, jnp.asarray(whole), size, keep)

    pieces, piece = mover.pieces(length)  # pyright: ignore[reportAttributeAccessIssue]
    parts: list[tuple] = []
    good = redone = spent = 0
    while good < count:
        loop = run(carry, length, count - good, pieces > 1)
        made = int(loop.done)
        parts.append(_made(loop, made, size))
        good, spent, carry = good + made, spent + int(loop.spent), loop.carry
        if bool(loop.bad):
            break
        if bool(loop.unsafe):
            before, rows, left = carry, [], pieces
            while left > 0 and not bool(loop.bad):
                loop = run(carry, piece, left, False)
                rows.append(_made(loop, int(loop.done), size))
                left, spent, carry = left - int(loop.done), spent + int(loop.spent), loop.carry
            redone += 1
            if bool(loop.bad):
                carry = before
                break
            parts.append(_as_one(rows, before))
            good += 1
    return Advance(carry, joined(parts), good, redone, spent)


def _made(loop: _Loop, made: int, size: int) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(buffer[:made] if made < size else buffer) for buffer in loop.rows)


def _as_one(parts: list[tuple], before: Carry) -> tuple[np.ndarray, ...]:
    """Rows of the pieces of a block as one row."""
    rows = joined(parts)
    logs = rows.logs.sum(axis=0)[None]
    if rows.triangles is None:
        return (logs,)
    total = functools.reduce(lambda product, triangle: triangle @ product, rows.triangles)
    return (
        logs,
        total[None],
        *(np.asarray(part)[None] for part in (before.basis, before.state, before.clock)),
    )


def joined(parts: list[tuple]) -> Rows:
    """Rows of consecutive calls as one."""
    if not parts:
        return Rows(np.zeros((0, 0)))
    columns = [np.concatenate(column) if len(parts) > 1 else column[0] for column in zip(*parts, strict=True)]
    return Rows(*columns)
