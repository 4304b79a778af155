"""What is trained: the interface that every problem offers to dynamics and lenses."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.problems.checks import Numbers, as_vector
from thetadot.problems.layout import Layout


@jax.jit
def _hvp(problem: "Problem", theta: Array, v: Array) -> Array:
    return jax.jvp(lambda point: problem.value_and_grad(point)[1], (theta,), (v,))[1]


@jax.jit
def _linearize(problem: "Problem", theta: Array):
    def gradient(point):
        value, grad = problem.value_and_grad(point)
        return grad, value

    grad, push, value = jax.linearize(gradient, theta, has_aux=True)
    return value, grad, push


class Problem(eqx.Module):
    """A loss L(θ) over ONE flat float64 vector θ of length P, with everything needed to follow its flow.

    A pytree whose leaves are arrays, so that it travels as an argument through `jax.jit`, `scan` and
    `vmap`, and new data of the same shape compiles nothing. Concrete problems are final. The flow of a
    problem is θ̇ = −time_scale·∇L(θ).

    A problem of your own defines the abstract members below; `value_and_grad` may be
    `jax.value_and_grad(self.loss)(theta)` and `hessian` may call `thetadot.problems.hessian_by_columns`.
    """

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """P, the number of parameters."""

    @property
    @abc.abstractmethod
    def layout(self) -> Layout:
        """Names of the slices of θ, and the hidden neurons."""

    @property
    @abc.abstractmethod
    def time_scale(self) -> float:
        """1.0, or m for a mean-field scaled network of width m: the flow is θ̇ = −time_scale·∇L."""

    @property
    @abc.abstractmethod
    def description(self) -> str:
        """One line for summaries."""

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray, scale: float | Array = 1.0) -> Float[Array, " P"]:
        """A random start (P,)."""

    @abc.abstractmethod
    def loss(self, theta: Numbers) -> Float[Array, ""]:
        """L(θ), a scalar."""

    @abc.abstractmethod
    def value_and_grad(self, theta: Numbers) -> tuple[Float[Array, ""], Float[Array, " P"]]:
        """(L(θ), ∇L(θ)) at the cost of one gradient."""

    @abc.abstractmethod
    def hessian(self, theta: Numbers) -> Float[Array, "P P"]:
        """∇²L(θ), symmetric (P, P)."""

    @abc.abstractmethod
    def predict(self, theta: Numbers, x: Numbers) -> Any:
        """Output of the network for a batch x (N, …)."""

    @abc.abstractmethod
    def unravel(self, theta: Numbers) -> Any:
        """θ as the user's own pytree."""

    def hvp(self, theta: Numbers, v: Numbers) -> Float[Array, " P"]:
        """Hessian-vector product ∇²L(θ)·v (P,) without forming the Hessian; about two gradients.

        For many vectors at one θ use `linearize`, which pays for the gradient once.

        Raises:
            ShapeError: theta or v is not of shape (P,).
        """
        return _hvp(self, as_vector(theta, self.size, "theta"), as_vector(v, self.size, "v"))

    def linearize(
        self, theta: Numbers
    ) -> tuple[Float[Array, ""], Float[Array, " P"], Callable[[Array], Float[Array, " P"]]]:
        """(L(θ), ∇L(θ), push) with push(v) = ∇²L(θ)·v: one gradient now, about one more per vector.

        `push` is linear and traceable; `jax.vmap(push)` takes a stack of vectors (K, P).

        Example:
            >>> import jax.numpy as jnp
            >>> from thetadot.problems import FunctionRisk
            >>> problem = FunctionRisk(lambda t: 0.5 * jnp.sum(jnp.array([1.0, 4.0]) * t**2), jnp.zeros(2))
            >>> value, gradient, push = problem.linearize(jnp.array([1.0, 1.0]))
            >>> push(jnp.array([0.0, 1.0])).tolist()
            [0.0, 4.0]
        """
        return _linearize(self, as_vector(theta, self.size, "theta"))
