"""Stationary covariances, simulated ensembles and gradient noise: seconds, beside code by hand.

Peers: `scipy.linalg.solve_continuous_lyapunov`; SGD written in vectorised NumPy for the one model; one PyTorch loop per
chain (left out where torch is missing); a loop over samples for their gradients. Processor seconds of one process,
medians of three, so that a busy machine says little about them; answers of both sides stand beside their times.

    OMP_NUM_THREADS=1 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false python benchmarks/fluctuations.py [--small]
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

import thetadot as td
from thetadot.fluctuations import (
    OnlineRisk,
    gradient_noise,
    sgd_ensemble,
    stationary_covariance,
    stationary_covariance_of,
)


def seconds(call: Callable[[], Any], repeats: int = 3, warm: bool = True) -> tuple[float, Any]:
    """Median processor seconds, and what the call returned; a first call warms up what compiles."""
    found, times = call() if warm else None, []
    for _ in range(repeats):
        start = time.process_time()
        found = call()
        times.append(time.process_time() - start)
    return statistics.median(times), found


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a Markdown table."""
    names = list(head)
    print(f"\n### {title}\n\n| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for row in rows:
        cells = (f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row)
        print(f"| {' | '.join(cells)} |", flush=True)


def pair(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Random positive definite (H, D)."""
    a, b = np.random.default_rng(0).normal(size=(2, size, size + size // 2))
    return a @ a.T / size, b @ b.T / size


def lyapunov(sizes: Iterable[int]) -> Iterable[list]:
    """The continuum equation against SciPy's solver, to which the answers are compared."""
    for size in sizes:
        H, D = pair(size)
        ours, found = seconds(
            lambda H=H, D=D: stationary_covariance(H, D, learning_rate=1e-3, batch_size=1, kind="continuum")
        )
        theirs, truth = seconds(
            lambda H=H, D=D: scipy.linalg.solve_continuous_lyapunov(H, 1e-3 * D), 1, False
        )
        off = float(np.abs(found.covariance - truth).max() / np.abs(truth).max())
        yield [size, ours, theirs, theirs / ours, off]


def regression(samples: int, inputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, y, best weights)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, inputs))
    y = x @ rng.normal(size=inputs) + 0.5 * rng.normal(size=samples)
    return x, y, np.linalg.lstsq(x, y, rcond=None)[0]


def by_numpy(x, y, best, rate: float, batch: int, members: int, steps: int) -> np.ndarray:
    """All members at once, gradients by hand; their covariance at the end."""
    rng = np.random.default_rng(1)
    theta = np.tile(best, (members, 1))
    for _ in range(steps):
        index = rng.integers(0, len(x), size=(members, batch))
        rows = x[index]
        off = np.einsum("mbn,mn->mb", rows, theta) - y[index]
        theta = theta - rate / batch * np.einsum("mb,mbn->mn", off, rows)
    return np.cov(theta.T)


def by_torch(x, y, best, rate: float, batch: int, members: int, steps: int) -> float | None:
    """Seconds of one loop per chain in PyTorch; None without it."""
    try:
        import torch
    except ImportError:
        return None
    inputs, labels = torch.tensor(x), torch.tensor(y)
    start = time.process_time()
    for _ in range(members):
        theta = torch.tensor(best, requires_grad=True)
        for _ in range(steps):
            index = torch.randint(0, len(x), (batch,))
            loss = 0.5 * ((inputs[index] @ theta - labels[index]) ** 2).mean()
            loss.backward()
            with torch.no_grad():
                theta -= rate * theta.grad
                theta.grad = None
    return time.process_time() - start


def ensembles(members: int, steps: int) -> Iterable[list]:
    """n = 5, S = 8, N = 1000: microseconds per member and step."""
    x, y, best = regression(1000, 5)
    problem = td.EmpiricalRisk(td.linear([5, 1]), td.squared, x, y[:, None])
    rule = td.MiniBatch(0.05, 8, jax.random.key(0), replace=True)
    key, each = jax.random.key(1), 1e6 / (members * steps)
    ours, found = seconds(
        lambda: sgd_ensemble(
            problem, best, rule, members=members, steps=steps, burn_in=steps - 2, every=1, key=key
        )
    )
    numpy, truth = seconds(lambda: by_numpy(x, y, best, 0.05, 8, members, steps), 1, False)
    yield ["thetadot", ours * each, 1.0, float(np.trace(found.covariance))]
    yield ["NumPy, this model only", numpy * each, numpy / ours, float(np.trace(truth))]
    chains, length = 2, min(steps, 500)
    torch = by_torch(x, y, best, 0.05, 8, chains, length)
    if torch is None:
        yield ["PyTorch", "not installed", "–", "–"]
    else:
        per_step = torch * 1e6 / (chains * length)
        yield ["PyTorch, a loop per chain", per_step, per_step / (ours * each), "–"]


def crowds(sizes: Iterable[tuple[int, int]], steps: int) -> Iterable[list]:
    """The same for other numbers of samples and members."""
    for samples, members in sizes:
        x, y, best = regression(samples, 5)
        problem = td.EmpiricalRisk(td.linear([5, 1]), td.squared, x, y[:, None])
        rule, key = td.MiniBatch(0.05, 8, jax.random.key(0), replace=True), jax.random.key(1)
        took, _ = seconds(
            lambda problem=problem, best=best, rule=rule, key=key, members=members: sgd_ensemble(
                problem, best, rule, members=members, steps=steps, burn_in=steps - 2, every=1, key=key
            )
        )
        yield [samples, members, took, 1e6 * took / (members * steps)]


def online(members: int, steps: int) -> Iterable[list]:
    """Fresh Gaussian draws, n = 5, S = 1, for each generator of random bits."""

    def draw(key, batch_size):
        drawn = jax.random.normal(key, (batch_size, 6))
        return drawn[:, 1:], 0.5 * drawn[:, 0]

    risk = OnlineRisk(lambda w, x, y: 0.5 * (w @ x - y) ** 2, draw)
    each = 1e6 / (members * steps)

    def by_hand() -> np.ndarray:
        rng, theta = np.random.default_rng(0), np.zeros((members, 5))
        for _ in range(steps):
            drawn = rng.normal(size=(members, 6))
            off = np.sum(drawn[:, 1:] * theta, axis=1) - 0.5 * drawn[:, 0]
            theta = theta - 0.05 * off[:, None] * drawn[:, 1:]
        return np.cov(theta.T)

    numpy, truth = seconds(by_hand, 1, False)
    yield ["NumPy", numpy * each, 1.0, float(np.trace(truth))]
    for generator in ("threefry2x32", "rbg", "unsafe_rbg"):
        rule = td.MiniBatch(0.05, 1, jax.random.key(0))
        key = jax.random.key(1, impl=generator)
        ours, found = seconds(
            lambda key=key, rule=rule: sgd_ensemble(
                risk, np.zeros(5), rule, members=members, steps=steps, burn_in=steps - 2, every=1, key=key
            )
        )
        yield [f"thetadot, {generator}", ours * each, ours / numpy, float(np.trace(found.covariance))]


def noise() -> Iterable[list]:
    """Gradients of the 1797 samples of a 64-32-10 network, in k = 20 directions and dense."""
    problem = td.EmpiricalRisk(td.mlp([64, 32, 10], "tanh"), td.cross_entropy, *td.data.digits())
    theta = problem.init(jax.random.key(0))
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(problem.size, 20)))[0]
    gradient = jax.jit(lambda theta, index: jax.grad(lambda t: problem.sample_losses(t, index)[0])(theta))
    batch = jax.jit(jax.vmap(gradient, in_axes=(None, 0)))
    indices = jnp.arange(problem.samples)[:, None]
    vectorised, _ = seconds(lambda: jax.block_until_ready(batch(theta, indices)))
    loop, _ = seconds(lambda: [jax.block_until_ready(gradient(theta, index)) for index in indices], 1)
    yield ["all gradients, vmap", vectorised, loop / vectorised]
    yield ["all gradients, a loop", loop, 1.0]
    yield ["VᵀDV, 20 directions", seconds(lambda: gradient_noise(problem, theta).project(basis))[0], "–"]
    yield ["D dense (2410²)", seconds(lambda: gradient_noise(problem, theta).covariance, 1)[0], "–"]


def growth(widths: Iterable[int]) -> Iterable[list]:
    """The block of 10 leading directions of tanh networks of P parameters, 64 samples, at a random point (a saddle)."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 64)), rng.normal(size=(64, 1))
    for width in widths:
        problem = td.EmpiricalRisk(td.mlp([64, width, 1], "tanh"), td.squared, x, y)
        theta, rule = problem.init(jax.random.key(0)), td.MiniBatch(0.01, 8, jax.random.key(0))
        took, found = seconds(
            lambda problem=problem, theta=theta, rule=rule: stationary_covariance_of(
                problem, theta, rule, leading=10, tolerance=1.0
            ),
            1,
        )
        yield [problem.size, took, str(found.status)]


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="smaller sizes, under a minute")
    small = parser.parse_args().small
    import warnings

    warnings.simplefilter("ignore", td.ThetadotWarning)
    table(
        "Continuum equation (seconds)",
        ["P", "thetadot", "scipy Lyapunov", "ratio", "largest relative difference"],
        lyapunov((100, 400) if small else (100, 400, 800, 1200, 3000)),
    )
    table(
        "SGD ensemble, n = 5, S = 8, N = 1000, 2000 members (µs per member and step)",
        ["", "µs", "over thetadot", "tr Σ"],
        ensembles(2000, 200 if small else 1000),
    )
    table(
        "SGD ensemble: growth with samples and members, n = 5, S = 8",
        ["N", "members", "seconds", "µs per member and step"],
        crowds([(100, 2000), (100_000, 2000), (1000, 200), (1000, 20_000)], 50 if small else 200),
    )
    table(
        "Fresh Gaussian draws, n = 5, S = 1, 2000 members (µs per member and step)",
        ["", "µs", "over NumPy", "tr Σ"],
        online(2000, 200 if small else 1000),
    )
    table("Gradient noise, 64-32-10, N = 1797 (seconds)", ["", "seconds", "loop over this"], noise())
    table(
        "10 leading directions (seconds)",
        ["P", "seconds", "status"],
        growth((16, 160) if small else (16, 160, 1600, 15_000)),
    )


if __name__ == "__main__":
    main()
