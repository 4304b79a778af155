"""Population risks whose shapes the tests of the lens share, so that each is compiled once."""

import numpy as np

import thetadot as td


def relu_risk(target, dimension, width):
    """ReLU neurons in mean-field scaling, x ~ N(0, I)."""
    network = td.two_layer(dimension, width, "relu", scaling="mean_field")
    return td.PopulationRisk(network, target, td.GaussianInputs(dimension))


def cubic_risk(width):
    """A cubic target in ten dimensions with |w*| = 1."""
    z, inputs = np.random.default_rng(0).normal(size=10), td.GaussianInputs(10)
    return relu_risk(td.cubic_target(z / (3 * np.linalg.norm(z)), inputs), 10, width)


def absolute_values():
    """|x₁| + |x₂| in five dimensions as four neurons."""
    return td.TeacherTarget(np.ones(4), np.concatenate([np.eye(5)[:2], -np.eye(5)[:2]]))
