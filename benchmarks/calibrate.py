"""Measure where each of our solvers wins, and write the thresholds of the automatic choice.

    python -m benchmarks.calibrate [src/thetadot/dynamics/solver_choice.json] [--largest 1537] [--quick]

One family of problems (tanh teacher–student in ten dimensions, 1000 samples, to t = 1000) with 25 to 12289 parameters.
At every size each solver runs at several tolerances; the winner at an error is the one that reaches it in the least
time. A threshold lies between the last size at which a solver wins and the next one measured. A file that is there
already keeps the thresholds that are not measured here.
"""

import argparse
import json
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import ours
from benchmarks.compare import seconds_at
from benchmarks.measure import Store, machine, sweep
from benchmarks.methods import PREFIX
from benchmarks.problems import FAMILY, Case
from benchmarks.references import reference
from benchmarks.worker import Worker, find_case

ONE_STEP = ("RadauIIA(3)", "RadauIIA(5)", "RadauIIA(7)", "ExponentialRosenbrock")
STIFF = ("NDF", "NDF-cg", "RKC2", *ONE_STEP)
SOLVERS = (*STIFF, "Tsit5", "Dopri8", "Kvaerno5")
LEVELS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
RTOLS = tuple(10.0**-k for k in range(3, 12))
QUICK_RTOLS = (1e-4, 1e-6, 1e-8)
NOT_MEASURED = (
    "lu_max_size",
    "dopri8_below_rtol",
    "stiff_start",
    "hand_back_above_rtol",
)  # kept as the file has them
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


def last_size(table: Seconds, wins: Callable[[dict[str, float]], bool | None]) -> tuple[int, bool]:
    """The size up to which `wins` holds at most errors, and whether a larger one was measured.

    The size is the geometric mean of the last one where it holds and the next one measured, or the last itself where
    nothing larger was measured; 0 if it never holds. `wins` is None where it cannot be told.
    """
    told = {
        size: [won for times in rows.values() if (won := wins(times)) is not None]
        for size, rows in table.items()
    }
    sizes = sorted(size for size, answers in told.items() if answers)
    last = max((size for size in sizes if 2 * sum(told[size]) > len(told[size])), default=0)
    beyond = [size for size in sizes if size > last]
    return (round(math.sqrt(last * beyond[0])) if last and beyond else last), bool(beyond)


def _beats(solver: str, rival: str) -> Callable[[dict[str, float]], bool | None]:
    """Whether a solver is not slower than a rival, where both reached the error."""
    return lambda times: times[solver] <= times[rival] if solver in times and rival in times else None


def _half_a_decade(level: float, sign: int) -> float:
    return float(f"{level * 10.0 ** (sign / 2):.3g}")


def small_rules(table: Seconds) -> list[dict[str, Any]]:
    """Where a one-step method beats NDF and RKC2: solver, largest size, and the range of wanted errors.

    A level stands for the errors within half a decade of it, the last level for all below.
    """
    rules: list[dict[str, Any]] = []
    for level in LEVELS:
        best: dict[int, str] = {}
        for size, rows in table.items():
            times = {name: t for name, t in rows[level].items() if name in STIFF}
            if times:
                best[size] = min(times, key=lambda name: times[name])
        low = 0.0 if level == LEVELS[-1] else _half_a_decade(level, -1)
        for solver in ONE_STEP:
            last = max((size for size, name in best.items() if name == solver), default=0)
            if not last:
                continue
            beyond = [size for size in best if size > last]
            size = round(math.sqrt(last * min(beyond))) if beyond else last
            rule = {
                "solver": solver,
                "max_size": size,
                "min_error": low,
                "below_error": _half_a_decade(level, 1),
            }
            before = next((r for r in reversed(rules) if r["solver"] == solver), None)
            if before and before["max_size"] == size and before["min_error"] == rule["below_error"]:
                before["min_error"] = low
            else:
                rules.append(rule)
    return sorted(rules, key=lambda rule: rule["max_size"])


def thresholds(table: Seconds) -> dict[str, Any]:
    """The numbers that the automatic choice reads."""
    cg, beaten = last_size(table, _beats("NDF-cg", "RKC2"))
    stabilised = [
        level for level in LEVELS for rows in table.values() if _beats("RKC2", "NDF-cg")(rows[level])
    ]  # fmt: skip
    return {
        "cholesky_max_size": last_size(table, _beats("NDF", "NDF-cg"))[0],
        "cg_max_size": cg if beaten else None,
        "rkc2_min_error": min(stabilised) if stabilised and beaten else None,
        "small": small_rules(table),
    }


RULES = {
    "small": "stiff: the first rule whose max_size and range of wanted errors fit names the solver; else",
    "cholesky_max_size": "NDF with Cholesky up to this many parameters (not slower at most errors); else",
    "cg_max_size": "NDF with conjugate gradients up to this many, or always where null; else",
    "rkc2_min_error": "RKC2 for wanted errors from this on, NDF with conjugate gradients below",
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
    if not {"NDF", "NDF-cg"} <= {method.name.removeprefix(PREFIX) for method in methods}:
        parser.error("the thresholds compare NDF with NDF-cg: both must be among the solvers and known")
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
    before = json.loads(wanted.file.read_text()) if wanted.file.exists() else {}
    kept_as_is = {name: before[name] for name in NOT_MEASURED if name in before}
    about = {
        "machine": machine(),
        "units": "sizes in parameters, errors relative, times in seconds",
        "family": f"{FAMILY[0].title.rpartition(',')[0]} in ten dimensions, 1000 samples, to t = {cases[0].end:g}",
        "solvers": [method.name.removeprefix(PREFIX) for method in methods],
        **found,
        **kept_as_is,
        "not measured here": list(kept_as_is),
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
    for name, rule in RULES.items():
        print(f"{name} = {found[name]}: {rule}")


if __name__ == "__main__":
    main()
