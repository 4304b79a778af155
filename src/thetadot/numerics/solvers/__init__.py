"""Methods for gradient flow, one integrator a file."""

from thetadot.numerics.solvers.catalogue import SolverError, stepper
from thetadot.numerics.solvers.diffrax_step import DiffraxStep
from thetadot.numerics.solvers.esdirk import ESDIRK
from thetadot.numerics.solvers.explicit_runge_kutta import ExplicitRungeKutta
from thetadot.numerics.solvers.stepping import RightSide, Step, Stepper
from thetadot.numerics.solvers.tableau import Tableau, from_diffrax

__all__ = [
    "ESDIRK",
    "DiffraxStep",
    "ExplicitRungeKutta",
    "RightSide",
    "SolverError",
    "Step",
    "Stepper",
    "Tableau",
    "from_diffrax",
    "stepper",
]
