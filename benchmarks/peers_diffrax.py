"""diffrax's own driver and solvers, on our gradient; for its implicit solver also with our Hessian."""

import functools
from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.methods import COARSE, Counts, Method, RunFailedError, absolute
from benchmarks.peers import needs_matrix
from benchmarks.problems import Case


@jax.custom_jvp
def _field_with_hessian(theta, problem):
    """−∇L, whose derivative is the structured Hessian: computed once a Jacobian, not once a column."""
    return -problem.value_and_grad(theta)[1]


@_field_with_hessian.defjvp
def _(primals, tangents):
    theta, problem = primals
    return _field_with_hessian(theta, problem), -problem.hessian(theta) @ tangents[0]


@functools.cache
def _compiled(case: Case, solver: diffrax.AbstractSolver, hessian: bool):
    leaves, tree = jax.tree.flatten(case.posed[0])

    def field(t, theta, leaves):
        problem = jax.tree.unflatten(tree, leaves)
        return _field_with_hessian(theta, problem) if hessian else -problem.value_and_grad(theta)[1]

    @jax.jit
    def solve(theta0, ts, rtol, atol, leaves):
        # Forward mode only: the loop then needs neither checkpoints nor a bound on its steps.
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field), solver, 0.0, ts[-1], None, theta0, leaves,
            saveat=diffrax.SaveAt(ts=ts), stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            max_steps=None, adjoint=diffrax.ForwardMode(), throw=False,
        )  # fmt: skip

    return solve, tuple(leaves)


def _method(
    solver: diffrax.AbstractSolver, gradients_per_step: int | None, hessian: bool = False
) -> Callable:
    def run(case: Case, rtol: float) -> tuple[np.ndarray, Counts]:
        solve, leaves = _compiled(case, solver, hessian)
        solution = solve(
            jnp.asarray(case.posed[1]), jnp.asarray(case.ts), jnp.asarray(rtol),
            jnp.asarray(absolute(case, rtol)), leaves,
        )  # fmt: skip
        thetas = np.asarray(solution.ys)
        if solution.result != diffrax.RESULTS.successful or not np.all(np.isfinite(thetas)):
            raise RunFailedError("diffrax: the step size or the nonlinear solve broke down")
        steps = int(solution.stats["num_steps"])
        return thetas, Counts(
            gradients=None if gradients_per_step is None else steps * gradients_per_step,
            accepted=int(solution.stats["num_accepted_steps"]),
            rejected=int(solution.stats["num_rejected_steps"]),
        )

    return run


_EXPLICIT = COARSE[:4]
DOPRI8 = Method("diffrax Dopri8", _method(diffrax.Dopri8(), 13), COARSE)
"""Only for references: an explicit method of high order held to tight tolerances."""
PEERS = (
    Method("diffrax Tsit5", _method(diffrax.Tsit5(), 6), _EXPLICIT),
    Method("diffrax Kvaerno5", _method(diffrax.Kvaerno5(), None), COARSE, needs_matrix),
    Method("diffrax Kvaerno5 + our Hessian", _method(diffrax.Kvaerno5(), None, True), COARSE, needs_matrix),
)
