"""Methods at equal error: time as a function of error along each method's best runs."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np

from benchmarks.measure import Measurement

LEVELS = (1e-3, 1e-5, 1e-7, 1e-9)


def best_runs(rows: Sequence[Measurement]) -> list[Measurement]:
    """The runs that no other beats in both error and time, largest error first."""
    usable = sorted((r for r in rows if r.wall and r.error > 0), key=lambda r: (r.seconds, r.error))
    front: list[Measurement] = []
    for row in usable:
        if not front or row.error < front[-1].error:
            front.append(row)
    return front


def seconds_at(rows: Sequence[Measurement], level: float) -> float:
    """Seconds to reach an error: log time interpolated over log error; NaN where the error is not reached.

    A method whose loosest run is better than the level is charged that run: nothing cheaper was measured.
    """
    front = best_runs(rows)
    if not front or front[-1].error > level:
        return math.nan
    # Time rises along the front while the error falls.
    errors = np.log([row.error for row in reversed(front)])
    times = np.log([row.seconds for row in reversed(front)])
    return float(np.exp(np.interp(math.log(level), errors, times)))


def at_least(rows: Sequence[Measurement]) -> float:
    """Seconds after which the runs of a method that never arrived were stopped; NaN if none was."""
    caps = [float(row.trouble.split()[1]) for row in rows if row.trouble.startswith(">")]
    return max(caps, default=math.nan)


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How many times faster one set of methods is than another, at equal error.

    Attributes:
        levels: {error: (seconds of the best of ours, seconds of the best of theirs)}; NaN where not reached.
        lower_bound: theirs was stopped at its cap, so that the ratio is at least this.
    """

    levels: dict[float, tuple[float, float]]
    lower_bound: bool

    @property
    def median(self) -> float:
        """The median over the levels that both reach; NaN if there is none."""
        found = [theirs / ours for ours, theirs in self.levels.values() if ours > 0 and theirs > 0]
        return statistics.median(found) if found else math.nan

    def __str__(self) -> str:
        if math.isnan(self.median):
            return "not comparable"
        each = "; ".join(
            f"{level:.0e}: {theirs / ours:.3g}×"
            for level, (ours, theirs) in self.levels.items()
            if ours > 0 and theirs > 0
        )
        return f"{'> ' if self.lower_bound else ''}{self.median:.3g}× ({each})"


def ratio(found: dict[str, list[Measurement]], ours: Sequence[str], theirs: Sequence[str]) -> Ratio:
    """Best of `ours` against best of `theirs` on a case, level by level.

    Arguments:
        found: {method: measurements} of the case.
        ours, theirs: names of methods; those that were not measured are passed over.
    """
    levels, bound = {}, False
    arrived = any(best_runs(found.get(name, [])) for name in theirs)
    caps = [cap for name in theirs if not math.isnan(cap := at_least(found.get(name, [])))]
    for level in LEVELS:
        mine = _best(found, ours, level)
        other = _best(found, theirs, level)
        if math.isnan(other) and not arrived and caps:
            other, bound = min(caps), True
        levels[level] = (mine, other)
    return Ratio(levels, bound)


def _best(found: dict[str, list[Measurement]], names: Sequence[str], level: float) -> float:
    times = [seconds_at(found.get(name, []), level) for name in names]
    return min((t for t in times if not math.isnan(t)), default=math.nan)
