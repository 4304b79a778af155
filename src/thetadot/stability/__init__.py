"""Lens: whether a run is stable; tangent operators, Lyapunov exponents, covariant vectors, distances, prediction."""

from thetadot.stability.angles import Localisation, domination, localisation, principal_angles
from thetadot.stability.covariant import CovariantVectors, covariant_vectors
from thetadot.stability.discrimination import (
    PredictiveValue,
    area_under_curve,
    predictive_value,
    roc_curve,
)
from thetadot.stability.errors import (
    ConfigurationMismatchError,
    DegenerateLabelsError,
    DivergedError,
    HiddenDependenceError,
    InvariantSubspaceWarning,
    KinkWarning,
    NotAFixedPointError,
    NoTransientWarning,
    RecomputationError,
    SizeError,
    StabilityError,
)
from thetadot.stability.figures import (
    plot_angles,
    plot_convergence,
    plot_distances,
    plot_drift,
    plot_exponents,
    plot_orbit_diagram,
    plot_prediction,
    plot_sharpness,
    plot_spectrum,
    plot_vectors,
)
from thetadot.stability.finite_time import FiniteTimeExponents, FiniteTimeStatus, finite_time_exponents
from thetadot.stability.fixed_points import fixed_point_exponents
from thetadot.stability.growth import Drift, GrowthRate, drift, growth_rate
from thetadot.stability.network_exponent import NetworkExponent, network_exponent
from thetadot.stability.options import Options
from thetadot.stability.orbital import OrbitalStability, OrbitalStatus, orbital_stability
from thetadot.stability.prediction import LossPrediction, PredictionStatus, loss_prediction
from thetadot.stability.regimes import Regime, RegimeScan, regime_scan
from thetadot.stability.shallow import shallow_hessian
from thetadot.stability.sharpness import Sharpness, SharpnessTrack, sharpness, sharpness_along
from thetadot.stability.spectrum import LyapunovSpectrum, lyapunov
from thetadot.stability.status import SpectrumStatus
from thetadot.stability.study import StabilityAnalysis, analyse
from thetadot.stability.tangent import adjoint, tangent, tangent_matrix

__all__ = [
    "ConfigurationMismatchError",
    "CovariantVectors",
    "DegenerateLabelsError",
    "DivergedError",
    "Drift",
    "FiniteTimeExponents",
    "FiniteTimeStatus",
    "GrowthRate",
    "HiddenDependenceError",
    "InvariantSubspaceWarning",
    "KinkWarning",
    "Localisation",
    "LossPrediction",
    "LyapunovSpectrum",
    "NetworkExponent",
    "NoTransientWarning",
    "NotAFixedPointError",
    "Options",
    "OrbitalStability",
    "OrbitalStatus",
    "PredictionStatus",
    "PredictiveValue",
    "RecomputationError",
    "Regime",
    "RegimeScan",
    "Sharpness",
    "SharpnessTrack",
    "SizeError",
    "SpectrumStatus",
    "StabilityAnalysis",
    "StabilityError",
    "adjoint",
    "analyse",
    "area_under_curve",
    "covariant_vectors",
    "domination",
    "drift",
    "finite_time_exponents",
    "fixed_point_exponents",
    "growth_rate",
    "localisation",
    "loss_prediction",
    "lyapunov",
    "network_exponent",
    "orbital_stability",
    "plot_angles",
    "plot_convergence",
    "plot_distances",
    "plot_drift",
    "plot_exponents",
    "plot_orbit_diagram",
    "plot_prediction",
    "plot_sharpness",
    "plot_spectrum",
    "plot_vectors",
    "predictive_value",
    "principal_angles",
    "regime_scan",
    "roc_curve",
    "shallow_hessian",
    "sharpness",
    "sharpness_along",
    "tangent",
    "tangent_matrix",
]
