"""Maps: what moves in steps."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from thetadot.dynamics.rates import rate_at
from thetadot.dynamics.right_sides import StateError
from thetadot.dynamics.rules import Rule
from thetadot.errors import PrecisionError
from thetadot.problems import Problem
from thetadot.problems.checks import is_concrete, require_x64


class TrainingStep(eqx.Module):
    """One step of a learning rule on a problem, (state, n, samples of step n) → state."""

    problem: Problem
    rule: Rule

    def __call__(self, state: Float[Array, " d"], n: Int[Array, ""], drawn: Any) -> Float[Array, " d"]:
        loss, gradient = self.rule.evaluate(self.problem, state, n, drawn)
        return self.rule.apply(state, n, loss, gradient)


class StepMap(eqx.Module):
    """A map state′ = step(state, n, aux_n) of flat float64 states, n counting the steps made so far.

    Arguments:
        step: pure and traceable, (state (d,), n int32 scalar, aux_n) → state (d,). Data belongs into `aux`
            or, if `step` is an `equinox.Module`, into its leaves, so that new data of the same shape does
            not retrace.
        aux: what step n needs besides the state: None (aux_n is None); arrays in any pytree with a common
            leading axis of length M (aux_n = row n mod M); or a traceable function n → aux_n (for
            randomness `jax.random.fold_in(key, n)`), so that any step can be replayed.
        time_per_step: what one step counts in time, a number or a function n → number; None if there is no
            time.

    Raises:
        StateError: arrays in `aux` without a common leading axis; a state that is not a flat vector of
            floats; a step that changes its shape or precision.
        PrecisionError: a float32 state.

    Example:
        >>> import jax.numpy as jnp
        >>> henon = StepMap(lambda s, n, aux: jnp.stack([1 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]]))
        >>> henon(jnp.array([0.0, 0.0]), 0).tolist()
        [1.0, 0.0]
    """

    step: Any
    aux: Any = None
    time_per_step: Any = None

    def __check_init__(self):
        if not callable(self.step):
            raise StateError(
                f"step is a {type(self.step).__name__}: expected a function (state, n, aux) → state"
            )
        if self.aux is None or callable(self.aux):
            return
        shapes = [np.shape(leaf) for leaf in jax.tree.leaves(self.aux)]
        if not shapes or any(shape[:1] != shapes[0][:1] or shape[:1] in ((), (0,)) for shape in shapes):
            raise StateError(
                f"aux has arrays of shapes {shapes}: expected a common leading axis, one row per step of "
                "a period; or a function n → aux_n"
            )

    def __call__(self, state: Any, n: Any) -> Float[Array, " d"]:
        """The state after step n.

        Arguments:
            state: (d,), float64.
            n: number of steps made before this one.
        """
        state = flat_state(state, "the state")
        number = jnp.asarray(n).astype(jnp.int32)
        if any(not is_concrete(leaf) for leaf in jax.tree.leaves((self, state, number))):
            return _checked_step(self, state, number)
        return _compiled_step(self, state, number)

    def aux_at(self, n: Int[Array, ""]) -> Any:
        """aux_n: what step n needs besides the state."""
        if self.aux is None:
            return None
        if callable(self.aux):
            return self.aux(n)
        return jax.tree.map(lambda rows: jnp.asarray(rows)[n % np.shape(rows)[0]], self.aux)

    @property
    def problem(self) -> Problem | None:
        """The problem whose training this is; None for a user's map."""
        return self.step.problem if isinstance(self.step, TrainingStep) else None

    def start(self, theta: Any) -> Float[Array, " d"]:
        """The state (d,) before the first step at parameters θ (P,); the same for a user's map.

        Raises:
            StateError: not a flat vector of floats, or not of the problem's size.
            PrecisionError: float32.
        """
        theta = flat_state(theta, "theta")
        if not isinstance(self.step, TrainingStep):
            return theta
        if theta.size != self.step.problem.size:
            raise StateError(
                f"theta has {theta.size} entries, the problem has {self.step.problem.size} parameters"
            )
        return self.step.rule.start(theta)

    def theta(self, state: Any) -> Any:
        """The parameters (…, P) of a state (d,) or of stacked states (…, d); the same for a user's map."""
        return state[..., : self.step.problem.size] if isinstance(self.step, TrainingStep) else state


class ScheduledTime(eqx.Module):
    """Time of step n under a scheduled learning rate: learning_rate(n)/time_scale."""

    schedule: Callable
    time_scale: float = eqx.field(static=True)

    def __call__(self, n: Int[Array, ""]) -> Float[Array, ""]:
        return rate_at(self.schedule, n) / self.time_scale


def training_map(problem: Problem, rule: Rule) -> StepMap:
    """The training of a problem by a learning rule, as a map of states (θ, optimizer floats).

    The numbers of the rule may be traced, so that a scan over learning rates is one compilation. A problem
    of equal shapes does not retrace.

    Arguments:
        problem: what is trained; its arrays are leaves of the map.
        rule: `GradientDescent`, `HeavyBall`, `Nesterov`, `MiniBatch`, `PerSample` or `Optax`.

    Returns:
        a `StepMap` with `start`, `theta` and `problem`; its `time_per_step` is learning_rate/time_scale: a
        number, a function of n under a schedule, None for `Optax` without learning_rate. Its aux is the
        draw of samples.

    Raises:
        RuleError: the rule does not fit the problem.

    Example:
        >>> import jax.numpy as jnp
        >>> from thetadot.dynamics.rules import HeavyBall
        >>> from thetadot.problems import FunctionRisk
        >>> problem = FunctionRisk(lambda t: 0.5 * jnp.sum(t**2), jnp.zeros(1))
        >>> system = training_map(problem, HeavyBall(0.5, momentum=0.5))
        >>> state = system(system.start(jnp.ones(1)), 0)
        >>> state.tolist(), system.theta(state).tolist(), float(system.time_per_step)
        ([0.5, -0.5], [0.5], 0.5)
    """
    return StepMap(TrainingStep(problem, rule), rule.draw(problem), step_time(problem, rule))


def step_time(problem: Problem, rule: Rule) -> Any:
    """learning_rate/time_scale: a number, a function of n under a schedule, or None."""
    rate = rule.learning_rate
    if rate is None:
        return None
    return ScheduledTime(rate, problem.time_scale) if callable(rate) else rate / problem.time_scale


def flat_state(state: Any, what: str) -> Float[Array, " d"]:
    """`state` if it is a flat vector of float64.

    Raises:
        PrecisionError: other floats, or JAX without x64.
        StateError: integers, or not flat.
    """
    require_x64()
    array = state if isinstance(state, jax.Array) else np.asarray(state)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise StateError(f"{what} is {array.dtype}: expected a flat vector of float64 numbers")
    if array.dtype != np.float64:
        raise PrecisionError(f"{what} is {array.dtype}: expected float64; convert with x.astype('float64')")
    if array.ndim != 1 or array.size == 0:
        raise StateError(f"{what} has shape {array.shape}: expected a flat vector of shape (d,)")
    return jnp.asarray(array)


def _checked_step(system: StepMap, state: Float[Array, " d"], n: Int[Array, ""]) -> Float[Array, " d"]:
    new = system.step(state, n, system.aux_at(n))
    if np.shape(new) != state.shape or getattr(new, "dtype", None) != state.dtype:
        got = f"{getattr(new, 'dtype', type(new).__name__)}{np.shape(new)}"
        raise StateError(f"step returned {got} for a state {state.dtype}{state.shape}: both must be equal")
    return new


_compiled_step = eqx.filter_jit(_checked_step)
