"""The covariance of per-sample gradients: the noise that drives SGD."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.fluctuations.errors import FluctuationsError
from thetadot.fluctuations.matrices import finite, require_dense, whole
from thetadot.problems import Problem
from thetadot.problems.checks import as_vector

_NUMBERS = 2**24


@dataclasses.dataclass(frozen=True)
class GradientNoise:
    """Per-sample gradients g_p at one point: their mean ḡ and their covariance D = (1/N) Σ g_p g_pᵀ − ḡḡᵀ.

    Attributes:
        mean (P,): ḡ, the gradient of the risk. samples: N.
        problem, theta (P,), chunk: where from; samples at a time.
    """

    problem: Problem
    theta: Float[Array, " P"]
    chunk: int
    mean: Float[np.ndarray, " P"]
    samples: int

    @functools.cached_property
    def covariance(self) -> Float[np.ndarray, "P P"]:
        """D (P, P), in loss² per weight².

        Raises:
            SizeError: more than 5000 parameters.
        """
        require_dense(self.theta.size)
        return np.asarray(_covariance(self.problem, self.theta, jnp.asarray(self.mean), self._pieces()))

    @functools.cached_property
    def trace(self) -> float:
        """tr D = (1/N) Σ‖g_p − ḡ‖²."""
        return float(_trace(self.problem, self.theta, jnp.asarray(self.mean), self._pieces()))

    def matvec(self, v: Any) -> Float[np.ndarray, " P"]:
        """D·v (P,), without forming D."""
        vector = as_vector(v, self.theta.size, "v")
        centre = float(self.mean @ np.asarray(vector))
        return np.asarray(_product(self.problem, self.theta, vector, jnp.asarray(centre), self._pieces()))

    def project(self, directions: Any) -> Float[np.ndarray, "k k"]:
        """VᵀDV (k, k) for V = directions (P, k), by derivatives along V only."""
        basis = finite(directions, "directions")
        if basis.ndim != 2 or basis.shape[0] != self.theta.size:
            raise FluctuationsError(f"directions have shape {basis.shape}: expected ({self.theta.size}, k)")
        centre = jnp.asarray(basis.T @ self.mean)
        return np.asarray(
            _projected(self.problem, self.theta, jnp.asarray(basis), centre, self._pieces(basis.shape[1]))
        )

    def _pieces(self, per_sample: int | None = None) -> tuple[Array, Array]:
        """Sample indices (pieces, chunk) and their weights, 0 for what fills up the last piece."""
        numbers = self.theta.size if per_sample is None else per_sample
        chunk = max(1, min(self.chunk, self.samples, _NUMBERS // numbers))
        count = -(-self.samples // chunk)
        indices = np.arange(count * chunk)
        weights = np.where(indices < self.samples, 1.0 / self.samples, 0.0)
        indices = np.minimum(indices, self.samples - 1)
        return jnp.asarray(indices.reshape(count, chunk)), jnp.asarray(weights.reshape(count, chunk))


def gradient_noise(problem: Problem, theta: Any, *, chunk: int = 1024) -> GradientNoise:
    """The noise of per-sample gradients at θ, dense or by products.

    Arguments:
        problem: with samples: an `EmpiricalRisk`.
        theta: (P,).
        chunk: samples at a time; memory is chunk·P + P² numbers for the dense covariance.

    Raises:
        FluctuationsError: a problem without samples.

    Example:
        >>> x, y = np.array([[1.0], [1.0], [2.0]]), np.array([[1.0], [3.0], [4.0]])
        >>> problem = td.EmpiricalRisk(td.linear([1, 1]), td.squared, x, y)
        >>> noise = gradient_noise(problem, np.array([2.0]))  # gradients 1, −1, 0
        >>> noise.mean.tolist(), round(float(noise.covariance[0, 0]), 12)
        ([0.0], 0.666666666667)
    """
    samples = getattr(problem, "samples", None)
    if samples is None or not hasattr(problem, "sample_losses"):
        raise FluctuationsError(
            f"{type(problem).__name__} has no samples, and so no gradient noise: pose the problem as EmpiricalRisk, or "
            "draw fresh samples with OnlineRisk"
        )
    point = as_vector(theta, problem.size, "theta")
    mean = np.asarray(problem.value_and_grad(point)[1])
    return GradientNoise(problem, point, whole(chunk, "chunk"), mean, int(samples))


def _losses(problem: Any, indices: Array):
    return lambda theta: problem.sample_losses(theta, indices)


def _gradients(problem: Any, theta: Array, indices: Array) -> Float[Array, "n P"]:
    def one(index: Array) -> Array:
        return jax.grad(lambda point: problem.sample_losses(point, index[None])[0])(theta)

    return jax.vmap(one)(indices)


@jax.jit
def _covariance(problem: Any, theta: Array, mean: Array, pieces: tuple[Array, Array]) -> Array:
    # Centred at the mean before squaring: near a minimum D is what is left of a small difference otherwise.
    def add(total, piece):
        indices, weights = piece
        centred = _gradients(problem, theta, indices) - mean[None]
        return total + (centred * weights[:, None]).T @ centred, None

    total = jax.lax.scan(add, jnp.zeros((theta.size, theta.size)), pieces)[0]
    return 0.5 * (total + total.T)


@jax.jit
def _trace(problem: Any, theta: Array, mean: Array, pieces: tuple[Array, Array]) -> Array:
    def add(total, piece):
        indices, weights = piece
        return total + weights @ jnp.sum(
            (_gradients(problem, theta, indices) - mean[None]) ** 2, axis=1
        ), None

    return jax.lax.scan(add, jnp.zeros(()), pieces)[0]


@jax.jit
def _product(problem: Any, theta: Array, v: Array, centre: Array, pieces: tuple[Array, Array]) -> Array:
    # D v = (1/N) Σ (g_p·v − ḡ·v) g_p: one derivative along v, one pull-back.
    def add(total, piece):
        indices, weights = piece
        losses = _losses(problem, indices)
        slopes = jax.jvp(losses, (theta,), (v,))[1]
        return total + jax.vjp(losses, theta)[1](weights * (slopes - centre))[0], None

    return jax.lax.scan(add, jnp.zeros_like(theta), pieces)[0]


@jax.jit
def _projected(problem: Any, theta: Array, basis: Array, centre: Array, pieces: tuple[Array, Array]) -> Array:
    def add(total, piece):
        indices, weights = piece
        push = jax.linearize(_losses(problem, indices), theta)[1]
        slopes = jax.vmap(push, in_axes=1)(basis) - centre[:, None]
        return total + (slopes * weights[None, :]) @ slopes.T, None

    total = jax.lax.scan(add, jnp.zeros((basis.shape[1], basis.shape[1])), pieces)[0]
    return 0.5 * (total + total.T)
