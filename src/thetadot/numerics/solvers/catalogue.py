"""The solvers by name, and the stepper of each."""

import functools
from collections.abc import Callable
from typing import Any

import diffrax

from thetadot.numerics.solvers.cvode import CVODE
from thetadot.numerics.solvers.diffrax_step import DiffraxStep
from thetadot.numerics.solvers.errors import SolverError
from thetadot.numerics.solvers.esdirk import ESDIRK
from thetadot.numerics.solvers.explicit_runge_kutta import ExplicitRungeKutta
from thetadot.numerics.solvers.exponential_rosenbrock import ExponentialRosenbrock
from thetadot.numerics.solvers.ndf import NDF
from thetadot.numerics.solvers.radau import RadauIIA
from thetadot.numerics.solvers.radau_step import RadauStep
from thetadot.numerics.solvers.rkc import RKC2
from thetadot.numerics.solvers.stepping import Stepper
from thetadot.numerics.solvers.tableau import from_diffrax

_KNOWN: dict[str, Callable[[], Any]] = {
    "NDF": NDF,
    "NDF-cg": functools.partial(NDF, "cg"),
    "RadauIIA": RadauIIA,
    "RadauIIA(3)": functools.partial(RadauIIA, 3),
    "RadauIIA(5)": functools.partial(RadauIIA, 5),
    "RadauIIA(7)": functools.partial(RadauIIA, 7),
    "Tsit5": diffrax.Tsit5,
    "Dopri5": diffrax.Dopri5,
    "Dopri8": diffrax.Dopri8,
    "Kvaerno3": diffrax.Kvaerno3,
    "Kvaerno4": diffrax.Kvaerno4,
    "Kvaerno5": diffrax.Kvaerno5,
    "RKC2": RKC2,
    "ExponentialRosenbrock": ExponentialRosenbrock,
    "CVODE": CVODE,
    "CVODE-GMRES": functools.partial(CVODE, "gmres"),
}


def stepper(solver: Any) -> Stepper:
    """The stepper for a solver given by name ("NDF", "Tsit5"), as one of ours, or as a diffrax solver.

    Explicit and ESDIRK Runge–Kutta methods run in loops of our own on diffrax's coefficients, which give loss and
    gradient norm at no extra cost and use the symmetric Hessian; other solvers run as they are.

    Raises:
        SolverError: unknown name; a solver without an error estimate; one that needs several terms.
    """
    if isinstance(solver, Stepper):
        return solver
    if isinstance(solver, str):
        known = {name.lower(): make for name, make in _KNOWN.items()}
        if solver.lower() not in known:
            raise SolverError(
                f'solver {solver!r} is not known: choose "auto", {", ".join(_KNOWN)}, or pass a diffrax solver'
            )
        solver = known[solver.lower()]()
        if isinstance(solver, Stepper):
            return solver
    if isinstance(solver, (RKC2, ExponentialRosenbrock)):
        return solver.stepper()
    if not isinstance(solver, diffrax.AbstractSolver):
        raise SolverError(f"solver must be a name or a diffrax solver, got {type(solver).__name__}")
    if not isinstance(solver, diffrax.AbstractAdaptiveSolver):
        raise SolverError(f"{type(solver).__name__} has no error estimate: choose Tsit5, Dopri8 or Kvaerno5")
    if solver.term_structure is not diffrax.AbstractTerm:
        raise SolverError(
            f"{type(solver).__name__} splits the field into several terms: choose Tsit5, Dopri8 or Kvaerno5"
        )
    if isinstance(solver, RadauIIA):
        return RadauStep(solver.stages)
    if isinstance(solver, diffrax.AbstractERK):
        return ExplicitRungeKutta(from_diffrax(solver))
    if isinstance(solver, (diffrax.Kvaerno3, diffrax.Kvaerno4, diffrax.Kvaerno5)):
        return ESDIRK(from_diffrax(solver))
    return DiffraxStep(solver)
