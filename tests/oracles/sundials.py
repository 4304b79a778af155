"""SUNDIALS CVODE as an independent integrator of θ̇ = −∇L(θ), fed by gradient and Hessian written in NumPy."""

from collections.abc import Callable

import numpy as np
from sksundae import cvode


def cvode_flow(
    gradient: Callable[[np.ndarray], np.ndarray],
    theta0: np.ndarray,
    ts: np.ndarray,
    *,
    hessian: Callable[[np.ndarray], np.ndarray] | None = None,
    rtol: float = 1e-11,
    atol: float | None = None,
) -> np.ndarray:
    """θ at the times ts (ts[0] = 0 must be first), (T, P), by variable-order BDF.

    Without a Hessian CVODE takes differences. The default atol is rtol/10 of the typical initial component:
    a small start is not lost below it.
    """
    theta0, ts = np.asarray(theta0, float), np.asarray(ts, float)
    assert ts[0] == 0.0

    def field(_, theta, out):
        out[:] = -gradient(theta)

    def jacobian(_, theta, field_value, out):
        out[:, :] = -hessian(theta)

    scale = np.linalg.norm(theta0) / np.sqrt(theta0.size)
    solver = cvode.CVODE(
        field,
        method="BDF",
        rtol=rtol,
        atol=0.1 * rtol * scale if atol is None else atol,
        linsolver="dense",
        jacfn=None if hessian is None else jacobian,
        max_num_steps=10_000_000,
    )
    if ts.size == 2:  # two times mean "every step" to CVODE
        ts = np.array([ts[0], 0.5 * (ts[0] + ts[1]), ts[1]])
        return _checked(solver.solve(ts, theta0), ts)[[0, 2]]
    return _checked(solver.solve(ts, theta0), ts)


def _checked(solution, ts: np.ndarray) -> np.ndarray:
    if not solution.success or len(solution.t) != len(ts):
        raise RuntimeError(f"CVODE stopped at t = {solution.t[-1]:g} of {ts[-1]:g}: {solution.message}")
    return np.asarray(solution.y)
