"""Is a point with a small gradient a minimum? The convergence guard."""

import dataclasses
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


def on_stable_manifold(found: Curvature) -> bool:
    """Whether a saddle's unstable directions are absent from ∇L to rounding."""
    return found.saddle and found.overlap < 1e-10


def resolved(theta: Float[Array, " P"], loss: float, grad_norm: float) -> bool:
    """Whether the loss that is left (losses of data are ≥ 0) is below the resolution ‖∇L‖·‖θ‖ of a gradient
    tolerance: then slightly negative eigenvalues belong to a valley that is still flattening, not to a saddle."""
    return loss <= grad_norm * float(jnp.linalg.norm(theta))
