"""The host loop of a descent: compiled chunks, and between them rows, budget, events and interrupts."""

import time

import jax
import numpy as np
from jaxtyping import Int

from thetadot.dynamics import descent, guards
from thetadot.dynamics.descent import Chunk
from thetadot.dynamics.descent_record import Plan, Record, goes_on, thaw, to_path
from thetadot.dynamics.follow import FlowFailedError
from thetadot.dynamics.outcome import Outcome
from thetadot.dynamics.path import Path, RecordedEvent

_CHUNK_SECONDS = 0.25
_FIRST_STEPS, _MOST_STEPS = 16, 1 << 28
_FIRST_ROWS = 8


def run(plan: Plan, resume: Path | None, throw: bool) -> Path:
    """Run a plan to its end, budget or interrupt, and hand on the path."""
    if resume is None:
        position = descent.begin(plan.program, plan.theta0, np.asarray(plan.trigger))
        record = Record(position, [], [])
    else:
        record = thaw(plan, resume)
        if not goes_on(plan, resume, record):
            record.end(resume.outcome, resume.reason)
    try:
        _advance(plan, record)
    finally:
        plan.clock.close()
    path = to_path(plan, record)
    if throw and path.outcome.failed:
        raise FlowFailedError(path)
    return path


def _advance(plan: Plan, record: Record) -> None:
    """Go on until the run ends, the budget is spent, or the user interrupts; the record says which."""
    started, before = time.perf_counter(), record.seconds
    steps, rows = _FIRST_STEPS, _FIRST_ROWS
    budget = plan.clock.budget
    wanted = _CHUNK_SECONDS if budget is None else min(_CHUNK_SECONDS, budget / 8)
    try:
        while record.outcome is None:
            lap, n, count = time.perf_counter(), record.n, record.rows
            _one_chunk(plan, record, steps, rows)
            scale = wanted / max(time.perf_counter() - lap, 1e-4)
            steps = min(_tuned(steps, (record.n - n) * scale, _FIRST_STEPS), _MOST_STEPS)
            rows = min(_tuned(rows, (record.rows - count) * scale, 1), plan.program.rows)
            plan.clock.report(record.n / max(plan.last, 1), _text(record))
            if record.outcome is None and plan.clock.spent:
                record.end(
                    Outcome.BUDGET_SPENT, f"the budget of {budget:g} s was spent at {plan.place(record.n)}"
                )
    except KeyboardInterrupt:
        record.end(Outcome.INTERRUPTED, f"interrupted at {plan.place(record.n)}")
    record.seconds = before + time.perf_counter() - started


def _tuned(present: int, wished: float, least: int) -> int:
    return present if wished == 0 else max(int(np.clip(wished, present / 4, 8 * present)), least)


def _one_chunk(plan: Plan, record: Record, most_steps: int, most_rows: int) -> None:
    rows = _pending(plan, record)[:most_rows]
    goal = min(record.n + most_steps, plan.last)
    # A chunk ends at its last row if there may be more before the goal.
    goal = int(rows[-1]) if rows.size == most_rows and rows[-1] <= goal else goal
    rows = rows[rows <= goal]
    chunk = jax.block_until_ready(
        descent.advance(plan.program, record.position, plan.bounds(record.position, rows, goal))
    )
    if not bool(chunk.finite):
        return _find_divergence(plan, record, chunk, rows)
    undefined = np.flatnonzero(np.isnan(np.asarray(chunk.rows.losses)[: int(chunk.count)]))
    if undefined.size:
        return _end_at(plan, record, chunk, rows, int(undefined[0]))
    events, terminal = _events(plan, chunk)
    record.collect(chunk, rows[: int(chunk.count)])
    record.happened.extend((int(chunk.position.n), event) for event in events)
    # Rows and events beyond the position do not exist: an interrupt before this line loses nothing.
    record.position = chunk.position
    _judge(plan, record, chunk, terminal)
    if record.outcome is not None:
        _last_row(plan, record)


def _pending(plan: Plan, record: Record) -> Int[np.ndarray, " pending"]:
    """Steps that are yet to be saved."""
    return plan.steps[np.searchsorted(plan.steps, max(record.saved + 1, record.n)) :]


def _judge(plan: Plan, record: Record, chunk: Chunk, terminal: RecordedEvent | None) -> None:
    """Whether the run ends where the chunk ended."""
    if terminal is not None:
        return record.end(Outcome.EVENT, f"event {terminal.name!r} at t = {terminal.time:.9g}")
    if bool(chunk.low_loss):
        loss = float(descent.loss_at(plan.program, record.position))
        return record.end(Outcome.REACHED_LOSS, f"the loss fell to {loss:.6g} at {plan.place(record.n)}")
    if bool(chunk.high_gradient):
        record.position = record.position._replace(trigger=jax.numpy.asarray(np.float64(plan.trigger)))
    if bool(chunk.low_gradient):
        _guard_convergence(plan, record, float(chunk.grad_norm))
    if record.outcome is None and record.n == plan.last and not _pending(plan, record).size:
        if plan.ending is Outcome.REACHED_TIME:
            record.end(plan.ending, f"{plan.place(record.n)} was reached")
        else:
            record.end(plan.ending, f"{record.n} steps were taken")


def _guard_convergence(plan: Plan, record: Record, grad_norm: float) -> None:
    """A small gradient is convergence only if no Hessian eigenvalue is negative."""
    problem, until = plan.program.problem, plan.until
    assert until is not None
    assert until.grad_norm is not None
    reached = f"‖∇L‖ = {grad_norm:.2e} at {plan.place(record.n)}"
    if until.accept_saddles:
        return record.end(Outcome.CONVERGED, f"{reached}, curvature not examined")
    theta = plan.program.theta(record.position.state)
    loss = float(descent.loss_at(plan.program, record.position))
    verdict = guards.judge(problem, theta, loss, until.grad_norm)
    record.hessians += verdict.hessians
    if verdict.converged:
        record.degenerate = verdict.degenerate
        return record.end(Outcome.CONVERGED, f"{reached}, {verdict.why}")
    if float(record.position.trigger) >= plan.trigger:  # else it is still the same plateau
        now = plan.time(record.n)
        plateau = RecordedEvent("plateau", "plateau", now, np.asarray(theta), verdict.lowest)
        record.happened.append((record.n, plateau))
        if verdict.stuck:
            guards.warn_stuck(plan.place(record.n), verdict.lowest)
    # The gradient must fall further, or grow in between, to count again.
    trigger = grad_norm / 10 if grad_norm > 0 else -1.0
    record.position = record.position._replace(trigger=jax.numpy.asarray(np.float64(trigger)))


def _events(plan: Plan, chunk: Chunk) -> tuple[list[RecordedEvent], RecordedEvent | None]:
    """What happened in the last step, and the first terminal event of it."""
    found, position = [], chunk.position
    for number in np.flatnonzero(np.asarray(chunk.fired)):
        event = plan.events[number]
        # An extremum is the point before the one that shows it.
        zero = event.kind == "zero"
        theta = plan.program.theta(position.state) if zero else position.before
        value = position.values[number] if zero else chunk.earlier[number]
        when = plan.time(int(position.n) - (0 if zero else 1))
        recorded = RecordedEvent(event.name or "event", event.kind, when, np.asarray(theta), float(value))
        found.append((recorded, event.terminal))
    found.sort(key=lambda pair: pair[0].time)
    return [one for one, _ in found], next((one for one, terminal in found if terminal), None)


def _last_row(plan: Plan, record: Record) -> None:
    """Save the end, unless the grid has just done so or promises exactly its own rows."""
    promised = plan.exactly and record.outcome in (Outcome.REACHED_STEPS, Outcome.REACHED_TIME)
    if record.saved == record.n or (promised and record.rows):
        return
    here = np.asarray([record.n])
    record.collect(
        descent.advance(plan.program, record.position, plan.bounds(record.position, here, record.n)), here
    )


def _find_divergence(plan: Plan, record: Record, chunk: Chunk, rows: Int[np.ndarray, " r"]) -> None:
    """Keep what is finite. What is not stays so, hence the step is found by bisection with the same program:
    no step pays for a check, and the numbers are the same to the bit."""
    low, high = record.position, int(chunk.position.n)
    wasted = high - int(low.n)
    while high - int(low.n) > 1:
        middle = (int(low.n) + high) // 2
        trial = descent.advance(plan.program, low, plan.bounds(low, rows[:0], middle))
        wasted += middle - int(low.n)
        if bool(trial.finite):
            low = trial.position
        else:
            high = middle
    record.collect(chunk, rows[rows <= int(low.n)])
    record.position = low
    record.wasted += wasted
    record.end(Outcome.DIVERGED, f"the state stopped being finite at {plan.place(high)}")
    _last_row(plan, record)


def _end_at(plan: Plan, record: Record, chunk: Chunk, rows: Int[np.ndarray, " r"], row: int) -> None:
    """End at a row whose loss is not a number although θ is finite; the row itself is kept only if it is the first."""
    n = int(rows[row])
    record.wasted += int(chunk.position.n) - record.n
    there = descent.advance(plan.program, record.position, plan.bounds(record.position, rows[:0], n))
    record.collect(chunk, rows[: max(row, 1 - record.rows)])
    record.position = there.position
    record.end(Outcome.DIVERGED, f"the loss is not a number at {plan.place(n)}")


def _text(record: Record) -> str:
    losses = (block["losses"] for block in reversed(record.blocks))
    shown = next((f", loss {part[-1]:.4g}" for part in losses if part.size), "")
    return f"step {record.n:,}{shown}"
