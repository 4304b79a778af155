"""The compiled chunk: many adaptive steps with saves, guards and event detection in one call.

Everything a step depends on is in the carry, so the numbers do not depend on where a chunk ends: budget, progress,
streaming and resuming are one mechanism.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from thetadot.dynamics.carry import Carry, Rows, Settings
from thetadot.dynamics.program import Program
from thetadot.numerics.solvers.controller import accepted_factor, rejected_factor
from thetadot.numerics.solvers.stepping import Step, Verdict

# Why a chunk returned (bits).
TIME, LOSS, GRADIENT, STEPS, EVENT, UNFIT, FAILED, NONFINITE, POLISH = (1 << bit for bit in range(9))

_MOST_REJECTIONS = 50
MOST_NONFINITE = 60
_STIFF_STEPS = 10  # accepted steps at the stability limit after which an explicit method hands over
_AT_LIMIT = 0.8
_SLACK_STEPS = 20  # accepted steps far inside an explicit method's stability after which an implicit one does
_SLACK = 1.5
_OVERFLOW = 1e150


def crossed(before, after, direction: int):
    """Whether an event function passed zero between two values; zero itself counts as the positive side."""
    up = (before < 0) & (after >= 0)
    down = (before >= 0) & (after < 0)
    if direction > 0:
        return up
    if direction < 0:
        return down
    return up | down


def two_sum(high, low, addend):
    """high + low + addend as an unevaluated sum (compensated time)."""
    total = high + addend
    bump = total - high
    error = (high - (total - bump)) + (addend - bump) + low
    new_high = total + error
    return new_high, error - (new_high - total)


def _first_step(program: Program, args: Any, y, field, settings: Settings):
    """A first step size after Hairer, Nørsett & Wanner (1993), §II.4."""
    tolerance = program.tolerance(y, y, settings)
    rms = lambda v: jnp.sqrt(jnp.mean((v / tolerance) ** 2))  # noqa: E731
    size, speed = rms(y), rms(field)
    trial = jnp.where((size < 1e-5) | (speed < 1e-5), 1e-6, 0.01 * size / jnp.maximum(speed, 1e-300))
    ahead, _ = program.right_side.evaluate(y + trial * field, args)
    bend = rms(ahead - field) / trial
    steepest = jnp.maximum(speed, bend)
    order = program.stepper.error_order
    guess = jnp.where(
        steepest <= 1e-15,
        jnp.maximum(1e-6, trial * 1e-3),
        (0.01 / jnp.maximum(steepest, 1e-300)) ** (1 / order),
    )
    h = jnp.minimum(100 * trial, guess)
    return jnp.where(jnp.isfinite(h) & (h > 0), h, 1e-6)


@eqx.filter_jit
def begin(
    program: Program,
    args: Any,
    y: Float[Any, " n"],
    settings: Settings,
    first_save: Float[Any, ""],
    unsaved: Bool[Any, ""],
) -> Carry:
    """The carry at the start."""
    field, loss = program.right_side.evaluate(y, args)
    h = _first_step(program, args, y, field, settings)
    zero, count = jnp.zeros((), y.dtype), jnp.asarray(0, jnp.int64)
    cap = jnp.where(first_save > 0, first_save, jnp.inf) / settings.pieces
    return Carry(
        time=zero, time_low=zero, y=y, field=field, loss=loss, h=h, previous_error=zero + 1.0, squared_speed=zero,
        trigger=settings.grad_norm, polish=settings.polish, events=program.event_values(y, field, args),
        stiff=count, patience=count + _SLACK_STEPS, rejections=count, nonfinite=count, accepted=count, rejected=count,
        evaluations=count + 2,
        jacobians=count, products=count, last_time=zero, last_time_low=zero, last_y=y, last_field=field, last_h=zero,
        cap=cap, unsaved=unsaved, status=count,
        memory=program.stepper.start(program.right_side, args, y, field, h),
    )  # fmt: skip


@eqx.filter_jit
def hand_over(program: Program, args: Any, carry: Carry, settings: Settings) -> Carry:
    """The carry of a run that goes on from here with this program's method."""
    h = carry.h
    if program.stepper.multistep:
        h = jnp.minimum(h, _first_step(program, args, carry.y, carry.field, settings))
    return carry._replace(
        # Each change makes the next one back to the explicit method harder: they must not take turns for ever.
        h=h, stiff=jnp.asarray(0, jnp.int64), patience=2 * carry.patience, previous_error=jnp.ones_like(h),
        cap=jnp.full_like(h, jnp.inf),
        memory=program.stepper.start(program.right_side, args, carry.y, carry.field, h),
    )  # fmt: skip


@eqx.filter_jit
def evaluated(program: Program, args: Any, carry: Carry) -> Carry:
    """The carry with field and loss evaluated at its point."""
    field, loss = program.right_side.evaluate(carry.y, args)
    return carry._replace(field=field, loss=loss, evaluations=carry.evaluations + 1)


def inside(program: Program, carry: Carry, length: Float[Any, ""]):
    """State and ∫|F|² of the step at `length` into the last accepted step, from the method's interpolant."""
    position = jnp.where(carry.last_h > 0, length / carry.last_h, 1.0)
    point = program.stepper.basis(position) @ program.stepper.interpolant(carry.memory)
    start = program.stepper.basis(jnp.zeros_like(position)) @ program.stepper.interpolant(carry.memory)
    return point[:-1], point[-1] - start[-1]


class _Loop(NamedTuple):
    carry: Carry
    rows: Rows
    cursor: Int[Any, ""]
    dense_cursor: Int[Any, ""]
    index: Int[Any, ""]
    attempts: Int[Any, ""]


@eqx.filter_jit
def chunk(
    program: Program,
    args: Any,
    carry: Carry,
    settings: Settings,
    save_times: Float[Any, " block"],
    most_attempts: Int[Any, ""],
) -> tuple[Carry, Rows, Int[Any, ""], Int[Any, ""], Int[Any, ""]]:
    """Advance a run by at most `most_attempts` iterations (each a save or an attempted step).

    `save_times` are those ahead; the last one only says where the one before it leads to.
    Returns the carry, the row buffers, the number of rows, of dense rows, and of save times passed. It also
    returns when the buffers are full or when `carry.status` names a reason.
    """
    n, rows = carry.y.size, program.rows
    blank = jnp.zeros((rows,), carry.y.dtype)
    stepper = program.stepper
    step_shape = stepper.interpolant(carry.memory).shape if stepper.interpolates else (n,)
    observed_shapes = jax.eval_shape(lambda: {name: fn(carry.y, args) for name, fn in program.observe})
    buffers = Rows(
        times=blank, thetas=jnp.zeros((rows, n), carry.y.dtype), losses=blank, grad_norms=blank,
        steps=jnp.zeros((rows,), jnp.int64),
        observed=jax.tree.map(lambda s: jnp.zeros((rows, *s.shape), s.dtype), observed_shapes),
        step_times=jnp.zeros((program.dense_rows,), carry.y.dtype),
        step_lows=jnp.zeros((program.dense_rows,), carry.y.dtype),
        step_states=jnp.zeros((program.dense_rows, *step_shape), carry.y.dtype),
        step_lengths=jnp.zeros((program.dense_rows,), carry.y.dtype),
    )  # fmt: skip

    def going_on(loop: _Loop):
        room = loop.cursor < rows
        if program.dense_rows:
            room = room & (loop.dense_cursor < program.dense_rows)
        more_times = loop.index < save_times.size - 1
        return (
            room
            & more_times
            & (loop.attempts < most_attempts)
            & (loop.carry.unsaved | (loop.carry.status == 0) | (stepper.interpolates & passed(loop)))
        )

    def passed(loop: _Loop):
        due = save_times[loop.index]
        if stepper.interpolates:
            return (due - loop.carry.time) - loop.carry.time_low <= 0
        return (loop.carry.time == due) & (loop.carry.time_low == 0)

    def body(loop: _Loop):
        due = save_times[loop.index]
        at_save = passed(loop)
        saved = jax.lax.cond(
            at_save | loop.carry.unsaved,
            lambda: _save(program, args, settings, save_times, loop, due, at_save),
            lambda: _attempt(program, args, settings, loop, due),
        )
        return saved._replace(attempts=loop.attempts + 1)

    zero = jnp.asarray(0, jnp.int64)
    loop = jax.lax.while_loop(going_on, body, _Loop(carry, buffers, zero, zero, zero, zero))
    return loop.carry, loop.rows, loop.cursor, loop.dense_cursor, loop.index


def _save(program: Program, args: Any, settings: Settings, save_times, loop: _Loop, due, at_save) -> _Loop:
    carry, rows, cursor = loop.carry, loop.rows, loop.cursor
    time, y, field, loss = carry.time, carry.y, carry.field, carry.loss
    if program.stepper.interpolates:
        length = (due - carry.last_time) - carry.last_time_low
        within = at_save & (carry.last_h > 0)
        time = jnp.where(at_save, due, carry.time)
        y = jnp.where(within, inside(program, carry, length)[0], carry.y)
        field, loss = program.right_side.evaluate(y, args)
        carry = carry._replace(evaluations=carry.evaluations + 1)
    grad_norm = jnp.sqrt(jnp.sum(field**2)) / settings.time_scale
    values = {name: fn(y, args) for name, fn in program.observe}
    rows = rows._replace(
        times=rows.times.at[cursor].set(time),
        thetas=rows.thetas.at[cursor].set(y),
        losses=rows.losses.at[cursor].set(loss),
        grad_norms=rows.grad_norms.at[cursor].set(grad_norm),
        steps=rows.steps.at[cursor].set(carry.accepted),
        observed=jax.tree.map(lambda buffer, value: buffer.at[cursor].set(value), rows.observed, values),
    )
    index = loop.index + at_save.astype(jnp.int64)
    ahead = (save_times[index] - carry.time) / settings.pieces
    return loop._replace(
        carry=carry._replace(
            unsaved=carry.unsaved & at_save & program.stepper.interpolates,
            cap=jnp.where(at_save, ahead, carry.cap),
        ),
        rows=rows,
        cursor=cursor + 1,
        index=index,
    )


def _rounding(carry: Carry, settings: Settings) -> Float[Any, ""]:
    """What rounding may do to the loss at a step: no rise, and no error of the energy, below it means anything.

    A run may start at a minimum, where the first loss says nothing of the sizes that were added up to it; there it is
    what a rounding error of the state does to the loss.
    """
    eps, size = jnp.finfo(carry.y.dtype).eps, jnp.abs(carry.loss)
    slope = jnp.sqrt(jnp.sum(carry.field**2) * jnp.sum(carry.y**2)) / settings.time_scale
    return 100 * eps * (size + slope + jnp.sqrt(size * jnp.abs(settings.base_loss))) + 1e4 * eps**2


def _attempt(program: Program, args: Any, settings: Settings, loop: _Loop, due) -> _Loop:
    carry, stepper = loop.carry, program.stepper
    order = stepper.error_order
    target = jnp.minimum(due, settings.end)
    if stepper.interpolates:
        h, lands, clipped = carry.h, jnp.asarray(False), jnp.asarray(False)
    else:
        distance = (target - carry.time) - carry.time_low
        wanted = jnp.minimum(carry.h, carry.cap)
        lands = wanted >= distance * (1 - 1e-12)
        halves = wanted > 0.5 * distance
        clipped = lands | halves | (wanted < carry.h)
        h = jnp.where(lands, distance, jnp.where(halves, 0.5 * distance, wanted))
    guess = program.tolerance(carry.y, carry.y, settings)
    step = stepper.step(program.right_side, args, carry.y, carry.field, h, guess, carry.memory)

    tolerance = program.tolerance(carry.y, step.y, settings)

    squared_speed = carry.squared_speed + step.squared_speed

    rounding = _rounding(carry, settings)

    def norm(vector: Float[Any, " n"], work: Float[Any, ""]) -> Float[Any, ""]:
        if program.error_norm is None:
            size = jnp.sqrt(jnp.mean((vector / tolerance) ** 2))
        else:
            size = program.error_norm(vector, step.y) / settings.rtol
        if not program.right_side.has_loss:
            return size
        # The energy integral never contracts, so its error is controlled too, against the loss it must account for.
        drop = jnp.maximum(squared_speed, settings.time_scale * 1e-3 * jnp.abs(settings.base_loss))
        least = jnp.maximum(settings.time_scale * rounding, 1e-290)
        return jnp.maximum(size, jnp.abs(work) / jnp.maximum(10 * settings.rtol * drop, least))

    error = norm(step.error, step.squared_speed_error)
    finite = (
        jnp.all(jnp.isfinite(step.y))
        & jnp.all(jnp.isfinite(step.field))
        & (jnp.max(jnp.abs(step.y)) < _OVERFLOW)
    )
    if program.right_side.has_loss:
        finite = finite & jnp.isfinite(step.loss) & jnp.isfinite(step.squared_speed)
    good = finite & jnp.isfinite(error) & step.solved
    if program.right_side.has_loss:
        good = good & (step.loss <= carry.loss + rounding + step.loss_error)
    accept = good & (error <= 1)

    grown = accepted_factor(error, carry.previous_error, order)
    shrunk = jnp.where(good, rejected_factor(error, order), jnp.where(step.solved & finite, 0.5, 0.25))
    memory, factor = stepper.settle(step, Verdict(accept, error, h, norm))
    proposal = h * jnp.where(jnp.isfinite(factor), factor, jnp.where(accept, grown, shrunk))
    # A step cut short by a save time says little about the next: the earlier proposal is restored.
    proposal = jnp.where(accept & clipped, jnp.maximum(carry.h, proposal), proposal)
    moved_time, moved_low = two_sum(carry.time, carry.time_low, h)
    new_time = jnp.where(lands, target, moved_time)
    new_low = jnp.where(lands, 0.0, moved_low)
    rejections = jnp.where(accept, 0, carry.rejections + 1)

    events = program.event_values(step.y, step.field, args)
    happened = jnp.asarray(False)
    if program.events:
        middle = _hermite_values(program, args, carry, step, h)
        chain = jnp.concatenate([carry.events[None], middle, events[None]])
        for number, (_, _, direction) in enumerate(program.events):
            happened = happened | jnp.any(crossed(chain[:-1, number], chain[1:, number], direction))

    grad_norm = jnp.sqrt(jnp.sum(step.field**2)) / settings.time_scale
    trigger = jnp.where(grad_norm > 2 * settings.grad_norm, settings.grad_norm, carry.trigger)
    if math.isfinite(stepper.stability_limit):
        unfit, patience = step.stiffness > _AT_LIMIT * stepper.stability_limit, jnp.asarray(_STIFF_STEPS)
    else:
        unfit, patience = (step.stiffness > 0) & (step.stiffness < _SLACK), carry.patience
    stiff = jnp.where(unfit, carry.stiff + 1, jnp.maximum(carry.stiff - 1, 0))
    status = (
        jnp.where(new_time >= settings.end, TIME, 0)
        | jnp.where(step.loss <= settings.loss, LOSS, 0)
        | jnp.where(grad_norm <= trigger, GRADIENT, 0)
        | jnp.where(carry.accepted + 1 >= settings.steps, STEPS, 0)
        | jnp.where(happened, EVENT, 0)
        | jnp.where(settings.switch & (stiff >= patience), UNFIT, 0)
        | jnp.where(grad_norm <= carry.polish, POLISH, 0)
    )
    # Near a blow-up steps are accepted between overflows: these weigh more, or the run would creep for ever.
    nonfinite = jnp.where(
        finite, jnp.maximum(carry.nonfinite - accept.astype(jnp.int64), 0), carry.nonfinite + 3
    )
    failed = jnp.where(
        nonfinite >= MOST_NONFINITE, NONFINITE, jnp.where(rejections >= _MOST_REJECTIONS, FAILED, 0)
    )
    took = carry._replace(
        time=new_time, time_low=new_low, y=step.y, field=step.field, loss=step.loss,
        previous_error=jnp.where(clipped, carry.previous_error, error), squared_speed=squared_speed, trigger=trigger,
        events=events, stiff=stiff, accepted=carry.accepted + 1, last_time=carry.time,
        last_time_low=carry.time_low, last_y=carry.y, last_field=carry.field, last_h=h,
    )  # fmt: skip
    kept = carry._replace(rejected=carry.rejected + 1)
    # The memory, which may be large, is the method's own to choose.
    took, kept = took._replace(memory=()), kept._replace(memory=())
    new = jax.tree.map(lambda yes, no: jnp.where(accept, yes, no), took, kept)._replace(
        h=proposal,
        rejections=rejections,
        nonfinite=nonfinite,
        evaluations=carry.evaluations + step.evaluations,
        jacobians=carry.jacobians + step.jacobians,
        unsaved=accept & settings.every_step & (new_time <= settings.end),
        status=jnp.where(accept, status, failed).astype(jnp.int64),
        products=carry.products + step.products,
        memory=memory,
    )
    rows, dense_cursor = loop.rows, loop.dense_cursor
    if program.dense_rows:
        slot = jnp.where(accept, dense_cursor, program.dense_rows)  # out of bounds: dropped
        rows = rows._replace(
            step_times=rows.step_times.at[slot].set(carry.time, mode="drop"),
            step_lows=rows.step_lows.at[slot].set(carry.time_low, mode="drop"),
            step_states=rows.step_states.at[slot].set(
                stepper.interpolant(memory) if stepper.interpolates else carry.y, mode="drop"
            ),
            step_lengths=rows.step_lengths.at[slot].set(h, mode="drop"),
        )
        dense_cursor = dense_cursor + accept.astype(jnp.int64)
    return loop._replace(carry=new, rows=rows, dense_cursor=dense_cursor)


def _hermite_values(program: Program, args: Any, carry: Carry, step: Step, h):
    """Event functions at interior points of the step, on the cubic through both ends: a function that crosses zero
    twice within one step is seen too."""

    def at(s):
        blend = 3 * s**2 - 2 * s**3
        y = (1 - blend) * carry.y + blend * step.y
        y = y + h * (s * (1 - s) ** 2 * carry.field - s**2 * (1 - s) * step.field)
        slope = 6 * s * (1 - s) * (step.y - carry.y) / h
        slope = slope + (1 - s) * (1 - 3 * s) * carry.field + s * (3 * s - 2) * step.field
        return program.event_values(y, slope, args)

    return jax.lax.map(at, jnp.asarray([0.25, 0.5, 0.75], carry.y.dtype))
