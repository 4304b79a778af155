"""What the entries of the flat parameter vector θ mean: named slices and hidden neurons."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from thetadot.problems.errors import ShapeError

_NONE = np.zeros(0, dtype=np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class Neuron:
    """One hidden neuron (or channel, or coordinate of a diagonal network): where its parameters stand in θ.

    Attributes:
        layer: 1-based number of the layer whose output it is.
        index: 0-based position in that layer.
        incoming: indices into θ of all weights into it.
        bias: indices of its bias, empty if it has none.
        outgoing: indices of all weights that read it.
    """

    layer: int
    index: int
    incoming: Int[np.ndarray, " i"]
    bias: Int[np.ndarray, " b"]
    outgoing: Int[np.ndarray, " o"]

    @functools.cached_property
    def indices(self) -> Int[np.ndarray, " n"]:
        """All indices of the neuron: incoming, bias, outgoing, in this order."""
        return np.concatenate([self.incoming, self.bias, self.outgoing])


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Names of the slices of θ, in order, and the hidden neurons.

    Attributes:
        shapes: {name: shape}; slices follow one another in this order, each in row-major order.
        neurons: one record per hidden neuron; empty where hidden neurons are unknown.

    Example:
        >>> from thetadot.problems import mlp
        >>> layout = mlp([2, 3, 1], "tanh").layout
        >>> layout.slices["layer1.bias"]
        slice(6, 9, None)
        >>> layout.neurons[0].indices
        array([0, 1, 6, 9])
    """

    shapes: Mapping[str, tuple[int, ...]]
    neurons: tuple[Neuron, ...] = ()

    @functools.cached_property
    def slices(self) -> dict[str, slice]:
        """{name: slice of θ}, in order; they partition θ."""
        slices, start = {}, 0
        for name, shape in self.shapes.items():
            stop = start + math.prod(shape)
            slices[name] = slice(start, stop)
            start = stop
        return slices

    @property
    def size(self) -> int:
        """P, the length of θ."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @functools.cached_property
    def roles(self) -> dict[str, str]:
        """{name: role}, the role being what follows the last dot: "weight", "bias", …"""
        return {name: name.rpartition(".")[2] for name in self.shapes}

    def indices(self, name: str) -> Int[np.ndarray, "..."]:
        """Indices into θ of the slice `name`, in the slice's own shape."""
        part = self.slices[name]
        return np.arange(part.start, part.stop).reshape(self.shapes[name])

    def split(self, theta: Float[Array | np.ndarray, "*batch P"]) -> dict[str, Any]:
        """{name: array} of one θ (P,) or of stacked ones (…, P), each of shape (…, *shape of the slice)."""
        if theta.shape[-1] != self.size:
            raise ShapeError(f"theta has {theta.shape[-1]} entries, this layout names {self.size}")
        batch = theta.shape[:-1]
        return {
            name: theta[..., part].reshape(batch + self.shapes[name]) for name, part in self.slices.items()
        }

    def parameter_names(self) -> list[str]:
        """One label per entry of θ, such as "layer1.weight[0,2]", for tables and coordinates."""
        return [
            f"{name}[{','.join(map(str, place))}]" if shape else name
            for name, shape in self.shapes.items()
            for place in np.ndindex(shape)
        ]


def neurons_between(
    layer: int,
    incoming: Sequence[np.ndarray] | np.ndarray,
    bias: np.ndarray | None,
    outgoing: Sequence[np.ndarray] | np.ndarray,
) -> tuple[Neuron, ...]:
    """Records of one hidden layer; row i of `incoming` and of `outgoing` belongs to neuron i."""
    return tuple(
        Neuron(
            layer,
            index,
            np.ravel(into),
            _NONE if bias is None else bias[index : index + 1],
            np.ravel(out),
        )
        for index, (into, out) in enumerate(zip(incoming, outgoing, strict=True))
    )


@functools.lru_cache(maxsize=256)
def tree_layout(shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> Layout:
    """The layout of a user's pytree from its (name, shape) pairs in tree order."""
    return Layout(dict(shapes))


def path_name(path: tuple) -> str:
    """The name of a leaf from its path in a pytree: "layers.0.weight"; "theta" for a single array."""
    return jax.tree_util.keystr(path, simple=True, separator=".") or "theta"
