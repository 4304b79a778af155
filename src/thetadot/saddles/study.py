"""Saddles as a lens of studies: options, analysis, and one line of result."""

import dataclasses
import warnings
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.sparse.linalg import eigsh

from thetadot.dynamics import Path
from thetadot.problems import Problem
from thetadot.saddles.correlation import neural_correlation
from thetadot.saddles.correlation_flow import FlowStatus, correlation_flow
from thetadot.saddles.derivatives import hessian
from thetadot.saddles.errors import (
    NonLipschitzGradientWarning,
    NotAsymptoticWarning,
    SaddlesError,
    StableManifoldWarning,
)
from thetadot.saddles.escape import Escape, escape_time
from thetadot.saddles.homogeneity import Homogeneity, homogeneity
from thetadot.saddles.inertia import count_below
from thetadot.saddles.itinerary import Itinerary, saddle_itinerary
from thetadot.saddles.limiting_path import PathDeviation, limiting_path, path_deviation
from thetadot.saddles.plateaus import Plateau, plateaus
from thetadot.saddles.sparsity import Sparsity, neuron_groups, sparsity

_LARGEST_WALK = 1500
_LARGEST_INDEX = 3000
_SMALLEST_NEGATIVE = 1e-6


class Options(BaseModel):
    """Options of the lens `saddles` in a study file."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["both", "predict", "integrate"] = Field(
        "both", description="of the itinerary: predicted, integrated, or both compared"
    )
    max_saddles: int = Field(
        20, ge=1, le=1000, description="saddles to leave after the origin before stopping"
    )
    correlation_starts: int = Field(
        32, ge=1, le=10_000, description="random starts of the search for correlation points"
    )
    scales: list[float] = Field(
        [], description="scales of the start for escape times and deviations; [] skips them"
    )
    predict_scales: list[float] = Field(
        [], description="further scales, however small, at which the walk is predicted"
    )
    deviation: bool = Field(True, description="distance from the limiting path at `scales`")
    sparsity: bool = Field(True, description="norms of the neurons along the run")
    index_rows: int = Field(
        6,
        ge=0,
        le=1000,
        description="rows of the run at which negative curvatures are counted (up to 3000 weights)",
    )
    accuracy: float = Field(1e-8, gt=0, lt=1e-2, description="relative accuracy of integrations")
    max_size: int = Field(
        _LARGEST_WALK, ge=1, le=100_000, description="most parameters for which the walk is predicted"
    )
    budget: float | None = Field(None, gt=0, description="seconds for the itinerary")


@dataclasses.dataclass(frozen=True)
class SaddlesResult:
    """What the lens found: the parts that apply, and notes on those that do not.

    Attributes:
        homogeneity: the report of the network.
        plateaus: of the run.
        index_times (R,), indices (R,): how many eigenvalues of the Hessian are negative along the run, that is below
            −10⁻⁶ of the largest.
        itinerary, predicted: the walk from the run's start, and from `predict_scales`.
        escapes, deviation, sparsity: at `scales`, and along the run.
        notes: what does not apply, and why.
    """

    homogeneity: Homogeneity
    plateaus: tuple[Plateau, ...]
    index_times: np.ndarray
    indices: np.ndarray
    itinerary: Itinerary | None
    predicted: tuple[Itinerary, ...]
    escapes: tuple[Escape, ...]
    deviation: PathDeviation | None
    sparsity: Sparsity | None
    notes: tuple[str, ...]

    def summary(self) -> str:
        """The main numbers in one line."""
        found = self.homogeneity
        if found.degree is None:
            parts = [f"not homogeneous{f' ({found.culprit})' if found.culprit else ''}"]
        else:
            covered = "covered" if found.gradient_is_lipschitz else "not covered: its gradient jumps"
            parts = [f"degree {found.degree:g}, {covered}"]
        if self.itinerary is not None:
            walk = self.itinerary
            first = (
                walk.escapes_measured[0]
                if np.isfinite(walk.escapes_measured[0])
                else walk.escapes_predicted[0]
            )
            middle = max(len(walk.visits) - 2, 0)
            if np.isfinite(first):
                parts.append(
                    f"leaves the origin at {first:.6g}, {middle} saddle{'s' * (middle != 1)} after it"
                )
            parts.append(walk.status.name)
        passed = sum(one.status.name == "PASSED" for one in self.plateaus)
        parts.append(f"{passed} plateau{'s' * (passed != 1)} passed by the run")
        if len(self.indices):
            parts.append(f"negative curvatures {self.indices[0]} → {self.indices[-1]} along it")
        return "; ".join(parts)

    def to_xarray(self):
        """One Dataset: the itinerary's dimensions, plateau, row, save, group, scale."""
        import xarray

        whole = xarray.Dataset(attrs={"summary": self.summary(), "notes": "; ".join(self.notes)})
        if self.itinerary is not None:
            part = self.itinerary.to_xarray()
            whole = whole.merge(part).assign_attrs({f"itinerary_{k}": v for k, v in part.attrs.items()})
        time = {"units": "time in the units of the loss gradient"}
        whole = whole.assign(
            plateau_time=("plateau", np.array([one.time for one in self.plateaus]), time),
            plateau_start=("plateau", np.array([one.start for one in self.plateaus]), time),
            plateau_stop=("plateau", np.array([one.stop for one in self.plateaus]), time),
            plateau_loss=("plateau", np.array([one.loss for one in self.plateaus])),
            plateau_grad_norm=("plateau", np.array([one.grad_norm for one in self.plateaus])),
            index_along=("index_time", self.indices, {"long_name": "negative eigenvalues of the Hessian"}),
        ).assign_coords(index_time=("index_time", self.index_times, time))
        if self.sparsity is not None:
            whole = whole.assign(
                group_norm=(("save", "group"), self.sparsity.norms),
                save_time=("save", self.sparsity.times, time),
            )
        if self.predicted:
            most = max(len(walk.visits) for walk in self.predicted)
            padded = np.full((len(self.predicted), most), np.nan)
            for place, walk in enumerate(self.predicted):
                padded[place, : len(walk.visits)] = walk.escapes_predicted
            whole = whole.assign(
                predict_escape=(("predict_scale", "departure"), padded, time),
                predict_status=("predict_scale", [walk.status.name for walk in self.predicted]),
            ).assign_coords(predict_scale=[walk.scale for walk in self.predicted])
        if self.escapes:
            whole = whole.assign(
                escape_scale_predicted=("scale", np.array([one.predicted for one in self.escapes]), time),
                escape_scale_measured=("scale", np.array([one.measured for one in self.escapes]), time),
            ).assign_coords(scale=[one.scale for one in self.escapes])
        if self.deviation is not None:
            whole = whole.assign(path_deviation=("deviation_scale", self.deviation.deviations))
            whole = whole.assign_coords(deviation_scale=self.deviation.scales)
        found = self.homogeneity
        return whole.assign_attrs(
            homogeneity=found.status.name, degree=-1.0 if found.degree is None else found.degree,
            homogeneity_defect=found.defect, gradient_is_lipschitz=int(found.gradient_is_lipschitz),
        )  # fmt: skip


def analyse(problem: Problem, path: Path, options: Options) -> SaddlesResult:
    """What the lens says of one run of a study.

    Every network has plateaus and an index along its run; itineraries, escapes and deviations are for homogeneous ones,
    from the direction and the scale of the run's start.

    Raises:
        SaddlesError: a path of another system.

    Example:
        >>> import jax.numpy as jnp, thetadot as td
        >>> problem = td.EmpiricalRisk(td.diagonal(2), td.squared, np.eye(2), np.array([2.0, 0.5]))
        >>> path = td.flow(problem, jnp.array([1e-5, 2e-5, 1e-5, 1e-5]), until=td.Until(time=60.0), progress=False)
        >>> found = analyse(problem, path, Options(mode="predict"))
        >>> found.summary().split(";")[0], found.itinerary.status.name
        ('degree 2, covered', 'REACHED_MINIMUM')
    """
    if path.thetas.shape[1] != problem.size:
        raise SaddlesError(
            f"the path has {path.thetas.shape[1]} columns, the problem {problem.size} parameters: this lens is for "
            "training runs"
        )
    notes: list[str] = []
    report = homogeneity(problem)
    found = plateaus(path)
    times, indices = _along(problem, path, options.index_rows)
    itinerary, predicted, escapes, deviation = None, [], [], None
    start = np.asarray(path.thetas[0])
    scale = float(np.linalg.norm(start))
    if report.degree is None or report.degree < 2:
        notes.append(
            "no itinerary: "
            + (
                f"{report.culprit} makes the network inhomogeneous"
                if report.culprit
                else "not homogeneous of degree 2 or more"
            )
        )
    elif problem.size > options.max_size:
        notes.append(f"no itinerary: {problem.size} parameters, max_size is {options.max_size}")
    else:
        with warnings.catch_warnings():
            for category in (NonLipschitzGradientWarning, NotAsymptoticWarning, StableManifoldWarning):
                warnings.simplefilter("ignore", category)
            itinerary = _tried(
                notes, saddle_itinerary, problem, start, scale, mode=options.mode, max_saddles=options.max_saddles,
                accuracy=options.accuracy, budget=options.budget,
            )  # fmt: skip
            for small in options.predict_scales:
                walk = _tried(
                    notes,
                    saddle_itinerary,
                    problem,
                    start,
                    small,
                    mode="predict",
                    max_saddles=options.max_saddles,
                )
                predicted += [] if walk is None else [walk]
            for small in options.scales:
                escape = _tried(notes, escape_time, problem, start, small, accuracy=options.accuracy)
                escapes += [] if escape is None else [escape]
            if options.deviation and len(options.scales) > 1:
                deviation = _tried(notes, _deviation, problem, start, options.scales)
    groups = neuron_groups(problem) if options.sparsity and problem.layout.neurons else ()
    norms = sparsity(path, groups, scale=max(scale, 1e-300)) if groups else None
    return SaddlesResult(
        report,
        found,
        times,
        indices,
        itinerary,
        tuple(predicted),
        tuple(escapes),
        deviation,
        norms,
        tuple(notes),
    )


def _tried(notes: list[str], function, *arguments, **keywords):
    try:
        return function(*arguments, **keywords)
    except SaddlesError as error:
        notes.append(str(error))
        return None


def _deviation(problem: Problem, start: np.ndarray, scales: list[float]) -> PathDeviation:
    flow = correlation_flow(neural_correlation(problem), start / np.linalg.norm(start))
    if flow.status is not FlowStatus.ESCAPES or flow.point is None:
        raise SaddlesError(f"no limiting path: the correlation flow {flow.status.name.lower()}")
    return path_deviation(problem, limiting_path(problem, flow.point), start, scales)


def _along(problem: Problem, path: Path, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """(times, numbers of negative eigenvalues) at rows spread over the run."""
    if wanted == 0 or problem.size > _LARGEST_INDEX:
        return np.zeros(0), np.zeros(0, int)
    rows = np.unique(np.linspace(0, len(path.ts) - 1, min(wanted, len(path.ts))).round().astype(int))
    found = []
    for row in rows:
        matrix = hessian(problem, np.asarray(path.thetas[row]))
        found.append(count_below(matrix, -_SMALLEST_NEGATIVE * _largest(matrix)))
    return np.asarray(path.ts, float)[rows], np.array(found)


def _largest(matrix: np.ndarray) -> float:
    """The largest |eigenvalue| of a symmetric matrix, to a per mille."""
    if len(matrix) == 1:
        return abs(float(matrix[0, 0]))
    start = np.random.default_rng(0).normal(size=len(matrix))
    found = eigsh(matrix, k=1, v0=start, tol=1e-3, return_eigenvectors=False)  # pyright: ignore
    return abs(float(np.asarray(found)[0]))
