"""The lens on one run of a study."""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field

from thetadot.dynamics import MiniBatch, Path
from thetadot.fluctuations.balance import DetailedBalance, detailed_balance
from thetadot.fluctuations.curvature import largest_curvature
from thetadot.fluctuations.ensemble import EnsembleFluctuations, sgd_ensemble
from thetadot.fluctuations.errors import (
    FluctuationsError,
    LevelError,
    NotStochasticError,
)
from thetadot.fluctuations.flatness import Flatness, flatness
from thetadot.fluctuations.online import StationaryStatus
from thetadot.fluctuations.sampling import require_independent
from thetadot.fluctuations.stationary import StationaryCovariance, stationary_covariance_of
from thetadot.fluctuations.variance_flatness import VarianceFlatness, variance_flatness
from thetadot.problems import Problem

COMPARED = ("minibatch",)
"""Comparison rules whose paths the lens looks at too."""

_MOST_DIRECTIONS = 50


class FlatnessOptions(BaseModel):
    """Widths of the valley."""

    model_config = ConfigDict(extra="forbid")

    factor: float = Field(math.e, gt=1, description="the level is this multiple of the loss at the minimum")
    max_width: float = Field(1000.0, gt=0, description="farthest distance looked at on each side")


class FitOptions(BaseModel):
    """The exponent of variance against width."""

    model_config = ConfigDict(extra="forbid")

    min_points: int = Field(5, ge=2, description="fewest directions for a fit")
    min_decades: float = Field(1.0, ge=0, description="decades that the widths must span")


class Options(BaseModel):
    """Options of the lens `fluctuations` in a study file."""

    model_config = ConfigDict(extra="forbid")

    learning_rate: float | None = Field(None, gt=0, description="null: that of the rule, if it is minibatch")
    batch_size: int = Field(16, ge=1, description="only with learning_rate, or where the run is no SGD")
    kind: Literal["continuum", "discrete", "multiplicative"] = Field("discrete", description="which theory")
    leading: int | None = Field(20, ge=1, description="leading Hessian directions only; null: dense")
    flat: float = Field(
        1e-6,
        ge=0,
        lt=1,
        description="curvatures up to this fraction of the largest, of either sign, count as flat",
    )
    members: int = Field(32, ge=0, description="simulated runs; 0: none")
    steps: int = Field(2000, ge=3, description="steps of each, burn-in included")
    burn_in: int = Field(500, ge=0, description="steps that are not recorded")
    every: int = Field(10, ge=1, description="steps between records")
    flatness: FlatnessOptions | None = Field(default_factory=FlatnessOptions, description="null: no widths")  # pyright: ignore[reportArgumentType]
    fit: FitOptions = Field(default_factory=FitOptions, description="the exponent of variance against width")  # pyright: ignore[reportArgumentType]
    seed: int = Field(0, ge=0, description="of the simulation")


@dataclasses.dataclass(frozen=True)
class FluctuationsResult:
    """What the lens found on one run; parts that were not asked for or do not apply are None.

    Attributes:
        theory, balance, simulation, flatness, fit: the parts.
        directions (P, k): Hessian eigenvectors, in which simulation and widths are. curvatures (k,): along them.
        predicted (k,): variances along them. relaxed (k,): directions that had time to settle in the simulation.
        notes: what was limited or left out, and why.
    """

    theory: StationaryCovariance
    balance: DetailedBalance | None
    simulation: EnsembleFluctuations | None
    flatness: Flatness | None
    fit: VarianceFlatness | None
    directions: Float[np.ndarray, "P k"]
    curvatures: Float[np.ndarray, " k"]
    predicted: Float[np.ndarray, " k"]
    relaxed: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def prediction_error(self) -> float:
        """Median |simulated/predicted − 1| over the settled directions; NaN without."""
        if self.simulation is None:
            return float("nan")
        good = self.relaxed & (self.predicted > 0)
        ratio = np.diag(self.simulation.covariance)[good] / self.predicted[good]
        return float(np.median(np.abs(ratio - 1))) if ratio.size else float("nan")

    def summary(self) -> str:
        """The main numbers and statuses in one line."""
        parts = [self.theory.summary()]
        if self.simulation is not None:
            error = self.prediction_error
            said = f"simulation {self.simulation.status}"
            if np.isfinite(error):
                said = f"variance predicted by {self.theory.kind} within {error:.0%} ({said})"
            parts.append(said)
        if self.balance is not None:
            parts.append(str(self.balance))
        if self.fit is not None:
            parts.append(str(self.fit))
        return "; ".join(parts)

    def to_xarray(self):
        """All parts in one Dataset; names carry their part, dimensions `direction` and `parameter` are shared."""
        import xarray

        merged = xarray.Dataset(
            {
                "direction_vector": (("parameter", "direction"), self.directions, {"units": "1"}),
                "predicted_variance": ("direction", self.predicted, {"units": "weight²"}),
                "direction_curvature": ("direction", self.curvatures, {"units": "loss/weight²"}),
                "relaxed": ("direction", self.relaxed.astype(int)),
            },
            attrs={
                "summary": self.summary(),
                "notes": "; ".join(self.notes),
                "prediction_error": self.prediction_error,
            },
        )
        for name in ("theory", "simulation", "flatness", "fit"):
            found = getattr(self, name)
            if found is None:
                continue
            data = found.to_xarray().drop_vars("basis", errors="ignore")  # it is direction_vector
            own = [*data.variables, *(dim for dim in data.dims if dim not in data.variables)]
            shared = (
                set()
                if name == "fit" or (name == "theory" and self.theory.directions is None)
                else {"direction"}
            )
            data = data.rename({str(key): f"{name}_{key}" for key in own if key not in shared})
            merged = merged.merge(data)
            merged.attrs |= {f"{name}_{key}": value for key, value in data.attrs.items()}
        if self.balance is not None:
            merged["circulation"] = (("balance_row", "balance_column"), self.balance.circulation)
            merged.attrs |= {
                "balance_defect": self.balance.defect,
                "entropy_production": self.balance.entropy_production,
                "entropy_production_is_lower_bound": int(self.balance.lower_bound),
            }
        return merged


def analyse(problem: Problem, path: Path, options: Options, *, rule: Any = None) -> FluctuationsResult:
    """How SGD fluctuates where a run has ended: theory, balance, simulation, widths and their exponent.

    A run of mini-batch descent tells its own learning rate and batches, and θ* is the mean of the rows of its second
    half. After any other run (gradient flow, descent) the question is how SGD would fluctuate around its end: then
    `learning_rate` must be given.

    Arguments:
        problem: what was trained; an `EmpiricalRisk`.
        path: the run. options: see `Options`.
        rule: the learning rule of the run, None for a flow.

    Raises:
        NotStochasticError: a run without gradient noise, and no learning_rate to ask about.
        UnsupportedSamplingError: shuffled passes. FluctuationsError: a problem without samples.
    """
    if path.thetas.shape[1] != problem.size:
        raise FluctuationsError(
            f"the path has {path.thetas.shape[1]} columns, the problem {problem.size} parameters: this lens is for "
            "training runs"
        )
    if getattr(problem, "samples", None) is None:
        raise FluctuationsError(
            f"{type(problem).__name__} has no samples, and so no gradient noise: pose the problem as EmpiricalRisk"
        )
    plain = _asked(path, options, rule)
    notes: list[str] = []
    theta = _minimum(path, rule, notes)
    floor = options.flat * largest_curvature(problem, theta)
    leading = None if options.leading is None else min(options.leading, problem.size)
    if options.kind == "multiplicative" and leading is not None:
        notes.append("multiplicative noise couples all directions: dense")
        leading = None
    theory = stationary_covariance_of(
        problem, theta, plain, kind=options.kind, leading=leading, tolerance=floor or None
    )
    basis, curvatures, predicted = _directions(theory)
    balance = None
    if theory.status is not StationaryStatus.NON_STATIONARY:
        balance = detailed_balance(
            theory.hessian, theory.noise, tolerance=floor or None, projected=leading is not None
        )
    simulation = None
    if options.members > 1:
        simulation = sgd_ensemble(
            problem, theta, plain, members=options.members, steps=options.steps, burn_in=options.burn_in,
            every=options.every, directions=basis, key=jax.random.key(options.seed),
        )  # fmt: skip
    with np.errstate(divide="ignore"):
        relaxed = (curvatures > floor) & (theory.learning_rate * curvatures * options.burn_in >= 2)
    widths = fit = None
    if options.flatness is not None:
        try:
            widths = flatness(problem, theta, basis, **options.flatness.model_dump())
            measured = predicted if simulation is None else np.diag(simulation.covariance)
            kept = relaxed if simulation is not None else predicted > 0
            fit = variance_flatness(measured[kept], widths.widths[kept], **options.fit.model_dump())
        except LevelError as error:
            notes.append("no widths: " + str(error).replace("; ", ", "))
    return FluctuationsResult(
        theory, balance, simulation, widths, fit, basis, curvatures, predicted, relaxed, tuple(notes)
    )


def _directions(theory: StationaryCovariance) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hessian eigenvectors (P, k), curvatures and predicted variances (k,) along them."""
    if theory.directions is not None:
        return theory.directions, np.diag(theory.hessian).copy(), np.diag(theory.covariance).copy()
    values, axes = np.linalg.eigh(theory.hessian)
    keep = slice(None, -_MOST_DIRECTIONS - 1, -1)
    basis = axes[:, keep].copy()
    return basis, values[keep].copy(), np.einsum("pk,pq,qk->k", basis, theory.covariance, basis)


def _minimum(path: Path, rule: Any, notes: list[str]) -> Any:
    if not isinstance(rule, MiniBatch):
        return jnp.asarray(path.thetas[-1])
    later = path.thetas[path.ts >= path.ts[-1] / 2]  # by time: rows may be spaced as a logarithm
    notes.append(f"θ* is the mean of {len(later)} rows, those of the second half of the run")
    return jnp.asarray(later.mean(axis=0))


def _asked(path: Path, options: Options, rule: Any) -> MiniBatch:
    """The mini-batch descent that the question is about."""
    if options.learning_rate is not None:
        key = jax.random.key(options.seed)
        return MiniBatch(options.learning_rate, options.batch_size, key, replace=True)
    if rule is None:
        raise NotStochasticError(
            f"{path.info.get('method', 'a run of unknown rule')}: no gradient noise is known of; set learning_rate and "
            "batch_size to ask how SGD would fluctuate around its end, or give rule=… of a run of mini-batch descent"
        )
    return require_independent(rule)
