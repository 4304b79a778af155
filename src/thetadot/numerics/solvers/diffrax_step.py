"""Any diffrax solver that estimates its error, as a stepper."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from thetadot.numerics.solvers.stepping import RightSide, Step, Stepper


class DiffraxStep(Stepper):
    """One step of a foreign diffrax solver. Its inner evaluations are its own: only ours are counted.

    Arguments:
        solver: a `diffrax.AbstractSolver` with an error estimate.
    """

    solver: diffrax.AbstractSolver

    @property
    def name(self) -> str:
        return type(self.solver).__name__

    @property
    def error_order(self) -> int:
        return int(self.solver.error_order(diffrax.ODETerm(lambda t, y, args: y)) or 1)

    def step(
        self,
        right_side: RightSide,
        args: Any,
        y: Float[Array, " n"],
        field: Float[Array, " n"],
        h: Float[Array, ""],
        tolerance: Float[Array, " n"],
        memory: Any,
    ) -> Step:
        """Attempt one step; see `Stepper.step`."""
        del memory
        term = diffrax.ODETerm(lambda t, state, args: right_side.evaluate(state, args)[0])
        solver: Any = self.solver
        if isinstance(solver, diffrax.AbstractImplicitSolver):
            finder = diffrax.VeryChord(rtol=0.0, atol=tolerance)  # pyright: ignore[reportArgumentType]
            solver = eqx.tree_at(lambda s: s.root_finder, solver, finder, is_leaf=lambda leaf: leaf is None)
        zero = jnp.zeros((), y.dtype)
        state = solver.init(term, zero, h, y, args)
        new, error, _, _, result = solver.step(term, zero, h, y, args, state, made_jump=False)
        new_field, loss = right_side.evaluate(new, args)
        middle = 0.5 * (y + new) + 0.125 * h * (field - new_field)
        middle_field, _ = right_side.evaluate(middle, args)
        ends, centre = jnp.sum(field**2) + jnp.sum(new_field**2), jnp.sum(middle_field**2)
        return Step(
            y=new,
            field=new_field,
            loss=loss,
            error=jnp.zeros_like(y) if error is None else jax.tree.map(jnp.asarray, error),
            squared_speed=h * (ends + 4 * centre) / 6,
            squared_speed_error=zero,
            stiffness=zero,
            solved=result == diffrax.RESULTS.successful,
            evaluations=jnp.asarray(2, jnp.int64),
            jacobians=jnp.asarray(0, jnp.int64),
        )
