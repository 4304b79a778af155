"""The small network of these tests: 31 parameters, 20 samples of a sine."""

import jax
import numpy as np

import thetadot as td

X = np.linspace(-2, 2, 20)[:, None]
NET = td.EmpiricalRisk(td.mlp([1, 10, 1], "tanh"), td.squared, X, np.sin(2 * X))
THETA = NET.init(jax.random.key(0), scale=2.0)
DESCENT = td.training_map(NET, td.GradientDescent(0.1))


def hessian(theta):
    """By automatic differentiation, not by the structured form."""
    return np.asarray(_hessian(theta))


_hessian = jax.jit(jax.hessian(NET.loss))
