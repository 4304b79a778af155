"""Activation functions beside XLA's, alone and in the gradient of a network; the gradient beside a matrix product.

Three tables: nanoseconds per number for the value and for value and derivative; the gradients of three networks;
the gradient of the digits network as a share of what a large matrix product reaches in the same process. One XLA
thread; the candidates of a table take turns, and the median of the rounds is shown. Processor time, not wall time:
other programs then disturb least.

    taskset -c 0 python benchmarks/elementwise.py [--rounds 40]
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"

import jax
import jax.numpy as jnp
import numpy as np

import thetadot as td
from thetadot.numerics import elementwise
from thetadot.problems.activations import Activation

NUMBERS = 20_000
PAIRS: dict[str, tuple[Callable, Callable]] = {
    "erf": (jax.scipy.special.erf, elementwise.erf),
    "softplus": (jax.nn.softplus, elementwise.softplus),
    "sigmoid": (jax.nn.sigmoid, elementwise.sigmoid),
    "tanh": (jnp.tanh, elementwise.tanh),
}
NETWORKS = {"3-5-1": 1000, "10-80-1": 1000, "2-256-1": 1000, "64-128-10": 1797}  # widths: samples


def race(runners: dict[str, tuple[Callable, tuple]], rounds: int, seconds: float = 0.01) -> dict[str, float]:
    """Median processor seconds per call of each compiled (function, arguments), which take turns."""
    calls = {}
    for name, (function, arguments) in runners.items():
        jax.block_until_ready(function(*arguments))  # compiles
        began = time.process_time()
        jax.block_until_ready([function(*arguments) for _ in range(3)])
        calls[name] = max(1, round(seconds * 3 / max(time.process_time() - began, 1e-6)))
    taken: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, (function, arguments) in runners.items():
            began = time.process_time()
            for _ in range(calls[name]):
                out = function(*arguments)
            jax.block_until_ready(out)
            taken[name].append((time.process_time() - began) / calls[name])
    return {name: statistics.median(times) for name, times in taken.items()}


def slope(function: Callable) -> Callable:
    """Value and derivative."""
    return lambda z: jax.jvp(function, (z,), (jnp.ones_like(z),))


@jax.jit
def gradient(problem: td.EmpiricalRisk, theta: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Loss and gradient."""
    return problem.value_and_grad(theta)


def posed(widths: str, activation: Activation) -> tuple[td.EmpiricalRisk, jax.Array]:
    """Regression on normal data by a network of these widths, and a start."""
    sizes, rng = [int(size) for size in widths.split("-")], np.random.default_rng(0)
    x, y = (rng.normal(size=(NETWORKS[widths], size)) for size in (sizes[0], sizes[-1]))
    problem = td.EmpiricalRisk(td.mlp(sizes, activation), td.squared, x, y)
    return problem, problem.init(jax.random.key(0))


def functions(rounds: int) -> None:
    """Nanoseconds per number."""
    z = jnp.asarray(2 * np.random.default_rng(0).normal(size=NUMBERS))
    print(f"\nns per number, {NUMBERS} numbers\n")
    print(
        "| function | value: XLA | ours | ratio | and slope: XLA | ours | ratio |\n|---|---|---|---|---|---|---|"
    )
    for name, (theirs, ours) in PAIRS.items():
        runners = {f"{k} {i}": (jax.jit(wrap(f)), (z,)) for k, wrap in (("value", lambda f: f), ("both", slope))
                   for i, f in enumerate((theirs, ours))}  # fmt: skip
        cells = []
        taken = race(runners, rounds)
        for kind in ("value", "both"):
            old, new = (taken[f"{kind} {i}"] * 1e9 / NUMBERS for i in (0, 1))
            cells += [f"{old:.2f}", f"{new:.2f}", f"{old / new:.1f}×"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def networks(rounds: int) -> None:
    """Microseconds per gradient. XLA's functions come as a user's own, which are not replaced by ours."""
    print("\nloss and gradient of an mlp, squared loss, µs\n")
    print(
        "| network | samples | activation | XLA's | ours | ratio | identity |\n|---|---|---|---|---|---|---|"
    )
    for widths, samples in NETWORKS.items():
        identity = race({"identity": (gradient, posed(widths, Activation("identity")))}, rounds)["identity"]
        for name, (theirs, _) in PAIRS.items():
            runners = {
                "theirs": (gradient, posed(widths, Activation(f"XLA {name}", theirs))),
                "ours": (gradient, posed(widths, Activation(name))),
            }
            old, new = (1e6 * seconds for seconds in race(runners, rounds).values())
            print(
                f"| {widths} | {samples} | {name} | {old:.0f} | {new:.0f} | {old / new:.1f}× | {identity * 1e6:.0f} |",
                flush=True,
            )


def share_of_peak(rounds: int) -> None:
    """The digits network's gradient against the product of two 1024 × 1024 matrices."""
    x, y = td.data.digits()
    problem = td.EmpiricalRisk(td.mlp([64, 128, 10], "tanh"), td.cross_entropy, x, y)
    matrix = jnp.asarray(np.random.default_rng(0).normal(size=(1024, 1024)))
    # Forward: two products; backward: dL/dW of both layers, and dL/da of the hidden layer.
    flops = 2 * problem.samples * (2 * 64 * 128 + 3 * 128 * 10)
    runners = {
        "product": (jax.jit(jnp.matmul), (matrix, matrix)),
        "gradient": (gradient, (problem, problem.init(jax.random.key(0)))),
    }
    taken = race(runners, rounds)
    peak, reached = 2 * 1024**3 / taken["product"] / 1e9, flops / taken["gradient"] / 1e9
    print(f"\n{problem.description}\n\n| | µs | GFLOP/s | share |\n|---|---|---|---|")
    print(f"| matrix product, 1024³ | {taken['product'] * 1e6:.0f} | {peak:.1f} | 100 % |")
    print(
        f"| loss and gradient | {taken['gradient'] * 1e6:.0f} | {reached:.1f} | {100 * reached / peak:.0f} % |"
    )


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40, help="timings of each candidate (default 40)")
    rounds = parser.parse_args().rounds
    functions(rounds)
    networks(rounds)
    share_of_peak(rounds)


if __name__ == "__main__":
    main()
