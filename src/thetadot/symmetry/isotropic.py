"""The linear predictor of a network on an odd target with isotropic inputs, in closed form."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from thetadot.symmetry.errors import ParticleError


@dataclasses.dataclass(frozen=True)
class IsotropicSolution:
    """|w| against time, the asymptotic rate of |w − w*|, and the guaranteed one.

    Attributes:
        norm (S,): |w(t)|, along w*.
        rate: r with |w − w*| ~ e^{−rt} for t → ∞.
        rate_bound: |w − w*| ≤ |w*|e^{−rate_bound·t} at all times.
    """

    norm: Float[np.ndarray, " S"]
    rate: float
    rate_bound: float


def isotropic_solution(
    times: Float[np.ndarray, " S"] | list[float],
    optimum_norm: float,
    *,
    metric_sum: float,
    variance: float = 1.0,
    slope: float = 0.0,
) -> IsotropicSolution:
    """The predictor w(t) = |w(t)|w*/|w*| of an odd target under Σ = vI from w(0) = 0, B(0) = β₀I.

    Arguments:
        times (S,): in mean-field time.
        optimum_norm: n = |w*|.
        metric_sum: V = A₀ + β₀; 1 + 1/d at infinite width from the unit sphere and ±1.
        variance: v.
        slope: of the leaky ReLU.

    Source: re-derived: with κ = (1 + slope)/2 and W = (κV/4)(z − 1/z), z obeys a Riccati equation.

    Example:
        >>> isotropic_solution([1.0, 4.0], 1.0, metric_sum=1.1).norm.round(8).tolist()
        [0.26919043, 0.91343539]
    """
    for name, value in (("optimum_norm", optimum_norm), ("metric_sum", metric_sum), ("variance", variance)):
        if not (math.isfinite(value) and value > 0):
            raise ParticleError(f"{name} is {value!r}, expected a positive number")
    kappa, n = 0.5 * (1 + slope), optimum_norm
    k = kappa * metric_sum / (2 * n)
    p = math.sqrt(1 + k * k)
    upper, lower = (1 + p) / k, -k / (1 + p)  # (1 − p)/k without cancellation
    start = (1 - lower) / (upper - 1)
    rate = 2 * kappa * variance * n * p
    decay = np.exp(-rate * np.asarray(times, float))
    z = (lower * decay + start * upper) / (decay + start)
    return IsotropicSolution(kappa * metric_sum / 4 * (z - 1 / z), rate, kappa**2 * metric_sum * variance)
