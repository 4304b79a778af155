"""Conservation: laws that training keeps, certificates of their number, and the smaller dynamics they leave."""

from thetadot.conservation.architecture import lift_of
from thetadot.conservation.certificate import check_certificate
from thetadot.conservation.count import CountStatus, LawCount, count_laws
from thetadot.conservation.errors import (
    ConservationError,
    CyclicGraphError,
    GraphError,
    InfeasibleImbalanceError,
    NotALawError,
    NotPolynomialError,
    NotRelaxedBalancedError,
    PathExplosionError,
    RankAmbiguousWarning,
    RankDropError,
    UnsupportedArchitectureError,
    ZeroWeightError,
)
from thetadot.conservation.fields import VectorFields, gradient_fields, mirror_fields, momentum_fields
from thetadot.conservation.known_laws import known_laws
from thetadot.conservation.laws import Laws
from thetadot.conservation.lift import (
    BlockLift,
    FunctionLift,
    Lift,
    LinearLift,
    MonomialLift,
    PolynomialLift,
    attention_lift,
)
from thetadot.conservation.path_graph import Edge, PathGraph, layered_graph
from thetadot.conservation.path_lift import PathLift
from thetadot.conservation.restricted import RestrictedLift, zero_sum
