"""The part of a study file that says how training moves."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from thetadot.studies.schema_parts import Count, Finite, NonNegative, Part, Positive, Seed

Saves = Literal["log", "linear", "steps"] | Annotated[list[NonNegative], Field(min_length=1)]
SOLVERS = (
    "auto", "NDF", "NDF-cg", "RadauIIA", "RadauIIA(3)", "RadauIIA(5)", "RadauIIA(7)", "ExponentialRosenbrock", "RKC2",
    "Tsit5", "Dopri5", "Dopri8", "Kvaerno3", "Kvaerno4", "Kvaerno5", "CVODE", "CVODE-GMRES",
)  # fmt: skip
OPTIMIZERS = (
    "adabelief", "adadelta", "adagrad", "adam", "adamax", "adamw", "amsgrad", "lamb", "lion", "nadam",
    "noisy_sgd", "radam", "rmsprop", "rprop", "sgd", "yogi",
)  # fmt: skip


class End(Part):
    """When a flow ends: the first of these that holds."""

    time: Positive | None = None
    """End time, in units of the loss."""
    grad_norm: Positive | None = None
    """Norm of the gradient, unless at a saddle."""
    loss: Finite | None = None
    steps: Count | None = None
    """Accepted steps."""
    accept_saddles: bool = False
    """Let grad_norm end the run at saddles too."""

    @model_validator(mode="after")
    def _ends(self) -> "End":
        if self.time is None and self.grad_norm is None and self.loss is None and self.steps is None:
            raise ValueError("names no end: give at least one of time, grad_norm, loss, steps")
        return self


class FlowRule(Part):
    """Gradient flow, followed to a stated accuracy."""

    kind: Literal["flow"]
    until: End
    accuracy: Annotated[Positive, Field(lt=1)] = 1e-6
    """Wanted relative global error of θ along the path."""
    rtol: Annotated[Positive, Field(lt=1)] | None = None
    """Local tolerance, instead of one derived from accuracy."""
    atol: Positive | None = None
    """Local absolute tolerance; by default it follows the scale of each layer."""
    solver: Literal[SOLVERS] = "auto"  # pyright: ignore[reportInvalidTypeForm]
    saves: Saves = "log"
    """Save times: log, linear, steps, or a list of times."""
    certify: bool = False
    """Measure the global error by a second run at a tighter tolerance."""
    polish: bool = False
    """Finish by Newton steps where the theory allows it."""
    perturb: NonNegative = 0.0
    """Relative random perturbation of the start, to leave exact symmetries."""


class _Descent(Part):
    steps: Count
    """Number of steps."""
    saves: Saves = "log"
    """Save times: log, linear, steps, or a list of times."""
    until: End | None = None
    """End earlier when one of these holds."""


class GradientDescentRule(_Descent):
    """θ ← θ − learning_rate·∇L(θ)."""

    kind: Literal["gradient_descent"]
    learning_rate: Positive


class HeavyBallRule(_Descent):
    """Gradient descent with Polyak's momentum."""

    kind: Literal["heavy_ball"]
    learning_rate: Positive
    momentum: Annotated[NonNegative, Field(lt=1)]


class NesterovRule(_Descent):
    """Gradient descent with Nesterov's momentum."""

    kind: Literal["nesterov"]
    learning_rate: Positive
    momentum: Annotated[NonNegative, Field(lt=1)]


class MiniBatchRule(_Descent):
    """Stochastic gradient descent: each step a fresh draw of batch_size samples."""

    kind: Literal["minibatch"]
    learning_rate: Positive
    batch_size: Count
    seed: Seed = 0
    """Each member draws from its own stream of this seed."""
    replace: bool = False
    epochs: bool = False
    """Walk through reshuffled passes instead."""


class PerSampleRule(_Descent):
    """Gradient descent on one sample after another."""

    kind: Literal["per_sample"]
    learning_rate: Positive
    order: Literal["fixed", "random"] = "fixed"
    seed: Seed = 0


class OptaxRule(_Descent):
    """An optimizer of Optax, by name."""

    kind: Literal["optax"]
    optimizer: Literal[OPTIMIZERS]  # pyright: ignore[reportInvalidTypeForm]
    learning_rate: Positive
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Further keyword arguments of the optimizer."""


Rule = Annotated[
    FlowRule | GradientDescentRule | HeavyBallRule | NesterovRule | MiniBatchRule | PerSampleRule | OptaxRule,
    Field(discriminator="kind"),
]
