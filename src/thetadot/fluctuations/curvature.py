"""Curvature by products of the Hessian with vectors: its leading eigenvectors and its ends."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.sparse.linalg import LinearOperator, eigsh

from thetadot.fluctuations.errors import FluctuationsError
from thetadot.numerics.linalg import lanczos
from thetadot.problems import Problem


def leading_curvature(
    problem: Problem, theta: Any, count: int
) -> tuple[Float[np.ndarray, "k k"], Float[np.ndarray, "P k"], float]:
    """diag(h) and the eigenvectors (P, k) of the k largest Hessian eigenvalues, and the least eigenvalue."""
    size = problem.size
    if count > size:
        raise FluctuationsError(f"leading = {count} of {size} parameters: expected at most {size}")
    if 2 * count + 20 >= size:
        values, axes = np.linalg.eigh(np.asarray(problem.hessian(theta)))
        return np.diag(values[::-1][:count]), axes[:, ::-1][:, :count].copy(), float(values[0])
    push = problem.linearize(theta)[2]

    def product(vector: np.ndarray) -> np.ndarray:
        return np.asarray(_push(jnp.asarray(vector.ravel()), push))

    operator = LinearOperator((size, size), matvec=product, dtype=float)  # pyright: ignore[reportCallIssue]
    start = np.random.default_rng(0).normal(size=size)
    values, axes = eigsh(operator, count, which="LA", v0=start, ncv=min(size, 2 * count + 20))
    order = np.argsort(-values)
    end = lanczos(_push, size, args=push, ends="smallest", tolerance=1e-4)
    return np.diag(values[order]), axes[:, order], float(end.smallest)


def largest_curvature(problem: Problem, theta: Any) -> float:
    """The largest eigenvalue of the Hessian, at least 0."""
    end = lanczos(_push, problem.size, args=problem.linearize(theta)[2], ends="largest", tolerance=1e-3)
    return max(0.0, float(end.largest))


@jax.jit
def _push(vector: Array, push: Any) -> Array:
    return push(vector)
