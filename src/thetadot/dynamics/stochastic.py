"""Learning rules that see some samples at a time: mini-batch and per-sample descent."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from thetadot.dynamics.draws import Draw, FreshBatch, InOrder, PassBatch
from thetadot.dynamics.rates import Rate, RuleError, as_rate, rate_at, rate_in_words
from thetadot.dynamics.rules import Rule
from thetadot.problems import Problem


class MiniBatch(Rule):
    """Stochastic gradient descent, θ′ = θ − learning_rate·∇L_B(θ), L_B the mean loss of the batch of step n.

    The batch depends on (key, n) only, so that any step can be replayed. A step costs the gradient of its
    batch.

    Arguments:
        learning_rate: a number (may be traced) or a schedule n → number.
        batch_size: samples at each step.
        key: a JAX random key (may be traced).
        replace: draw with replacement; otherwise the samples of a batch are distinct.
        epochs: instead of a fresh draw at each step walk through reshuffled passes, each a permutation from
            (key, pass number) that visits every sample exactly once. Where batch_size does not divide the
            number of samples, the batch at a border takes the end of one pass and the beginning of the
            next.

    Raises:
        RuleError: a batch size that is no positive integer, both `replace` and `epochs`, no key; from
            `training_map` and `descend`: a problem without samples, a batch larger than the data.

    Example:
        >>> MiniBatch(0.1, 16, jax.random.key(0), epochs=True).description
        'mini-batch descent, learning rate 0.1, batches of 16 in reshuffled passes'
    """

    learning_rate: Rate
    batch_size: int = eqx.field(static=True)
    key: PRNGKeyArray
    replace: bool = eqx.field(static=True)
    epochs: bool = eqx.field(static=True)

    def __init__(self, learning_rate, batch_size, key=None, replace=False, epochs=False):
        if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or int(batch_size) < 1:
            raise RuleError(f"batch_size = {batch_size!r}: expected a positive integer")
        if replace and epochs:
            raise RuleError(
                "replace=True and epochs=True exclude each other: a pass visits every sample once"
            )
        self.learning_rate = as_rate(learning_rate, "learning_rate")
        self.batch_size = int(batch_size)
        self.key = _as_key(key, "MiniBatch")
        self.replace = bool(replace)
        self.epochs = bool(epochs)

    @property
    def sees_theta(self) -> bool:
        """No: it sees the loss of a batch."""
        return False

    def draw(self, problem: Problem) -> Draw:
        """Indices (batch_size,) of step n."""
        samples = _samples(problem, "MiniBatch")
        if self.batch_size > samples and not self.replace:
            raise RuleError(
                f"batch_size = {self.batch_size} is more than the {samples} samples of the problem: "
                "choose a smaller batch, or replace=True"
            )
        if self.epochs:
            return PassBatch(samples=samples, key=self.key, batch_size=self.batch_size)
        return FreshBatch(samples=samples, key=self.key, batch_size=self.batch_size, replace=self.replace)

    def evaluate(
        self, problem: Problem, state: Float[Array, " P"], n: Int[Array, ""], drawn: Any
    ) -> tuple[Float[Array, ""], Float[Array, " P"]]:
        """Mean loss of the batch, and its gradient."""
        return batch_value_and_grad(problem, state, drawn)

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
        way = " in reshuffled passes" if self.epochs else " drawn with replacement" if self.replace else ""
        rate = rate_in_words(self.learning_rate)
        return f"mini-batch descent, learning rate {rate}, batches of {self.batch_size}{way}"


class PerSample(Rule):
    """Descent on one sample at a time, θ′ = θ − learning_rate·∇ℓ_j(θ), j the sample of step n.

    Arguments:
        learning_rate: a number (may be traced) or a schedule n → number.
        order: "fixed": j = n mod N; "random": j drawn afresh from (key, n).
        key: a JAX random key (may be traced), for the random order only.

    Raises:
        RuleError: unknown order, a missing or superfluous key; from `training_map` and `descend`: a problem
            without samples.

    Example:
        >>> PerSample(0.1, order="random", key=jax.random.key(0)).description
        'per-sample descent, learning rate 0.1, random order'
    """

    learning_rate: Rate
    order: str = eqx.field(static=True)
    key: PRNGKeyArray | None

    def __init__(self, learning_rate, order="fixed", key=None):
        if order not in ("fixed", "random"):
            raise RuleError(f'order = {order!r}: expected "fixed" or "random"')
        if order == "fixed" and key is not None:
            raise RuleError('a fixed order takes no key: leave it out, or choose order="random"')
        self.learning_rate = as_rate(learning_rate, "learning_rate")
        self.order = order
        self.key = None if order == "fixed" else _as_key(key, 'PerSample(order="random")')

    @property
    def sees_theta(self) -> bool:
        """No: it sees the loss of one sample."""
        return False

    def draw(self, problem: Problem) -> Draw:
        """Index (1,) of step n."""
        samples = _samples(problem, "PerSample")
        if self.key is None:
            return InOrder(samples)
        return FreshBatch(samples=samples, key=self.key, batch_size=1, replace=True)

    def evaluate(
        self, problem: Problem, state: Float[Array, " P"], n: Int[Array, ""], drawn: Any
    ) -> tuple[Float[Array, ""], Float[Array, " P"]]:
        """Loss of the sample, and its gradient."""
        return batch_value_and_grad(problem, state, drawn)

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
        return f"per-sample descent, learning rate {rate_in_words(self.learning_rate)}, {self.order} order"


def batch_value_and_grad(
    problem: Problem, theta: Float[Array, " P"], indices: Int[Array, " B"]
) -> tuple[Float[Array, ""], Float[Array, " P"]]:
    """Mean loss of the samples at `indices` and its gradient (P,), at the cost of these samples only."""

    def batch_loss(point):
        return jnp.mean(problem.sample_losses(point, indices))  # pyright: ignore[reportAttributeAccessIssue]

    return jax.value_and_grad(batch_loss)(theta)


def _samples(problem: Problem, rule: str) -> int:
    samples = getattr(problem, "samples", None)
    if samples is None or not hasattr(problem, "sample_losses"):
        raise RuleError(
            f"{rule} draws samples; {type(problem).__name__} has none: pose the problem as EmpiricalRisk"
        )
    return int(samples)


def _as_key(key: Any, rule: str) -> PRNGKeyArray:
    if key is None:
        raise RuleError(f"{rule} draws at random and needs a key: give key=jax.random.key(0)")
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    legacy = hasattr(key, "dtype") and key.dtype == jnp.uint32 and key.shape[-1:] == (2,)
    if not (typed or legacy) or key.shape != (() if typed else (2,)):
        raise RuleError(f"{rule} needs one JAX random key, got {key!r}: give jax.random.key(seed)")
    return jnp.asarray(key) if legacy else key
