"""Flows: what moves in continuous time."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from thetadot.problems import Problem


class Flow(eqx.Module):
    """An autonomous flow d state/dt = field(state, args).

    Arguments:
        field: pure and traceable, (state, args) → d state/dt of the same structure as state.
        args: any pytree; problem data belongs here, so that new data of the same shape does not retrace.
    """

    field: Callable
    args: Any = None

    @property
    def problem(self) -> Problem | None:
        """The problem whose training this is; None for a user's system."""
        return self.args if isinstance(self.args, Problem) else None

    def start(self, theta):
        """The state at parameters θ (the same, for a flow)."""
        return theta

    def theta(self, state):
        """The parameters (…, P) of a state or of stacked states (the same, for a flow)."""
        return state


def training_field(theta: Float[Array, " P"], problem: Problem) -> Float[Array, " P"]:
    return -problem.time_scale * problem.value_and_grad(theta)[1]


def training_flow(problem: Problem) -> Flow:
    """Gradient flow of a problem, θ̇ = −time_scale·∇L(θ), as a `Flow` whose args are the problem."""
    return Flow(training_field, problem)
