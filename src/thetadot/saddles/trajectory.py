"""Integrated trajectories of a walk: log time near the origin, real time after it, and where the loss falls."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from thetadot.dynamics import Event, Flow, Path, Until, flow, integrate
from thetadot.problems import Problem
from thetadot.saddles.escape import _beyond, log_time_field

_REAL_TIME = 1e8


def crossing_time(path: Path, level: float) -> float:
    """Time at which the loss falls through a level, by cubic Hermite interpolation with L′ = −‖∇L‖²."""
    below = np.flatnonzero((path.losses[:-1] >= level) & (path.losses[1:] < level))
    if not below.size:
        return float("nan")
    row = int(below[0])
    width = float(path.ts[row + 1] - path.ts[row])
    rate = float(path.info.get("time_scale", 1.0))
    first, last = float(path.losses[row]), float(path.losses[row + 1])
    slopes = [-rate * float(path.grad_norms[row + place]) ** 2 * width for place in (0, 1)]
    low, high = 0.0, 1.0
    for _ in range(60):
        s = 0.5 * (low + high)
        value = (
            (1 + 2 * s) * (1 - s) ** 2 * first + s * (1 - s) ** 2 * slopes[0]
            + s**2 * (3 - 2 * s) * last + s**2 * (s - 1) * slopes[1]
        )  # fmt: skip
        low, high = (s, high) if value > level else (low, s)
    return float(path.ts[row] + high * width)


def started(
    problem: Problem, theta: np.ndarray, degree: float | None, accuracy: float, horizon: float
) -> tuple[np.ndarray, float]:
    """(state, time) after an approach in log time where real time would be too long; else the start itself."""
    size = float(np.linalg.norm(theta))
    if degree is None or degree <= 2 or horizon < _REAL_TIME or size > 1e-3:
        return theta, 0.0
    args = (problem, jnp.asarray(degree - 2.0), jnp.asarray(1e-2))
    path = integrate(
        Flow(log_time_field, args), {"clock": jnp.asarray(0.0), "theta": jnp.asarray(theta)},
        until=Until(time=1e9), rtol=max(1e-2 * accuracy, 1e-12), solver="Tsit5", progress=False,
        events=[Event(_beyond, "zero", terminal=True, direction=1, name="escape")],
    )  # fmt: skip
    last = path.thetas[-1]
    return np.asarray(last[1:]), float(last[0])


def followed(
    problem: Problem, theta: np.ndarray, until: Until, accuracy: float, budget: float | None, offset: float
) -> Path:
    path = flow(
        problem, jnp.asarray(theta), until=until, accuracy=accuracy, rtol=max(1e-2 * accuracy, 1e-11),
        saves="steps", budget=budget, progress=False,
    )  # fmt: skip
    return dataclasses.replace(path, ts=path.ts + offset) if offset else path
