"""Small systems whose motion is known in closed form, shared so that each is compiled once a session."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

import thetadot as td

NEEDS_SUNDIALS = pytest.mark.skipif(
    importlib.util.find_spec("sksundae") is None, reason="needs the extra: pip install 'thetadot[sundials]'"
)
RATES = np.array([1.0, 0.1])


def _bowl(theta: Float[Array, "2"]) -> Float[Array, ""]:
    return 0.5 * jnp.sum(jnp.asarray(RATES) * theta**2)


def _double_well(theta: Float[Array, "2"]) -> Float[Array, ""]:
    return 0.25 * (theta[0] ** 2 - 1) ** 2 + 0.5 * theta[1] ** 2


def _turn(state: Float[Array, "2"], rate: Float[Array, ""]) -> Float[Array, "2"]:
    return rate * jnp.stack([-state[1], state[0]])


# θᵢ(t) = exp(−RATES t) from (1, 1).
BOWL = td.FunctionRisk(_bowl, jnp.ones(2))
# Minima at (±1, 0); saddle at the origin with Hessian eigenvalues −1 and 1.
DOUBLE_WELL = td.FunctionRisk(_double_well, jnp.ones(2))
# (cos 2t, sin 2t) from (1, 0).
TURN = td.Flow(_turn, jnp.asarray(2.0))


def network(samples: int = 12, seed: int = 0) -> td.Problem:
    """A 3-4-2 tanh network on random data."""
    keys = jax.random.split(jax.random.key(seed))
    x, y = jax.random.normal(keys[0], (samples, 3)), jax.random.normal(keys[1], (samples, 2))
    return td.EmpiricalRisk(td.mlp([3, 4, 2], "tanh"), td.squared, x, y)


def same_bits(first: td.Path, second: td.Path) -> bool:
    """Whether two paths agree in every row and event, to the bit."""
    rows = all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("ts", "thetas", "losses", "grad_norms", "steps")
    )
    seen = first.observed.keys() == second.observed.keys() and all(
        np.array_equal(first.observed[name], second.observed[name]) for name in first.observed
    )
    events = [(e.name, e.kind, e.time, e.theta.tolist()) for e in first.events] == [
        (e.name, e.kind, e.time, e.theta.tolist()) for e in second.events
    ]
    return rows and seen and events and first.outcome is second.outcome and first.accuracy == second.accuracy
