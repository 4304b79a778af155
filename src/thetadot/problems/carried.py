"""Any object as arrays plus a hashable rest, so that problems are pytrees of arrays only.

A problem travels through `jit`, `scan` and `vmap` as an argument. What users hand in (Equinox modules with
functions as leaves, partial functions, plain classes) is split here: arrays become leaves, all else is
static.
"""

from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thetadot.problems.errors import NetworkError

T = TypeVar("T")


class Structure:
    """A tree structure with its non-array leaves; hashed once, compared by value."""

    __slots__ = ("_hash", "rest", "tree")

    def __init__(self, tree: Any, rest: tuple):
        self.tree = tree
        self.rest = rest
        self._hash = hash((tree, rest))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Structure)
            and self._hash == other._hash
            and self.tree == other.tree
            and self.rest == other.rest
        )

    def __reduce__(self):
        # A tree structure of Equinox modules does not survive pickling, an object of that structure does.
        return _structure_of, (jax.tree.unflatten(self.tree, self.rest),)


def _structure_of(skeleton: Any) -> Structure:
    leaves, tree = jax.tree.flatten(skeleton)
    return Structure(tree, tuple(leaves))


class Carried(eqx.Module, Generic[T]):
    """An object split into array leaves and a hashable rest; `value` puts it together again."""

    arrays: tuple[Array, ...]
    structure: Structure = eqx.field(static=True)

    @property
    def value(self) -> T:
        """The object."""
        arrays = iter(self.arrays)
        leaves = [next(arrays) if leaf is _ARRAY else leaf for leaf in self.structure.rest]
        return jax.tree.unflatten(self.structure.tree, leaves)


class _Placeholder:
    """Stands where an array leaf was."""

    def __repr__(self) -> str:
        return "array"

    def __reduce__(self) -> str:
        return "_ARRAY"  # the one instance, also in another process


_ARRAY = _Placeholder()


def skeleton(value: Any) -> Structure:
    """The structure of a pytree alone, whatever its leaves."""
    leaves, tree = jax.tree.flatten(value)
    return Structure(tree, (_ARRAY,) * len(leaves))


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray))


def carry(value: T, what: str) -> Carried[T]:
    """Split `value`; raises `NetworkError` if what is left without its arrays cannot be hashed."""
    leaves, tree = jax.tree.flatten(value)
    arrays = tuple(jnp.asarray(leaf) for leaf in leaves if _is_array(leaf))
    rest = tuple(_ARRAY if _is_array(leaf) else leaf for leaf in leaves)
    try:
        structure = Structure(tree, rest)
    except TypeError as error:
        raise NetworkError(
            f"{what} cannot be hashed apart from its arrays ({error}): make it an equinox.Module whose "
            "arrays are "
            "fields and whose static fields are hashable, or a frozen dataclass"
        ) from None
    return Carried(arrays, structure)
