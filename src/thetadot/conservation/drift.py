"""How far a run leaves its conservation laws, what theory says it must, and how wrong it is at least."""

import dataclasses
import enum
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse
from jaxtyping import Array, Float, Int

from thetadot.conservation.errors import ConservationError
from thetadot.conservation.laws import Laws, require_polynomial
from thetadot.dynamics import Path, StepMap

_COMBINED = 2000
_RIDGE = 1e-10


class LawStatus(enum.Enum):
    """Whether the values stay within the tolerance: CONSERVED or DRIFTING."""

    CONSERVED = "conserved"
    DRIFTING = "drifting"


@dataclasses.dataclass(frozen=True)
class LawDrift:
    """What `law_drift` found.

    Attributes:
        names: of the K laws.
        times (S,): times, in the units of the loss gradient (row numbers without a path).
        values (S, K), drift (S, K): h and h − h(first row).
        relative (S, K): drift over the largest Σ|terms of h| along the run, never over h itself, which may be 0.
        error_floor (S,): the true flow from the first row is at least this far from the row, ‖Δθ‖; NaN if a law is
            neither linear nor quadratic.
        worst: the largest |relative|. status: CONSERVED if it is at most the tolerance.
        solver_error: the solver's own estimate of its relative global error, if the path has one.
        rule: the dynamics for which these are laws.
    """

    names: tuple[str, ...]
    times: Float[np.ndarray, " S"]
    values: Float[np.ndarray, "S K"]
    drift: Float[np.ndarray, "S K"]
    relative: Float[np.ndarray, "S K"]
    error_floor: Float[np.ndarray, " S"]
    worst: float
    status: LawStatus
    solver_error: float | None = None
    rule: str = "gradient flow"

    def to_xarray(self):
        """The drift as an `xarray.Dataset` with dimensions `save` and `law`."""
        import xarray

        units = {"units": "units of the law"}
        return xarray.Dataset(
            {
                "value": (("save", "law"), self.values, units),
                "drift": (("save", "law"), self.drift, units),
                "relative_drift": (("save", "law"), self.relative, {"units": "1"}),
                "error_floor": ("save", self.error_floor, {"units": "units of theta"}),
            },
            {
                "time": ("save", self.times, {"units": "units of the loss gradient"}),
                "law": ("law", np.array(self.names, dtype=str)),
            },
            {
                "worst": self.worst,
                "status": self.status.name,
                "rule": self.rule,
                "source": "arXiv 2307.00144; the floor is derived here",
            },
        )


def law_drift(laws: Laws, path: Path | Any, times: Any = None, tolerance: float = 1e-8) -> LawDrift:
    """How far a run leaves its laws, and how far it is at least from the exact flow.

    The exact flow stays where h = h(θ₀). For combinations h_c of the laws with ‖Q_c‖ ≤ a, ‖∇h_c(θ)‖ = b and
    |h_c(θ) − h_c(θ₀)| = d, every point of that set is at least 2d/(b + √(b² + 4ad)) from θ; the floor is the largest
    over the single laws and the combination that is best for small d. It says nothing about errors along the set.

    Arguments:
        laws: of gradient flow (under momentum or with noise the drift is real, not an error).
        path: a `Path`, or states (S, size).
        times: of rows (S,), for an array; by default 0, 1, ….
        tolerance: on |relative| for CONSERVED.

    Raises:
        ConservationError: states of another size.

    Example:
        >>> laws = Laws.quadratic([np.diag([1.0, -1.0])])
        >>> drift = law_drift(laws, np.array([[1.0, 1.0], [1.1, 1.0]]))
        >>> round(float(drift.error_floor[1]), 4)
        0.069
    """
    states = np.asarray(path.thetas if isinstance(path, Path) else path, float)
    if states.ndim != 2 or states.shape[1] != laws.size or len(states) == 0:
        raise ConservationError(
            f"states have shape {states.shape}: expected (S, {laws.size}), as many numbers as the laws take"
        )
    if times is None:
        times = path.ts if isinstance(path, Path) else np.arange(float(len(states)))
    values = laws.values(states)
    drift = values - values[0]
    relative = drift / law_scales(laws, states)
    worst = float(np.abs(relative).max(initial=0.0))
    info = path.info if isinstance(path, Path) else {"kind": "flow"}
    kind = "gradient flow" if info.get("kind") == "flow" else str(info.get("kind"))
    return LawDrift(
        names=laws.names,
        times=np.asarray(times, float),
        values=values,
        drift=drift,
        relative=relative,
        error_floor=_floors(laws, states, drift),
        worst=worst,
        status=LawStatus.CONSERVED if worst <= tolerance else LawStatus.DRIFTING,
        solver_error=path.accuracy.global_error if isinstance(path, Path) else None,
        rule=str(info.get("rule", kind)),
    )


def law_scales(laws: Laws, states: Float[np.ndarray, "S n"]) -> Float[np.ndarray, " K"]:
    """max over rows of Σ|terms| of each law (1 where that vanishes)."""
    table = dataclasses.replace(laws.table, coefficients=np.abs(laws.table.coefficients))
    largest = np.zeros(len(laws))
    for row in states:
        largest = np.maximum(largest, table.values(np.abs(row)[None])[0])
    growth = (
        1.0
        if laws.rates is None
        else np.exp(np.max(states[:, :1] * np.array([float(rate) for rate in laws.rates]), axis=0))
    )
    scales = largest / np.abs(laws.scales) * growth
    return np.where(scales > 0, scales, 1.0)


def _floors(laws: Laws, states: np.ndarray, drift: np.ndarray) -> np.ndarray:
    if laws.rates is not None or laws.table.degree > 2:
        return np.full(len(states), np.nan)
    norms = _norms(laws)
    return np.array([_floor(laws, norms, state, row) for state, row in zip(states, drift, strict=True)])


def _floor(laws: Laws, norms: np.ndarray, state: np.ndarray, drift: np.ndarray) -> float:
    if not drift.any():
        return 0.0
    gradients: Any = laws.table.jacobian(state)
    gradients = scipy.sparse.diags_array(1 / laws.scales) @ gradients
    lengths = np.sqrt(np.asarray((gradients * gradients).sum(axis=1)).ravel())
    best = float(np.max(_distance(np.abs(drift), lengths, norms)))
    if len(laws) > _COMBINED or not lengths.any():
        return best
    # Any c gives a floor, so a little regularisation of dependent laws costs nothing but tightness.
    gram = (gradients @ gradients.T).toarray()
    gram[np.diag_indices_from(gram)] += _RIDGE * np.trace(gram)
    c = scipy.linalg.solve(gram, drift, assume_a="pos")
    b = np.linalg.norm(gradients.T @ c)
    return max(best, float(_distance(np.abs(c @ drift), b, _combined_norm(laws, c))))


def _entries(laws: Laws) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(law, row, |entry|) of the quadratic forms; equal places are not added up."""
    table = laws.table
    square = np.flatnonzero(table.degrees == 2)
    owner = table.owner[square]
    half = np.abs(table.coefficients[square] / (2 * laws.scales[owner]))
    i, j = table.factors[square, 0], table.factors[square, min(1, table.factors.shape[1] - 1)]
    return np.concatenate([owner, owner]), np.concatenate([i, j]), np.concatenate([half, half])


def _norms(laws: Laws) -> np.ndarray:
    """For each form the largest row sum of |Q|, at least ‖Q‖₂: an upper bound keeps the floor a floor."""
    owner, row, size = _entries(laws)
    places, inverse = np.unique(owner * laws.size + row, return_inverse=True)
    norms = np.zeros(len(laws))
    np.maximum.at(norms, places // laws.size, np.bincount(inverse, size, minlength=places.size))
    return norms


def _combined_norm(laws: Laws, c: np.ndarray) -> float:
    """The same for Σ c_iQ_i."""
    owner, row, size = _entries(laws)
    return float(np.bincount(row, np.abs(c)[owner] * size, minlength=1).max(initial=0.0))


def _distance(d: Any, b: Any, a: Any) -> Any:
    below = b + np.sqrt(b**2 + 4 * a * d)
    return np.divide(2 * d, below, out=np.zeros_like(below), where=below > 0)


@dataclasses.dataclass(frozen=True)
class LawSteps:
    """What `law_steps` found; rows are steps.

    Attributes:
        names: of the K laws.
        change (S−1, K), predicted (S−1, K): h(θ⁺) − h(θ), and what it must be for a gradient step.
        residual (S−1, K): their difference. cumulative (S, K): running sum of `predicted`, first row zero.
        scale (K,): max Σ|terms of h|, by which residuals are judged.
        exact: every |residual| is at most the tolerance times the scale: each step was one of gradient descent.
    """

    names: tuple[str, ...]
    change: Float[np.ndarray, "s K"]
    predicted: Float[np.ndarray, "s K"]
    residual: Float[np.ndarray, "s K"]
    cumulative: Float[np.ndarray, "S K"]
    scale: Float[np.ndarray, " K"]
    exact: bool

    @property
    def worst(self) -> float:
        """The largest |residual| over its scale."""
        return float(np.max(np.abs(self.residual) / self.scale, initial=0.0))

    def to_xarray(self):
        """The steps as an `xarray.Dataset` with dimensions `step` and `law`."""
        import xarray

        dims = ("step", "law")
        return xarray.Dataset(
            {
                "change": (dims, self.change),
                "predicted": (dims, self.predicted),
                "residual": (dims, self.residual),
                "scale": ("law", self.scale),
            },
            {"law": np.array(self.names, dtype=str), "step": np.arange(1, len(self.change) + 1)},
            {"exact": int(self.exact), "units": "units of the law", "source": "derived here"},
        )


def law_steps(
    laws: Laws,
    thetas: Any,
    learning_rate: float | None = None,
    weight_decay: float = 0.0,
    tolerance: float = 1e-12,
) -> LawSteps:
    """The identity that every step of (stochastic) gradient descent obeys, with any batch.

    With f = 1 − learning_rate·weight_decay and θ⁺ = fθ − ηg, a quadratic law changes by exactly (f² − 1)h(θ) +
    q(θ⁺ − fθ), since ∇h·g = 0 away from kinks; its linear part by (f − 1) of itself. A residual that is not zero
    proves that a step was none: momentum, Adam, or a kink crossed by the gradient's own jump is not the cause.

    Arguments:
        thetas (S, P): consecutive iterates.
        learning_rate, weight_decay: only needed with weight decay.
        tolerance: on |residual| over the scale of the law.

    Raises:
        NotPolynomialError: a law that is not of degree at most two.
        ConservationError: shapes, or weight decay without a learning rate.

    Example:
        >>> laws = Laws.quadratic([np.diag([1.0, -1.0])])  # of L = f(uv)
        >>> law_steps(laws, np.array([[2.0, 1.0], [2.0 - 0.1, 1.0 - 0.2]])).exact
        True
    """
    require_polynomial(laws, 2, "law_steps")
    states = np.asarray(thetas, float)
    if states.ndim != 2 or states.shape[1] != laws.size or len(states) < 2:
        raise ConservationError(
            f"thetas have shape {states.shape}: expected at least two iterates of {laws.size} numbers"
        )
    if weight_decay and learning_rate is None:
        raise ConservationError("weight_decay was given without learning_rate: both are needed")
    f = 1.0 - (learning_rate or 0.0) * weight_decay
    values = laws.values(states)
    change = np.diff(values, axis=0)
    linear = values[:-1] - _quadratic_part(laws, states[:-1])
    moved = states[1:] - f * states[:-1]
    predicted = (f**2 - 1) * (values[:-1] - linear) + (f - 1) * linear + _quadratic_part(laws, moved)
    residual = change - predicted
    scale = law_scales(laws, states)
    cumulative = np.concatenate([np.zeros((1, len(laws))), np.cumsum(predicted, axis=0)])
    exact = bool(np.all(np.abs(residual) <= tolerance * scale))
    return LawSteps(laws.names, change, predicted, residual, cumulative, scale, exact)


def _quadratic_part(laws: Laws, states: np.ndarray) -> np.ndarray:
    table = laws.table
    padded = np.concatenate([states, np.ones((len(states), 1))], axis=1)
    products = np.where(table.degrees == 2, np.prod(padded[:, table.factors], axis=2), 0.0)
    return (table.summation @ products.T).T / laws.scales


class _LedgerStep(eqx.Module):
    """A step of (θ, Σ q(θ⁺ − θ))."""

    inner: StepMap
    laws: Laws = eqx.field(static=True)

    def __call__(self, state: Float[Array, " d"], n: Int[Array, ""], drawn: Any) -> Float[Array, " d"]:
        count = len(self.laws)
        body, book = state[: state.size - count], state[state.size - count :]
        following = self.inner.step(body, n, drawn)
        moved = (following - body)[: self.laws.size]
        zero = jnp.zeros_like(moved)
        quadratic = (self.laws(moved) + self.laws(-moved)) / 2 - self.laws(zero)
        return jnp.concatenate([following, book + quadratic])


def ledger(step_map: StepMap, laws: Laws) -> StepMap:
    """A map that carries along what each law must have changed by: states (state, ledger (K,)).

    Start it from (state, zeros(K)). For gradient descent without weight decay h(θ) − h(θ₀) equals the ledger to
    rounding, however many steps were made, and no iterate needs to be stored.

    Raises:
        NotPolynomialError: a law that is not of degree at most two.

    Example:
        >>> import thetadot as td
        >>> laws = Laws.quadratic([np.diag([1.0, -1.0])])
        >>> halve = td.StepMap(lambda state, n, aux: 0.5 * state)
        >>> ledger(halve, laws)(jnp.array([2.0, 1.0, 0.0]), 0).tolist()
        [1.0, 0.5, 0.75]
    """
    require_polynomial(laws, 2, "ledger")
    return StepMap(_LedgerStep(step_map, laws), step_map.aux, step_map.time_per_step)
