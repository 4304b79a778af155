"""The random start of our networks: weights N(0, scale²/fan_in), biases 0."""

import math

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.problems.layout import Layout


def gaussian_start(layout: Layout, key: PRNGKeyArray, scale: float | Array = 1.0) -> Float[Array, " P"]:
    """θ (P,) with weights N(0, scale²/fan_in) and biases 0, from one draw for all layers.

    Arguments:
        layout: weights are slices of at least two axes (out, in, …), fan_in being the product of all but the
            first; everything else is a bias.
        key: the draw.
        scale: standard deviation of a weight with one input.
    """
    deviations = np.zeros(layout.size)
    for name, part in layout.slices.items():
        shape = layout.shapes[name]
        if len(shape) > 1:
            deviations[part] = 1.0 / math.sqrt(math.prod(shape[1:]))
    return jax.random.normal(key, (layout.size,)) * deviations * scale
