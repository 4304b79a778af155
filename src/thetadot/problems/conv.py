"""Convolutional networks on images: convolutions, then a dense read-out."""

import functools
import math
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.problems.activations import Activation, as_activation
from thetadot.problems.chain import whole_numbers
from thetadot.problems.checks import known_name
from thetadot.problems.errors import NetworkError, ShapeError
from thetadot.problems.layout import Layout, Neuron, neurons_between
from thetadot.problems.start import gaussian_start

PADDINGS = ("same", "valid")
POOLINGS = ("mean", "none")


class Conv(eqx.Module):
    """A convolutional network; build it with `conv`.

    Attributes:
        image: (channels, height, width) of one sample.
        channels: output channels of each convolution.
        outputs: outputs of the dense read-out.
        activation: after each convolution.
        kernel: height and width of the kernels.
        stride: step of every convolution.
        padding: "same" (zeros) or "valid".
        pooling: "mean" (over all pixels of a channel, before the read-out) or "none" (all pixels are read).
        bias: whether convolutions and read-out have biases.
    """

    image: tuple[int, int, int] = eqx.field(static=True)
    channels: tuple[int, ...] = eqx.field(static=True)
    outputs: int = eqx.field(static=True)
    activation: Activation = eqx.field(static=True)
    kernel: int = eqx.field(static=True)
    stride: int = eqx.field(static=True)
    padding: str = eqx.field(static=True)
    pooling: str = eqx.field(static=True)
    bias: bool = eqx.field(static=True)

    @property
    def pixels(self) -> tuple[int, int]:
        """(height, width) after the last convolution."""
        return _pixels(self.image[1:], len(self.channels), self.kernel, self.stride, self.padding)

    @property
    def layout(self) -> Layout:
        """Slices layer1.weight (out, in, kernel, kernel), layer1.bias, …; one record per hidden channel.

        The last layer is the dense read-out, its weight (outputs, features).
        """
        features = 1 if self.pooling == "mean" else math.prod(self.pixels)
        return _layout(self.image[0], self.channels, self.outputs, self.kernel, features, self.bias)

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
        """Sizes, activation, and what is unusual."""
        sizes = "-".join(map(str, (self.image[0], *self.channels, self.outputs)))
        shape = "×".join(map(str, self.image[1:]))
        text = f"conv {sizes} {self.activation.name} on {shape} images, {self.kernel}×{self.kernel} kernels"
        return text if self.bias else text + " without biases"

    def initial(self, key: PRNGKeyArray, scale: float | Array = 1.0) -> Float[Array, " P"]:
        """Weights N(0, scale²/fan_in), fan_in = channels · kernel² for a convolution; biases 0."""
        return gaussian_start(self.layout, key, scale)

    def evaluate(self, theta: Float[Array, " P"], x: Float[Array, "..."]) -> Float[Array, " k"]:
        """Output (outputs,) of one image x (channels, height, width)."""
        if x.shape != self.image:
            raise ShapeError(
                f"the network takes images of shape {self.image}, given a sample of shape {x.shape}: "
                "reshape x to "
                "(N, channels, height, width)"
            )
        parts = self.layout.split(theta)
        state = x
        for number in range(1, len(self.channels) + 1):
            weight = parts[f"layer{number}.weight"]
            strides = (self.stride, self.stride)
            padding = self.padding.upper()
            state = jax.lax.conv_general_dilated(state[None], weight, strides, padding)[0]
            if self.bias:
                state = state + parts[f"layer{number}.bias"][:, None, None]
            state = self.activation(state)
        features = jnp.mean(state, axis=(1, 2)) if self.pooling == "mean" else state.ravel()
        last = len(self.channels) + 1
        out = parts[f"layer{last}.weight"] @ features
        return out + parts[f"layer{last}.bias"] if self.bias else out


def _pixels(image: tuple[int, int], layers: int, kernel: int, stride: int, padding: str) -> tuple[int, int]:
    sizes = []
    for size in image:
        for _ in range(layers):
            size = -(-size // stride) if padding == "same" else -(-(size - kernel + 1) // stride)
        sizes.append(size)
    return sizes[0], sizes[1]


@functools.lru_cache(maxsize=64)
def _layout(
    inputs: int, channels: tuple[int, ...], outputs: int, kernel: int, features: int, bias: bool
) -> Layout:
    shapes: dict[str, tuple[int, ...]] = {}
    widths = (inputs, *channels)
    for number in range(1, len(widths)):
        shapes[f"layer{number}.weight"] = (widths[number], widths[number - 1], kernel, kernel)
        if bias:
            shapes[f"layer{number}.bias"] = (widths[number],)
    last = len(widths)
    shapes[f"layer{last}.weight"] = (outputs, channels[-1] * features)
    if bias:
        shapes[f"layer{last}.bias"] = (outputs,)
    plain = Layout(shapes)
    neurons: list[Neuron] = []
    for number in range(1, last):
        following = plain.indices(f"layer{number + 1}.weight")
        if number + 1 == last:
            following = following.reshape(outputs, channels[-1], features)
        own_bias = plain.indices(f"layer{number}.bias") if bias else None
        outgoing = np.swapaxes(following, 0, 1)
        neurons.extend(neurons_between(number, plain.indices(f"layer{number}.weight"), own_bias, outgoing))
    return Layout(shapes, tuple(neurons))


def conv(
    image: Sequence[int],
    channels: Sequence[int],
    outputs: int,
    activation: str | Callable = "relu",
    *,
    kernel: int = 3,
    stride: int = 1,
    padding: str = "same",
    pooling: str = "mean",
    bias: bool = True,
    slope: float = 0.01,
) -> Conv:
    """A convolutional network: convolutions with activation, pooling, a dense read-out.

    Arguments:
        image: (channels, height, width) of one sample.
        channels: output channels of each convolution.
        outputs: outputs of the read-out.
        activation: a name or any elementwise JAX function, applied after each convolution.
        kernel: height and width of the kernels.
        stride: step of every convolution.
        padding: "same" (zeros around the image) or "valid".
        pooling: "mean" (over all pixels of a channel) or "none" (the read-out sees every pixel).
        bias: whether convolutions and read-out have biases.
        slope: slope of "leaky_relu" for negative arguments.

    Returns:
        A network of one image x (channels, height, width) → (outputs,). θ runs layer by layer, weight
        row-major (out, in, height, width), then bias; weights start as N(0, scale²/fan_in), biases at 0. A
        hidden channel is one neuron of `layout`.

    Raises:
        NetworkError: sizes that are not whole numbers, or an image too small for the kernels.

    Example:
        >>> conv((1, 8, 8), [4, 8], 10).size
        426
    """
    if len(image) != 3:
        raise NetworkError(f"image is {tuple(image)}, expected (channels, height, width)")
    if not channels:
        raise NetworkError("channels is empty: give the output channels of at least one convolution")
    whole_numbers(outputs=outputs, kernel=kernel, stride=stride)
    whole_numbers(**{f"image[{i}]": size for i, size in enumerate(image)})
    whole_numbers(**{f"channels[{i}]": size for i, size in enumerate(channels)})
    known_name(padding, PADDINGS, "padding")
    known_name(pooling, POOLINGS, "pooling")
    if not isinstance(bias, bool):
        raise NetworkError(f"bias is {bias!r}, expected True or False")
    depth, height, width = (int(size) for size in image)
    if min(_pixels((height, width), len(channels), kernel, stride, padding)) < 1:
        raise NetworkError(
            f"images of {height} × {width} pixels are too small for {len(channels)} convolutions with kernel "
            f'{kernel} and padding "valid": use padding="same" or fewer layers'
        )
    return Conv(
        (depth, height, width),
        tuple(int(size) for size in channels),
        int(outputs),
        as_activation(activation, slope),
        int(kernel),
        int(stride),
        padding,
        pooling,
        bias,
    )
