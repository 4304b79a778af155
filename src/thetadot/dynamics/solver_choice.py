"""Which solver runs: the user's, or a simple automatic choice."""

from typing import Any

from thetadot.numerics.solvers import Stepper, stepper

LARGEST_IMPLICIT = 400  # parameters up to which a dense Jacobian pays
HIGH_ORDER_BELOW = 1e-10  # local tolerance below which the eighth order pays


def choose(solver: Any, size: int, rtol: float) -> tuple[Stepper, ...]:
    """The stepper to start with, and the one to switch to when the flow turns out to be stiff.

    "auto": an explicit method (Tsit5; Dopri8 for tight tolerances) that hands over to Kvaerno5 when its steps have
    been bound by stability for a while, if the problem is small enough for a dense Jacobian.
    """
    if not (isinstance(solver, str) and solver == "auto"):
        return (stepper(solver),)
    explicit = stepper("Dopri8" if rtol < HIGH_ORDER_BELOW else "Tsit5")
    return (explicit, stepper("Kvaerno5")) if size <= LARGEST_IMPLICIT else (explicit,)
