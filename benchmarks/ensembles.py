"""Many tiny networks: `td.flow_ensemble` against a Python loop of CVODE, one solver a member, at equal error."""

import dataclasses
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np

import thetadot as td
from benchmarks import peers
from benchmarks.compare import Ratio, seconds_at
from benchmarks.measure import LONG, Measurement, Store, load_average, version
from benchmarks.methods import PREFIX
from benchmarks.problems import Case, tiny
from benchmarks.references import TIGHT, error

FIRST_KEY = 100
LEVELS = (1e-3, 1e-5, 1e-7)
RTOLS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
QUICK_RTOLS = (1e-4, 1e-7)
OURS, THEIRS = PREFIX + "flow_ensemble", "loop of CVODE dense"
_LOOPED = {method.name: method for method in peers.PEERS}


def loop(cases: list[Case], rtol: float, method: str = "CVODE dense") -> np.ndarray:
    """Paths (R, S, P) by a peer, one solver after another."""
    return np.stack([_LOOPED[method].run(case, rtol)[0] for case in cases])


def ensemble(cases: list[Case], rtol: float) -> np.ndarray:
    """Paths (R, S, P) by thetadot."""
    starts = np.stack([case.posed[1] for case in cases])
    until = td.Until(time=float(cases[0].ts[-1]))
    paths = td.flow_ensemble(
        cases[0].posed[0], starts, until=until, saves=cases[0].ts, rtol=rtol, progress=False
    )
    return np.stack([path.thetas for path in paths])


def members(count: int, end: float | None = None) -> list[Case]:
    """Tiny cases, posed already, that share one problem."""
    first = tiny()
    problem = first.posed[0]
    cases = []
    for member in range(count):
        start = np.array(problem.init(jax.random.key(FIRST_KEY + member)))
        cases.append(
            dataclasses.replace(first, end=end or first.end, pose=lambda start=start: (problem, start))
        )
        cases[-1].posed  # noqa: B018 -- poses it now, not while it is timed
    return cases


def timed(run: Callable[[], np.ndarray], repeat: int) -> tuple[np.ndarray, list[float], list[float]]:
    """The result, and wall and processor seconds of each run; one run is enough where it is long."""
    wall, cpu = [], []
    while True:
        began, worked = time.perf_counter(), time.process_time()
        result = run()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - worked)
        if len(wall) >= repeat or wall[-1] > LONG:
            return result, wall, cpu


def measure(store: Store, count: int, quick: bool, repeat: int, say: Callable[[str], None]) -> None:
    """Sweep both over tolerances; the error of an ensemble is the median over its members."""
    cases = members(count, tiny().quick_end if quick else None)
    say(f"ensemble: reference of {count} members by SciPy LSODA …")
    truth = loop(cases, TIGHT["SciPy LSODA"], "SciPy LSODA")
    for name, run, depends_on in ((OURS, ensemble, OURS), (THEIRS, loop, "CVODE dense")):
        fingerprint = version(depends_on)
        for rtol in QUICK_RTOLS if quick else RTOLS:
            if store.find(f"E{count}", name, rtol, fingerprint):
                continue
            load = load_average()
            run(cases[:2], rtol)  # compiles
            paths, wall, cpu = timed(lambda run=run, rtol=rtol: run(cases, rtol), repeat)
            off = statistics.median(error(path, true) for path, true in zip(paths, truth, strict=True))
            row = Measurement(
                f"E{count}", name, rtol, cases[0].end, off, tuple(wall), tuple(cpu), {}, "",
                max(load, load_average()), False, fingerprint,
            )  # fmt: skip
            store.add(row)
            say(f"E{count}  {name:28s} rtol {rtol:.0e}  median error {off:.1e}  {row.seconds:.2f} s")


def compare(store: Store, count: int) -> Ratio:
    """Ours against theirs, level by level."""
    found = store.of(f"E{count}")
    return Ratio(
        {at: (seconds_at(found.get(OURS, []), at), seconds_at(found.get(THEIRS, []), at)) for at in LEVELS},
        False,
    )
