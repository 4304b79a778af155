"""Diagonal linear networks: the coordinate-wise product of weight vectors."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.problems.chain import whole_numbers
from thetadot.problems.errors import ShapeError
from thetadot.problems.layout import Layout, neurons_between


class Diagonal(eqx.Module):
    """A diagonal linear network; build it with `diagonal`.

    Attributes:
        dimension: d, the number of inputs.
        depth: number of factors.
    """

    dimension: int = eqx.field(static=True)
    depth: int = eqx.field(static=True)

    @property
    def layout(self) -> Layout:
        """Slices layer1.weight (d,), layer2.weight (d,), …; one neuron record per coordinate."""
        return _layout(self.dimension, self.depth)

    @property
    def size(self) -> int:
        """P = depth · d."""
        return self.dimension * self.depth

    @property
    def time_scale(self) -> float:
        """1.0."""
        return 1.0

    @property
    def description(self) -> str:
        """Inputs and depth."""
        return f"diagonal linear network of {self.dimension} inputs and depth {self.depth}"

    def initial(self, key: PRNGKeyArray, scale: float | Array = 1.0) -> Float[Array, " P"]:
        """Weights N(0, scale²): every weight has one input."""
        return jax.random.normal(key, (self.size,)) * scale

    def evaluate(self, theta: Float[Array, " P"], x: Float[Array, "..."]) -> Float[Array, " 1"]:
        """Output (1,) of one sample x (d,)."""
        if x.shape != (self.dimension,):
            raise ShapeError(
                f"the network takes samples of shape ({self.dimension},), given a sample of shape {x.shape}"
            )
        factors = theta.reshape(self.depth, self.dimension)
        # A product of single factors, not jnp.prod: its derivatives stay exact where factors vanish.
        product = functools.reduce(jnp.multiply, list(factors))
        return jnp.sum(product * x, keepdims=True)


@functools.lru_cache(maxsize=64)
def _layout(dimension: int, depth: int) -> Layout:
    shapes = {f"layer{number}.weight": (dimension,) for number in range(1, depth + 1)}
    factors = np.arange(dimension * depth).reshape(depth, dimension)
    return Layout(shapes, neurons_between(1, factors[:1].T, None, factors[1:].T))


def diagonal(dimension: int, depth: int = 2) -> Diagonal:
    """A diagonal linear network f(x) = ⟨w_1 ∘ w_2 ∘ … ∘ w_depth, x⟩, without biases.

    Arguments:
        dimension: d, the number of inputs.
        depth: number of factors; 2 gives f(x) = ⟨u ∘ v, x⟩ with θ = (u; v).

    Returns:
        A network of one sample x (d,) → (1,). θ runs factor by factor. Weights start as N(0, scale²). The
        record of coordinate i in `layout.neurons` has the first factor as incoming and the others as
        outgoing.

    Example:
        >>> import jax.numpy as jnp
        >>> diagonal(2).evaluate(jnp.array([1.0, 2.0, 3.0, 4.0]), jnp.array([1.0, 1.0])).tolist()
        [11.0]
    """
    whole_numbers(dimension=dimension, depth=depth)
    return Diagonal(int(dimension), int(depth))
