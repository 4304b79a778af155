"""Critical points: polish, Morse index, and whether a degenerate one is a saddle."""

import dataclasses
import enum
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse.linalg import LinearOperator, eigsh

from thetadot.problems import Problem
from thetadot.saddles.correlation import NeuralCorrelation, _build, _product, neural_correlation
from thetadot.saddles.correlation_points import supremum
from thetadot.saddles.derivatives import LARGEST_DENSE, hessian, require_float64, value_and_gradient
from thetadot.saddles.errors import SaddlesError
from thetadot.saddles.sparsity import is_zero_preserving

_DEAD = 1e-2
_FARTHEST = 0.1
_RESIDUAL = 1e-9
_VANISHED = 1e-6


class PointKind(enum.Enum):
    """What a critical point is."""

    MINIMUM = "no direction leads down; flat ones may remain"
    STRICT_SADDLE = "the Hessian has a negative eigenvalue"
    DEGENERATE_SADDLE = "dead neurons lead down at higher order although no eigenvalue is negative"
    UNDETERMINED = "not decided"


class PointStatus(enum.Enum):
    """How the polish ended."""

    POLISHED = "the gradient vanishes"
    MOVED_TOO_FAR = "the nearest critical point is farther than a tenth of the norm"
    NOT_CONVERGED = "no critical point was found"


@dataclasses.dataclass(frozen=True)
class MorseIndex:
    """Signs of the Hessian's eigenvalues.

    Attributes:
        negative, zero, positive: how many; with "lanczos" zero is a lower bound, and positive counts the rest.
        eigenvalues: all, ascending ("dense"), or those computed at both ends.
        method: "dense" or "lanczos".
    """

    negative: int
    zero: int
    positive: int
    eigenvalues: Float[np.ndarray, " n"]
    method: str


@dataclasses.dataclass(frozen=True)
class CriticalPoint:
    """A polished critical point.

    Attributes:
        theta (P,), loss, grad_norm: the point.
        moved: distance from the start of the polish, over its norm.
        support (G,): which groups are alive; empty where no groups are known.
        index: signs of the Hessian's eigenvalues.
        residual_supremum: largest residual correlation of dead groups on the unit sphere; 0 without any.
        kind: MINIMUM, STRICT_SADDLE, DEGENERATE_SADDLE or UNDETERMINED.
        status: POLISHED, MOVED_TOO_FAR or NOT_CONVERGED.
    """

    theta: Float[np.ndarray, " P"]
    loss: float
    grad_norm: float
    moved: float
    support: Bool[np.ndarray, " G"]
    index: MorseIndex
    residual_supremum: float
    kind: PointKind
    status: PointStatus

    def __str__(self) -> str:
        index = self.index
        return (
            f"{self.kind.name}: loss {self.loss:.6g}, index ({index.negative}, {index.zero}, {index.positive}), "
            f"{int(self.support.sum())} of {self.support.size} groups alive, residual supremum "
            f"{self.residual_supremum:.3g}, ‖∇L‖ = {self.grad_norm:.1g}"
        )


Judge = Callable[[np.ndarray, np.ndarray], CriticalPoint]
"""(θ, which groups live) → the critical point near it."""


def morse_index(
    problem: Problem,
    theta: Float[Any, " P"],
    *,
    relative_tolerance: float = 1e-8,
    largest_dense: int = LARGEST_DENSE,
) -> MorseIndex:
    """How many eigenvalues of ∇²L(θ) are negative, zero, positive.

    Arguments:
        problem: what is trained.
        theta (P,): a critical point, dead weights exactly zero (tiny ones fake eigenvalues of their own size).
        relative_tolerance: eigenvalues below this part of the largest |eigenvalue| count as zero.
        largest_dense: largest P for the whole spectrum; above it Lanczos at both ends.

    Example:
        >>> import jax.numpy as jnp, numpy as np, thetadot as td
        >>> found = morse_index(td.FunctionRisk(lambda t: t[0] ** 2 - t[1] ** 2, jnp.zeros(3)), np.zeros(3))
        >>> found.negative, found.zero, found.positive
        (1, 1, 1)
    """
    theta = np.asarray(theta, float)
    if problem.size <= largest_dense:
        eigenvalues = np.linalg.eigvalsh(hessian(problem, theta))
        bound = relative_tolerance * max(np.abs(eigenvalues).max(), 1e-300)
        negative, positive = int(np.sum(eigenvalues < -bound)), int(np.sum(eigenvalues > bound))
        return MorseIndex(negative, eigenvalues.size - negative - positive, positive, eigenvalues, "dense")
    operator = LinearOperator(  # pyright: ignore
        (problem.size, problem.size),
        matvec=lambda v: np.asarray(_product(problem, theta, np.ravel(v))),  # pyright: ignore
        dtype=np.float64,  # pyright: ignore
    )
    start = np.random.default_rng(0).normal(size=problem.size)
    top = eigsh(operator, k=4, which="LA", v0=start, return_eigenvectors=False)
    count = 8
    while True:
        low = np.sort(eigsh(operator, k=count, which="SA", v0=start, return_eigenvectors=False))
        bound = relative_tolerance * max(abs(low[0]), np.abs(top).max())
        if low[-1] >= -bound or count >= problem.size // 4:
            break
        count *= 2
    negative, zero = int(np.sum(low < -bound)), int(np.sum(np.abs(low) <= bound))
    return MorseIndex(
        negative, zero, problem.size - negative - zero, np.concatenate([low, np.sort(top)]), "lanczos"
    )


def critical_point(
    problem: Problem,
    theta: Float[Any, " P"],
    *,
    support: str | Sequence[bool] | np.ndarray = "auto",
    tolerance: float = 1e-12,
) -> CriticalPoint:
    """Polish a nearly critical point, and say whether it is a minimum or a saddle.

    Dead neurons (whole groups that stay zero) are set to zero, the rest is polished by damped Newton steps on the
    gradient. The index alone does not decide: where no eigenvalue is negative, dead neurons may still lead down at
    higher order, which the supremum of the residual correlation function tells.

    Arguments:
        problem: what is trained.
        theta (P,): near a critical point.
        support: "auto" (the widest gap between norms of neurons), or which groups live (G,).
        tolerance: ‖∇L‖ to reach, in units of ‖∇²L‖·max(1, ‖θ‖): far out, where all slopes fade, nothing is critical.

    Source: re-derived; see `neural_correlation`.

    Example:
        >>> import numpy as np, thetadot as td
        >>> problem = td.EmpiricalRisk(td.two_layer(2, 1, "square"), td.squared, np.eye(2), np.array([3.0, 0.0]))
        >>> point = critical_point(problem, np.zeros(3))
        >>> point.index.negative, point.kind.name
        (0, 'DEGENERATE_SADDLE')
    """
    require_float64()
    start = np.asarray(theta, float)
    if start.shape != (problem.size,):
        raise SaddlesError(f"theta has shape {start.shape}: expected ({problem.size},)")
    groups = [np.asarray(neuron.indices) for neuron in problem.layout.neurons]
    alive = _living(problem, start, groups) if isinstance(support, str) else np.asarray(support, bool)
    if alive.shape != (len(groups),):
        raise SaddlesError(
            f"support has shape {alive.shape}: expected one entry for each of {len(groups)} groups"
        )
    typical = _typical(problem)

    def judged(near: np.ndarray, living: np.ndarray) -> CriticalPoint:
        return judge(problem, near, groups, living, tolerance, typical)

    if not isinstance(support, str):
        return judged(start, alive)
    point = judged_end(judged, groups, start, alive)[0]
    return dataclasses.replace(point, moved=_distance(point.theta, start))


def judge(
    problem: Problem,
    start: np.ndarray,
    groups: Sequence[np.ndarray],
    alive: np.ndarray,
    tolerance: float,
    typical: float | None,
) -> CriticalPoint:
    """`critical_point` with a known support; `typical` is the size of the NCF at the origin, None without."""
    dead = _union([group for group, lives in zip(groups, alive, strict=True) if not lives])
    active = np.setdiff1d(np.arange(problem.size), dead)
    polished, converged = polish(problem, start, active, tolerance)
    moved = _distance(polished, start)
    loss, slope = value_and_gradient(problem, polished)
    index = morse_index(problem, polished)
    status = PointStatus.POLISHED if converged else PointStatus.NOT_CONVERGED
    if converged and moved > _FARTHEST:
        status = PointStatus.MOVED_TOO_FAR
    residual = residual_supremum(problem, polished, dead)
    bound = 1e-12 * (1 + abs(loss)) if typical is None else _RESIDUAL * typical
    if status is not PointStatus.POLISHED:
        kind = PointKind.UNDETERMINED
    elif index.negative:
        kind = PointKind.STRICT_SADDLE
    else:
        kind = PointKind.DEGENERATE_SADDLE if residual > bound else PointKind.MINIMUM
    return CriticalPoint(
        polished, loss, float(np.linalg.norm(slope)), moved, alive, index, residual, kind, status
    )


def _distance(theta: np.ndarray, start: np.ndarray) -> float:
    return float(np.linalg.norm(theta - start) / np.linalg.norm(start)) if start.any() else 0.0


def judged_end(
    judge: Judge, groups: Sequence[np.ndarray], end: np.ndarray, alive: np.ndarray
) -> tuple[CriticalPoint, np.ndarray]:
    """(critical point near `end`, which groups live); groups that vanish there no longer live."""
    point = judge(end, alive)
    if point.status is PointStatus.POLISHED and point.theta.any():
        size = _VANISHED * float(np.linalg.norm(point.theta))
        lasting = alive & np.array(
            [bool(np.linalg.norm(point.theta[group]) >= size) for group in groups], bool
        )
        if np.any(alive & ~lasting):
            without = judge(point.theta, lasting)
            if without.status is PointStatus.POLISHED:
                return without, lasting
    return point, alive


def residual_supremum(problem: Problem, theta: np.ndarray, dead: np.ndarray) -> float:
    """Largest value on the unit sphere of the residual correlation of dead weights."""
    if dead.size == 0:
        return 0.0
    return max(supremum(_build(problem, theta, dead)), 0.0)


def polish(
    problem: Problem, start: np.ndarray, active: np.ndarray, tolerance: float
) -> tuple[np.ndarray, bool]:
    """(critical point with all but the active weights zero, whether ‖∇L‖ is small), by damped Newton steps.

    The Levenberg–Marquardt step on ½‖∇L‖² with the Hessian as Jacobian, in its eigenbasis: −e g/(e² + μ).
    """
    theta = np.zeros_like(start)
    theta[active] = start[active]
    slope, damping = value_and_gradient(problem, theta)[1][active], None
    for _ in range(100):
        whole = hessian(problem, theta)
        sizes, vectors = np.linalg.eigh(whole[np.ix_(active, active)])
        top = float(np.abs(sizes).max(initial=0.0))
        bound = tolerance * top * max(1.0, float(np.linalg.norm(theta)))
        norm = float(np.linalg.norm(slope))
        # A few steps beyond the bound cost nothing and reach rounding.
        if norm <= 1e-3 * bound or top == 0.0:
            break
        damping = min(1e-3 * top**2, (norm * top)) if damping is None else damping
        along = vectors.T @ slope
        improved = False
        mu = damping if norm > 1e-6 * top * max(float(np.linalg.norm(theta)), 1e-12) else 0.0
        for _ in range(14):
            keep = np.abs(sizes) > 1e-10 * top
            step = np.where(keep, -sizes * along / np.where(keep, sizes**2 + mu, 1.0), 0.0)
            trial = theta.copy()
            trial[active] += vectors @ step
            new = value_and_gradient(problem, trial)[1][active]
            if np.linalg.norm(new) < norm:
                theta, slope, improved = trial, new, True
                damping = 0.1 * max(mu, damping)
                break
            # Undamped steps, too, may jump over a kink of the Hessian, along directions that are nearly flat.
            mu = max(30.0 * mu, 1e-18 * top**2)
        if not improved:
            break
    full = value_and_gradient(problem, theta)[1]
    top = float(np.abs(hessian(problem, theta)).max(initial=0.0))
    bound = tolerance * top * max(1.0, float(np.linalg.norm(theta)))
    return theta, bool(np.linalg.norm(full) <= bound)


def _living(problem: Problem, theta: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
    """(G,) which groups live: those above the widest gap of log norms, if the others stay zero."""
    alive = np.ones(len(groups), bool)
    if not groups:
        return alive
    norms = np.array([np.linalg.norm(theta[group]) for group in groups])
    if norms.max() == 0:
        return np.zeros(len(groups), bool)
    order = np.argsort(-norms)
    logs = np.log(np.maximum(norms[order], 1e-300))
    cuts = [place for place in range(1, len(groups)) if norms[order[place]] < _DEAD * norms.max()]
    if cuts:
        widest = max(cuts, key=lambda place: logs[place - 1] - logs[place])
        alive[order[widest:]] = False
    if not is_zero_preserving(
        problem, _union([g for g, lives in zip(groups, alive, strict=True) if not lives]), probes=2
    ):
        alive[:] = True
    return alive


def _union(groups: Sequence[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(groups)).astype(int) if len(groups) else np.zeros(0, int)


def _typical(problem: Problem) -> float | None:
    """Size of the NCF at the origin; None for problems without a homogeneous origin."""
    try:
        correlation: NeuralCorrelation = neural_correlation(problem)
    except SaddlesError:
        return None
    return typical_value(correlation)


def typical_value(correlation: NeuralCorrelation) -> float:
    """Root mean square of ‖∇𝒩‖/D at random points of the unit sphere, a size of 𝒩."""
    probes = np.random.default_rng(0).normal(size=(4, correlation.free.size))
    slopes = [np.linalg.norm(correlation.gradient(u / np.linalg.norm(u))) for u in probes]
    return float(np.sqrt(np.mean(np.square(slopes))) / correlation.degree)
