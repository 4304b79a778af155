"""Runs of a task: once, or repeatedly at tighter tolerances until the accuracy is certified; then the path."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from thetadot.dynamics import certification, drive
from thetadot.dynamics.accuracy import Accuracy, Stats
from thetadot.dynamics.clock import Clock
from thetadot.dynamics.drive import Record, Task
from thetadot.dynamics.extension import evaluate_dense
from thetadot.dynamics.outcome import Outcome
from thetadot.dynamics.path import Path
from thetadot.dynamics.snapshot import Snapshot
from thetadot.errors import ThetadotError
from thetadot.problems import Layout


class ResumeError(ThetadotError):
    """A path that cannot be resumed with these arguments."""


class FlowFailedError(ThetadotError):
    """The run broke down (`throw=True`); the path up to there is `error.path`."""

    def __init__(self, path: Path):
        super().__init__(f"{path.outcome.name}: {path.reason}; the path up to there is in the error's .path")
        self.path = path


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a task is to be run: the target accuracy and whether to certify it; words for summaries."""

    task: Task
    accuracy: float | None
    certify: bool
    clock: Clock
    info: Mapping[str, Any]
    identity: Mapping[str, Any]  # settings that a resumed run must share
    layout: Layout | None
    throw: bool
    dense: bool


def at_tolerance(task: Task, rtol: float) -> Task:
    """The same task at a tighter tolerance; a fixed atol tightens with it. Each pass also doubles the least number
    of steps between two saves: where these and not the tolerance bound the steps, two passes would otherwise be
    the same run and agree to the last bit, whatever their error."""
    factor = rtol / float(task.settings.rtol)
    passes = round(-math.log(factor) / math.log(certification.RATIO))
    settings = task.settings._replace(
        rtol=np.asarray(rtol), atol=np.asarray(task.settings.atol) * factor, pieces=np.asarray(2.0**passes)
    )
    return dataclasses.replace(task, settings=settings)


def follow(plan: Plan, resume: Path | None, losses: Callable | None = None) -> Path:
    """Run a plan to its end, budget or interrupt, and hand on the path."""
    records, tolerances = _start(plan, resume)
    estimates: list[float] = []
    try:
        _passes(plan, records, tolerances, estimates)
    finally:
        plan.clock.close()
    path = _path(plan, records, tolerances, estimates, losses)
    if plan.throw and path.outcome.failed:
        raise FlowFailedError(path)
    return path


def _unfinished(record: Record) -> bool:
    return record.outcome is None or record.outcome.resumable


def _failed(record: Record) -> bool:
    return record.outcome is not None and record.outcome.failed


def _passes(plan: Plan, records: list[Record], tolerances: list[float], estimates: list[float]) -> None:
    """Advance pass after pass; `records` keeps the last two, `estimates` the comparison of each neighbouring pair."""
    while True:
        record = records[-1]
        task = at_tolerance(plan.task, tolerances[-1])
        if record.outcome is None:
            drive.advance(task, record, plan.clock)
        if _unfinished(record) or not plan.certify or _failed(record):
            return
        if len(records) > 1:
            before = records[-2]
            estimate = certification.error_estimate(
                before.rows("ts"), before.rows("thetas"), record.rows("ts"), record.rows("thetas")
            )
            estimates.append(estimate)
            assert plan.accuracy is not None
            if estimate <= plan.accuracy or tolerances[-1] / certification.RATIO < certification.TIGHTEST:
                return
        tolerances.append(tolerances[-1] / certification.RATIO)
        records.append(drive.begin(at_tolerance(plan.task, tolerances[-1])))
        if len(records) > 2:
            records[1].inherited = _cost(plan.task, records.pop(0))


def _start(plan: Plan, resume: Path | None) -> tuple[list[Record], list[float]]:
    task = plan.task
    if resume is None:
        rtol = float(task.settings.rtol)
        return [drive.begin(task)], [rtol]
    snapshot = resume.state
    if snapshot is None or snapshot.meta.get("kind") != plan.identity["kind"]:
        raise ResumeError(
            f"this path holds no state of a {plan.identity['kind']}: only paths that one returned can be resumed"
        )
    for key, value in plan.identity.items():
        before = snapshot.meta["identity"].get(key)
        if before != value:
            raise ResumeError(
                f"resume: {key} was {before!r} and is now {value!r}; pass the same, or start anew"
            )
    if not np.array_equal(snapshot.arrays["start"], np.asarray(task.y0)):
        raise ResumeError("resume: the start differs from the path's; pass the same theta0, or start anew")
    rows = {
        "ts": resume.ts,
        "thetas": resume.thetas,
        "losses": resume.losses,
        "grad_norms": resume.grad_norms,
        "steps": resume.steps,
    }
    rows |= {f"observed.{name}": np.asarray(value) for name, value in resume.observed.items()}
    records = []
    for name in snapshot.meta["passes"]:
        held = rows if name == snapshot.meta["shown"] else None
        record = drive.thaw(snapshot, name, task, held)
        if record.outcome is not None and (record.outcome.resumable or _extended(task, record)):
            record.outcome = None
        records.append(record)
    return records, list(snapshot.meta["tolerances"])


def _extended(task: Task, record: Record) -> bool:
    """Whether the end condition that ended a run now lies further on."""
    carry, settings = record.carry, task.settings
    if record.outcome is Outcome.REACHED_TIME:
        # A step may have passed beyond the end; the rows say how far the run was wanted.
        reached = record.rows("ts")[-1:] if record.columns.get("ts") else np.zeros(0)
        return task.end > float(reached[0] if reached.size else carry.time)
    if record.outcome is Outcome.REACHED_LOSS:
        return float(carry.loss) > float(settings.loss)
    if record.outcome is Outcome.REACHED_STEPS:
        return int(carry.accepted) < int(settings.steps)
    return record.outcome is Outcome.EVENT


def _path(
    plan: Plan,
    records: list[Record],
    tolerances: list[float],
    estimates: list[float],
    losses: Callable | None,
) -> Path:
    task = plan.task
    shown = records[-1]
    # An unfinished check must not hide the finished run that it checks.
    if len(records) > 1 and (_unfinished(shown) or _failed(shown)):
        shown = records[-2]
    position = records.index(shown)
    last = records[-1] if _unfinished(records[-1]) else shown
    assert last.outcome is not None
    rtol = tolerances[-1] if position == len(records) - 1 else tolerances[-2]
    accuracy = Accuracy(
        target=plan.accuracy,
        global_error=estimates[-1] if estimates else None,
        energy_defect=_energy_defect(task, shown),
        rtol=rtol,
        note=_note(plan, estimates, rtol),
    )
    columns = {name: shown.rows(name) for name in shown.columns}
    loss_rows = columns["losses"] if losses is None else losses(columns)
    names = [f"pass{len(tolerances) - len(records) + number}" for number in range(len(records))]
    arrays, meta = {"start": np.asarray(task.y0)}, {}
    for name, record in zip(names, records, strict=True):
        part = drive.freeze(record, name, with_rows=record is not shown)
        arrays |= part.arrays
        meta |= part.meta
    meta |= {
        "kind": plan.identity["kind"], "identity": dict(plan.identity), "passes": names, "shown": names[position],
        "tolerances": tolerances,
    }  # fmt: skip
    info = dict(plan.info) | {"method": " → ".join(name for _, name in shown.switches), "rtol": rtol}
    if shown.polished is not None:
        info["polish"] = shown.polished.note
    observed = {
        name.removeprefix("observed."): value
        for name, value in columns.items()
        if name.startswith("observed.")
    }
    return Path(
        ts=columns["ts"], thetas=columns["thetas"], losses=loss_rows, grad_norms=columns["grad_norms"],
        steps=columns["steps"], observed=observed, events=tuple(shown.happened),
        outcome=last.outcome, reason=last.reason,
        degenerate=shown.degenerate, accuracy=accuracy, stats=_stats(task, records, shown),
        state=Snapshot(arrays, meta), info=info, layout=plan.layout, polished=shown.polished,
        _dense=_dense(task, shown, rtol) if plan.dense else None,
    )  # fmt: skip


def _note(plan: Plan, estimates: list[float], rtol: float) -> str:
    if estimates:
        return f"difference to a run at {certification.RATIO:g} times the tolerance, rtol = {rtol:.1e}"
    asked = " (certification unfinished)" if plan.certify else ""
    return f"accuracy not certified{asked}, rtol = {rtol:.1e}"


def _energy_defect(task: Task, record: Record) -> float:
    if not task.programs[0][1].right_side.has_loss:
        return math.nan
    drop = float(task.settings.base_loss) - float(record.carry.loss)
    work = float(record.carry.squared_speed) / float(task.settings.time_scale)
    if drop == 0:
        return 0.0 if work == 0 else math.inf
    return abs(drop - work) / abs(drop)


def _stats(task: Task, records: list[Record], shown: Record) -> Stats:
    total = Stats(solvers=tuple(shown.switches))
    for record in records:
        total = total + _cost(task, record)
    return total


def _cost(task: Task, record: Record) -> Stats:
    """What a pass cost, with those before it that are no longer kept."""
    carry, symmetric = record.carry, task.programs[0][1].right_side.symmetric
    jacobians = int(carry.jacobians)
    own = Stats(
        gradients=int(carry.evaluations),
        hessian_vector_products=int(carry.products) + (0 if symmetric else jacobians * task.y0.size),
        hessians=record.hessians + (jacobians if symmetric else 0),
        accepted=int(carry.accepted),
        rejected=int(carry.rejected),
        seconds=record.seconds,
    )
    return own + record.inherited


def _dense(task: Task, record: Record, rtol: float) -> Callable:
    settings = at_tolerance(task, rtol).settings
    recorded = [number for number in range(len(task.programs)) if record.columns.get(f"dense.{number}.time")]
    parts = [
        {name: record.rows(f"dense.{number}.{name}") for name in ("time", "low", "y", "length")}
        for number in recorded
    ]
    starts = [part["time"] + part["low"] for part in parts]

    def at(times: np.ndarray) -> np.ndarray:
        indices = [np.searchsorted(own, times, side="right") - 1 for own in starts]
        begun = [np.where(i >= 0, own[i], -np.inf) for i, own in zip(indices, starts, strict=True)]
        methods = np.argmax(begun, axis=0)  # whose step was the last to begin before each time
        found = np.empty((times.size, task.y0.size))
        for method, (number, part) in enumerate(zip(recorded, parts, strict=True)):
            mine = methods == method
            if not mine.any():
                continue
            index = np.maximum(indices[method][mine], 0)
            lengths = np.maximum(times[mine] - starts[method][index], 0.0)
            program = task.programs[number][1]
            found[mine] = evaluate_dense(
                program, task.args, settings, part["y"][index], part["length"][index], lengths
            )
        return found

    return at
