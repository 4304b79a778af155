"""The time of a step: t_n = Σ_{k<n} learning_rate(k)/time_scale, so that descent and flow share an axis."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

_BLOCK = 1 << 14


class StepTimes:
    """Times of steps.

    Arguments:
        time_per_step: a number, a function of n under a schedule, or None (every step counts 1).

    Example:
        >>> StepTimes(0.1).at(np.array([0, 3, 10])).tolist()
        [0.0, 0.30000000000000004, 1.0]
    """

    def __init__(self, time_per_step: Any):
        self._schedule: Callable | None = time_per_step if callable(time_per_step) else None
        constant = 1.0 if time_per_step is None or callable(time_per_step) else float(time_per_step)
        self._constant = constant
        self._starts: list[tuple[float, float]] = [(0.0, 0.0)]  # compensated sums where blocks begin

    def at(self, steps: Int[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """Times of the given steps: products for a constant rate, compensated sums under a schedule."""
        steps = np.asarray(steps, np.int64)
        if self._schedule is None:
            return steps * self._constant
        times = np.zeros(steps.shape)
        for block in np.unique(steps // _BLOCK):
            inside = steps // _BLOCK == block
            times[inside] = self._block(int(block))[steps[inside] % _BLOCK]
        return times

    def first_reaching(self, time: float, last: int) -> int | None:
        """The first step up to `last` whose time is `time` or more (to rounding); None if there is none."""
        goal = time * (1 - 1e-12)
        if self._schedule is None:
            if not self._constant > 0:
                return None
            step = math.ceil(min(goal / self._constant, last + 1.0))
            return step if step <= last else None
        for block in range(last // _BLOCK + 1):
            reached = np.flatnonzero(self._block(block) >= goal)
            if reached.size:
                step = block * _BLOCK + int(reached[0])
                return step if step <= last else None
        return None

    def _block(self, number: int) -> Float[np.ndarray, " block"]:
        while True:
            known = min(len(self._starts) - 1, number)
            high, low = self._starts[known]
            times, end = _sums(self._schedule, np.asarray(known * _BLOCK, np.int32), np.asarray([high, low]))
            if known == len(self._starts) - 1:
                self._starts.append((float(end[0]), float(end[1])))
            if known == number:
                return np.asarray(times)


@eqx.filter_jit
def _sums(
    schedule: Callable | None, first: Int[np.ndarray | Array, ""], start: Float[np.ndarray | Array, " 2"]
) -> tuple[Float[Array, " block"], Float[Array, " 2"]]:
    """Times of the steps of a block, and the compensated sum behind it (Neumaier's summation)."""
    assert schedule is not None
    numbers = first + jnp.arange(_BLOCK, dtype=jnp.int32)
    steps = jax.lax.map(schedule, numbers)

    def add(carry, step):
        high, low = carry
        total = high + step
        lost = jnp.where(jnp.abs(high) >= jnp.abs(step), (high - total) + step, (step - total) + high)
        return (total, low + lost), high + low

    end, times = jax.lax.scan(add, (start[0], start[1]), steps)
    return times, jnp.stack(end)
