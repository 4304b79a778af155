"""The limiting path: the orbit that all small starts share once they have left."""

import dataclasses
import enum
import warnings
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.dynamics import Path, Until, integrate, training_flow
from thetadot.problems import Problem
from thetadot.saddles.correlation import neural_correlation
from thetadot.saddles.correlation_flow import FlowStatus, correlation_flow
from thetadot.saddles.correlation_points import CorrelationPoint
from thetadot.saddles.critical_points import CriticalPoint, PointStatus, critical_point
from thetadot.saddles.derivatives import value_and_gradient
from thetadot.saddles.errors import NotAsymptoticWarning, SaddlesError
from thetadot.saddles.escape import normalised, ray_clock
from thetadot.saddles.jumps import follow_base

# The clock is large where the start is small, and its error shifts the trajectory against the path.
_CLOCK_ACCURACY = 1e-13


class PathStatus(enum.Enum):
    """Where the limiting path ends."""

    BOUNDED = "at a critical point"
    UNBOUNDED = "it leaves every bound: there is no first saddle"
    NOT_SETTLED = "not settled by the end of the run"


@dataclasses.dataclass(frozen=True)
class LimitingPath:
    """The unique orbit p(t) of the full flow that leaves a critical point along a correlation point.

    Attributes:
        point: the correlation point.
        path: the rows; their time is the clock of p (p(t) ≈ base + e^{λt}w* at degree 2).
        end: the critical point at which it ends, or None.
        status: BOUNDED, UNBOUNDED or NOT_SETTLED.
        start_error: order of the relative error of the start on the ray.
    """

    point: CorrelationPoint
    path: Path
    end: CriticalPoint | None
    status: PathStatus
    start_error: float

    def at(self, t: float) -> Float[np.ndarray, " P"]:
        """p(t) (P,); on the ray before the first row, at the end point after the last."""
        if t <= self.path.ts[0]:
            degree, multiplier = self.point.correlation.degree, self.point.multiplier
            radius = (
                np.exp(multiplier * t)
                if degree == 2
                else (-multiplier * (degree - 2) * t) ** (-1 / (degree - 2))
            )
            return self.point.correlation.base + radius * self.point.correlation.embed(self.point.direction)
        if t >= self.path.ts[-1]:
            return np.asarray(self.path.thetas[-1]) if self.end is None else self.end.theta
        return np.asarray(self.path.at(t))


def limiting_path(
    problem: Problem,
    point: CorrelationPoint,
    *,
    start_radius: float | None = None,
    until: Until | None = None,
    accuracy: float = 1e-10,
) -> LimitingPath:
    """The orbit from a critical point along a correlation point, on its own clock.

    Arguments:
        problem: what is trained.
        point: of `correlation_points`, `refine_point` or `correlation_flow`, at the origin or at a saddle.
        start_radius: ε, where the orbit is started on the ray; the start's relative error is ε² at degree 2, ε^D above.
            Default: 10⁻⁴ at degree 2, else 10⁻³: the smaller it is, the longer the approach in which errors of time
            collect.
        until: end conditions; default: ‖∇L‖ below 10⁻⁹ of a typical slope.
        accuracy: of the run.

    Raises:
        SaddlesError: the correlation is not positive, so that nothing leaves along it.

    Source: A. Kumar, J. Haupt, arXiv:2502.15952; clock and orders re-derived.

    Example:
        >>> import numpy as np, thetadot as td
        >>> net = td.EmpiricalRisk(td.linear([1, 1, 1]), td.squared, np.ones((1, 1)), np.ones(1))
        >>> point = td.saddles.correlation_points(td.saddles.neural_correlation(net), starts=2)[0]
        >>> found = limiting_path(net, point)
        >>> found.status.name, round(float(np.linalg.norm(found.end.theta)) ** 2, 9)
        ('BOUNDED', 2.0)
    """
    if not point.value > 0:
        raise SaddlesError(
            f"𝒩 = {point.value:.3g} at this point: nothing leaves where the correlation is not positive; take one of "
            "correlation_points with value > 0"
        )
    correlation = point.correlation
    start_radius = start_radius or (1e-4 if correlation.degree == 2 else 1e-3)
    star = correlation.embed(point.direction)
    star[np.abs(star) < 1e-12] = 0.0
    theta = correlation.base + start_radius * star
    slope = float(np.linalg.norm(value_and_gradient(problem, theta)[1]))
    rate = problem.time_scale
    if until is None:
        until = Until(grad_norm=min(1e-10, 1e-2 * slope), steps=50_000, accept_saddles=True)
    path = integrate(
        training_flow(problem), jnp.asarray(theta), until=until, accuracy=accuracy, rtol=max(1e-2 * accuracy, 1e-13),
        saves="steps", dense=True, progress=False,
    )  # fmt: skip
    clock = ray_clock(correlation, point.multiplier, start_radius) / rate
    last = np.asarray(path.thetas[-1])
    end, status = None, PathStatus.NOT_SETTLED
    found = critical_point(problem, last)
    if found.status is PointStatus.POLISHED and path.grad_norms[-1] < 1e-6 * max(path.grad_norms):
        end, status = found, PathStatus.BOUNDED
    else:
        norms = np.linalg.norm(path.thetas, axis=1)
        half = norms[np.searchsorted(path.ts, 0.1 * path.ts[-1])]
        if norms[-1] > 1.05 * half:
            status = PathStatus.UNBOUNDED
    order = 2 if correlation.degree == 2 else correlation.degree
    dense = path._dense
    assert dense is not None
    shifted = dataclasses.replace(
        path, ts=path.ts + clock, _dense=lambda times: dense(np.clip(times - clock, 0.0, path.ts[-1]))
    )
    return LimitingPath(point, shifted, end, status, float(start_radius**order))


class DeviationStatus(enum.Enum):
    """Whether trajectories approach the limiting path as the scale falls."""

    FOLLOWS = "deviations fall with the scale"
    LEAVES = "deviations do not fall: the scale is not small, or another path is followed"


@dataclasses.dataclass(frozen=True)
class PathDeviation:
    """Distance of trajectories from the limiting path.

    Attributes:
        scales (S,): descending. deviations (S,): sup over the window of ‖θ(T_δ + t) − p(t)‖.
        slopes (S−1,): of ln deviation against ln scale between neighbours.
        predicted: min(β, 2) on a window with a beginning, min(β, 1) on one without (the start itself lies δ times a
            constant from the path); nan without β.
        status: FOLLOWS (falling, last slope positive) or LEAVES.
    """

    scales: Float[np.ndarray, " S"]
    deviations: Float[np.ndarray, " S"]
    slopes: Float[np.ndarray, " n"]
    predicted: float
    status: DeviationStatus


def path_deviation(
    problem: Problem,
    limit: LimitingPath,
    direction: Float[Array | np.ndarray, " P"],
    scales: Sequence[float],
    *,
    window: tuple[float, float] = (-np.inf, 0.0),
) -> PathDeviation:
    """How far trajectories from smaller and smaller starts stay from the limiting path.

    Up to the norm 10⁻³ (10⁻⁴ at degree 2) a start follows the correlation flow, relative error the norm to the power L,
    whose remaining time is known without cancellation; from there the full flow, on the limiting path's clock. Warns
    (`NotAsymptoticWarning`) where the distances do not fall with the scale.

    Arguments:
        problem: what is trained.
        limit: of the correlation point that attracts the direction (`correlation_flow` says which).
        direction (P,): of the starts. scales: their norms.
        window: of the clock; its end is where trajectories are stopped.

    Raises:
        SaddlesError: the direction does not escape.

    Source: A. Kumar, J. Haupt, arXiv:2502.15952; rate re-derived.

    Example:
        >>> import numpy as np, thetadot as td
        >>> net = td.EmpiricalRisk(td.linear([1, 1, 1]), td.squared, np.ones((1, 1)), np.ones(1))
        >>> point = td.saddles.correlation_points(td.saddles.neural_correlation(net), starts=2)[0]
        >>> limit = limiting_path(net, point)
        >>> start, scales = np.sign(point.direction) * [1.0, 0.8], [1e-1, 3e-2, 1e-2]
        >>> found = path_deviation(net, limit, start, scales, window=(-2.0, 0.0))
        >>> found.status.name, round(found.predicted, 6), bool(np.all(np.abs(found.slopes - 2.0) < 0.05))
        ('FOLLOWS', 2.0, True)
    """
    unit = normalised(problem, direction)
    correlation = neural_correlation(problem)
    flow = correlation_flow(correlation, unit, accuracy=_CLOCK_ACCURACY)
    if flow.status is not FlowStatus.ESCAPES or flow.point is None:
        raise SaddlesError(
            f"the correlation flow from this direction {flow.status.name.lower()}: nothing escapes"
        )
    groups = [np.asarray(neuron.indices) for neuron in problem.layout.neurons]
    degree, multiplier = correlation.degree, flow.point.multiplier
    ordered = np.sort(np.asarray(scales, float))[::-1]
    deviations = []
    for scale in ordered:
        start = max(1e-4 if degree == 2 else 1e-3, float(scale))
        record = flow._dense
        state = record.at_log_norm(float(np.log(start / scale)))
        z, log_norm = record.log_vector(state)
        theta = scale * np.exp(log_norm) * correlation.embed(z)
        if degree == 2:
            clock = float(state[-1]) - -np.log(scale * flow.amplitude) / multiplier
        else:
            clock = -_remaining(record, state, multiplier) / scale ** (degree - 2)
        deviations.append(_largest(problem, limit, theta, clock, groups, window))
    found = np.array(deviations)
    slopes = np.diff(np.log(found)) / np.diff(np.log(ordered))
    falling = bool(np.all(np.diff(found) < 0) and (slopes.size == 0 or slopes[-1] > 0))
    if not falling:
        warnings.warn(
            "distances from the limiting path do not fall with the scale: the scales are too large for the theory",
            NotAsymptoticWarning,
            stacklevel=2,
        )
    beta = limit.point.second_order.alignment_exponent
    predicted = min(beta, 2.0 if np.isfinite(window[0]) else 1.0)
    return PathDeviation(
        ordered, found, slopes, predicted, DeviationStatus.FOLLOWS if falling else DeviationStatus.LEAVES
    )


def _remaining(record, state: np.ndarray, multiplier: float) -> float:
    """Time left at a state between two nodes, from the later node and the clock of the step."""
    lefts = record.remaining_at(record.nodes, multiplier)
    times = np.array([held[-1] for held in record._states]) * np.exp(-(record.degree - 2) * record.shift)
    time = float(state[-1]) * np.exp(-(record.degree - 2) * record.shift)
    row = min(int(np.searchsorted(times, time)), len(times) - 1)
    return float(lefts[row] + (times[row] - time))


def _largest(
    problem: Problem,
    limit: LimitingPath,
    theta: np.ndarray,
    clock: float,
    groups,
    window: tuple[float, float],
) -> float:
    rate = problem.time_scale
    everything = np.arange(problem.size)
    segment = follow_base(
        problem, theta, everything, groups, np.ones(len(groups), bool), dict.fromkeys(range(len(groups)), 0.0),
        accuracy=1e-11, radius=float(np.linalg.norm(theta)), peak=0.0, level=1e-12,
        until=window[1] * rate - clock,
    )  # fmt: skip
    low, high = window
    worst = 0.0
    for row in range(len(segment.pieces)):
        for place in (0.0, 0.5):
            t = (clock + segment.times[row] + place * (segment.times[row + 1] - segment.times[row])) / rate
            if low <= t <= high:
                worst = max(worst, float(np.linalg.norm(segment.at(row, place) - limit.at(t))))
    if segment.pieces:
        piece = segment.pieces[-1]
        final = min(window[1] * rate - clock, segment.times[-1])
        worst = max(worst, float(np.linalg.norm(piece(final) - limit.at((clock + final) / rate))))
    return worst
