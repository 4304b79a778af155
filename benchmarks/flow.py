"""Gradient flow beside other integrators, on one problem, to the same end, against one reference.

A tanh teacher and student (26 parameters, 1000 samples) from t = 0 to 10⁴. Every method runs at several tolerances;
the error is max over 25 save times of ‖θ − θ_ref‖/‖θ_ref‖ with θ_ref by CVODE at rtol 10⁻¹², which is none of the
methods measured at that tolerance. Peers get our compiled gradient and Hessian. One XLA thread, after compilation,
median of three runs; counts stand beside times, since times on a shared machine are noise.

    python benchmarks/flow.py [--end 1e4]
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp
from sksundae import cvode

import thetadot as td

RUNS = 3


def teacher_and_student() -> tuple[td.EmpiricalRisk, np.ndarray]:
    """The problem and a start."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 3))
    network = td.mlp([3, 5, 1], "tanh")
    teacher = td.EmpiricalRisk(network, td.squared, x, np.zeros((1000, 1)))
    y = np.asarray(teacher.predict(jnp.asarray(rng.normal(size=teacher.size)), jnp.asarray(x)))
    problem = td.EmpiricalRisk(network, td.squared, x, y)
    return problem, np.asarray(problem.init(jax.random.key(1)))


@jax.jit
def compiled_field(problem: td.Problem, theta: jax.Array) -> jax.Array:
    """−∇L."""
    return -problem.value_and_grad(theta)[1]


@jax.jit
def compiled_jacobian(problem: td.Problem, theta: jax.Array) -> jax.Array:
    """−∇²L, by the structured Hessian."""
    return -problem.hessian(theta)


class Counted:
    """The compiled field and Jacobian for NumPy callers, with their counts."""

    def __init__(self, problem: td.Problem):
        self._problem = problem
        self.gradients = self.hessians = 0

    def field(self, t: float, theta: np.ndarray) -> np.ndarray:
        self.gradients += 1
        return np.asarray(compiled_field(self._problem, theta))

    def jacobian(self, t: float, theta: np.ndarray) -> np.ndarray:
        self.hessians += 1
        return np.asarray(compiled_jacobian(self._problem, theta))


def scipy_method(name: str) -> Callable:
    """A SciPy integrator with our gradient and Hessian."""

    def run(problem, theta0, ts, rtol):
        counted = Counted(problem)
        solution = solve_ivp(
            counted.field, (0.0, ts[-1]), theta0, name, ts, rtol=rtol, atol=0.1 * rtol, jac=counted.jacobian
        )
        return solution.y.T, counted.gradients, counted.hessians

    return run


def cvode_dense(problem, theta0, ts, rtol):
    """SUNDIALS CVODE, BDF with a dense Hessian."""
    counted = Counted(problem)

    def field(t, theta, out):
        out[:] = counted.field(t, theta)

    def jacobian(t, theta, value, out):
        out[:, :] = counted.jacobian(t, theta)

    solver = cvode.CVODE(
        field,
        method="BDF",
        rtol=rtol,
        atol=0.1 * rtol,
        linsolver="dense",
        jacfn=jacobian,
        max_num_steps=10_000_000,
    )
    return np.asarray(solver.solve(ts, theta0).y), counted.gradients, counted.hessians


def diffrax_method(solver: diffrax.AbstractSolver, stages: int) -> Callable:
    """A diffrax solver under its own driver; its gradients are counted as steps × explicit stages."""

    @jax.jit
    def solve(problem, theta0, ts, rtol):
        term = diffrax.ODETerm(lambda t, theta, p: -p.value_and_grad(theta)[1])
        control = diffrax.PIDController(rtol=rtol, atol=0.1 * rtol)
        return diffrax.diffeqsolve(
            term, solver, 0.0, ts[-1], None, theta0, problem, saveat=diffrax.SaveAt(ts=ts),
            stepsize_controller=control, max_steps=2_000_000,
        )  # fmt: skip

    def run(problem, theta0, ts, rtol):
        solution = solve(problem, jnp.asarray(theta0), jnp.asarray(ts), jnp.asarray(rtol))
        steps = int(solution.stats["num_steps"])
        return np.asarray(solution.ys), steps * stages, steps if stages == 0 else 0

    return run


def ours(solver: str) -> Callable:
    """thetadot's flow."""

    def run(problem, theta0, ts, rtol):
        end = td.Until(time=float(ts[-1]))
        path = td.flow(problem, theta0, until=end, saves=ts, rtol=rtol, solver=solver, progress=False)
        return path.thetas, path.stats.gradients, path.stats.hessians

    return run


METHODS: dict[str, Callable] = {
    "thetadot auto": ours("auto"),
    "thetadot Tsit5": ours("Tsit5"),
    "thetadot Kvaerno5": ours("Kvaerno5"),
    "CVODE dense": cvode_dense,
    "SciPy LSODA": scipy_method("LSODA"),
    "SciPy BDF": scipy_method("BDF"),
    "SciPy Radau": scipy_method("Radau"),
    "diffrax Tsit5": diffrax_method(diffrax.Tsit5(), 6),
    "diffrax Kvaerno5": diffrax_method(diffrax.Kvaerno5(), 0),
}


def main() -> None:
    """Run every method at every tolerance and print one Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--end", type=float, default=1e4, help="end time (default 1e4)")
    end = parser.parse_args().end
    problem, theta0 = teacher_and_student()
    ts = np.concatenate([[0.0], np.geomspace(1e-2, end, 24)])
    reference, _, _ = cvode_dense(problem, theta0, ts, 1e-12)
    size = np.linalg.norm(reference, axis=1)
    print(f"{problem.description}; t = 0 … {end:g}; error = max over saves of ‖θ − θ_ref‖/‖θ_ref‖\n")
    print("| method | rtol | error | gradients | Hessians | seconds |\n|---|---|---|---|---|---|")
    for name, run in METHODS.items():
        for rtol in (1e-5, 1e-7, 1e-9):
            thetas, gradients, hessians = run(problem, theta0, ts, rtol)  # compiles
            seconds = []
            for _ in range(RUNS):
                began = time.perf_counter()
                run(problem, theta0, ts, rtol)
                seconds.append(time.perf_counter() - began)
            error = np.max(np.linalg.norm(thetas - reference, axis=1) / size)
            took = statistics.median(seconds)
            print(
                f"| {name} | {rtol:.0e} | {error:.1e} | {gradients or '–'} | {hessians or '–'} | {took:.3g} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
