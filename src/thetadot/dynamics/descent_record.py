"""The record of a descent: what it is asked, what it has done, and how both become a path and come back."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from thetadot.dynamics import descent
from thetadot.dynamics.accuracy import Accuracy, Stats
from thetadot.dynamics.clock import Clock
from thetadot.dynamics.descent import Bounds, Chunk, Position, Program
from thetadot.dynamics.descent_time import StepTimes
from thetadot.dynamics.events import Event
from thetadot.dynamics.follow import ResumeError
from thetadot.dynamics.outcome import Outcome
from thetadot.dynamics.path import Path, RecordedEvent
from thetadot.dynamics.rules import Rule
from thetadot.dynamics.snapshot import Snapshot, flatten, restore
from thetadot.dynamics.until import Until


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a descent does; nothing here changes while it runs.

    Attributes:
        program: what is compiled.
        theta0: start (P,).
        steps: steps to be saved; `exactly` these, without a last row of its own.
        last, ending: the last step, and the outcome of reaching it.
        times: times of steps.
        until, events: when to end early, what to record.
        clock, info: budget and progress; words for summaries.
        identity: settings that a resumed run must share.
    """

    program: Program
    theta0: Float[Array, " P"]
    steps: Int[np.ndarray, " S"]
    exactly: bool
    last: int
    ending: Outcome
    times: StepTimes
    until: Until | None
    events: tuple[Event, ...]
    clock: Clock
    info: Mapping[str, Any]
    identity: Mapping[str, Any]

    @property
    def trigger(self) -> float:
        """Gradient norm that ends the run; −1 for none."""
        return -1.0 if self.until is None or self.until.grad_norm is None else self.until.grad_norm

    def time(self, n: int) -> float:
        """Time of step n."""
        return float(self.times.at(np.asarray([n]))[0])

    def place(self, n: int) -> str:
        """Step n in words."""
        return f"step {n}, t = {self.time(n):.6g}"

    def bounds(self, position: Position, rows: Int[np.ndarray, " r"], goal: int) -> Bounds:
        """Bounds of a chunk from a position through these rows to this step."""
        targets = np.full(self.program.rows + 1, goal, np.int32)
        targets[: rows.size] = rows
        loss = -np.inf if self.until is None or self.until.loss is None else self.until.loss
        # After a saddle the trigger is lower, until the gradient has grown again.
        high = 2 * self.trigger if float(position.trigger) < self.trigger else np.inf
        return Bounds(np.asarray(loss, float), np.asarray(high), targets, np.asarray(rows.size, np.int32))


@dataclasses.dataclass(eq=False)
class Record:
    """The growing record of one descent."""

    position: Position
    blocks: list[dict[str, np.ndarray]]  # columns of rows
    happened: list[tuple[int, RecordedEvent]]  # with the step at which each was seen
    saved: int = -1  # step of the last row
    rows: int = 0
    outcome: Outcome | None = None
    reason: str = ""
    degenerate: bool = False
    hessians: int = 0
    wasted: int = 0  # steps made to find where a run diverged, and beyond
    seconds: float = 0.0

    @property
    def n(self) -> int:
        """Steps made."""
        return int(self.position.n)

    def end(self, outcome: Outcome, reason: str) -> None:
        """End the run."""
        self.outcome, self.reason = outcome, reason

    def collect(self, chunk: Chunk, steps: Int[np.ndarray, " r"]) -> None:
        """Take the first rows of a chunk, which belong to these steps."""
        fields = {
            "thetas": chunk.rows.thetas,
            "losses": chunk.rows.losses,
            "grad_norms": chunk.rows.grad_norms,
        }
        fields |= {f"observed.{name}": values for name, values in chunk.rows.observed.items()}
        block = {name: np.asarray(values)[: steps.size].copy() for name, values in fields.items()}
        if steps.size:
            # One append, so that an interrupt cannot leave columns of different lengths.
            self.blocks.append(block | {"steps": steps.astype(np.int64)})
            self.saved, self.rows = int(steps[-1]), self.rows + steps.size


def _numbers(rule: Rule) -> dict[str, np.ndarray]:
    """The array leaves of a rule, random keys as their bits."""
    leaves = [leaf for leaf in jax.tree.leaves(rule) if eqx.is_array(leaf)]
    plain = [
        jax.random.key_data(leaf) if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        for leaf in leaves
    ]
    return {f"rule.{index}": np.asarray(leaf) for index, leaf in enumerate(plain)}


def thaw(plan: Plan, path: Path) -> Record:
    """The record of a path, ready to go on."""
    snapshot = path.state
    if snapshot is None or snapshot.meta.get("kind") != "descent":
        raise ResumeError(
            "resume: this path holds no state of a descent: only paths that descend returned can be resumed"
        )
    for key, value in plan.identity.items():
        stored = snapshot.meta["identity"].get(key)
        if stored != value:
            raise ResumeError(
                f"resume: {key} was {stored!r} and is now {value!r}; pass the same, or start anew"
            )
    expected = {"start": np.asarray(plan.theta0)} | _numbers(plan.program.rule)
    for name, value in expected.items():
        if name not in snapshot.arrays or not np.array_equal(snapshot.arrays[name], value):
            what = "theta0" if name == "start" else "a number of the rule"
            raise ResumeError(f"resume: {what} differs from the path's; pass the same, or start anew")
    shapes = eqx.filter_eval_shape(descent.begin, plan.program, plan.theta0, np.asarray(plan.trigger))
    template = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    try:
        position = restore(template, snapshot.arrays, "position")
    except (KeyError, ValueError) as error:
        raise ResumeError(f"resume: the state does not fit this problem and rule ({error})") from error
    if plan.program.keeps_loss and not snapshot.meta["keeps_loss"] and plan.program.rule.sees_theta:
        position = position._replace(loss=descent.loss_at(plan.program, position))
    if snapshot.meta["trigger"] != plan.trigger:
        position = position._replace(trigger=jax.numpy.asarray(np.float64(plan.trigger)))
    columns = {
        "thetas": path.thetas,
        "losses": path.losses,
        "grad_norms": path.grad_norms,
        "steps": path.steps,
    }
    columns |= {f"observed.{name}": np.asarray(values) for name, values in path.observed.items()}
    return Record(
        position=position,
        blocks=[columns],
        happened=[(0, event) for event in path.events],
        saved=int(path.steps[-1]) if path.steps.size else -1,
        rows=path.steps.size,
        degenerate=path.degenerate,
        hessians=path.stats.hessians,
        wasted=int(snapshot.meta["wasted"]),
        seconds=path.stats.seconds,
    )


def goes_on(plan: Plan, path: Path, record: Record) -> bool:
    """Whether a path that is given for resuming has not reached its end, or the end now lies further on."""
    outcome, until = path.outcome, plan.until
    if outcome.failed:
        return False
    if outcome in (Outcome.REACHED_STEPS, Outcome.REACHED_TIME):
        return record.n < plan.last
    if outcome is Outcome.REACHED_LOSS:
        return until is None or until.loss is None or not path.losses[-1] <= until.loss
    if outcome is Outcome.CONVERGED:
        return until is None or until.grad_norm is None or not path.grad_norms[-1] <= until.grad_norm
    return True


def to_path(plan: Plan, record: Record) -> Path:
    """The path of a record."""
    n, problem = record.n, plan.program.problem
    blocks = record.blocks or [_no_rows(plan)]
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    # An interrupt may have fallen between the rows of a chunk and its position.
    kept = columns["steps"] <= n
    columns = {name: values[kept] for name, values in columns.items()}
    steps = columns["steps"]
    own = n + record.wasted + (1 if plan.program.rule.sees_theta else steps.size)
    observed = {k.removeprefix("observed."): v for k, v in columns.items() if k.startswith("observed.")}
    assert record.outcome is not None
    arrays = (
        flatten(record.position, "position")
        | {"start": np.asarray(plan.theta0)}
        | _numbers(plan.program.rule)
    )
    meta = {
        "kind": "descent",
        "identity": dict(plan.identity),
        "trigger": plan.trigger,
        "keeps_loss": plan.program.keeps_loss,
        "wasted": record.wasted,
    }
    return Path(
        ts=plan.times.at(steps),
        thetas=columns["thetas"],
        losses=columns["losses"],
        grad_norms=columns["grad_norms"],
        steps=steps,
        observed=observed,
        events=tuple(event for seen, event in record.happened if seen <= n),
        outcome=record.outcome,
        reason=record.reason,
        degenerate=record.degenerate,
        accuracy=Accuracy(None, None, math.nan, math.nan, "a map: exact to rounding"),
        stats=Stats(gradients=own, hessians=record.hessians, accepted=n, seconds=record.seconds),
        state=Snapshot(arrays, meta),
        info=plan.info,
        layout=problem.layout,
    )


def _no_rows(plan: Plan) -> dict[str, np.ndarray]:
    """Columns without rows, of a run that was interrupted before its first chunk ended."""
    program = plan.program
    columns = {"thetas": np.zeros((0, program.problem.size)), "steps": np.zeros(0, np.int64)}
    columns |= {"losses": np.zeros(0), "grad_norms": np.zeros(0)}
    for name, fn in program.observe:
        shape = jax.eval_shape(fn, plan.theta0, program.problem)
        columns[f"observed.{name}"] = np.zeros((0, *shape.shape), shape.dtype)
    return columns
