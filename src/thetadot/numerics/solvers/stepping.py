"""What one step of a one-step method takes and gives."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int


class RightSide(eqx.Module):
    """The autonomous field y′ = F(y, args) with its loss, as steppers see it."""

    @abc.abstractmethod
    def evaluate(self, y: Float[Array, " n"], args: Any) -> tuple[Float[Array, " n"], Float[Array, ""]]:
        """Field and loss at y (NaN where there is no loss)."""

    @abc.abstractmethod
    def jacobian(self, y: Float[Array, " n"], args: Any) -> Float[Array, "n n"]:
        """∂F/∂y at y."""

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
    radius (0 where the method has no estimate); `solved` is False when a nonlinear solve failed.
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


class Stepper(eqx.Module):
    """A one-step method for autonomous systems: stateless, so that a step depends on (y, F(y), h) only."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The method's name."""

    @property
    @abc.abstractmethod
    def error_order(self) -> int:
        """p with local error estimate ∝ h^p."""

    @property
    def stability_limit(self) -> float:
        """Largest stable h·ρ on the negative real axis; infinite for A-stable methods."""
        return float("inf")

    @abc.abstractmethod
    def step(
        self,
        right_side: RightSide,
        args: Any,
        y: Float[Array, " n"],
        field: Float[Array, " n"],
        h: Float[Array, ""],
        tolerance: Float[Array, " n"],
    ) -> Step:
        """Attempt one step of length h from y, where the field is known.

        `tolerance` is the error per component that counts as 1 (atol + rtol·|y|): implicit methods solve their
        stages to a fraction of it.
        """
