"""Which solver runs: the user's, or the automatic choice from measured thresholds."""

import functools
import importlib.resources
import json
from typing import Any

from thetadot.numerics.solvers import Stepper, stepper

_ERROR_PER_RTOL = 100.0  # typical global error of a path, as a multiple of its local tolerance


@functools.cache
def thresholds() -> dict[str, Any]:
    """The thresholds: set from measurements of `benchmarks/calibrate.py`, which can write them anew for a machine."""
    text = importlib.resources.files("thetadot.dynamics").joinpath("solver_choice.json").read_text("utf-8")
    return json.loads(text)


def stiff_solver(size: int, error: float, symmetric: bool) -> str | None:
    """The solver for a stiff flow of `size` parameters at a wanted relative error; None: only an explicit one.

    Example:
        >>> stiff_solver(2000, 1e-4, symmetric=True)
        'NDF-cg'
    """
    known = thresholds()
    if not symmetric:
        return "NDF" if size <= known["lu_max_size"] else None
    for rule in known["small"]:
        if size <= rule["max_size"] and rule["min_error"] <= error < rule["below_error"]:
            return rule["solver"]
    if size <= known["cholesky_max_size"]:
        return "NDF"
    stabilised = known["cg_max_size"] is not None and size > known["cg_max_size"]
    return "RKC2" if stabilised and error >= known["rkc2_min_error"] else "NDF-cg"


def choose(solver: Any, size: int, rtol: float, symmetric: bool, stiffness: float) -> tuple[Stepper, ...]:
    """The stepper to start with, and the one to change to when the flow turns out to suit it better.

    Arguments:
        solver: the user's, or "auto": an explicit method where steps are bound by accuracy (Tsit5; Dopri8 for
            tight tolerances) and the stiff solver that the thresholds name where they are bound by stability.
        size: number of parameters.
        rtol: local tolerance.
        symmetric: whether the Jacobian is.
        stiffness: the run's length in units of the fastest time at the start (infinite if it has no end): long runs
            begin with the stiff solver, short ones with the explicit one.
    """
    if not (isinstance(solver, str) and solver == "auto"):
        return (stepper(solver),)
    known = thresholds()
    explicit = stepper("Dopri8" if rtol < known["dopri8_below_rtol"] else "Tsit5")
    name = stiff_solver(size, _ERROR_PER_RTOL * rtol, symmetric)
    if name is None:
        return (explicit,)
    stiff = stepper(name)
    if stiffness <= known["stiff_start"]:
        return (explicit, stiff)
    # At tight tolerances an explicit method is bound by accuracy where the stiff one strides on: no way back.
    return (stiff, explicit) if rtol >= known["hand_back_above_rtol"] else (stiff,)
