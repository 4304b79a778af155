"""Matched asymptotics: the walk from saddle to saddle at any scale, however small.

On a plateau everything infinitesimal is a list of columns (log amplitude, unit vector) that grow at the rates of the
Hessian, or, for dead neurons of degree above 2, a vector that follows the residual correlation flow. The first that
becomes finite wins; it is matched to the full flow at a small radius, the base follows the full flow to the next
critical point, and the columns follow the variational equation along it. Columns are never summed: a mode that decays
below rounding of its neighbour in the same vector may decide a later jump.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from thetadot.problems import Problem
from thetadot.saddles.correlation import _build
from thetadot.saddles.correlation_flow import FlowStatus, LogFlow
from thetadot.saddles.correlation_points import CorrelationPoint, refine_point
from thetadot.saddles.critical_points import (
    CriticalPoint,
    PointKind,
    PointStatus,
    _union,
    judge,
    typical_value,
)
from thetadot.saddles.derivatives import hessian
from thetadot.saddles.infinitesimal import Infinitesimal
from thetadot.saddles.jumps import Base, Column
from thetadot.saddles.landing import Jump, touched
from thetadot.saddles.modes import SAME_RATE, modes_of, tangent_columns
from thetadot.saddles.passing import active_weights
from thetadot.saddles.timeline import Timeline

_ALIGNED = 1e-3
_SAME_LOSS = 1e-9


@dataclasses.dataclass
class Stop:
    """One visit of a predicted walk."""

    point: CriticalPoint
    exit: str | None = None
    rate: float = float("nan")
    degree: int = 0
    settled: bool = True
    approach: float = float("nan")
    dwell: float = float("nan")


@dataclasses.dataclass
class Walk:
    """A predicted walk: its stops, why it ended, and what it cost."""

    stops: list[Stop]
    ending: str
    reason: str
    steps: int
    notes: list[str]


@dataclasses.dataclass
class _Exit:
    """A way off a plateau: a linear mode (a column that grows) or a correlation point (dead weights that blow up)."""

    wait: float
    mode: int | None
    point: CorrelationPoint | None = None


class Walker:
    """The prediction engine; `walk()` runs it."""

    def __init__(
        self,
        problem: Problem,
        groups: Sequence[np.ndarray],
        direction: np.ndarray,
        scale: float,
        *,
        match_radius: float | None,
        accuracy: float,
        max_saddles: int,
        out_of_time: Callable[[], bool],
        perturbation: np.ndarray | None,
    ):
        self.problem, self.groups = problem, [np.asarray(group) for group in groups]
        self.scale, self.accuracy = scale, accuracy
        self.match_radius, self.max_saddles, self.out_of_time = match_radius, max_saddles, out_of_time
        self.origin = _build(problem, np.zeros(problem.size), np.arange(problem.size))
        self.typical = typical_value(self.origin)
        self.base = np.zeros(problem.size)
        self.alive = np.zeros(len(self.groups), bool)
        self.small = Infinitesimal(self.groups, self.origin.degree, problem.size)
        if self.origin.degree == 2:
            self.small.columns = [Column(float(np.log(scale)), direction)]
            if perturbation is not None:
                size = float(np.linalg.norm(perturbation))
                self.small.columns.append(Column(float(np.log(scale * size)), perturbation / size))
        else:
            self.small.dead = scale * (direction if perturbation is None else direction + perturbation)
        self.timeline = Timeline()
        self.stops: list[Stop] = []
        self.steps = 0
        self.real = False  # whether deviations of the base from its ray are real, not rounding
        self.alignment = float("nan")  # β of the exit from the origin

    def walk(self) -> Walk:
        """Go from plateau to plateau until nothing leads away."""
        self._arrive(self._judge(self.base, self.alive))
        ending, reason = "", ""
        while not ending and len(self.stops) <= self.max_saddles + 1:
            if self.out_of_time():
                ending, reason = "BUDGET_SPENT", "the budget of seconds is spent"
            else:
                ending, reason = self._leave()
        if len(self.stops) > self.max_saddles + 1:
            ending, reason = "MAX_SADDLES", f"{self.max_saddles} saddles after the origin were left"
        stops = self.stops[: self.max_saddles + 2]
        for stop, dwell in zip(stops, self.timeline.dwells([one.point.loss for one in stops]), strict=True):
            stop.dwell = float(dwell)
        return Walk(stops, ending, reason, self.steps, self.small.notes)

    # Plateaus.

    def _dead_indices(self) -> np.ndarray:
        return _union([group for group, lives in zip(self.groups, self.alive, strict=True) if not lives])

    def _judge(self, theta: np.ndarray, alive: np.ndarray) -> CriticalPoint:
        return judge(self.problem, theta, self.groups, alive, 1e-12, self.typical)

    def _arrive(self, point: CriticalPoint, settled: bool = True) -> None:
        """Record a stop; losses fall from stop to stop, so that one that was only passed gives way."""
        level = point.loss + _SAME_LOSS * abs(point.loss) + 1e-12
        while len(self.stops) > 1 and not self.stops[-1].settled and self.stops[-1].point.loss <= level:
            del self.stops[-1]
        self.stops.append(Stop(point, settled=settled))

    def _pass(self, point: CriticalPoint, deviation: np.ndarray, loss: float) -> bool:
        """Record a point at which the walk does not come to rest, if the walk has left the last one for it.

        It has where the present loss is below the mean of the two. Returns whether it was recorded.
        """
        last = self.stops[-1].point.loss
        lower = point.loss < last * (1 - _SAME_LOSS) - 1e-12
        if not lower or loss > 0.5 * (last + point.loss):
            return False
        self._arrive(point, settled=False)
        stop = self.stops[-1]
        if point.index.negative:
            stop.exit, stop.rate, stop.degree = "linear", -float(point.index.eigenvalues[0]), 2
        else:
            stop.exit, stop.degree = "homogeneous", self.small.degree
        self._note_approach(deviation)
        return True

    def _leave(self) -> tuple[str, str]:
        point = self.stops[-1].point
        if point.status is not PointStatus.POLISHED:
            return "UNSUPPORTED", f"the flow stopped where no critical point is near ({point.status.name})"
        if point.kind is PointKind.MINIMUM and len(self.stops) > 1:
            return "REACHED_MINIMUM", "no unstable mode, and no residual correlation is positive"
        dead = self._dead_indices()
        correlation = _build(self.problem, self.base, dead) if dead.size else None
        if correlation is not None and correlation.degree == 2 and not correlation.quadratic:
            return (
                "UNSUPPORTED",
                "the correlation function of degree 2 is not a quadratic form (a kinked activation)",
            )
        linear_dead = correlation is not None and correlation.degree == 2
        indices = np.arange(self.problem.size)
        if not linear_dead:
            indices = active_weights(self.groups, self.alive, indices.size)
        if linear_dead:
            self.small.linearise(self.alive)
        self.small.columns, rates, unstable = modes_of(self.problem, self.base, indices, self.small.columns)
        exits = [
            _Exit(-column.log / rate, number)
            for number, (column, rate) in enumerate(zip(self.small.columns, rates, strict=True))
            if rate > 0
        ]
        flow, degree = None, 2
        if correlation is not None and not linear_dead and self.small.dead[dead].any():
            degree = correlation.degree
            flow = LogFlow(correlation, self.small.dead[dead], 1e-10)
            status, towards = flow.run(60.0 + max(0.0, -np.log(self.scale)))
            if status is FlowStatus.ESCAPES:
                winner = refine_point(correlation, towards)
                left = flow.remaining_at(flow.nodes, winner.multiplier)
                exits.append(_Exit(float(left[0]), None, winner))
        if not exits:
            return self._nothing_leads_away(point, unstable)
        best = min(exits, key=lambda way: way.wait)
        stop = self.stops[-1]
        if best.mode is not None:
            stop.exit, stop.rate, stop.degree = "linear", float(rates[best.mode]), 2
            if len(self.stops) == 1:
                slower = rates[rates < rates[best.mode] * (1 - SAME_RATE)]
                self.alignment = 1.0 - float(slower.max(initial=0.0)) / stop.rate
            base = self._linear_start(best, rates, flow, dead)
        else:
            assert best.point is not None
            assert flow is not None
            stop.exit, stop.rate, stop.degree = "homogeneous", best.point.multiplier, degree
            if len(self.stops) == 1:
                self.alignment = best.point.second_order.alignment_exponent
            base = self._homogeneous_start(best, rates, flow, dead)
        return self._jump(base)

    def _nothing_leads_away(self, point: CriticalPoint, unstable: bool) -> tuple[str, str]:
        origin = len(self.stops) == 1
        if point.kind is PointKind.MINIMUM and origin:
            return "NEAR_ORIGIN", "the correlation function is nowhere positive: small weights do not grow"
        if unstable:
            return "ON_STABLE_MANIFOLD", "unstable modes exist, their amplitude is exactly zero"
        if origin:
            return "NEAR_ORIGIN", "the correlation flow from this start vanishes or stands still"
        return "ON_STABLE_MANIFOLD", "the residual correlation flow of the dead neurons never grows"

    # Exits.

    def _radius(self, degree: int) -> float:
        size = float(np.linalg.norm(self.base))
        chosen = self.match_radius or (1e-2 if degree > 2 else 1e-4)
        # Dead neurons must first align; a mode that grows has long left the others behind.
        least = 10 * self.scale if degree > 2 else self.scale
        return float(np.clip(chosen, min(least, 0.1), 0.1)) * (min(1.0, size) if size > 0 else 1.0)

    def _linear_start(
        self, way: _Exit, rates: np.ndarray, flow: LogFlow | None, dead: np.ndarray,
    ) -> Base:  # fmt: skip
        assert way.mode is not None
        winner = self.small.columns[way.mode]
        log_radius = max(float(np.log(self._radius(2))), winner.log)
        wait = (log_radius - winner.log) / rates[way.mode]
        others = [
            Column(column.log + rate * wait, column.vector)
            for number, (column, rate) in enumerate(zip(self.small.columns, rates, strict=True))
            if number != way.mode
        ]
        if flow is not None:
            unit, log_norm = flow.log_vector(flow.at_time(wait))
            self.small.dead = np.zeros(self.problem.size)
            self.small.dead[dead] = np.exp(log_norm) * unit
        self.small.keep(others)
        self.timeline.wait(wait)
        moved = np.exp(log_radius) * winner.vector
        for group in self.groups:
            if np.linalg.norm(moved[group]) <= 1e-9 * np.exp(log_radius):
                moved[group] = 0.0
        return Base(self.base + moved, touched(self.groups, self.alive, moved))

    def _homogeneous_start(
        self, way: _Exit, rates: np.ndarray, flow: LogFlow, dead: np.ndarray,
    ) -> Base:  # fmt: skip
        point = way.point
        assert point is not None
        power, multiplier, radius = point.correlation.degree - 2, point.multiplier, self._radius(3)
        left = min(1 / (multiplier * power * radius**power), way.wait)
        state = flow.at_remaining(left, multiplier)
        wait = way.wait - left
        unit, log_norm = flow.log_vector(state)
        small = np.zeros(self.problem.size)
        small[dead] = np.exp(log_norm) * unit
        star = point.correlation.embed(point.direction)
        winners = [number for number, group in enumerate(self.groups) if np.linalg.norm(star[group]) > 1e-6]
        inside = _union([self.groups[number] for number in winners])
        moved = np.zeros(self.problem.size)
        moved[inside] = small[inside]
        others = [
            Column(column.log + rate * wait, column.vector)
            for column, rate in zip(self.small.columns, rates, strict=True)
        ]
        across = tangent_columns(self.problem.size, flow, point, dead, inside, radius)
        if across is not None and all(column.log < np.log(_ALIGNED * radius) for column in across):
            others += across
            moved = np.zeros_like(moved)
            moved[inside] = radius * star[inside]
        else:
            self.real = True
        small[inside] = 0.0
        self.small.dead = small
        self.small.keep(others)
        self.timeline.wait(wait)
        return Base(self.base + moved, touched(self.groups, self.alive, moved))

    # Jumps.

    def _jump(self, base: Base) -> tuple[str, str]:
        """Follow the base to its next critical point."""
        dead = np.setdiff1d(
            np.arange(base.theta.size), active_weights(self.groups, base.alive, base.theta.size)
        )
        if self.small.dead[dead].any():
            # Behind two hidden layers, live neighbours lower the degree of the dead.
            self.small.degree = _build(self.problem, base.theta, dead).degree
        jump = Jump(
            self.problem, self.groups, self._judge, self.small, self.timeline, self._pass,
            radius=self._radius(2 if self.origin.degree == 2 else 3), accuracy=min(1e-9, self.accuracy * 0.01),
            real=self.real,
        )  # fmt: skip
        landing = jump.run(base)
        self.steps, self.real, self.alive = self.steps + jump.steps, False, landing.alive
        if landing.point is not None:
            self.base = landing.point.theta
            self._arrive(landing.point)
            self._note_approach(landing.end - landing.point.theta)
        return landing.ending, landing.reason

    def _note_approach(self, deviation: np.ndarray) -> None:
        """The exponent of the closest approach to a strict saddle first reached from a correlation point."""
        here = self.stops[-1]
        if here.point.kind is not PointKind.STRICT_SADDLE or len(self.stops) != 2:
            return
        eigenvalues, vectors = np.linalg.eigh(hessian(self.problem, here.point.theta))
        arriving = np.abs(vectors.T @ deviation) * (eigenvalues > 1e-8 * eigenvalues[-1])
        stable, unstable = float(eigenvalues[int(np.argmax(arriving))]), -float(eigenvalues[0])
        if stable > 0:
            here.approach = self.alignment * stable / (stable + unstable)
