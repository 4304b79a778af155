"""What is compiled: the method, the field, and the user's functions of (theta, args)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from thetadot.dynamics.carry import Settings
from thetadot.numerics.solvers.stepping import RightSide, Stepper


class Program(eqx.Module):
    """What is compiled: the method, the field, and the user's functions of (theta, args)."""

    stepper: Stepper
    right_side: RightSide
    observe: tuple[tuple[str, Callable], ...]
    events: tuple[tuple[Callable, str, int], ...]  # (fn, kind, wanted direction)
    error_norm: Callable | None
    groups: int = eqx.field(static=True)
    rows: int = eqx.field(static=True)
    dense_rows: int = eqx.field(static=True)

    def event_values(self, y: Float[Any, " n"], field: Float[Any, " n"], args: Any) -> Float[Any, " events"]:
        """Each event's function, or its rate along the flow for minima and maxima."""
        values = []
        for fn, kind, _ in self.events:
            if kind == "zero":
                value = fn(y, args)
            else:
                _, value = jax.jvp(lambda state, fn=fn: fn(state, args), (y,), (field,))
            values.append(jnp.asarray(value, y.dtype).reshape(()))
        return jnp.stack(values) if values else jnp.zeros((0,), y.dtype)

    def absolute_tolerance(self, square: Float[Any, " n"], settings: Settings) -> Float[Any, " n"]:
        """Absolute part of the tolerance where the squares of the components are these. It follows the running scale of
        each layer: a fixed number above a small initialisation's scale would freeze it at the origin."""
        sums = jax.ops.segment_sum(square, settings.groups, self.groups)
        counts = jax.ops.segment_sum(jnp.ones_like(square), settings.groups, self.groups)
        scale = jnp.maximum(jnp.sqrt(sums / jnp.maximum(counts, 1.0)), settings.floor)
        return jnp.maximum(settings.scale_guard * settings.rtol * scale[settings.groups], settings.atol)

    def tolerance(self, y: Float[Any, " n"], candidate: Float[Any, " n"], settings: Settings):
        """Error per component that counts as 1."""
        square = jnp.maximum(y**2, candidate**2)
        return jnp.maximum(
            self.absolute_tolerance(square, settings) + settings.rtol * jnp.sqrt(square), 1e-290
        )
