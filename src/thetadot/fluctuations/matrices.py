"""Matrices as they come from users: float64, square, symmetric; and numbers with their bounds."""

from typing import Any

import numpy as np
from jaxtyping import Float

from thetadot.fluctuations.errors import FluctuationsError, SizeError
from thetadot.problems.checks import as_float64

DENSE_LIMIT = 5000
_ASYMMETRY = 1e-8


def require_dense(size: int) -> None:
    """Raise `SizeError` for more parameters than dense matrices are made of here."""
    if size > DENSE_LIMIT:
        raise SizeError(
            f"a dense covariance of {size} parameters was asked for, the limit is {DENSE_LIMIT}: use leading=k "
            "for the block in the k leading Hessian eigenvectors, or project(directions)"
        )


def finite(values: Any, what: str) -> Float[np.ndarray, "..."]:
    """`values` as finite float64 numbers of NumPy.

    Raises:
        PrecisionError: float32.
        FluctuationsError: NaN or infinite entries.
    """
    array = np.asarray(as_float64(values, what))
    if not np.isfinite(array).all():
        raise FluctuationsError(f"{what} has entries that are not finite: expected numbers")
    return array


def symmetric(values: Any, what: str, size: int | None = None) -> Float[np.ndarray, "P P"]:
    """`values` as a symmetric matrix, its rounding averaged away.

    Raises:
        FluctuationsError: not square, not of this size, not symmetric to 1e-8 of its largest entry.
    """
    array = finite(values, what)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] == 0:
        raise FluctuationsError(f"{what} has shape {array.shape}: expected a square matrix (P, P)")
    if size is not None and len(array) != size:
        raise FluctuationsError(
            f"{what} is {array.shape}, the Hessian is ({size}, {size}): both must be equal"
        )
    off = np.abs(array - array.T).max()
    if off > _ASYMMETRY * np.abs(array).max():
        raise FluctuationsError(
            f"{what} is not symmetric (off by {off:.2g}): give the symmetric matrix (A + Aᵀ)/2"
        )
    return 0.5 * (array + array.T)


def positive(value: Any, what: str, *, zero: bool = False) -> float:
    """`value` as a positive number, or one that may be zero."""
    number = float(value)
    if not np.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise FluctuationsError(
            f"{what} = {value}: expected a {'non-negative' if zero else 'positive'} number"
        )
    return number


def whole(value: Any, what: str, least: int = 1) -> int:
    """`value` as an integer not below `least`."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < least:
        raise FluctuationsError(f"{what} = {value!r}: expected an integer of at least {least}")
    return int(value)
