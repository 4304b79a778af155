"""Is a point with a small gradient a minimum? The convergence guard."""

import dataclasses
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.errors import ThetadotWarning
from thetadot.numerics.linalg import lanczos
from thetadot.problems import Problem

_LARGEST_DENSE = 1000
_RELATIVE_ZERO = 1e-8


class InvariantManifoldWarning(ThetadotWarning):
    """The flow sits on the stable manifold of a saddle and cannot leave it without a perturbation."""


@dataclasses.dataclass(frozen=True)
class Curvature:
    """Extreme Hessian eigenvalues at a point.

    Attributes:
        lowest, largest: eigenvalues; the lowest is an upper bound where it comes from Lanczos.
        saddle: an eigenvalue is negative beyond rounding.
        degenerate: an eigenvalue is zero to 1e-8 of the largest in modulus.
        overlap: largest |cos| between ∇L and an unstable direction (1 if none is unstable).
        dense: all eigenvalues were computed.
    """

    lowest: float
    largest: float
    saddle: bool
    degenerate: bool
    overlap: float
    dense: bool


@eqx.filter_jit
def _dense_hessian(problem: Problem, theta: Float[Array, " P"]):
    return problem.hessian(theta), problem.value_and_grad(theta)[1]


def _curvature_along(vector: Float[Array, " P"], point: Any) -> Float[Array, " P"]:
    problem, theta = point
    return problem.hvp(theta, vector)


@eqx.filter_jit
def _extreme_ritz(problem: Problem, theta: Float[Array, " P"]):
    found = lanczos(_curvature_along, theta.size, args=(problem, theta))
    return found.smallest, found.largest, found.smallest_vector, problem.value_and_grad(theta)[1]


def curvature(problem: Problem, theta: Float[Array, " P"]) -> Curvature:
    """Extreme Hessian eigenvalues: all of them up to 1000 parameters, Lanczos at both ends beyond."""
    if theta.size <= _LARGEST_DENSE:
        hessian, gradient = (np.asarray(part) for part in _dense_hessian(problem, theta))
        values, vectors = np.linalg.eigh(hessian)
        lowest, largest = float(values[0]), float(values[-1])
        zero = _RELATIVE_ZERO * max(abs(lowest), abs(largest))
        unstable = vectors[:, values < -zero]
        degenerate = bool(np.any(np.abs(values) <= zero))
        dense = True
    else:
        low, high, vector, gradient = jax.device_get(_extreme_ritz(problem, theta))
        lowest, largest = float(low), float(high)
        zero = _RELATIVE_ZERO * max(abs(lowest), abs(largest))
        unstable = np.asarray(vector)[:, None] if lowest < -zero else np.zeros((theta.size, 0))
        degenerate = abs(lowest) <= zero
        dense = False
    size = float(np.linalg.norm(gradient))
    overlap = 1.0
    if unstable.shape[1]:
        overlap = float(np.max(np.abs(unstable.T @ np.asarray(gradient)))) / size if size > 0 else 0.0
    return Curvature(lowest, largest, bool(unstable.shape[1]), degenerate, overlap, dense)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a small gradient means.

    Attributes:
        converged: the point is not a saddle (or saddles are accepted).
        degenerate: it has zero Hessian eigenvalues, or its curvature is below the tolerance's resolution.
        why: in words.
        lowest: lowest Hessian eigenvalue; NaN if it was not examined.
        stuck: a saddle whose unstable directions are absent from ∇L to rounding.
        hessians: evaluations that the verdict took.
    """

    converged: bool
    degenerate: bool
    why: str
    lowest: float
    stuck: bool
    hessians: int


def judge(problem: Problem, theta: Float[Array, " P"], loss: float, tolerance: float) -> Verdict:
    """Whether a point where ‖∇L‖ has fallen to `tolerance` is the end of a run.

    Losses of data are ≥ 0: once what is left is below the resolution tolerance·‖θ‖ of a gradient tolerance, slightly
    negative eigenvalues belong to a valley that is still flattening, not to a saddle.
    """
    found = curvature(problem, theta)
    if not found.saddle:
        lowest = f"lowest Hessian eigenvalue {found.lowest:.3g}"
        why = "degenerate: zero Hessian eigenvalues" if found.degenerate else lowest
        return Verdict(True, found.degenerate, why, found.lowest, False, 1)
    of_data = getattr(problem, "samples", None) is not None
    if of_data and loss <= tolerance * float(jnp.linalg.norm(theta)):
        return Verdict(
            True, True, "the loss left is below the tolerance's resolution", found.lowest, False, 1
        )
    stuck = found.overlap < 1e-10
    return Verdict(False, found.degenerate, "a saddle", found.lowest, stuck, 1)


def warn_stuck(place: str, lowest: float) -> str:
    """Warn of a run on the stable manifold of a saddle; the sentence is returned."""
    text = (
        f"∇L has no component along the unstable directions of the saddle at {place} (lowest Hessian eigenvalue "
        f"{lowest:.3g}): the exact run never leaves; perturb the start to leave it (perturb= in flow)"
    )
    warnings.warn(text, InvariantManifoldWarning, stacklevel=3)
    return text
