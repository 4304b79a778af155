"""Orbits with frames, in blocks: push a frame along, make it orthonormal again, keep the triangle.

A block is `every` units long (steps of a map, time of a flow). The compiled loop is the same whatever the number and
the length of the blocks, so that a stretch computed again gives the same bits.
"""

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
_MOST_ROWS = 4096
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

    def pieces(self, length: Array) -> tuple[Array, Array]:
        """Into how many pieces a block is cut when it is redone, and their length."""
        return length, jnp.ones_like(length)

    def move(self, carry: Carry, length: Array) -> tuple[Carry, Array]:
        """On by `length` steps; no solver steps."""

        def one(_, now: Carry) -> Carry:
            state, rows = push(self.system, self.dense, now.state, now.basis, now.clock)
            return Carry(state, rows, now.clock + 1)

        return jax.lax.fori_loop(0, length, one, carry), jnp.zeros((), jnp.int32)


class _Part(NamedTuple):
    """A block in the making: carry, triangle and logs so far, pieces left to do, length of a piece, whether the whole
    block was tried in vain, solver steps."""

    carry: Carry
    triangle: Array
    logs: Array
    left: Array
    piece: Array
    again: Array
    spent: Array


def _block(mover: Any, carry: Carry, length: Array, keep: bool) -> _Part:
    """One block; if its triangle has lost trailing entries to rounding, once more in pieces.

    Both ways are one loop, so that the tangent of a step is compiled once.
    """
    size, k = carry.state.size, carry.basis.shape[0]
    amount, small = mover.pieces(length)

    def one(part: _Part) -> _Part:
        moved, spent = mover.move(part.carry, part.piece)
        q, r = orthonormalise(moved.basis)
        diagonal = jnp.diagonal(r)
        largest = jnp.maximum(jnp.max(diagonal), mover.floor)
        safe = (jnp.min(diagonal) > _WORST_RATIO * largest) & (largest < 1e150) & (largest > 1e-150)
        redo = (amount > 1) & ~part.again & ~safe & jnp.all(jnp.isfinite(moved.state))
        zero = zeros_on_diagonal(diagonal, size, mover.floor)
        logs = jnp.where(zero, -jnp.inf, jnp.log(jnp.where(zero, 1.0, diagonal)))
        triangle = part.triangle
        if keep:
            triangle = jax.lax.cond(part.again, lambda a, b: a @ b, lambda a, b: a, r, part.triangle)
        done = _Part(
            moved._replace(basis=q), triangle, part.logs + logs, part.left - 1, part.piece, part.again, spent
        )
        anew = _Part(carry, jnp.eye(k), jnp.zeros(k), amount, small, jnp.ones((), bool), spent)
        chosen = jax.tree.map(lambda a, b: jnp.where(redo, a, b), anew, done)
        return chosen._replace(spent=part.spent + spent)

    zero = jnp.zeros((), jnp.int32)
    start = _Part(carry, jnp.eye(k), jnp.zeros(k), jnp.ones_like(amount), length, jnp.zeros((), bool), zero)
    return jax.lax.while_loop(lambda part: part.left > 0, one, start)


class _Loop(NamedTuple):
    carry: Carry
    rows: Any
    done: Array
    bad: Array
    redone: Array
    spent: Array


@eqx.filter_jit
def _run(mover: Any, carry: Carry, length: Array, count: Array, room: int, keep: bool) -> _Loop:
    k, d = carry.basis.shape
    rows: tuple = (jnp.zeros((room, k)),)
    if keep:
        rows += (
            jnp.zeros((room, k, k)),
            jnp.zeros((room, k, d)),
            jnp.zeros((room, d)),
            jnp.zeros((room,), carry.clock.dtype),
        )

    def one(loop: _Loop) -> _Loop:
        now = loop.carry
        part = _block(mover, now, length, keep)
        after, logs = part.carry, part.logs
        values = (logs, part.triangle, now.basis, now.state, now.clock)[: len(loop.rows)]
        rows = tuple(buffer.at[loop.done].set(value) for buffer, value in zip(loop.rows, values, strict=True))
        finite = jnp.all(jnp.isfinite(after.state)) & ~jnp.any(jnp.isnan(logs)) & ~jnp.any(logs == jnp.inf)
        chosen = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, now)
        return _Loop(
            chosen,
            rows,
            loop.done + finite.astype(loop.done.dtype),
            ~finite,
            loop.redone + part.again.astype(loop.redone.dtype),
            loop.spent + part.spent,
        )

    zero = jnp.zeros((), jnp.int32)
    start = _Loop(carry, rows, zero, jnp.zeros((), bool), zero, zero)
    return jax.lax.while_loop(lambda loop: (loop.done < count) & ~loop.bad, one, start)


def room_for(k: int, d: int, keep: bool) -> int:
    """Blocks that one compiled call holds; of the sizes alone, so that bits cannot depend on anything else."""
    if keep:
        return max(1, min(_MOST_FRAMES, _ROOM // (k * d + k * k + d)))
    return max(1, min(_MOST_ROWS, _ROOM // k))


def advance(
    mover: Any, carry: Carry, length: float | int, count: int, keep: bool = False, room: int | None = None
) -> Advance:
    """On by `count` blocks of `length` units, at most until the state stops being finite."""
    if not isinstance(mover, eqx.Module):
        return mover.advance(carry, length, count, keep)
    size = room_for(*carry.basis.shape, keep) if room is None else room
    unit = jnp.asarray(length, jnp.int32 if isinstance(mover, MapMover) else jnp.float64)
    parts: list[tuple] = []
    good = redone = spent = 0
    while good < count:
        wanted = min(size, count - good)
        loop = _run(mover, carry, unit, jnp.asarray(wanted, jnp.int32), size, keep)
        made = int(loop.done)
        parts.append(tuple(np.asarray(buffer[:made] if made < size else buffer) for buffer in loop.rows))
        good, redone, spent = good + made, redone + int(loop.redone), spent + int(loop.spent)
        carry = loop.carry
        if bool(loop.bad):
            break
    return Advance(carry, joined(parts, keep), good, redone, spent)


def joined(parts: list[tuple], keep: bool) -> Rows:
    """Rows of consecutive calls as one."""
    if not parts:
        return Rows(np.zeros((0, 0)))
    columns = [np.concatenate(column) if len(parts) > 1 else column[0] for column in zip(*parts, strict=True)]
    return Rows(*columns)
