"""Training by a learning rule, step by step, recorded like a flow."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from thetadot.dynamics.clock import Clock
from thetadot.dynamics.descent import Program
from thetadot.dynamics.descent_record import Plan
from thetadot.dynamics.descent_run import run
from thetadot.dynamics.descent_time import StepTimes
from thetadot.dynamics.events import Event, resolve_events
from thetadot.dynamics.flow import NORMALISATION
from thetadot.dynamics.maps import flat_state, step_time
from thetadot.dynamics.observables import check_observables, resolve_observables
from thetadot.dynamics.outcome import Outcome
from thetadot.dynamics.path import Path
from thetadot.dynamics.right_sides import StateError
from thetadot.dynamics.rules import Rule
from thetadot.dynamics.step_saves import saved_steps
from thetadot.dynamics.until import Until, UntilError
from thetadot.errors import ThetadotError
from thetadot.problems import Problem

_MOST_STEPS = 2**31 - 2
_BUFFER_NUMBERS = 2**19  # numbers in the buffer of saved rows


class DescendArgumentError(ThetadotError):
    """An argument of `descend` that makes no sense."""


def descend(
    problem: Problem,
    theta0: Any,
    rule: Rule,
    n_steps: int,
    *,
    saves: Any = "log",
    observe: Sequence[str] | Mapping[str, str | Callable] = (),
    events: Sequence[Event] | Mapping[str, Event] = (),
    until: Until | None = None,
    budget: float | None = None,
    progress: bool | Callable = True,
    resume: Path | None = None,
    throw: bool = False,
) -> Path:
    """Train a problem by a learning rule for `n_steps` steps.

    The time of a row is Σ learning_rate/time_scale over its steps, so that descent and `flow` share an axis
    (the step number, for `Optax` without `learning_rate`). Rows hold the loss and gradient norm of the
    whole problem, also where the rule itself sees batches.

    Arguments:
        problem: what is trained.
        theta0 (P,): start, float64.
        rule: `GradientDescent`, `HeavyBall`, `Nesterov`, `MiniBatch`, `PerSample` or `Optax`.
        n_steps: number of steps.
        saves: "log" (geometric in the step number, 200 rows with 0 and the last), "linear", "steps" (every
            step), or an ascending array: integers are step numbers, floats are times, each of which must be
            a step's. An array gives exactly those rows, and one where an event or end condition ends the
            run early.
        observe: names (sharpness, layer_norms, balancedness, alignment, accuracy, test_loss, test_accuracy) or
            {name: name or fn(theta, problem)}, evaluated at every save.
        events: `Event`s, by sequence or {name: event}; they see (theta, problem). A map has nothing in
            between: a zero is recorded at the first step past it, an extremum at the step that has it (seen
            one step later, where a terminal one ends the run).
        until: end conditions besides `n_steps`. `loss` and `grad_norm` are checked at every step where the
            rule sees them at θ (`GradientDescent`, `HeavyBall`, `Optax`), else at saved rows. At a saddle a
            small gradient does not end the run unless `accept_saddles`; a `plateau` is recorded.
        budget: wall-clock seconds; the path so far is returned, and can be resumed. A call makes some steps
            at least.
        progress: True, False, or a function (fraction, text).
        resume: a path that an earlier call with the same arguments returned; the whole path comes back,
            equal to the bit to an uninterrupted run. `n_steps` and `until` may lie further on: steps
            already made keep their rows.
        throw: raise `FlowFailedError` if the run diverges.

    Returns:
        The path. `stats.gradients` counts evaluations of the rule (of a batch, where it sees one) and, for
        rules that do not see L at θ, one of the whole problem for each row.

    Raises:
        DescendArgumentError, RuleError, StateError, PrecisionError, SavesError, ResumeError: bad arguments,
            before anything runs.

    Example:
        >>> import jax.numpy as jnp, thetadot as td
        >>> bowl = td.FunctionRisk(lambda theta: 0.5 * jnp.sum(theta**2), jnp.ones(2))
        >>> path = td.descend(bowl, jnp.ones(2), td.GradientDescent(0.1), 50, saves=[0, 50])
        >>> print(path.outcome.name, path.ts[-1], abs(path.thetas[-1, 0] - 0.9**50) < 1e-15)
        REACHED_STEPS 5.0 True
    """
    theta = check_arguments(problem, theta0, rule, n_steps, until)
    observables = resolve_observables(observe, problem)
    watched = resolve_events(events)
    check_observables(observables, theta, problem)
    timed = rule.learning_rate is not None
    times = StepTimes(step_time(problem, rule))
    last, ending = _end(int(n_steps), until, times, timed)
    explicit = not isinstance(saves, str)
    steps = saved_steps(saves, int(n_steps) if explicit else last, times.at if timed else None)
    program = Program(
        problem=problem,
        rule=rule,
        draw=rule.draw(problem),
        observe=observables,
        events=tuple((event.fn, event.kind, event.wanted_direction) for event in watched),
        rows=int(np.clip(_BUFFER_NUMBERS // problem.size, 8, 2048)),
        keeps_loss=rule.needs_loss or (until is not None and until.loss is not None) or _is_steps(saves),
    )
    plan = Plan(
        program=program,
        theta0=theta,
        steps=steps[steps <= last],
        exactly=explicit,
        last=last,
        ending=ending,
        times=times,
        until=until,
        events=watched,
        clock=Clock(budget, progress, "descent"),
        info={
            "kind": "descent",
            "problem": problem.description,
            "method": rule.description,
            "time": "sum of learning_rate/time_scale over the steps" if timed else "number of steps",
            "time_scale": problem.time_scale,
            "normalisation": NORMALISATION,
            "n_steps": int(n_steps),
        },
        identity={
            "rule": rule.description,
            "size": problem.size,
            "saves": "explicit" if explicit else saves,
            "observe": [name for name, _ in observables],
            "events": [event.name for event in watched],
        },
    )
    return run(plan, resume, throw)


def check_arguments(problem: Any, theta0: Any, rule: Any, n_steps: Any, until: Any) -> Any:
    """θ0 as a vector; raises for arguments that make no sense."""
    if not isinstance(problem, Problem):
        raise DescendArgumentError(f"problem is a {type(problem).__name__}: expected a thetadot Problem")
    if not isinstance(rule, Rule):
        hint = "; wrap it: Optax(transformation)" if hasattr(rule, "update") else ""
        raise DescendArgumentError(
            f"rule is a {type(rule).__name__}: expected GradientDescent, HeavyBall, Nesterov, MiniBatch, "
            f"PerSample or Optax{hint}"
        )
    whole = isinstance(n_steps, (int, np.integer)) and not isinstance(n_steps, bool)
    if not whole or not 0 <= n_steps <= _MOST_STEPS:
        raise DescendArgumentError(f"n_steps = {n_steps!r}: expected an integer from 0 to {_MOST_STEPS:,}")
    if until is not None and not isinstance(until, Until):
        raise DescendArgumentError(
            f"until = {until!r}: expected thetadot.Until(loss=…, grad_norm=…, …) or None"
        )
    theta = flat_state(theta0, "theta0")
    if theta.size != problem.size:
        raise StateError(
            f"theta0 has shape {theta.shape}: expected ({problem.size},); problem.init(key) makes one"
        )
    if not np.all(np.isfinite(np.asarray(theta))):
        raise StateError("theta0 contains NaN or infinite values: a run cannot start there")
    return theta


def _is_steps(saves: Any) -> bool:
    return isinstance(saves, str) and saves == "steps"


def _end(n_steps: int, until: Until | None, times: StepTimes, timed: bool) -> tuple[int, Outcome]:
    """The last step that `n_steps` and `until` allow, and what reaching it means."""
    last = n_steps if until is None or until.steps is None else min(n_steps, until.steps)
    if until is None or until.time is None:
        return last, Outcome.REACHED_STEPS
    if not timed:
        raise UntilError(
            "until.time: this rule has no time; state its learning rate, Optax(…, learning_rate=…)"
        )
    step = times.first_reaching(until.time, last)
    return (last, Outcome.REACHED_STEPS) if step is None else (step, Outcome.REACHED_TIME)
