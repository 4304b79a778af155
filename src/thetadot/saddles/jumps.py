"""A jump between critical points: the base follows the full flow, everything infinitesimal follows the base."""

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.integrate import LSODA, OdeSolver, Radau
from scipy.optimize import brentq
from scipy.sparse.csgraph import connected_components

from thetadot.problems import Problem
from thetadot.saddles.critical_points import _union
from thetadot.saddles.derivatives import hessian, hessians, value_and_gradient

_PROMINENCE = 3.0
_DEMOTED = 2e-3
_MOST_STEPS = 30_000
_LATEST = 1e15
_GAUSS = np.array([0.5 - np.sqrt(3) / 6, 0.5 + np.sqrt(3) / 6])
_NEAR, _FAR = (3 + 2 * np.sqrt(3)) / 12, (3 - 2 * np.sqrt(3)) / 12
_STRUCTURAL = 1e-14
_SMALL = 1e-5


@dataclasses.dataclass
class Column:
    """Something infinitesimal: e^log · vector, the vector of norm 1 (P,)."""

    log: float
    vector: np.ndarray


@dataclasses.dataclass
class Base:
    """A point of the full flow: θ, which groups live (G,), the largest ‖∇L‖ of the jump so far."""

    theta: np.ndarray
    alive: np.ndarray
    peak: float = 0.0
    leaving: bool = False

    def __post_init__(self):
        if self.leaving:
            self.peak = 0.0


@dataclasses.dataclass
class Segment:
    """A piece of the full flow at the solver's steps; `ending` says why it ends.

    settled, passing (the gradient had a deep minimum and rises again), faded (group `faded` has become small),
    unbounded, exhausted.
    """

    problem: Problem
    active: np.ndarray
    times: np.ndarray
    thetas: np.ndarray
    losses: np.ndarray
    slopes: np.ndarray
    pieces: list
    before: float
    ending: str
    faded: int = -1

    @property
    def peak(self) -> float:
        """Largest ‖∇L‖ of the jump so far."""
        return max(self.before, float(self.slopes.max()))

    @property
    def duration(self) -> float:
        """Time from its first to its last row."""
        return float(self.times[-1])

    def at(self, row: int, place: float) -> np.ndarray:
        """θ (P,) at the fraction `place` of the step that ends in row + 1."""
        piece = self.pieces[row]
        theta = self.thetas[row].copy()
        theta[self.active] = piece(self.times[row] + place * (self.times[row + 1] - self.times[row]))
        return theta

    def crossing(self, level: float) -> float | None:
        """Time at which the loss falls through `level`, or None."""
        below = np.flatnonzero((self.losses[:-1] >= level) & (self.losses[1:] < level))
        if not below.size:
            return None
        row = int(below[0])

        def excess(place: float) -> float:
            return value_and_gradient(self.problem, self.at(row, place))[0] - level

        first, last = excess(0.0), excess(1.0)
        place = float(brentq(excess, 0.0, 1.0, xtol=1e-13)) if first * last < 0 else 0.0  # pyright: ignore
        return float(self.times[row] + place * (self.times[row + 1] - self.times[row]))

    def cut(self, row: int, place: float = 1.0) -> "Segment":
        """The part up to a row, or up to the fraction `place` of the step that ends there."""
        if place < 1.0:
            return self._cut_within(row, place)
        return dataclasses.replace(
            self, times=self.times[: row + 1], thetas=self.thetas[: row + 1], losses=self.losses[: row + 1],
            slopes=self.slopes[: row + 1], pieces=self.pieces[:row],
        )  # fmt: skip

    def _cut_within(self, row: int, place: float) -> "Segment":
        part, theta = self.cut(row), self.at(row - 1, place)
        loss, slope = value_and_gradient(self.problem, theta)
        last = part.times[row - 1] + place * (part.times[row] - part.times[row - 1])
        return dataclasses.replace(
            part, times=np.append(part.times[:-1], last), thetas=np.concatenate([part.thetas[:-1], theta[None]]),
            losses=np.append(part.losses[:-1], loss), slopes=np.append(part.slopes[:-1], np.linalg.norm(slope)),
        )  # fmt: skip


def follow_base(
    problem: Problem,
    theta: Float[np.ndarray, " P"],
    active: np.ndarray,
    groups: Sequence[np.ndarray],
    alive: np.ndarray,
    patience: dict[int, float],
    *,
    accuracy: float,
    radius: float,
    peak: float,
    level: float,
    until: float = _LATEST,
) -> Segment:
    """The full flow of the active weights until it settles, passes a saddle, or one of its groups fades.

    SciPy's LSODA, or Radau where it fails: implicit where the flow is stiff, and nothing to compile for each number of
    live neurons.
    """
    base = np.zeros_like(theta)

    def whole(y: np.ndarray) -> np.ndarray:
        full = base.copy()
        full[active] = y
        return full

    def field(_: float, y: np.ndarray) -> np.ndarray:
        return -value_and_gradient(problem, whole(y))[1][active]

    def jacobian(_: float, y: np.ndarray) -> np.ndarray:
        return -hessian(problem, whole(y))[np.ix_(active, active)]

    def begun(method: type, time: float, y: np.ndarray) -> OdeSolver:
        return method(field, time, y, until, rtol=accuracy, atol=accuracy * 1e-2 * radius, jac=jacobian)

    solver = begun(LSODA, 0.0, theta[active])
    living = np.flatnonzero(alive).tolist()
    loss, slope = value_and_gradient(problem, theta)
    times, thetas, losses, slopes, pieces = [0.0], [theta.copy()], [loss], [float(np.linalg.norm(slope))], []
    norms = np.array([np.linalg.norm(theta[groups[number]]) for number in living])
    ending, faded, lowest, lowest_row = "exhausted", -1, np.inf, 0
    before = peak
    peak = max(peak, slopes[0])
    while len(times) < _MOST_STEPS:
        if not _stepped(solver):
            # Kinks of the Hessian may stop LSODA's Newton iteration; Radau takes them with short steps.
            solver = begun(Radau, solver.t, solver.y)
            if not _stepped(solver):
                break
        here = whole(solver.y)
        loss, slope = value_and_gradient(problem, here)
        pieces.append(solver.dense_output())
        times.append(solver.t)
        thetas.append(here)
        losses.append(loss)
        slopes.append(float(np.linalg.norm(slope)))
        if slopes[-1] > peak:
            peak, lowest = slopes[-1], np.inf
        if slopes[-1] < lowest:
            lowest, lowest_row = slopes[-1], len(times) - 1
        if slopes[-1] < level * peak:
            ending = "settled"
            break
        if lowest < peak / _PROMINENCE and slopes[-1] > _PROMINENCE * lowest:
            ending = "passing"
            break
        if solver.status == "finished":
            ending = "time"
            break
        size = float(np.linalg.norm(here))
        if not np.isfinite(loss) or size > 1e8:
            ending = "unbounded"
            break
        now = np.array([np.linalg.norm(here[groups[number]]) for number in living])
        fading = np.flatnonzero((now < _DEMOTED * size) & (now < norms))
        norms = now
        for place in fading:
            if now[place] < patience.get(int(living[place]), np.inf):
                ending, faded = "faded", int(living[place])
        if ending == "faded":
            break
    segment = Segment(
        problem,
        active,
        np.array(times),
        np.array(thetas),
        np.array(losses),
        np.array(slopes),
        pieces,
        before,
        ending,
        faded,
    )
    return segment.cut(lowest_row) if ending == "passing" else segment


def _stepped(solver: OdeSolver) -> bool:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="lsoda")
        return solver.step() is None and solver.status != "failed"


def follow_columns(
    problem: Problem, segment: Segment, columns: Sequence[Column]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """[(log amplitudes (S,), unit vectors (S, P))] of every column, split into blocks that do not interact.

    Fourth-order commutator-free Magnus steps with the Hessian at two Gauss points of each step: exact on plateaus,
    stable where the flow is stiff, and exact zeros of a symmetry stay zero.
    """
    if not columns:
        return []
    steps = len(segment.pieces)
    touched = np.zeros(segment.thetas.shape[1], bool)
    for column in columns:
        touched |= column.vector != 0
    touched[segment.active] = True
    indices = np.flatnonzero(touched)
    if steps == 0:
        return [(np.array([column.log]), column.vector[None]) for column in columns]
    points = np.array([segment.at(row, place) for row in range(steps) for place in _GAUSS])
    matrices = hessians(problem, points, indices)
    pattern = np.abs(matrices).max(axis=0)
    _, label = connected_components(pattern > _STRUCTURAL * max(float(pattern.max()), 1e-300))
    widths = np.diff(segment.times)
    fate = []
    for block in range(label.max() + 1):
        local = np.flatnonzero(label == block)
        parts = [
            (column.log, column.vector[indices[local]])
            for column in columns
            if np.any(column.vector[indices[local]])
        ]
        if not parts:
            continue
        sizes = np.array([np.linalg.norm(part) for _, part in parts])
        logs = np.array([part[0] for part in parts]) + np.log(sizes)
        current = np.array([part for _, part in parts]).T / sizes
        first, second = (matrices[place::2][:, local[:, None], local[None, :]] for place in (0, 1))
        early = _exponentials(_NEAR * first + _FAR * second, widths)
        late = _exponentials(_FAR * first + _NEAR * second, widths)
        all_logs = np.empty((steps + 1, len(parts)))
        vectors = np.zeros((steps + 1, len(parts), segment.thetas.shape[1]))
        all_logs[0] = logs
        vectors[0][:, indices[local]] = current.T
        for row in range(steps):
            shift_early, matrix_early = early[0][row], early[1][row]
            shift_late, matrix_late = late[0][row], late[1][row]
            current = matrix_late @ (matrix_early @ current)
            sizes = np.linalg.norm(current, axis=0)
            with np.errstate(divide="ignore"):
                logs = logs + np.log(sizes) + shift_early + shift_late
            current = current / np.where(sizes > 0, sizes, 1.0)
            all_logs[row + 1] = logs
            vectors[row + 1][:, indices[local]] = current.T
        fate += [(all_logs[:, number], vectors[:, number]) for number in range(len(parts))]
    return [pair for pair in fate if np.isfinite(pair[0][-1])]


def _exponentials(
    matrices: Float[np.ndarray, "S n n"], widths: Float[np.ndarray, " S"]
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, "S n n"]]:
    """exp(−h·M) of each as (log of a common factor, matrix of norm at most 1)."""
    sizes, vectors = np.linalg.eigh(matrices)
    exponents = -widths[:, None] * sizes
    shifts = exponents.max(axis=1)
    return shifts, np.einsum("sij,sj,skj->sik", vectors, np.exp(exponents - shifts[:, None]), vectors)


def follow_dead(
    problem: Problem, segment: Segment, start: Float[np.ndarray, " P"], groups: Sequence[np.ndarray], degree: int,
    radius: float,
) -> tuple[Float[np.ndarray, "R P"], float]:  # fmt: skip
    """Dead weights along a segment: the homogeneous flow that the current residuals drive, at every row.

    Runge–Kutta of order 4 on the solver's own steps, which resolve the change of the residuals. The rows end where
    a group has grown beyond the radius, at a fraction of the last step: it joins the base there.
    """
    dead = _union(groups)
    found = np.zeros((len(segment.times), start.size))
    z = start[dead].copy()
    first = [float(np.linalg.norm(start[group])) for group in groups]
    found[0][dead] = z

    def field(theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        size = float(np.linalg.norm(z))
        if size == 0.0:
            return np.zeros_like(z)
        moved = theta.copy()
        moved[dead] = _SMALL * z / size
        return -value_and_gradient(problem, moved)[1][dead] * (size / _SMALL) ** (degree - 1)

    for row in range(len(segment.pieces)):
        width = float(segment.times[row + 1] - segment.times[row])
        ends = segment.thetas[row], segment.at(row, 0.5), segment.thetas[row + 1]
        speed = np.linalg.norm(field(ends[0], z)) / max(float(np.linalg.norm(z)), 1e-300)
        parts = int(min(max(1, np.ceil(10 * speed * width)), 200))
        for part in range(parts):
            if parts > 1:
                low, high = part / parts, (part + 1) / parts
                ends = tuple(segment.at(row, place) for place in (low, 0.5 * (low + high), high))
            h = width / parts
            one = field(ends[0], z)
            two = field(ends[1], z + 0.5 * h * one)
            three = field(ends[1], z + 0.5 * h * two)
            four = field(ends[2], z + h * three)
            z = z + h / 6 * (one + 2 * two + 2 * three + four)
            found[row + 1][dead] = z
            norms = [float(np.linalg.norm(found[row + 1][group])) for group in groups]
            if any(norm > max(radius, 1.0001 * before) for norm, before in zip(norms, first, strict=True)):
                return found[: row + 2], (part + 1) / parts
    return found, 1.0
