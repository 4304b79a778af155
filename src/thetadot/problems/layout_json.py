"""Layouts as JSON and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from thetadot.problems.layout import Layout, Neuron


def layout_to_json(layout: Layout) -> dict[str, Any]:
    """A layout as JSON; index arrays that are arithmetic progressions (all of ours) shrink to three
    numbers."""
    return {
        "shapes": {name: list(shape) for name, shape in layout.shapes.items()},
        "neurons": [
            [neuron.layer, neuron.index, *map(_progression, (neuron.incoming, neuron.bias, neuron.outgoing))]
            for neuron in layout.neurons
        ],
    }


def layout_from_json(document: Mapping[str, Any]) -> Layout:
    """The layout that `layout_to_json` described."""
    neurons = tuple(
        Neuron(layer, index, *(_indices(part) for part in parts))
        for layer, index, *parts in document["neurons"]
    )
    return Layout({name: tuple(shape) for name, shape in document["shapes"].items()}, neurons)


def _progression(indices: np.ndarray) -> dict[str, list[int]] | list[int]:
    if indices.size > 3:
        steps = np.diff(indices)
        if np.all(steps == steps[0]):
            return {"range": [int(indices[0]), int(steps[0]), int(indices.size)]}
    return [int(index) for index in indices]


def _indices(part: Mapping[str, list[int]] | list[int]) -> np.ndarray:
    if isinstance(part, Mapping):
        start, step, amount = part["range"]
        return start + step * np.arange(amount, dtype=np.int64)
    return np.array(part, np.int64)
