"""The same orbit in real time: numeric flow against the exact curve, block, integral and manifold."""

import dataclasses
from typing import Any

import numpy as np
import sympy
from jaxtyping import Float
from scipy.integrate import solve_ivp

from thetadot.dynamics import Path, Until, flow
from thetadot.integrability.errors import IntegrabilityError
from thetadot.integrability.orbits import Orbit
from thetadot.integrability.symbolic import SymbolicFlow
from thetadot.integrability.variational import normal_blocks

_SAVES = 33


@dataclasses.dataclass(frozen=True)
class RealTimeCompanion:
    """A numeric run along an orbit, and how it compares with what was derived exactly.

    Attributes:
        path: the run (S rows). times (S,). block_error: largest difference between −H D of `jax.hessian` and the exact
            ṗ D B along the exact curve, relative to the largest entry. invariance_defect: largest distance of the run
            from the manifold. integral_drift: largest change of the planar first integral, NaN without one.
        growth (S, b): logarithm of the largest growth factor of normal perturbations, one column for each block.
        closed_form_error: largest difference to a closed form, NaN without one.
    """

    path: Path
    times: Float[np.ndarray, " S"]
    block_error: float
    invariance_defect: float
    integral_drift: float
    growth: Float[np.ndarray, "S b"]
    orders: tuple[int, ...]
    closed_form_error: float


def real_time_companion(
    flow_: SymbolicFlow, orbit: Orbit, *, start: float, duration: float
) -> RealTimeCompanion:
    """Follow an orbit numerically and measure the distance to its exact description.

    Arguments:
        flow_: the flow. orbit: one of its orbits. start: value of the parameter p where the run begins, real and
            regular. duration: of the run, in units of the loss's time.

    Raises:
        IntegrabilityError: the curve is not real and finite at the start, or nothing moves there.
    """
    p = orbit.parameter
    curve = sympy.lambdify(p, [orbit.curve[s] for s in flow_.parameters], modules="numpy")
    velocity = sympy.lambdify(p, orbit.velocity, modules="numpy")
    theta0 = np.asarray(curve(float(start)))
    speed = velocity(float(start))
    if np.iscomplexobj(theta0) or not np.all(np.isfinite(theta0)) or not np.isfinite(speed) or speed == 0:
        raise IntegrabilityError(
            f"start = {start}: the curve is not real and moving there, choose another value"
        )
    times = np.linspace(0.0, float(duration), _SAVES)
    problem = flow_.problem()
    path = flow(
        problem, theta0.astype(float), until=Until(time=float(duration)), saves=times, accuracy=1e-9, progress=False
    )  # fmt: skip
    rows = np.asarray(path.thetas)
    times = np.asarray(path.ts)
    blocks = normal_blocks(flow_, orbit)
    systems = [sympy.lambdify(p, block.system * orbit.velocity, modules="numpy") for block in blocks]
    sizes = [block.order for block in blocks]

    def right(_: float, state: np.ndarray) -> np.ndarray:
        moved, at = [velocity(state[0])], 1
        for system, k in zip(systems, sizes, strict=True):
            part = state[at : at + k * k].reshape(k, k)
            moved.append((np.asarray(system(state[0]), float) @ part).ravel())
            at += k * k
        return np.concatenate([np.ravel(m) for m in moved])

    first = np.concatenate([[float(start)], *(np.eye(k).ravel() for k in sizes)])
    solved = solve_ivp(
        right, (0.0, float(times[-1])), first, method="DOP853", t_eval=times, rtol=1e-11, atol=1e-13
    )
    exact = solved.y.T
    growth, error, at = np.zeros((len(times), len(blocks))), 0.0, 1
    hessians = [np.asarray(problem.hessian(np.asarray(curve(q), float))) for q in exact[:, 0]]
    for b, (block, system) in enumerate(zip(blocks, systems, strict=True)):
        k = block.order
        growth[:, b] = [
            np.log(np.linalg.norm(row[at : at + k * k].reshape(k, k), 2)) for row in exact[: len(times)]
        ]
        directions = np.array(block.directions.tolist(), float)
        for q, hessian in zip(exact[:, 0], hessians, strict=True):
            gap = -hessian @ directions - directions @ np.asarray(system(q), float)
            error = max(error, float(np.abs(gap).max()) / max(1.0, float(np.abs(hessian).max())))
        at += k * k
    return RealTimeCompanion(
        path, times, error, _off(orbit, rows), _drift(flow_, orbit, rows), growth, tuple(sizes),
        _against_formula(flow_, rows, times),
    )  # fmt: skip


def _off(orbit: Orbit, rows: np.ndarray) -> float:
    normal = np.array(orbit.manifold.normal.tolist(), float)
    if not normal.size:
        return 0.0
    base = dict.fromkeys(orbit.manifold.coordinates, 0)
    origin = np.array(
        [float(sympy.sympify(orbit.manifold.substitution.get(s, 0)).subs(base)) for s in orbit.curve]
    )
    unit, _ = np.linalg.qr(normal)
    return float(np.linalg.norm((rows - origin) @ unit, axis=1).max())


def _drift(flow_: SymbolicFlow, orbit: Orbit, rows: np.ndarray) -> float:
    if orbit.integral is None:
        return float("nan")
    integral = sympy.lambdify(flow_.parameters, orbit.integral, modules="numpy")
    values: Any = np.array([integral(*row) for row in rows], float)
    return float(np.abs(values - values[0]).max())


def _against_formula(flow_: SymbolicFlow, rows: np.ndarray, times: np.ndarray) -> float:
    from thetadot.integrability.closed_form import closed_form

    formula = closed_form(flow_)
    if formula is None:
        return float("nan")
    return float(np.abs(formula(rows[0], times) - rows).max())
