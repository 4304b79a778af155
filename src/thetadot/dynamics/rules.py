"""Learning rules that see the whole risk: descent and its two forms with momentum."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from thetadot.dynamics.draws import Draw
from thetadot.dynamics.rates import Rate, as_rate, rate_at, rate_in_words
from thetadot.problems import Problem


class Rule(eqx.Module):
    """A learning rule: how parameters θ and the floats of an optimizer move in one step.

    The state is one flat float64 vector, θ first. A step takes a loss and a gradient (`evaluate`) and moves
    the state (`apply`). Step n (an int32 scalar, counting the updates made so far) is no part of the state.
    Numbers of
    a rule are array leaves: they may be traced, and other values compile nothing. A schedule is a function
    n → number; as an `equinox.Module` its arrays are leaves too, while another plain function is another
    program.

    A rule of your own defines `learning_rate` and `apply`, and what else differs from plain descent.
    """

    learning_rate: eqx.AbstractVar[Rate | None]

    @property
    def sees_theta(self) -> bool:
        """Whether `evaluate` gives L and ∇L of the whole risk at θ itself."""
        return True

    @property
    def needs_loss(self) -> bool:
        """Whether `apply` uses the loss."""
        return False

    def start(self, theta: Float[Array, " P"]) -> Float[Array, " d"]:
        """The state (d,) at parameters θ (P,) before the first step."""
        return theta

    def draw(self, problem: Problem) -> Draw | None:
        """What chooses the samples of step n; None if all take part.

        Raises:
            RuleError: the rule does not fit the problem.
        """
        return None

    def evaluate(
        self, problem: Problem, state: Float[Array, " d"], n: Int[Array, ""], drawn: Any
    ) -> tuple[Float[Array, ""], Float[Array, " P"]]:
        """Loss and gradient (P,) that step n takes."""
        return problem.value_and_grad(state[: problem.size])

    @abc.abstractmethod
    def apply(
        self,
        state: Float[Array, " d"],
        n: Int[Array, ""],
        loss: Float[Array, ""],
        gradient: Float[Array, " P"],
    ) -> Float[Array, " d"]:
        """The state after step n."""

    @property
    @abc.abstractmethod
    def description(self) -> str:
        """Name and numbers in one line, for summaries."""


class GradientDescent(Rule):
    """Gradient descent, θ′ = θ − learning_rate·∇L(θ).

    Arguments:
        learning_rate: a number (may be traced) or a schedule n → number.

    Raises:
        RuleError: not a finite number.

    Example:
        >>> from thetadot.problems import FunctionRisk
        >>> problem = FunctionRisk(lambda t: 0.5 * jnp.sum(t**2), jnp.zeros(1))
        >>> path = td.descend(problem, jnp.ones(1), GradientDescent(0.5), 3, progress=False)
        >>> path.thetas[:, 0].tolist(), path.ts.tolist()
        ([1.0, 0.5, 0.25, 0.125], [0.0, 0.5, 1.0, 1.5])
    """

    learning_rate: Rate = eqx.field(converter=lambda value: as_rate(value, "learning_rate"))

    def apply(
        self,
        state: Float[Array, " P"],
        n: Int[Array, ""],
        loss: Float[Array, ""],
        gradient: Float[Array, " P"],
    ) -> Float[Array, " P"]:
        """θ − learning_rate·gradient."""
        return state - rate_at(self.learning_rate, n) * gradient

    @property
    def description(self) -> str:
        """Name and numbers."""
        return f"gradient descent, learning rate {rate_in_words(self.learning_rate)}"


class HeavyBall(Rule):
    """Polyak's heavy ball, v′ = momentum·v − learning_rate·∇L(θ), θ′ = θ + v′.

    The state is (θ, v), v = 0 at start.

    Arguments:
        learning_rate, momentum: numbers (may be traced) or schedules n → number.

    Raises:
        RuleError: not a finite number.

    Source: B. T. Polyak, Some methods of speeding up the convergence of iteration methods (1964).

    Example:
        >>> HeavyBall(0.1, momentum=0.9).description
        'heavy ball, learning rate 0.1, momentum 0.9'
    """

    learning_rate: Rate = eqx.field(converter=lambda value: as_rate(value, "learning_rate"))
    momentum: Rate = eqx.field(converter=lambda value: as_rate(value, "momentum"))

    def start(self, theta: Float[Array, " P"]) -> Float[Array, " d"]:
        """(θ, 0)."""
        return jnp.concatenate([theta, jnp.zeros_like(theta)])

    def apply(
        self,
        state: Float[Array, " d"],
        n: Int[Array, ""],
        loss: Float[Array, ""],
        gradient: Float[Array, " P"],
    ) -> Float[Array, " d"]:
        """(θ + v′, v′)."""
        return _move_with_momentum(state, rate_at(self.learning_rate, n), rate_at(self.momentum, n), gradient)

    @property
    def description(self) -> str:
        """Name and numbers."""
        rate, momentum = rate_in_words(self.learning_rate), rate_in_words(self.momentum)
        return f"heavy ball, learning rate {rate}, momentum {momentum}"


class Nesterov(Rule):
    """Nesterov's method, v′ = momentum·v − learning_rate·∇L(θ + momentum·v), θ′ = θ + v′.

    The state is (θ, v), v = 0 at start. The gradient is taken ahead of θ, at θ + momentum·v. At constant
    momentum these points are the iterates of `optax.sgd(learning_rate, momentum, nesterov=True)`, which
    keeps them as its parameters.

    Arguments:
        learning_rate, momentum: numbers (may be traced) or schedules n → number.

    Raises:
        RuleError: not a finite number.

    Source: Y. Nesterov (1983), in the form of I. Sutskever, J. Martens, G. Dahl, G. Hinton (ICML 2013),
        eqs. 3–4.

    Example:
        >>> Nesterov(0.1, momentum=0.9).description
        'Nesterov, learning rate 0.1, momentum 0.9'
    """

    learning_rate: Rate = eqx.field(converter=lambda value: as_rate(value, "learning_rate"))
    momentum: Rate = eqx.field(converter=lambda value: as_rate(value, "momentum"))

    @property
    def sees_theta(self) -> bool:
        """No: the gradient is taken ahead of θ."""
        return False

    def start(self, theta: Float[Array, " P"]) -> Float[Array, " d"]:
        """(θ, 0)."""
        return jnp.concatenate([theta, jnp.zeros_like(theta)])

    def evaluate(
        self, problem: Problem, state: Float[Array, " d"], n: Int[Array, ""], drawn: Any
    ) -> tuple[Float[Array, ""], Float[Array, " P"]]:
        """L and ∇L at θ + momentum·v."""
        theta, velocity = state[: problem.size], state[problem.size :]
        return problem.value_and_grad(theta + rate_at(self.momentum, n) * velocity)

    def apply(
        self,
        state: Float[Array, " d"],
        n: Int[Array, ""],
        loss: Float[Array, ""],
        gradient: Float[Array, " P"],
    ) -> Float[Array, " d"]:
        """(θ + v′, v′)."""
        return _move_with_momentum(state, rate_at(self.learning_rate, n), rate_at(self.momentum, n), gradient)

    @property
    def description(self) -> str:
        """Name and numbers."""
        rate, momentum = rate_in_words(self.learning_rate), rate_in_words(self.momentum)
        return f"Nesterov, learning rate {rate}, momentum {momentum}"


def _move_with_momentum(
    state: Float[Array, " d"],
    rate: Float[Array, ""],
    momentum: Float[Array, ""],
    gradient: Float[Array, " P"],
) -> Float[Array, " d"]:
    theta, velocity = state[: gradient.size], state[gradient.size :]
    velocity = momentum * velocity - rate * gradient
    return jnp.concatenate([theta + velocity, velocity])
