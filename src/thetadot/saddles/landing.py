"""A jump: the base follows the full flow to its next critical point, with promotions and demotions on the way."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from thetadot.problems import Problem
from thetadot.saddles.critical_points import CriticalPoint, Judge, PointStatus, judged_end, polish
from thetadot.saddles.derivatives import value_and_gradient
from thetadot.saddles.infinitesimal import Infinitesimal
from thetadot.saddles.jumps import Base, Segment, follow_base
from thetadot.saddles.passing import SETTLED, active_weights, nearest, undisturbed_end
from thetadot.saddles.timeline import Timeline

_DEEP = 1e-4
_LOWEST = 1e-13
_MOST_CHANGES = 60


@dataclasses.dataclass
class Landing:
    """Where a jump ends: a critical point with its living groups, or without one the reason."""

    point: CriticalPoint | None
    alive: np.ndarray
    end: np.ndarray
    ending: str = ""
    reason: str = ""


class Jump:
    """Follow a base to its next critical point; `run()` does it.

    Arguments:
        problem, groups, judge: what is walked.
        small: what is infinitesimal, and follows along.
        timeline: takes the segments.
        passed: called with a critical point that may be passed, the deviation from it (P,), and the present loss;
            returns whether it is.
        radius: norm at which dead weights join. accuracy: of the solver.
        real: whether deviations of the base from its ray are real, not rounding.
    """

    def __init__(
        self,
        problem: Problem,
        groups: Sequence[np.ndarray],
        judge: Judge,
        small: Infinitesimal,
        timeline: Timeline,
        passed: Callable[[CriticalPoint, np.ndarray, float], bool],
        *,
        radius: float,
        accuracy: float,
        real: bool,
    ):
        self.problem, self.groups, self.judge, self.small = problem, groups, judge, small
        self.timeline, self.passed = timeline, passed
        self.radius, self.accuracy, self.real = radius, accuracy, real
        self.patience: dict[int, float] = {}
        self.level = SETTLED
        self.steps = 0

    def run(self, base: Base) -> Landing:
        """The landing of a base."""
        for _ in range(_MOST_CHANGES):
            segment = self._followed(base)
            reached, promotion = self.small.follow(self.problem, segment, base.alive, self.radius)
            if promotion is not None:
                base = self._promoted(base, segment, reached, promotion)
                continue
            self.timeline.follow(segment)
            end = segment.thetas[-1]
            if segment.ending == "faded":
                base = self._without_faded(base, segment)
            elif segment.ending == "unbounded":
                reason = f"the weights grow without bound (‖θ‖ = {np.linalg.norm(end):.3g})"
                return Landing(None, base.alive, end, "UNBOUNDED", reason)
            elif segment.ending == "exhausted":
                return Landing(None, base.alive, end, "UNSUPPORTED", "a jump did not settle within its steps")
            elif segment.ending == "passing" and (self.real or segment.slopes[-1] > _DEEP * segment.peak):
                # The deviation is real, not rounding: the base goes on as it is.
                self._pass(end, base.alive, float(segment.losses[-1]))
                base = Base(end, base.alive, segment.peak, leaving=True)
            else:
                point, alive = judged_end(self.judge, self.groups, end, base.alive)
                if point.status is PointStatus.POLISHED or segment.ending == "passing":
                    return self._landed(point, alive, base, end)
                # Slow modes: the gradient is small, the critical point still far.
                self.level *= 1e-3
                if self.level < _LOWEST:
                    return self._lost(base, end, point)
                base = Base(end, base.alive, segment.peak)
        return Landing(
            None, base.alive, base.theta, "UNSUPPORTED", "a jump changed its live neurons too often"
        )

    def _followed(self, base: Base) -> Segment:
        active = active_weights(self.groups, base.alive, base.theta.size)
        segment = follow_base(
            self.problem, base.theta, active, self.groups, base.alive, self.patience,
            accuracy=self.accuracy, radius=self.radius, peak=base.peak, level=self.level,
        )  # fmt: skip
        self.steps += len(segment.times)
        return segment

    def _promoted(self, base: Base, whole: Segment, segment: Segment, promotion: np.ndarray) -> Base:
        """The base with what has become finite; where it would have gone without it counts as passed."""
        self.timeline.follow(segment)
        here = segment.thetas[-1]
        options = {"accuracy": self.accuracy, "radius": self.radius}
        alone = undisturbed_end(self.problem, self.groups, whole, base.alive, **options)
        passed = None if alone is None else self._pass(*alone, float(segment.losses[-1]))
        if passed is not None and np.any(base.alive & ~passed[1]):
            # Groups on their way out are still finite: the walk of those that stay passes one more point.
            point, living = passed
            joined = touched(self.groups, living, promotion)
            segment = follow_base(
                self.problem, point.theta + promotion, active_weights(self.groups, joined, here.size), self.groups,
                joined, {}, peak=0.0, level=SETTLED, **options,
            )  # fmt: skip
            alone = undisturbed_end(self.problem, self.groups, segment, joined, **options)
            if alone is not None:
                self._pass(*alone, -np.inf)
        self.real = True
        return Base(here + promotion, touched(self.groups, base.alive, promotion), whole.peak)

    def _pass(
        self, theta: np.ndarray, alive: np.ndarray, loss: float
    ) -> tuple[CriticalPoint, np.ndarray] | None:
        """The point passed at θ, and its living groups, if it is recorded."""
        found = nearest(self.problem, self.judge, self.groups, theta, alive)
        return found if found is not None and self.passed(found[0], theta - found[0].theta, loss) else None

    def _without_faded(self, base: Base, segment: Segment) -> Base:
        """The base without the group that has become small, if a critical point is near; else with more patience."""
        end, faded = segment.thetas[-1], segment.faded
        alive = base.alive.copy()
        alive[faded] = False
        rest = end.copy()
        rest[self.groups[faded]] = 0.0
        near, converged = polish(self.problem, rest, active_weights(self.groups, alive, rest.size), 1e-12)
        if converged and np.linalg.norm(near - rest) < 0.3 * np.linalg.norm(rest):
            self.small.demote(end - rest, alive)
            return Base(rest, alive, segment.peak)
        self.patience[faded] = 0.5 * float(np.linalg.norm(end[self.groups[faded]]))
        return Base(end, base.alive, segment.peak)

    def _landed(self, point: CriticalPoint, alive: np.ndarray, base: Base, end: np.ndarray) -> Landing:
        for number in np.flatnonzero(base.alive & ~alive).tolist():
            part = np.zeros_like(end)
            part[self.groups[number]] = end[self.groups[number]]
            self.small.demote(part, alive)
        if self.real and point.index.negative:
            part = np.zeros_like(end)
            active = active_weights(self.groups, alive, end.size)
            part[active] = (end - point.theta)[active]
            self.small.demote(part, alive)
        return Landing(point, alive, end)

    def _lost(self, base: Base, end: np.ndarray, point: CriticalPoint) -> Landing:
        if float(end @ value_and_gradient(self.problem, end)[1]) < 0:
            reason = (
                f"the weights still grow where the gradient has vanished (‖θ‖ = {np.linalg.norm(end):.3g})"
            )
            return Landing(None, base.alive, end, "UNBOUNDED", reason)
        reason = f"the flow settled where no critical point is near ({point.status.name})"
        return Landing(None, base.alive, end, "UNSUPPORTED", reason)


def touched(groups: Sequence[np.ndarray], alive: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """(G,) which groups live once `moved` is added."""
    size = float(np.linalg.norm(moved))
    return alive | np.array([bool(np.linalg.norm(moved[group]) > 1e-9 * size) for group in groups], bool)
