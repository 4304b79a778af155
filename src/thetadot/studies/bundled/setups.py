"""Problems of bundled studies that no key of a study file describes."""

import jax
import numpy as np

from thetadot.problems import EmpiricalRisk, linear, squared
from thetadot.simulators import absolute_with_spread, epidemic, erdos_renyi, graph_field, independent_states


def rotating_plane(dimension: int = 12, angle: float = 0.4, steps: int = 40) -> EmpiricalRisk:
    """A linear map that learns a slow, slightly damped rotation from one trajectory in a plane."""
    plane = np.linalg.qr(np.random.default_rng(0).normal(size=(dimension, 2)))[0]
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = 0.99 * np.array([[cosine, -sine], [sine, cosine]])
    states = np.array([np.linalg.matrix_power(turn, k)[:, 0] for k in range(steps + 1)]) @ plane.T
    name = f"a rotation in a plane of {dimension} dimensions"
    return EmpiricalRisk(linear([dimension, dimension]), squared, states[:-1], states[1:], name=name)


def epidemic_field(nodes: int = 12, states: int = 160) -> EmpiricalRisk:
    """A vector field on a random graph that learns an epidemic from states and their derivatives."""
    graph, dynamics = erdos_renyi(jax.random.key(0), nodes, 0.4), epidemic()
    x, y = independent_states(jax.random.key(1), dynamics, graph, samples=states)
    field = graph_field(graph, width=6, channels=6)
    return EmpiricalRisk(field, absolute_with_spread(), x, y, name=f"an epidemic on {nodes} nodes")
