"""A two-layer network as a target."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from thetadot.numerics.gaussian.hermite import coefficients, correlate, require_smooth
from thetadot.numerics.gaussian.rows import lengths_and_directions
from thetadot.problems.activations import Activation, as_activation
from thetadot.problems.checks import Numbers, as_float64, require_finite
from thetadot.problems.errors import ShapeError
from thetadot.problems.expectations import CLOSED, closed_kernel, mean_direction
from thetadot.problems.inputs import InputLaw
from thetadot.problems.targets import Target, as_given


class TeacherTarget(Target):
    """f*(x) = Σ_j A_j σ(W_j·x + β_j), a plain sum.

    Arguments:
        outgoing (n,): A.
        incoming (n, d): W.
        activation: σ, as in `two_layer`.
        biases (n,): β; none if left out.
        slope: of leaky_relu.
    """

    outgoing: Array
    incoming: Array
    biases: Array | None
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        outgoing: Numbers,
        incoming: Numbers,
        activation: str | Callable = "relu",
        biases: Numbers | None = None,
        slope: float = 0.01,
    ):
        self.outgoing = as_given(outgoing, "outgoing")
        self.incoming = as_float64(incoming, "incoming")
        require_finite(self.incoming, "incoming")
        self.biases = None if biases is None else as_given(biases, "biases")
        if self.incoming.ndim != 2 or self.incoming.shape[0] != self.outgoing.size:
            raise ShapeError(
                f"incoming has shape {self.incoming.shape}, expected ({self.outgoing.size}, d): one row per neuron"
            )
        if self.biases is not None and self.biases.shape != self.outgoing.shape:
            raise ShapeError(f"biases have shape {self.biases.shape}, expected {self.outgoing.shape}")
        self.activation = as_activation(activation, slope)

    @property
    def description(self) -> str:
        """A word for summaries."""
        return f"teacher of {self.outgoing.size} {self.activation.name} neurons"

    def evaluate(self, x: Float[Array, "N d"]) -> Float[Array, " N"]:
        """Σ_j A_j σ(W_j·x + β_j)."""
        arguments = x @ self.incoming.T
        if self.biases is not None:
            arguments = arguments + self.biases[None, :]
        return self.activation(arguments) @ self.outgoing

    def power(self, inputs: InputLaw) -> Float[Array, ""]:
        """AᵀK(W, W)A; by the series for smooth activations that have no closed kernel."""
        if self.biases is None and self.activation.name in CLOSED:
            kernel = closed_kernel(self.incoming, self.incoming, self.activation, self.activation, inputs)
            return self.outgoing @ (kernel @ self.outgoing)
        return self.series_power(inputs, 256)

    def correlation(self, inputs: InputLaw) -> Float[Array, " d"]:
        """Σ_j A_j E[xσ(W_j·x + β_j)]."""
        return self.outgoing @ mean_direction(self.incoming, self.activation, inputs, self.biases)

    def moment(
        self, incoming: Float[Array, "m d"], inputs: InputLaw, activation: Activation, slope: float = 0.01
    ) -> Float[Array, " m"]:
        """K(u, W)A."""
        activation = as_activation(activation, slope)
        if self.biases is not None:
            raise self.refuse(activation, inputs)
        return closed_kernel(incoming, self.incoming, activation, self.activation, inputs) @ self.outgoing

    def series_moment(
        self, incoming: Array, biases: Array | None, inputs: InputLaw, activation: Activation, order: int
    ) -> Array:
        """K(u, W)A by the Hermite series."""
        lengths, directions = lengths_and_directions(inputs.whiten(incoming))
        own_lengths, own_directions = lengths_and_directions(inputs.whiten(self.incoming))
        left = coefficients(activation, lengths, biases, order=order)[0]
        right = coefficients(self.activation, own_lengths, self.biases, order=order)[0]
        return correlate(left, right, directions @ own_directions.T) @ self.outgoing

    def series_power(self, inputs: InputLaw, order: int) -> Array:
        """AᵀK(W, W)A by the Hermite series, with the exact diagonal."""
        lengths, directions = lengths_and_directions(inputs.whiten(self.incoming))
        require_smooth(self.activation, lengths, self.biases, order=order)
        terms, own = coefficients(self.activation, lengths, self.biases, order=order)
        kernel = correlate(terms, terms, directions @ directions.T)
        rest = own - jnp.diag(kernel)
        return self.outgoing @ (kernel @ self.outgoing) + self.outgoing**2 @ rest
