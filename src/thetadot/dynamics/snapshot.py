"""The whole state of a run as arrays and JSON, so that it goes to disk without pickle and comes back to the bit."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """State of a run.

    Attributes:
        arrays: {name: array}, everything that must come back to the bit.
        meta: JSON-able settings and counters (kind of run, solver, tolerances, position in the save grid).
    """

    arrays: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]


def flatten(tree: Any, prefix: str) -> dict[str, np.ndarray]:
    """Array leaves of a pytree as {prefix.0: array, …}, in tree order."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, (jax.Array, np.ndarray))]
    return {f"{prefix}.{index}": np.asarray(leaf) for index, leaf in enumerate(leaves)}


def restore(template: Any, arrays: Mapping[str, np.ndarray], prefix: str) -> Any:
    """The pytree `template` with its array leaves replaced by those that `flatten` wrote under `prefix`."""
    leaves, structure = jax.tree.flatten(template)
    filled, index = [], 0
    for leaf in leaves:
        if isinstance(leaf, (jax.Array, np.ndarray)):
            stored = arrays[f"{prefix}.{index}"]
            if stored.shape != leaf.shape or stored.dtype != leaf.dtype:
                raise ValueError(
                    f"{prefix}.{index}: stored {stored.dtype}{stored.shape}, expected {leaf.dtype}{leaf.shape}"
                )
            filled.append(jax.numpy.asarray(stored))
            index += 1
        else:
            filled.append(leaf)
    return jax.tree.unflatten(structure, filled)
