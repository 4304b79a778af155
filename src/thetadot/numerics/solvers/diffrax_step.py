"""Any diffrax solver that estimates its error, as a stepper."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from thetadot.errors import ThetadotError
from thetadot.numerics.solvers.esdirk import ESDIRK
from thetadot.numerics.solvers.explicit_runge_kutta import ExplicitRungeKutta
from thetadot.numerics.solvers.stepping import RightSide, Step, Stepper
from thetadot.numerics.solvers.tableau import from_diffrax


class SolverError(ThetadotError):
    """A solver that is unknown or cannot integrate a gradient flow."""


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
    ) -> Step:
        """Attempt one step; see `Stepper.step`."""
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


def stepper(solver: Any) -> Stepper:
    """The stepper for a solver given by name ("Tsit5") or as a diffrax solver.

    Explicit and ESDIRK Runge–Kutta methods run in loops of our own on diffrax's coefficients, which give loss and
    gradient norm at no extra cost and use the symmetric Hessian; other solvers run as they are.

    Raises:
        SolverError: unknown name; a solver without an error estimate; one that needs several terms.
    """
    if isinstance(solver, Stepper):
        return solver
    if isinstance(solver, str):
        known = {
            name.lower(): name for name in ("Tsit5", "Dopri5", "Dopri8", "Kvaerno3", "Kvaerno4", "Kvaerno5")
        }
        if solver.lower() not in known:
            raise SolverError(
                f'solver {solver!r} is not known: choose "auto", {", ".join(known.values())}, or pass a diffrax solver'
            )
        solver = getattr(diffrax, known[solver.lower()])()
    if not isinstance(solver, diffrax.AbstractSolver):
        raise SolverError(f"solver must be a name or a diffrax solver, got {type(solver).__name__}")
    if not isinstance(solver, diffrax.AbstractAdaptiveSolver):
        raise SolverError(f"{type(solver).__name__} has no error estimate: choose Tsit5, Dopri8 or Kvaerno5")
    if solver.term_structure is not diffrax.AbstractTerm:
        raise SolverError(
            f"{type(solver).__name__} splits the field into several terms: choose Tsit5, Dopri8 or Kvaerno5"
        )
    if isinstance(solver, diffrax.AbstractERK):
        return ExplicitRungeKutta(from_diffrax(solver))
    if isinstance(solver, (diffrax.Kvaerno3, diffrax.Kvaerno4, diffrax.Kvaerno5)):
        return ESDIRK(from_diffrax(solver))
    return DiffraxStep(solver)
