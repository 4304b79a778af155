"""Lyapunov exponents and covariant vectors beside other Python libraries, at equal accuracy.

Every method runs a case at two lengths: the first call, a warm call of the longer one, and the kernel, which is the
slope in the number of steps. Beside times stands the distance of the exponents from a reference: of chaotic systems a
ten times longer run; of a descent, which is a transient, our own run with a QR decomposition at every step. One XLA
thread. Peers that are not installed are named and left out (`pip install -e '.[bench]'`).

    python benchmarks/stability.py [--quick] [--picture stability.png]
"""

import argparse
import importlib
import os
import time
from collections.abc import Callable
from typing import Any

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"

import jax
import jax.numpy as jnp
import numpy as np

import thetadot as td
from thetadot.stability import covariant_vectors, lyapunov

PEERS = ("lyapax", "lyapynov", "clvlib", "pynamicalsys")


def lorenz(x: Any, args: Any = None) -> Any:
    """Lorenz-63, for JAX."""
    return jnp.stack([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])


def lorenz_numpy(x: np.ndarray, t: float = 0.0) -> np.ndarray:
    """Lorenz-63, for NumPy."""
    return np.array([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])


def lorenz_jacobian(x: np.ndarray, t: float = 0.0) -> np.ndarray:
    """Its Jacobian."""
    return np.array([[-10.0, 10.0, 0.0], [28 - x[2], -1.0, -x[0]], [x[1], x[0], -8 / 3]])


def rk4(x: Any, n: Any = 0, aux: Any = None) -> Any:
    """One step of the classical Runge–Kutta method, 0.01 long."""
    h = 0.01
    a = lorenz(x)
    b = lorenz(x + 0.5 * h * a)
    c = lorenz(x + 0.5 * h * b)
    return x + h / 6 * (a + 2 * b + 2 * c + lorenz(x + h * c))


START = np.array([1.0, 1.0, 20.0])
LORENZ_MAP = td.StepMap(rk4)


def network(hidden: int) -> tuple[td.EmpiricalRisk, np.ndarray]:
    """A 1-H-1 tanh net on 20 samples, 3H + 1 parameters."""
    x = np.linspace(-2, 2, 20)[:, None]
    problem = td.EmpiricalRisk(td.mlp([1, hidden, 1], "tanh"), td.squared, x, np.sin(2 * x))
    return problem, np.asarray(problem.init(jax.random.key(0), scale=2.0))


def ours(system: Any, start: np.ndarray, count: int, every: Any) -> Callable[[int], np.ndarray]:
    """thetadot."""
    return lambda steps: (
        lyapunov(system, start, steps, count=count, every=every, group_tolerance=1e-6).exponents
    )


def plain_numpy(
    step: Callable, tangent: Callable, start: np.ndarray, count: int
) -> Callable[[int], np.ndarray]:
    """A loop in NumPy with an explicit tangent matrix and a QR decomposition at every step."""

    def run(steps: int) -> np.ndarray:
        x, q = start.copy(), np.linalg.qr(np.random.default_rng(0).normal(size=(start.size, count)))[0]
        total = np.zeros(count)
        for _ in range(steps):
            q, r = np.linalg.qr(tangent(x) @ q)
            total += np.log(np.abs(np.diagonal(r)))
            x = step(x)
        return total / steps

    return run


def jitted_hessian(problem: td.EmpiricalRisk, start: np.ndarray, count: int) -> Callable[[int], np.ndarray]:
    """A Python loop over jitted `jax.hessian` and gradient."""
    gradient, hessian = jax.jit(jax.grad(problem.loss)), jax.jit(jax.hessian(problem.loss))
    return plain_numpy(
        lambda x: x - 0.05 * np.asarray(gradient(x)),
        lambda x: np.eye(x.size) - 0.05 * np.asarray(hessian(x)),
        start,
        count,
    )


def explicit_hessian(problem: td.EmpiricalRisk, start: np.ndarray, count: int) -> Callable[[int], np.ndarray]:
    """NumPy with the closed form of the 1-H-1 Hessian."""
    x, y = np.asarray(problem.x), np.asarray(problem.y)
    h = (start.size - 1) // 3

    def parts(theta):
        u, b, v, a = theta[:h], theta[h : 2 * h], theta[2 * h : 3 * h], theta[-1]
        z = np.tanh(x * u + b)
        return z, 1 - z**2, v, (z @ v + a)[:, None] - y

    def gradient(theta):
        z, s, v, e = parts(theta)
        back = e * v * s
        return np.concatenate([(back * x).mean(0), back.mean(0), (e * z).mean(0), [e.mean()]])

    def hessian(theta):
        z, s, v, e = parts(theta)
        columns = np.concatenate([v * s * x, v * s, z, np.ones_like(x)], axis=1)
        full = columns.T @ columns / len(x)
        bend = -2 * z * s * v * e
        i = np.arange(h)
        for (p, q), value in {
            (0, 0): (bend * x * x).mean(0), (0, h): (bend * x).mean(0), (h, h): bend.mean(0),
            (0, 2 * h): (e * s * x).mean(0), (h, 2 * h): (e * s).mean(0),
        }.items():  # fmt: skip
            full[i + p, i + q] += value
            if p != q:
                full[i + q, i + p] += value
        return full

    return plain_numpy(
        lambda t: t - 0.05 * gradient(t), lambda t: np.eye(t.size) - 0.05 * hessian(t), start, count
    )


def available() -> dict[str, Any]:
    """The peers that can be imported; the others are named."""
    found = {}
    for name in PEERS:
        try:
            found[name] = importlib.import_module(name)
        except Exception as error:
            print(f"{name} is left out: {type(error).__name__}: {error}")
    return found


def lyapax_map(
    module: Any, step: Callable, start: np.ndarray, count: int, every: int
) -> Callable[[int], np.ndarray]:
    """lyapax on a map (for flows, on their Runge–Kutta map)."""

    def run(steps: int) -> np.ndarray:
        found = module.lyapunov_spectrum(step, jnp.asarray(start), 1.0, steps, k=count, renorm_every=every)
        return np.asarray(found.exponents)

    return run


def pynamicalsys_lorenz(module: Any) -> Callable[[int], np.ndarray]:
    """pynamicalsys with its built-in Lorenz system, compiled by numba."""
    system = module.ContinuousDynamicalSystem(model="lorenz system")
    system.integrator("rk4", time_step=0.01)
    return lambda steps: np.asarray(
        system.lyapunov(START, 0.01 * steps, parameters=[10.0, 28.0, 8 / 3])
    ).ravel()


def lyapynov_lorenz(module: Any) -> Callable[[int], np.ndarray]:
    """lyapynov: NumPy, Runge–Kutta steps of 0.01."""

    def run(steps: int) -> np.ndarray:
        system = module.ContinuousDS(START, 0.0, lorenz_numpy, lorenz_jacobian, 0.01)
        return np.asarray(module.LCE(system, 3, 0, steps, False))

    return run


def cases(peers: dict[str, Any], quick: bool) -> dict[str, tuple[int, float, dict[str, Callable]]]:
    """{case: (steps, unit of time of a step, {method: run})}; the first method is ours."""
    table: dict[str, tuple[int, float, dict[str, Callable]]] = {}
    methods: dict[str, Callable] = {
        "thetadot, every 10": ours(LORENZ_MAP, START, 3, 10),
        "thetadot, every 1": ours(LORENZ_MAP, START, 3, 1),
    }
    flow = td.Flow(lorenz)
    methods["thetadot flow, Dopri8"] = lambda steps: (
        0.01 * lyapunov(flow, START, 0.01 * steps, tolerance=1e-8).exponents
    )
    if "pynamicalsys" in peers:
        compiled = pynamicalsys_lorenz(peers["pynamicalsys"])
        methods["pynamicalsys"] = lambda steps: 0.01 * compiled(steps)
    if "lyapynov" in peers:
        looped = lyapynov_lorenz(peers["lyapynov"])
        methods["lyapynov"] = lambda steps: 0.01 * looped(steps)
    if "lyapax" in peers:
        for every in (10, 1):
            methods[f"lyapax, every {every}"] = lyapax_map(peers["lyapax"], rk4, START, 3, every)
    table["Lorenz-63 RK4 dt 0.01, k = 3"] = (20_000 if quick else 100_000, 0.01, methods)
    for hidden in (10,) if quick else (10, 27, 100):
        problem, start = network(hidden)
        system = td.training_map(problem, td.GradientDescent(0.05))
        for count in (start.size, 5):
            steps = 400 if start.size > 100 else 2000
            methods = {
                "thetadot, every 10": ours(system, start, count, 10),
                "thetadot, every 1": ours(system, start, count, 1),
                "NumPy, explicit Hessian": explicit_hessian(problem, start, count),
                "loop over jitted jax.hessian": jitted_hessian(problem, start, count),
            }
            if "lyapax" in peers:
                for every in (10, 1):
                    step = lambda x, p=problem: x - 0.05 * p.value_and_grad(x)[1]  # noqa: E731
                    methods[f"lyapax, every {every}"] = lyapax_map(peers["lyapax"], step, start, count, every)
            table[f"descent on an MLP, d = {start.size}, k = {count}"] = (steps, 1.0, methods)
    return table


def timed(run: Callable[[int], np.ndarray], steps: int) -> tuple[float, float, float, np.ndarray]:
    """Seconds of the first call, of a warm one, per step (slope), and the exponents."""
    began = time.perf_counter()
    found = run(steps)
    first = time.perf_counter() - began
    shorter = max(steps // 4, 1)
    run(shorter)
    seconds = []
    for length in (shorter, steps):
        best = np.inf
        for _ in range(2):
            began = time.perf_counter()
            run(length)
            best = min(best, time.perf_counter() - began)
        seconds.append(best)
    slope = (seconds[1] - seconds[0]) / (steps - shorter)
    return first, seconds[1], slope if slope > 0 else seconds[1] / steps, np.asarray(found)


def vectors(peers: dict[str, Any], quick: bool) -> None:
    """Covariant vectors of Lorenz-63, and their growth with P and B."""
    steps = 4000 if quick else 24_000

    def run() -> Any:
        return covariant_vectors(
            LORENZ_MAP, START, transient=2000, window=steps, tail=2000, residual_samples=0
        )

    methods: dict[str, Callable] = {"thetadot": run}
    if "lyapynov" in peers:
        module = peers["lyapynov"]
        methods["lyapynov"] = lambda: module.CLV(
            module.ContinuousDS(START, 0.0, lorenz_numpy, lorenz_jacobian, 0.01),
            3,
            0,
            2000,
            steps,
            2000,
            False,
        )
    if "pynamicalsys" in peers:
        system = peers["pynamicalsys"].ContinuousDynamicalSystem(model="lorenz system")
        system.integrator("rk4", time_step=0.01)
        times = {"warmup_time": 20.0, "tail_time": 20.0, "qr_time_step": 0.01}
        methods["pynamicalsys"] = lambda: system.CLV(
            START, 0.01 * steps + 40.0, parameters=[10.0, 28.0, 8 / 3], **times
        )
    print(
        f"\nCovariant vectors, Lorenz-63 RK4, {steps} steps (ours with angles, in checkpointed stretches)\n"
    )
    print("| method | first call s | warm call s |\n|---|---|---|")
    for name, method in methods.items():
        seconds = []
        try:
            for _ in range(2):
                began = time.perf_counter()
                method()
                seconds.append(time.perf_counter() - began)
        except Exception as error:
            print(f"| {name} | could not run: {type(error).__name__}: {str(error)[:80]} | |")
            continue
        print(f"| {name} | {seconds[0]:.3g} | {seconds[1]:.3g} |", flush=True)
    print("\n| P | k | seconds per step | predicted MiB |\n|---|---|---|---|")
    for widths in ([8, 40, 10], [32, 100, 60, 10])[: 1 if quick else 2]:
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(64, widths[0])), rng.normal(size=(64, widths[-1]))
        problem = td.EmpiricalRisk(td.mlp(widths, "tanh"), td.squared, x, y)
        system, theta = td.training_map(problem, td.GradientDescent(0.05)), problem.init(jax.random.key(0))
        for count in (4, 10):
            options = {"count": count, "transient": 10, "window": 60, "tail": 10, "residual_samples": 0}
            covariant_vectors(system, theta, **options)
            began = time.perf_counter()
            found = covariant_vectors(system, theta, **options)
            seconds = (time.perf_counter() - began) / 140
            print(f"| {problem.size} | {count} | {seconds:.2e} | {found.bytes / 2**20:.1f} |", flush=True)


def main() -> None:
    """Run every case and print one Markdown table; draw it if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="short runs and small networks")
    parser.add_argument("--picture", help="file for a bar chart of kernel times")
    options = parser.parse_args()
    peers = available()
    head = "| case | method | first call s | warm call s | kernel µs/step | away from reference | slower than ours |"
    print(head + "\n|" + "---|" * 7)
    drawn: dict[str, dict[str, float]] = {}
    for case, (steps, _, methods) in cases(peers, options.quick).items():
        reference = np.sort(methods["thetadot, every 1"](10 * steps if "Lorenz" in case else steps))[::-1]
        kernel_of_ours = None
        for name, run in methods.items():
            try:
                first, warm, kernel, found = timed(run, steps)
            except Exception as error:
                print(
                    f"| {case} | {name} | could not run: {type(error).__name__}: {str(error)[:80]} | | | | |",
                    flush=True,
                )
                continue
            kernel_of_ours = kernel if kernel_of_ours is None else kernel_of_ours
            away = float(np.max(np.abs(np.sort(found)[::-1] - reference)))
            drawn.setdefault(case, {})[name] = kernel
            ratio = kernel / kernel_of_ours
            print(
                f"| {case} | {name} | {first:.3g} | {warm:.3g} | {1e6 * kernel:.3g} | {away:.1e} | {ratio:.2g} |",
                flush=True,
            )
    vectors(peers, options.quick)
    if options.picture:
        picture(drawn, options.picture)


def picture(drawn: dict[str, dict[str, float]], file: str) -> None:
    """Kernel times as bars, one panel per case."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.1 + 1.3 * len(drawn)), layout="constrained")
    axes = figure.subplots(len(drawn), 1, squeeze=False)[:, 0]
    for single, (case, kernels) in zip(axes, drawn.items(), strict=True):
        single.barh(list(kernels), [1e6 * value for value in kernels.values()])
        single.set_xscale("log")
        single.set_title(case, fontsize=9)
        single.invert_yaxis()
    axes[-1].set_xlabel("kernel time (µs per step)")
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()
