"""Measure where each of our solvers wins, and write the thresholds of the automatic choice.

    python -m benchmarks.calibrate [src/thetadot/dynamics/solver_choice.json] [--largest 1537] [--quick]

One family of problems (tanh teacher–student in ten dimensions, 1000 samples, to t = 1000) with 25 to 12289 parameters.
At every size each solver runs at several tolerances; the winner at an error is the one that reaches it in the least
time. A threshold lies between the last size at which a solver wins and the next one measured.
"""

import argparse
import json
import math
import pathlib
from collections.abc import Callable, Sequence

from benchmarks import ours
from benchmarks.compare import seconds_at
from benchmarks.measure import Store, machine, sweep
from benchmarks.methods import PREFIX
from benchmarks.problems import FAMILY, Case
from benchmarks.references import reference
from benchmarks.worker import Worker, find_case

SOLVERS = ("NDF", "NDF-cg", "RKC2", "RadauIIA", "ExponentialRosenbrock", "Tsit5", "Dopri8", "Kvaerno5")
LEVELS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
RTOLS = tuple(10.0**-k for k in range(3, 12))
QUICK_RTOLS = (1e-4, 1e-6, 1e-8)
SOME, MOST = 0.0, 0.5  # more than this share of the errors
CLOSE = 1.1  # a solver this near to the best counts as winning: noise decides between them
CHOICE = pathlib.Path(__file__).parent.parent / "src" / "thetadot" / "dynamics" / "solver_choice.json"
KEPT = pathlib.Path(__file__).parent / "results" / "calibration.json"

Seconds = dict[int, dict[float, dict[str, float]]]
"""{parameters: {error: {solver: seconds}}}, without those that did not reach the error."""


def seconds_table(store: Store, cases: Sequence[Case], solvers: Sequence[str]) -> Seconds:
    """Seconds of every solver at every size and error."""
    table: Seconds = {}
    for case in cases:
        found = store.of(case.name)
        table[case.posed[1].size] = {
            level: {
                solver: round(took, 6)
                for solver in solvers
                if not math.isnan(took := seconds_at(found.get(PREFIX + solver, []), level))
            }
            for level in LEVELS
        }
    return table


def winners(table: Seconds) -> dict[float, dict[int, str]]:
    """{error: {parameters: fastest solver}}."""
    return {
        level: {
            size: min(times, key=lambda s: times[s]) for size, rows in table.items() if (times := rows[level])
        }
        for level in LEVELS
    }


def last_size(table: Seconds, wins: Callable[[dict[str, float]], bool | None], share: float) -> int | None:
    """The size up to which `wins` holds at more than this share of the errors; None if it never does.

    It is the geometric mean of the last size where it holds and the next one measured, or the last size itself
    where nothing larger was measured. `wins` is None where it cannot be told.
    """
    told = {
        size: [won for times in rows.values() if (won := wins(times)) is not None]
        for size, rows in table.items()
    }
    sizes = sorted(size for size, answers in told.items() if answers)
    last = max((size for size in sizes if sum(told[size]) > share * len(told[size])), default=None)
    beyond = [size for size in sizes if last is not None and size > last]
    return round(math.sqrt(last * beyond[0])) if last is not None and beyond else last


def _beats(solver: str, rivals: Sequence[str] | None = None) -> Callable[[dict[str, float]], bool | None]:
    """Whether a solver is about the fastest of its rivals (None: of all) where both reached the error."""

    def wins(times: dict[str, float]) -> bool | None:
        others = [t for name, t in times.items() if name != solver and (rivals is None or name in rivals)]
        return None if solver not in times or not others else times[solver] <= CLOSE * min(others)

    return wins


def thresholds(table: Seconds) -> dict[str, int | float | None]:
    """The numbers that the automatic choice reads; None where the solvers that decide it were not measured."""
    stabilised = [
        level for level in LEVELS for rows in table.values() if _beats("RKC2", ("NDF-cg",))(rows[level])
    ]
    return {
        "cholesky_max_size": last_size(table, _beats("NDF", ("NDF-cg",)), MOST),
        "radau_max_size": last_size(table, _beats("RadauIIA"), SOME),
        "exponential_max_size": last_size(table, _beats("ExponentialRosenbrock"), SOME),
        "cg_max_size": last_size(table, _beats("NDF-cg", ("RKC2",)), MOST),
        "rkc2_min_error": min(stabilised, default=None),
    }


RULES = {
    "cholesky_max_size": "stiff: NDF with Cholesky up to this many parameters, NDF with conjugate gradients above",
    "radau_max_size": "stiff: RadauIIA up to this many parameters, at the errors where `winners` has it",
    "exponential_max_size": "stiff: ExponentialRosenbrock up to this many, at the errors where `winners` has it",
    "cg_max_size": "NDF with conjugate gradients beats RKC2 at most errors up to this many parameters",
    "rkc2_min_error": "the smallest error at which RKC2 beats NDF with conjugate gradients at some size",
}


def main() -> None:
    """Measure what is missing and write the file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibrate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", type=pathlib.Path, default=CHOICE, help="where the thresholds go")
    parser.add_argument("--solvers", default=",".join(SOLVERS), help="our solvers; unknown ones are skipped")
    parser.add_argument("--largest", type=int, default=1600, help="most parameters (default 1600)")
    parser.add_argument("--quick", action="store_true", help="to t = 10 and at three tolerances")
    parser.add_argument(
        "--cap", type=float, default=30.0, help="seconds after which a run is stopped (default 30)"
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs of which the median counts (default 3)")
    parser.add_argument("--anew", action="store_true", help="measure again what is already measured")
    parser.add_argument("--measurements", type=pathlib.Path, default=KEPT, help="where measurements are kept")
    wanted = parser.parse_args()
    methods, strange = ours.methods(tuple(wanted.solvers.split(",")))
    for name in strange:
        print(f"skipped: this version has no solver {name}")
    kept = (
        wanted.measurements.with_stem(wanted.measurements.stem + "_quick")
        if wanted.quick
        else wanted.measurements
    )
    store, worker = Store(kept, wanted.anew), Worker()
    cases = [find_case(c.name, wanted.quick) for c in FAMILY if c.posed[1].size <= wanted.largest]
    try:
        for case in cases:
            reference(case)
            for method in methods:
                rtols = QUICK_RTOLS if wanted.quick else RTOLS
                sweep(
                    worker,
                    store,
                    case,
                    wanted.quick,
                    method,
                    rtols,
                    wanted.cap,
                    wanted.repeat,
                    lambda t: print(t, flush=True),
                )
    finally:
        worker.close()
    table = seconds_table(store, cases, [method.name.removeprefix(PREFIX) for method in methods])
    found = thresholds(table)
    about = {
        "machine": machine(),
        "units": "sizes in parameters, errors relative, times in seconds",
        "family": f"{FAMILY[0].title.rpartition(',')[0]} in ten dimensions, 1000 samples, to t = {cases[0].end:g}",
        "solvers": [method.name.removeprefix(PREFIX) for method in methods],
        **found,
        "rules": RULES,
        "winners": {
            f"{level:.0e}": {str(n): name for n, name in rows.items()}
            for level, rows in winners(table).items()
        },
        "seconds": {
            str(n): {f"{level:.0e}": times for level, times in rows.items()} for n, rows in table.items()
        },
    }
    wanted.file.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    for name, value in found.items():
        print(f"{name} = {value}: {RULES[name]}")


if __name__ == "__main__":
    main()
