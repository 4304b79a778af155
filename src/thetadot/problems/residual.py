"""Residual networks: a linear stream to which two-layer blocks add."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.problems.activations import Activation, as_activation
from thetadot.problems.chain import whole_numbers
from thetadot.problems.errors import NetworkError, ShapeError
from thetadot.problems.layout import Layout, Neuron, neurons_between
from thetadot.problems.start import gaussian_start


class Residual(eqx.Module):
    """A residual network; build it with `residual`.

    Attributes:
        dimension: number of inputs.
        stream: width of the stream; equal to `dimension` and without embedding unless asked for.
        width: hidden neurons of each block.
        blocks: number of blocks.
        outputs: width of the read-out, or None: the stream itself is the output.
        embedded: whether a linear embedding comes first.
        activation: of the blocks' hidden neurons.
        bias: whether embedding, blocks and read-out have biases.
    """

    dimension: int = eqx.field(static=True)
    stream: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    blocks: int = eqx.field(static=True)
    outputs: int | None = eqx.field(static=True)
    embedded: bool = eqx.field(static=True)
    activation: Activation = eqx.field(static=True)
    bias: bool = eqx.field(static=True)

    @property
    def layout(self) -> Layout:
        """Slices embedding.weight, block1.layer1.weight, …, readout.weight, each with .bias if asked for.

        One record per hidden neuron of a block, its layer being the block's number.
        """
        return _layout(
            self.dimension, self.stream, self.width, self.blocks, self.outputs, self.embedded, self.bias
        )

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
        end = "" if self.outputs is None else f"-{self.outputs}"
        start = f"{self.dimension}-" if self.embedded else ""
        blocks = f"{self.blocks} block{'s' if self.blocks > 1 else ''} of {self.width}"
        text = f"residual {start}{self.stream}{end} with {blocks} {self.activation.name}"
        return text if self.bias else text + " without biases"

    def initial(self, key: PRNGKeyArray, scale: float | Array = 1.0) -> Float[Array, " P"]:
        """Weights N(0, scale²/fan_in), biases 0."""
        return gaussian_start(self.layout, key, scale)

    def evaluate(self, theta: Float[Array, " P"], x: Float[Array, "..."]) -> Float[Array, " k"]:
        """Output (outputs,), or (stream,) without read-out, of one sample x (dimension,)."""
        if x.shape != (self.dimension,):
            raise ShapeError(
                f"the network takes samples of shape ({self.dimension},), given a sample of shape {x.shape}"
            )
        return self._pass(theta, x)[0]

    def preactivations(self, theta: Float[Array, " P"], x: Float[Array, "N d"]) -> dict[int, Array]:
        """{block: arguments of its activation (width, N)} for samples x (N, dimension)."""
        return jax.vmap(lambda one: self._pass(theta, one)[1], out_axes=-1)(x)

    def _pass(self, theta: Array, x: Array) -> tuple[Array, dict[int, Array]]:
        parts = self.layout.split(theta)

        def affine(name: str, value: Array) -> Array:
            out = parts[f"{name}.weight"] @ value
            return out + parts[f"{name}.bias"] if self.bias else out

        state = affine("embedding", x) if self.embedded else x
        before = {}
        for number in range(1, self.blocks + 1):
            before[number] = affine(f"block{number}.layer1", state)
            state = state + affine(f"block{number}.layer2", self.activation(before[number]))
        return state if self.outputs is None else affine("readout", state), before


@functools.lru_cache(maxsize=64)
def _layout(
    dimension: int, stream: int, width: int, blocks: int, outputs: int | None, embedded: bool, bias: bool
) -> Layout:
    dense: list[tuple[str, int, int]] = [("embedding", stream, dimension)] if embedded else []
    for number in range(1, blocks + 1):
        dense += [(f"block{number}.layer1", width, stream), (f"block{number}.layer2", stream, width)]
    if outputs is not None:
        dense.append(("readout", outputs, stream))
    shapes: dict[str, tuple[int, ...]] = {}
    for name, fan_out, fan_in in dense:
        shapes[f"{name}.weight"] = (fan_out, fan_in)
        if bias:
            shapes[f"{name}.bias"] = (fan_out,)
    plain = Layout(shapes)
    neurons: list[Neuron] = []
    for number in range(1, blocks + 1):
        own_bias = plain.indices(f"block{number}.layer1.bias") if bias else None
        outgoing = plain.indices(f"block{number}.layer2.weight").T
        neurons.extend(
            neurons_between(number, plain.indices(f"block{number}.layer1.weight"), own_bias, outgoing)
        )
    return Layout(shapes, tuple(neurons))


def residual(
    dimension: int,
    width: int,
    outputs: int | None = None,
    activation: str | Callable = "relu",
    *,
    blocks: int = 1,
    stream: int | None = None,
    bias: bool = True,
    slope: float = 0.01,
) -> Residual:
    """A residual network s_0 = x, s_l = s_{l−1} + V_l σ(U_l s_{l−1} + b_l) + c_l, output R s_blocks + r.

    Arguments:
        dimension: number of inputs.
        width: hidden neurons of each block.
        outputs: outputs of a linear read-out R; None: the stream s itself is the output.
        activation: a name or any elementwise JAX function.
        blocks: number of blocks.
        stream: width of the stream; if given, a linear embedding s_0 = E x + e comes first.
        bias: whether embedding, blocks and read-out have biases.
        slope: slope of "leaky_relu" for negative arguments.

    Returns:
        A network of one sample x (dimension,) → (outputs,) or (stream,). θ runs from input to output,
        block by block, weight (out, in) row-major, then bias; weights start as N(0, scale²/fan_in), biases
        at 0. The neurons of `layout` are the hidden ones of the blocks; the stream's coordinates belong to
        all blocks and are none.

    Source: K. He, X. Zhang, S. Ren, J. Sun, arXiv 1512.03385.

    Example:
        >>> residual(2, 2, bias=False).size
        8
    """
    whole_numbers(dimension=dimension, width=width, blocks=blocks)
    if outputs is not None:
        whole_numbers(outputs=outputs)
    if stream is not None:
        whole_numbers(stream=stream)
    if not isinstance(bias, bool):
        raise NetworkError(f"bias is {bias!r}, expected True or False")
    return Residual(
        int(dimension),
        int(dimension if stream is None else stream),
        int(width),
        int(blocks),
        None if outputs is None else int(outputs),
        stream is not None,
        as_activation(activation, slope),
        bias,
    )
