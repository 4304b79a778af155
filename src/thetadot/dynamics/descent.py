"""The compiled chunk of a descent: many steps of a learning rule, with rows and events, in one call.

Everything a step depends on is in the position, so the numbers do not depend on where a chunk ends: budget,
progress and resuming are one mechanism. A rule that sees L and ∇L at θ is evaluated after each step, so
that rows and end conditions cost no further gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from thetadot.dynamics.draws import Draw
from thetadot.dynamics.engine import crossed
from thetadot.dynamics.rules import Rule
from thetadot.problems import Problem


class Program(eqx.Module):
    """What is compiled: problem and rule, and the user's functions of (theta, problem)."""

    problem: Problem
    rule: Rule
    draw: Draw | None
    observe: tuple[tuple[str, Callable], ...]
    events: tuple[tuple[Callable, str, int], ...]  # (fn, kind, wanted direction)
    rows: int = eqx.field(static=True)
    keeps_loss: bool = eqx.field(
        static=True
    )  # L(θ) at every step costs a noticeable part of a small gradient

    def theta(self, state: Float[Array, " d"]) -> Float[Array, " P"]:
        """The parameters of a state."""
        return state[: self.problem.size]

    def event_values(self, state: Float[Array, " d"]) -> Float[Array, " events"]:
        """Each event's function."""
        theta = self.theta(state)
        values = [jnp.asarray(fn(theta, self.problem), state.dtype).reshape(()) for fn, _, _ in self.events]
        return jnp.stack(values) if values else jnp.zeros((0,), state.dtype)

    @property
    def has_extrema(self) -> bool:
        """Whether an event is a minimum or a maximum, which is seen one step late."""
        return any(kind != "zero" for _, kind, _ in self.events)


class Position(NamedTuple):
    """The whole state of a descent after n steps."""

    state: Float[Array, " d"]
    n: Int[Array, ""]
    loss: Float[Array, ""]  # L(θ) if the program keeps it, else infinite
    gradient: Float[Array, " P_or_0"]  # ∇L(θ) if the rule sees it, else nothing
    trigger: Float[Array, ""]  # gradient norm that ends the run
    values: Float[Array, " events"]  # event functions at θ
    slopes: Float[Array, " events"]  # their last changes, NaN at the start
    before: Float[Array, " P_or_0"]  # θ one step before, where extrema are watched


class Bounds(NamedTuple):
    """Where a chunk ends; traced, so that changing them compiles nothing."""

    loss: Float[Array | np.ndarray, ""]
    grad_norm: Float[Array | np.ndarray, ""]  # returns where ‖∇L‖ exceeds this; infinite: nowhere
    targets: Int[Array | np.ndarray, " rows_and_1"]  # steps of the rows, then the last step
    wanted: Int[Array | np.ndarray, ""]  # number of rows


class Rows(NamedTuple):
    """Buffers of rows, the last of them scratch."""

    thetas: Float[Array, "rows_and_1 P"]
    losses: Float[Array, " rows_and_1"]
    grad_norms: Float[Array, " rows_and_1"]
    observed: Any


class Chunk(NamedTuple):
    """What a chunk hands back."""

    position: Position
    rows: Rows
    count: Int[Array, ""]  # rows made
    fired: Bool[Array, " events"]  # events seen in the last step
    earlier: Float[Array, " events"]  # event functions one step before
    grad_norm: Float[Array, ""]  # at the position, or at the last row
    low_loss: Bool[Array, ""]  # the loss has fallen to its bound
    low_gradient: Bool[Array, ""]
    high_gradient: Bool[Array, ""]
    finite: Bool[Array, ""]  # θ is


@eqx.filter_jit
def begin(program: Program, theta: Float[Array, " P"], trigger: Float[Array | np.ndarray, ""]) -> Position:
    """The position before the first step."""
    state = program.rule.start(theta)
    nothing = jnp.zeros((0,), state.dtype)
    loss, gradient = jnp.asarray(jnp.inf, state.dtype), nothing
    if program.rule.sees_theta:
        value, gradient = program.rule.evaluate(program.problem, state, jnp.asarray(0, jnp.int32), None)
        loss = value if program.keeps_loss else loss
    values = program.event_values(state)
    return Position(
        state=state, n=jnp.asarray(0, jnp.int32), loss=loss, gradient=gradient,
        trigger=jnp.asarray(trigger, state.dtype), values=values, slopes=jnp.full_like(values, jnp.nan),
        before=theta if program.has_extrema else nothing,
    )  # fmt: skip


@eqx.filter_jit
def loss_at(program: Program, position: Position) -> Float[Array, ""]:
    """L(θ)."""
    return program.problem.loss(program.theta(position.state))


class _Watch(NamedTuple):
    """What events need from step to step."""

    values: Float[Array, " events"]
    slopes: Float[Array, " events"]
    before: Float[Array, " P_or_0"]
    earlier: Float[Array, " events"]
    fired: Bool[Array, " events"]


class _Moving(NamedTuple):
    """What a step changes; whatever else there is stays outside the loop over steps."""

    state: Float[Array, " d"]
    n: Int[Array, ""]
    loss: Float[Array, ""]
    gradient: Float[Array, " P_or_0"]
    memory: Any  # of the draw
    watch: _Watch | None


class _Outer(NamedTuple):
    moving: _Moving
    rows: Rows
    row: Int[Array, ""]
    loss: Float[Array, ""]  # of the last row
    grad_norm: Float[Array, ""]
    stop: Bool[Array, ""]  # the last row ends the run
    going: Bool[Array, ""]


@eqx.filter_jit
def advance(program: Program, position: Position, bounds: Bounds) -> Chunk:
    """Go on through the wanted rows to the last target, or to the first step at which something happens.

    A rule that sees L and ∇L at θ is stopped at the first step where they fall to their bounds, also if
    that is the present one; other rules at the first row.
    """
    watch = None
    if program.events:
        quiet = jnp.zeros(position.values.shape, bool)
        watch = _Watch(position.values, position.slopes, position.before, position.values, quiet)
    memory = None if program.draw is None else program.draw.prepare(position.n)
    moving = _Moving(position.state, position.n, position.loss, position.gradient, memory, watch)
    shapes = jax.eval_shape(lambda: _measure(program, moving))
    rows = Rows(
        jnp.zeros((program.rows + 1, program.problem.size), position.state.dtype),
        *jax.tree.map(lambda one: jnp.zeros((program.rows + 1, *one.shape), one.dtype), shapes),
    )
    unknown = jnp.asarray(jnp.inf, position.state.dtype)
    outer = _Outer(
        moving, rows, jnp.asarray(0, jnp.int32), unknown, unknown, jnp.asarray(False), jnp.asarray(True)
    )
    least = _least_square(position.trigger)
    outer = jax.lax.while_loop(
        lambda o: o.going, lambda o: _to_next_row(program, bounds, position.trigger, least, o), outer
    )
    moving = outer.moving
    if program.rule.sees_theta:
        reached = _reached(program, bounds, least, moving)
        grad_norm = jnp.sqrt(_square(moving.gradient))
    else:
        grad_norm = outer.grad_norm
        reached = _row_reached(bounds, position.trigger, outer.loss, grad_norm)
    position = position._replace(state=moving.state, n=moving.n, loss=moving.loss, gradient=moving.gradient)
    fired, earlier = jnp.zeros(position.values.shape, bool), position.values
    if moving.watch is not None:
        values, slopes, before, earlier, fired = moving.watch
        position = position._replace(values=values, slopes=slopes, before=before)
    finite = jnp.all(jnp.isfinite(program.theta(moving.state)))
    known = outer.stop | program.rule.sees_theta
    low_loss, low_gradient, high_gradient = (known & flag for flag in reached)
    return Chunk(
        position=position, rows=outer.rows, count=outer.row, fired=fired, earlier=earlier, grad_norm=grad_norm,
        low_loss=low_loss, low_gradient=low_gradient, high_gradient=high_gradient, finite=finite,
    )  # fmt: skip


def _square(gradient: Float[Array, " P"]) -> Float[Array, ""]:
    return jnp.vdot(gradient, gradient)


def _least_square(trigger: Float[Array, ""]) -> Float[Array, ""]:
    """Squares are compared, so that no root is taken at every step; a negative trigger never fires."""
    return jnp.where(trigger >= 0, trigger**2, -1.0)


def _reached(program: Program, bounds: Bounds, least: Float[Array, ""], moving: _Moving):
    """Whether L and ∇L have fallen to their bounds and ∇L has risen above its own, for rules that see them."""
    low_loss = moving.loss <= bounds.loss if program.keeps_loss else jnp.asarray(False)
    square = _square(moving.gradient)
    return low_loss, square <= least, square > bounds.grad_norm**2


def _row_reached(
    bounds: Bounds, trigger: Float[Array, ""], loss: Float[Array, ""], grad_norm: Float[Array, ""]
):
    """The same at a row, for the others."""
    return loss <= bounds.loss, grad_norm <= trigger, grad_norm > bounds.grad_norm


def _measure(program: Program, moving: _Moving) -> tuple[Any, Any, Any]:
    """Loss, gradient norm and observables of a row."""
    theta, problem = program.theta(moving.state), program.problem
    if program.rule.sees_theta:
        loss, gradient = moving.loss if program.keeps_loss else problem.loss(theta), moving.gradient
    else:
        loss, gradient = problem.value_and_grad(theta)
    observed = {name: fn(theta, problem) for name, fn in program.observe}
    return loss, jnp.sqrt(_square(gradient)), observed


def _to_next_row(
    program: Program, bounds: Bounds, trigger: Float[Array, ""], least: Float[Array, ""], outer: _Outer
) -> _Outer:
    target = jnp.asarray(bounds.targets)[outer.row]

    def going_on(moving: _Moving):
        go = (moving.n < target) & ~outer.stop
        if program.rule.sees_theta:
            low_loss, low_gradient, high_gradient = _reached(program, bounds, least, moving)
            go = go & ~(low_loss | low_gradient | high_gradient)
        return go if moving.watch is None else go & ~jnp.any(moving.watch.fired)

    moving = jax.lax.while_loop(going_on, lambda m: _step(program, m), outer.moving)
    due = (moving.n == target) & (outer.row < bounds.wanted)
    blank = (
        outer.loss,
        outer.grad_norm,
        jax.tree.map(lambda buffer: jnp.zeros_like(buffer[0]), outer.rows.observed),
    )
    loss, grad_norm, observed = jax.lax.cond(due, lambda m: _measure(program, m), lambda _: blank, moving)
    rows = jax.tree.map(
        lambda buffer, value: jax.lax.dynamic_update_index_in_dim(buffer, value, outer.row, 0),
        outer.rows,
        Rows(program.theta(moving.state), loss, grad_norm, observed),
    )
    stop = outer.stop
    if not program.rule.sees_theta:
        low_loss, low_gradient, high_gradient = _row_reached(bounds, trigger, loss, grad_norm)
        stop = stop | (due & (low_loss | low_gradient | high_gradient))
    return _Outer(moving, rows, outer.row + due.astype(jnp.int32), loss, grad_norm, stop, due)


def _step(program: Program, moving: _Moving) -> _Moving:
    rule, problem, memory = program.rule, program.problem, moving.memory
    n, state = moving.n, moving.state
    if rule.sees_theta:
        new = rule.apply(state, n, moving.loss, moving.gradient)
        value, gradient = rule.evaluate(problem, new, n + 1, None)
        loss = value if program.keeps_loss else moving.loss
    else:
        drawn = None
        if program.draw is not None:
            memory = program.draw.renew(memory, n)
            drawn = program.draw.pick(memory, n)
        new = rule.apply(state, n, *rule.evaluate(problem, state, n, drawn))
        loss, gradient = moving.loss, moving.gradient
    watch = moving.watch
    if watch is not None:
        values = program.event_values(new)
        slopes = values - watch.values
        fired = [
            crossed(watch.values[k], values[k], direction)
            if kind == "zero"
            else crossed(watch.slopes[k], slopes[k], direction)
            for k, (_, kind, direction) in enumerate(program.events)
        ]
        before = program.theta(state) if program.has_extrema else watch.before
        watch = _Watch(values, slopes, before, watch.values, jnp.stack(fired))
    return _Moving(new, n + 1, loss, gradient, memory, watch)
