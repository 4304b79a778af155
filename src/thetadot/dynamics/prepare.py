"""From a user's arguments to a task: checks, tolerances, save grid, compiled programs."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from thetadot.dynamics import certification, engine
from thetadot.dynamics.carry import Settings
from thetadot.dynamics.drive import Task
from thetadot.dynamics.events import Event
from thetadot.dynamics.program import Program
from thetadot.dynamics.saves import SaveGrid, SavesError, save_grid
from thetadot.dynamics.solver_choice import choose
from thetadot.dynamics.sundials import Sundials
from thetadot.dynamics.until import Until
from thetadot.errors import ThetadotError
from thetadot.numerics.solvers import CVODE, RightSide
from thetadot.problems import Problem

_ROW_NUMBERS = 4_000_000  # numbers in the buffer of saved rows
_STEP_NUMBERS = 8_000_000


class FlowArgumentError(ThetadotError):
    """An argument of `flow` or `integrate` that makes no sense."""


@dataclasses.dataclass(frozen=True)
class Wishes:
    """The arguments that `flow` and `integrate` share, as the user gave them."""

    until: Until | None
    accuracy: float
    rtol: float | None
    atol: float | None
    solver: Any
    saves: Any
    certify: bool
    polish: bool
    dense: bool

    def check(self) -> None:
        """Raise for values that make no sense."""
        for name in ("accuracy", "rtol", "atol"):
            value = getattr(self, name)
            if value is not None and not (np.ndim(value) == 0 and math.isfinite(value) and value > 0):
                raise FlowArgumentError(f"{name} = {value!r}: expected a positive number")
        if self.until is not None and not isinstance(self.until, Until):
            raise FlowArgumentError(
                f"until = {self.until!r}: expected thetadot.Until(time=…, grad_norm=…, …)"
            )
        if self.certify and isinstance(self.saves, str) and self.saves == "steps":
            raise FlowArgumentError(
                'certify compares runs on a common time grid: choose saves="log" or times, not "steps"'
            )

    @property
    def first_rtol(self) -> float:
        """Local tolerance of the first run."""
        return float(self.rtol) if self.rtol is not None else certification.first_rtol(self.accuracy)


def _end(wishes: Wishes) -> tuple[Until, float | None]:
    """The end conditions, where an explicit save grid may give the end time."""
    explicit = not isinstance(wishes.saves, str)
    last = float(np.max(np.asarray(wishes.saves, float))) if explicit and np.size(wishes.saves) else None
    if wishes.until is None:
        if last is None:
            raise FlowArgumentError("until is missing: give until=Until(time=…) or an array of save times")
        return Until(time=last) if last > 0 else Until(steps=1), last
    if wishes.until.time is not None:
        return wishes.until, float(wishes.until.time)
    # Without an end time of its own, a run with explicit saves ends at the last of them.
    return wishes.until, last


def make_task(
    wishes: Wishes,
    right_side: RightSide,
    args: Any,
    y0: jax.Array,
    groups: np.ndarray,
    observe: tuple[tuple[str, Callable], ...],
    events: tuple[Event, ...],
    problem: Problem | None,
    error_norm: Callable | None = None,
) -> Task:
    """The task of one run at its first tolerance."""
    wishes.check()
    until, end = _end(wishes)
    field, loss, rate = (np.asarray(part) for part in _evaluate(right_side, args, y0))
    size, speed = float(np.linalg.norm(y0)), float(np.linalg.norm(field))
    # The time in which θ moves by a thousandth of itself: where a geometric grid begins.
    first = 1e-3 * size / speed if size > 0 and speed > 0 else (end or 1.0) * 1e-6
    grid = save_grid(wishes.saves, end, first)
    _check_grid(grid, end)
    rtol = wishes.first_rtol
    count = int(groups.max()) + 1
    scale = float(getattr(problem, "time_scale", 1.0))
    length = math.inf if end is None else end * float(rate)
    steppers = choose(wishes.solver, y0.size, rtol, right_side.symmetric, length)
    for method in steppers:
        if method.needs_symmetry and not right_side.symmetric:
            raise FlowArgumentError(
                f"{method.name} needs a field with a symmetric Jacobian, such as gradient flow: "
                'choose solver="auto" or "NDF" for other systems'
            )
    settings = Settings(
        rtol=np.asarray(rtol),
        atol=np.full(y0.size, 0.0 if wishes.atol is None else float(wishes.atol)),
        scale_guard=np.asarray(0.1 if wishes.atol is None else 0.0),
        floor=np.asarray(size / math.sqrt(y0.size)),
        groups=np.asarray(groups, np.int64),
        end=np.asarray(math.inf if end is None else end),
        grad_norm=np.asarray(until.grad_norm or 0.0),
        loss=np.asarray(-math.inf if until.loss is None else float(until.loss)),
        steps=np.asarray(until.steps or np.iinfo(np.int64).max, np.int64),
        polish=np.asarray(0.01 * speed / scale if wishes.polish else 0.0),
        every_step=np.asarray(grid.kind == "steps"),
        switch=np.asarray(len(steppers) > 1),
        time_scale=np.asarray(scale),
        base_loss=loss.astype(float),
        pieces=np.asarray(1.0),
    )  # fmt: skip
    rows = int(np.clip(_ROW_NUMBERS // y0.size, 4, 64))
    dense_rows = int(np.clip(_STEP_NUMBERS // y0.size, 16, 512)) if wishes.dense else 0
    watched = tuple((event.fn, event.kind, event.wanted_direction) for event in events)
    programs = tuple(
        (method.name, Program(method, right_side, observe, watched, error_norm, count, rows, dense_rows))
        for method in steppers
    )
    chunk = engine.chunk
    if isinstance(steppers[0], CVODE):
        if error_norm is not None:
            raise FlowArgumentError("CVODE measures errors in its own norm: leave out error_norm")
        chunk = Sundials()
    return Task(programs, args, y0, settings, grid, until, events, problem, chunk)


def _check_grid(grid: SaveGrid, end: float | None) -> None:
    if grid.kind == "explicit" and end is not None and grid.explicit[0] > end:
        raise SavesError(f"all save times lie beyond the end time {end:g}")


@eqx.filter_jit
def _evaluate(right_side: RightSide, args: Any, y: jax.Array):
    """Field, loss, and the rate at which the field changes along itself: no more than the Jacobian's norm."""
    field, loss = right_side.evaluate(y, args)
    speed = jnp.maximum(jnp.sqrt(jnp.sum(field**2)), 1e-300)
    short = 1e-6 * jnp.maximum(jnp.sqrt(jnp.sum(y**2)), 1e-6) / speed
    ahead, _ = right_side.evaluate(y + short * field, args)
    return field, loss, jnp.sqrt(jnp.sum((ahead - field) ** 2)) / (short * speed)
