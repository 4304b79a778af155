"""States between the steps: the continuous extension of a run.

A state inside a step comes from the method's interpolant if it has one, else from one step of the method itself, of
shorter length from the same start. It has the accuracy of the run, and ends at the step's own end exactly.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from thetadot.dynamics.carry import Carry, Located, Settings
from thetadot.dynamics.engine import inside
from thetadot.dynamics.program import Program


@eqx.filter_jit
def substep(
    program: Program, args: Any, carry: Carry, settings: Settings, lengths: Float[Any, " k"]
) -> Located:
    """States, fields, losses and event values at `lengths` into the last accepted step."""
    side, stepper = program.right_side, program.stepper

    def at(length):
        if stepper.interpolates:
            y, squared_speed = inside(program, carry, length)
            field, loss = side.evaluate(y, args)
        else:
            tolerance = program.tolerance(carry.last_y, carry.last_y, settings)
            step = stepper.step(side, args, carry.last_y, carry.last_field, length, tolerance, carry.memory)
            y = jnp.where(length > 0, step.y, carry.last_y)
            field = jnp.where(length > 0, step.field, carry.last_field)
            loss, squared_speed = step.loss, step.squared_speed
        return Located(y, field, loss, program.event_values(y, field, args), squared_speed)

    return jax.lax.map(at, lengths)


@eqx.filter_jit
def evaluate_dense(
    program: Program,
    args: Any,
    settings: Settings,
    states: Any,
    spans: Float[Any, " k"],
    lengths: Float[Any, " k"],
):
    """States `lengths` after the starts of recorded steps, given by their first states (k, n) or interpolants
    (k, m, n+1) and their `spans`."""
    stepper = program.stepper

    def at(row):
        recorded, span, length = row
        if stepper.interpolates:
            return (stepper.basis(length / span) @ recorded)[:-1]
        field, _ = program.right_side.evaluate(recorded, args)
        tolerance = program.tolerance(recorded, recorded, settings)
        memory = stepper.start(program.right_side, args, recorded, field, length)
        moved = stepper.step(program.right_side, args, recorded, field, length, tolerance, memory).y
        return jnp.where(length > 0, moved, recorded)

    return jax.lax.map(at, (states, spans, lengths))
