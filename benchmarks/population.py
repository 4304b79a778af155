"""Exact population risks and reduced dynamics beside sampling and quadrature: seconds, errors, growth.

Peers: a loop on fresh mini-batches of Gaussian inputs, in NumPy and PyTorch; the averaged kernel of the radial system
by quadrature; tensor Gauss–Hermite for smooth teachers and students. MLPGradientFlow.jl needs Julia and is left out
where there is none. Times on a shared machine are noise; counts are not.

    python benchmarks/population.py [--widths 256 512 1024 2048] [--flow 1024] [--steps 2000]
"""

import argparse
import resource
import shutil
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import thetadot as td
from thetadot import symmetry
from thetadot.numerics.gaussian import hermite_kernel
from thetadot.symmetry.zonal_series import gauss_rule


def best(call: Callable[[], Any], repeats: int = 7) -> float:
    """Fewest seconds of several calls, after one that compiles."""
    jax.block_until_ready(call())
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a Markdown table."""
    names = list(head)
    print(f"\n### {title}\n\n| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for row in rows:
        cells = (f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row)
        print(f"| {' | '.join(cells)} |", flush=True)


def norm_problem(width: int, dimension: int = 20) -> td.PopulationRisk:
    """|x_H| of five coordinates."""
    network = td.two_layer(dimension, width, "relu", scaling="mean_field")
    return td.PopulationRisk(network, td.NormTarget(np.eye(dimension)[:, :5]), td.GaussianInputs(dimension))


def plain_gradient(u: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same field in NumPy, all pairs at once."""
    length = np.linalg.norm(u, axis=1)
    unit = u / length[:, None]
    t = np.clip(unit @ unit.T, -1, 1)
    angle = np.arccos(t)
    sine, rest = np.sin(angle), np.pi - angle
    across, along = sine @ (weights * length), rest @ (weights[:, None] * u)
    gradient = (across[:, None] * unit + along) / (2 * np.pi)
    return length * (across + np.sum(unit * along, axis=1)) / (2 * np.pi), gradient


def fields(widths: list[int]) -> None:
    """Gradients of the closed risk against width."""
    rows = []
    for dimension, chosen in ((20, widths), (100, widths[-1:])):
        for width in chosen:
            problem = norm_problem(width, dimension)
            theta = problem.init(jax.random.key(0))
            ours = best(lambda problem=problem, theta=theta: problem.value_and_grad(theta))
            cloud = symmetry.to_particles(problem, theta)
            u, a = np.asarray(cloud.incoming), np.asarray(cloud.outgoing)
            theirs = best(lambda u=u, a=a: plain_gradient(u, a), 3)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            rows.append((dimension, width, 1e3 * ours, 1e3 * theirs, theirs / ours, f"{peak:.0f}"))
    head = (
        "d",
        "m",
        "risk and gradient, ms",
        "field in NumPy, ms",
        "ratio",
        "peak memory of the process, MB",
    )
    table("One gradient", head, rows)


def particle_flow(width: int) -> None:
    """The whole particle flow, d = 20, t ≤ 8."""
    problem = norm_problem(width)
    theta = problem.init(jax.random.key(0))
    path = td.flow(
        problem, theta, until=td.Until(time=8.0), saves=[8.0], rtol=1e-5, solver="Tsit5", progress=False
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = (width, path.stats.seconds, path.stats.gradients, float(path.losses[-1]), f"{peak:.0f}")
    table(
        "Particle flow, t ≤ 8, rtol 1e-5",
        ("m", "seconds, compiled within", "gradients", "risk", "peak MB"),
        [row],
    )


def averaged_kernel(d: int, k: int, a: np.ndarray, b: np.ndarray, nodes: int) -> np.ndarray:
    """K̄ of all pairs of angles by quadrature over both rotations."""
    (x, wx), (y, wy) = (
        gauss_rule(nodes, (k - 3) / 2, (k - 3) / 2),
        gauss_rule(nodes, (d - k - 3) / 2, (d - k - 3) / 2),
    )
    first, second = np.cos(a)[:, None] * np.cos(b), np.sin(a)[:, None] * np.sin(b)
    t = np.clip(first[..., None, None] * x[:, None] + second[..., None, None] * y, -1, 1)
    kernel = (np.sqrt(1 - t**2) + (np.pi - np.arccos(t)) * t) / (2 * np.pi)
    return np.einsum("abxy,x,y->ab", kernel, wx, wy)


def radial() -> None:
    """Growth with nodes and degrees, and the kernel beside quadrature."""
    times = [1.0, 16.0, 100.0]
    truth = symmetry.radial_reduction(20, 5, nodes=48, degrees=40).solve(times, accuracy=1e-11).losses
    rows = []
    for nodes, degrees in ((8, 10), (16, 20), (32, 20), (32, 40)):
        reduction = symmetry.radial_reduction(20, 5, nodes=nodes, degrees=degrees)
        seconds = best(lambda reduction=reduction: reduction.solve(times).losses, 3)
        path = reduction.solve(times)
        rows.append(
            (nodes, degrees, seconds, path.stats.gradients, float(np.abs(path.losses / truth - 1).max()))
        )
    table(
        "Radial reduction, t ≤ 100",
        ("nodes", "degrees", "seconds", "field calls", "relative error of the risk"),
        rows,
    )
    reduction = symmetry.radial_reduction(20, 5, nodes=16)
    law, state = reduction.flow.args, reduction.state0
    field = jax.jit(reduction.flow.field)
    ours = best(lambda: field(state, law))
    angles = np.asarray(state[32:])
    waves = np.asarray(law.waves(jnp.asarray(angles))[0])
    exact = averaged_kernel(20, 5, angles, angles, 80)
    rows = [
        (
            "series, 20 degrees",
            1e3 * ours,
            float(np.abs(waves.T @ np.asarray(law.kernel) @ waves - exact).max()),
        )
    ]
    for nodes in (8, 16, 32):
        seconds = best(lambda nodes=nodes: averaged_kernel(20, 5, angles, angles, nodes), 3)
        rows.append(
            (
                f"quadrature, {nodes}² nodes",
                1e3 * seconds,
                float(np.abs(averaged_kernel(20, 5, angles, angles, nodes) - exact).max()),
            )
        )
    table("Averaged kernel of 32 particles", ("method", "ms per field (series) or kernel", "error"), rows)


def orbits() -> None:
    """One neuron per orbit of a group of order eight."""
    group = symmetry.generate_group([np.eye(5)[[1, 0, 2, 3, 4]], np.diag([-1.0, 1, 1, 1, 1])])
    half = symmetry.sample_particles(jax.random.key(0), 256, 5)
    target = td.TeacherTarget(np.ones(4), np.concatenate([np.eye(5)[:2], -np.eye(5)[:2]]))
    problem = td.PopulationRisk(
        td.two_layer(5, 2048, "relu", scaling="mean_field"), target, td.GaussianInputs(5)
    )
    reduction = symmetry.orbit_reduction(problem, group, half)
    field = jax.jit(reduction.flow.field)
    few = best(lambda: field(reduction.state0, reduction.flow.args))
    theta = reduction.theta(reduction.state0)
    whole = best(lambda: problem.value_and_grad(theta))
    table(
        "Orbits, group of order 8, m = 2048",
        ("whole, ms", "orbits, ms", "ratio"),
        [(1e3 * whole, 1e3 * few, whole / few)],
    )


def series() -> None:
    """Smooth pairs: activation evaluations and errors beside tensor Gauss–Hermite."""
    m, t = 100, 0.95
    u, v = jnp.array([[3.0, 0.0]]), 2.5 * jnp.array([[t, np.sqrt(1 - t**2)]])
    exact = float(hermite_kernel(jnp.tanh, u, v, order=250)[0][0, 0])
    value, bound = hermite_kernel(jnp.tanh, u, v)
    rows = [("series, 64 terms", 2 * 881 * m, abs(float(value[0, 0]) - exact), float(bound[0, 0]))]
    for nodes in (40, 64, 80):
        x, w = np.polynomial.hermite_e.hermegauss(nodes)
        w = w / w.sum()
        first, second = np.tanh(3 * x), np.tanh(2.5 * (t * x[:, None] + np.sqrt(1 - t**2) * x))
        found = float(np.einsum("i,ij,i,j->", first, second, w, w))
        rows.append((f"tensor Gauss–Hermite, {nodes}²", 2 * m * m * nodes**2, abs(found - exact), "none"))
    table(
        "tanh pair |u| = 3, |v| = 2.5, t = 0.95; evaluations for m = 100 students and teachers",
        ("rule", "evaluations of the activation", "error", "stated bound"),
        rows,
    )


def mini_batches(steps: int) -> None:
    """Gradient steps on fresh samples, in NumPy and in PyTorch if there is one, beside the exact flow."""
    width, end = 100, 2.0
    problem = norm_problem(width)
    theta = problem.init(jax.random.key(0))

    def exact(accuracy: float) -> td.Path:
        return td.flow(
            problem, theta, until=td.Until(time=end), saves=[end], accuracy=accuracy, progress=False
        )

    truth = jnp.asarray(exact(1e-9).thetas[-1])
    seconds = best(lambda: exact(1e-4).thetas, 3)
    path = exact(1e-4)
    cloud = symmetry.to_particles(problem, theta)
    a, b = np.array(cloud.outgoing), np.array(cloud.incoming)
    loops = {"NumPy": numpy_loop, "PyTorch": torch_loop}
    rows = [("exact flow, accuracy 1e-4", seconds, *_judged(problem, jnp.asarray(path.thetas[-1]), truth))]
    for name, loop in loops.items():
        for batch in (100, 1000):
            start = time.perf_counter()
            try:
                a_end, b_end = loop(a, b, batch, steps, end)
            except ImportError:
                print(f"\n{name} is not installed: its loop was left out")
                break
            seconds = time.perf_counter() - start
            final = symmetry.Particles(jnp.asarray(a_end), jnp.asarray(b_end))
            judged = _judged(problem, symmetry.to_theta(problem, final), truth)
            rows.append((f"{name}, {steps} steps × {batch} fresh samples", seconds, *judged))
    head = (
        "method",
        "seconds",
        "exact risk at the end",
        "L² distance to the exact flow's predictor (floor 1e-8)",
    )
    table("m = 100 to t = 2", head, rows)


def _judged(problem: td.PopulationRisk, theta: Any, truth: Any) -> tuple[float, float]:
    off = symmetry.mean_square_distance(problem, theta, truth)
    return float(problem.loss(theta)), max(off, 1e-16) ** 0.5


def numpy_loop(a: np.ndarray, b: np.ndarray, batch: int, steps: int, end: float) -> tuple:
    """Euler steps on fresh batches."""
    draws, a, b = np.random.default_rng(0), a.copy(), b.copy()
    for _ in range(steps):
        x = draws.normal(size=(batch, b.shape[1]))
        hidden = np.maximum(x @ b.T, 0)
        residual = (hidden @ a / a.size - np.linalg.norm(x[:, :5], axis=1)) / batch
        moved = a[:, None] * (((hidden > 0) * residual[:, None]).T @ x)
        a, b = a - end / steps * (residual @ hidden), b - end / steps * moved
    return a, b


def torch_loop(a: np.ndarray, b: np.ndarray, batch: int, steps: int, end: float) -> tuple:
    """The same by automatic differentiation."""
    import torch

    torch.manual_seed(0)
    b_now, a_now = torch.tensor(b, requires_grad=True), torch.tensor(a, requires_grad=True)
    for _ in range(steps):
        x = torch.randn(batch, b.shape[1], dtype=torch.float64)
        loss = 0.5 * ((torch.relu(x @ b_now.T) @ a_now / a.size - x[:, :5].norm(dim=1)) ** 2).mean()
        gradients = torch.autograd.grad(loss, (a_now, b_now))
        with torch.no_grad():
            for part, gradient in zip((a_now, b_now), gradients, strict=True):
                part -= end / steps * a.size * gradient
    return a_now.detach().numpy(), b_now.detach().numpy()


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096])
    parser.add_argument("--flow", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=2000)
    asked = parser.parse_args()
    if shutil.which("julia") is None:
        print("julia was not found: MLPGradientFlow.jl was not run")
    fields(asked.widths)
    particle_flow(asked.flow)
    radial()
    orbits()
    series()
    mini_batches(asked.steps)


if __name__ == "__main__":
    main()
