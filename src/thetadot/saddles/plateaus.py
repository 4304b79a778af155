"""Plateaus of a path: deep minima of the gradient norm before the loss falls further."""

import dataclasses
import enum

import numpy as np
from jaxtyping import Float
from scipy.signal import find_peaks

from thetadot.dynamics import Path


class PlateauStatus(enum.Enum):
    """Whether the path moved on."""

    PASSED = "the loss fell further afterwards"
    CANDIDATE = "the path ends there"


@dataclasses.dataclass(frozen=True)
class Plateau:
    """A stretch where a path nearly stands still.

    Attributes:
        start, stop: times between which ‖∇L‖ is below √prominence times its minimum.
        time, theta (P,), grad_norm, loss: at the minimum of ‖∇L‖.
        status: PASSED or CANDIDATE.
    """

    start: float
    stop: float
    time: float
    theta: Float[np.ndarray, " P"]
    grad_norm: float
    loss: float
    status: PlateauStatus


def plateaus(path: Path, *, prominence: float = 30.0) -> tuple[Plateau, ...]:
    """Near-critical points that a path passes: minima of ln‖∇L‖ that stand out by a factor, in the order of time.

    Arguments:
        path: of a flow (save every step, or densely: what lies between rows is not seen).
        prominence: factor by which ‖∇L‖ must rise on both sides; and the loss must be lower afterwards.

    Example:
        >>> import jax.numpy as jnp, numpy as np, thetadot as td
        >>> problem = td.EmpiricalRisk(td.diagonal(2), td.squared, np.eye(2), np.array([2.0, 0.5]))
        >>> path = td.flow(problem, jnp.array([1e-5] * 4), until=td.Until(time=200.0, grad_norm=1e-9), progress=False)
        >>> [(round(float(one.loss), 4), one.status.name) for one in plateaus(path)]
        [(0.0625, 'PASSED'), (0.0, 'CANDIDATE')]
    """
    rows = np.flatnonzero(np.isfinite(path.grad_norms) & np.isfinite(path.losses))
    if rows.size < 3:
        return ()
    norms = np.maximum(np.asarray(path.grad_norms, float)[rows], 1e-300)
    losses = np.asarray(path.losses, float)[rows]
    if not np.ptp(losses) > 0:
        return ()
    depth = -np.log(norms)
    # A wall behind the end lets the last minimum count; the start of a path is not a plateau that it came to.
    padded = np.append(depth, depth.min() - 1e3)
    peaks, _ = find_peaks(padded, prominence=np.log(prominence))
    found = []
    for peak in peaks:
        last = peak >= rows.size - 1 or not np.any(norms[peak:] > prominence * norms[peak])
        if not last and not losses[-1] < losses[peak] - 1e-12 * abs(losses[0]):
            continue
        near = norms <= np.sqrt(prominence) * norms[peak]
        left = right = int(peak)
        while left > 0 and near[left - 1]:
            left -= 1
        while right + 1 < rows.size and near[right + 1]:
            right += 1
        row = rows[peak]
        found.append(
            Plateau(
                float(path.ts[rows[left]]), float(path.ts[rows[right]]), float(path.ts[row]),
                np.asarray(path.thetas[row]), float(norms[peak]), float(losses[peak]),
                PlateauStatus.CANDIDATE if last else PlateauStatus.PASSED,
            )
        )  # fmt: skip
    return tuple(found)
