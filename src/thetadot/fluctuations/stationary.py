"""The stationary covariance of SGD around a minimum: continuum, discrete, and with multiplicative noise."""

import dataclasses
import warnings
from typing import Any

import numpy as np
from jaxtyping import Float

from thetadot.dynamics.wording import number
from thetadot.fluctuations.curvature import leading_curvature
from thetadot.fluctuations.errors import FluctuationsError, NotAtMinimumWarning
from thetadot.fluctuations.gradient_noise import gradient_noise
from thetadot.fluctuations.matrices import positive, require_dense, symmetric, whole
from thetadot.fluctuations.multiplicative import (
    MomentMap,
    checked_jacobians,
    multiplicative_noise,
    sample_jacobians,
    warn_if_near,
)
from thetadot.fluctuations.online import StationaryStatus
from thetadot.fluctuations.sampling import noise_scale, require_independent
from thetadot.problems import Problem, squared

KINDS = ("continuum", "discrete", "multiplicative")
_NO_NOISE = 1e-10
_SMALL_GRADIENT = 0.1


@dataclasses.dataclass(frozen=True)
class StationaryCovariance:
    """What `stationary_covariance` found.

    Attributes:
        covariance (P, P): Σ of θ − θ*, 0 outside the range of H; NaN if non_stationary. With `leading` (k, k), in the
            basis `directions`.
        status: stationary; frozen: H has null directions without noise; diffusing: there is noise in them, and only
            the block on range(H) is stationary; non_stationary: a saddle, or a learning rate too large.
        kind: continuum, discrete or multiplicative.
        hessian, noise (P, P): H and D, in the same basis. curvatures: eigenvalues of H, descending.
        frozen (P, k): basis of the directions that do not move.
        diffusion_rate: the largest growth of variance in the null space, weight² per step.
        spectral_radius: of the map of second moments on range(H); stationary below 1.
        residual: of the equation, relative to the noise term.
        excess_loss: ½ tr(HΣ).
        learning_rate, noise_scale: η and ν.
        rate_times_trace: η·tr H (of the block), the relative size of second-order effects.
        directions (P, k): the leading Hessian eigenvectors, if only their block was asked for.
        gradient_ratio: ‖∇L‖/√(tr D/N); None where no problem was given. lowest_curvature: least eigenvalue of H.
        approximation: what is not exact about the kind here, in words; "" if nothing.
        source: where H and D are from.
    """

    covariance: Float[np.ndarray, "P P"]
    status: StationaryStatus
    kind: str
    hessian: Float[np.ndarray, "P P"]
    noise: Float[np.ndarray, "P P"]
    curvatures: Float[np.ndarray, " P"]
    frozen: Float[np.ndarray, "P n"]
    diffusion_rate: float
    spectral_radius: float
    residual: float
    excess_loss: float
    learning_rate: float
    noise_scale: float
    rate_times_trace: float
    lowest_curvature: float
    directions: Float[np.ndarray, "Q P"] | None = None
    gradient_ratio: float | None = None
    approximation: str = ""
    source: str = "H and D given by the user"

    def summary(self) -> str:
        """Status and main numbers in one line."""
        part = "" if self.directions is None else f" in {self.directions.shape[1]} leading directions"
        head = f"{self.kind} covariance{part}: {self.status}"
        small = f"η·tr H{' of these' if part else ''} = {number(self.rate_times_trace)}"
        if self.status is StationaryStatus.NON_STATIONARY:
            ends = f"{number(self.lowest_curvature)} to {number(self.curvatures[0])}"
            why = f"curvatures from {ends}, spectral radius {number(self.spectral_radius, 6)}"
            return f"{head} ({why}), {small}"
        parts = [
            head,
            f"tr Σ = {number(np.trace(self.covariance))}",
            f"excess loss {number(self.excess_loss)}",
            small,
        ]
        if self.status is StationaryStatus.DIFFUSING:
            parts.append(f"variance grows by up to {number(self.diffusion_rate)} per step in the null space")
        elif self.frozen.shape[1]:
            parts.append(f"{self.frozen.shape[1]} frozen directions")
        return ", ".join([*parts, *([self.approximation] if self.approximation else [])])

    def __str__(self) -> str:
        return f"{self.summary()} [L the mean loss (squared: with ½); {self.source}]"

    def to_xarray(self):
        """Dataset with dimensions `direction` and `direction_`."""
        import xarray

        square = ("direction", "direction_")
        data = {
            "covariance": (square, self.covariance, {"units": "weight²"}),
            "hessian": (square, self.hessian, {"units": "loss/weight²"}),
            "noise": (square, self.noise, {"units": "loss²/weight²"}),
            "curvature": ("direction", self.curvatures, {"units": "loss/weight²"}),
        }
        if self.directions is not None:
            data["basis"] = (("parameter", "direction"), self.directions, {"units": "1"})
        names = [
            "kind",
            "diffusion_rate",
            "spectral_radius",
            "residual",
            "excess_loss",
            "learning_rate",
            "noise_scale",
            "rate_times_trace",
            "lowest_curvature",
            "approximation",
            "source",
        ]
        attrs = {name: getattr(self, name) for name in names} | {"status": str(self.status)}
        if self.gradient_ratio is not None:
            attrs["gradient_ratio"] = self.gradient_ratio
        return xarray.Dataset(data, attrs=attrs)


def stationary_covariance(
    hessian: Any,
    noise: Any,
    *,
    learning_rate: float,
    batch_size: int,
    kind: str = "discrete",
    replace: bool = True,
    samples: int | None = None,
    sample_jacobians: Any = None,
    tolerance: float | None = None,
) -> StationaryCovariance:
    """Σ of θ − θ* under SGD with independent batches, from curvature and gradient noise.

    With ν = 1/S (with replacement) or (N − S)/(S(N − 1)) (S distinct samples, drawn afresh at every step):
    continuum HΣ + ΣH = ηνD, valid for ηh ≪ 1; discrete Σ = (1−ηH)Σ(1−ηH) + η²νD, additive noise at any stable η;
    multiplicative with D + M(Σ) instead of D, M(Σ) = (1/N) Σ_p H_pΣH_p − GΣG, H_p = J_pᵀJ_p, G their mean: exact for
    losses that are quadratic per sample. The loss is a mean (squared: with ½); without the ½ double η.

    Arguments:
        hessian, noise: H and D at the minimum, symmetric (P, P), in loss/weight² and loss²/weight².
        learning_rate: η. batch_size: S.
        kind: continuum, discrete or multiplicative.
        replace: batches with replacement. samples: N, needed without it.
        sample_jacobians: J_p (N, P) or (N, q, P), needed by multiplicative.
        tolerance: |h| up to which curvature counts as none; by default 10·P·ε·h_max.

    Raises:
        FluctuationsError: matrices, sizes or options that do not fit together.

    Source: arXiv 2311.14120 (abstract) for the setting; all formulas derived here and checked by simulation.

    Example:
        >>> found = stationary_covariance(np.diag([1.0, 2.0]), np.eye(2), learning_rate=0.1, batch_size=1)
        >>> [round(float(v), 6) for v in np.diag(found.covariance)], str(found.status)
        ([0.052632, 0.027778], 'stationary')
    """
    H = symmetric(hessian, "hessian")
    D = symmetric(noise, "noise", len(H))
    eta = positive(learning_rate, "learning_rate")
    if kind not in KINDS:
        raise FluctuationsError(f"kind = {kind!r}: expected one of {', '.join(KINDS)}")
    jacobians = None
    if kind == "multiplicative":
        if sample_jacobians is None:
            raise FluctuationsError(
                "kind='multiplicative' needs sample_jacobians=J (N, P) or (N, q, P): see fluctuations.sample_jacobians"
            )
        jacobians = checked_jacobians(sample_jacobians, len(H))
        if samples is not None and samples != len(jacobians):
            raise FluctuationsError(f"samples = {samples}, but there are {len(jacobians)} sample_jacobians")
        samples = len(jacobians)
    nu = noise_scale(batch_size, replace=replace, samples=samples)
    values, axes = np.linalg.eigh(H)
    floor = _floor(values, tolerance)
    flat = np.abs(values) <= floor
    U, h = axes[:, ~flat], values[~flat]
    status, frozen, growth = _null_space(D, axes[:, flat], eta**2 * nu)
    radius, settles = float(np.max((1 - eta * h) ** 2, initial=0.0)), bool(np.all(eta * h < 2))
    E = U.T @ D @ U
    moments = None
    if jacobians is not None and h.size:
        moments = MomentMap(h, jacobians @ U, eta, nu)
        decay = moments.slowest_decay()
        radius, settles = 1 - eta * decay, decay > 0
    common: dict[str, Any] = {
        "kind": kind, "hessian": H, "noise": D, "curvatures": values[::-1].copy(), "frozen": frozen,
        "learning_rate": eta, "noise_scale": nu, "rate_times_trace": eta * float(np.trace(H)),
        "spectral_radius": radius,
        "diffusion_rate": growth, "lowest_curvature": float(values[0]),
        "approximation": _approximation(H, jacobians),
    }  # fmt: skip
    if not settles or (h < 0).any():
        return StationaryCovariance(
            covariance=np.full(H.shape, np.nan), status=StationaryStatus.NON_STATIONARY, residual=np.nan,
            excess_loss=np.nan, **common,
        )  # fmt: skip
    losses = h[:, None] + h[None, :]
    if kind != "continuum":
        losses = losses - eta * h[:, None] * h[None, :]
    sigma = eta * nu * E / losses if moments is None else moments.stationary(E)
    warn_if_near(_amplification(h, E, sigma, eta, nu, moments is None))
    covariance = U @ sigma @ U.T
    covariance = 0.5 * (covariance + covariance.T)
    return StationaryCovariance(
        covariance=covariance,
        status=status,
        residual=_residual(H, U @ E @ U.T if flat.any() else D, covariance, kind, eta, nu, jacobians),
        excess_loss=0.5 * float(np.sum(H * covariance)),
        **common,
    )


def _amplification(h, E, sigma, eta: float, nu: float, additive: bool) -> float:
    """The largest variance over that of the continuum limit."""
    if additive:
        return float(np.max(1 / (1 - eta * h / 2), initial=1.0))
    continuum = eta * nu * np.diag(E) / (2 * h)
    noisy = continuum > 1e-12 * np.max(continuum, initial=0.0)
    return float(np.max(np.diag(sigma)[noisy] / continuum[noisy], initial=1.0))


def _floor(values: np.ndarray, tolerance: float | None) -> float:
    if tolerance is not None:
        return positive(tolerance, "tolerance", zero=True)
    return 10 * len(values) * float(np.finfo(float).eps * np.abs(values).max())


def _null_space(D: np.ndarray, null: np.ndarray, growth: float) -> tuple[StationaryStatus, np.ndarray, float]:
    """Status without regard to range(H), basis of what does not move, and the largest growth per step."""
    if not null.shape[1]:
        return StationaryStatus.STATIONARY, null, 0.0
    noise, axes = np.linalg.eigh(null.T @ D @ null)
    still = noise <= _NO_NOISE * np.linalg.norm(D)
    if still.all():
        return StationaryStatus.FROZEN, null, 0.0
    return StationaryStatus.DIFFUSING, null @ axes[:, still], growth * float(noise[-1])


def _residual(H, D, sigma, kind: str, eta: float, nu: float, jacobians) -> float:
    """Of HΣ + ΣH [− ηHΣH] = ην(D [+ M(Σ)]), the equation over η, relative to ηνD."""
    half, scale = H @ sigma, eta * nu * float(np.linalg.norm(D))
    off = half + half.T - eta * nu * D
    if kind != "continuum":
        off = off - eta * half @ H
    if jacobians is not None:
        off = off - eta * nu * multiplicative_noise(jacobians, sigma)
    return float(np.linalg.norm(off)) / (scale or 1.0)


def _approximation(H: np.ndarray, jacobians: np.ndarray | None) -> str:
    if jacobians is None:
        return ""
    rows = jacobians.reshape(-1, jacobians.shape[2])
    off = float(np.linalg.norm(rows.T @ rows / len(jacobians) - H) / max(np.linalg.norm(H), 1e-300))
    return (
        ""
        if off <= 1e-8
        else f"Gauss–Newton approximation of the sample Hessians (mean off by {number(off)})"
    )


def stationary_covariance_of(
    problem: Problem,
    theta: Any,
    rule: Any,
    *,
    kind: str = "discrete",
    leading: int | None = None,
    tolerance: float | None = None,
) -> StationaryCovariance:
    """Σ of SGD on a problem around θ, H and D both from the problem.

    Arguments:
        problem: an `EmpiricalRisk`. theta: (P,), a minimum.
        rule: a `MiniBatch` with a constant learning rate and independent batches.
        kind: as in `stationary_covariance`.
        leading: only the block in the k leading Hessian eigenvectors, without forming a P×P matrix; continuum and
            discrete only, for which it is exact.
        tolerance: |h| up to which curvature counts as none; by default rounding.

    Raises:
        UnsupportedSamplingError: shuffled passes. UnsupportedRuleError: other rules.
        SizeError: a dense covariance of more than 5000 parameters.

    Warns:
        NotAtMinimumWarning: ‖∇L‖ is above 0.1·√(tr D/N).

    Example:
        >>> x, y = np.array([[1.0], [1.0], [2.0]]), np.array([[1.0], [3.0], [4.0]])
        >>> problem = td.EmpiricalRisk(td.linear([1, 1]), td.squared, x, y)
        >>> rule = td.MiniBatch(0.1, 1, jax.random.key(0), replace=True)
        >>> round(float(stationary_covariance_of(problem, np.array([2.0]), rule).covariance[0, 0]), 6)
        0.018519
    """
    plain = require_independent(rule)
    samples = getattr(problem, "samples", None)
    given: dict[str, Any] = {
        "learning_rate": float(plain.learning_rate),  # pyright: ignore[reportArgumentType]
        "batch_size": plain.batch_size, "replace": plain.replace, "samples": samples, "kind": kind,
    }  # fmt: skip
    noise = gradient_noise(problem, theta)
    point = noise.theta
    directions = None
    if leading is None:
        require_dense(problem.size)
        hessian, spread = np.asarray(problem.hessian(point)), noise.covariance
        lowest = None
    else:
        if kind == "multiplicative":
            raise FluctuationsError("multiplicative noise couples all directions: leave leading out")
        hessian, directions, lowest = leading_curvature(problem, point, whole(leading, "leading"))
        spread = noise.project(directions)
        if tolerance is None:
            tolerance = 10 * problem.size * float(np.finfo(float).eps * np.abs(hessian).max())
    if kind == "multiplicative":
        given["sample_jacobians"] = sample_jacobians(problem, point)
    found = stationary_covariance(hessian, spread, tolerance=tolerance, **given)
    if (
        found.approximation == ""
        and kind == "multiplicative"
        and getattr(problem, "sample_loss", None) != squared
    ):
        found = dataclasses.replace(
            found, approximation="sample Hessians at θ only: the loss is not quadratic"
        )
    if lowest is not None:
        found = _with_lowest(found, lowest, tolerance)
    trace = float(np.trace(spread)) if leading is None else noise.trace
    found = dataclasses.replace(
        found, directions=directions, gradient_ratio=_gradient_ratio(noise.mean, trace, noise.samples),
        source=f"H and D of {problem.description}",
    )  # fmt: skip
    if found.gradient_ratio is not None and found.gradient_ratio > _SMALL_GRADIENT:
        warnings.warn(
            f"θ is not at a minimum: the gradient is {found.gradient_ratio:.3g} times its own sampling error "
            "√(tr D/N); go on training without noise before asking for fluctuations",
            NotAtMinimumWarning,
            stacklevel=2,
        )
    return found


def _gradient_ratio(gradient: np.ndarray, trace: float, samples: int) -> float:
    size, scale = float(np.linalg.norm(gradient)), float(np.sqrt(max(trace, 0.0) / samples))
    return size / scale if scale > 0 else 0.0 if size < 1e-10 else float("inf")


def _with_lowest(found: StationaryCovariance, lowest: float, tolerance: float | None) -> StationaryCovariance:
    """The same with the least curvature of the whole Hessian: below zero there is no stationary state."""
    found = dataclasses.replace(found, lowest_curvature=lowest)
    if lowest >= -(tolerance or 0.0) or found.status is StationaryStatus.NON_STATIONARY:
        return found
    return dataclasses.replace(
        found, status=StationaryStatus.NON_STATIONARY, covariance=np.full_like(found.covariance, np.nan),
        excess_loss=np.nan, residual=np.nan,
    )  # fmt: skip
