"""Noise that grows with the distance from the minimum: M(Σ) = (1/N) Σ_p H_pΣH_p − GΣG, H_p = J_pᵀJ_p."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, cg, eigsh

from thetadot.fluctuations.errors import FluctuationsError, NearInstabilityWarning
from thetadot.fluctuations.matrices import finite, require_dense
from thetadot.problems import EmpiricalRisk, Problem
from thetadot.problems.checks import as_vector

_DENSE = 5
_TOLERANCE = 1e-12
_NEAR = 1000.0
_MOST = 20_000


def multiplicative_noise(
    jacobians: Float[np.ndarray, "N q r"], covariance: Float[np.ndarray, "r r"]
) -> Float[np.ndarray, "r r"]:
    """M(Σ) in O(N·q·r²), never r²×r² numbers."""
    count, outputs, size = jacobians.shape
    rows = jacobians.reshape(-1, size)
    gauss_newton = rows.T @ rows / count
    images = rows @ covariance
    if outputs == 1:
        second = rows.T @ (np.sum(images * rows, axis=1)[:, None] * rows) / count
    else:
        inner = images.reshape(jacobians.shape) @ jacobians.transpose(0, 2, 1)
        second = rows.T @ (inner @ jacobians).reshape(-1, size) / count
    return second - gauss_newton @ covariance @ gauss_newton


class MomentMap:
    """Σ ↦ (1−ηH)Σ(1−ηH) + η²νM(Σ) in the eigenbasis of H; self-adjoint, and it keeps positive matrices positive."""

    def __init__(self, h: np.ndarray, jacobians: np.ndarray, learning_rate: float, noise_scale: float):
        self.size = len(h)
        self.rate, self.scale = learning_rate, noise_scale
        self.jacobians = jacobians
        # 1 − (1−ηh_i)(1−ηh_j), over η.
        self.losses = h[:, None] + h[None, :] - learning_rate * h[:, None] * h[None, :]

    def _loss(self, covariance: np.ndarray) -> np.ndarray:
        """What second moments lose in one step without the additive noise, over η."""
        return self.losses * covariance - self.rate * self.scale * multiplicative_noise(
            self.jacobians, covariance
        )

    def _operator(self, action: Any) -> LinearOperator:
        shape = (self.size, self.size)

        def flat(vector: np.ndarray) -> np.ndarray:
            return action(vector.reshape(shape)).ravel()

        return LinearOperator((self.size**2, self.size**2), matvec=flat, dtype=float)  # pyright: ignore[reportCallIssue]

    def slowest_decay(self) -> float:
        """(1 − spectral radius)/η: second moments settle iff it is positive.

        The map is completely positive, so its largest eigenvalue belongs to a covariance, not to a matrix without sign.
        """
        operator = self._operator(self._loss)
        if self.size <= _DENSE:
            return float(np.linalg.eigvalsh(np.asarray(operator @ np.eye(self.size**2)))[0])
        start = np.eye(self.size).ravel()
        try:
            return float(
                eigsh(operator, 1, which="SA", v0=start, return_eigenvectors=False, maxiter=_MOST)[0]
            )
        except ArpackNoConvergence as error:
            raise FluctuationsError(
                f"the spectral radius of the second moments did not converge in {_MOST} iterations: {error}"
            ) from None

    def stationary(self, noise: np.ndarray) -> np.ndarray:
        """Σ = (1−ηH)Σ(1−ηH) + η²ν(D + M(Σ)), by conjugate gradients; the additive solution preconditions."""
        weight = self.rate * self.scale
        if weight == 0 or not noise.any():
            return np.zeros_like(noise)
        system = self._operator(self._loss)
        inverse = self._operator(lambda sigma: sigma / self.losses)
        right = (weight * noise).ravel()
        solution, missed = cg(system, right, x0=inverse @ right, rtol=_TOLERANCE, M=inverse, maxiter=_MOST)
        if missed:
            raise FluctuationsError(
                f"the multiplicative covariance did not converge in {_MOST} iterations: the learning rate is too "
                "near to instability; lower it a little"
            )
        found = solution.reshape(noise.shape)
        return 0.5 * (found + found.T)


def warn_if_near(amplification: float) -> None:
    """Warn where some variance is more than 1000 times that of the continuum limit.

    The spectral radius itself is no measure: it tends to 1 as the learning rate tends to 0, where nothing is unstable.
    """
    if amplification > _NEAR:
        warnings.warn(
            f"close to instability: a variance is {amplification:.3g} times that of the continuum limit, and "
            "sensitive; lower the learning rate a little",
            NearInstabilityWarning,
            stacklevel=3,
        )


def checked_jacobians(values: Any, size: int) -> Float[np.ndarray, "N q P"]:
    """Sample Jacobians (N, P) or (N, q, P) with their outputs as the middle axis."""
    array = finite(values, "sample_jacobians")
    if array.ndim == 2:
        array = array[:, None, :]
    if array.ndim != 3 or array.shape[2] != size or not len(array):
        raise FluctuationsError(
            f"sample_jacobians have shape {np.shape(values)}: expected (N, {size}) or (N, q, {size}), one per sample"
        )
    return array


def sample_jacobians(problem: Problem, theta: Any) -> Float[np.ndarray, "N q P"]:
    """J_p (N, q, P) with J_pᵀJ_p = ∇fᵀ ℓ″ ∇f, the Gauss–Newton part of the sample's Hessian.

    For the squared loss these are the Jacobians of the outputs; other losses weigh them by the root of ℓ″. Exact
    Hessians for models that are linear in θ, an approximation otherwise.

    Arguments:
        problem: an `EmpiricalRisk`. theta: (P,).

    Raises:
        FluctuationsError: another problem. SizeError: more than 5000 parameters.

    Example:
        >>> x = np.array([[1.0, 2.0], [3.0, 0.0]])
        >>> problem = td.EmpiricalRisk(td.linear([2, 1]), td.squared, x, np.zeros((2, 1)))
        >>> sample_jacobians(problem, np.zeros(2))[:, 0].tolist()
        [[1.0, 2.0], [3.0, 0.0]]
    """
    if not isinstance(problem, EmpiricalRisk):
        raise FluctuationsError(f"{type(problem).__name__} has no samples: pose the problem as EmpiricalRisk")
    require_dense(problem.size)
    return np.asarray(_jacobians(problem, as_vector(theta, problem.size, "theta")))


@jax.jit
def _jacobians(problem: EmpiricalRisk, theta: Array) -> Array:
    network, loss = problem.network, problem.sample_loss

    def one(x: Array, y: Array) -> Array:
        prediction, pull = jax.vjp(lambda point: network.evaluate(point, x), theta)
        shape = prediction.shape
        basis = jnp.eye(prediction.size).reshape(-1, *shape)
        rows = jax.vmap(lambda cotangent: pull(cotangent)[0])(basis)
        curvature = jax.hessian(lambda flat: loss(flat.reshape(shape), y))(prediction.ravel())
        values, axes = jnp.linalg.eigh(curvature)
        return jnp.sqrt(jnp.maximum(values, 0.0))[:, None] * (axes.T @ rows)

    return jax.lax.map(lambda sample: one(*sample), (problem.x, problem.y), batch_size=256)
