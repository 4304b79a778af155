"""Does a run chatter? Where the gradient points to a kink from both of its sides, the exact flow slides along it, while
steps cross it to and fro, ever shorter. Networks with a kinked activation are watched for that."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.dynamics.vanishing import resting
from thetadot.problems import Problem

EVERY = 2000  # accepted steps between two looks: their places depend on nothing but the run
# Little progress since the last look: an arc and a time below this part of ‖θ‖ and of the whole time. Sliding is common
# in ReLU networks; while steps get on, in some way, they chatter along the exact flow, as accurately as was asked.
_LITTLE = 1e-3
_MOST_FLIPS = 5
_STEPS = 256
_LENGTHS = 1e-6 / 10.0 ** np.arange(4)  # of ‖θ‖


def kinked(problem: Problem | None) -> bool:
    """Whether the problem's network has kinks, and can tell on which side of each it is."""
    network: Any = getattr(problem, "network", None)
    return hasattr(network, "preactivations") and network.activation.kinked and bool(network.layout.neurons)


def steps_to_look(accepted: int) -> int:
    """Steps that may be taken before the next look."""
    return EVERY - accepted % EVERY


def little_progress(time: float, looked: float, theta: Any, field: Any) -> bool:
    """Whether the run hardly got on since the last look."""
    arc = (time - looked) * float(np.linalg.norm(field))
    return time - looked < _LITTLE * time and arc < _LITTLE * float(np.linalg.norm(theta))


@eqx.filter_jit
def _flips(problem: Any, theta: Float[Array, " P"]) -> dict[int, Any]:
    """{layer: least number of flips (neurons, samples)} along Euler's steps of three lengths, the longest first."""

    def sides(theta):
        before = problem.network.preactivations(theta, problem.x)
        return {layer: values > 0 for layer, values in before.items()}

    def step(carry, _):
        theta, old, counts, length = carry
        gradient = problem.value_and_grad(theta)[1]
        theta = theta - length * gradient / jnp.sqrt(jnp.sum(gradient**2))
        new = sides(theta)
        counts = jax.tree.map(
            lambda count, was, now: count + (was != now).astype(count.dtype), counts, old, new
        )
        return (theta, new, counts, length), None

    def stretch(theta, length):
        zeros = jax.tree.map(lambda part: jnp.zeros(part.shape, jnp.int64), sides(theta))
        (theta, _, counts, _), _ = jax.lax.scan(step, (theta, sides(theta), zeros, length), length=_STEPS)
        return theta, counts

    # The first stretch only leads to the kink.
    _, counts = jax.lax.scan(stretch, theta, jnp.linalg.norm(theta) * _LENGTHS)
    return jax.tree.map(lambda part: jnp.min(part[1:], axis=0), counts)


def sliding_pair(problem: Problem, theta: Float[Array, " P"]) -> str | None:
    """The neuron and the sample along whose kink the flow slides from θ on, in words; None if it does not slide.

    On a sliding mode, steps of any length along −∇L cross the kink to and fro; an unstable step length would not do so
    at a thousandth of it. More than five crossings of one (neuron, sample) pair within short arcs of three lengths
    (1e-7, 1e-8, 1e-9 of ‖θ‖ a step) count as sliding. A population has no samples: there a neuron may rest at b = 0.
    """
    if not hasattr(problem, "x"):
        return resting(problem, theta)
    flips = {layer: np.asarray(part) for layer, part in _flips(problem, theta).items()}
    layer = max(flips, key=lambda layer: np.max(flips[layer]))
    most = int(np.max(flips[layer]))
    if most <= _MOST_FLIPS:
        return None
    neuron, sample = np.unravel_index(np.argmax(flips[layer]), flips[layer].shape)
    return (
        f"chatter: the gradient points from both sides to the kink of neuron {neuron} of layer {layer} at sample "
        f"{sample}, along which the exact flow slides; a smooth activation such as softplus has none"
    )
