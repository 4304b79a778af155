"""Checks of arrays at the border of the package: precision, finiteness and shape, each with one clear line.

Shapes and dtypes are known while tracing and are always checked; values are checked on concrete arrays only.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.errors import PrecisionError
from thetadot.problems.errors import DataError, ShapeError, UnknownNameError

Numbers = jax.Array | np.ndarray | Sequence | float | int


def require_x64() -> None:
    """Raise `PrecisionError` unless JAX computes in float64."""
    if jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise PrecisionError(
            "JAX runs in float32 here (THETADOT_X64=0, or x64 was switched off after the import): thetadot "
            "needs float64. Unset THETADOT_X64 and start again, or call "
            "jax.config.update('jax_enable_x64', True)"
        )


def is_concrete(array: Any) -> bool:
    """Whether the values of an array can be looked at (False while JAX traces)."""
    return not isinstance(array, jax.core.Tracer)


def as_array(values: Any, what: str) -> Array:
    """`values` as a JAX array of float64, or of int64 if they are integers; float32 is refused."""
    require_x64()
    if not isinstance(values, jax.Array):
        try:
            values = np.asarray(values)
        except ValueError as error:  # ragged lists
            raise ShapeError(f"{what} is not a rectangular array of numbers: {error}") from None
    kind = values.dtype
    if jnp.issubdtype(kind, jnp.floating) and kind != np.float64:
        raise PrecisionError(
            f"{what} has dtype {kind}, thetadot needs float64: convert it with numpy.asarray({what}, float) "
            "(and build imported modules after `import thetadot`, which switches JAX to float64)"
        )
    if kind == np.float64:
        return jnp.asarray(values)
    if kind == np.bool_ or jnp.issubdtype(kind, jnp.integer):
        return _cast(values, np.int64)
    raise PrecisionError(f"{what} has dtype {kind}, expected real numbers in float64 or integers")


def as_float64(values: Any, what: str) -> Float[Array, "..."]:
    """`values` as a JAX array of float64; integers are converted, float32 is refused."""
    return _cast(as_array(values, what), np.float64)


def _cast(values: jax.Array | np.ndarray, kind: type) -> Array:
    if values.dtype == kind:
        return jnp.asarray(values)
    # By NumPy where the values are at hand: JAX would compile a program for every shape.
    return jnp.asarray(np.asarray(values).astype(kind)) if is_concrete(values) else jnp.astype(values, kind)


def as_vector(values: Any, size: int, what: str) -> Float[Array, " P"]:
    """`values` as a float64 vector of length `size`; anything else is a `ShapeError`."""
    if isinstance(values, jax.Array) and values.dtype == np.float64 and values.shape == (size,):
        return values  # the rule in loops of calls: nothing more to look at
    vector = as_float64(values, what)
    if vector.shape != (size,):
        raise ShapeError(
            f"{what} has shape {vector.shape}, this problem needs a flat vector of shape ({size},)"
        )
    return vector


def require_finite(array: Array, what: str) -> None:
    """Raise `DataError` with the first place where a concrete array is NaN or infinite."""
    if not is_concrete(array) or not jnp.issubdtype(array.dtype, jnp.floating):
        return
    values = np.asarray(array)
    if not np.isfinite(values).all():
        bad = np.argwhere(~np.isfinite(values))
        place = tuple(int(i) for i in bad[0])
        raise DataError(
            f"{what} has {len(bad)} entries that are NaN or infinite, the first at index {place} "
            f"({values[place]}): remove these samples or fill the values in"
        )


def known_name(name: str, known: Iterable[str], what: str) -> str:
    """`name` if it is among `known`, else `UnknownNameError` with the nearest known name."""
    known = tuple(known)
    if name in known:
        return name
    near = difflib.get_close_matches(str(name).lower().replace("-", "_"), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UnknownNameError(f"unknown {what} {name!r}; known are {', '.join(known)}{hint}")


def first_line(error: Exception) -> str:
    """The first line of an error's message, for errors that are told in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
