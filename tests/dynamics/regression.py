"""A small regression with its gradient by hand, of all samples or some; shared, so as to be compiled once."""

import numpy as np

import thetadot as td
from tests.oracles.tanh_network import TanhNetwork

SAMPLES, INPUTS, WIDTH = 12, 2, 3


def problem(samples: int = SAMPLES, seed: int = 0) -> td.EmpiricalRisk:
    """A 2-3-1 tanh network on noisy samples of a sine."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, INPUTS))
    return td.EmpiricalRisk(td.mlp([INPUTS, WIDTH, 1], "tanh"), td.squared, x, np.sin(2 * x[:, :1]))


def by_hand(risk: td.EmpiricalRisk) -> TanhNetwork:
    """The same risk in NumPy."""
    return TanhNetwork(np.asarray(risk.x), np.asarray(risk.y)[:, 0], WIDTH)


RISK = problem()
HAND = by_hand(RISK)
THETA0 = np.random.default_rng(7).normal(size=HAND.size) * 0.7


def batch_gradient(theta: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """∇L of the samples at `indices`, by hand."""
    return TanhNetwork(HAND.x[indices], HAND.y[indices], WIDTH).gradient(theta)
