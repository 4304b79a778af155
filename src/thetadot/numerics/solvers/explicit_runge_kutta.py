"""Explicit Runge–Kutta methods, from a Butcher tableau."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.numerics.solvers.stepping import RightSide, Step, Stepper
from thetadot.numerics.solvers.tableau import Tableau


class ExplicitRungeKutta(Stepper):
    """One step of an explicit pair.

    Every pair is run first-same-as-last: the field at the new point, with its loss, belongs to the step, so that
    loss, gradient norm and the next first stage cost nothing more. The stages run in one compiled loop body:
    the gradient of a network is compiled once, not once a stage.

    Arguments:
        tableau: the coefficients.
    """

    tableau: Tableau = eqx.field(static=True)

    @property
    def name(self) -> str:
        return self.tableau.name

    @property
    def error_order(self) -> int:
        return self.tableau.error_order

    @property
    def stability_limit(self) -> float:
        return self.tableau.stability_limit

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
        del tolerance, memory
        a, b, b_error = (np.asarray(part) for part in self.tableau.extended())
        stages = b.size
        rows = jnp.asarray(a)
        slopes = jnp.zeros((stages, y.size), y.dtype).at[0].set(field)

        def stage(carry, index):
            slopes, _ = carry
            slope, loss = right_side.evaluate(y + h * (rows[index] @ slopes), args)
            return (slopes.at[index].set(slope), loss), None

        (slopes, loss), _ = jax.lax.scan(stage, (slopes, jnp.zeros((), y.dtype)), jnp.arange(1, stages))
        speeds = jnp.sum(slopes**2, axis=1)
        if self.tableau.measures_stiffness:
            # Two stages at the same time: their difference quotient sees the largest eigenvalue (Hairer & Wanner).
            apart = h * ((rows[-1] - rows[-2]) @ slopes)
            stiffness = h * jnp.sqrt(
                jnp.sum((slopes[-1] - slopes[-2]) ** 2) / jnp.maximum(jnp.sum(apart**2), 1e-300)
            )
        else:
            stiffness = jnp.zeros((), y.dtype)
        return Step(
            y=y + h * (rows[-1] @ slopes),
            field=slopes[-1],
            loss=loss,
            error=h * (jnp.asarray(b_error) @ slopes),
            squared_speed=h * (jnp.asarray(b) @ speeds),
            squared_speed_error=h * (jnp.asarray(b_error) @ speeds),
            stiffness=stiffness,
            solved=jnp.asarray(True),
            evaluations=jnp.asarray(stages - 1, jnp.int64),
            jacobians=jnp.asarray(0, jnp.int64),
        )
