"""Saddles that a base passes without coming to rest: where it would have gone if nothing else had grown."""

from collections.abc import Sequence

import numpy as np

from thetadot.problems import Problem
from thetadot.saddles.critical_points import CriticalPoint, Judge, PointStatus, _union, judged_end, polish
from thetadot.saddles.jumps import Segment, follow_base

SETTLED = 1e-7
_WITHIN = 0.1


def active_weights(groups: Sequence[np.ndarray], alive: np.ndarray, size: int) -> np.ndarray:
    """Indices of all weights but those of dead groups."""
    return np.setdiff1d(
        np.arange(size), _union([group for group, lives in zip(groups, alive, strict=True) if not lives])
    )


def nearest(
    problem: Problem, judge: Judge, groups: Sequence[np.ndarray], theta: np.ndarray, alive: np.ndarray
) -> tuple[CriticalPoint, np.ndarray] | None:
    """The critical point that a base passes at θ, with its living groups; None if none is near.

    The smallest groups may be on their way out or in: the nearest critical point decides which of them count.
    """
    norms = np.array([np.linalg.norm(theta[group]) for group in groups])
    order = [number for number in np.argsort(norms) if alive[number]]
    small = [number for number in order if norms[number] < 0.3 * norms.max()][: len(order) - 1]
    best = None
    for count in range(min(len(small), 4) + 1):
        living = alive.copy()
        living[small[:count]] = False
        near, converged = polish(problem, theta, active_weights(groups, living, theta.size), 1e-12)
        moved = float(np.linalg.norm(near - theta))
        if converged and moved < _WITHIN * np.linalg.norm(theta) and (best is None or moved < best[0]):
            best = moved, near, living
    if best is None:
        return None
    point, living = judged_end(judge, groups, best[1], best[2])
    return (point, living) if point.status is PointStatus.POLISHED else None


def undisturbed_end(
    problem: Problem,
    groups: Sequence[np.ndarray],
    segment: Segment,
    alive: np.ndarray,
    *,
    accuracy: float,
    radius: float,
) -> tuple[np.ndarray, np.ndarray] | None:
    """(θ, living groups) where a base settles, or is slowest, if nothing joins it; None if it never does.

    Groups that fade on the way are gone for good: what the walk visits as the scale tends to zero.
    """
    living = alive.copy()
    for _ in range(len(groups) + 1):
        end = segment.thetas[-1].copy()
        if segment.ending in ("settled", "passing"):
            return end, living
        if segment.ending != "faded":
            return None
        living[segment.faded] = False
        end[groups[segment.faded]] = 0.0
        segment = follow_base(
            problem, end, active_weights(groups, living, end.size), groups, living, {},
            accuracy=accuracy, radius=radius, peak=segment.peak, level=SETTLED,
        )  # fmt: skip
    return None
