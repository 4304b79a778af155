"""The whole staircase: every saddle with its escape, predicted and measured."""

import dataclasses
import enum
import itertools
import logging
import time
import warnings

import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from threadpoolctl import threadpool_limits

from thetadot.dynamics import Outcome, Path, Until
from thetadot.problems import Problem
from thetadot.saddles.critical_points import CriticalPoint, PointKind, PointStatus, critical_point
from thetadot.saddles.derivatives import hessian, require_float64, value_and_gradient
from thetadot.saddles.errors import (
    NotAsymptoticWarning,
    SaddlesError,
    StableManifoldWarning,
)
from thetadot.saddles.escape import normalised, require_resolved
from thetadot.saddles.homogeneity import homogeneity, require_homogeneous
from thetadot.saddles.matched import Walk, Walker
from thetadot.saddles.plateaus import plateaus
from thetadot.saddles.sparsity import Groups, _seed, neuron_groups
from thetadot.saddles.trajectory import crossing_time, followed, started

log = logging.getLogger("thetadot.saddles")

_LONGEST = 1e7
_PROMINENCE = 3.0


class ItineraryStatus(enum.Enum):
    """How the walk ended."""

    REACHED_MINIMUM = "nothing leads down from the last point"
    MAX_SADDLES = "as many saddles as asked for were left"
    NEAR_ORIGIN = "the correlation flow vanishes: small weights never leave"
    ON_STABLE_MANIFOLD = "unstable modes exist, their amplitude is exactly zero"
    UNBOUNDED = "the weights grow without bound"
    BUDGET_SPENT = "the budget of seconds is spent"
    UNSUPPORTED = "a step that the method does not cover"


@dataclasses.dataclass(frozen=True)
class Visit:
    """One point of the walk.

    Attributes:
        point: the critical point.
        escape_predicted, escape_measured: time at which the loss crosses the mean of this and the next visit's.
        exit: "linear" (an unstable mode), "homogeneous" (dead neurons of degree above 2) or None.
        exit_rate: k of the mode, or λ of the residual correlation point; nan where a homogeneous exit was only passed.
        exit_degree: 2, or D; 0 without an exit.
        closest_approach: least distance of the trajectory from the point; nan in predict mode.
        approach_exponent: predicted exponent in the scale of that distance; nan if not the first, strict, saddle.
        settled: whether the walk came to rest; False where the next departure overlapped the arrival.
        grad_norm: ‖∇L‖ at the point (predict) or where the trajectory is slowest (integrate).
    """

    point: CriticalPoint
    escape_predicted: float
    escape_measured: float
    exit: str | None
    exit_rate: float
    exit_degree: int
    closest_approach: float
    approach_exponent: float
    settled: bool
    grad_norm: float


@dataclasses.dataclass(frozen=True)
class Itinerary:
    """The walk from saddle to saddle.

    Attributes:
        visits: the origin first, the last point last.
        status, reason: how it ended.
        mode: "both", "predict" or "integrate". scale: ‖θ(0)‖. degree: of the network, None if not homogeneous.
        path: the integrated trajectory, or None.
        dwells_predicted (S,), dwells_measured (S,): gaps between escapes, kept as gaps: at 10³⁰ a dwell of 20 is below
            the resolution of the sum.
        notes: what was limited, and what broke a symmetry.
    """

    visits: tuple[Visit, ...]
    status: ItineraryStatus
    reason: str
    mode: str
    scale: float
    degree: float | None
    path: Path | None
    dwells_predicted: Float[np.ndarray, " S"]
    dwells_measured: Float[np.ndarray, " S"]
    notes: tuple[str, ...] = ()

    @property
    def losses(self) -> Float[np.ndarray, " S"]:
        """Loss at every visit."""
        return np.array([visit.point.loss for visit in self.visits])

    @property
    def escapes_predicted(self) -> Float[np.ndarray, " S"]:
        """Predicted escape times; nan for the last visit."""
        return np.array([visit.escape_predicted for visit in self.visits])

    @property
    def escapes_measured(self) -> Float[np.ndarray, " S"]:
        """Measured escape times; nan where nothing was measured."""
        return np.array([visit.escape_measured for visit in self.visits])

    @property
    def indices(self) -> Int[np.ndarray, "S 3"]:
        """(negative, zero, positive) eigenvalues at every visit."""
        return np.array(
            [
                (visit.point.index.negative, visit.point.index.zero, visit.point.index.positive)
                for visit in self.visits
            ]
        )

    @property
    def supports(self) -> Bool[np.ndarray, "S G"]:
        """Which groups live at every visit."""
        return np.array([visit.point.support for visit in self.visits], bool)

    def to_xarray(self):
        """Dimensions visit, sign, group, parameter."""
        from thetadot.saddles.labels import itinerary_dataset

        return itinerary_dataset(self)

    def __str__(self) -> str:
        from thetadot.saddles.labels import itinerary_table

        return itinerary_table(self)


@threadpool_limits.wrap(limits=1)
def saddle_itinerary(
    problem: Problem,
    direction: Float[Array | np.ndarray, " P"],
    scale: float,
    *,
    mode: str = "both",
    max_saddles: int = 20,
    groups: Groups | None = None,
    accuracy: float = 1e-8,
    match_radius: float | None = None,
    perturb: float = 0.0,
    budget: float | None = None,
    key: PRNGKeyArray | None = None,
) -> Itinerary:
    """The whole walk from a small start: every saddle, its verdict, and when it is left.

    Arguments:
        problem: what is trained.
        direction (P,): of the start; θ(0) = scale · direction/‖direction‖.
        scale: ‖θ(0)‖; "predict" takes 1e-30 as easily as 1e-3.
        mode: "predict" (matched asymptotics, no integration of plateaus), "integrate", or "both".
        max_saddles: points left after the origin; 1 stops once the first saddle has been left.
        groups: which weights live and die together; default: hidden neurons.
        accuracy: of the integration; the prediction's own steps are a hundred times finer.
        match_radius: norm at which asymptotics meet the full flow; default 1e-2 where dead neurons blow up, 1e-4 where
            a mode grows exponentially, at least the scale (ten times for dead neurons).
        perturb: relative size of a random perturbation of the direction, which leads off invariant manifolds.
        budget: wall-clock seconds; what was found until then is returned.
        key: of the perturbation.

    Raises:
        NotHomogeneousError, DegreeBelowTwoError: in the modes that predict.
        NoGroupsError, PrecisionError, SaddlesError: bad arguments.

    Source: matched asymptotics re-derived; idea of the repeated escape: A. Kumar, J. Haupt, arXiv:2509.12154.

    Example:
        >>> import numpy as np, thetadot as td
        >>> x = np.sqrt(2) * np.eye(2)
        >>> problem = td.EmpiricalRisk(td.diagonal(2), td.squared, x, x @ np.array([2.0, 1.0]))
        >>> walk = saddle_itinerary(problem, np.array([1.0, 1.0, 0.0, 0.0]), 1e-30, mode="predict")
        >>> [int(row[0]) for row in walk.indices], walk.status.name
        ([2, 1, 0], 'REACHED_MINIMUM')
    """
    require_float64()
    if mode not in ("both", "predict", "integrate"):
        raise SaddlesError(f'mode = {mode!r}: expected "both", "predict" or "integrate"')
    unit = normalised(problem, direction)
    began = time.monotonic()

    def out_of_time() -> bool:
        return budget is not None and time.monotonic() - began > budget

    noise = None
    if perturb:
        noise = np.random.default_rng(_seed(key)).normal(size=unit.size)
        noise *= perturb / np.linalg.norm(noise)
    if groups is None:
        groups = neuron_groups(problem) if mode != "integrate" or problem.layout.neurons else ()
    report = require_homogeneous(problem) if mode != "integrate" else homogeneity(problem)
    if mode != "predict":
        require_resolved(scale, int(report.degree or 2))
    if mode == "integrate":
        return _integrated(problem, unit, scale, noise, accuracy, max_saddles, budget, report.degree)
    walk = Walker(
        problem, groups, unit, scale, match_radius=match_radius, accuracy=accuracy, max_saddles=max_saddles,
        out_of_time=out_of_time, perturbation=noise,
    ).walk()  # fmt: skip
    _warn(walk, scale)
    if mode == "predict":
        return _assemble(walk, None, "predict", scale, report.degree, problem)
    rest = None if budget is None else max(budget - (time.monotonic() - began), 1.0)
    path, notes = _trajectory(problem, unit, scale, noise, accuracy, walk, report.degree, rest)
    walk.notes.extend(notes)
    return _assemble(walk, path, "both", scale, report.degree, problem)


def _warn(walk: Walk, scale: float) -> None:
    if scale > 0.03:
        warnings.warn(
            f"scale {scale:g} is not small against the matching radius: predictions are asymptotic",
            NotAsymptoticWarning,
            stacklevel=3,
        )
    if walk.ending == "ON_STABLE_MANIFOLD":
        warnings.warn(
            "the start lies exactly on the stable manifold of a saddle and stays there; perturb=1e-12 leaves it",
            StableManifoldWarning,
            stacklevel=3,
        )


def _assemble(
    walk: Walk, path: Path | None, mode: str, scale: float, degree: float | None, problem: Problem
) -> Itinerary:
    rate = problem.time_scale
    stops = walk.stops
    predicted = np.array([stop.dwell / rate for stop in stops])
    escapes = np.cumsum(predicted)
    measured = np.full(len(stops), np.nan)
    closest = np.full(len(stops), np.nan)
    if path is not None:
        for number, stop in enumerate(stops):
            closest[number] = float(np.min(np.linalg.norm(path.thetas - stop.point.theta, axis=1)))
            if number + 1 < len(stops):
                measured[number] = crossing_time(path, 0.5 * (stop.point.loss + stops[number + 1].point.loss))
    gaps = np.diff(np.concatenate([[0.0], measured]))
    visits = tuple(
        Visit(
            stop.point, float(escapes[number]), float(measured[number]), stop.exit, stop.rate * rate, stop.degree,
            float(closest[number]), stop.approach, stop.settled, stop.point.grad_norm,
        )
        for number, stop in enumerate(stops)
    )  # fmt: skip
    return Itinerary(
        visits, ItineraryStatus[walk.ending], walk.reason, mode, float(scale), degree, path, predicted, gaps,
        tuple(walk.notes),
    )  # fmt: skip


def _trajectory(
    problem: Problem, unit: np.ndarray, scale: float, noise: np.ndarray | None, accuracy: float, walk: Walk,
    degree: float | None, budget: float | None,
) -> tuple[Path | None, list[str]]:  # fmt: skip
    """The integrated walk, as far as it can be afforded."""
    notes: list[str] = []
    theta = scale * (unit if noise is None else unit + noise)
    dwells = np.array([stop.dwell for stop in walk.stops])
    horizon, cost = 0.0, 0.0
    for number, dwell in enumerate(dwells):
        sharpest = float(np.abs(walk.stops[number].point.index.eigenvalues).max(initial=0.0))
        if not np.isfinite(dwell):
            horizon += 60.0 / max(sharpest, 1e-3) if number else 0.0
            break
        # The first escape is cheap at any scale: the flow near the origin is as slow as its steps are long.
        cost = dwell * sharpest if number else 0.0
        if cost > _LONGEST:
            notes.append(
                f"integration ends at visit {number}: a plateau of {dwell:.3g} at curvature {sharpest:.3g} is too long"
            )
            break
        horizon += dwell
    first = float(dwells[0]) if len(dwells) else float("nan")
    if not np.isfinite(first):
        return None, [*notes, "not integrated: no escape is predicted"]
    state, offset = started(problem, theta, degree, accuracy, first)
    ahead = (
        max(horizon * 1.0 - offset, 0.0) + 0.05 * float(np.nansum(dwells[1:][dwells[1:] < _LONGEST])) + 20.0
    )
    path = followed(problem, state, Until(time=ahead), accuracy, budget, offset)
    return path, notes


def _integrated(
    problem: Problem, unit: np.ndarray, scale: float, noise: np.ndarray | None, accuracy: float,
    max_saddles: int, budget: float | None, degree: float | None,
) -> Itinerary:  # fmt: skip
    """Saddles from the trajectory alone: its plateaus, polished."""
    theta = scale * (unit if noise is None else unit + noise)
    slope = float(np.linalg.norm(value_and_gradient(problem, theta)[1]))
    notes: list[str] = []
    time_unit = scale / max(slope, 1e-300)
    state, offset = started(problem, theta, degree, accuracy, time_unit)
    if noise is None and _balanced_on_edge(problem, unit, degree):
        notes.append(
            "the start is on an invariant manifold of the origin: where the walk leaves it, rounding decided when"
        )
        log.warning("%s", notes[-1])
    goal = max(1e-2 * float(np.linalg.norm(value_and_gradient(problem, state)[1])), 1e-13)
    path = followed(
        problem,
        state,
        Until(grad_norm=min(goal, 1e-10), time=1e6 * time_unit + 1e6),
        accuracy,
        budget,
        offset,
    )
    origin = critical_point(problem, np.zeros(problem.size)) if degree is not None else None
    found: list[tuple[CriticalPoint, float]] = [] if origin is None else [(origin, slope)]
    # Shallow plateaus, too: the polish decides which of them are critical points.
    for plateau in plateaus(path, prominence=_PROMINENCE):
        point = critical_point(problem, plateau.theta)
        lower = not found or point.loss < found[-1][0].loss - 1e-12
        if point.status is PointStatus.POLISHED and lower:
            found.append((point, plateau.grad_norm))
    if not found:
        found = [(critical_point(problem, np.asarray(path.thetas[-1])), float(path.grad_norms[-1]))]
    found = found[: max_saddles + 2]
    points = [point for point, _ in found]
    escapes = np.array(
        [crossing_time(path, 0.5 * (one.loss + two.loss)) for one, two in itertools.pairwise(points)]
        + [np.nan]
    )
    visits = tuple(
        Visit(
            point, float("nan"), float(escapes[number]), None, float("nan"), 0,
            float(np.min(np.linalg.norm(path.thetas - point.theta, axis=1))), float("nan"), True, grad_norm,
        )
        for number, (point, grad_norm) in enumerate(found)
    )  # fmt: skip
    status = _status(path, points, max_saddles)
    return Itinerary(
        visits, status, path.reason, "integrate", float(scale), degree, path, np.full(len(visits), np.nan),
        np.diff(np.concatenate([[0.0], escapes])), tuple(notes),
    )  # fmt: skip


def _status(path: Path, points: list[CriticalPoint], max_saddles: int) -> ItineraryStatus:
    if path.outcome is Outcome.BUDGET_SPENT:
        return ItineraryStatus.BUDGET_SPENT
    if len(points) >= max_saddles + 2:
        return ItineraryStatus.MAX_SADDLES
    if len(points) > 1 and points[-1].kind is PointKind.MINIMUM:
        return ItineraryStatus.REACHED_MINIMUM
    if len(points) <= 1:
        norms = np.linalg.norm(path.thetas[[0, -1]], axis=1)
        if norms[1] <= norms[0]:
            index = points[0].index
            on_edge = index.negative > 0
            return ItineraryStatus.ON_STABLE_MANIFOLD if on_edge else ItineraryStatus.NEAR_ORIGIN
    if np.linalg.norm(path.thetas[-1]) > 1.05 * np.linalg.norm(path.thetas[len(path.ts) * 9 // 10]):
        return ItineraryStatus.UNBOUNDED
    return ItineraryStatus.UNSUPPORTED


def _balanced_on_edge(problem: Problem, unit: np.ndarray, degree: float | None) -> bool:
    """Whether the start has no part in the unstable modes of the origin although there are some."""
    if degree is None or abs(degree - 2) > 1e-6:
        return False
    k, vectors = np.linalg.eigh(-hessian(problem, np.zeros(problem.size)))
    growing = k > 1e-8 * max(float(np.abs(k).max()), 1e-300)
    return bool(growing.any() and np.linalg.norm(vectors[:, growing].T @ unit) < 1e-12)
