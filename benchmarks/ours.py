"""thetadot's flow, with whichever of its solvers this version knows."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

import thetadot as td
from benchmarks.methods import FINE, PREFIX, Counts, Method, RunFailedError
from benchmarks.peers import needs_matrix
from benchmarks.problems import Case

SOLVERS = (
    "auto", "NDF", "NDF-cg", "RKC2", "RadauIIA(3)", "RadauIIA(5)", "RadauIIA(7)",
    "ExponentialRosenbrock", "CVODE", "CVODE-GMRES",
    "Tsit5", "Dopri8", "Kvaerno5",
)  # fmt: skip
DENSE = ("NDF", "RadauIIA(3)", "RadauIIA(5)", "RadauIIA(7)", "ExponentialRosenbrock", "CVODE", "Kvaerno5")


def _run(solver: str) -> Callable[[Case, float], tuple[np.ndarray, Counts]]:
    def run(case: Case, rtol: float) -> tuple[np.ndarray, Counts]:
        problem, theta0 = case.posed
        until = td.Until(time=float(case.ts[-1]))
        path = td.flow(problem, theta0, until=until, saves=case.ts, rtol=rtol, solver=solver, progress=False)
        if path.outcome is not td.Outcome.REACHED_TIME:
            raise RunFailedError(f"{path.outcome.name} at t = {path.ts[-1]:.3g}")
        stats = path.stats
        return path.thetas, Counts(
            gradients=stats.gradients,
            hvps=stats.hessian_vector_products,
            hessians=stats.hessians,
            factorisations=getattr(stats, "factorisations", None),
            accepted=stats.accepted,
            rejected=stats.rejected,
        )

    return run


@functools.cache
def unknown(solver: str) -> str | None:
    """Why a solver cannot run at all in this version, or None: found by asking for a step on a bowl."""
    bowl = td.FunctionRisk(lambda theta: 0.5 * jnp.sum(theta**2), jnp.ones(2))
    try:
        td.flow(bowl, jnp.ones(2), until=td.Until(time=0.1), solver=solver, rtol=1e-5, progress=False)
    except td.ThetadotError as error:
        return str(error)
    return None


def methods(solvers: tuple[str, ...]) -> tuple[list[Method], dict[str, str]]:
    """The methods of the solvers that this version knows, and {solver: why not} for the others."""
    strange = {solver: why for solver in solvers if (why := unknown(solver)) is not None}
    known = [solver for solver in solvers if solver not in strange]
    fits = [needs_matrix if solver in DENSE else Method.unfit for solver in known]
    rtols = (*FINE, 1e-12, 1e-13)  # where a flow drifts for long, its error is far above its tolerance
    return [Method(PREFIX + s, _run(s), rtols, unfit) for s, unfit in zip(known, fits, strict=True)], strange
