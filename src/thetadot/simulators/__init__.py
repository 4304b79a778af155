"""Lens: networks that learn dynamics; what the data teach, what is left of the initial weights, when to trust them."""

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
from thetadot.simulators.noise import NoiseBound, NoiseStatus, eigenvalue_shift, noise_stability_bound
from thetadot.simulators.rollout import forecast_horizon, growth_rate, rollout
