"""The host loop: compiled chunks, and between them saves, budget, progress, guards, events and interrupts."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from thetadot.dynamics import chatter, engine, guards, vanishing
from thetadot.dynamics.accuracy import Stats
from thetadot.dynamics.carry import Carry, Rows, Settings
from thetadot.dynamics.clock import Clock
from thetadot.dynamics.crossings import locate
from thetadot.dynamics.events import Event
from thetadot.dynamics.outcome import Outcome
from thetadot.dynamics.path import RecordedEvent
from thetadot.dynamics.polish import Polished, polish
from thetadot.dynamics.program import Program
from thetadot.dynamics.saves import SaveGrid
from thetadot.dynamics.snapshot import Snapshot, flatten, restore
from thetadot.dynamics.until import Until
from thetadot.problems import Problem

_CHUNK_SECONDS = 0.25
_FIRST_ATTEMPTS = 64


@dataclasses.dataclass(frozen=True)
class Task:
    """What a run does; nothing here changes while it runs.

    Attributes:
        programs: (name, compiled program) of the first solver and of the one to change to and fro with, if any.
        args: what the field is evaluated with (the problem, in `flow`).
        y0: start (n,).
        settings: numbers.
        grid, until, events: when to save, when to end, what to record.
        problem: None for other systems.
        chunk: what advances a run; takes and gives what `engine.chunk` does.
    """

    programs: tuple[tuple[str, Program], ...]
    args: Any
    y0: jax.Array
    settings: Settings
    grid: SaveGrid
    until: Until
    events: tuple[Event, ...]
    problem: Problem | None
    chunk: Callable = engine.chunk

    @property
    def end(self) -> float:
        return float(self.settings.end)


@dataclasses.dataclass(eq=False)
class Record:
    """The growing record of one run."""

    carry: Carry
    index: int = 0  # save times passed
    solver: int = 0
    switches: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    columns: dict[str, list[np.ndarray]] = dataclasses.field(default_factory=dict)
    happened: list[RecordedEvent] = dataclasses.field(default_factory=list)
    outcome: Outcome | None = None
    reason: str = ""
    degenerate: bool = False
    hessians: int = 0
    seconds: float = 0.0
    looked: float = 0.0  # time at the last look for chatter
    polished: Polished | None = None
    inherited: Stats = dataclasses.field(
        default_factory=Stats
    )  # cost of earlier passes that are no longer kept

    def rows(self, name: str) -> np.ndarray:
        """All rows of a column."""
        parts = self.columns[name]
        if len(parts) > 1:
            self.columns[name] = parts = [np.concatenate(parts)]
        return parts[0]

    def end(self, outcome: Outcome, reason: str) -> None:
        self.outcome, self.reason = outcome, reason


def begin(task: Task) -> Record:
    """A record at the start of a task."""
    _, program = task.programs[0]
    first_row = np.asarray(task.grid.kind != "explicit")
    carry = engine.begin(program, task.args, task.y0, task.settings, task.grid.block(0, 1)[0], first_row)
    carry = carry._replace(evaluations=np.asarray(carry.evaluations))
    record = Record(carry, switches=[(0.0, task.programs[0][0])])
    if not (np.isfinite(np.asarray(carry.field)).all()):
        record.end(Outcome.DIVERGED, "the field is not finite at the start")
    return record


def advance(task: Task, record: Record, clock: Clock, watch: Callable[[Record], None] | None = None) -> None:
    """Run until the task ends, the budget is spent, or the user interrupts; the record says which."""
    started, before = time.perf_counter(), record.seconds
    attempts, kinked = _FIRST_ATTEMPTS, chatter.kinked(task.problem)
    try:
        while record.outcome is None:
            if kinked:
                attempts = min(attempts, chatter.steps_to_look(int(record.carry.accepted)))
            lap = time.perf_counter()
            begun = int(record.carry.accepted)
            _one_chunk(task, record, attempts)
            seconds = time.perf_counter() - lap
            attempts = int(
                np.clip(attempts * _CHUNK_SECONDS / max(seconds, 1e-4), attempts / 4, 4 * attempts)
            )
            attempts = min(max(attempts, 8), 1_000_000)
            _judge(task, record)
            if kinked and int(record.carry.accepted) > begun and record.outcome is None:
                _look_for_chatter(task, record)
            clock.report(_fraction(task, record), _text(record))
            if watch is not None:
                watch(record)
            if record.outcome is None and clock.spent:
                record.end(
                    Outcome.BUDGET_SPENT,
                    f"the budget of {clock.budget:g} s was spent at t = {_now(record):.6g}",
                )
    except KeyboardInterrupt:
        record.end(Outcome.INTERRUPTED, f"interrupted at t = {_now(record):.6g}")
    record.seconds = before + time.perf_counter() - started


def _look_for_chatter(task: Task, record: Record) -> None:
    """End a run that no longer gets on because it slides along a kink."""
    assert task.problem is not None
    if int(record.carry.accepted) % chatter.EVERY:
        return
    looked, record.looked = record.looked, _now(record)
    little = chatter.little_progress(_now(record), looked, record.carry.y, record.carry.field)
    if not (little or vanishing.singular(task.problem)):
        return
    pair = chatter.sliding_pair(task.problem, record.carry.y)
    if pair is not None:
        record.end(Outcome.STALLED, f"t = {_now(record):.6g}, steps of {float(record.carry.h):.1e}, {pair}")
        _last_row(task, record)


def _one_chunk(task: Task, record: Record, attempts: int, only: float | None = None) -> None:
    """One compiled chunk; with `only`, nothing but the row of that time inside the last step."""
    _, program = task.programs[record.solver]
    if only is None:
        block = task.grid.block(record.index, program.rows + 1)
    else:
        block = np.append(only, np.full(program.rows, np.inf))
    out = task.chunk(program, task.args, record.carry, task.settings, block, np.asarray(attempts))
    carry, rows, count, dense_count, passed = jax.block_until_ready(out)
    _collect(record, rows, int(count), int(dense_count))
    # The index moves with the carry: an interrupt between the two would lose or repeat a row.
    record.carry, record.index = carry, record.index + (int(passed) if only is None else 0)


def _collect(record: Record, rows: Rows, count: int, dense_count: int) -> None:
    fields = {
        "ts": rows.times,
        "thetas": rows.thetas,
        "losses": rows.losses,
        "grad_norms": rows.grad_norms,
        "steps": rows.steps,
    }
    fields |= {f"observed.{name}": value for name, value in rows.observed.items()}
    for name, value in fields.items():
        if count or name not in record.columns:
            record.columns.setdefault(name, []).append(np.asarray(value)[:count].copy())
    if rows.step_times.size:
        for name, value in {
            "time": rows.step_times,
            "low": rows.step_lows,
            "y": rows.step_states,
            "length": rows.step_lengths,
        }.items():
            name = f"dense.{record.solver}.{name}"  # methods record their steps in shapes of their own
            record.columns.setdefault(name, []).append(np.asarray(value)[:dense_count].copy())


def _judge(task: Task, record: Record) -> None:
    """Act on the reasons for which the chunk returned."""
    status = int(record.carry.status)
    if status == 0 or _rows_due(task, record):
        return
    if status & (engine.FAILED | engine.NONFINITE):
        return _break_down(task, record, bool(status & engine.NONFINITE))
    status = _confirmed(task, record, status)
    record.carry = record.carry._replace(status=np.asarray(0, np.int64))
    if status & engine.EVENT and _record_events(task, record):
        return _last_row(task, record)
    if status & engine.TIME:
        record.end(Outcome.REACHED_TIME, f"t = {task.end:.6g} was reached")
    elif status & engine.LOSS:
        record.end(Outcome.REACHED_LOSS, f"the loss fell to {float(record.carry.loss):.6g}")
    elif status & engine.STEPS:
        record.end(Outcome.REACHED_STEPS, f"{int(record.carry.accepted)} steps were taken")
    elif status & engine.GRADIENT:
        _guard_convergence(task, record)
    if status & engine.POLISH and record.outcome is None:
        _try_polish(task, record)
    if status & engine.UNFIT and len(task.programs) > 1:
        record.solver = 1 - record.solver
        name, program = task.programs[record.solver]
        record.carry = engine.hand_over(program, task.args, record.carry, task.settings)
        record.switches.append((_now(record), name))
    if record.outcome is not None:
        _last_row(task, record)


def _confirmed(task: Task, record: Record, status: int) -> int:
    """The reasons that hold at the point itself: a multistep method knows loss and field to its tolerance only."""
    program = task.programs[record.solver][1]
    if not (program.stepper.multistep and status & (engine.LOSS | engine.GRADIENT)):
        return status
    record.carry = carry = engine.evaluated(program, task.args, record.carry)
    if float(carry.loss) > float(task.settings.loss):
        status &= ~engine.LOSS
    if np.linalg.norm(np.asarray(carry.field)) > float(carry.trigger) * float(task.settings.time_scale):
        status &= ~engine.GRADIENT
    return status


def _rows_due(task: Task, record: Record) -> bool:
    """Whether the last step passed over save times whose rows are still to come."""
    if not task.programs[record.solver][1].stepper.interpolates:
        return False
    return float(task.grid.block(record.index, 1)[0]) <= _now(record)


def _last_row(task: Task, record: Record) -> None:
    """Save the end, unless the grid has just done so or promises exactly its own rows."""
    now, steps = record.carry.time, int(record.carry.accepted)
    if record.outcome is Outcome.REACHED_TIME and float(now) > task.end:
        # The last step passed the end; its row is missing only where a longer end came after the grid's last time.
        if task.grid.kind != "explicit" and record.rows("ts")[-1] < task.end:
            _one_chunk(task, record, 1, only=task.end)
        return
    if task.grid.kind == "explicit" and record.outcome is Outcome.REACHED_TIME and not record.carry.unsaved:
        due = float(task.grid.block(record.index, 1)[0]) == float(now)
    else:
        saved = record.columns.get("ts") and record.rows("ts").size
        due = not (saved and record.rows("ts")[-1] == float(now) and record.rows("steps")[-1] == steps)
    if due:
        record.carry = record.carry._replace(unsaved=np.asarray(True))
        _one_chunk(task, record, 1)


def _break_down(task: Task, record: Record, nonfinite: bool) -> None:
    where = f"at t = {_now(record):.6g} after {int(record.carry.accepted)} steps"
    if nonfinite:
        record.end(Outcome.DIVERGED, f"the state stopped being finite {where}")
        return
    why = f"the step size fell to {float(record.carry.h):.1e} {where} without an acceptable step"
    if task.problem is not None and chatter.kinked(task.problem):
        why = "; ".join(filter(None, (why, chatter.sliding_pair(task.problem, record.carry.y))))
    record.end(Outcome.STALLED, why)


def _guard_convergence(task: Task, record: Record) -> None:
    carry, problem = record.carry, task.problem
    grad_norm = float(np.linalg.norm(np.asarray(carry.field))) / float(task.settings.time_scale)
    reached = f"‖∇L‖ = {grad_norm:.2e} at t = {_now(record):.6g}"
    if problem is None or task.until.accept_saddles:
        return record.end(Outcome.CONVERGED, f"{reached}, curvature not examined")
    verdict = guards.judge(problem, carry.y, float(carry.loss), task.until.grad_norm or 0.0)
    record.hessians += verdict.hessians
    if verdict.converged:
        record.degenerate = verdict.degenerate
        return record.end(Outcome.CONVERGED, f"{reached}, {verdict.why}")
    now, theta = _now(record), np.asarray(carry.y)
    if float(carry.trigger) >= float(task.settings.grad_norm):  # else it is still the same plateau
        record.happened.append(RecordedEvent("plateau", "plateau", now, theta, verdict.lowest))
        if verdict.stuck:
            text = guards.warn_stuck(f"t = {now:.6g}", verdict.lowest)
            if not math.isfinite(task.end):
                return record.end(Outcome.STALLED, text)
    record.carry = carry._replace(trigger=np.asarray(grad_norm / 10))


def _try_polish(task: Task, record: Record) -> None:
    assert task.problem is not None
    result, why = polish(task.problem, np.asarray(record.carry.y), float(task.settings.base_loss))
    record.hessians += result.hessians if result else 1
    if result:
        record.polished = result
        return record.end(Outcome.CONVERGED, f"polished at t = {_now(record):.6g}: {why}")
    record.carry = record.carry._replace(polish=record.carry.polish / 10)


def _record_events(task: Task, record: Record) -> bool:
    """Locate what happened in the last step; True if a terminal event ended the run there."""
    _, program = task.programs[record.solver]
    found, terminal = locate(program, task.args, record.carry, task.settings, task.events)
    record.happened.extend(found)
    if terminal is None:
        return False
    record.carry = terminal
    keep = record.rows("ts") <= float(terminal.time) if record.columns.get("ts") else None
    if keep is not None and not keep.all():
        if task.grid.kind != "steps":
            record.index -= int(np.sum(~keep))
        for name in record.columns:
            if not name.startswith("dense."):
                record.columns[name] = [record.rows(name)[keep]]
    where, gone = f"t = {float(terminal.time):.9g}", vanishing.lost(found[-1].name, task.problem, terminal.y)
    if gone is None:
        record.end(Outcome.EVENT, f"event {found[-1].name!r} at {where}")
    else:
        record.end(Outcome.STALLED, f"{where}: {gone}")
    return True


def _now(record: Record) -> float:
    return float(record.carry.time) + float(record.carry.time_low)


def _fraction(task: Task, record: Record) -> float | None:
    if not math.isfinite(task.end):
        return None
    first = task.grid.first if task.grid.kind == "log" and task.grid.first > 0 else task.end / 100
    return math.log1p(_now(record) / first) / math.log1p(task.end / first)


def _text(record: Record) -> str:
    loss = float(record.carry.loss)
    shown = f"loss {loss:.4g}, " if math.isfinite(loss) else ""
    return f"t = {_now(record):.4g}, {shown}{int(record.carry.accepted)} steps"


def freeze(record: Record, name: str, with_rows: bool) -> Snapshot:
    """The record as arrays and JSON; its rows too if no path holds them."""
    arrays = flatten(record.carry, f"{name}.carry")
    if with_rows:
        arrays |= {f"{name}.row.{column}": record.rows(column) for column in record.columns}
    else:
        arrays |= {
            f"{name}.row.{column}": record.rows(column)
            for column in record.columns
            if column.startswith("dense.")
        }
    for number, event in enumerate(record.happened):
        arrays[f"{name}.event.{number}"] = event.theta
    polished = None if record.polished is None else dataclasses.asdict(record.polished)
    if polished is not None:
        arrays[f"{name}.polished"] = polished.pop("theta")
    meta = {
        "index": record.index, "solver": record.solver, "switches": record.switches, "hessians": record.hessians,
        "seconds": record.seconds, "looked": record.looked, "degenerate": record.degenerate, "reason": record.reason,
        "outcome": None if record.outcome is None else record.outcome.name,
        "events": [[e.name, e.kind, e.time, e.value] for e in record.happened],
        "polished": polished, "inherited": dataclasses.astuple(record.inherited)[:-1],
    }  # fmt: skip
    return Snapshot(arrays, {name: meta})


def thaw(snapshot: Snapshot, name: str, task: Task, rows: dict[str, np.ndarray] | None) -> Record:
    """The record that `freeze` wrote, with its rows from a path if given."""
    meta = snapshot.meta[name]
    _, program = task.programs[meta["solver"]]
    template = engine.begin(program, task.args, task.y0, task.settings, np.float64(1.0), np.asarray(False))
    carry = restore(template, snapshot.arrays, f"{name}.carry")
    prefix = f"{name}.row."
    columns = {
        key[len(prefix) :]: [value] for key, value in snapshot.arrays.items() if key.startswith(prefix)
    }
    columns |= {key: [value] for key, value in (rows or {}).items()}
    happened = [
        RecordedEvent(label, kind, when, snapshot.arrays[f"{name}.event.{number}"], value)
        for number, (label, kind, when, value) in enumerate(meta["events"])
    ]
    record = Record(
        carry, meta["index"], meta["solver"], [tuple(s) for s in meta["switches"]], columns, happened,
        None if meta["outcome"] is None else Outcome[meta["outcome"]], meta["reason"], meta["degenerate"],
        meta["hessians"], meta["seconds"], meta.get("looked", 0.0), polished_in(snapshot, name),
        Stats(*meta["inherited"]),
    )  # fmt: skip
    return record


def polished_in(snapshot: Snapshot, name: str | None = None) -> Polished | None:
    """The polished minimum of a pass (of the path that was handed on, without a name), if there is one."""
    name = name or str(snapshot.meta.get("shown"))
    facts = snapshot.meta.get(name, {}).get("polished")
    return None if facts is None else Polished(snapshot.arrays[f"{name}.polished"], **facts)
