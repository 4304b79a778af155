"""Finite groups of orthogonal maps, each with the sign that the target takes under it."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from thetadot.problems.checks import Numbers, as_float64
from thetadot.symmetry.errors import HypothesisError, ParticleError

_SAME = 1e-8
_ORTHOGONAL = 1e-10


@dataclasses.dataclass(frozen=True)
class SymmetryGroup:
    """A finite group of orthogonal maps T with characters s = ±1: f*(Tx) = s f*(x).

    Attributes:
        matrices (G, d, d): identity first, closed under products.
        signs (G,): ±1.
        order: G.
    """

    matrices: Float[np.ndarray, "G d d"]
    signs: Float[np.ndarray, " G"]
    order: int


def orthogonality_residual(matrix: Float[np.ndarray, "d d"]) -> float:
    """max|TᵀT − I|."""
    return float(np.abs(matrix.T @ matrix - np.eye(matrix.shape[0])).max())


def require_orthogonal(matrix: Float[np.ndarray, "d d"]) -> None:
    """Raise `HypothesisError` unless T is orthogonal to 1e-10."""
    residual = orthogonality_residual(matrix)
    if not residual <= _ORTHOGONAL:
        raise HypothesisError(
            f"the map is not orthogonal, TᵀT − I is {residual:.2g}: it is no isometry of the space of neurons, so that "
            "training need not keep its symmetry; only orthogonal maps generate a group here"
        )


def generate_group(
    matrices: Numbers, signs: Sequence[float] | None = None, *, max_order: int = 512
) -> SymmetryGroup:
    """The group that orthogonal maps generate, with the sign of each element.

    Arguments:
        matrices (g, d, d): generators.
        signs (g,): ±1, the target's sign under each; +1 if left out.
        max_order: most elements.

    Raises:
        HypothesisError: a map is not orthogonal; one map is reached with both signs, so that the target would vanish;
            or there are more than `max_order` elements, as for a rotation by an irrational angle.
        ParticleError: shapes that do not fit.

    Example:
        >>> generate_group([[[0.0, 1.0], [1.0, 0.0]], [[-1.0, 0.0], [0.0, 1.0]]]).order
        8
    """
    given = np.asarray(as_float64(matrices, "matrices"))
    if given.ndim != 3 or given.shape[1] != given.shape[2] or not np.isfinite(given).all():
        raise ParticleError(f"matrices have shape {given.shape}, expected finite (g, d, d)")
    characters = np.ones(len(given)) if signs is None else np.asarray(signs, float)
    if characters.shape != (len(given),) or not np.all(np.abs(characters) == 1):
        raise ParticleError(f"signs are {signs}, expected {len(given)} entries ±1")
    for matrix in given:
        require_orthogonal(matrix)
    elements, found = [np.eye(given.shape[1])], [1.0]
    position = 0
    while position < len(elements):
        for generator, character in zip(given, characters, strict=True):
            product, sign = generator @ elements[position], character * found[position]
            gaps = np.abs(np.array(elements) - product).max(axis=(1, 2))
            nearest = int(np.argmin(gaps))
            if gaps[nearest] < _SAME:
                if found[nearest] != sign:
                    raise HypothesisError(
                        "one map is a product of the generators with both signs: a target with both would be 0; "
                        "mend the signs"
                    )
                continue
            if len(elements) == max_order:
                raise HypothesisError(
                    f"the maps generate more than {max_order} elements (a rotation by an irrational angle never "
                    "closes): give generators of a finite group, or raise max_order"
                )
            elements.append(product)
            found.append(sign)
        position += 1
    return SymmetryGroup(np.array(elements), np.array(found), len(elements))
