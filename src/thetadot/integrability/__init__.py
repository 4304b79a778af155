"""Integrability: whether a gradient flow has a closed form, decided by differential Galois theory, with proofs."""

from thetadot.integrability.activations import ExactActivation, exact_activation
from thetadot.integrability.cartan import CartanResult, CartanStatus, cartan_criterion, prove_non_solvable
from thetadot.integrability.certificate import Certificate
from thetadot.integrability.closed_form import ClosedForm, closed_form
from thetadot.integrability.companion import RealTimeCompanion, real_time_companion
from thetadot.integrability.errors import (
    AlgebraicCoefficientError,
    CertificateError,
    DisagreementError,
    InexactDataError,
    IntegrabilityError,
    NotAlgebrizableError,
    NotAnalyticError,
    NotAnOrbitError,
    NotInvariantError,
    StationaryOrbitError,
    SymbolicParameterError,
    TriangularSystemError,
    UnsupportedFlowError,
)
from thetadot.integrability.figures import (
    plot_monodromy,
    plot_orbit,
    plot_real_time,
    plot_solvability_map,
    plot_verdict,
)
from thetadot.integrability.integrals import DarbouxPolynomial, darboux_polynomials, first_integrals
from thetadot.integrability.kimura import KimuraResult, exponent_differences, hypergeometric_equation, kimura
from thetadot.integrability.kovacic import (
    GaloisGroup,
    GaloisResult,
    LiouvillianSolution,
    RiccatiResult,
    SymmetricPowerResult,
    normal_form,
    reduce_equation,
    riccati_solution,
    second_order_galois,
    symmetric_power_invariant,
)
from thetadot.integrability.manifolds import InvariantManifold, invariant_manifold, invariant_manifolds
from thetadot.integrability.monodromy import Enclosure, Monodromy, monodromy
from thetadot.integrability.orbits import Orbit, orbit, orbits
from thetadot.integrability.outcome import ExcludedClass, Finding, Integrability, Verdict
from thetadot.integrability.solvability_map import SolvabilityMap, solvability_map
from thetadot.integrability.study import IntegrabilityResult, Options
from thetadot.integrability.symbolic import (
    ExactNetwork,
    SymbolicFlow,
    flow_of_problem,
    network_flow,
    symbolic_flow,
)
from thetadot.integrability.variational import VariationalBlock, normal_blocks
from thetadot.integrability.verdict import analyse, decide_block
from thetadot.integrability.verification import Check, Verification, verify_certificate

__all__ = [
    "AlgebraicCoefficientError",
    "CartanResult",
    "CartanStatus",
    "Certificate",
    "CertificateError",
    "Check",
    "ClosedForm",
    "DarbouxPolynomial",
    "DisagreementError",
    "Enclosure",
    "ExactActivation",
    "ExactNetwork",
    "ExcludedClass",
    "Finding",
    "GaloisGroup",
    "GaloisResult",
    "InexactDataError",
    "Integrability",
    "IntegrabilityError",
    "IntegrabilityResult",
    "InvariantManifold",
    "KimuraResult",
    "LiouvillianSolution",
    "Monodromy",
    "NotAlgebrizableError",
    "NotAnOrbitError",
    "NotAnalyticError",
    "NotInvariantError",
    "Options",
    "Orbit",
    "RealTimeCompanion",
    "RiccatiResult",
    "SolvabilityMap",
    "StationaryOrbitError",
    "SymbolicFlow",
    "SymbolicParameterError",
    "SymmetricPowerResult",
    "TriangularSystemError",
    "UnsupportedFlowError",
    "VariationalBlock",
    "Verdict",
    "Verification",
    "analyse",
    "cartan_criterion",
    "closed_form",
    "darboux_polynomials",
    "decide_block",
    "exact_activation",
    "exponent_differences",
    "first_integrals",
    "flow_of_problem",
    "hypergeometric_equation",
    "invariant_manifold",
    "invariant_manifolds",
    "kimura",
    "monodromy",
    "network_flow",
    "normal_blocks",
    "normal_form",
    "orbit",
    "orbits",
    "plot_monodromy",
    "plot_orbit",
    "plot_real_time",
    "plot_solvability_map",
    "plot_verdict",
    "prove_non_solvable",
    "real_time_companion",
    "reduce_equation",
    "riccati_solution",
    "second_order_galois",
    "solvability_map",
    "symbolic_flow",
    "symmetric_power_invariant",
    "verify_certificate",
]
