"""Conservation: laws that training keeps, certificates of their number, and the smaller dynamics they leave."""

from thetadot.conservation.architecture import lift_of
from thetadot.conservation.balance import Imbalance, imbalance, relaxed_balanced_init
from thetadot.conservation.certificate import check_certificate
from thetadot.conservation.count import count_laws
from thetadot.conservation.drift import LawDrift, LawStatus, LawSteps, law_drift, law_steps, ledger
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
from thetadot.conservation.figures import (
    plot_imbalance,
    plot_kernel,
    plot_law_count,
    plot_law_drift,
    plot_law_steps,
    plot_neural_ode_invariant,
    plot_reduced,
)
from thetadot.conservation.kernel import KernelStatus, KernelTest, kernel_test, lift_metric
from thetadot.conservation.known_laws import known_laws
from thetadot.conservation.law_count import CountStatus, LawCount
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
from thetadot.conservation.linear_reduction import augmented_linear_field, relaxed_linear_field
from thetadot.conservation.neural_ode import LinearNeuralODE, Profile, neural_ode_field
from thetadot.conservation.outer_laws import outer_laws, output_lift
from thetadot.conservation.path_graph import Edge, PathGraph, layered_graph
from thetadot.conservation.path_lift import PathLift
from thetadot.conservation.polynomial_laws import PolynomialLaws, polynomial_laws
from thetadot.conservation.recover import Recovery, RecoveryStatus, rebalance, recover
from thetadot.conservation.reduced_flow import reduced_flow
from thetadot.conservation.reduced_path import Comparison, ReducedPath, ReducedStatus, compare
from thetadot.conservation.restricted import RestrictedLift, ZeroSumLift, zero_sum
from thetadot.conservation.study import ConservationResult, Options, analyse

__all__ = [
    "BlockLift",
    "Comparison",
    "ConservationError",
    "ConservationResult",
    "CountStatus",
    "CyclicGraphError",
    "Edge",
    "FunctionLift",
    "GraphError",
    "Imbalance",
    "InfeasibleImbalanceError",
    "KernelStatus",
    "KernelTest",
    "LawCount",
    "LawDrift",
    "LawStatus",
    "LawSteps",
    "Laws",
    "Lift",
    "LinearLift",
    "LinearNeuralODE",
    "MonomialLift",
    "NotALawError",
    "NotPolynomialError",
    "NotRelaxedBalancedError",
    "Options",
    "PathExplosionError",
    "PathGraph",
    "PathLift",
    "PolynomialLaws",
    "PolynomialLift",
    "Profile",
    "RankAmbiguousWarning",
    "RankDropError",
    "Recovery",
    "RecoveryStatus",
    "ReducedPath",
    "ReducedStatus",
    "RestrictedLift",
    "UnsupportedArchitectureError",
    "VectorFields",
    "ZeroSumLift",
    "ZeroWeightError",
    "analyse",
    "attention_lift",
    "augmented_linear_field",
    "check_certificate",
    "compare",
    "count_laws",
    "gradient_fields",
    "imbalance",
    "kernel_test",
    "known_laws",
    "law_drift",
    "law_steps",
    "layered_graph",
    "ledger",
    "lift_metric",
    "lift_of",
    "mirror_fields",
    "momentum_fields",
    "neural_ode_field",
    "outer_laws",
    "output_lift",
    "plot_imbalance",
    "plot_kernel",
    "plot_law_count",
    "plot_law_drift",
    "plot_law_steps",
    "plot_neural_ode_invariant",
    "plot_reduced",
    "polynomial_laws",
    "rebalance",
    "recover",
    "reduced_flow",
    "relaxed_balanced_init",
    "relaxed_linear_field",
    "zero_sum",
]
