"""What one step of a method takes and gives."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


class RightSide(eqx.Module):
    """The autonomous field y′ = F(y, args) with its loss, as steppers see it."""

    @abc.abstractmethod
    def evaluate(self, y: Float[Array, " n"], args: Any) -> tuple[Float[Array, " n"], Float[Array, ""]]:
        """Field and loss at y (NaN where there is no loss)."""

    @abc.abstractmethod
    def jacobian(self, y: Float[Array, " n"], args: Any) -> Float[Array, "n n"]:
        """∂F/∂y at y."""

    def linearize(
        self, y: Float[Array, " n"], args: Any
    ) -> tuple[Float[Array, " n"], Float[Array, ""], Callable[[Float[Array, " n"]], Float[Array, " n"]]]:
        """Field and loss at y, and the product v ↦ (∂F/∂y)·v there, which costs about one evaluation each."""
        (field, loss), product = jax.linearize(lambda state: self.evaluate(state, args), y)
        return field, loss, lambda vector: product(vector)[0]

    @abc.abstractmethod
    def loss_change(self, field: Float[Array, " n"], move: Float[Array, " n"], args: Any) -> Float[Array, ""]:
        """First-order change of the loss along a move from a point with this field."""

    @property
    @abc.abstractmethod
    def symmetric(self) -> bool:
        """Whether the Jacobian is symmetric, as it is for gradient flow."""

    @property
    @abc.abstractmethod
    def has_loss(self) -> bool:
        """Whether `evaluate` gives a loss that the flow must not raise."""


class Step(NamedTuple):
    """The outcome of one attempted step.

    `error` is the local error estimate of y; `squared_speed` is ∫|F|² over the step by the method's own
    quadrature and `squared_speed_error` its embedded estimate; `stiffness` is h·ρ with ρ the estimated spectral
    radius of the Jacobian (0 where the method has no estimate); `solved` is False when a nonlinear solve failed.
    `loss_error` bounds what is missing in `loss` where a method has not evaluated it at y itself. `products` counts
    Jacobian–vector products. `memory` is what the next step is told, whether or not this one is accepted.
    """

    y: Float[Array, " n"]
    field: Float[Array, " n"]
    loss: Float[Array, ""]
    error: Float[Array, " n"]
    squared_speed: Float[Array, ""]
    squared_speed_error: Float[Array, ""]
    stiffness: Float[Array, ""]
    solved: Bool[Array, ""]
    evaluations: Int[Array, ""]
    jacobians: Int[Array, ""]
    products: Int[Any, ""] = np.zeros((), np.int64)
    loss_error: Float[Any, ""] = np.zeros(())
    memory: Any = ()


class Verdict(NamedTuple):
    """What became of an attempted step: accepted or not, its error (1 is the tolerance), its length, and the norm that
    measures an error of y together with one of ∫|F|²."""

    accepted: Bool[Array, ""]
    error: Float[Array, ""]
    h: Float[Array, ""]
    norm: Callable[[Float[Array, " n"], Float[Array, ""]], Float[Array, ""]]


class Stepper(eqx.Module):
    """A method for autonomous systems: a step depends on (y, F(y), h) and on a memory of fixed shapes.

    A method without memory (most are) leaves `start` and `settle` as they are. One that `interpolates` gives states
    inside its last step from its memory: its steps pass over save times, while those of others end there.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The method's name."""

    @property
    @abc.abstractmethod
    def error_order(self) -> int:
        """p with local error estimate ∝ h^p (of the first step, where the order varies)."""

    @property
    def stability_limit(self) -> float:
        """Largest stable h·ρ on the negative real axis; infinite for A-stable methods."""
        return float("inf")

    @property
    def needs_symmetry(self) -> bool:
        """Whether the method rests on a symmetric Jacobian."""
        return False

    @property
    def interpolates(self) -> bool:
        """Whether `interpolant` and `basis` describe the states inside the last accepted step."""
        return False

    @property
    def multistep(self) -> bool:
        """Whether the method starts with small steps of low order."""
        return False

    def start(
        self,
        right_side: RightSide,
        args: Any,
        y: Float[Array, " n"],
        field: Float[Array, " n"],
        h: Float[Array, ""],
    ) -> Any:
        """The memory at the start of a run, or where another method hands over."""
        del right_side, args, y, field, h
        return ()

    @abc.abstractmethod
    def step(
        self,
        right_side: RightSide,
        args: Any,
        y: Float[Array, " n"],
        field: Float[Array, " n"],
        h: Float[Array, ""],
        tolerance: Float[Array, " n"],
        memory: Any,
    ) -> Step:
        """Attempt one step of length h from y, where the field is known.

        `tolerance` is the error per component that counts as 1 (atol + rtol·|y|): implicit methods solve their
        stages to a fraction of it.
        """

    def settle(self, step: Step, verdict: Verdict) -> tuple[Any, Float[Array, ""]]:
        """The memory after the verdict on a step, and the factor for the next step length (NaN: leave it to the
        controller)."""
        del verdict
        return step.memory, jnp.full_like(step.loss, jnp.nan)

    def interpolant(self, memory: Any) -> Float[Array, "m k"]:
        """Coefficients (m, n + 1) of the state inside the last accepted step, and of ∫|F|² as a last component."""
        raise TypeError(f"{self.name} does not interpolate: {memory!r}")

    def basis(self, position: Float[Array, ""]) -> Float[Array, " m"]:
        """Weights of the interpolant's coefficients at a position in [0, 1] of the last accepted step."""
        raise TypeError(f"{self.name} does not interpolate: {position!r}")
