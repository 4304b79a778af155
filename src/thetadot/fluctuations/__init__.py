"""Fluctuations: how SGD's weights scatter around a minimum, whether in equilibrium, and along which directions."""

from thetadot.fluctuations.balance import DetailedBalance, detailed_balance
from thetadot.fluctuations.ensemble import EnsembleFluctuations, EnsembleStatus, sgd_ensemble
from thetadot.fluctuations.errors import (
    DriftWarning,
    FewSamplesWarning,
    FluctuationsError,
    LevelError,
    NearInstabilityWarning,
    NoStationaryStateError,
    NotAtMinimumWarning,
    NotStochasticError,
    SizeError,
    UnsupportedRuleError,
    UnsupportedSamplingError,
)
from thetadot.fluctuations.figures import (
    plot_circulation,
    plot_layers,
    plot_spectra,
    plot_theory_against_simulation,
    plot_variance_flatness,
)
from thetadot.fluctuations.flatness import Flatness, flatness
from thetadot.fluctuations.gradient_noise import GradientNoise, gradient_noise
from thetadot.fluctuations.layers import (
    LayerFluctuations,
    layer_fluctuations,
    linear_layer_fluctuations,
    linear_layer_jacobian,
    projector_covariance,
)
from thetadot.fluctuations.modes import PrincipalFluctuations, principal_fluctuations
from thetadot.fluctuations.multiplicative import sample_jacobians
from thetadot.fluctuations.online import (
    OnlineCovariance,
    OnlineRisk,
    StationaryStatus,
    online_gaussian_covariance,
)
from thetadot.fluctuations.sampling import noise_scale
from thetadot.fluctuations.stationary import (
    StationaryCovariance,
    stationary_covariance,
    stationary_covariance_of,
)
from thetadot.fluctuations.study import FluctuationsResult, Options, analyse
from thetadot.fluctuations.variance_flatness import FitStatus, VarianceFlatness, variance_flatness

__all__ = [
    "DetailedBalance",
    "DriftWarning",
    "EnsembleFluctuations",
    "EnsembleStatus",
    "FewSamplesWarning",
    "FitStatus",
    "Flatness",
    "FluctuationsError",
    "FluctuationsResult",
    "GradientNoise",
    "LayerFluctuations",
    "LevelError",
    "NearInstabilityWarning",
    "NoStationaryStateError",
    "NotAtMinimumWarning",
    "NotStochasticError",
    "OnlineCovariance",
    "OnlineRisk",
    "Options",
    "PrincipalFluctuations",
    "SizeError",
    "StationaryCovariance",
    "StationaryStatus",
    "UnsupportedRuleError",
    "UnsupportedSamplingError",
    "VarianceFlatness",
    "analyse",
    "detailed_balance",
    "flatness",
    "gradient_noise",
    "layer_fluctuations",
    "linear_layer_fluctuations",
    "linear_layer_jacobian",
    "noise_scale",
    "online_gaussian_covariance",
    "plot_circulation",
    "plot_layers",
    "plot_spectra",
    "plot_theory_against_simulation",
    "plot_variance_flatness",
    "principal_fluctuations",
    "projector_covariance",
    "sample_jacobians",
    "sgd_ensemble",
    "stationary_covariance",
    "stationary_covariance_of",
    "variance_flatness",
]
