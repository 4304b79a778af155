"""Checks at the border of the package; each failure is one clear line."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

from thetadot.errors import PrecisionError
from thetadot.problems.checks import Numbers
from thetadot.simulators.errors import MatrixError, SettingError


def as_numbers(values: Any, what: str, ndim: int) -> Float[np.ndarray, "..."]:
    """`values` as a finite float64 array of `ndim` axes; float32 is refused."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise MatrixError(f"{what} is not a rectangular array of numbers") from None
    if array.dtype.kind == "f" and array.dtype != np.float64:
        raise PrecisionError(f"{what} has dtype {array.dtype}, thetadot needs float64: convert it first")
    if array.dtype.kind not in "fiub":
        raise MatrixError(f"{what} has dtype {array.dtype}, expected real numbers")
    if array.ndim != ndim:
        raise MatrixError(f"{what} has shape {array.shape}, expected {ndim} axes")
    array = array.astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise MatrixError(f"{what} is {array[place]} at index {place}: expected finite numbers")
    return array


def as_matrix(values: Numbers, what: str, shape: tuple[int | None, int | None] = (None, None)) -> Any:
    """`values` as a finite matrix of this shape; None is any length."""
    matrix = as_numbers(values, what, 2)
    if any(want is not None and want != have for want, have in zip(shape, matrix.shape, strict=True)):
        wanted = " × ".join("any" if length is None else str(length) for length in shape)
        raise MatrixError(f"{what} has shape {matrix.shape}, expected {wanted}")
    return matrix


def as_square(values: Numbers, what: str) -> Any:
    """`values` as a finite square matrix."""
    matrix = as_numbers(values, what, 2)
    if matrix.shape[0] != matrix.shape[1]:
        raise MatrixError(
            f"{what} has shape {matrix.shape}: a spectrum needs a square matrix, as many outputs as inputs"
        )
    return matrix


def one_of(given: Any, known: Iterable[str], what: str) -> str:
    """`given` if it is among `known`."""
    known = tuple(known)
    if given not in known:
        raise SettingError(f"{what} is {given!r}, expected one of {', '.join(known)}")
    return given


def in_range(value: Any, what: str, low: float, high: float = np.inf, open_low: bool = False) -> float:
    """`value` as a float with low ≤ value < high (low < value if `open_low`)."""
    number = float(value)
    if not (low < number if open_low else low <= number) or not number < high:
        sign = ">" if open_low else "≥"
        bound = "" if high == np.inf else f" and < {high:g}"
        raise SettingError(f"{what} is {number:g}, expected a number {sign} {low:g}{bound}")
    return number


TIMES = ("discrete", "continuous")


def as_time(time: Any) -> str:
    """`time` if it is "discrete" (a map) or "continuous" (a vector field)."""
    return one_of(time, TIMES, "time")
