"""Singly diagonally implicit Runge–Kutta methods with an explicit first stage, from a Butcher tableau."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from thetadot.numerics.solvers.stepping import RightSide, Step, Stepper
from thetadot.numerics.solvers.tableau import Tableau

_NEWTON_TOLERANCE = 1e-2  # of the step's error tolerance: the algebraic error must not disturb the estimate
_NEWTON_ITERATIONS = 10


class ESDIRK(Stepper):
    """One step of a stiffly accurate ESDIRK pair.

    One Jacobian and one factorisation a step: Cholesky of I − hγJ where the Jacobian is symmetric (it fails where
    −hγJ has an eigenvalue below −1, that is where the implicit equations stop being well posed: the step is
    rejected), LU otherwise. Simplified Newton for each stage, stopped on the estimated remaining error.

    Arguments:
        tableau: the coefficients; the diagonal is 0 then constant.
    """

    tableau: Tableau = eqx.field(static=True)

    @property
    def name(self) -> str:
        return self.tableau.name

    @property
    def error_order(self) -> int:
        return self.tableau.error_order

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
        matrix = self.tableau.matrix()
        stages = matrix.shape[0]
        gamma = float(matrix[-1, -1])
        rows = jnp.asarray(matrix)
        solve = _factor(
            jnp.eye(y.size, dtype=y.dtype) - h * gamma * right_side.jacobian(y, args), right_side.symmetric
        )

        def newton(base, guess):
            def unfinished(carry):
                _, _, _, previous, remaining, count = carry
                return (remaining > _NEWTON_TOLERANCE) & (count < _NEWTON_ITERATIONS) & jnp.isfinite(previous)

            def iterate(carry):
                point, _, _, previous, _, count = carry
                slope, loss = right_side.evaluate(point, args)
                move = solve(base + h * gamma * slope - point)
                size = jnp.sqrt(jnp.mean((move / tolerance) ** 2))
                rate = jnp.where(count == 0, 0.5, size / previous)
                remaining = jnp.where(rate < 1, size * rate / (1 - jnp.minimum(rate, 0.999)), jnp.inf)
                # A contraction that is lost for good ends the loop through a non-finite size.
                size = jnp.where((count > 1) & (rate > 2), jnp.nan, size)
                return point + move, slope, loss, size, remaining, count + 1

            zero = jnp.zeros((), y.dtype)
            start = (guess, jnp.zeros_like(y), zero, zero + 1.0, zero + jnp.inf, jnp.asarray(0, jnp.int64))
            point, _, _, size, remaining, count = jax.lax.while_loop(unfinished, iterate, start)
            return point, count, jnp.isfinite(size) & (remaining <= _NEWTON_TOLERANCE)

        def stage(carry, index):
            slopes, last, count, solved = carry
            base = y + h * (rows[index] @ slopes)  # row entries at and beyond `index` meet zero slopes
            point, used, good = newton(base, last)
            slope = (point - base) / (h * gamma)
            return (slopes.at[index].set(slope), point, count + used, solved & good), None

        slopes = jnp.zeros((stages, y.size), y.dtype).at[0].set(field)
        start = (slopes, y, jnp.asarray(0, jnp.int64), jnp.asarray(True))
        (slopes, last, count, solved), _ = jax.lax.scan(stage, start, jnp.arange(1, stages))
        new_field, loss = right_side.evaluate(last, args)
        speeds = jnp.sum(slopes**2, axis=1)
        error = h * (jnp.asarray(self.tableau.b_error) @ slopes)
        return Step(
            y=last,
            field=new_field,
            loss=loss,
            error=error,
            squared_speed=h * (jnp.asarray(self.tableau.b) @ speeds),
            squared_speed_error=h * (jnp.asarray(self.tableau.b_error) @ speeds),
            stiffness=jnp.zeros((), y.dtype),
            solved=solved,
            evaluations=count + 1,
            jacobians=jnp.asarray(1, jnp.int64),
        )


def _factor(matrix: Float[Array, "n n"], symmetric: bool):
    if symmetric:
        factor = jax.scipy.linalg.cholesky(matrix, lower=True)
        return lambda right: jax.scipy.linalg.cho_solve((factor, True), right)
    factor = jax.scipy.linalg.lu_factor(matrix)
    return lambda right: jax.scipy.linalg.lu_solve(factor, right)
