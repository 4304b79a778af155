"""The steps at which a descent is saved."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from thetadot.dynamics.saves import DEFAULT_ROWS, SavesError

_TIME_MATCH = 1e-9  # relative to one step


def saved_steps(saves: Any, last: int, times: Callable | None) -> Int[np.ndarray, " S"]:
    """Ascending step numbers of the rows of a descent of `last` steps.

    Arguments:
        saves: "log" (geometric, at most 200 rows with 0 and the last), "linear" (the same, evenly), "steps"
            (all), or an array: integers are step numbers, floats are times that must each be a step's time.
        last: number of the last step.
        times: times of an array of steps; None for a rule that has no time.

    Raises:
        SavesError: unknown kind, not ascending, beyond the end, or a time that no step has.

    Example:
        >>> saved_steps([0, 2, 5], 10, lambda steps: 0.1 * steps).tolist()
        [0, 2, 5]
        >>> saved_steps([0.0, 0.5], 10, lambda steps: 0.1 * steps).tolist()
        [0, 5]
    """
    if isinstance(saves, str):
        if saves == "steps" or (saves in ("log", "linear") and last < DEFAULT_ROWS):
            return np.arange(last + 1)
        if saves == "linear":
            return np.rint(np.linspace(0, last, DEFAULT_ROWS)).astype(np.int64)
        if saves == "log":
            return _geometric(last)
        raise SavesError(
            f'saves = {saves!r}: expected "log", "linear", "steps" or an array of steps or times'
        )
    chosen = np.atleast_1d(np.asarray(saves))
    if (
        chosen.ndim != 1
        or chosen.size == 0
        or chosen.dtype.kind not in "iuf"
        or not np.all(np.isfinite(chosen))
    ):
        raise SavesError(
            f"saves is {chosen.dtype}{chosen.shape}: expected a non-empty array of integers (step numbers) "
            "or floats (times)"
        )
    if chosen[0] < 0 or np.any(np.diff(chosen) <= 0):
        raise SavesError("saves must be strictly ascending and ≥ 0: sort them and drop duplicates")
    if chosen.dtype.kind == "f":
        if times is None:
            raise SavesError(
                "this rule has no time: give saves as integers, or state the rule's learning rate"
            )
        return _steps_at(chosen, last, times)
    if chosen[-1] > last:
        raise SavesError(f"saves asks for step {chosen[-1]}, the run has {last}: make n_steps larger")
    return chosen.astype(np.int64)


def _geometric(last: int) -> Int[np.ndarray, " S"]:
    """0, 1, …, `last` in DEFAULT_ROWS distinct steps, the ratio of neighbours as even as integers allow."""
    steps = [0, 1]
    while len(steps) < DEFAULT_ROWS:
        ratio = (last / steps[-1]) ** (1 / (DEFAULT_ROWS - len(steps)))
        steps.append(max(steps[-1] + 1, round(steps[-1] * ratio)))
    return np.asarray(steps, np.int64)


def _steps_at(wanted: Float[np.ndarray, " S"], last: int, times: Callable) -> Int[np.ndarray, " S"]:
    """The steps whose times these are, by bisection over the step number."""
    low, high = np.zeros(wanted.size, np.int64), np.full(wanted.size, last, np.int64)
    while np.any(low < high):
        middle = (low + high) // 2
        open_, before = low < high, times(middle) < wanted
        low, high = np.where(open_ & before, middle + 1, low), np.where(open_ & ~before, middle, high)
    below = np.maximum(low - 1, 0)
    steps = np.where(np.abs(times(below) - wanted) < np.abs(times(low) - wanted), below, low)
    found, width = times(steps), np.abs(times(np.minimum(steps + 1, last)) - times(np.maximum(steps - 1, 0)))
    wrong = np.flatnonzero(~(np.abs(found - wanted) <= _TIME_MATCH * width + 1e-12 * np.abs(wanted)))
    if wrong.size:
        one = wrong[0]
        raise SavesError(
            f"no step has the time {wanted[one]:.12g}; the nearest is step {steps[one]} of {last}, at "
            f"{found[one]:.12g}. "
            "A map has nothing in between: give times of steps, or step numbers as integers"
        )
    return steps
