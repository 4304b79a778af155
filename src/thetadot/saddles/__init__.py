"""Lens: how a homogeneous network leaves the origin and walks from saddle to saddle, predicted and measured."""

from thetadot.saddles.correlation import NeuralCorrelation, neural_correlation
from thetadot.saddles.correlation_flow import CorrelationFlow, FlowStatus, correlation_flow
from thetadot.saddles.correlation_points import (
    CorrelationPoint,
    SecondOrder,
    SecondOrderStatus,
    correlation_points,
    refine_point,
)
from thetadot.saddles.critical_points import (
    CriticalPoint,
    MorseIndex,
    PointKind,
    PointStatus,
    critical_point,
    morse_index,
)
from thetadot.saddles.diagonal import DiagonalItinerary, DiagonalStatus, diagonal_itinerary
from thetadot.saddles.errors import (
    DegreeBelowTwoError,
    NoGroupsError,
    NonLipschitzGradientWarning,
    NotAsymptoticWarning,
    NotHomogeneousError,
    SaddlesError,
    StableManifoldWarning,
)
from thetadot.saddles.escape import Escape, EscapeStatus, escape_time
from thetadot.saddles.figures import (
    plot_correlation,
    plot_critical_spectrum,
    plot_directions,
    plot_escape_scaling,
    plot_itinerary,
    plot_path_deviation,
    plot_sparsity,
)
from thetadot.saddles.homogeneity import Homogeneity, HomogeneityStatus, homogeneity
from thetadot.saddles.itinerary import Itinerary, ItineraryStatus, Visit, saddle_itinerary
from thetadot.saddles.limiting_path import (
    DeviationStatus,
    LimitingPath,
    PathDeviation,
    PathStatus,
    limiting_path,
    path_deviation,
)
from thetadot.saddles.plateaus import Plateau, PlateauStatus, plateaus
from thetadot.saddles.sparsity import Sparsity, is_zero_preserving, neuron_groups, sparsity
from thetadot.saddles.study import Options, SaddlesResult, analyse

__all__ = [
    "CorrelationFlow",
    "CorrelationPoint",
    "CriticalPoint",
    "DegreeBelowTwoError",
    "DeviationStatus",
    "DiagonalItinerary",
    "DiagonalStatus",
    "Escape",
    "EscapeStatus",
    "FlowStatus",
    "Homogeneity",
    "HomogeneityStatus",
    "Itinerary",
    "ItineraryStatus",
    "LimitingPath",
    "MorseIndex",
    "NeuralCorrelation",
    "NoGroupsError",
    "NonLipschitzGradientWarning",
    "NotAsymptoticWarning",
    "NotHomogeneousError",
    "Options",
    "PathDeviation",
    "PathStatus",
    "Plateau",
    "PlateauStatus",
    "PointKind",
    "PointStatus",
    "SaddlesError",
    "SaddlesResult",
    "SecondOrder",
    "SecondOrderStatus",
    "Sparsity",
    "StableManifoldWarning",
    "Visit",
    "analyse",
    "correlation_flow",
    "correlation_points",
    "critical_point",
    "diagonal_itinerary",
    "escape_time",
    "homogeneity",
    "is_zero_preserving",
    "limiting_path",
    "morse_index",
    "neural_correlation",
    "neuron_groups",
    "path_deviation",
    "plateaus",
    "plot_correlation",
    "plot_critical_spectrum",
    "plot_directions",
    "plot_escape_scaling",
    "plot_itinerary",
    "plot_path_deviation",
    "plot_sparsity",
    "refine_point",
    "saddle_itinerary",
    "sparsity",
]
