"""Follow any flow: Lorenz, a reduced system, a variational equation, or a training flow."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np

from thetadot.dynamics.clock import Clock
from thetadot.dynamics.events import Event, resolve_events
from thetadot.dynamics.flows import Flow, training_field
from thetadot.dynamics.follow import Plan, follow
from thetadot.dynamics.observables import check_observables, resolve_observables
from thetadot.dynamics.path import Path
from thetadot.dynamics.prepare import FlowArgumentError, Wishes, make_task
from thetadot.dynamics.right_sides import OnState, RightSide, StateError, SystemSide, TrainingSide, flat_state
from thetadot.dynamics.until import Until
from thetadot.numerics.solvers import stepper


class _OnErrorAndState(eqx.Module):
    """A user's error norm of pytrees, on flat vectors."""

    fn: Callable
    shape: Any

    def __call__(self, error, y):
        return self.fn(self.shape.unravel(error), self.shape.unravel(y))


@eqx.filter_jit
def _row_losses(fn: Callable, states, args):
    return jax.lax.map(lambda y: fn(y, args), states)


def integrate(
    system: Flow,
    state0: Any,
    *,
    until: Until | None = None,
    loss: Callable | None = None,
    error_norm: Callable | None = None,
    dense: bool = False,
    accuracy: float = 1e-6,
    rtol: float | None = None,
    atol: float | None = None,
    solver: Any = "auto",
    saves: Any = "log",
    observe: Sequence[str] | Mapping[str, str | Callable] = (),
    events: Sequence[Event] | Mapping[str, Event] = (),
    certify: bool = False,
    budget: float | None = None,
    progress: bool | Callable = True,
    resume: Path | None = None,
    throw: bool = False,
) -> Path:
    """Follow a flow d state/dt = field(state, args).

    Arguments:
        system: the flow.
        state0: float64 array or pytree; its leaves in tree order are the columns of `path.thetas`.
        until: end conditions; None ends at the last explicit save.
        loss: (state, args) → scalar for `path.losses`; otherwise the observable named "risk", else NaN. Training
            flows have their own.
        error_norm: (error, state) → scalar, the relative size of a local error (both of the state's structure); a
            step is accepted if it is at most rtol. Default: root mean square over components, each on the scale
            of its own value and its leaf.
        dense: keep every step, so that `path.at(t)` gives the state at any time.
        accuracy, rtol, atol, solver, saves, observe, events, certify, budget, progress, resume, throw: as in `flow`;
            observables and events see the state in its own structure.

    Returns:
        The path; `path.thetas` (S, n).

    Raises:
        StateError, PrecisionError: a state that is not float64, finite and of the field's structure.

    Example:
        >>> import jax.numpy as jnp, thetadot as td
        >>> def turn(state, rate):
        ...     return rate * jnp.stack([-state[1], state[0]])
        >>> path = td.integrate(td.Flow(turn, 2.0), jnp.array([1.0, 0.0]), saves=[0.0, 0.5], accuracy=1e-10)
        >>> print(f"{path.thetas[-1, 0]:.8f}")
        0.54030231
    """
    y0, shape = flat_state(state0, "state0")
    problem = system.problem
    training = problem is not None and system.field is training_field and y0.size == problem.size
    right_side: RightSide = TrainingSide() if training else SystemSide(system.field, shape)
    if not training:
        _check_field(system, state0)

    def lifted(fn: Callable) -> Callable:
        return fn if training else OnState(fn, shape)

    observables = tuple((name, lifted(fn)) for name, fn in resolve_observables(observe, problem))
    watched = tuple(
        Event(lifted(e.fn), e.kind, e.terminal, e.direction, e.name) for e in resolve_events(events)
    )
    check_observables(observables, y0, system.args)
    if until is not None and until.loss is not None and not training:
        raise FlowArgumentError(
            "until.loss needs a training flow: end other systems with a terminal Event on their loss"
        )
    groups = _layer_groups(problem) if training else shape.groups
    wishes = Wishes(until, accuracy, rtol, atol, solver, saves, certify, polish=False, dense=dense)
    norm = None if error_norm is None else _OnErrorAndState(error_norm, shape)
    task = make_task(
        wishes, right_side, system.args, y0, groups, observables, watched, problem if training else None, norm
    )
    plan = Plan(
        task=task,
        accuracy=accuracy if certify or rtol is None else None,
        certify=certify,
        clock=Clock(budget, progress, "flow"),
        info={"kind": "integrate", "problem": getattr(problem, "description", "a user's system")},
        identity=identity("integrate", wishes, observables, watched),
        layout=problem.layout if training and problem is not None else None,
        throw=throw,
        dense=dense,
    )
    return follow(plan, resume, None if training else _losses(loss, shape, system.args))


def identity(kind: str, wishes: Wishes, observables: Any, events: tuple[Event, ...]) -> dict[str, Any]:
    """Settings that a resumed run must share with the run that it continues."""
    saves = wishes.saves if isinstance(wishes.saves, str) else "explicit"
    method = wishes.solver
    if not isinstance(method, str):
        method = stepper(method).name
    return {
        "kind": kind, "solver": method, "saves": saves, "rtol": wishes.first_rtol, "atol": wishes.atol,
        "certify": wishes.certify, "dense": wishes.dense, "observe": [name for name, _ in observables],
        "events": [event.name for event in events],
    }  # fmt: skip


def _layer_groups(problem: Any) -> np.ndarray:
    groups = np.zeros(problem.size, int)
    for number, part in enumerate(problem.layout.slices.values()):
        groups[part] = number
    return groups


def _check_field(system: Flow, state0: Any) -> None:
    try:
        out = jax.eval_shape(system.field, state0, system.args)
    except Exception as error:
        raise StateError(f"the field cannot be evaluated at state0: {error}") from error
    given = jax.tree.map(np.shape, state0)
    found = jax.tree.map(np.shape, out)
    if jax.tree.structure(out) != jax.tree.structure(state0) or given != found:
        raise StateError(f"the field returned shapes {found}; expected those of the state, {given}")


def _losses(loss: Callable | None, shape: Any, args: Any) -> Callable:
    def rows(columns: dict[str, np.ndarray]) -> np.ndarray:
        if loss is not None:
            return np.asarray(_row_losses(OnState(loss, shape), columns["thetas"], args))
        if "observed.risk" in columns:
            return np.asarray(columns["observed.risk"], float).reshape(len(columns["ts"]))
        return columns["losses"]

    return rows
