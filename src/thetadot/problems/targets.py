"""Targets of population risks: functions whose expectations against single neurons are known."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.numerics.gaussian.hermite import coefficients
from thetadot.numerics.gaussian.rows import lengths_and_directions
from thetadot.problems.activations import Activation, as_activation
from thetadot.problems.carried import Carried, carry
from thetadot.problems.checks import Numbers, as_float64, require_finite
from thetadot.problems.errors import NoPredictionError, ShapeError, UnsupportedExpectation
from thetadot.problems.expectations import slope_of
from thetadot.problems.inputs import GaussianInputs, InputLaw


class Target(eqx.Module):
    """A function f* of x in R^d; subclass it for targets of your own."""

    @abc.abstractmethod
    def evaluate(self, x: Float[Array, "N d"]) -> Float[Array, " N"]:
        """f*(x) of each row."""

    @abc.abstractmethod
    def power(self, inputs: InputLaw) -> Float[Array, ""]:
        """E[f*(x)²]."""

    @abc.abstractmethod
    def correlation(self, inputs: InputLaw) -> Float[Array, " d"]:
        """E[f*(x)x]."""

    @abc.abstractmethod
    def moment(
        self, incoming: Float[Array, "m d"], inputs: InputLaw, activation: Activation, slope: float = 0.01
    ) -> Float[Array, " m"]:
        """T = E[f*(x)σ(u_i·x)] of each row (m,), differentiable by JAX; `UnsupportedExpectation` if unknown."""

    @property
    def description(self) -> str:
        """A word for summaries."""
        return type(self).__name__

    def refuse(self, activation: Activation, inputs: InputLaw) -> UnsupportedExpectation:
        """The error that names the alternatives."""
        return UnsupportedExpectation(
            f"no closed form of E[f*(x)σ(u·x)] for a {self.description}, σ = {activation.name} and "
            f"{inputs.description}; known are relu, leaky_relu and identity for every target, erf and squared_relu "
            "for a teacher of the same activation, smooth activations for linear and teacher targets "
            '(method="series"), and anything in at most 3 dimensions (method="cubature")'
        )

    def folded(
        self, relu_moment: Callable, incoming: Array, inputs: InputLaw, activation: Activation
    ) -> Array:
        """T(u) − slope·T(−u), from the ReLU's T."""
        slope = slope_of(activation)
        if slope is None:
            raise self.refuse(activation, inputs)
        if slope == 0.0:
            return relu_moment(incoming)
        return relu_moment(incoming) - slope * relu_moment(-incoming)


def as_given(values: Numbers, what: str) -> Array:
    """A finite float64 vector."""
    array = as_float64(values, what)
    if array.ndim != 1 or array.size == 0:
        raise ShapeError(f"{what} has shape {array.shape}, expected a vector")
    require_finite(array, what)
    return array


def _odd_moment(incoming: Array, correlation: Array, activation: Activation) -> Array | None:
    """κu·X̄ where σ(z) − σ(−z) = 2κz, else None."""
    slope = slope_of(activation)
    return None if slope is None else 0.5 * (1.0 + slope) * (incoming @ correlation)


class LinearTarget(Target):
    """f*(x) = w·x.

    Arguments:
        weights (d,): w.
    """

    weights: Array

    def __init__(self, weights: Numbers):
        self.weights = as_given(weights, "weights")

    @property
    def description(self) -> str:
        """A word for summaries."""
        return "linear target"

    def evaluate(self, x: Float[Array, "N d"]) -> Float[Array, " N"]:
        """w·x."""
        return x @ self.weights

    def power(self, inputs: InputLaw) -> Float[Array, ""]:
        """wᵀΣw."""
        return self.weights @ self.correlation(inputs)

    def correlation(self, inputs: InputLaw) -> Float[Array, " d"]:
        """Σw."""
        return inputs.second_moment @ self.weights

    def moment(
        self, incoming: Float[Array, "m d"], inputs: InputLaw, activation: Activation, slope: float = 0.01
    ) -> Float[Array, " m"]:
        """κu·Σw; for erf and Gaussian inputs 2u·Σw/√(π(1 + 2|Σ^½u|²))."""
        activation = as_activation(activation, slope)
        correlation = self.correlation(inputs)
        found = _odd_moment(incoming, correlation, activation)
        if found is not None:
            return found
        if activation.name == "erf" and isinstance(inputs, GaussianInputs):
            sizes = 1.0 + 2.0 * jnp.sum(inputs.whiten(incoming) ** 2, axis=1)
            return 2.0 * (incoming @ correlation) / jnp.sqrt(np.pi * sizes)
        raise self.refuse(activation, inputs)

    def series_moment(
        self, incoming: Array, biases: Array | None, inputs: InputLaw, activation: Activation, order: int
    ) -> Array:
        """(u·Σw)E[σ′(|Σ^½u|z + β)] for smooth σ, the mean being h_1/|Σ^½u|."""
        lengths, _ = lengths_and_directions(inputs.whiten(incoming))
        first = coefficients(activation, lengths, biases, order=2)[0][:, 1]
        return (incoming @ self.correlation(inputs)) * first / jnp.where(lengths > 0, lengths, 1.0)


class OddTarget(Target):
    """Any odd function, of which (leaky) ReLU neurons see only its correlation with x.

    Arguments:
        correlation (d,): X̄ = E[f*(x)x].
        power: E[f*(x)²].
        function: x (N, d) → (N,), for predictions and samples; may be left out.
    """

    mean: Array
    square: Array
    _function: Carried

    def __init__(self, correlation: Numbers, power: Numbers, function: Callable | None = None):
        self.mean = as_given(correlation, "correlation")
        self.square = as_float64(power, "power")
        self._function = carry(function, "the function")

    @property
    def description(self) -> str:
        """A word for summaries."""
        return "odd target"

    def evaluate(self, x: Float[Array, "N d"]) -> Float[Array, " N"]:
        """The function."""
        function = self._function.value
        if function is None:
            raise NoPredictionError(
                "this OddTarget was given its moments only: give function= to evaluate it"
            )
        return function(x)

    def power(self, inputs: InputLaw) -> Float[Array, ""]:
        """As given."""
        return self.square

    def correlation(self, inputs: InputLaw) -> Float[Array, " d"]:
        """As given."""
        return self.mean

    def moment(
        self, incoming: Float[Array, "m d"], inputs: InputLaw, activation: Activation, slope: float = 0.01
    ) -> Float[Array, " m"]:
        """κu·X̄."""
        found = _odd_moment(incoming, self.mean, as_activation(activation, slope))
        if found is None:
            raise self.refuse(as_activation(activation, slope), inputs)
        return found


class _Cubes(eqx.Module):
    coefficients: Array

    def __call__(self, x: Float[Array, "N d"]) -> Float[Array, " N"]:
        return (x * x * x) @ self.coefficients


def cubic_target(coefficients: Numbers, inputs: InputLaw) -> OddTarget:
    """f*(x) = Σ_k z_k x_k³ under this law of inputs.

    Arguments:
        coefficients (d,): z.
        inputs: Gaussian or spherical.

    Example:
        >>> from thetadot.problems import GaussianInputs
        >>> cubic_target([1.0, 0.0], GaussianInputs(2)).mean.tolist()
        [3.0, 0.0]
    """
    z = as_given(coefficients, "coefficients")
    d = inputs.dimension
    if z.shape != (d,):
        raise ShapeError(f"coefficients have shape {z.shape}, the inputs have dimension {d}")
    if isinstance(inputs, GaussianInputs):
        sigma = inputs.second_moment
        diagonal = jnp.diag(sigma)
        mean = 3.0 * (sigma @ (z * diagonal))
        square = z @ ((9.0 * jnp.outer(diagonal, diagonal) * sigma + 6.0 * sigma**3) @ z)
    else:
        mean = 3.0 * inputs.homogeneous_scale(4) * z
        square = 15.0 * inputs.homogeneous_scale(6) * (z @ z)
    return OddTarget(mean, square, _Cubes(z))
