"""States between the steps: the continuous extension of a run.

A state inside a step is one step of the method itself, of shorter length from the same start. It has the accuracy of
the run whatever the method, and ends at the step's own end exactly.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from thetadot.dynamics.carry import Carry, Located, Settings
from thetadot.dynamics.engine import Program


@eqx.filter_jit
def substep(
    program: Program, args: Any, carry: Carry, settings: Settings, lengths: Float[Any, " k"]
) -> Located:
    """States, fields, losses and event values at `lengths` into the last accepted step, each by one step of the
    method itself: the continuous extension has the accuracy of the run and ends at its step exactly."""

    def at(length):
        tolerance = program.tolerance(carry.last_y, carry.last_y, settings)
        step = program.stepper.step(
            program.right_side, args, carry.last_y, carry.last_field, length, tolerance
        )
        y = jnp.where(length > 0, step.y, carry.last_y)
        field = jnp.where(length > 0, step.field, carry.last_field)
        return Located(y, field, step.loss, program.event_values(y, field, args), step.squared_speed)

    return jax.lax.map(at, lengths)


@eqx.filter_jit
def evaluate_dense(
    program: Program,
    args: Any,
    settings: Settings,
    states: Float[Any, "k n"],
    lengths: Float[Any, " k"],
):
    """States `lengths` after each of the given step starts, by one step of the method."""

    def at(pair):
        y, length = pair
        field, _ = program.right_side.evaluate(y, args)
        tolerance = program.tolerance(y, y, settings)
        moved = program.stepper.step(program.right_side, args, y, field, length, tolerance).y
        return jnp.where(length > 0, moved, y)

    return jax.lax.map(at, (states, lengths))
