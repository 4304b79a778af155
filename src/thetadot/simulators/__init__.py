"""Lens: networks that learn dynamics; what the data teach, what is left of the initial weights, when to trust them."""

from thetadot.simulators.analysis import SimulatorAnalysis, Verdict
from thetadot.simulators.data_energy import DataEnergy, data_energy, learning_times
from thetadot.simulators.errors import (
    DomainError,
    DrawError,
    GraphError,
    MatrixError,
    NotASimulatorError,
    SettingError,
    SimulatorError,
    UnstableStepWarning,
)
from thetadot.simulators.figures import (
    plot_error_against_statistic,
    plot_learning_times,
    plot_noise_tradeoff,
    plot_rollout,
    plot_significance,
    plot_spectrum,
)
from thetadot.simulators.graph import Graph, degree_scale, erdos_renyi
from thetadot.simulators.graph_data import (
    FieldSeries,
    independent_states,
    observed_series,
    trajectory_problem,
)
from thetadot.simulators.graph_field import GraphField, absolute_with_spread, graph_field
from thetadot.simulators.initial_weights import project_weights, stable_initial_weights, unlearned_radius
from thetadot.simulators.linear_training import (
    InheritedSpectrum,
    SpectrumStatus,
    inherited_spectrum,
    leading_inherited,
    simulator_flow,
    simulator_limit,
    simulator_path,
)
from thetadot.simulators.moments import Moments, moments, moments_of, noisy_moments
from thetadot.simulators.node_dynamics import (
    NodeDynamics,
    epidemic,
    fitzhugh_nagumo,
    heat_diffusion,
    mass_action,
    michaelis_menten,
    population,
)
from thetadot.simulators.noise import NoiseBound, NoiseStatus, eigenvalue_shift, noise_stability_bound
from thetadot.simulators.nonlinear import (
    OffDataGrowth,
    field_jacobians,
    first_layer,
    off_data_growth,
    project_first_layer,
)
from thetadot.simulators.options import Options
from thetadot.simulators.rollout import forecast_horizon, growth_rate, rollout
from thetadot.simulators.significance import (
    FieldEnsemble,
    NullDistribution,
    Significance,
    acceptance,
    bootstrap_ensemble,
    d_statistic,
    null_distribution,
    p_values,
    significance,
)
from thetadot.simulators.study import analyse
from thetadot.simulators.tradeoff import NoiseTradeoff, noise_tradeoff
from thetadot.simulators.training_rule import BatchedOptax, field_rule

__all__ = [
    "BatchedOptax",
    "DataEnergy",
    "DomainError",
    "DrawError",
    "FieldEnsemble",
    "FieldSeries",
    "Graph",
    "GraphError",
    "GraphField",
    "InheritedSpectrum",
    "MatrixError",
    "Moments",
    "NodeDynamics",
    "NoiseBound",
    "NoiseStatus",
    "NoiseTradeoff",
    "NotASimulatorError",
    "NullDistribution",
    "OffDataGrowth",
    "Options",
    "SettingError",
    "Significance",
    "SimulatorAnalysis",
    "SimulatorError",
    "SpectrumStatus",
    "UnstableStepWarning",
    "Verdict",
    "absolute_with_spread",
    "acceptance",
    "analyse",
    "bootstrap_ensemble",
    "d_statistic",
    "data_energy",
    "degree_scale",
    "eigenvalue_shift",
    "epidemic",
    "erdos_renyi",
    "field_jacobians",
    "field_rule",
    "first_layer",
    "fitzhugh_nagumo",
    "forecast_horizon",
    "graph_field",
    "growth_rate",
    "heat_diffusion",
    "independent_states",
    "inherited_spectrum",
    "leading_inherited",
    "learning_times",
    "mass_action",
    "michaelis_menten",
    "moments",
    "moments_of",
    "noise_stability_bound",
    "noise_tradeoff",
    "noisy_moments",
    "null_distribution",
    "observed_series",
    "off_data_growth",
    "p_values",
    "plot_error_against_statistic",
    "plot_learning_times",
    "plot_noise_tradeoff",
    "plot_rollout",
    "plot_significance",
    "plot_spectrum",
    "population",
    "project_first_layer",
    "project_weights",
    "rollout",
    "significance",
    "simulator_flow",
    "simulator_limit",
    "simulator_path",
    "stable_initial_weights",
    "trajectory_problem",
    "unlearned_radius",
]
