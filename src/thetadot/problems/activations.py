"""Activation functions by name, each elementwise and twice differentiable by JAX (kinks: one-sided)."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.numerics import elementwise
from thetadot.problems.checks import first_line, known_name
from thetadot.problems.errors import NetworkError


def _squared_relu(z: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.square(jax.nn.relu(z))


def _gelu(z: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.nn.gelu(z, approximate=False)


def _cube(z: Float[Array, "..."]) -> Float[Array, "..."]:
    return z * z * z


def _identity(z: Float[Array, "..."]) -> Float[Array, "..."]:
    return z


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": elementwise.tanh,
    "sigmoid": elementwise.sigmoid,
    "erf": elementwise.erf,
    "softplus": elementwise.softplus,
    "gelu": _gelu,
    "relu": jax.nn.relu,
    "squared_relu": _squared_relu,
    "square": jnp.square,
    "cube": _cube,
    "identity": _identity,
}
NAMES = (*FUNCTIONS, "leaky_relu")
_OF_JAX = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "erf": jax.scipy.special.erf,
    "softplus": jax.nn.softplus,
}


@dataclasses.dataclass(frozen=True)
class Activation:
    """An elementwise activation function; two of equal name, slope and function are equal.

    Attributes:
        name: one of `NAMES`, or the name of a user's function.
        function: the user's function; None for a named one.
        slope: slope of `leaky_relu` for negative arguments; 0 for all others.
    """

    name: str
    function: Callable[[Array], Array] | None = None
    slope: float = 0.0

    @property
    def kinked(self) -> bool:
        """Whether σ′ jumps at 0 (a user's function is taken to be smooth)."""
        return self.name == "relu" or (self.name == "leaky_relu" and self.slope != 1)

    def __call__(self, z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """σ(z), elementwise."""
        if self.function is not None:
            return self.function(z)
        if self.name == "leaky_relu":
            return jnp.where(z > 0, z, self.slope * z)  # at 0 as relu, and as PyTorch
        return FUNCTIONS[self.name](z)

    def with_derivatives(
        self, z: Float[Array, "*shape"]
    ) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"], Float[Array, "*shape"]]:
        """(σ(z), σ′(z), σ″(z)), elementwise."""
        ones = jnp.ones_like(z)

        def first(point):
            return jax.jvp(self, (point,), (ones,))

        (value, slope), (_, curvature) = jax.jvp(first, (z,), (ones,))
        return value, slope, curvature


def as_activation(given: str | Callable | Activation, slope: float = 0.01) -> Activation:
    """The activation of that name, or a user's elementwise function as an activation.

    Arguments:
        given: a name ("tanh", "sigmoid", "erf", "softplus", "gelu" (exact), "relu", "leaky_relu",
            "squared_relu" max(0, z)², "square", "cube", "identity"), or any elementwise JAX function.
        slope: slope of "leaky_relu" for negative arguments; read by no other.

    Raises:
        UnknownNameError: no activation of that name.
        NetworkError: the function is not elementwise in float64.

    Example:
        >>> as_activation("leaky_relu", slope=0.1)(jnp.array([-1.0, 2.0])).tolist()
        [-0.1, 2.0]
    """
    if isinstance(given, Activation):
        return given
    if isinstance(given, str):
        known_name(given, sorted(NAMES), "activation")
        return Activation(given, slope=float(slope) if given == "leaky_relu" else 0.0)
    for name, function in (*FUNCTIONS.items(), *_OF_JAX.items()):
        if given is function:
            return Activation(name)
    name = getattr(given, "__name__", type(given).__name__)
    probe = jax.ShapeDtypeStruct((2, 3), np.float64)
    try:
        out = jax.eval_shape(given, probe)
    except Exception as error:
        raise NetworkError(
            f"the activation {name} cannot be applied to an array: {first_line(error)}"
        ) from error
    if getattr(out, "shape", None) != probe.shape or out.dtype != probe.dtype:
        raise NetworkError(
            f"the activation {name} maps float64 of shape (2, 3) to {out}: it must be elementwise and keep "
            "float64"
        )
    return Activation(name, function=given)
