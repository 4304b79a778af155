"""Symmetry as a lens of studies: options, analysis, and one line of result."""

import dataclasses
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field

from thetadot.dynamics import Path, Until, flow
from thetadot.problems import NormTarget, PopulationRisk, Problem, RidgeTarget, two_layer
from thetadot.symmetry.alignment import alignment
from thetadot.symmetry.angle_reductions import AngleReduction, radial_reduction, ridge_reduction
from thetadot.symmetry.check import SymmetryCheck, check_symmetry
from thetadot.symmetry.errors import HypothesisError, ParticleError, SymmetryError
from thetadot.symmetry.odd import OddReduction, odd_reduction
from thetadot.symmetry.orbits import matching_residual, symmetry_defect
from thetadot.symmetry.particles import Particles, network_of, sample_particles, to_particles, to_theta
from thetadot.symmetry.predictor import mean_square_distance, split_odd_even
from thetadot.symmetry.reduction import Reduction

_MOST_ROWS = 40
_MOST_MATCHED = 512
_NODES = 16  # nine digits at d = 20, k = 5
_ROUNDING, _KEPT = 1e-12, 1e-9


class Swap(BaseModel):
    """Exchange of two coordinates."""

    model_config = ConfigDict(extra="forbid")
    swap: tuple[int, int] = Field(description="the two coordinates, from 0")


class Flip(BaseModel):
    """Change of the sign of one coordinate."""

    model_config = ConfigDict(extra="forbid")
    flip: int = Field(ge=0, description="the coordinate, from 0")


class Given(BaseModel):
    """A matrix from a file."""

    model_config = ConfigDict(extra="forbid")
    matrix: FilePath = Field(description="a .npy file with T (d, d)")
    sign: Literal[1, -1] | None = Field(
        None, description="f*(Tx) = sign·f*(x); the one that fits, if left out"
    )


Transformation = Literal["negation"] | Swap | Flip | Given


class Options(BaseModel):
    """Options of the lens `symmetry` in a study file."""

    model_config = ConfigDict(extra="forbid")

    transformations: list[Transformation] = Field(
        default_factory=list,
        description="maps to check and to follow: negation, swap: [i, j], flip: i, matrix: file.npy",
    )
    reduction: Literal["auto", "none", "odd", "radial", "ridge"] = Field(
        "auto", description="reduced dynamics to compare with; auto: the one that the target allows"
    )
    subspace: int | list[Annotated[int, Field(ge=0)]] | None = Field(
        None, description="first k axes, or a list of axes, for alignment; a norm target's own if left out"
    )
    scheme: Literal["independent", "antithetic", "doubled"] = Field(
        "independent", description="how the neurons of the extra widths are drawn"
    )
    widths: list[Annotated[int, Field(ge=2, le=4096)]] = Field(
        default_factory=list, description="extra widths at which the distance to the reduction is measured"
    )
    tolerance: float = Field(1e-8, gt=0, lt=1, description="largest residual of a hypothesis that holds")
    samples: int = Field(256, ge=8, le=100_000, description="draws on which targets are compared")


@dataclasses.dataclass(frozen=True)
class SymmetryResult:
    """What the lens found.

    Attributes:
        names: of the transformations. checks: of each.
        times (S,): of the rows. residuals (T, S): √(E[(f(Tx) − s f(x))²]/E[f(x)²]), with a floor of about 1e-8.
        particle_residuals (T, 2): how far the neurons at the first and the last row are from their transported selves,
            by the best matching; NaN above 512 neurons.
        alignment (S, 4, 2): rows of `Alignment.table`, or None.
        reduction, reduced: name and path of the reduced dynamics, or None. full_risk (S,): of the network.
        distance (S,): of the network's predictor from the reduction's: |w − w_reduced| for odd targets, L² otherwise.
        widths, width_distances: of the extra widths, at the end.
        notes: what does not apply, and why.
    """

    names: tuple[str, ...]
    checks: tuple[SymmetryCheck, ...]
    times: Float[np.ndarray, " S"]
    residuals: Float[np.ndarray, "T S"]
    particle_residuals: Float[np.ndarray, "T 2"]
    alignment: Float[np.ndarray, "S 4 2"] | None
    reduction: str | None
    reduced: Path | None
    full_risk: Float[np.ndarray, " S"]
    distance: Float[np.ndarray, " S"] | None
    widths: tuple[int, ...]
    width_distances: Float[np.ndarray, " W"]
    notes: tuple[str, ...]

    def summary(self) -> str:
        """The main numbers in one line."""
        parts = []
        for place, (name, check) in enumerate(zip(self.names, self.checks, strict=True)):
            parts.append(f"{name}: {self._kept(place) if check.holds else check}")
        if self.alignment is not None:
            sine = self.alignment[-1, 1]
            parts.append(
                f"mean sin² to the subspace {sine[0]:.3g} (+), {sine[1]:.3g} (−) at t = {self.times[-1]:.3g}"
            )
        if self.reduced is not None and self.distance is not None:
            parts.append(
                f"{self.reduction} reduction of {self.reduced.thetas.shape[1]} numbers within "
                f"{float(np.max(self.distance)):.2g} of the network"
            )
        return "; ".join(parts or self.notes) or "no transformation was given"

    def _kept(self, place: int) -> str:
        """What became of one symmetry of the problem."""
        first, last = self.particle_residuals[place]
        end = f"at t = {self.times[-1]:.3g}"
        if first <= _ROUNDING:
            verdict = "symmetry kept to rounding" if last <= _KEPT else "symmetry lost"
            return f"orbit residual {last:.1g} {end}: {verdict}"
        start, now = self.residuals[place, [0, -1]]
        return f"a symmetry of the problem, not of this start: the predictor breaks it by {start:.2g}, {now:.2g} {end}"

    def to_xarray(self):
        """All parts in one `xarray.Dataset`; dimensions symmetry_save, transformation, readout, sign, width."""
        import xarray

        variables: dict[str, Any] = {
            "symmetry_residual": (
                ("transformation", "symmetry_save"),
                self.residuals,
                {"units": "relative to √E[f²]"},
            ),
            "particle_residual": (
                ("transformation", "end"),
                self.particle_residuals,
                {"units": "units of the weights"},
            ),
            "full_risk": ("symmetry_save", self.full_risk, {"units": "loss"}),
            "width_distance": ("width", self.width_distances),
        }
        for field in dataclasses.fields(SymmetryCheck):
            values = [getattr(check, field.name) for check in self.checks]
            variables[f"check_{field.name}"] = (
                "transformation",
                np.array([np.nan if v is None else v for v in values], float),
            )
        if self.alignment is not None:
            variables["alignment"] = (("symmetry_save", "readout", "sign"), self.alignment)
        if self.reduced is not None:
            variables["reduced_risk"] = ("symmetry_save", self.reduced.losses)
            variables["reduced_state"] = (("symmetry_save", "reduced_number"), self.reduced.thetas)
        if self.distance is not None:
            variables["reduction_distance"] = ("symmetry_save", self.distance)
        coordinates = {
            "symmetry_time": ("symmetry_save", self.times, {"units": "mean-field time"}),
            "transformation": ("transformation", np.array(self.names, dtype=object)),
            "readout": ["mass", "mean_sine_squared", "distance_to_subspace", "distance_to_complement"],
            "sign": ["+", "-"],
            "end": ["first", "last"],
            "width": ("width", np.array(self.widths, int)),
        }
        attributes = {
            "summary": self.summary(), "notes": "; ".join(self.notes), "reduction": self.reduction or "none",
            "source": "arXiv 2211.08771 (abstract); formulas re-derived",
        }  # fmt: skip
        if self.reduced is not None:
            attributes["reduced_accuracy"] = str(self.reduced.accuracy)
        return xarray.Dataset(variables, coordinates, attributes)


def analyse(problem: Problem, path: Path, options: Options) -> SymmetryResult:
    """Check symmetries of a problem, follow them along a run, and compare the run with its reduced dynamics.

    Arguments:
        problem: what was trained. path: the run. options: see `Options`.

    Raises:
        UnsupportedNetworkError: the network is not a two-layer network without biases: the lens does not apply.
        HypothesisError: a reduction was asked for by name and its hypotheses fail.
        ParticleError: coordinates or matrices that do not fit the inputs.
    """
    d = network_of(problem).dimension
    rows = np.unique(np.linspace(0, len(path.ts) - 1, min(_MOST_ROWS, len(path.ts))).round().astype(int))
    times, thetas = path.ts[rows], [jnp.asarray(path.thetas[row]) for row in rows]
    notes: list[str] = []
    names, checks, residuals, particles = [], [], [], []
    for asked in options.transformations:
        name, matrix, sign = _matrix_of(asked, d)
        check = check_symmetry(problem, matrix, sign, samples=options.samples, tolerance=options.tolerance)
        names.append(name)
        checks.append(check)
        residuals.append([_relative_defect(problem, theta, matrix, check.sign) for theta in thetas])
        particles.append([_matched(problem, theta, matrix, check.sign) for theta in (thetas[0], thetas[-1])])
    basis = _basis_of(problem, options.subspace, d)
    aligned = None
    if basis is not None:
        aligned = np.array(
            [np.asarray(alignment(to_particles(problem, theta), basis).table) for theta in thetas]
        )
    name, reduction = _reduction_of(problem, thetas[0], options, notes)
    reduced = distance = None
    if reduction is not None:
        reduced = reduction.solve(times, accuracy=min(1e-8, options.tolerance))
        distance = np.array(
            [
                _distance(problem, reduction, reduced, row, to_particles(problem, theta))
                for row, theta in enumerate(thetas)
            ]
        )
    far = np.zeros(0)
    if (
        options.widths
        and isinstance(problem, PopulationRisk)
        and reduction is not None
        and reduced is not None
    ):
        far = np.array([_at_width(problem, m, options.scheme, reduction, reduced) for m in options.widths])
    elif options.widths:
        notes.append("extra widths left out: they need a population risk and a reduction")
    return SymmetryResult(
        tuple(names), tuple(checks), times, np.array(residuals).reshape(len(names), len(times)),
        np.array(particles).reshape(len(names), 2), aligned, name, reduced, path.losses[rows], distance,
        tuple(options.widths) if far.size else (), far, tuple(notes),
    )  # fmt: skip


def _matrix_of(asked: Transformation, d: int) -> tuple[str, np.ndarray, float | None]:
    matrix = np.eye(d)
    if asked == "negation":
        return "negation", -matrix, None
    if isinstance(asked, Given):
        try:
            matrix = np.load(asked.matrix, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ParticleError(f"the matrix {asked.matrix} cannot be read: {error}") from error
        return f"matrix {asked.matrix.name}", matrix, None if asked.sign is None else float(asked.sign)
    places = asked.swap if isinstance(asked, Swap) else (asked.flip,)  # pyright: ignore[reportAttributeAccessIssue]
    if not all(0 <= place < d for place in places):
        raise ParticleError(f"coordinates {list(places)} do not exist: the inputs have {d}, counted from 0")
    if len(places) == 2:
        matrix[list(places)] = matrix[list(places)[::-1]]
        return f"swap of {places[0]} and {places[1]}", matrix, None
    matrix[places[0], places[0]] = -1.0
    return f"flip of {places[0]}", matrix, None


def _relative_defect(problem: Problem, theta: Any, matrix: np.ndarray, sign: float) -> float:
    defect = max(symmetry_defect(problem, theta, matrix, sign), 0.0)
    square = mean_square_distance(problem, theta, jnp.zeros_like(theta))
    return float(np.sqrt(defect / square)) if square > 0 else 0.0


def _matched(problem: Problem, theta: Any, matrix: np.ndarray, sign: float) -> float:
    cloud = to_particles(problem, theta)
    return matching_residual(cloud, matrix, sign) if cloud.width <= _MOST_MATCHED else float("nan")


def _basis_of(problem: Problem, subspace: int | list[int] | None, d: int) -> np.ndarray | None:
    if subspace is None:
        target = getattr(problem, "target", None)
        return np.asarray(target.basis) if isinstance(target, NormTarget) else None
    axes = list(range(subspace)) if isinstance(subspace, int) else subspace
    if not 1 <= len(set(axes)) < d or max(axes) >= d or len(set(axes)) != len(axes):
        raise ParticleError(f"subspace {subspace} does not name 1 to {d - 1} of the {d} coordinates")
    return np.eye(d)[:, axes]


def _reduction_of(
    problem: Problem, theta0: Any, options: Options, notes: list[str]
) -> tuple[str | None, Reduction | None]:
    wanted = options.reduction
    if wanted == "none":
        return None, None
    for name, make in (("radial", _radial), ("ridge", _ridge), ("odd", _odd)):
        if wanted not in ("auto", name):
            continue
        try:
            return name, make(problem, theta0)
        except SymmetryError:
            if wanted == name:
                raise
    notes.append("no reduction applies")
    return None, None


def _infinite(problem: Problem, theta0: Any, kind: type) -> PopulationRisk:
    """The problem, if infinitely wide networks from the unit sphere are its limit."""
    if not isinstance(problem, PopulationRisk) or not isinstance(problem.target, kind):
        raise HypothesisError(f"this reduction needs a population risk with a {kind.__name__}")
    network, covariance = problem.network, getattr(problem.inputs, "covariance", np.nan)
    if network.activation.name != "relu" or network.scaling != "mean_field" or covariance is not None:
        raise HypothesisError("this reduction needs ReLU neurons in mean-field scaling and inputs N(0, I)")
    cloud = to_particles(problem, theta0)
    lengths = jnp.sqrt(jnp.sum(cloud.incoming**2, axis=1))
    off = float(jnp.max(jnp.abs(jnp.stack([lengths, jnp.abs(cloud.outgoing)]) - 1.0)))
    if off > 1e-6:
        raise HypothesisError(
            f"this reduction starts from unit-sphere incoming and ±1 outgoing weights; this start is {off:.2g} off"
        )
    return problem


def _radial(problem: Problem, theta0: Any) -> Reduction:
    basis = _infinite(problem, theta0, NormTarget).target.basis
    return radial_reduction(basis.shape[0], basis.shape[1], nodes=_NODES)


def _ridge(problem: Problem, theta0: Any) -> Reduction:
    target = _infinite(problem, theta0, RidgeTarget).target
    return ridge_reduction(target.direction.shape[0], target.function, nodes=_NODES)


def _odd(problem: Problem, theta0: Any) -> Reduction:
    try:
        return odd_reduction(problem, theta0)
    except (HypothesisError, ParticleError):
        if network_of(problem).scaling != "mean_field":
            raise
        return odd_reduction(problem)  # the limit of infinite width, if only the start is not symmetric


def _distance(problem: Problem, reduction: Reduction, reduced: Path, row: int, cloud: Particles) -> float:
    if isinstance(reduction, OddReduction):
        linear = split_odd_even(problem, to_theta(problem, cloud)).linear
        return float(np.linalg.norm(np.asarray(linear) - reduced.observed["predictor"][row]))
    assert isinstance(reduction, AngleReduction)
    assert isinstance(problem, PopulationRisk)
    target = problem.target
    basis = target.basis if isinstance(target, NormTarget) else target.direction[:, None]
    return float(np.sqrt(max(reduction.mean_square_distance(reduced.thetas[row], cloud, basis), 0.0)))


def _at_width(problem: PopulationRisk, width: int, scheme: str, reduction: Reduction, reduced: Path) -> float:
    network = problem.network
    wide = two_layer(network.dimension, width, network.activation, scaling=network.scaling)
    other = PopulationRisk(wide, problem.target, problem.inputs)
    cloud = sample_particles(jax.random.key(width), width, network.dimension, scheme=scheme)
    end = float(reduced.ts[-1])
    path = flow(
        other, to_theta(other, cloud), until=Until(time=end), saves=[end], accuracy=1e-5, progress=False
    )
    return _distance(other, reduction, reduced, -1, to_particles(other, jnp.asarray(path.thetas[-1])))
