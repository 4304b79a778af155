"""Conservation laws as a lens of studies: options, analysis, and one line of result."""

import dataclasses
import warnings
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from thetadot.conservation.architecture import lift_of
from thetadot.conservation.count import count_laws
from thetadot.conservation.drift import LawDrift, LawSteps, law_drift, law_steps
from thetadot.conservation.errors import (
    ConservationError,
    RankAmbiguousWarning,
    UnsupportedArchitectureError,
)
from thetadot.conservation.kernel import KernelTest, kernel_test
from thetadot.conservation.known_laws import known_laws
from thetadot.conservation.law_count import LawCount
from thetadot.conservation.laws import Laws
from thetadot.conservation.lift import FunctionLift, Lift
from thetadot.conservation.outer_laws import outer_laws, output_lift
from thetadot.conservation.polynomial_laws import polynomial_laws
from thetadot.conservation.reduced_flow import reduced_flow
from thetadot.conservation.reduced_path import Comparison, ReducedPath, compare
from thetadot.conservation.restricted import ZeroSumLift
from thetadot.dynamics import Path
from thetadot.problems import Problem

COMPARED = ("gradient_descent", "minibatch", "per_sample")
"""Comparison rules whose paths the lens looks at too."""

_LARGEST_JACOBIAN = 4_000_000


class Options(BaseModel):
    """Options of the lens `conservation` in a study file."""

    model_config = ConfigDict(extra="forbid")

    loss: Literal["own", "any"] = Field(
        "own", description="own: laws of this loss (cross-entropy has more); any: laws for every loss"
    )
    count: bool = Field(True, description="count the laws, with proof where possible")
    arithmetic: Literal["exact", "float64"] = Field("exact", description="arithmetic of the count")
    max_size: int = Field(
        1000, ge=1, le=10_000, description="most parameters for which brackets are computed"
    )
    laws: Literal["known", "polynomial"] = Field(
        "known", description="known: laws of theory; polynomial: all of `degree`, found by linear algebra"
    )
    degree: int = Field(2, ge=1, le=6, description="degree of polynomial laws")
    drift: bool = Field(True, description="how far the run leaves its laws, and how wrong it is at least")
    steps: Literal["auto", True, False] = Field(
        "auto", description="check every step against the identity of gradient steps; auto: if all are stored"
    )
    kernel_test: bool = Field(False, description="test at the start whether the flow closes on the lift")
    reduced: Literal["none", "auto", "closed", "augmented", "gauge", "paths"] = Field(
        "none", description="follow the reduced flow too and compare (gradient flow only)"
    )
    tolerance: float = Field(1e-8, gt=0, lt=1, description="relative drift that still counts as conserved")
    seed: int = Field(0, ge=0, description="of the random points at which brackets are taken")


@dataclasses.dataclass(frozen=True)
class ConservationResult:
    """What the lens found: the parts that were asked for and apply, and notes on those that do not."""

    laws: Laws
    count: LawCount | None
    drift: LawDrift | None
    steps: LawSteps | None
    kernel: KernelTest | None
    reduced: ReducedPath | None
    comparison: Comparison | None
    notes: tuple[str, ...]

    def summary(self) -> str:
        """The main numbers in one line, each with its status."""
        parts = []
        if self.count is not None:
            parts.append(str(self.count))
        if self.drift is not None:
            floor = float(np.nanmax(self.drift.error_floor, initial=0.0))
            parts.append(f"largest relative drift {self.drift.worst:.2g}, {self.drift.status.name}")
            if self.laws.table.degree == 1:
                parts.append("sums that every solver keeps: no measure of its error")
            elif self.drift.rule == "gradient flow":
                parts.append(f"at least {floor:.2g} away from the exact flow")
        if self.steps is not None:
            said = (
                "every step is one of gradient descent"
                if self.steps.exact
                else "steps are none of gradient descent"
            )
            parts.append(f"{said} (residual {self.steps.worst:.2g})")
        if self.kernel is not None:
            parts.append(f"kernel test: {self.kernel.status.name}")
        if self.comparison is not None and self.reduced is not None:
            status = self.reduced.status.name
            parts.append(
                f"reduced flow ({self.reduced.coordinates}) within {self.comparison.maximum:.2g}, {status}"
            )
        return "; ".join(parts or self.notes)

    def to_xarray(self):
        """All parts in one `xarray.Dataset`; dimensions save, law, step, depth, component, reduced_save."""
        import xarray

        whole = xarray.Dataset(attrs={"summary": self.summary(), "notes": "; ".join(self.notes)})
        if self.drift is not None:
            part = self.drift.to_xarray()
            whole = whole.merge(part).assign_attrs({f"drift_{k}": v for k, v in part.attrs.items()})
        if self.steps is not None:
            part = self.steps.to_xarray().rename({"scale": "law_scale"})
            whole = whole.merge(part).assign_attrs({f"steps_{k}": v for k, v in part.attrs.items()})
        if self.count is not None:
            part = self.count.to_xarray()
            whole = whole.merge(part).assign_attrs({f"count_{k}": v for k, v in part.attrs.items()})
        if self.kernel is not None:
            fields = dataclasses.asdict(self.kernel) | {"status": self.kernel.status.name}
            fields["recoverable"] = int(fields["recoverable"])
            whole = whole.assign_attrs({f"kernel_{k}": v for k, v in fields.items()})
        if self.reduced is not None and self.comparison is not None:
            part = self.reduced.to_xarray().drop_vars("theta", errors="ignore")
            part["reduced_error"] = ("save", self.comparison.error)
            part = part.rename({"save": "reduced_save", "time": "reduced_time"})
            whole = whole.merge(part).assign_attrs({f"reduced_{k}": v for k, v in part.attrs.items()})
        return whole


def analyse(problem: Problem, path: Path, options: Options) -> ConservationResult:
    """Count the laws of a problem, and look at a run with them.

    Arguments:
        problem: what was trained. path: the run. options: see `Options`.

    A network without a lift (tanh, …) still keeps the `outer_laws`; then only these are followed.

    Raises:
        UnsupportedArchitectureError: nothing is known of the network: the lens does not apply.
    """
    notes: list[str] = []
    lift, laws, arithmetic = _known(problem, options, notes)
    if options.laws == "polynomial":
        try:
            laws = polynomial_laws(lift, options.degree).laws
        except ConservationError as error:
            notes.append(f"polynomial laws were not searched for: {error}")
    count = drift = steps = kernel = reduced = comparison = None
    if options.count:
        with warnings.catch_warnings(record=True, category=RankAmbiguousWarning) as unclear:
            warnings.simplefilter("always", RankAmbiguousWarning)
            count = count_laws(lift, arithmetic=arithmetic, max_size=options.max_size, seed=options.seed)
        notes += [str(warning.message) for warning in unclear]
    if options.drift and len(laws):
        drift = law_drift(laws, path, tolerance=options.tolerance)
    if _wants_steps(options, path, laws):
        steps = law_steps(laws, path.thetas)
    if options.kernel_test:
        plain = lift.lift if isinstance(lift, ZeroSumLift) else lift
        if isinstance(plain, FunctionLift):
            notes.append("kernel test left out: it needs a lift")
        elif plain.dimension * plain.size > _LARGEST_JACOBIAN:
            notes.append("kernel test left out: the lift has too many components")
        else:
            kernel = kernel_test(plain, path.thetas[0], tolerance=options.tolerance)
    if options.reduced != "none":
        if path.info.get("kind") == "flow":
            try:
                reduced = reduced_flow(problem, path.thetas[0], path.ts, coordinates=options.reduced)
                comparison = compare(lift, path, reduced)
            except ConservationError as error:
                notes.append(f"no reduced flow: {error}")
        else:
            notes.append("no reduced flow: it belongs to gradient flow, not to steps")
    return ConservationResult(laws, count, drift, steps, kernel, reduced, comparison, tuple(notes))


def _known(problem: Problem, options: Options, notes: list[str]) -> tuple[Lift, Laws, str]:
    """The lift, its laws, and the arithmetic that can count them; outputs at random inputs where no lift is known."""
    try:
        lift = lift_of(problem, loss=options.loss)
        return lift, known_laws(lift), options.arithmetic
    except UnsupportedArchitectureError as error:
        laws = outer_laws(problem, options.loss)
        if not len(laws):
            raise
        notes.append(str(error).partition(";")[0])
        return output_lift(problem, options.loss, options.seed), laws, "float64"


def _wants_steps(options: Options, path: Path, laws: Laws) -> bool:
    stepped = path.info.get("kind") == "descent" and len(path.steps) > 1
    if not len(laws) or options.steps is False or not stepped or laws.table.degree > 2:
        return False
    consecutive = bool(np.all(np.diff(path.steps) == 1))
    if options.steps is True and not consecutive:
        raise ConservationError(
            "steps=true needs every iterate: run descend with saves='steps' (all of them)"
        )
    return consecutive
