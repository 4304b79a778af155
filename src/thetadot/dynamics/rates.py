"""Numbers of a learning rule: constants that may be traced, or schedules over the step number."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from thetadot.dynamics.closures import shared
from thetadot.errors import ThetadotError
from thetadot.problems.checks import as_float64, is_concrete

Rate = Float[Array, ""] | Callable


class RuleError(ThetadotError):
    """A learning rule that cannot be understood, or that does not fit the problem."""


def as_rate(value: Any, what: str) -> Rate:
    """A number as a float64 scalar, an array so that another value does not retrace; or a schedule, as the
    earliest object that does the same.

    Raises:
        PrecisionError: float32.
        RuleError: not a scalar, or not finite.
    """
    if callable(value):
        return shared(value)
    number = as_float64(value, what)
    if number.shape != ():
        raise RuleError(f"{what} has shape {number.shape}: expected a number or a schedule n → number")
    if is_concrete(number) and not np.isfinite(number):
        raise RuleError(f"{what} = {float(number)}: expected a finite number")
    return number


def rate_at(rate: Rate, n: Int[Array, ""]) -> Float[Array, ""]:
    """The value of a constant or a schedule at step n."""
    if not callable(rate):
        return rate
    # Schedules, those of Optax too, mix n with floats, which strict promotion forbids.
    with jax.numpy_dtype_promotion("standard"):
        value = jnp.asarray(rate(n))
    if value.shape != ():
        raise RuleError(
            f"a schedule returned an array of shape {value.shape}: expected one number for each step n"
        )
    return value.astype(jnp.float64)


def rate_in_words(rate: Rate) -> str:
    """The number, or that it is scheduled."""
    if callable(rate):
        return f"scheduled ({getattr(rate, '__name__', type(rate).__name__)})"
    return f"{float(rate):g}" if is_concrete(rate) else "traced"
