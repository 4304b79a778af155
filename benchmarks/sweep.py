"""What a sweep costs besides its computing, and how it grows with tasks and workers.

Measured: seconds a task of next to nothing takes in a worker (reading, checking, storing with its fsyncs), what the
client and the scheduler take for it, how long planning and the table of n tasks take, and the throughput of tasks of
about one second on one and two workers of this machine. Modelled from these, beyond: the time of N tasks of c seconds
on W workers is

    T = start + max(N (c + o) / W, N s),    rate = N / T,

with o the overhead of a task in its worker and s the seconds that client and scheduler need for each, one after
another. Assumed: workers do not disturb each other (one core each, a file system that keeps up with W·(commits a
second) fsyncs), all tasks take c, and they are many for each worker.

    python -m benchmarks.sweep [--tasks 48] [--quick]
"""

import argparse
import json
import os
import pathlib
import statistics
import tempfile
import time
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import thetadot as td
from thetadot.dynamics import Processes
from thetadot.dynamics.canvas import dress, set_scale
from thetadot.dynamics.palette import RULES
from thetadot.studies import Study, cluster
from thetadot.studies.sweep_plan import make_plan
from thetadot.studies.sweep_session import run_sweep

# The other benchmarks run on one core, and their package sees to it; workers, which import this too, need all.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
HERE = pathlib.Path(__file__).parent
RESULTS, FIGURE = HERE / "results" / "sweep.json", HERE.parent / "docs" / "images" / "sweep_growth.png"
STEPS_OF_A_SECOND = 1_200_000


def study(members: int, steps: int, points: int = 1) -> Study:
    """Gradient descent of a tiny linear network."""
    swept = {"sweep": {"init.scale": np.linspace(0.1, 1.0, points).tolist()}} if points > 1 else {}
    return Study(
        name="cost",
        problem={
            "kind": "empirical",
            "network": {"kind": "linear", "widths": [3, 2, 1]},
            "data": {"kind": "teacher_student", "samples": 12, "dimension": 3, "seed": 0},
            "loss": "squared",
        },
        init={"members": members},
        rule={"kind": "gradient_descent", "learning_rate": 0.01, "steps": steps},
        **swept,
    )


def nothing(_: int) -> None:
    """A piece of no work."""


def executors(workers: int) -> dict[str, Any]:
    """{name: a context that gives an executor}."""
    import contextlib

    return {
        "processes": contextlib.nullcontext(Processes(workers)),
        "Dask": cluster.executor_for(workers=workers),
    }


def throughput(tasks: int, steps: int, workers: int, how: str) -> dict[str, float]:
    """Seconds of a sweep after its first tasks (start-up and compiling), and what each task took in its worker."""
    with tempfile.TemporaryDirectory() as place, executors(workers)[how] as executor:
        warm = 2 * workers
        ended = run_sweep(study(warm + tasks, steps), place, lambda: executor, progress=False)
        runs = [ended.sweep.run(index) for index in range(len(ended.sweep))]
        events = sorted(_ended(run) for run in runs)
        computing = statistics.median(run.table()[0].seconds for run in runs[warm:])
        took = events[-1] - events[warm - 1]
        overhead = took * workers / tasks - computing
        return {"rate": tasks / took, "computing": computing, "workers": workers, "how": how, "overhead": overhead,
                "first": ended.seconds - took}  # fmt: skip


def _ended(run: Any) -> float:
    import datetime

    last = json.loads((run.directory / "log.jsonl").read_text().splitlines()[-1])
    return datetime.datetime.fromisoformat(last["at"]).timestamp()


def serial_part(tasks: int) -> dict[str, float]:
    """Seconds that client and scheduler take for each piece of no work."""
    found = {}
    for how, context in executors(2).items():
        with context as executor:
            pieces = executor.run(nothing, [(0,)] * (tasks + 20))
            for _ in range(20):  # until workers have started
                next(pieces)
            began = time.perf_counter()
            amount = sum(1 for _ in pieces)
            found[how] = (time.perf_counter() - began) / amount
    return found


def planning(points: list[int]) -> list[dict[str, float]]:
    """Seconds of a plan and of a table, without runs, for more and more points."""
    import xarray  # noqa: F401  (not to be measured)

    found = []
    make_plan(study(10, 5, 2))
    for number in points:
        began = time.perf_counter()
        plan = make_plan(study(10, 5, number))
        planned = time.perf_counter() - began
        with tempfile.TemporaryDirectory() as name:
            from thetadot.studies.sweep_plan import write_plan

            place = pathlib.Path(name)
            write_plan(place, plan)
            began = time.perf_counter()
            assert td.open_sweep(place).table.sizes["member"] == 10
            found.append({"tasks": len(plan), "plan": planned, "table": time.perf_counter() - began,
                          "bytes": (place / "sweep.json").stat().st_size})  # fmt: skip
    return found


def rate(tasks: float, compute: float, workers: float, overhead: float, serial: float, start: float) -> float:
    """Tasks a second, by the model."""
    return tasks / (start + max(tasks * (compute + overhead) / workers, tasks * serial))


def draw(found: dict[str, Any]) -> None:
    """Throughput against workers, measured and modelled; the client's seconds against tasks."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    dask = [one for one in found["throughput"] if one["how"] == "Dask"]
    overhead = statistics.median(one["overhead"] for one in dask)
    start = statistics.median(one["first"] for one in dask)
    workers = np.geomspace(1, 1000, 60)
    for colour, compute in zip(RULES, (1.0, 10.0, 100.0), strict=False):
        rates = [rate(1e5, compute, w, overhead, found["serial"]["Dask"], start) for w in workers]
        left.plot(workers, rates, color=colour, label=f"model, tasks of {compute:g} s")
    measured = [one for one in dask if one["computing"] > 0.2]
    left.plot([one["workers"] for one in measured], [one["rate"] for one in measured], "o", color=RULES[0],
              label=f"measured, tasks of {measured[0]['computing']:.1f} s")  # fmt: skip
    left.axhline(
        1 / found["serial"]["Dask"], color=RULES[5], linestyle=":", label="limit of client and scheduler"
    )
    left.set(xlabel="workers (one core each)", ylabel="tasks a second")
    tasks = [one["tasks"] for one in found["planning"]]
    for colour, name, text in (
        (RULES[0], "plan", "planning and checking"),
        (RULES[1], "table", "table, before any run"),
    ):
        right.plot(tasks, [one[name] for one in found["planning"]], "o-", color=colour, label=text)
    right.set(xlabel="tasks of the sweep", ylabel="seconds of the client")
    for axes in (left, right):
        set_scale(axes, "x", True)
        set_scale(axes, "y", True)
        dress(axes)
        axes.legend(fontsize="small")
    figure.savefig(FIGURE, dpi=110)


def main() -> None:
    """Measure, print, write the results and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=48)
    parser.add_argument("--quick", action="store_true", help="a few small sizes")
    given = parser.parse_args()
    tasks = 8 if given.quick else given.tasks
    found: dict[str, Any] = {"throughput": [], "serial": serial_part(200 if given.quick else 2000)}
    print("| tasks of | on | tasks a second | computing | overhead in the worker | until the first are done |\n"
          "|---|---|---|---|---|---|")  # fmt: skip
    for steps, amount in ((5, tasks), (STEPS_OF_A_SECOND, max(4, tasks // 2))):
        for how in ("processes", "Dask"):
            for workers in (1, 2):
                one = throughput(amount, steps, workers, how)
                found["throughput"].append(one)
                print(f"| {steps} steps | {workers} {how} | {one['rate']:.2f} | {one['computing']:.3f} s | "
                      f"{1e3 * one['overhead']:.0f} ms | {one['first']:.1f} s |", flush=True)  # fmt: skip
    for how, seconds in found["serial"].items():
        print(f"client and scheduler, {how}: {1e3 * seconds:.2f} ms a task")
    found["planning"] = planning([10, 100] if given.quick else [10, 100, 1000, 10000])
    for one in found["planning"]:
        print(f"{one['tasks']} tasks: planned in {one['plan']:.2f} s, table in {one['table']:.2f} s, "
              f"sweep.json {one['bytes'] / 1e6:.2f} MB")  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=1))
    draw(found)
    print(f"written: {RESULTS}, {FIGURE}")


if __name__ == "__main__":
    main()
