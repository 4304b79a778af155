"""How cost grows: with the number of parameters, of samples, and of members of an ensemble."""

import contextlib
import json
import math
import pathlib
from collections.abc import Callable

import jax
import numpy as np

import thetadot as td
from benchmarks import ensembles
from benchmarks.gemm import seconds_each
from benchmarks.methods import Derivatives, RunFailedError
from benchmarks.problems import Case

DIMENSION = 10
END = 30.0
RTOL = 1e-5
LARGEST_HESSIAN = 1600
CAP = 60.0  # seconds; a curve ends where its next point would take longer, and a flow is stopped after twice that
LABELS = {
    "n": "parameters n (N = 1000 samples)",
    "N": "samples N (n = 313 parameters)",
    "members": "members (2-4-1 tanh, 20 samples, t = 1000)",
}


def _case(width: int, samples: int) -> Case:
    def pose():
        data = td.data.teacher_student(jax.random.key(0), samples=samples, dimension=DIMENSION, width=5)
        problem = td.EmpiricalRisk(td.mlp([DIMENSION, width, 1], "tanh"), td.squared, data[0], data[1])
        return problem, problem.init(jax.random.key(1))

    return Case(f"w{width}N{samples}", "", "", pose, END, END, ("", ""))


def _quantities(case: Case) -> dict[str, Callable[[], object]]:
    problem, theta0 = case.posed
    own = Derivatives(case)
    apply = own.linearise(theta0)

    def whole() -> object:
        until = td.Until(time=END)
        path = td.flow(problem, theta0, until=until, saves=case.ts, rtol=RTOL, budget=2 * CAP, progress=False)
        if path.outcome is not td.Outcome.REACHED_TIME:
            raise RunFailedError(path.outcome.name)
        return path

    found: dict[str, Callable[[], object]] = {
        "gradient": lambda: own.field(theta0),
        "Hessian-vector product": lambda: apply(theta0),
        f"flow to t = {END:g}, rtol {RTOL:.0e}": whole,
    }
    if theta0.size <= LARGEST_HESSIAN:
        found["Hessian"] = lambda: own.jacobian(theta0)
    return found


def _along(sizes: list[tuple[float, Case]], say: Callable[[str], None]) -> dict[str, dict[float, float]]:
    curves: dict[str, dict[float, float]] = {}
    for size, case in sizes:
        for quantity, run in _quantities(case).items():
            points = curves.setdefault(quantity, {})
            if points and max(points.values()) * size / max(points) > CAP:
                continue
            with contextlib.suppress(RunFailedError):
                points[size] = seconds_each(run, at_least=0.1)
        say(f"growth: {size:g} done")
    return curves


def measure(
    file: pathlib.Path, quick: bool, anew: bool, say: Callable[[str], None]
) -> dict[str, dict[str, dict[float, float]]]:
    """{direction: {quantity: {size: processor seconds}}}; each direction is kept in the file when done."""
    held = json.loads(file.read_text()) if file.exists() and not anew else {}
    curves = {d: {q: {float(s): t for s, t in p.items()} for q, p in c.items()} for d, c in held.items()}
    top = 2 if quick else 5
    directions: dict[str, Callable[[], dict[str, dict[float, float]]]] = {
        "n": lambda: _along([(12.0 * w + 1, _case(w, 1000)) for w in _spread(8, 10 ** (top + 1) // 12)], say),
        "N": lambda: _along(
            [(float(n), _case(26, n)) for n in _spread(100, 10**top if top > 2 else 1000)], say
        ),
        "members": lambda: _members([1, 4, 16] if quick else [1, 4, 16, 64, 256, 1024], say),
    }
    for direction, run in directions.items():
        if direction not in curves:
            curves[direction] = run()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(curves, indent=1))
    return curves


def _spread(low: int, high: int) -> list[int]:
    """Whole numbers from low to high, about two a decade."""
    count = max(round(2 * math.log10(high / low)) + 1, 2)
    return [round(size) for size in np.geomspace(low, high, count)]


def _members(counts: list[int], say: Callable[[str], None]) -> dict[str, dict[float, float]]:
    curves: dict[str, dict[float, float]] = {"flow_ensemble": {}, "loop of CVODE dense": {}}
    for count in counts:
        cases = ensembles.members(count)
        for quantity, run in (("flow_ensemble", ensembles.ensemble), ("loop of CVODE dense", ensembles.loop)):
            run(cases[:2], 1e-6)
            _, _, cpu = ensembles.timed(lambda run=run, cases=cases: run(cases, 1e-6), 3)
            curves[quantity][float(count)] = sorted(cpu)[len(cpu) // 2]
        say(f"growth: {count} members done")
    return curves
