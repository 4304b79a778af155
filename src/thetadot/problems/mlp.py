"""Fully connected networks: `mlp`, and `linear` without activation."""

from collections.abc import Callable, Sequence

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.problems.activations import Activation, as_activation
from thetadot.problems.chain import Chain, bias_flags, whole_numbers
from thetadot.problems.errors import NetworkError
from thetadot.problems.layout import Layout


class MLP(eqx.Module):
    """A fully connected network; build it with `mlp` or `linear`.

    Attributes:
        chain: widths, biases, activation.
        bias: True, False or "hidden", as given.
    """

    chain: Chain = eqx.field(static=True)
    bias: bool | str = eqx.field(static=True)

    @property
    def widths(self) -> tuple[int, ...]:
        """(inputs, hidden…, outputs)."""
        return self.chain.widths

    @property
    def activation(self) -> Activation:
        """The activation of the hidden layers."""
        return self.chain.activation

    @property
    def layout(self) -> Layout:
        """Slices layer1.weight, layer1.bias, …, and one record per hidden neuron."""
        return self.chain.layout

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return self.layout.size

    @property
    def time_scale(self) -> float:
        """1.0."""
        return 1.0

    @property
    def description(self) -> str:
        """Widths, activation and what is unusual about the biases."""
        linear = self.activation.name == "identity"
        text = ("linear " if linear else "mlp ") + "-".join(map(str, self.widths))
        if not linear:
            text += f" {self.activation.name}"
        if linear:
            return text + {True: " with biases", False: "", "hidden": " with hidden biases"}[self.bias]
        return text + {True: "", False: " without biases", "hidden": " with hidden biases"}[self.bias]

    def initial(self, key: PRNGKeyArray, scale: float | Array = 1.0) -> Float[Array, " P"]:
        """Weights N(0, scale²/fan_in), biases 0."""
        return self.chain.initial(key, scale)

    def evaluate(self, theta: Float[Array, " P"], x: Float[Array, "..."]) -> Float[Array, " k"]:
        """Output (k,) of one sample x (d,)."""
        return self.chain.evaluate(theta, x)

    def preactivations(self, theta: Float[Array, " P"], x: Float[Array, "N d"]) -> dict[int, Array]:
        """{hidden layer: arguments of its activation (neurons, N)} for samples x (N, d)."""
        return self.chain.preactivations(theta, x)


def _checked_widths(widths: Sequence[int]) -> tuple[int, ...]:
    if len(widths) < 2:
        raise NetworkError(f"widths is {list(widths)}, expected at least [inputs, outputs]")
    whole_numbers(**{f"widths[{i}]": width for i, width in enumerate(widths)})
    return tuple(int(width) for width in widths)


def mlp(
    widths: Sequence[int],
    activation: str | Callable = "tanh",
    *,
    bias: bool | str = True,
    slope: float = 0.01,
) -> MLP:
    """A fully connected network W_K σ(… σ(W_1 x + b_1) …) + b_K.

    Arguments:
        widths: [inputs, hidden…, outputs].
        activation: a name (see `thetadot.problems.as_activation`) or any elementwise JAX function.
        bias: True, False, or "hidden" (none in the output layer).
        slope: slope of "leaky_relu" for negative arguments.

    Returns:
        A network of one sample x (inputs,) → (outputs,). θ runs layer by layer, input to output: weight
        (out, in) row-major, then bias. Its random start has weights N(0, scale²/fan_in) and biases 0.

    Raises:
        NetworkError: widths that are not whole numbers, or an unknown `bias`.
        UnknownNameError: an unknown activation.

    Example:
        >>> mlp([64, 32, 10], "tanh").size
        2410
    """
    flags = bias_flags(bias, len(widths) - 1)
    return MLP(Chain(_checked_widths(widths), flags, as_activation(activation, slope)), bias)


def linear(widths: Sequence[int], *, bias: bool | str = False) -> MLP:
    """A (deep) linear network W_K ⋯ W_1 x, without biases unless asked for; otherwise as `mlp`.

    Example:
        >>> linear([3, 4, 2]).size
        20
    """
    return mlp(widths, "identity", bias=bias)
