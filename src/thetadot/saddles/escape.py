"""When small weights leave the origin: predicted by the correlation flow, measured in log time."""

import dataclasses
import enum
import warnings

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.dynamics import Event, Flow, Stats, Until, integrate
from thetadot.errors import PrecisionError
from thetadot.problems import Problem
from thetadot.saddles.correlation import NeuralCorrelation, neural_correlation
from thetadot.saddles.correlation_flow import CorrelationFlow, FlowStatus, correlation_flow
from thetadot.saddles.derivatives import require_float64
from thetadot.saddles.errors import NotAsymptoticWarning, SaddlesError
from thetadot.saddles.jumps import Segment, follow_base
from thetadot.saddles.sparsity import Groups

_ASYMPTOTIC = 1.0 / 3
_SMALLEST_SLOPE = 1e-280


class EscapeStatus(enum.Enum):
    """Whether the start escapes."""

    ESCAPED = "the norm reaches the radius"
    NEVER = "the correlation flow from this start vanishes or stands still"
    NOT_REACHED = "the horizon came first"


@dataclasses.dataclass(frozen=True)
class Escape:
    """The escape from the origin of one start.

    Attributes:
        predicted: time at which ‖θ‖ reaches the radius: clock plus the time on the limiting path.
        measured: the same by integration; nan if it was not asked for or not reached.
        clock: T_δ, the origin of the limiting path's clock.
        radius: the norm that counts as escaped.
        theta (P,): the state at the measured escape (the predicted one without a measurement).
        alignment: 1 − cos of the angle between theta and the correlation point.
        scale: ‖θ(0)‖.
        stats: cost of the measurement, or None.
        status: ESCAPED, NEVER or NOT_REACHED.
    """

    predicted: float
    measured: float
    clock: float
    radius: float
    theta: Float[np.ndarray, " P"]
    alignment: float
    scale: float
    stats: Stats | None
    status: EscapeStatus


def log_time_field(state, args):
    """dθ/ds = −∇L/‖θ‖^{L−2}, dt/ds = ‖θ‖^{−(L−2)}; args = (problem, L − 2, radius)."""
    problem, power, _ = args
    size = jnp.linalg.norm(state["theta"])
    speed = size**-power
    return {"clock": speed, "theta": -speed * problem.value_and_grad(state["theta"])[1]}


def _beyond(state, args) -> Array:
    return jnp.log(jnp.linalg.norm(state["theta"]) / args[2])


def normalised(problem: Problem, direction) -> Float[np.ndarray, " P"]:
    """direction/‖direction‖ (P,), checked."""
    unit = np.asarray(direction, float)
    if unit.shape != (problem.size,) or not np.linalg.norm(unit) > 0 or not np.all(np.isfinite(unit)):
        raise SaddlesError(
            f"direction has shape {unit.shape}: expected a finite nonzero vector of shape ({problem.size},)"
        )
    return unit / np.linalg.norm(unit)


def require_resolved(scale: float, degree: int) -> None:
    """Raise `PrecisionError` where the gradient at the start underflows."""
    if not scale > 0 or not np.isfinite(scale):
        raise SaddlesError(f"scale = {scale!r}: expected a positive finite number")
    if (degree - 1) * np.log(scale) < np.log(_SMALLEST_SLOPE):
        raise PrecisionError(
            f"scale {scale:g} at degree {degree}: the gradient scale^{degree - 1} is below 1e-280 and cannot be "
            'integrated; use mode="predict"'
        )


def clock_of(flow: CorrelationFlow, scale: float) -> float:
    """T_δ: the blow-up time over δ^{L−2}, or ln(1/(δκ))/λ at degree 2."""
    assert flow.point is not None
    degree = flow.correlation.degree
    if degree > 2:
        return flow.blow_up_time / scale ** (degree - 2)
    return -float(np.log(scale * flow.amplitude)) / flow.point.multiplier


def ray_clock(correlation: NeuralCorrelation, multiplier: float, radius: float) -> float:
    """The limiting path's clock where it has the norm `radius`, small."""
    power = correlation.degree - 2
    return float(np.log(radius)) / multiplier if power == 0 else -1.0 / (multiplier * power * radius**power)


def follow_ray(
    problem: Problem, flow: CorrelationFlow, groups: Groups, radius: float, accuracy: float
) -> tuple[float, Segment]:
    """(clock of the first row, the limiting path from `radius` on) by the prediction engine."""
    assert flow.point is not None
    star = flow.point.correlation.embed(flow.point.direction)
    star[np.abs(star) < 1e-12] = 0.0
    alive = np.array([bool(np.any(star[group])) for group in groups], bool)
    active = np.flatnonzero(star) if not len(groups) else np.unique(
        np.concatenate([group for group, lives in zip(groups, alive, strict=True) if lives])
    )  # fmt: skip
    start = flow.point.correlation.base + radius * star
    segment = follow_base(
        problem, start, active, groups, alive, dict.fromkeys(range(len(groups)), 0.0),
        accuracy=accuracy, radius=radius, peak=0.0, level=1e-7,
    )  # fmt: skip
    return ray_clock(flow.correlation, flow.point.multiplier, radius), segment


def escape_time(
    problem: Problem,
    direction: Float[Array | np.ndarray, " P"],
    scale: float,
    *,
    radius: float | None = None,
    measure: bool = True,
    accuracy: float = 1e-8,
) -> Escape:
    """When ‖θ‖ first reaches a radius from θ(0) = scale · direction/‖direction‖: predicted and measured.

    Arguments:
        problem: what is trained; its network must be homogeneous of degree ≥ 2.
        direction (P,): of the start; normalised here.
        scale: δ = ‖θ(0)‖.
        radius: the norm to reach. Default: half of the norm of the first saddle.
        measure: integrate the flow, too, in log time dt = ‖θ‖^{−(L−2)} ds: its cost grows with ln(1/δ) only.
        accuracy: relative accuracy of the measured time.

    Raises:
        NotHomogeneousError, DegreeBelowTwoError: the network is not homogeneous, or of a degree below 2.
        PrecisionError: float64 is off.
        SaddlesError: arguments that do not fit.

    Source: scaling: A. Kumar, J. Haupt, arXiv:2403.08121; constants re-derived.

    Example:
        >>> import numpy as np, thetadot as td
        >>> net = td.EmpiricalRisk(td.linear([1, 1, 1]), td.squared, np.ones((1, 1)), np.ones(1))
        >>> found = escape_time(net, np.ones(2), 1e-6, radius=0.5, measure=False)
        >>> exact = np.log(0.125 * (1 - 5e-13) / (5e-13 * (1 - 0.125))) / 2  # s′ = s(1 − s²), ‖θ‖² = 2s²
        >>> bool(abs(found.predicted - exact) < 1e-6)
        True
    """
    require_float64()
    unit = normalised(problem, direction)
    correlation = neural_correlation(problem)
    require_resolved(scale, correlation.degree)
    groups = [np.asarray(neuron.indices) for neuron in problem.layout.neurons]
    flow = correlation_flow(correlation, unit)
    nan = float("nan")
    if flow.status is not FlowStatus.ESCAPES:
        return Escape(nan, nan, nan, radius or nan, scale * unit, nan, scale, None, EscapeStatus.NEVER)
    assert flow.point is not None
    rate = problem.time_scale
    # The ray's own error falls with the radius, the rounding of its clock grows: a radius between them.
    small = {2: 1e-6, 3: 1e-4}.get(correlation.degree, 1e-3)
    start, segment = follow_ray(problem, flow, groups, small, 1e-10)
    norms = np.linalg.norm(segment.thetas, axis=1)
    radius = 0.5 * float(norms[-1]) if radius is None else float(radius)
    clock = clock_of(flow, scale)
    row = int(np.searchsorted(norms >= radius, True)) if radius > small else 0
    if scale > _ASYMPTOTIC * 1e-1:
        warnings.warn(
            f"scale {scale:g} is not small: the theory is asymptotic, compare three scales",
            NotAsymptoticWarning,
            stacklevel=2,
        )
    if row >= len(norms):
        predicted, theta = nan, segment.thetas[-1]
    elif radius <= small:
        predicted = clock + ray_clock(correlation, flow.point.multiplier, radius)
        theta = radius * correlation.embed(flow.point.direction)
    else:
        tau, theta = _norm_crossing(segment, row, radius)
        predicted = clock + start + tau
    measured, stats = nan, None
    if measure:
        measured, state, stats = _measure(problem, unit, scale, correlation, radius, accuracy, predicted)
        theta = theta if state is None else state
    star = correlation.embed(flow.point.direction)
    alignment = 1.0 - float(theta @ star) / float(np.linalg.norm(theta))
    reached = np.isfinite(measured) if measure else np.isfinite(predicted)
    status = EscapeStatus.ESCAPED if reached else EscapeStatus.NOT_REACHED
    return Escape(
        predicted / rate, measured / rate, clock / rate, radius, theta, alignment, float(scale), stats, status
    )


def _norm_crossing(segment: Segment, row: int, radius: float) -> tuple[float, np.ndarray]:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if np.linalg.norm(segment.at(row - 1, middle)) < radius:
            low = middle
        else:
            high = middle
    width = segment.times[row] - segment.times[row - 1]
    return float(segment.times[row - 1] + high * width), segment.at(row - 1, high)


def _measure(
    problem: Problem, unit: np.ndarray, scale: float, correlation: NeuralCorrelation, radius: float,
    accuracy: float, predicted: float,
) -> tuple[float, np.ndarray | None, Stats]:  # fmt: skip
    """(time, state, cost) of the full flow in log time until the radius."""
    power = correlation.degree - 2
    args = (problem, jnp.asarray(float(power)), jnp.asarray(radius))
    state = {"clock": jnp.asarray(0.0), "theta": jnp.asarray(scale * unit)}
    # ln‖θ‖ grows at 𝒩(θ/‖θ‖)·L per unit of log time; a hundred times the typical time is a horizon for all.
    slope = max(abs(correlation.value(unit)) * correlation.degree, 1e-12)
    horizon = 100.0 * (abs(np.log(radius / scale)) + 30.0) / slope
    if np.isfinite(predicted) and power == 0:
        horizon = min(horizon, 10 * abs(predicted) + 1.0)
    path = integrate(
        Flow(log_time_field, args), state, until=Until(time=horizon), accuracy=accuracy,
        rtol=max(accuracy * 1e-2, 1e-12), solver="Tsit5",
        events=[Event(_beyond, "zero", terminal=True, direction=1, name="escape")], progress=False,
    )  # fmt: skip
    hit = [event for event in path.events if event.name == "escape"]
    if not hit:
        return float("nan"), None, path.stats
    return float(hit[0].theta[0]), np.asarray(hit[0].theta[1:]), path.stats
