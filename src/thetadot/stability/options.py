"""What a study file may ask of this lens."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Steps = Annotated[int, Field(ge=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class FiniteTimeOptions(_Part):
    """Finite-time exponents from the start of the run."""

    windows: tuple[_Positive, ...] = (20,)
    """Lengths of the windows: steps of a rule, time of a flow."""
    kind: Literal["singular", "orthogonal"] = "orthogonal"
    """Singular values of the product of tangents, or growth of a random frame."""
    count: _Steps = 3
    """Number of leading exponents."""
    repeats: _Steps = 2
    """Start bases of the orthogonal kind."""


class CovariantOptions(_Part):
    """Covariant vectors."""

    count: _Steps = 5
    """Number of vectors."""
    transient: _Positive
    """Steps (time of a flow) before the window."""
    window: _Positive
    """Steps (time) over which vectors are given."""
    tail: _Positive
    """Steps (time) after the window."""
    store: Literal["memory", "segments", "coefficients"] = "segments"
    """Where frames are kept."""
    want: tuple[Literal["growth", "angles", "vectors"], ...] = ("growth", "angles")
    """Which arrays go into the store."""


class OrbitalOptions(_Part):
    """Distances between the run and perturbed twins."""

    amplitude: _Positive = 1e-8
    """Entries of a perturbation are drawn from U(−amplitude, amplitude)."""
    members: _Steps = 2
    """Perturbed twins."""
    parts: tuple[str, ...] | None = ("weight",)
    """Roles of the layout that are perturbed; null for all."""
    norm: Literal[1, 2, "max"] = 1
    """Norm of distances."""
    duration: _Positive = 50
    """Steps of a rule, time of a flow."""


class SharpnessOptions(_Part):
    """Largest eigenvalues of the Hessian along the run."""

    count: _Steps = 1
    """How many eigenvalues."""
    rows: _Steps = 8
    """Saves at which they are computed, evenly spread."""


class RateRange(_Part):
    """Learning rates of a scan."""

    start: _Positive = Field(alias="from")
    """First."""
    stop: _Positive = Field(alias="to")
    """Last."""
    count: _Steps = 50
    """How many."""
    spacing: Literal["log", "linear"] = "log"
    """How they are spread."""

    @model_validator(mode="after")
    def _ascends(self) -> "RateRange":
        if self.stop <= self.start:
            raise ValueError(f"from {self.start:g} to {self.stop:g}: expected from < to")
        return self


class RegimeOptions(_Part):
    """Where gradient descent ends, over learning rates."""

    learning_rates: RateRange
    """Which learning rates."""
    inits: _Steps = 4
    """Starts: the run's own and others."""
    transient: _Steps = 2000
    """Steps before the window."""
    duration: _Steps = 2000
    """Steps of the window."""


class PredictionOptions(_Part):
    """Whether early exponents tell the final loss."""

    inits: Annotated[int, Field(ge=20)] = 200
    """Starts."""
    final: _Steps = 20_000
    """Steps after which the loss counts as final."""
    windows: tuple[_Steps, ...] = (20, 100, 500)
    """First steps that indicators see."""
    label: Literal["median", "gap"] | float = "median"
    """What counts as a high loss."""


class Options(_Part):
    """Stability: exponents, distances, sharpness along a run."""

    system: Literal["rule", "flow"] = "rule"
    """The study's own rule, or gradient flow whatever the rule."""
    exponents: Annotated[int, Field(ge=0)] = 3
    """Number of leading Lyapunov exponents; 0 for none."""
    duration: _Positive | None = None
    """Steps (time of a flow) from the start; null is the length of the run, less for more than 500 parameters."""
    transient: Annotated[float, Field(ge=0)] = 0
    """Steps (time) before."""
    every: _Positive | Literal["auto"] = "auto"
    """Steps (time) between orthonormalisations."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    """Local error of flows."""
    finite_time: FiniteTimeOptions | Literal["auto"] | None = "auto"
    """Finite-time exponents; auto: of a rule, not of a flow; null for none."""
    covariant: CovariantOptions | None = None
    """Covariant vectors; null for none."""
    orbital: OrbitalOptions | Literal["auto"] | None = "auto"
    """Perturbed twins; auto: of a rule, not of a flow; null for none."""
    sharpness: SharpnessOptions | None = SharpnessOptions()
    """Sharpness along the run; null for none."""
    regimes: RegimeOptions | None = None
    """Scan of learning rates; null for none."""
    prediction: PredictionOptions | None = None
    """Prediction of the final loss from many starts; null for none."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Draws frames, perturbations and starts."""
