"""Gradient flow of a problem, θ̇ = −time_scale·∇L(θ), to a stated accuracy."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from thetadot.dynamics.clock import Clock
from thetadot.dynamics.events import Event, resolve_events
from thetadot.dynamics.follow import Plan, follow
from thetadot.dynamics.integrate import _layer_groups, identity
from thetadot.dynamics.observables import check_observables, resolve_observables
from thetadot.dynamics.path import Path
from thetadot.dynamics.prepare import FlowArgumentError, Wishes, make_task
from thetadot.dynamics.right_sides import StateError, TrainingSide, flat_state
from thetadot.dynamics.until import Until
from thetadot.dynamics.vanishing import neuron_events
from thetadot.problems import PopulationRisk, Problem

NORMALISATION = "loss: mean over samples, with ½ in the squared loss; time in its units"


def flow(
    problem: Problem,
    theta0: Any,
    *,
    until: Until,
    accuracy: float = 1e-6,
    rtol: float | None = None,
    atol: float | None = None,
    solver: Any = "auto",
    saves: Any = "log",
    observe: Sequence[str] | Mapping[str, str | Callable] = (),
    events: Sequence[Event] | Mapping[str, Event] = (),
    certify: bool = False,
    polish: bool = False,
    perturb: float = 0.0,
    budget: float | None = None,
    progress: bool | Callable = True,
    resume: Path | None = None,
    throw: bool = False,
) -> Path:
    """Follow the gradient flow of a problem.

    Arguments:
        problem: what is trained.
        theta0 (P,): start, float64.
        until: end conditions; the first that holds ends the run.
        accuracy: wanted relative global error of θ along the path. The first run uses rtol = accuracy/100.
        rtol, atol: local tolerances, overriding `accuracy`'s choice. Without `atol` the absolute part is
            0.1·rtol times the running scale of each layer, so that a small initialisation is not frozen.
        solver: "auto", a name (NDF, Tsit5, Dopri5, Dopri8, Kvaerno3, Kvaerno4, Kvaerno5; CVODE and CVODE-GMRES with the
            extra `sundials`) or a diffrax solver.
        saves: "log" (geometric grid with 0 and the end, 200 rows), "linear", "steps" (every accepted step), or
            ascending times: then exactly those rows.
        observe: names (sharpness, layer_norms, balancedness, alignment, accuracy, test_loss, test_accuracy) or
            {name: name or fn(theta, problem)}, evaluated at every save.
        events: `Event`s, by sequence or {name: event}; they see (theta, problem).
        certify: measure the global error by further runs at rtol/30, rtol/900, … until the estimate meets `accuracy`;
            the finest run is handed on.
        polish: try Newton's method on the way to a minimum (see `Path.polished`).
        perturb: relative size of a random perturbation of theta0 (fixed seed), to leave an invariant manifold.
        budget: wall-clock seconds; the path so far is returned, and can be resumed.
        progress: True, False, or a function (fraction, text).
        resume: a path that an earlier call with the same arguments returned; the whole path comes back, equal to
            the bit to an uninterrupted run. `until` may lie further on.
        throw: raise `FlowFailedError` if the run diverges or stalls.

    Returns:
        The path.

    Raises:
        FlowArgumentError, StateError, PrecisionError, SavesError, ResumeError: bad arguments, before anything runs.

    Example:
        >>> import jax.numpy as jnp, thetadot as td
        >>> bowl = td.FunctionRisk(lambda theta: 0.5 * jnp.sum(theta**2), jnp.ones(2))
        >>> path = td.flow(bowl, jnp.ones(2), until=td.Until(time=1.0), certify=True)
        >>> print(path.outcome.name, abs(path.thetas[-1, 0] - jnp.exp(-1.0)) < 1e-6)
        REACHED_TIME True
    """
    if not isinstance(problem, Problem):
        raise FlowArgumentError(
            f"problem is a {type(problem).__name__}: expected a thetadot Problem; for other systems use integrate"
        )
    y0, shape = flat_state(theta0, "theta0")
    if len(shape.shapes) != 1 or len(shape.shapes[0]) != 1 or y0.size != problem.size:
        raise StateError(
            f"theta0 has shape {shape.shapes[0]}: expected ({problem.size},); problem.init(key) makes one"
        )
    if perturb:
        noise = jax.random.normal(jax.random.key(0), y0.shape)
        y0 = y0 + perturb * np.linalg.norm(y0) * noise / np.linalg.norm(noise)
    observables = resolve_observables(observe, problem)
    watched = (*resolve_events(events), *neuron_events(problem))
    check_observables(observables, y0, problem)
    wishes = Wishes(until, accuracy, rtol, atol, solver, saves, certify, polish, dense=False)
    task = make_task(
        wishes, TrainingSide(), problem, y0, _layer_groups(problem), observables, watched, problem
    )
    info = {
        "kind": "flow",
        "problem": problem.description,
        "time_scale": problem.time_scale,
        "normalisation": NORMALISATION
        + ("" if problem.time_scale == 1.0 else " (mean-field time: gradient × m)"),
        "perturb": perturb,
    }
    plan = Plan(
        task=task,
        accuracy=accuracy if certify or rtol is None else None,
        certify=certify,
        clock=Clock(budget, progress, "gradient flow"),
        info=info,
        identity=identity("flow", wishes, observables, watched) | {"polish": polish, "perturb": perturb},
        layout=problem.layout,
        throw=throw,
        dense=False,
    )
    return _with_expectations(follow(plan, resume), problem)


def _with_expectations(path: Path, problem: Problem) -> Path:
    """The path with the worst error of the problem's own expectations over its rows, where it has such."""
    if not isinstance(problem, PopulationRisk) or problem.method == "closed":
        return path
    worst = max(problem.expectation_error(theta) for theta in path.thetas)
    accuracy = dataclasses.replace(
        path.accuracy, expectation_error=worst, expectation_tolerance=problem.tolerance
    )
    return dataclasses.replace(path, accuracy=accuracy)
