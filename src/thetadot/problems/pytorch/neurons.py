"""The hidden neurons and channels of an imported module, found by following whose activity each number is."""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from thetadot.problems.layout import Layout, Neuron
from thetadot.problems.pytorch.operations import ELEMENTWISE, OPERATIONS
from thetadot.problems.pytorch.program import Part, Step, Stored, Value

_NOBODY = -1
_POOLS = ("average_pool", "maximum_pool", "adaptive_average_pool", "adaptive_maximum_pool")
_MOVES = ("flatten", "reshape", "transpose", "permute", "squeeze", "unsqueeze", "getitem", "identity")
_NUMBERS = ("add", "sub", "mul", "truediv", "pow")


@functools.lru_cache(maxsize=64)
def named_layout(
    steps: tuple[Step, ...],
    output: Any,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    sizes: tuple[tuple[int, ...] | None, ...],
) -> Layout:
    """Slices named as in the state_dict, and the hidden neurons: outputs of a linear or convolutional layer that only
    weights of such layers read, through activations, pooling and reshaping. What passes a normalisation, or is added to
    something else, belongs to no neuron.

    Arguments:
        steps, output, shapes: of the network.
        sizes: shape of a sample, and of every step's result for it.
    """
    plain = Layout(dict(shapes))
    uses = [item.name for step in steps for item in step.arguments if isinstance(item, Stored)]
    reader = _Follower(plain, {name for name in uses if uses.count(name) > 1})
    found: list[Any] = [np.full((1, *(sizes[0] or ())), _NOBODY)]
    for step, size in zip(steps, sizes[1:], strict=True):
        found.append(reader.after(step, found, size))
    reader.drop(found[output.number])
    return Layout(dict(shapes), reader.neurons())


class _Follower:
    """Follows labels, one per neuron, through the steps; a label shows what its neuron is and who reads it."""

    def __init__(self, layout: Layout, shared: set[str]):
        self.layout, self.shared = layout, shared
        self.born: list[tuple[int, int, np.ndarray, np.ndarray]] = []
        self.read: dict[int, list[np.ndarray]] = {}
        self.dropped: set[int] = {_NOBODY}
        self.layers = 0

    def drop(self, labels: Any) -> None:
        """These are no neurons."""
        if isinstance(labels, np.ndarray):
            self.dropped |= set(np.unique(labels).tolist())

    def after(self, step: Step, found: list[Any], size: tuple[int, ...] | None) -> Any:
        """Labels of a step's result (1, …), or the sizes that it is."""
        arguments = tuple(_filled(item, found) for item in step.arguments)
        arrays = [item for item in _flat(arguments) if isinstance(item, np.ndarray)]
        if size is None:
            return OPERATIONS[step.operation](*_traced(arguments), **dict(step.settings))
        shape = (1, *size)
        if step.operation in ("linear", "convolution"):
            return self._weighed(step, arguments[0], shape)
        if arrays and arrays[0] is arguments[0] and len(arrays) == 1:
            labels = arrays[0]
            if step.operation in _MOVES:
                return np.asarray(OPERATIONS[step.operation](*_traced(arguments), **dict(step.settings)))
            if step.operation in ELEMENTWISE or (step.operation in _NUMBERS and _is_number(arguments[1])):
                return labels
            if step.operation in _POOLS:
                return self._pooled(labels, tuple(range(labels.ndim - len(shape) + 2, labels.ndim)), shape)
            if step.operation == "mean":
                settings = dict(zip(("dim", "keepdim"), arguments[1:], strict=False)) | dict(step.settings)
                axes = settings.get("dim")
                if axes is not None:
                    places = [axis % labels.ndim for axis in (axes if isinstance(axes, tuple) else (axes,))]
                    return self._pooled(labels, tuple(places), shape)
        for labels in arrays:
            self.drop(labels)
        return np.full(shape, _NOBODY)

    def _pooled(self, labels: np.ndarray, axes: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
        """Labels after numbers along some axes are put together: those of one neuron stay its."""
        low, high = labels.min(axes, keepdims=True), labels.max(axes, keepdims=True)
        mixed = low != high
        self.drop(labels[np.broadcast_to(mixed, labels.shape)])
        kept = np.where(mixed, _NOBODY, low)
        return np.broadcast_to(kept if kept.ndim == len(shape) else kept.reshape(shape), shape).copy()

    def _weighed(self, step: Step, labels: Any, shape: tuple[int, ...]) -> np.ndarray:
        """A layer reads the neurons below it, and its outputs are neurons of a new layer."""
        self.layers += 1
        weight, bias = step.arguments[1:]
        known = (
            isinstance(weight, Stored)
            and weight.name in self.layout.shapes
            and weight.name not in self.shared
        )
        if not known:
            self.drop(labels)
            return np.full(shape, _NOBODY)
        indices = self.layout.indices(weight.name)
        axis = labels.ndim - 1 if step.operation == "linear" else 1
        rows = np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1)
        groups = dict(step.settings).get("groups", 1)
        outputs, inputs = len(indices) // groups, indices.shape[1]
        for place, row in enumerate(rows):
            if row.min() != row.max():
                self.drop(row)
                continue
            group = place // inputs
            readers = indices[group * outputs : (group + 1) * outputs, place % inputs]
            self.read.setdefault(int(row[0]), []).append(np.ravel(readers))
        own = np.zeros((len(indices), 0), np.int64) if bias is None else self._trained(bias)
        if own is None:
            return np.full(shape, _NOBODY)
        own = own.reshape(len(indices), -1)
        first = len(self.born)
        self.born += [(self.layers, k, np.ravel(indices[k]), own[k]) for k in range(len(indices))]
        numbers = np.arange(first, first + len(indices))
        along = [1] * len(shape)
        along[len(shape) - 1 if step.operation == "linear" else 1] = -1
        return np.broadcast_to(numbers.reshape(along), shape).copy()

    def _trained(self, given: Any) -> np.ndarray | None:
        """Where an array stands in θ; None if it is not trained, or not by this layer alone."""
        ours = (
            isinstance(given, Stored) and given.name in self.layout.shapes and given.name not in self.shared
        )
        return self.layout.indices(given.name) if ours else None

    def neurons(self) -> tuple[Neuron, ...]:
        """All that were not dropped and are read by weights; layers counted from 1."""
        kept = [k for k in range(len(self.born)) if k not in self.dropped and k in self.read]
        layers = {
            layer: number for number, layer in enumerate(sorted({self.born[k][0] for k in kept}), start=1)
        }
        found = []
        for k in kept:
            layer, index, incoming, bias = self.born[k]
            found.append(Neuron(layers[layer], index, incoming, bias, np.concatenate(self.read[k])))
        return tuple(found)


def _filled(given: Any, found: Sequence[Any]) -> Any:
    """A template with labels in the place of values."""
    if isinstance(given, Value):
        return found[given.number]
    if isinstance(given, Part):
        return slice(*(_filled(item, found) for item in (given.start, given.stop, given.step)))
    if isinstance(given, tuple):
        return tuple(_filled(item, found) for item in given)
    return given


def _flat(given: Any) -> list[Any]:
    return [one for item in given for one in _flat(item)] if isinstance(given, tuple) else [given]


def _traced(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(jnp.asarray(item) if isinstance(item, np.ndarray) else item for item in arguments)


def _is_number(given: Any) -> bool:
    return isinstance(given, (int, float))
