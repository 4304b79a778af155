"""How the cost of exponents and covariant vectors grows: with d, k, the number of parameters, blocks, and starts.

Peak memory is that of a process of its own, as the system counts it, less what the same process has before the call.
"""

import concurrent.futures
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import thetadot as td
from benchmarks.stability_cases import network
from thetadot.stability import covariant_vectors, lyapunov, regime_scan

Row = tuple[str, float, dict[str, float]]
LAYERS = {1_000: [16, 40, 8], 10_000: [64, 100, 30, 10], 100_000: [128, 300, 190, 10]}


def _per_step(hidden: int, count: int, steps: int) -> float:
    problem, start = network(hidden)
    system = td.training_map(problem, td.GradientDescent(0.05))
    seconds = []
    for length in (steps, steps, 3 * steps):  # the first one compiles
        began = time.perf_counter()
        lyapunov(system, start, length, count=count, every=10)
        seconds.append(time.perf_counter() - began)
    return max(seconds[2] - seconds[1], 1e-9) / (2 * steps)


def of_size(quick: bool) -> Iterator[Row]:
    """Seconds per step against d at k = 5 and k = d, and against k."""
    for hidden in (10, 30) if quick else (10, 30, 100, 200):
        size = 3 * hidden + 1
        steps = 1000 if hidden <= 30 else 100
        found = {"k = 5": _per_step(hidden, 5, steps), "k = d": _per_step(hidden, size, steps)}
        yield "seconds per step against d", size, found
    hidden = 30 if quick else 100
    for count in (1, 4, 16, 64, 3 * hidden + 1):
        yield (
            f"seconds per step against k, d = {3 * hidden + 1}",
            count,
            {"descent": _per_step(hidden, count, 100)},
        )


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _vectors(parameters: int, count: int, blocks: int, store: str) -> dict[str, float]:
    """Seconds per pushed step of a warm call, and bytes; in a process of its own."""
    widths = LAYERS[parameters]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, widths[0])), rng.normal(size=(64, widths[-1]))
    problem = td.EmpiricalRisk(td.mlp(widths, "tanh"), td.squared, x, y)
    system, theta = td.training_map(problem, td.GradientDescent(0.05)), problem.init(jax.random.key(0))
    options = {"count": count, "transient": 10, "window": blocks, "tail": 10, "residual_samples": 0}
    with tempfile.TemporaryDirectory() as folder:
        before = _peak()
        seconds = []
        for call in range(2):
            place = {"directory": f"{folder}/{call}"} if store == "disk" else {}
            began = time.perf_counter()
            found = covariant_vectors(system, theta, store=store, **options, **place)
            seconds.append(time.perf_counter() - began)
    twice = 1 if store in ("memory", "coefficients") else 2
    pushed = 10 + twice * (blocks + 10)
    return {"seconds per step": seconds[1] / pushed, "peak bytes": _peak() - before, "predicted": found.bytes}


def _alone(*settings: Any) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_vectors, *settings).result()


def of_vectors(quick: bool) -> Iterator[Row]:
    """Covariant vectors against P, and for the four stores against the number of blocks."""
    for parameters in (1_000, 10_000) if quick else tuple(LAYERS):
        for count in (4, 10):
            found = _alone(parameters, count, 60, "segments")
            yield f"covariant vectors against P, k = {count}, B = 60", parameters, found
    for store in ("memory", "segments", "disk", "coefficients"):
        for blocks in (60, 240) if quick else (100, 400, 1600):
            yield (
                f"covariant vectors against B, {store}, P = 10⁴, k = 10",
                blocks,
                _alone(10_000, 10, blocks, store),
            )


def of_starts(quick: bool) -> Iterator[Row]:
    """Steps per second of a regime scan against the number of starts."""

    def double_well(rate: Any) -> td.StepMap:
        return td.StepMap(lambda x, n, aux: x - aux[0] * (x**3 - x), jnp.reshape(rate, (1, 1)))

    values = np.linspace(0.9, 1.9, 10)
    for starts in (1, 10, 100) if quick else (1, 10, 100, 1000):
        states = np.random.default_rng(0).uniform(-0.9, 0.9, (starts, 1))
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            regime_scan(double_well, values, states, transient=2000, duration=2000)
            seconds.append(time.perf_counter() - began)
        yield "regime scan against R, 10 rates", starts, {"steps per second": 4000 * 10 * starts / seconds[1]}


def report(quick: bool) -> list[Row]:
    """Run all of it; print one line per row."""
    rows: list[Row] = []
    print("\n| growth | at | measured |\n|---|---|---|")
    for part in (of_size, of_vectors, of_starts):
        for row in part(quick):
            text = ", ".join(f"{name} {value:.3g}" for name, value in row[2].items())
            print(f"| {row[0]} | {row[1]:g} | {text} |", flush=True)
            rows.append(row)
    return rows


def picture(rows: list[Row], file: str) -> None:
    """One panel per kind of growth, on logarithmic axes."""
    from matplotlib.figure import Figure

    panels: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = {}
    for title, at, found in rows:
        kind, _, line = title.partition(", ")
        for name, value in found.items():
            unit = {"seconds per step": name, "steps per second": name}.get(name, "bytes")
            unit = "seconds per step" if kind.startswith("seconds") else unit
            label = ", ".join(part for part in (line, name if unit != name else "") if part)
            panels.setdefault((kind, unit), {}).setdefault(label, []).append((at, value))
    figure = Figure(figsize=(11, 3.2 * -(-len(panels) // 2)), layout="constrained")
    axes = figure.subplots(-(-len(panels) // 2), 2, squeeze=False).ravel()
    for single in axes[len(panels) :]:
        single.remove()
    for single, ((kind, unit), lines) in zip(axes, panels.items(), strict=False):
        for label, points in lines.items():
            single.loglog(*zip(*points, strict=True), marker="o", markersize=4, label=label)
        single.set_title(kind, fontsize=10)
        single.set_xlabel(kind.rpartition(" ")[2])
        single.set_ylabel(unit)
        single.legend(frameon=False, fontsize=7)
    figure.savefig(file, dpi=150)
