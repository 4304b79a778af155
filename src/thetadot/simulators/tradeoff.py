"""Noise in the data as a remedy: how much damping each variance buys, and how much bias it costs."""

import dataclasses

import numpy as np
from jaxtyping import Float

from thetadot.problems.checks import Numbers
from thetadot.simulators.checks import as_numbers, as_time
from thetadot.simulators.errors import SettingError
from thetadot.simulators.linear_training import simulator_limit
from thetadot.simulators.moments import Moments, noisy_moments
from thetadot.simulators.noise import noise_stability_bound
from thetadot.simulators.rollout import growth_rate


@dataclasses.dataclass(frozen=True)
class NoiseTradeoff:
    """What each variance does to the trained weights.

    Attributes:
        variances (V,): s². growth (V,): growth rate of what training ends at.
        bias (V,): ‖W∞(s²)P − W∞(0)P‖_F / ‖W∞(0)P‖_F, on the directions with energy.
        bound (V,): ln of `noise_stability_bound`, NaN where its hypothesis fails or for vector fields.
        setting: see `noisy_moments`. time: "discrete" or "continuous".
    """

    variances: Float[np.ndarray, " V"]
    growth: Float[np.ndarray, " V"]
    bias: Float[np.ndarray, " V"]
    bound: Float[np.ndarray, " V"]
    setting: str
    time: str

    @property
    def stabilising(self) -> float | None:
        """The smallest variance tried whose growth rate is not above 0; None if there is none."""
        calm = self.variances[self.growth <= 0]
        return float(calm.min()) if calm.size else None


def noise_tradeoff(
    moments: Moments,
    initial: Numbers,
    variances: Numbers,
    *,
    setting: str,
    time: str,
    time_step: float | None = None,
) -> NoiseTradeoff:
    """Growth rate and bias of what training on noisy data ends at, for several variances of the noise.

    Arguments:
        moments: of the data as they are. initial: W₀ (n, n), which alone decides without noise off the data.
        variances: s² (V,). setting, time_step: as in `noisy_moments`. time: "discrete" or "continuous".

    Raises:
        SettingError, MatrixError: as `noisy_moments`; no learnable direction at all.

    Example:
        >>> from thetadot.simulators import moments_of
        >>> found = noise_tradeoff(
        ...     moments_of(1.2 * np.eye(1), np.eye(1)), [[0.0]], [0.0, 0.5], setting="input", time="discrete")
        >>> found.stabilising, found.bias.round(3).tolist()
        (0.5, [0.0, 0.333])
    """
    as_time(time)
    grid, energy = as_numbers(variances, "variances", 1), moments.energy
    if energy.rank == 0:
        raise SettingError("the data have no energy: noise has nothing to bias")
    clean = energy.onto_data(simulator_limit(moments, initial))
    c = energy.energies[: energy.rank]
    operator = (moments.cross @ energy.learnable) / c @ energy.learnable.T
    growth, bias, bound = [], [], []
    for variance in grid.tolist():
        noisy = noisy_moments(moments, variance, setting=setting, time_step=time_step)
        limit = simulator_limit(noisy, initial)
        growth.append(growth_rate(limit, time=time))
        bias.append(
            float(np.linalg.norm(energy.onto_data(limit) - clean) / max(np.linalg.norm(clean), 1e-300))
        )
        told = time == "discrete" and setting in ("input", "state_and_next")
        found = noise_stability_bound(operator, moments.input, variance) if told else None
        bound.append(np.log(found.bound) if found is not None and found.status == "holds" else np.nan)
    return NoiseTradeoff(grid, np.array(growth), np.array(bias), np.array(bound), setting, time)
