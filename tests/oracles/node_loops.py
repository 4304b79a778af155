"""Dynamics on graphs as plain double loops over adjacency[source, target]."""

import numpy as np

TERMS = {
    "mass_action": (lambda x: 0.5 - 0.1 * x**3, lambda x, other: -x * other),
    "population": (lambda x: -2.0 * x**3, lambda x, other: 0.3 * other**1.5),
    "michaelis_menten": (lambda x: -4.0 * x, lambda x, other: 0.5 * other**3 / (1 + other**3)),
    "epidemic": (lambda x: -4.0 * x, lambda x, other: 0.5 * (1 - x) * other),
    "heat_diffusion": (lambda x: 0.0 * x, lambda x, other: 0.5 * (other - x)),
    "fitzhugh_nagumo": (
        lambda x: np.array([x[0] - x[0] ** 3 / 3 - x[1] + 0.5, (x[0] + 0.7 - 0.8 * x[1]) / 12.5]),
        lambda x, other: np.array([0.1 * (other[0] - x[0]), 0.0]),
    ),
}
"""{dynamics: (own term, pair term)} with the default parameters."""


def velocity(name, states, adjacency):
    """dx/dt (n, d) of every node; node i listens to j with weight adjacency[j, i]."""
    own, pair = TERMS[name]
    result = np.zeros_like(states)
    for i in range(len(states)):
        result[i] = own(states[i])
        for j in range(len(states)):
            if adjacency[j, i] != 0:
                result[i] = result[i] + adjacency[j, i] * pair(states[i], states[j])
    return result
