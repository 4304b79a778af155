"""Sharpness: the largest algebraic eigenvalues of the Hessian, by Lanczos on Hessian-vector products."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.dynamics import GradientDescent, HeavyBall, Path, StepMap
from thetadot.dynamics.maps import TrainingStep
from thetadot.numerics.linalg import lanczos
from thetadot.problems import Problem
from thetadot.stability.errors import StabilityError
from thetadot.stability.labels import dataset, lines_of

_NEW = 0.1
_ITERATIONS = {"coarse": 48, "fine": 256}  # the tridiagonal eigenproblem costs beyond the products
_COARSE = 1e-4


@dataclasses.dataclass(frozen=True)
class Sharpness:
    """Largest eigenvalues of the Hessian.

    Attributes:
        values (count,): descending. vectors (P, count): unit. residuals (count,): ‖Hv − value·v‖.
        converged: every residual is at most the tolerance times the largest |value|.
    """

    values: Float[np.ndarray, " count"]
    vectors: Float[np.ndarray, "P count"]
    residuals: Float[np.ndarray, " count"]
    converged: bool

    def to_xarray(self):
        """Dataset with dimensions `exponent` and `parameter`."""
        columns = {
            "sharpness": ("exponent", self.values),
            "residual": ("exponent", self.residuals),
            "vector": (("parameter", "exponent"), self.vectors),
        }
        return dataset(columns, {}, {"converged": int(self.converged)})

    def __repr__(self) -> str:
        shown = ", ".join(f"{value:.6g}" for value in self.values[:6])
        rows = {"values": shown, "residual": f"{self.residuals.max():.1e}, converged: {self.converged}"}
        return lines_of("Sharpness: largest eigenvalues of the Hessian", rows)


@dataclasses.dataclass(frozen=True)
class SharpnessTrack:
    """Sharpness along a run.

    Attributes:
        at (S,): time of each row, or its number. values (S, count): descending. residuals (S, count).
        unit: "time", or "row" where only points are known.
        thresholds: {rule: sharpness above which it is linearly unstable}; empty where none is known.
    """

    at: Float[np.ndarray, " S"]
    values: Float[np.ndarray, "S count"]
    residuals: Float[np.ndarray, "S count"]
    thresholds: dict[str, float]
    unit: str = "row"

    def to_xarray(self):
        """Dataset with dimensions `step` and `exponent`."""
        columns = {
            "sharpness": (("step", "exponent"), self.values),
            "residual": (("step", "exponent"), self.residuals),
        }
        return dataset(columns, {"step": self.at}, {"thresholds": self.thresholds})

    def __repr__(self) -> str:
        rows = {"first to last": f"{self.values[0, 0]:.4g} → {self.values[-1, 0]:.4g}"}
        rows |= {name: f"unstable above {value:.4g}" for name, value in self.thresholds.items()}
        return lines_of(f"Sharpness along {len(self.at)} rows", rows)


def _deflated(vector: Array, given: Any) -> Array:
    push, found, lift = given
    return push(vector) - found.T @ (lift * (found @ vector))


@eqx.filter_jit
def _largest(
    problem: Problem, theta: Array, found: Array, lift: Array, start: Array, tolerance: Array, most: int
):
    push = problem.linearize(theta)[2]
    iterations = min(theta.size, most)
    top = lanczos(
        _deflated, theta.size, args=(push, found, lift), iterations=iterations, tolerance=tolerance,
        ends="largest", start=start,
    )  # fmt: skip
    vector = top.largest_vector / jnp.linalg.norm(top.largest_vector)
    image = push(vector)
    value = vector @ image
    return value, vector, jnp.linalg.norm(image - value * vector), top.values[0]


def sharpness(
    problem: Problem, theta: Any, *, count: int = 1, tolerance: float = 1e-8, start: Any = None
) -> Sharpness:
    """The largest algebraic eigenvalues of the Hessian, with eigenvectors and residuals.

    A strongly negative curvature is never taken for sharpness. Those after the first come by deflation, so that
    repeated eigenvalues are found too.

    Arguments:
        problem: what is trained.
        theta: (P,).
        count: how many.
        tolerance: of the residual, relative to the largest |eigenvalue|; the eigenvalue's own error is of the order of
            its square.
        start: (P,), such as an earlier vector, which is mixed with 10 % of a random one: a start within an invariant
            subspace would follow its branch past a crossing.

    Raises:
        StabilityError: a count that does not fit.

    Example:
        >>> problem = td.FunctionRisk(lambda t: 0.5 * jnp.sum(jnp.array([3.0, -9.0, 1.0]) * t**2), jnp.zeros(3))
        >>> [round(float(value), 12) for value in sharpness(problem, np.zeros(3), count=2).values]
        [3.0, 1.0]
    """
    point = jnp.asarray(theta, float)
    size = problem.size
    if not 1 <= count <= size:
        raise StabilityError(f"count = {count}: expected between 1 and the {size} parameters")
    rng = np.random.default_rng(0)
    found, values, residuals = np.zeros((count, size)), np.zeros(count), np.zeros(count)
    lift, scale = np.zeros(count), 0.0
    for number in range(count):
        first = rng.normal(size=size)
        if start is not None and number == 0:
            given = np.asarray(start, float).reshape(size)
            first = given / np.linalg.norm(given) + _NEW * first / np.linalg.norm(first)
        most = _ITERATIONS["coarse" if tolerance >= _COARSE else "fine"]
        value, vector, residual, lowest = _largest(
            problem,
            point,
            jnp.asarray(found),
            jnp.asarray(lift),
            jnp.asarray(first),
            jnp.asarray(tolerance),
            most,
        )
        found[number], values[number], residuals[number] = np.asarray(vector), float(value), float(residual)
        scale = max(scale, abs(float(value)), 0.0 if number else abs(float(lowest)))
        # Those that are found are moved below all others.
        lift[number] = float(value) + scale + 1.0
    order = np.argsort(-values, kind="stable")
    values, residuals, found = values[order], residuals[order], found[order]
    good = bool(np.all(residuals <= 10 * tolerance * max(scale, 1e-300)))
    return Sharpness(values, found.T.copy(), residuals, good)


def sharpness_along(
    problem: Problem, path_or_thetas: Path | Any, *, count: int = 1, tolerance: float = 1e-8, rule: Any = None
) -> SharpnessTrack:
    """Sharpness at every row of a path; each row starts from the vector of the row before, with 10 % random.

    Arguments:
        problem: what is trained.
        path_or_thetas: a `Path`, or (S, P).
        count, tolerance: as in `sharpness`.
        rule: the learning rule, for its threshold: 2/η of descent, 2(1+β)/η of heavy ball.

    Example:
        >>> problem = td.FunctionRisk(lambda t: 0.25 * jnp.sum(t**4), jnp.ones(1))
        >>> sharpness_along(problem, np.array([[1.0], [2.0]])).values[:, 0].tolist()
        [3.0, 12.0]
    """
    given = path_or_thetas
    thetas = np.asarray(given.thetas if isinstance(given, Path) else given, float)
    if thetas.ndim != 2 or thetas.shape[1] != problem.size:
        raise StabilityError(f"thetas have shape {thetas.shape}: expected (S, {problem.size})")
    at = np.asarray(given.ts, float) if isinstance(given, Path) else np.arange(len(thetas), dtype=float)
    values, residuals = np.empty((len(thetas), count)), np.empty((len(thetas), count))
    vector = None
    for row, theta in enumerate(thetas):
        found = sharpness(problem, theta, count=count, tolerance=tolerance, start=vector)
        values[row], residuals[row], vector = found.values, found.residuals, found.vectors[:, 0]
    unit = "time" if isinstance(given, Path) else "row"
    return SharpnessTrack(at, values, residuals, {} if rule is None else threshold(rule), unit)


def threshold(rule: Any) -> dict[str, float]:
    """{name: sharpness above which a rule is linearly unstable}; empty where it is not known.

    Example:
        >>> threshold(td.HeavyBall(0.5, momentum=0.5))
        {'2(1+β)/η': 6.0}
    """
    if isinstance(rule, StepMap) and isinstance(rule.step, TrainingStep):
        rule = rule.step.rule
    if isinstance(rule, GradientDescent) and not callable(rule.learning_rate):
        return {"2/η": 2.0 / float(rule.learning_rate)}
    if isinstance(rule, HeavyBall) and not callable(rule.learning_rate) and not callable(rule.momentum):
        return {"2(1+β)/η": 2.0 * (1.0 + float(rule.momentum)) / float(rule.learning_rate)}
    return {}


def dense_sharpness(problem: Problem, thetas: Float[np.ndarray, "R P"]) -> Float[np.ndarray, " R"]:
    """Largest eigenvalue at many points: by eigendecompositions up to 100 parameters, else by Lanczos."""
    finite = np.asarray(np.isfinite(thetas).all(axis=1))
    values = np.full(len(thetas), np.nan)
    if problem.size <= 100:
        values[finite] = np.asarray(_dense(problem, jnp.asarray(np.where(finite[:, None], thetas, 0.0))))[
            finite
        ]
    else:
        values[finite] = [sharpness(problem, theta, tolerance=1e-4).values[0] for theta in thetas[finite]]
    return values


@eqx.filter_jit
def _dense(problem: Problem, thetas: Array) -> Array:
    return jax.lax.map(lambda theta: jnp.linalg.eigvalsh(problem.hessian(theta))[-1], thetas)
