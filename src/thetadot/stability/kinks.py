"""Kinks of activations, which tangents do not see: on how many of their sides did a run end elsewhere than it began?"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thetadot.dynamics.chatter import kinked
from thetadot.problems import EmpiricalRisk
from thetadot.stability.tangent import System


def has_kinks(system: System) -> bool:
    """Whether the network's activation is known to have kinks."""
    return kinked(system.problem)


@jax.jit
def _sides(problem: EmpiricalRisk, theta: Any) -> list[Any]:
    network: Any = problem.network
    return [values > 0 for values in network.preactivations(theta, problem.x).values()]


def kinks_crossed(system: System, first: Any, last: Any) -> str:
    """How many pairs of a hidden neuron and a sample lie on another side of the kink, in words."""
    ends = [_sides(system.problem, system.theta(jnp.asarray(state))) for state in (first, last)]
    changed = sum(int(np.sum(np.asarray(a) != np.asarray(b))) for a, b in zip(*ends, strict=True))
    return f"{changed} of {sum(side.size for side in ends[0])} pairs of a neuron and a sample changed sides"
