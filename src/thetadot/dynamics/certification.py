"""Stating the global error of a path: runs at tighter and tighter tolerances, compared on their common save times."""

import numpy as np
from jaxtyping import Float

RATIO = 30.0
TIGHTEST = 2e-14
FIRST = 1e-2  # first rtol relative to the wanted accuracy: the global error is typically 10²–10⁴ times rtol


def first_rtol(accuracy: float) -> float:
    """Tolerance of the first run for a wanted global error."""
    return max(accuracy * FIRST, TIGHTEST * RATIO)


def error_estimate(
    coarse_times: Float[np.ndarray, " S"],
    coarse: Float[np.ndarray, "S P"],
    fine_times: Float[np.ndarray, " T"],
    fine: Float[np.ndarray, "T P"],
) -> float:
    """max over common times of ‖θ_coarse − θ_fine‖/‖θ_fine‖: the error of the coarser run, and so an upper estimate
    for the finer one, which is the path that is handed on."""
    common, left, right = np.intersect1d(coarse_times, fine_times, return_indices=True)
    if np.count_nonzero(common > 0) == 0:
        left, right = np.array([-1]), np.array([-1])
    gap = np.linalg.norm(coarse[left] - fine[right], axis=1)
    size = np.linalg.norm(fine[right], axis=1)
    relative = gap / np.where(size > 0, size, 1.0)
    return max(float(np.max(relative)), float(np.finfo(float).eps))
