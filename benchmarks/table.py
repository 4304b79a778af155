"""The Markdown tables: what was wanted, what was measured, and everything behind it."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence

from benchmarks.compare import LEVELS, Ratio, ratio, seconds_at
from benchmarks.measure import Measurement, Store, machine
from benchmarks.methods import PREFIX
from benchmarks.problems import Case

AUTO = PREFIX + "auto"
STIFF = ("CVODE dense", "CVODE GMRES", "SciPy LSODA")
SLOWER_THAN_BEST = 1.5  # the automatic choice may not be slower than this times the best single solver


@dataclasses.dataclass(frozen=True)
class Aim:
    """A row of the specification: we want to be `wanted` times faster than the best of `peers` on a case."""

    text: str
    case: str
    peers: tuple[str, ...]
    wanted: float


AIMS = (
    Aim("P1 against the best of CVODE and LSODA", "P1", STIFF, 3.0),
    Aim("P2 against the best of CVODE and LSODA", "P2", STIFF, 2.0),
    Aim("P3 against the best of CVODE and LSODA", "P3", STIFF, 2.0),
    Aim("P4 against the best of CVODE and LSODA", "P4", STIFF, 3.0),
    Aim("P1 to t = 10³ against torchdiffeq dopri5", "P1e3", ("torchdiffeq dopri5",), 70.0),
    Aim("P4 against torchdiffeq dopri5", "P4", ("torchdiffeq dopri5",), 300.0),
    Aim("P1 against diffrax Kvaerno5", "P1", ("diffrax Kvaerno5",), 20.0),
    Aim("P1 against diffrax Kvaerno5 given our Hessian", "P1", ("diffrax Kvaerno5 + our Hessian",), math.nan),
    Aim("P3 against diffrax Tsit5", "P3", ("diffrax Tsit5",), 7.0),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the first table, as text."""

    text: str
    wanted: str
    auto: str
    best: str
    verdict: str


def singles(found: dict[str, list[Measurement]]) -> list[str]:
    """Our own single solvers that were measured on a case; CVODE run by us is not our own."""
    return [name for name in found if name.startswith(PREFIX) and name != AUTO and "CVODE" not in name]


def aim_row(store: Store, aim: Aim) -> Row:
    """What was measured of an aim."""
    found = store.of(aim.case)
    auto = ratio(found, (AUTO,), aim.peers)
    each = {name: ratio(found, (name,), aim.peers) for name in singles(found)}
    reached = {name: r for name, r in each.items() if not math.isnan(r.median)}
    name = max(reached, key=lambda name: reached[name].median, default="")
    best = f"{name.removeprefix(PREFIX)}: {reached[name]}" if name else "not comparable"
    return Row(aim.text, _wanted(aim.wanted), str(auto), best, _verdict(aim.wanted, auto, reached.get(name)))


def _wanted(wanted: float) -> str:
    return "–" if math.isnan(wanted) else f"≥ {wanted:g}×"


def _verdict(wanted: float, auto: Ratio, best: Ratio | None) -> str:
    if math.isnan(wanted):
        return "–"
    if auto.median >= wanted:
        return "held"
    if best is not None and best.median >= wanted:
        return "held by the best solver, not by the automatic choice"
    if any(r is not None and r.lower_bound for r in (auto, best)):
        return "open: the peer was stopped before it arrived"
    return "not comparable" if math.isnan(auto.median) and best is None else "no"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def wanted_and_measured(store: Store, further: Sequence[Row]) -> str:
    """The table of the specification; `further` rows are measured elsewhere."""
    measured = [aim_row(store, aim) for aim in AIMS if store.of(aim.case)]
    rows = [dataclasses.astuple(row) for row in (*measured, *further)]
    return markdown(("at equal error", "wanted", "automatic choice", "best single solver", "held?"), rows)


def choice_table(store: Store, cases: Sequence[Case]) -> str:
    """How much slower the automatic choice is than our best single solver, at each error."""
    rows = []
    for case in cases:
        found = store.of(case.name)
        worst, told = 0.0, []
        for level in LEVELS:
            auto = seconds_at(found.get(AUTO, []), level)
            times = {name: seconds_at(found[name], level) for name in singles(found)}
            times = {name: t for name, t in times.items() if not math.isnan(t)}
            if not times:
                told.append("–")
                continue
            best = min(times, key=lambda name: times[name])
            slower = math.inf if math.isnan(auto) else auto / times[best]
            worst = max(worst, slower)
            told.append(
                f"{'not reached' if math.isinf(slower) else f'{slower:.2f}'} ({best.removeprefix(PREFIX)})"
            )
        verdict = "–" if worst == 0.0 else "held" if worst <= SLOWER_THAN_BEST else "no"
        rows.append((f"{case.name} ({case.shows})", *told, verdict))
    return markdown(("case", *(f"{level:.0e}" for level in LEVELS), f"≤ {SLOWER_THAN_BEST}?"), rows)


def equal_error_table(store: Store, case: Case) -> str:
    """Seconds of every method at each error."""
    rows = []
    for name, measured in store.of(case.name).items():
        times = [seconds_at(measured, level) for level in LEVELS]
        troubles = list(dict.fromkeys(row.trouble for row in measured if row.trouble))
        told = ["not reached" if math.isnan(t) else f"{t:.3g}" for t in times]
        rows.append((name, *told, "; ".join(troubles)))
    return markdown(("seconds at error", *(f"{level:.0e}" for level in LEVELS), "troubles"), rows)


def every_run(store: Store, case: Case) -> str:
    """All measurements of a case with their counts."""

    def told(value: int | None) -> str:
        return f"{value:,}" if value else "–"

    names = ("gradients", "hvps", "hessians", "factorisations", "accepted", "rejected")
    rows = [
        (row.method, f"{row.rtol:.0e}", row.trouble, *("–",) * (3 + len(names)))
        if row.trouble
        else (
            row.method, f"{row.rtol:.0e}", f"{row.error:.1e}", _median(row.wall), _median(row.cpu),
            f"{len(row.wall)}" + (", retraced" if row.retraced else ""), *(told(row.counts.get(n)) for n in names),
        )
        for measured in store.of(case.name).values()
        for row in measured
    ]  # fmt: skip
    return markdown(("method", "rtol", "error", "wall s", "CPU s", "runs", *names), rows)


def _median(seconds: Sequence[float]) -> str:
    return f"{sorted(seconds)[len(seconds) // 2]:.3g}"


def report(
    store: Store,
    cases: Sequence[Case],
    told: Callable[[Case], str],
    skipped: Iterable[str],
    further: Sequence[Row],
) -> str:
    """The whole page; `told` says what a case's reference rests on."""
    busy = any(row.busy for row in store.rows.values())
    clock = (
        "processor time where the load average was above 1.5, wall time elsewhere" if busy else "wall time"
    )
    parts = [
        "# Speed of gradient flow\n",
        f"{machine()}. After compilation, median of the runs shown; times are {clock}. Error: max over save times of "
        "‖θ − θ_ref‖/‖θ_ref‖. Ratios compare times at equal error and are medians over the errors shown in brackets.\n",
        wanted_and_measured(store, further),
        *(f"This version has no solver {name}.\n" for name in skipped),
        "## The automatic choice: its time over that of our best single solver, at each error\n",
        choice_table(store, cases),
    ]
    for case in cases:
        parts += [
            f"## {case.name}: {case.title}\n",
            f"t = 0 … {case.end:g}; {case.shows}. Reference: {told(case)}.\n",
            equal_error_table(store, case),
            "<details><summary>every run</summary>\n",
            every_run(store, case),
            "</details>\n",
        ]
    return "\n".join(parts)
