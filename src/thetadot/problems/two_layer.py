"""Networks with one hidden layer and one output, in standard or mean-field scaling."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.problems.activations import Activation, as_activation
from thetadot.problems.chain import Chain, whole_numbers
from thetadot.problems.checks import known_name
from thetadot.problems.errors import NetworkError
from thetadot.problems.layout import Layout

SCALINGS = ("standard", "mean_field")


class TwoLayer(eqx.Module):
    """A network with one hidden layer and one output; build it with `two_layer`.

    Attributes:
        chain: widths, biases, activation, output scale.
        scaling: "standard" or "mean_field".
    """

    chain: Chain = eqx.field(static=True)
    scaling: str = eqx.field(static=True)

    @property
    def dimension(self) -> int:
        """d, the number of inputs."""
        return self.chain.widths[0]

    @property
    def width(self) -> int:
        """m, the number of hidden neurons."""
        return self.chain.widths[1]

    @property
    def activation(self) -> Activation:
        """The activation of the hidden layer."""
        return self.chain.activation

    @property
    def bias(self) -> bool:
        """Whether the hidden neurons have biases."""
        return self.chain.biases[0]

    @property
    def layout(self) -> Layout:
        """Slices layer1.weight (m, d), layer1.bias (m,) with `bias`, layer2.weight (1, m); m neurons."""
        return self.chain.layout

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return self.layout.size

    @property
    def time_scale(self) -> float:
        """1.0, or m in mean-field scaling."""
        return float(self.width) if self.scaling == "mean_field" else 1.0

    @property
    def description(self) -> str:
        """Sizes, activation, and what is unusual."""
        text = f"two-layer {self.dimension}-{self.width}-1 {self.activation.name}"
        text += " with hidden biases" if self.bias else ""
        return text + (", mean-field scaled" if self.scaling == "mean_field" else "")

    def initial(self, key: PRNGKeyArray, scale: float | Array = 1.0) -> Float[Array, " P"]:
        """A random start by the scaling's own rule.

        Standard: weights N(0, scale²/fan_in), biases 0. Mean field: incoming weights uniform on the unit sphere,
        outgoing ±1, both times scale, biases 0.
        """
        if self.scaling == "standard":
            return self.chain.initial(key, scale)
        incoming_key, sign_key = jax.random.split(key)
        normal = jax.random.normal(incoming_key, (self.width, self.dimension))
        incoming = normal / jnp.linalg.norm(normal, axis=1, keepdims=True)
        signs = jax.random.rademacher(sign_key, (self.width,), dtype=jnp.float64)
        biases = jnp.zeros(self.width if self.bias else 0)
        return jnp.concatenate([incoming.ravel() * scale, biases, signs * scale])

    def evaluate(self, theta: Float[Array, " P"], x: Float[Array, "..."]) -> Float[Array, " 1"]:
        """Output (1,) of one sample x (d,)."""
        return self.chain.evaluate(theta, x)

    def preactivations(self, theta: Float[Array, " P"], x: Float[Array, "N d"]) -> dict[int, Array]:
        """{hidden layer: arguments of its activation (neurons, N)} for samples x (N, d)."""
        return self.chain.preactivations(theta, x)


def two_layer(
    dimension: int,
    width: int,
    activation: str | Callable = "tanh",
    *,
    scaling: str = "standard",
    bias: bool = False,
    slope: float = 0.01,
) -> TwoLayer:
    """A network with one hidden layer of m neurons and one output, f(x) = s Σ_j a_j σ(⟨w_j, x⟩ + b_j).

    Arguments:
        dimension: d, the number of inputs.
        width: m, the number of hidden neurons.
        activation: a name or any elementwise JAX function.
        scaling: "standard" (s = 1; weights start as N(0, scale²/fan_in)), or "mean_field" (s = 1/m,
            time_scale m; incoming weights start uniform on the unit sphere, outgoing ones as ±1, both
            times scale).
        bias: True for hidden biases b_j (starting at 0); the output has none.
        slope: slope of "leaky_relu" for negative arguments.

    Returns:
        A network of one sample x (d,) → (1,). θ is layer1.weight (m, d) row-major, layer1.bias (m,) if
        asked for, layer2.weight (1, m).

    Source: mean-field scaling as in S. Mei, A. Montanari, P.-M. Nguyen, PNAS 115 (2018) E7665.

    Example:
        >>> network = two_layer(3, 100, "relu", scaling="mean_field")
        >>> network.size, network.time_scale
        (400, 100.0)
    """
    whole_numbers(dimension=dimension, width=width)
    known_name(scaling, SCALINGS, "scaling")
    if not isinstance(bias, bool):
        raise NetworkError(f"bias is {bias!r}, expected True (hidden biases) or False")
    output_scale = 1.0 / width if scaling == "mean_field" else 1.0
    chain = Chain(
        (int(dimension), int(width), 1), (bias, False), as_activation(activation, slope), output_scale
    )
    return TwoLayer(chain, scaling)
