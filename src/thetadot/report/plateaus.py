"""Plateaus: stretches of time in which a flow nearly stands still before it moves on."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Int
from scipy.signal import find_peaks

from thetadot.dynamics.path import Path

RISE = 2.0
FLATNESS = 0.05


@dataclasses.dataclass(frozen=True)
class Plateau:
    """A plateau of a path: rows `first` … `last` (inclusive), from time `start` to `stop`, at the loss
    `level`; the gradient norm was smallest, `grad_norm`, at time `slowest`."""

    first: int
    last: int
    start: float
    stop: float
    level: float
    slowest: float
    grad_norm: float


def plateaus(path: Path) -> tuple[Plateau, ...]:
    """The plateaus of a flow, in order.

    A plateau is where the saved gradient norm has a minimum after which it doubles again (so it is not the
    end of the run); it lasts as long as the loss differs from its value there by at most 5 % of what it still
    has to fall. Its start and end are no finer than the rows that were saved. Descents, whose gradient norm
    may swing from step to step, have none.
    """
    if path.info.get("kind") == "descent" or not np.isfinite(path.grad_norms).sum() >= 3:
        return ()
    rows = np.flatnonzero(np.isfinite(path.grad_norms) & (path.grad_norms > 0) & np.isfinite(path.losses))
    losses = path.losses[rows]
    if rows.size < 3 or not np.ptp(losses) > 0:
        return ()
    found = []
    for minimum in _minima(path.grad_norms[rows]):
        left = losses[minimum] - losses.min()
        near = np.abs(losses - losses[minimum]) <= FLATNESS * left
        first, last = _run_around(near, int(minimum))
        if last > first and not (found and found[-1].last >= rows[first]):
            found.append(_plateau(path, rows, first, last, int(minimum)))
    return tuple(found)


def _minima(grad_norms: Float[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
    """Minima of the gradient norm after which it at least doubles; the first row may be one, the last may
    not."""
    heights = -np.log(grad_norms)
    peaks, _ = find_peaks(np.concatenate([[heights.min() - 1e3], heights]), prominence=math.log(RISE))
    return peaks - 1


def _run_around(near: np.ndarray, place: int) -> tuple[int, int]:
    first = last = place
    while first > 0 and near[first - 1]:
        first -= 1
    while last + 1 < near.size and near[last + 1]:
        last += 1
    return first, last


def _plateau(path: Path, rows: np.ndarray, first: int, last: int, minimum: int) -> Plateau:
    ends = rows[first], rows[last]
    return Plateau(
        int(ends[0]),
        int(ends[1]),
        float(path.ts[ends[0]]),
        float(path.ts[ends[1]]),
        float(path.losses[rows[minimum]]),
        float(path.ts[rows[minimum]]),
        float(path.grad_norms[rows[minimum]]),
    )
