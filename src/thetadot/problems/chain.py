"""A chain of dense layers: the form shared by `mlp`, `linear` and `two_layer`.

f(x) = output_scale · (W_K a_{K−1} + b_K),  a_l = σ(W_l a_{l−1} + b_l),  a_0 = x.
θ runs layer by layer, input to output: weight (out, in) row-major, then bias.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.problems.activations import Activation
from thetadot.problems.errors import NetworkError, ShapeError
from thetadot.problems.layout import Layout, Neuron, neurons_between
from thetadot.problems.start import gaussian_start


@dataclasses.dataclass(frozen=True)
class Chain:
    """A chain of dense layers.

    Attributes:
        widths: (inputs, hidden…, outputs).
        biases: whether layer l has a bias, one entry per layer.
        activation: of every hidden layer.
        output_scale: factor of the output (1/m for mean-field scaling).
    """

    widths: tuple[int, ...]
    biases: tuple[bool, ...]
    activation: Activation
    output_scale: float = 1.0

    @property
    def layout(self) -> Layout:
        """Slices layer1.weight, layer1.bias, layer2.weight, …, and one record per hidden neuron."""
        return chain_layout(self.widths, self.biases)

    def layers(self, theta: Float[Array, " P"]) -> list[tuple[Array, Array | None]]:
        """[(weight (out, in), bias (out,) or None)] of θ."""
        layers, start = [], 0
        for fan_in, fan_out, has_bias in zip(self.widths[:-1], self.widths[1:], self.biases, strict=True):
            stop = start + fan_out * fan_in
            weight = theta[start:stop].reshape(fan_out, fan_in)
            bias = theta[stop : stop + fan_out] if has_bias else None
            layers.append((weight, bias))
            start = stop + fan_out * has_bias
        return layers

    def evaluate(self, theta: Float[Array, " P"], x: Float[Array, "..."]) -> Float[Array, " k"]:
        """Output of one sample."""
        if x.shape != (self.widths[0],):
            raise ShapeError(
                f"the network takes samples of shape ({self.widths[0]},), given a sample of shape {x.shape}"
            )
        hidden = x
        layers = self.layers(theta)
        for number, (weight, bias) in enumerate(layers, start=1):
            hidden = weight @ hidden
            if bias is not None:
                hidden = hidden + bias
            if number < len(layers):
                hidden = self.activation(hidden)
        return hidden if self.output_scale == 1.0 else self.output_scale * hidden

    def evaluate_all(self, theta: Float[Array, " P"], x: Float[Array, "N d"]) -> Float[Array, "k N"]:
        """Outputs of all samples, samples last: the gradient's products are then fast ones on CPUs.

        With samples first, dL/dW contracts the leading axes of both factors, at half the speed.
        """
        hidden = x.T
        layers = self.layers(theta)
        for number, (weight, bias) in enumerate(layers, start=1):
            # The samples have no derivative, of which `_product` would multiply the zeros.
            hidden = weight @ hidden if number == 1 else _product(weight, hidden)
            if bias is not None:
                hidden = hidden + bias[:, None]
            if number < len(layers):
                hidden = self.activation(hidden)
        return hidden if self.output_scale == 1.0 else self.output_scale * hidden

    def preactivations(self, theta: Float[Array, " P"], x: Float[Array, "N d"]) -> dict[int, Array]:
        """{hidden layer: arguments of its activation (neurons, N)} for all samples."""
        found, hidden = {}, x.T
        for number, (weight, bias) in enumerate(self.layers(theta)[:-1], start=1):
            found[number] = weight @ hidden if bias is None else weight @ hidden + bias[:, None]
            hidden = self.activation(found[number])
        return found

    def initial(self, key: PRNGKeyArray, scale: float | Array = 1.0) -> Float[Array, " P"]:
        """Weights N(0, scale²/fan_in), biases 0."""
        return gaussian_start(self.layout, key, scale)


def existing(chain: Chain | None) -> Chain:
    """The chain of an imported module; without one what rests on it is an attribute that the network does not have."""
    if chain is None:
        raise AttributeError("the module is no chain of dense layers")
    return chain


@jax.custom_jvp
def _product(weight: Float[Array, "o i"], hidden: Float[Array, "i N"]) -> Float[Array, "o N"]:
    """weight @ hidden, whose reverse derivative reads a transposed copy of the weight.

    XLA multiplies by Wᵀ at half its speed where W lies as (o, i); the copy is small and the barrier keeps it.
    """
    return weight @ hidden


@_product.defjvp
def _(primals, tangents):
    (weight, hidden), (d_weight, d_hidden) = primals, tangents
    turned = jax.lax.optimization_barrier(weight.T)
    moved = jax.lax.dot_general(turned, d_hidden, (((0,), (0,)), ((), ())))
    return _product(weight, hidden), d_weight @ hidden + moved


@functools.lru_cache(maxsize=256)
def chain_layout(widths: tuple[int, ...], biases: tuple[bool, ...]) -> Layout:
    """The layout of a chain of dense layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for number, has_bias in enumerate(biases, start=1):
        shapes[f"layer{number}.weight"] = (widths[number], widths[number - 1])
        if has_bias:
            shapes[f"layer{number}.bias"] = (widths[number],)
    plain = Layout(shapes)
    neurons: list[Neuron] = []
    for number in range(1, len(biases)):
        bias = plain.indices(f"layer{number}.bias") if biases[number - 1] else None
        outgoing = plain.indices(f"layer{number + 1}.weight").T
        neurons.extend(neurons_between(number, plain.indices(f"layer{number}.weight"), bias, outgoing))
    return Layout(shapes, tuple(neurons))


def whole_numbers(**given: Any) -> None:
    """Raise `NetworkError` unless every named size is a whole number ≥ 1."""
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise NetworkError(f"{name} is {value!r}, expected a whole number of at least 1")


def bias_flags(bias: bool | str, layers: int) -> tuple[bool, ...]:
    """One flag per layer from True, False or "hidden" (all but the output layer)."""
    if bias == "hidden":
        return (True,) * (layers - 1) + (False,)
    if isinstance(bias, bool):
        return (bias,) * layers
    raise NetworkError(f'bias is {bias!r}, expected True, False or "hidden" (none in the output layer)')
