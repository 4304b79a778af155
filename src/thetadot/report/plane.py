"""The principal plane: the two directions in which the saved weights of several paths spread most."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.linalg
from jaxtyping import Float

from thetadot.dynamics.path import Path

_FIT_ROWS = 600
_FIT_NUMBERS = 40_000_000


@dataclasses.dataclass(frozen=True)
class Plane:
    """A plane in the space of weights.

    Attributes:
        centre (P,): a point of it.
        directions (2, P): orthonormal.
        shares (2,): what part of the variance of the weights that it was fitted to lies along each direction.
    """

    centre: Float[np.ndarray, " P"]
    directions: Float[np.ndarray, "2 P"]
    shares: Float[np.ndarray, "2"]

    def project(self, thetas: Float[np.ndarray, "S P"]) -> Float[np.ndarray, "S 2"]:
        """Coordinates of weights in the plane."""
        with np.errstate(invalid="ignore", over="ignore"):
            return (thetas - self.centre) @ self.directions.T


def principal_plane(paths: Sequence[Path]) -> Plane | None:
    """The principal plane of the saved rows of all paths, every row with the same weight.

    Rows are thinned evenly if they are too many; rows that are not finite, and paths that diverged, are left
    out unless all did. The signs are fixed: the largest component of each direction is positive.

    Returns:
        The plane, or None if there are fewer than two different finite rows or fewer than two parameters.
    """
    calm = [path for path in paths if not path.outcome.failed] or list(paths)
    if not calm or calm[0].thetas.shape[1] < 2:
        return None
    size = calm[0].thetas.shape[1]
    most = max(3, min(_FIT_ROWS, _FIT_NUMBERS // size) // len(calm))
    rows = np.concatenate([_spread(_sane(path.thetas), most) for path in calm])
    if len(rows) < 2:
        return None
    centre = rows.mean(axis=0)
    products = (rows - centre) @ (rows - centre).T
    values, vectors = scipy.linalg.eigh(products, subset_by_index=[len(rows) - 2, len(rows) - 1])
    if not values[-1] > 0:
        return None
    leading = vectors[:, ::-1].T @ (rows - centre)
    lengths = np.linalg.norm(leading, axis=1, keepdims=True)
    small = lengths[1, 0] <= 1e-12 * lengths[0, 0]
    directions = leading / np.where(lengths > 0, lengths, 1.0)
    if small:
        directions[1] = _perpendicular(directions[0])
    largest = directions[np.arange(2), np.abs(directions).argmax(axis=1)]
    directions *= np.where(largest < 0, -1.0, 1.0)[:, None]
    return Plane(centre, directions, np.clip(values[::-1], 0, None) / np.trace(products))


def _sane(thetas: Float[np.ndarray, "S P"]) -> Float[np.ndarray, "K P"]:
    """Rows that are finite and whose squares are."""
    return thetas[np.all(np.isfinite(thetas), axis=1) & (np.abs(thetas).max(axis=1, initial=0.0) < 1e100)]


def _spread(rows: Float[np.ndarray, "K P"], most: int) -> Float[np.ndarray, "M P"]:
    if len(rows) <= most:
        return rows
    return rows[np.unique(np.linspace(0, len(rows) - 1, most).round().astype(int))]


def _perpendicular(direction: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
    """A unit vector orthogonal to a unit vector: for paths that move on a straight line."""
    other = np.zeros_like(direction)
    other[np.abs(direction).argmin()] = 1.0
    other -= (other @ direction) * direction
    return other / np.linalg.norm(other)
