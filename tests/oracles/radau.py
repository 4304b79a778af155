"""SciPy's Radau IIA (order 5) as a second independent integrator of θ̇ = −∇L(θ)."""

import itertools
import warnings
from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp


def radau_flow(
    gradient: Callable[[np.ndarray], np.ndarray],
    hessian: Callable[[np.ndarray], np.ndarray],
    theta0: np.ndarray,
    ts: np.ndarray,
    *,
    rtol: float = 1e-12,
    atol: float | None = None,
) -> np.ndarray:
    """θ at the times ts (ts[0] = 0 must be first), (T, P).

    Every save time ends a separate call, since Radau's dense output is only of third order.
    """
    theta, ts = np.asarray(theta0, float), np.asarray(ts, float)
    assert ts[0] == 0.0
    floor = 0.1 * rtol * np.linalg.norm(theta) / np.sqrt(theta.size) if atol is None else atol
    rows, step = [theta], None
    for start, stop in itertools.pairwise(ts):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            solution = solve_ivp(
                lambda _, y: -gradient(y),
                (start, stop),
                theta,
                method="Radau",
                jac=lambda _, y: -hessian(y),
                rtol=rtol,
                atol=floor,
                first_step=None if step is None else min(step, stop - start),
            )
        if not solution.success:
            raise RuntimeError(f"Radau stopped at t = {solution.t[-1]:g} of {stop:g}: {solution.message}")
        theta = solution.y[:, -1]
        rows.append(theta)
        if len(solution.t) > 2:
            step = solution.t[-2] - solution.t[-3]
    return np.array(rows)
