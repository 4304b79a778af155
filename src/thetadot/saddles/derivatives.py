"""Values and derivatives of problems as NumPy arrays, compiled once for each shape of problem."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.errors import PrecisionError
from thetadot.problems import Problem

LARGEST_DENSE = 1500
_CHUNK = 16


@jax.jit
def _value_and_grad(problem: Problem, theta: Array):
    return problem.value_and_grad(theta)


@jax.jit
def _hessian(problem: Problem, theta: Array):
    return problem.hessian(theta)


@jax.jit
def _hessians(problem: Problem, thetas: Array):
    return jax.lax.map(problem.hessian, thetas)


@jax.jit
def _values_and_grads(problem: Problem, thetas: Array):
    return jax.lax.map(problem.value_and_grad, thetas)


def require_float64() -> None:
    """Raise `PrecisionError` where JAX computes in float32: scales below 1e-4 would drown."""
    if jnp.zeros(()).dtype != jnp.float64:
        raise PrecisionError("JAX runs in float32, saddles need float64: leave THETADOT_X64 unset")


def value_and_gradient(
    problem: Problem, theta: Float[np.ndarray, " P"]
) -> tuple[float, Float[np.ndarray, " P"]]:
    """(L(θ), ∇L(θ)), without the checks of the public method."""
    value, grad = _value_and_grad(problem, theta)
    return float(value), np.asarray(grad)


def values_and_gradients(
    problem: Problem, thetas: Float[np.ndarray, "S P"]
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, "S P"]]:
    """Losses (S,) and gradients (S, P) of many points, a chunk of one shape at a time."""
    values, grads = [], []
    for part, kept in _chunks(thetas):
        value, grad = _values_and_grads(problem, part)
        values.append(np.asarray(value)[:kept])
        grads.append(np.asarray(grad)[:kept])
    return np.concatenate(values), np.concatenate(grads)


def hessian(problem: Problem, theta: Float[np.ndarray, " P"]) -> Float[np.ndarray, "P P"]:
    """∇²L(θ)."""
    return np.asarray(_hessian(problem, theta))


def hessians(
    problem: Problem, thetas: Float[np.ndarray, "S P"], indices: np.ndarray
) -> Float[np.ndarray, "S n n"]:
    """The blocks of ∇²L at `indices` (n,) for many points."""
    blocks = []
    for part, kept in _chunks(thetas):
        full = np.asarray(_hessians(problem, part))[:kept]
        blocks.append(full[:, indices[:, None], indices[None, :]])
    return np.concatenate(blocks)


def _chunks(thetas: Float[np.ndarray, "S P"]):
    for start in range(0, len(thetas), _CHUNK):
        part = thetas[start : start + _CHUNK]
        # One shape for all chunks, so that one program serves: the last one is filled with copies.
        filled = np.concatenate([part, np.repeat(part[-1:], _CHUNK - len(part), axis=0)])
        yield filled, len(part)
