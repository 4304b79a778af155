"""Radau IIA methods as steps of a gradient flow."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from thetadot.numerics.solvers.collocation import Collocation, lagrange, radau
from thetadot.numerics.solvers.radau_equations import (
    Eigenbasis,
    Field,
    LastStep,
    before_any_step,
    solve,
)
from thetadot.numerics.solvers.stepping import RightSide, Step, Stepper, Verdict

ITERATIONS = 12
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 5.0


class _Memory(NamedTuple):
    basis: Eigenbasis
    last: LastStep
    work: Float[Any, " s"]  # ∫|F|² from the start of the last step to its nodes
    room: Float[Any, ""]  # of the attempted step


class RadauStep(Stepper):
    """One step of the Radau IIA method with an odd number of stages.

    The last stage is the end of the step: its slope is the field there, so that nothing is evaluated but the stages.

    Arguments:
        stages: s; the order is 2s − 1.
    """

    stages: int = eqx.field(static=True, default=5)

    @property
    def rule(self) -> Collocation:
        """The coefficients."""
        return radau(self.stages)

    @property
    def name(self) -> str:
        return f"RadauIIA({self.stages})"

    @property
    def error_order(self) -> int:
        return self.stages + 1

    @property
    def needs_symmetry(self) -> bool:
        return True

    @property
    def interpolates(self) -> bool:
        return True

    def start(self, right_side, args, y, field, h) -> _Memory:
        """No basis and no last step."""
        del right_side, args, h
        basis, last = before_any_step(self.stages, y, field)
        return _Memory(basis, last, jnp.zeros((self.stages,), y.dtype), jnp.zeros((), y.dtype) + jnp.inf)

    def step(
        self,
        right_side: RightSide,
        args: Any,
        y: Float[Array, " n"],
        field: Float[Array, " n"],
        h: Float[Array, ""],
        tolerance: Float[Array, " n"],
        memory: _Memory,
    ) -> Step:
        """Attempt one step; see `Stepper.step`."""
        rule = self.rule
        side = Field(
            lambda _, states: jax.vmap(lambda state: right_side.evaluate(state, args))(states),
            lambda _, state: right_side.jacobian(state, args),
        )
        found = solve(rule, side, y, field, h, tolerance, memory.basis, memory.last, ITERATIONS)
        speeds = jnp.sum(found.step.slopes**2, axis=1)
        work = h * (jnp.asarray(rule.matrix) @ speeds)
        implied, radius = found.step.slopes[-1], jnp.max(jnp.abs(found.basis.values))
        half = 0.5 * right_side.loss_change(found.point_field + implied, found.last_move, args)
        curved = jnp.abs(0.5 * right_side.loss_change(implied - found.point_field, found.last_move, args))
        # Near a minimum nothing is left to see but what the tolerance hides.
        noise = jnp.abs(right_side.loss_change(radius * tolerance, tolerance, args))
        return Step(
            y=jnp.where(found.converged, y + found.step.moves[-1], y),
            field=jnp.where(found.converged, implied, field),
            loss=found.loss + half,
            error=found.error,
            squared_speed=work[-1],
            squared_speed_error=rule.gamma * h * (jnp.sum(field**2) - jnp.asarray(rule.initial) @ speeds),
            stiffness=h * radius,
            solved=found.converged,
            evaluations=found.evaluations,
            jacobians=found.jacobians,
            loss_error=curved + noise,
            memory=(memory, _Memory(found.basis, found.step, work, found.room)),
        )

    def settle(self, step: Step, verdict: Verdict) -> tuple[_Memory, Float[Array, ""]]:
        """The last step changes with an accepted one, the eigenbasis whenever it was renewed."""
        before, after = step.memory
        accepted, error = verdict.accepted, jnp.maximum(verdict.error, 1e-8)
        last, work = jax.tree.map(
            lambda new, old: jnp.where(accepted, new, old),
            (after.last, after.work),
            (before.last, before.work),
        )
        factor = jnp.clip(_SAFETY * error ** (-1 / self.error_order), _SHRINK, _GROW)
        factor = jnp.where(accepted, factor, jnp.where(step.solved, jnp.nan, 0.5))
        return _Memory(after.basis, last, work, after.room), jnp.minimum(factor, _SAFETY * after.room)

    def interpolant(self, memory: _Memory) -> Float[Array, "m k"]:
        """The collocation polynomial at the start and the nodes of the last step."""
        last = memory.last
        states = jnp.concatenate([last.start[None], last.start[None] + last.moves])
        return jnp.concatenate([states, jnp.append(0.0, memory.work)[:, None]], axis=1)

    def basis(self, position: Float[Array, ""]) -> Float[Array, " m"]:
        """Lagrange's weights."""
        return lagrange(self.rule.points, position[None])[0]
