"""Methods for gradient flow, one integrator a file."""

from thetadot.numerics.solvers.catalogue import stepper
from thetadot.numerics.solvers.cvode import CVODE, MissingSundialsError
from thetadot.numerics.solvers.diffrax_step import DiffraxStep
from thetadot.numerics.solvers.errors import SolverError
from thetadot.numerics.solvers.esdirk import ESDIRK
from thetadot.numerics.solvers.explicit_runge_kutta import ExplicitRungeKutta
from thetadot.numerics.solvers.exponential_rosenbrock import ExponentialRosenbrock
from thetadot.numerics.solvers.ndf import NDF
from thetadot.numerics.solvers.radau import RadauIIA
from thetadot.numerics.solvers.rkc import RKC2
from thetadot.numerics.solvers.stepping import RightSide, Step, Stepper
from thetadot.numerics.solvers.tableau import Tableau, from_diffrax

__all__ = [
    "CVODE",
    "ESDIRK",
    "NDF",
    "RKC2",
    "DiffraxStep",
    "ExplicitRungeKutta",
    "ExponentialRosenbrock",
    "MissingSundialsError",
    "RadauIIA",
    "RightSide",
    "SolverError",
    "Step",
    "Stepper",
    "Tableau",
    "from_diffrax",
    "stepper",
]
