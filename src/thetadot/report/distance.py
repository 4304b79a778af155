"""How far a learning rule strays from the flow: the distance between their weights at equal time."""

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from thetadot.dynamics.path import Path

_COLUMNS = 4096


@dataclasses.dataclass(frozen=True)
class Distance:
    """Distance between a path and the flow at equal time.

    Attributes:
        ts (n,): times of the path's rows that the flow covers, after 0.
        relative (n,): ‖θ_path(t) − θ_flow(t)‖ / ‖θ_flow(t)‖.
        interpolation: a bound, by experiment, on the part of it that comes from interpolating the flow's
            rows.
    """

    ts: Float[np.ndarray, " n"]
    relative: Float[np.ndarray, " n"]
    interpolation: float


def distance_from_flow(path: Path, flow: Path) -> Distance | None:
    """The relative distance of a path from the flow at the path's own times.

    The flow between its rows is a cubic spline in arcsinh(t / first saved time), near which time runs
    linearly, and logarithmically afterwards. What that costs is measured: every second row is left out and
    predicted from the others, and the largest relative error is `interpolation`; the spline through all rows
    does better.

    Returns:
        The distance, or None where the flow has fewer than five usable rows or the two share no time after 0.
    """
    usable = np.all(np.isfinite(flow.thetas), axis=1) & np.isfinite(flow.ts)
    ts, thetas = flow.ts[usable], flow.thetas[usable]
    if len(ts) < 5 or thetas.shape[1] != path.thetas.shape[1]:
        return None
    shared = (path.ts > 0) & (path.ts <= ts[-1]) & np.all(np.isfinite(path.thetas), axis=1)
    if not shared.any():
        return None
    unit = ts[ts > 0][0]
    knots, wanted = np.arcsinh(ts / unit), np.arcsinh(path.ts[shared] / unit)
    odd = np.arange(1, len(ts) - 1, 2)
    even = np.setdiff1d(np.arange(len(ts)), odd)
    squares, sizes = np.zeros(wanted.size), np.zeros(wanted.size)
    errors, scales = np.zeros(odd.size), np.zeros(odd.size)
    for start in range(0, thetas.shape[1], _COLUMNS):
        part = slice(start, start + _COLUMNS)
        rows = thetas[:, part]
        there = CubicSpline(knots, rows)(wanted)
        with np.errstate(over="ignore"):
            squares += np.sum((path.thetas[shared][:, part] - there) ** 2, axis=1)
            sizes += np.sum(there**2, axis=1)
        errors += np.sum((CubicSpline(knots[even], rows[even])(knots[odd]) - rows[odd]) ** 2, axis=1)
        scales += np.sum(rows[odd] ** 2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.sqrt(squares / sizes)
        interpolation = np.sqrt(errors / scales)
    return Distance(path.ts[shared], relative, float(np.max(interpolation, initial=0.0)))
