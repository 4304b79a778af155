"""Systems and methods of the benchmark of exponents: Lorenz-63 and -96, descent on networks; ours, libraries, loops.

A method is a function: number of steps → exponents per step.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import thetadot as td
from thetadot.stability import lyapunov

Method = Callable[[int], np.ndarray]
STEP = 0.01
"""Of the classical Runge–Kutta method, in every library."""
FORCING, SITES = 8.0, 40


def lorenz(x: Any, args: Any = None) -> Any:
    """Lorenz-63, for JAX."""
    return jnp.stack([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])


def lorenz_numpy(x: np.ndarray, t: float = 0.0) -> np.ndarray:
    """Lorenz-63, for NumPy."""
    return np.array([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])


def lorenz_jacobian(x: np.ndarray, t: float = 0.0) -> np.ndarray:
    """Its Jacobian."""
    return np.array([[-10.0, 10.0, 0.0], [28 - x[2], -1.0, -x[0]], [x[1], x[0], -8 / 3]])


def ring(x: Any) -> Any:
    """Lorenz-96 with 40 sites, for JAX."""
    return (jnp.roll(x, -1) - jnp.roll(x, 2)) * jnp.roll(x, 1) - x + FORCING


def ring_numpy(x: np.ndarray, t: float = 0.0) -> np.ndarray:
    """Lorenz-96, for NumPy."""
    return (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + FORCING


def ring_jacobian(x: np.ndarray, t: float = 0.0) -> np.ndarray:
    """Its Jacobian."""
    i = np.arange(x.size)
    found = -np.eye(x.size)
    found[i, (i + 1) % x.size] = found[i, (i - 2) % x.size] = np.roll(x, 1)
    found[i, (i - 2) % x.size] *= -1
    found[i, (i - 1) % x.size] = np.roll(x, -1) - np.roll(x, 2)
    return found


def rk4(field: Callable) -> Callable:
    """One step of the classical Runge–Kutta method."""

    def step(x: Any, n: Any = 0, aux: Any = None) -> Any:
        a = field(x)
        b = field(x + 0.5 * STEP * a)
        c = field(x + 0.5 * STEP * b)
        return x + STEP / 6 * (a + 2 * b + 2 * c + field(x + STEP * c))

    return step


START = np.array([1.0, 1.0, 20.0])
LORENZ_MAP = td.StepMap(rk4(lorenz))
RING_START = np.asarray(FORCING + np.sin(np.arange(SITES)))
RING_MAP = td.StepMap(rk4(ring))


def network(hidden: int) -> tuple[td.EmpiricalRisk, np.ndarray]:
    """A 1-H-1 tanh net on 20 samples, 3H + 1 parameters."""
    x = np.linspace(-2, 2, 20)[:, None]
    problem = td.EmpiricalRisk(td.mlp([1, hidden, 1], "tanh"), td.squared, x, np.sin(2 * x))
    return problem, np.asarray(problem.init(jax.random.key(0), scale=2.0))


def ours(system: Any, start: np.ndarray, count: int, every: Any) -> Method:
    """thetadot."""
    return lambda steps: (
        lyapunov(system, start, steps, count=count, every=every, group_tolerance=1e-6).exponents
    )


def plain_numpy(step: Callable, tangent: Callable, start: np.ndarray, count: int) -> Method:
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


def jitted_hessian(problem: td.EmpiricalRisk, start: np.ndarray, count: int) -> Method:
    """A Python loop over jitted `jax.hessian` and gradient."""
    gradient, hessian = jax.jit(jax.grad(problem.loss)), jax.jit(jax.hessian(problem.loss))
    return plain_numpy(
        lambda x: x - 0.05 * np.asarray(gradient(x)),
        lambda x: np.eye(x.size) - 0.05 * np.asarray(hessian(x)),
        start,
        count,
    )


def explicit_hessian(problem: td.EmpiricalRisk, start: np.ndarray, count: int) -> Method:
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


def lyapax_map(module: Any, step: Callable, start: np.ndarray, count: int, every: int) -> Method:
    """lyapax on a map (for flows, on their Runge–Kutta map)."""

    def run(steps: int) -> np.ndarray:
        found = module.lyapunov_spectrum(step, jnp.asarray(start), 1.0, steps, k=count, renorm_every=every)
        return np.asarray(found.exponents)

    return run


def compiled_lorenz(module: Any) -> Any:
    """pynamicalsys with its built-in Lorenz system, compiled by numba."""
    system = module.ContinuousDynamicalSystem(model="lorenz system")
    system.integrator("rk4", time_step=STEP)
    return system


def compiled_ring(module: Any) -> Any:
    """pynamicalsys with Lorenz-96 and its Jacobian compiled by numba."""
    import numba

    @numba.njit
    def field(time, u, parameters):
        out, d = np.empty_like(u), u.size
        for i in range(d):
            out[i] = (u[(i + 1) % d] - u[(i - 2) % d]) * u[(i - 1) % d] - u[i] + parameters[0]
        return out

    @numba.njit
    def jacobian(time, u, parameters):
        d = u.size
        out = np.zeros((d, d))
        for i in range(d):
            out[i, i] = -1.0
            out[i, (i + 1) % d] = u[(i - 1) % d]
            out[i, (i - 2) % d] = -u[(i - 1) % d]
            out[i, (i - 1) % d] = u[(i + 1) % d] - u[(i - 2) % d]
        return out

    system = module.ContinuousDynamicalSystem(
        equations_of_motion=field, jacobian=jacobian, system_dimension=SITES, number_of_parameters=1
    )
    system.integrator("rk4", time_step=STEP)
    return system


def pynamicalsys_flow(system: Any, start: np.ndarray, parameters: list[float], count: int) -> Method:
    """Exponents by pynamicalsys."""
    return lambda steps: (
        STEP * np.ravel(system.lyapunov(start, STEP * steps, parameters=parameters, num_exponents=count))
    )


def lyapynov_flow(module: Any, field: Callable, jacobian: Callable, start: np.ndarray, count: int) -> Method:
    """lyapynov: NumPy, Runge–Kutta steps."""
    return lambda steps: (
        STEP
        * np.asarray(
            module.LCE(module.ContinuousDS(start, 0.0, field, jacobian, STEP), count, 0, steps, False)
        )
    )


def clvlib_flow(module: Any, field: Callable, jacobian: Callable, start: np.ndarray, count: int) -> Method:
    """clvlib: NumPy, Runge–Kutta steps."""

    def run(steps: int) -> np.ndarray:
        times = STEP * np.arange(steps + 1)
        found = module.lyap_exp_from_ic(
            lambda t, x: field(x), lambda t, x: jacobian(x), start, times, n_lyap=count
        )
        return STEP * np.asarray(found[0])

    return run


def flow_methods(peers: dict[str, Any], name: str, count: int) -> dict[str, Method]:
    """Every method for a Runge–Kutta map of a flow; ours first."""
    small = name == "Lorenz-63"
    system, start, field = (LORENZ_MAP, START, lorenz) if small else (RING_MAP, RING_START, ring)
    numpy_field, jacobian = (lorenz_numpy, lorenz_jacobian) if small else (ring_numpy, ring_jacobian)
    methods = {f"thetadot, every {every}": ours(system, start, count, every) for every in (10, 1)}
    flow = td.Flow(lambda x, args: field(x))
    methods["thetadot flow, Dopri8"] = lambda steps: (
        STEP * lyapunov(flow, start, STEP * steps, count=count, tolerance=1e-8).exponents
    )
    if "pynamicalsys" in peers:
        compiled = (compiled_lorenz if small else compiled_ring)(peers["pynamicalsys"])
        parameters = [10.0, 28.0, 8 / 3] if small else [FORCING]
        methods["pynamicalsys"] = pynamicalsys_flow(compiled, start, parameters, count)
    if "lyapynov" in peers:
        methods["lyapynov"] = lyapynov_flow(peers["lyapynov"], numpy_field, jacobian, start, count)
    if "clvlib" in peers:
        methods["clvlib"] = clvlib_flow(peers["clvlib"], numpy_field, jacobian, start, count)
    if "lyapax" in peers:
        for every in (10, 1):
            methods[f"lyapax, every {every}"] = lyapax_map(peers["lyapax"], rk4(field), start, count, every)
    return methods


def descent_methods(peers: dict[str, Any], hidden: int, full: bool) -> tuple[str, dict[str, Method]]:
    """The case in words, and every method for descent on a 1-H-1 network; ours first."""
    problem, start = network(hidden)
    count = start.size if full else 5
    system = td.training_map(problem, td.GradientDescent(0.05))
    methods = {f"thetadot, every {every}": ours(system, start, count, every) for every in (10, 1)}
    methods["NumPy, explicit Hessian"] = explicit_hessian(problem, start, count)
    methods["loop over jitted jax.hessian"] = jitted_hessian(problem, start, count)
    if "lyapax" in peers:
        for every in (10, 1):
            methods[f"lyapax, every {every}"] = lyapax_map(
                peers["lyapax"], lambda x: x - 0.05 * problem.value_and_grad(x)[1], start, count, every
            )
    return f"descent on an MLP, d = {start.size}, k = {count}", methods


def cases(peers: dict[str, Any], quick: bool) -> dict[str, tuple[int, dict[str, Method]]]:
    """{case: (steps, {method: run})}; the first method is ours."""
    table = {"Lorenz-63 RK4, k = 3": (20_000 if quick else 100_000, flow_methods(peers, "Lorenz-63", 3))}
    for count in (SITES, 5):
        steps = 1000 if quick else 4000
        table[f"Lorenz-96 RK4, d = {SITES}, k = {count}"] = (steps, flow_methods(peers, "Lorenz-96", count))
    for hidden in (10,) if quick else (10, 27, 100):
        for full in (True, False):
            case, methods = descent_methods(peers, hidden, full)
            table[case] = (200 if hidden == 100 else 2000, methods)
    return table
