"""One step of a Radau IIA method: its equations solved in the eigenbasis of a symmetric Jacobian."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from thetadot.numerics.solvers.collocation import Collocation, lagrange

_NEWTON = 1e-2  # of the step's error tolerance
_NOISE = 0.05  # the same, where rounding stops Newton's iteration
_NEW = 1e-4  # relative length of the part of a change that counts as new; below it is rounding
_FAR = 1e-2  # distance, relative to ‖y‖, from which on a Hessian is renewed
_SLOW = 0.1  # contraction from which on it is renewed in the next step


class Field(NamedTuple):
    """The field as functions of the position in the step, from 0 to 1."""

    slopes: Callable[
        [Array, Array], tuple[Array, Array]
    ]  # positions (s,), states (s, n) → F (s, n), losses (s,)
    jacobian: Callable[[Array, Array], Array]  # position, state (n,) → (n, n)


class Eigenbasis(NamedTuple):
    """Eigenvectors and eigenvalues of the Jacobian at `anchor`; zeros before there is one."""

    vectors: Float[Any, "n n"]
    values: Float[Any, " n"]
    anchor: Float[Any, " n"]
    stale: Bool[Any, ""]


class LastStep(NamedTuple):
    """The collocation polynomial of the last accepted step: y at its start, and what it gained at the nodes."""

    start: Float[Any, " n"]
    field: Float[Any, " n"]
    moves: Float[Any, "s n"]
    slopes: Float[Any, "s n"]
    h: Float[Any, ""]  # 0 before there is one


class Solution(NamedTuple):
    """What a step found. `point_field`, `loss` belong to the last iterate of the end point, `last_move` leads from
    there to the end; `room` is by how much the step could be longer before it skips over an instability."""

    step: LastStep
    basis: Eigenbasis
    error: Float[Any, " n"]
    point_field: Float[Any, " n"]
    loss: Float[Any, ""]
    last_move: Float[Any, " n"]
    room: Float[Any, ""]
    converged: Bool[Any, ""]
    evaluations: Int[Any, ""]
    jacobians: Int[Any, ""]


class _Newton(NamedTuple):
    gains: Float[Any, "s n"]  # in the eigenbasis, as all that follows
    before: Float[Any, "s n"]
    residual: Float[Any, "s n"]
    moves: Float[Any, "m s n"]
    changes: Float[Any, "m s n"]
    last_move: Float[Any, " n"]
    point_field: Float[Any, " n"]
    loss: Float[Any, ""]
    size: Float[Any, ""]
    rate: Float[Any, ""]
    count: Int[Any, ""]
    converged: Bool[Any, ""]
    diverged: Bool[Any, ""]


class _Rounds(NamedTuple):
    going: Bool[Any, ""]
    failed: Bool[Any, ""]
    basis: Eigenbasis
    newton: _Newton
    renewals: Int[Any, ""]
    evaluations: Int[Any, ""]


def before_any_step(
    stages: int, y: Float[Array, " n"], field: Float[Array, " n"]
) -> tuple[Eigenbasis, LastStep]:
    """Eigenbasis and last step at the start of a run."""
    blank, zero = jnp.zeros((stages, y.size), y.dtype), jnp.zeros((), y.dtype)
    basis = Eigenbasis(jnp.zeros((y.size, y.size), y.dtype), jnp.zeros_like(y), y, jnp.asarray(True))
    return basis, LastStep(y, field, blank, blank, zero)


def solve(
    rule: Collocation,
    side: Field,
    y: Float[Array, " n"],
    field: Float[Array, " n"],
    h: Float[Array, ""],
    tolerance: Float[Array, " n"],
    basis: Eigenbasis,
    last: LastStep,
    most: int,
) -> Solution:
    """Solve Z = hA·F(y + Z) for the gains Z (s, n) of the stages over y, with at most `most` iterations.

    In the eigenbasis of J the simplified Newton matrix I − hA⊗J falls apart into one s×s matrix per eigenvalue.
    J belongs to the middle of the step as predicted: a stiff direction that turns by φ along the step makes an error
    hλφ² in the slow ones, and the middle halves φ. Anderson's acceleration takes care of what is left. A J that is
    not of this step is renewed when it is far away, and when the iteration fails: the step is then repeated at once.

    Source: Hairer & Wanner (1996), §IV.8, for the iteration, starting values and error estimate; the eigenbasis, its
        place and the acceleration are ours.
    """
    matrix, points = jnp.asarray(rule.matrix), rule.points
    ahead = lagrange(points, 1 + h / jnp.where(last.h > 0, last.h, jnp.inf) * jnp.asarray(rule.nodes))
    along = jnp.concatenate([jnp.zeros_like(y)[None], last.moves]) - last.moves[-1:]
    slopes = jnp.concatenate([last.field[None], last.slopes])
    relative = jnp.sqrt(jnp.mean(tolerance**2)) / jnp.maximum(jnp.sqrt(jnp.mean(y**2)), 1e-290)
    limit = jnp.minimum(0.5 / rule.gamma, (relative / rule.constant) ** (1 / (2 * rule.stages)))

    def predict(basis: Eigenbasis):
        """Gains of the linearised field, with what is nonlinear extrapolated from the last step."""
        resolvent = rule.resolvent(h * basis.values)
        nonlinear = slopes @ basis.vectors - (along @ basis.vectors) * basis.values[None]
        nonlinear = jnp.where(last.h > 0, ahead @ (nonlinear - nonlinear[-1:]), 0.0)
        forcing = (field @ basis.vectors)[None] + nonlinear
        return jnp.einsum("kij,jk->ik", resolvent, h * (matrix @ forcing)), resolvent

    def attempt(carry: _Rounds) -> _Rounds:
        basis, middle = carry.basis, rule.stages // 2
        there = y + basis.vectors @ predict(basis)[0][middle]
        there = jnp.where(jnp.all(jnp.isfinite(there)), there, y)
        near = jnp.linalg.norm(there - basis.anchor) <= _FAR * jnp.linalg.norm(basis.anchor)
        renew = carry.failed | basis.stale | ~near

        def renewed():
            values, vectors = jnp.linalg.eigh(side.jacobian(jnp.asarray(rule.nodes[middle]), there))
            return Eigenbasis(vectors, values, there, jnp.asarray(False))

        basis = jax.lax.cond(renew, renewed, lambda: basis)
        gains, resolvent = predict(basis)
        stable = h * jnp.max(basis.values) <= limit
        newton = _newton(side, rule, y, h, tolerance, basis, gains, resolvent, stable, most)
        return _Rounds(
            going=~renew & ~newton.converged, failed=jnp.asarray(True), basis=basis, newton=newton,
            renewals=carry.renewals + renew.astype(jnp.int64),
            evaluations=carry.evaluations + rule.stages * newton.count,
        )  # fmt: skip

    none, no = jnp.asarray(0, jnp.int64), jnp.asarray(False)
    start = _Rounds(~no, no, basis, _unsolved(jnp.zeros((rule.stages, y.size), y.dtype), most), none, none)
    done = jax.lax.while_loop(lambda carry: carry.going, attempt, start)
    basis, newton = done.basis, done.newton
    moves = newton.gains @ basis.vectors.T
    found = jnp.asarray(rule.inverse) @ moves / h
    # γh times the defect at the start, where the polynomial need not satisfy the equation, filtered as it decays.
    defect = (field - jnp.asarray(rule.initial) @ found) @ basis.vectors
    filtered = rule.gamma * h * defect / (1 - rule.gamma * h * basis.values)
    steepest = h * jnp.max(basis.values)
    return Solution(
        step=LastStep(y, field, moves, found, h),
        basis=basis._replace(stale=~newton.converged | (newton.rate > _SLOW)),
        error=basis.vectors @ filtered,
        point_field=basis.vectors @ newton.point_field,
        loss=newton.loss,
        last_move=basis.vectors @ newton.last_move,
        room=jnp.where(steepest > 0, limit / jnp.maximum(steepest, 1e-290), jnp.inf),
        converged=newton.converged & jnp.all(jnp.isfinite(moves)),
        evaluations=done.evaluations,
        jacobians=done.renewals,
    )


def _unsolved(gains: Float[Array, "s n"], most: int) -> _Newton:
    zero, no = jnp.zeros((), gains.dtype), jnp.asarray(False)
    blank, pairs = jnp.zeros_like(gains), jnp.zeros((most - 1, *gains.shape), gains.dtype)
    return _Newton(
        gains,
        blank,
        blank,
        pairs,
        pairs,
        blank[-1],
        blank[-1],
        zero,
        zero,
        zero,
        jnp.asarray(0, jnp.int64),
        no,
        no,
    )


def _newton(
    side: Field, rule: Collocation, y, h, tolerance, basis, gains, resolvent, stable, most
) -> _Newton:
    """The simplified Newton iteration with Anderson's acceleration: every change of the residual that was seen is
    kept, orthonormal, with the move that caused it, and what they explain of the next residual is taken off."""
    matrix, nodes = jnp.asarray(rule.matrix), jnp.asarray(rule.nodes)
    stiffness = h * jnp.max(jnp.abs(basis.values))
    noise = jnp.finfo(y.dtype).eps * (1 + stiffness) * jnp.sqrt(jnp.mean((y / tolerance) ** 2))

    def unfinished(state: _Newton):
        return stable & ~state.converged & ~state.diverged & (state.count < most)

    def iterate(state: _Newton):
        slopes, losses = side.slopes(nodes, y[None] + state.gains @ basis.vectors.T)
        slopes = slopes @ basis.vectors
        residual = jnp.einsum("kij,jk->ik", resolvent, h * (matrix @ slopes) - state.gains)
        size = jnp.sqrt(jnp.mean(((residual @ basis.vectors.T) / tolerance[None]) ** 2))

        change, move = residual - state.residual, state.gains - state.before
        seen = jnp.tensordot(state.changes, change, 2)
        move = move - jnp.tensordot(seen, state.moves, 1)
        whole, change = jnp.sum(change**2), change - jnp.tensordot(seen, state.changes, 1)
        length = jnp.sqrt(jnp.sum(change**2))
        new = (state.count > 0) & (length > _NEW * jnp.sqrt(whole))
        scale = jnp.where(new, 1 / jnp.where(new, length, 1.0), 0.0)
        slot = jnp.maximum(state.count - 1, 0)
        moves, changes = state.moves.at[slot].set(scale * move), state.changes.at[slot].set(scale * change)
        explained = jnp.tensordot(changes, residual, 2)
        gains = state.gains + residual - jnp.tensordot(explained, moves + changes, 1)

        first = state.count == 0
        rate = jnp.where(first, 0.0, size / jnp.where(first, 1.0, state.size))
        left = jnp.where(
            first, size, jnp.where(rate < 1, size * rate / (1 - jnp.minimum(rate, 0.999)), jnp.inf)
        )
        at_noise = size <= jnp.minimum(noise, _NOISE)
        converged = (left <= _NEWTON) | (at_noise & (rate > 0.5))
        diverged = ~jnp.isfinite(size) | ((rate > 2) & ~at_noise)
        return _Newton(
            gains, state.gains, residual, moves, changes, gains[-1] - state.gains[-1], slopes[-1], losses[-1],
            size, rate, state.count + 1, converged, diverged,
        )  # fmt: skip

    return jax.lax.while_loop(unfinished, iterate, _unsolved(gains, most))
