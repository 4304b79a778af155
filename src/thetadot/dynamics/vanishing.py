"""Neurons with vanishing weights: exact risks of (leaky) ReLU neurons have no gradient at b = 0.

A balanced neuron, |a| = |b|, that loses shrinks exponentially and never arrives; it is followed down to 1e-150. One
with |a| > |b| may arrive, and stays as long as no direction leads away.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.dynamics.events import Event
from thetadot.problems import PopulationRisk, Problem
from thetadot.problems.expectations import slope_of
from thetadot.problems.population_rules import neurons_of

SMALLEST = 1e-150
_NEAR = 1e-6  # |b|/|a| of a neuron that has arrived
_LOST, _ARRIVED = "neuron below 1e-150", "neuron at b = 0"


def _lengths(theta: Array, problem: PopulationRisk) -> tuple[Array, Array]:
    """(|a_j|, |b_j|), the latter in the largest component, which does not underflow."""
    neurons = neurons_of(problem, theta)
    return jnp.abs(neurons.outgoing), jnp.max(jnp.abs(neurons.incoming), axis=1)


def _least(theta: Array, problem: PopulationRisk) -> Array:
    _, lengths = _lengths(theta, problem)
    return jnp.log(jnp.min(jnp.where(lengths > 0, lengths, 1.0))) - np.log(SMALLEST)


def _distance(theta: Array, problem: PopulationRisk) -> Array:
    outgoing, lengths = _lengths(theta, problem)
    return jnp.min(jnp.where(lengths > 0, lengths - _NEAR * outgoing, 1.0))


_EVENTS = (
    Event(_least, terminal=True, direction=-1, name=_LOST),
    Event(_distance, direction=-1, name=_ARRIVED),
)


def singular(problem: Any) -> bool:
    """Whether a problem's field has no direction where a neuron vanishes."""
    if not isinstance(problem, PopulationRisk) or problem.method != "closed":
        return False
    return slope_of(problem.network.activation) not in (None, 1.0)


def neuron_events(problem: Problem) -> tuple[Event, ...]:
    """What is watched along a flow of such a problem: the first ends it as STALLED, the second is recorded."""
    return _EVENTS if singular(problem) else ()


def lost(name: str, problem: Any, theta: Float[Array | np.ndarray, " P"]) -> str | None:
    """Why the flow cannot go on, if the event of this name says that a neuron has shrunk beyond float64."""
    if name != _LOST:
        return None
    neuron = int(jnp.argmin(_lengths(jnp.asarray(theta), problem)[1]))
    return (
        f"the incoming weights of neuron {neuron} shrank below {SMALLEST:g}: leave it out, or follow balanced neurons "
        "in cone coordinates (thetadot.symmetry.cone_reduction), in which they only grow fainter"
    )


def resting(problem: Any, theta: Float[Array | np.ndarray, " P"]) -> str | None:
    """The neuron that steps throw to and fro across b = 0, in words; None if there is none."""
    if not singular(problem):
        return None
    outgoing, lengths = (np.asarray(part) for part in _lengths(jnp.asarray(theta), problem))
    neuron = int(np.argmin(lengths - _NEAR * outgoing))
    if lengths[neuron] > _NEAR * outgoing[neuron]:
        return None
    return (
        f"neuron {neuron} came to b = 0 with a = {float(outgoing[neuron]):.3g} in size, from where every direction "
        "leads back: leave it out, or start with |a| ≤ |b|"
    )
