"""Lyapunov exponents and covariant vectors beside other Python libraries, at equal accuracy, and how their cost grows.

Every method runs a case at two lengths: the first call, a warm call of the longer one, and the kernel, which is the
slope in the number of steps. Beside times stands the distance of the exponents from a reference: of chaotic systems a
ten times longer run; of a descent, which is a transient, our own run with a QR decomposition at every step. One XLA
thread. Peers that are not installed are named and left out (`pip install -e '.[bench]'`).

    python -m benchmarks.stability [--quick] [--picture stability.png] [--growth growth.png]
"""

import argparse
import importlib
import os
import time
from collections.abc import Callable
from typing import Any

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"

import numpy as np

from benchmarks import stability_cases as systems
from benchmarks import stability_growth as growth
from thetadot.stability import covariant_vectors

PEERS = ("lyapax", "lyapynov", "clvlib", "pynamicalsys")


def available() -> dict[str, Any]:
    """The peers that can be imported; the others are named."""
    found = {}
    for name in PEERS:
        try:
            found[name] = importlib.import_module(name)
        except Exception as error:
            print(f"{name} is left out: {type(error).__name__}: {error}")
    return found


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


def vectors(peers: dict[str, Any], name: str, steps: int) -> None:
    """Covariant vectors, all of them, of a Runge–Kutta map."""
    small, past = name == "Lorenz-63", steps // 10
    start = systems.START if small else systems.RING_START
    system = systems.LORENZ_MAP if small else systems.RING_MAP
    field = systems.lorenz_numpy if small else systems.ring_numpy
    jacobian = systems.lorenz_jacobian if small else systems.ring_jacobian
    options = {"transient": past, "window": steps, "tail": past, "residual_samples": 0}
    methods: dict[str, Callable] = {
        "thetadot (with angles, in checkpointed stretches)": lambda: covariant_vectors(
            system, start, **options
        )
    }
    if "lyapynov" in peers:
        module = peers["lyapynov"]
        methods["lyapynov"] = lambda: module.CLV(
            module.ContinuousDS(start, 0.0, field, jacobian, systems.STEP),
            start.size,
            0,
            past,
            steps,
            past,
            False,
        )
    if "clvlib" in peers:
        times = systems.STEP * np.arange(steps + 2 * past + 1)
        methods["clvlib"] = lambda: peers["clvlib"].lyap_analysis_from_ic(
            lambda t, x: field(x), lambda t, x: jacobian(x), start, times
        )
    if "pynamicalsys" in peers:
        compiled = (systems.compiled_lorenz if small else systems.compiled_ring)(peers["pynamicalsys"])
        lengths = {
            "warmup_time": systems.STEP * past,
            "tail_time": systems.STEP * past,
            "qr_time_step": systems.STEP,
        }
        parameters = [10.0, 28.0, 8 / 3] if small else [systems.FORCING]
        methods["pynamicalsys"] = lambda: compiled.CLV(
            start, systems.STEP * (steps + 2 * past), parameters=parameters, **lengths
        )
    print(f"\n| covariant vectors, {name}, {steps} steps | first call s | warm call s | slower than ours |")
    print("|---|---|---|---|")
    ours = None
    for method_name, method in methods.items():
        seconds = []
        try:
            for _ in range(2):
                began = time.perf_counter()
                method()
                seconds.append(time.perf_counter() - began)
        except Exception as error:
            print(f"| {method_name} | could not run: {_words(error)} | | |")
            continue
        ours = seconds[1] if ours is None else ours
        print(
            f"| {method_name} | {seconds[0]:.3g} | {seconds[1]:.3g} | {seconds[1] / ours:.2g} |", flush=True
        )


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).replace(chr(10), ' ')[:80]}"


def main() -> None:
    """Run every case and print one Markdown table; draw it if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="short runs and small networks")
    parser.add_argument("--picture", help="file for a bar chart of kernel times")
    parser.add_argument("--growth", help="file for the curves of growing cost")
    options = parser.parse_args()
    peers = available()
    head = "| case | method | first call s | warm call s | kernel µs/step | away from reference | slower than ours |"
    print(head + "\n|" + "---|" * 7)
    drawn: dict[str, dict[str, float]] = {}
    for case, (steps, methods) in systems.cases(peers, options.quick).items():
        reference = np.sort(methods["thetadot, every 1"](10 * steps if "Lorenz" in case else steps))[::-1]
        kernel_of_ours = None
        for name, run in methods.items():
            try:
                first, warm, kernel, found = timed(run, steps)
            except Exception as error:
                print(f"| {case} | {name} | could not run: {_words(error)} | | | | |", flush=True)
                continue
            kernel_of_ours = kernel if kernel_of_ours is None else kernel_of_ours
            away = float(np.max(np.abs(np.sort(found)[::-1] - reference)))
            drawn.setdefault(case, {})[name] = kernel
            ratio = kernel / kernel_of_ours
            print(
                f"| {case} | {name} | {first:.3g} | {warm:.3g} | {1e6 * kernel:.3g} | {away:.1e} | {ratio:.2g} |",
                flush=True,
            )
    vectors(peers, "Lorenz-63", 4000 if options.quick else 24_000)
    vectors(peers, "Lorenz-96", 500 if options.quick else 4000)
    rows = growth.report(options.quick)
    if options.picture:
        picture(drawn, options.picture)
    if options.growth:
        growth.picture(rows, options.growth)


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
