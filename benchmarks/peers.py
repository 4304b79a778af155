"""SciPy's and SUNDIALS' integrators, with our compiled gradient and Hessian."""

from collections.abc import Callable

import numpy as np
from scipy.integrate import odeint, solve_ivp
from sksundae import cvode

from benchmarks.methods import COARSE, FINE, Counts, Derivatives, Method, RunFailedError, absolute
from benchmarks.problems import Case

LARGEST_MATRIX = 2000
LAPACK_FROM = 100  # parameters from which CVODE's LAPACK is faster than its own elimination
KRYLOV = 20  # GMRES vectors; SUNDIALS' default of 5 stagnates here
STEPS = 100_000_000


def _solve_ivp(name: str) -> Callable[[Case, float], tuple[np.ndarray, Counts]]:
    def run(case: Case, rtol: float) -> tuple[np.ndarray, Counts]:
        own = Derivatives(case)
        solution = solve_ivp(
            lambda t, theta: own.field(theta), (0.0, case.ts[-1]), case.posed[1], name, case.ts,
            rtol=rtol, atol=absolute(case, rtol), jac=lambda t, theta: own.jacobian(theta),
        )  # fmt: skip
        if not solution.success:
            raise RunFailedError(solution.message)
        return solution.y.T, own.counts(factorisations=solution.nlu)

    return run


def _lsoda(case: Case, rtol: float) -> tuple[np.ndarray, Counts]:
    # odeint and solve_ivp(method="LSODA") are the same ODEPACK code; odeint loops over the steps in Fortran.
    own = Derivatives(case)
    thetas, told = odeint(
        lambda theta, t: own.field(theta), case.posed[1], case.ts, Dfun=lambda theta, t: own.jacobian(theta),
        rtol=rtol, atol=absolute(case, rtol), mxstep=STEPS, full_output=True,
    )  # fmt: skip
    if told["message"] != "Integration successful.":
        raise RunFailedError(told["message"])
    return thetas, own.counts(accepted=int(told["nst"][-1]))


def _cvode(linear_solver: str) -> Callable[[Case, float], tuple[np.ndarray, Counts]]:
    def run(case: Case, rtol: float) -> tuple[np.ndarray, Counts]:
        own = Derivatives(case)

        def field(t, theta, out):
            out[:] = own.field(theta)

        def jacobian(t, theta, value, out):
            out[:, :] = own.jacobian(theta)

        tangent: list[Callable] = []

        def set_up(t, theta, value):
            tangent[:] = [own.linearise(theta)]

        def multiply(t, theta, value, v, out):
            out[:] = tangent[0](v)

        if linear_solver == "gmres":
            algebra = {"jactimes": cvode.CVODEJacTimes(set_up, multiply), "krylov_dim": KRYLOV}
        else:
            algebra = {"jacfn": jacobian}
        dense = "lapackdense" if case.posed[1].size >= LAPACK_FROM else "dense"
        solver = cvode.CVODE(
            field, method="BDF", rtol=rtol, atol=absolute(case, rtol), max_num_steps=STEPS,
            linsolver=dense if linear_solver == "dense" else linear_solver, **algebra,
        )  # fmt: skip
        solution = solver.solve(case.ts, case.posed[1])
        if not solution.success:
            raise RunFailedError(solution.message)
        return np.asarray(solution.y), own.counts()

    return run


def needs_matrix(case: Case) -> str | None:
    """Why a method with dense algebra is not run on a case."""
    size = case.posed[1].size
    if size <= LARGEST_MATRIX:
        return None
    return f"dense {size} × {size} algebra"


PEERS = (
    Method("CVODE dense", _cvode("dense"), FINE, needs_matrix),
    Method("CVODE GMRES", _cvode("gmres"), FINE),
    Method("SciPy LSODA", _lsoda, FINE),
    Method("SciPy BDF", _solve_ivp("BDF"), COARSE, needs_matrix),
    Method("SciPy Radau", _solve_ivp("Radau"), COARSE, needs_matrix),
)
