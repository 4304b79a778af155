"""Matched asymptotics: the walk from saddle to saddle at any scale, however small.

On a plateau everything infinitesimal is a list of columns (log amplitude, unit vector) that grow at the rates of the
Hessian, or, for dead neurons of degree above 2, a vector that follows the residual correlation flow. The first that
becomes finite wins; it is matched to the full flow at a small radius, the base follows the full flow to the next
critical point, and the columns follow the variational equation along it. Columns are never summed: a mode that decays
below rounding of its neighbour in the same vector may decide a later jump.
"""

import dataclasses
import logging
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
    polish,
    typical_value,
)
from thetadot.saddles.derivatives import hessian, value_and_gradient
from thetadot.saddles.jumps import Base, Column, Segment, follow_base, follow_columns, follow_dead
from thetadot.saddles.modes import SAME_RATE, modes_of, tangent_columns

log = logging.getLogger("thetadot.saddles")

_MOST_COLUMNS = 64
_ALIGNED = 1e-3
_FINITE = 1e-3
_DEEP = 1e-4
_SETTLED = 1e-7
_LOWEST = 1e-13
_VANISHED = 1e-6


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
        self.columns: list[Column] = []
        self.dead = np.zeros(problem.size)  # small vector of dead weights where the degree is above 2
        if self.origin.degree == 2:
            self.columns = [Column(float(np.log(scale)), direction)]
            if perturbation is not None:
                size = float(np.linalg.norm(perturbation))
                self.columns.append(Column(float(np.log(scale * size)), perturbation / size))
        else:
            self.dead = scale * (direction if perturbation is None else direction + perturbation)
        self.elapsed = 0.0  # since the last escape
        self.pieces: list[tuple[float, Segment | None]] = []
        self.stops: list[Stop] = []
        self.steps, self.notes = 0, []
        self.physical = False  # whether deviations of the base from its ray are real, not rounding
        self.alignment = float("nan")  # β of the exit from the origin

    def walk(self) -> Walk:
        """Go from plateau to plateau until nothing leads away."""
        self._arrive(self._judge(np.zeros(self.problem.size)))
        ending, reason = "", ""
        while not ending:
            if len(self.stops) > self.max_saddles + 1:
                ending, reason = "MAX_SADDLES", f"{self.max_saddles} saddles after the origin were left"
            elif self.out_of_time():
                ending, reason = "BUDGET_SPENT", "the budget of seconds is spent"
            else:
                ending, reason = self._leave()
        return Walk(self.stops, ending, reason, self.steps, self.notes)

    # Plateaus.

    def _dead_indices(self) -> np.ndarray:
        return _union([group for group, lives in zip(self.groups, self.alive, strict=True) if not lives])

    def _active_indices(self) -> np.ndarray:
        return np.setdiff1d(np.arange(self.problem.size), self._dead_indices())

    def _judge(self, theta: np.ndarray) -> CriticalPoint:
        return judge(self.problem, theta, self.groups, self.alive, 1e-12, self.typical)

    def _judge_end(self, end: np.ndarray) -> CriticalPoint:
        """The critical point near the end of a jump; groups that vanish there no longer live."""
        point = self._judge(end)
        if point.status is PointStatus.POLISHED:
            size = _VANISHED * float(np.linalg.norm(point.theta))
            gone = [bool(np.linalg.norm(point.theta[group]) < size) for group in self.groups]
            if np.any(self.alive & gone):
                self.alive = self.alive & ~np.array(gone)
                point = self._judge(point.theta)
        return point

    def _arrive(self, point: CriticalPoint, settled: bool = True) -> None:
        """Record a stop, and the dwell at the one before: the loss crosses the mean of the two on the way."""
        if self.stops:
            middle = 0.5 * (self.stops[-1].point.loss + point.loss)
            spent = self.elapsed
            for number, (wait, segment) in enumerate(self.pieces):
                crossing = None if segment is None else segment.crossing(middle)
                if crossing is not None:
                    self.stops[-1].dwell = spent + crossing
                    rest = wait - crossing
                    self.elapsed = rest + sum(later for later, _ in self.pieces[number + 1 :])
                    break
                spent += wait
            else:
                self.elapsed = spent
            self.pieces = []
        self.stops.append(Stop(point, settled=settled))

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
        indices = np.arange(self.problem.size) if linear_dead else self._active_indices()
        if linear_dead and self.dead.any():
            self.columns += [
                Column(float(np.log(np.linalg.norm(part))), part / np.linalg.norm(part))
                for part in _parts(
                    self.dead, [g for g, a in zip(self.groups, self.alive, strict=True) if not a]
                )
            ]
            self.dead = np.zeros_like(self.dead)
        self.columns, rates, unstable = modes_of(self.problem, self.base, indices, self.columns)
        exits = [
            _Exit(-column.log / rate, number)
            for number, (column, rate) in enumerate(zip(self.columns, rates, strict=True))
            if rate > 0
        ]
        flow, degree = None, 2
        if correlation is not None and not linear_dead and self.dead[dead].any():
            degree = correlation.degree
            flow = LogFlow(correlation, self.dead[dead], 1e-10)
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
        winner = self.columns[way.mode]
        log_radius = max(float(np.log(self._radius(2))), winner.log)
        wait = (log_radius - winner.log) / rates[way.mode]
        others = [
            Column(column.log + rate * wait, column.vector)
            for number, (column, rate) in enumerate(zip(self.columns, rates, strict=True))
            if number != way.mode
        ]
        if flow is not None:
            self._read_dead(flow, flow.at_time(wait), dead)
        self._keep(others, rates)
        self.pieces.append((wait, None))
        moved = np.exp(log_radius) * winner.vector
        for group in self.groups:
            if np.linalg.norm(moved[group]) <= 1e-9 * np.exp(log_radius):
                moved[group] = 0.0
        return Base(self.base + moved, self._touched(moved))

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
            for column, rate in zip(self.columns, rates, strict=True)
        ]
        across = tangent_columns(self.problem.size, flow, point, dead, inside, radius)
        if across is not None and all(column.log < np.log(_ALIGNED * radius) for column in across):
            others += across
            moved = np.zeros_like(moved)
            moved[inside] = radius * star[inside]
        else:
            self.physical = True
        self.dead = small
        self.dead[inside] = 0.0
        self._keep(others, None)
        self.pieces.append((wait, None))
        return Base(self.base + moved, self._touched(moved))

    def _read_dead(self, flow: LogFlow, state: np.ndarray, dead: np.ndarray) -> None:
        unit, log_norm = flow.log_vector(state)
        self.dead = np.zeros(self.problem.size)
        self.dead[dead] = np.exp(log_norm) * unit

    def _keep(self, columns: list[Column], rates: np.ndarray | None) -> None:
        columns.sort(key=lambda column: -column.log)
        if len(columns) > _MOST_COLUMNS:
            self.notes.append(f"{len(columns) - _MOST_COLUMNS} smallest columns dropped")
            log.info(self.notes[-1])
        self.columns = columns[:_MOST_COLUMNS]

    def _touched(self, moved: np.ndarray) -> np.ndarray:
        """(G,) which groups live once `moved` is added."""
        return self.alive | np.array(
            [bool(np.linalg.norm(moved[group]) > 1e-9 * np.linalg.norm(moved)) for group in self.groups], bool
        )

    # Jumps.

    def _jump(self, base: Base) -> tuple[str, str]:
        """Follow the base to its next critical point, with promotions and demotions on the way."""
        radius = self._radius(2 if self.origin.degree == 2 else 3)
        start_loss = self.stops[-1].point.loss
        promoted, patience = self.physical, {}
        self.physical = False
        level = _SETTLED
        for _ in range(60):
            self.alive = base.alive
            active = self._active_indices()
            segment = follow_base(
                self.problem, base.theta, active, self.groups, self.alive, patience,
                accuracy=min(1e-9, self.accuracy * 0.01), radius=radius, peak=base.peak, level=level,
            )  # fmt: skip
            self.steps += len(segment.times)
            dead = self._dead_indices()
            row, promotion = self._follow_small(segment, dead, radius)
            if promotion is not None:
                segment = segment.cut(row)
                self.pieces.append((segment.duration, segment))
                moved = promotion
                if segment.slopes[-1] < 0.3 * segment.peak:
                    start_loss = self._pass_near(segment.thetas[-1], start_loss)
                base = Base(segment.thetas[-1] + moved, self._touched(moved), segment.peak)
                promoted = True
                continue
            self.pieces.append((segment.duration, segment))
            end = segment.thetas[-1]
            if segment.ending == "faded":
                faded = segment.faded
                kept = self.alive.copy()
                kept[faded] = False
                old, self.alive = self.alive, kept
                rest = end.copy()
                rest[self.groups[faded]] = 0.0
                near, converged = polish(self.problem, rest, self._active_indices(), 1e-12)
                if converged and np.linalg.norm(near - rest) < 0.3 * np.linalg.norm(rest):
                    self._demote(end - rest)
                    base = Base(rest, kept, segment.peak)
                else:
                    self.alive = old
                    patience[faded] = 0.5 * float(np.linalg.norm(end[self.groups[faded]]))
                    base = Base(end, old, segment.peak)
                continue
            if segment.ending in ("unbounded", "exhausted"):
                self.stops[-1].settled = True
                return (
                    ("UNBOUNDED", f"the weights grow without bound (‖θ‖ = {np.linalg.norm(end):.3g})")
                    if segment.ending == "unbounded"
                    else ("UNSUPPORTED", "a jump did not settle within its steps")
                )
            kept = self.alive.copy()
            point = self._judge_end(end)
            if point.status is not PointStatus.POLISHED and segment.ending == "settled":
                # Slow modes: the gradient is small, the critical point still far.
                self.alive, level = kept, level * 1e-3
                if level < _LOWEST:
                    if float(end @ value_and_gradient(self.problem, end)[1]) < 0:
                        size = float(np.linalg.norm(end))
                        return (
                            "UNBOUNDED",
                            f"the weights still grow where the gradient has vanished (‖θ‖ = {size:.3g})",
                        )
                    return (
                        "UNSUPPORTED",
                        f"the flow settled where no critical point is near ({point.status.name})",
                    )
                base = Base(end, kept, segment.peak)
                continue
            if segment.ending == "passing" and (promoted or segment.slopes[-1] > _DEEP * segment.peak):
                # The deviation is real, not rounding: the base goes on as it is.
                self.alive = kept
                start_loss = self._pass_near(end, start_loss)
                base = Base(end, kept, segment.peak, leaving=True)
                continue
            for group in np.flatnonzero(kept & ~self.alive):
                part = np.zeros_like(end)
                part[self.groups[group]] = end[self.groups[group]]
                self._demote(part)
            deviation = end - point.theta
            if promoted and point.index.negative:
                self._demote(np.where(np.isin(np.arange(end.size), self._active_indices()), deviation, 0.0))
            self.base = point.theta
            self._arrive(point)
            self._note_approach(deviation)
            return "", ""
        return "UNSUPPORTED", "a jump changed its live neurons too often"

    def _pass_near(self, theta: np.ndarray, above: float) -> float:
        """Record the saddle that the base passes, if one is near and lower; the loss of the last stop.

        The smallest groups may be on their way out or in: the nearest critical point decides which of them count.
        """
        kept = self.alive
        norms = np.array([np.linalg.norm(theta[group]) for group in self.groups])
        order = [number for number in np.argsort(norms) if kept[number]]
        small = [number for number in order if norms[number] < 0.3 * norms.max()][: len(order) - 1]
        best = None
        for count in range(min(len(small), 4) + 1):
            self.alive = kept.copy()
            self.alive[small[:count]] = False
            near, converged = polish(self.problem, theta, self._active_indices(), 1e-12)
            moved = float(np.linalg.norm(near - theta))
            if converged and moved < 0.1 * np.linalg.norm(theta) and (best is None or moved < best[0]):
                best = moved, near, self.alive
        if best is not None:
            self.alive = best[2]
            point = self._judge_end(best[1])
            if point.status is PointStatus.POLISHED and point.loss < above * (1 - 1e-9) - 1e-12:
                self._arrive(point, settled=False)
                k = np.linalg.eigvalsh(-hessian(self.problem, point.theta))
                stop = self.stops[-1]
                stop.exit, stop.rate, stop.degree = "linear", float(k[-1]), 2
                self._note_approach(theta - point.theta)
                above = point.loss
        self.alive = kept
        return above

    def _demote(self, part: np.ndarray) -> None:
        size = float(np.linalg.norm(part))
        if size == 0.0:
            return
        dead = np.isin(np.arange(part.size), self._dead_indices())
        if self.origin.degree > 2 and part[dead].any():
            self.dead = self.dead + part
        else:
            self.columns.append(Column(float(np.log(size)), part / size))

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

    def _finite(self, vector: np.ndarray, radius: float) -> float:
        """Log amplitude from which a column is no longer infinitesimal: dead groups join the base early."""
        joined = any(
            lives and bool(np.any(vector[group]))
            for group, lives in zip(self.groups, self.alive, strict=True)
        )
        return float(np.log(max(_FINITE, 0.0 if joined else radius)))

    def _follow_small(
        self, segment: Segment, dead: np.ndarray, radius: float
    ) -> tuple[int, np.ndarray | None]:
        """Columns and dead weights along a segment; (row, vector) of the first that has become finite."""
        row, promotion = len(segment.times) - 1, None
        fate = follow_columns(self.problem, segment, self.columns)
        for logs, vectors in fate:
            # Growing, too: what has just been demoted is larger, and decays.
            grown = 1 + np.flatnonzero((logs[1:] > self._finite(vectors[0], radius)) & (np.diff(logs) > 0))
            if grown.size and grown[0] < row:
                row = int(grown[0])
        small = None
        if self.dead[dead].any():
            small = follow_dead(self.problem, segment, self.dead, dead, self.origin.degree)
            for group, lives in zip(self.groups, self.alive, strict=True):
                if lives:
                    continue
                norms = np.linalg.norm(small[:, group], axis=1)
                grown = np.flatnonzero((norms > radius) & (norms > norms[0] * 1.0001))
                if grown.size and grown[0] < row:
                    row = int(grown[0])
        columns = []
        whole = np.zeros(self.problem.size)
        for logs, vectors in fate:
            if (
                row < len(segment.times) - 1
                and row > 0
                and logs[row] > max(self._finite(vectors[0], radius), logs[row - 1])
            ):
                whole += np.exp(logs[row]) * vectors[row]
                promotion = whole
            else:
                columns.append(Column(float(logs[row]), vectors[row]))
        if small is not None:
            self.dead = small[row].copy()
            if row < len(segment.times) - 1:
                for group, lives in zip(self.groups, self.alive, strict=True):
                    if not lives and np.linalg.norm(self.dead[group]) > radius:
                        whole[group] += self.dead[group]
                        self.dead[group] = 0.0
                        promotion = whole
        self._keep(columns, None)
        return row, promotion


def _parts(vector: np.ndarray, groups: Sequence[np.ndarray]) -> list[np.ndarray]:
    found = []
    for group in groups:
        part = np.zeros_like(vector)
        part[group] = vector[group]
        if part.any():
            found.append(part)
    return found
