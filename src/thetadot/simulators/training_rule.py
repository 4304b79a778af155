"""The rule by which graph fields are trained: Adam on mini-batches, weight decay in the gradient, cosine decay."""

import functools
from typing import Any

import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from thetadot.dynamics import MiniBatch, Optax, Rule
from thetadot.dynamics.draws import Draw
from thetadot.dynamics.rates import Rate
from thetadot.problems import Problem


class BatchedOptax(Rule):
    """An optimiser of Optax that sees the samples of one mini-batch at each step.

    Arguments:
        optimiser: the transformation as a rule. batches: how samples are drawn (its learning rate is not used).

    Example:
        >>> rule = BatchedOptax(Optax(optax.adam(1e-2), name="adam"), MiniBatch(0.0, 8, jax.random.key(0)))
        >>> rule.description
        'adam (Optax), batches of 8'
    """

    optimiser: Optax
    batches: MiniBatch
    learning_rate: Rate | None

    def __init__(self, optimiser: Optax, batches: MiniBatch):
        self.optimiser, self.batches, self.learning_rate = optimiser, batches, optimiser.learning_rate

    @property
    def sees_theta(self) -> bool:
        """No: it sees the loss of a batch."""
        return False

    def start(self, theta: Float[Array, " P"]) -> Float[Array, " d"]:
        """θ and the floats of the optimiser."""
        return self.optimiser.start(theta)

    def draw(self, problem: Problem) -> Draw:
        """Indices of the batch of step n."""
        return self.batches.draw(problem)

    def evaluate(
        self, problem: Problem, state: Float[Array, " d"], n: Int[Array, ""], drawn: Any
    ) -> tuple[Float[Array, ""], Float[Array, " P"]]:
        """Mean loss of the batch, and its gradient."""
        return self.batches.evaluate(problem, state[: problem.size], n, drawn)

    def apply(
        self,
        state: Float[Array, " d"],
        n: Int[Array, ""],
        loss: Float[Array, ""],
        gradient: Float[Array, " P"],
    ) -> Float[Array, " d"]:
        """One update of the optimiser."""
        return self.optimiser.apply(state, n, loss, gradient)

    @property
    def description(self) -> str:
        """The optimiser and its batches."""
        return f"{self.optimiser.description}, batches of {self.batches.batch_size}"


def field_rule(
    steps: int,
    key: PRNGKeyArray,
    *,
    samples: int,
    learning_rate: float = 1e-2,
    decay: float = 1e-3,
    batch_size: int = 100,
) -> BatchedOptax:
    """Adam with weight decay added to the gradient, mini-batches, and a learning rate that decays as a cosine.

    The authors' code halves the learning rate on plateaus instead.

    Arguments:
        steps: over which the learning rate decays to 0. key: of the batches. samples: N, at most as many in a batch.
        learning_rate, decay, batch_size: see above.

    Source: arXiv 2301.04900, the authors' code; the schedule is ours.

    Example:
        >>> field_rule(10, jax.random.key(0), samples=50).description
        'Adam with cosine decay (Optax), batches of 50'
    """
    return BatchedOptax(
        _adam(steps, learning_rate, decay), MiniBatch(learning_rate, min(batch_size, samples), key)
    )


@functools.cache
def _adam(steps: int, learning_rate: float, decay: float) -> Optax:
    """Made once, so that all members of an ensemble run one program."""
    schedule = optax.cosine_decay_schedule(learning_rate, steps)
    transformation = optax.chain(optax.add_decayed_weights(decay), optax.adam(schedule))
    return Optax(transformation, name="Adam with cosine decay")
