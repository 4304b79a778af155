"""Whether a map is a symmetry of a problem, hypothesis by hypothesis."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.spatial import KDTree

from thetadot.problems import EmpiricalRisk, OddTarget, PopulationRisk, Problem
from thetadot.problems.checks import Numbers, as_float64
from thetadot.problems.errors import NoPredictionError
from thetadot.symmetry.errors import ParticleError, SymmetryError
from thetadot.symmetry.groups import orthogonality_residual
from thetadot.symmetry.orbits import matching_residual
from thetadot.symmetry.particles import to_particles


@dataclasses.dataclass(frozen=True)
class SymmetryCheck:
    """What was checked of f*(Tx) = s f*(x) and its three further hypotheses; every residual is relative.

    Attributes:
        holds: all hypotheses hold to the tolerance: an invariant start then stays invariant.
        sign: s.
        orthogonality_residual: max|TᵀT − I|.
        input_residual: of the law of Tx against that of x.
        target_residual: of f*(Tx) against s f*(x), in units of the root mean square of f*; NaN if f* cannot be
            evaluated.
        initial_residual: of the start's neurons against their transported selves; None if no start was given.
    """

    holds: bool
    sign: float
    orthogonality_residual: float
    input_residual: float
    target_residual: float
    initial_residual: float | None

    def __str__(self) -> str:
        parts = [
            f"orthogonal to {self.orthogonality_residual:.1e}",
            f"inputs to {self.input_residual:.1e}",
            f"target (sign {self.sign:+.0f}) to {self.target_residual:.1e}",
        ]
        if self.initial_residual is not None:
            parts.append(f"start to {self.initial_residual:.1e}")
        return ("symmetry: " if self.holds else "no symmetry: ") + ", ".join(parts)


def check_symmetry(
    problem: Problem,
    matrix: Numbers,
    sign: float | None = None,
    *,
    theta: Float[Array | np.ndarray, " P"] | None = None,
    key: PRNGKeyArray | None = None,
    samples: int = 256,
    tolerance: float = 1e-8,
) -> SymmetryCheck:
    """Check that training keeps the symmetry x → Tx, f → s f; failed hypotheses are told, not raised.

    Arguments:
        problem: a population risk, or an empirical one (whose samples (x, y) are then compared as sets with (Tx, sy)).
        matrix (d, d): T.
        sign: s = ±1; None takes the one that fits better.
        theta (P,): a start whose neurons are checked too.
        key, samples: of the draws on which a population's target is compared.
        tolerance: largest residual that counts as holding.

    Raises:
        ParticleError: a matrix of another shape, or not finite.
        SymmetryError: a problem that is neither.

    Source: re-derived from the abstract of arXiv 2211.08771; T must be orthogonal for the flow to commute with it.

    Example:
        >>> import thetadot as td
        >>> problem = td.PopulationRisk(td.two_layer(2, 3, "relu"), td.ProductTarget(0, 1), td.GaussianInputs(2))
        >>> check = check_symmetry(problem, [[-1.0, 0.0], [0.0, 1.0]])
        >>> check.holds, check.sign
        (True, -1.0)
    """
    if not isinstance(problem, (PopulationRisk, EmpiricalRisk)):
        raise SymmetryError(
            f"{problem.description}: symmetries are checked of PopulationRisk and EmpiricalRisk problems"
        )
    inputs_are = problem.inputs.dimension if isinstance(problem, PopulationRisk) else problem.x.shape[-1]
    t = np.asarray(as_float64(matrix, "matrix"))
    if t.shape != (inputs_are, inputs_are) or not np.isfinite(t).all():
        raise ParticleError(f"the matrix has shape {t.shape}, expected finite ({inputs_are}, {inputs_are})")
    if sign is not None and abs(sign) != 1:
        raise ParticleError(f"sign is {sign!r}, expected 1, −1 or None")
    draws = jax.random.key(0) if key is None else key

    def compare(s: float) -> tuple[float, float]:
        if isinstance(problem, PopulationRisk):
            return _of_population(problem, t, s, draws, samples)
        return _of_samples(problem, t, s)

    tried = {s: compare(s) for s in ((1.0, -1.0) if sign is None else (float(sign),))}
    best = min(tried, key=lambda s: np.inf if np.isnan(tried[s][1]) else tried[s][1])
    input_residual, target_residual = tried[best]
    orthogonality = orthogonality_residual(t)
    initial = None
    if theta is not None:
        particles = to_particles(problem, jnp.asarray(theta))
        size = float(jnp.sqrt(jnp.mean(particles.incoming**2) + jnp.mean(particles.outgoing**2)))
        initial = matching_residual(particles, t, best) / (size or 1.0)
    residuals = [orthogonality, input_residual, target_residual] + ([] if initial is None else [initial])
    holds = all(residual <= tolerance for residual in residuals)
    return SymmetryCheck(holds, best, orthogonality, input_residual, target_residual, initial)


def _of_population(
    problem: PopulationRisk, t: np.ndarray, sign: float, key: PRNGKeyArray, samples: int
) -> tuple[float, float]:
    input_residual = problem.inputs.invariance_residual(t)
    x = problem.inputs.sample(key, samples)
    try:
        here, there = (np.asarray(problem.evaluate_target(points)) for points in (x, x @ jnp.asarray(t).T))
    except NoPredictionError:  # moments only: odd by definition, and nothing else is known
        odd = isinstance(problem.target, OddTarget) and sign == -1 and np.array_equal(t, -np.eye(len(t)))
        return input_residual, 0.0 if odd else float("nan")
    size = float(np.sqrt(np.mean(here**2)))
    return input_residual, float(np.abs(there - sign * here).max() / (size or 1.0))


def _of_samples(problem: EmpiricalRisk, t: np.ndarray, sign: float) -> tuple[float, float]:
    if problem.x.ndim != 2 or not jnp.issubdtype(problem.y.dtype, jnp.floating):
        raise SymmetryError("samples are compared as vectors with real labels: x (N, d) and y of floats")
    x, y = np.asarray(problem.x), np.asarray(problem.y).reshape(problem.samples, -1)
    moved = x @ t.T
    scale = float(np.sqrt(np.mean(x**2))) or 1.0
    level = float(np.sqrt(np.mean(y**2))) or 1.0
    joint, transported = (
        np.column_stack([x / scale, y / level]),
        np.column_stack([moved / scale, sign * y / level]),
    )
    return _set_distance(moved / scale, x / scale), _set_distance(transported, joint)


def _set_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Hausdorff's distance of two finite sets."""
    return max(float(KDTree(a).query(b)[0].max()) for a, b in ((first, second), (second, first)))
