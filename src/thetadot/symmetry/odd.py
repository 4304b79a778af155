"""Odd targets: a symmetric ReLU network is a linear predictor, and (A, B, C) move by themselves."""

import dataclasses
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.dynamics import Flow
from thetadot.problems import EmpiricalRisk, PopulationRisk, Problem
from thetadot.problems.checks import Numbers, as_float64
from thetadot.symmetry.check import check_symmetry
from thetadot.symmetry.errors import HypothesisError, ParticleError, SymmetryError
from thetadot.symmetry.orbits import matching_residual
from thetadot.symmetry.particles import Particles, network_of, to_particles
from thetadot.symmetry.predictor import kappa_of
from thetadot.symmetry.reduction import Reduction

_TOLERANCE = 1e-8


@dataclasses.dataclass(frozen=True, init=False)
class OddReduction(Reduction):
    """The moments A = oΣa², B = oΣbbᵀ, C = oΣab of a symmetric network on an odd target: w = κC is its predictor.

    A′ = 2κC·q, B′ = κ(qCᵀ + Cqᵀ), C′ = κ(Aq + Bq), q = X̄ − Σw; so w′ = Hq with H = κ²(AI + B). tr B − A is constant.

    Arguments:
        second_moment (d, d): Σ = E[xxᵀ].
        correlation (d,): X̄ = E[f*(x)x].
        power: E[f*²].
        outgoing_moment, incoming_moment (d, d): A and B at the start; 1 and I/d, those of infinite width on the unit
            sphere with ±1, if left out.
        predictor (d,): w at the start; 0 if left out.
        slope: of the leaky ReLU.

    Attributes:
        optimum (d,): w* = Σ⁺X̄. limit_risk: ½(E f*² − X̄·w*).
        rate_bound: η with Q(w(t)) − Q* ≤ (Q(w(0)) − Q*)e^{−2ηt}; 0 for singular Σ.
        residuals: {hypothesis: residual} that `odd_reduction` checked.

    Source: re-derived; that such a network is a linear predictor with exponential convergence is stated in the abstract
    of arXiv 2211.08771.

    Example:
        >>> reduction = OddReduction(np.eye(2), [1.0, 0.0], 1.0)
        >>> reduction.optimum.tolist(), f"{reduction.rate_bound:.3f}"
        ([1.0, 0.0], '0.375')
    """

    flow: Flow
    state0: Float[Array, " n"]
    observables: Mapping[str, Callable]
    description: str
    optimum: Float[np.ndarray, " d"]
    limit_risk: float
    rate_bound: float
    residuals: Mapping[str, float]

    def __init__(
        self,
        second_moment: Numbers,
        correlation: Numbers,
        power: Numbers,
        *,
        outgoing_moment: Numbers = 1.0,
        incoming_moment: Numbers | None = None,
        predictor: Numbers | None = None,
        slope: float = 0.0,
    ):
        sigma = np.asarray(as_float64(second_moment, "second_moment"))
        mean = np.asarray(as_float64(correlation, "correlation"))
        d = mean.size
        moment = (
            np.eye(d) / d
            if incoming_moment is None
            else np.asarray(as_float64(incoming_moment, "incoming_moment"))
        )
        start = np.zeros(d) if predictor is None else np.asarray(as_float64(predictor, "predictor"))
        a, square = float(as_float64(outgoing_moment, "outgoing_moment")), float(as_float64(power, "power"))
        for name, array, shape in (
            ("second_moment", sigma, (d, d)), ("correlation", mean, (d,)), ("incoming_moment", moment, (d, d)),
            ("predictor", start, (d,)),
        ):  # fmt: skip
            if array.shape != shape or not np.isfinite(array).all():
                raise ParticleError(f"{name} has shape {array.shape}, expected finite {shape}")
        kappa = 0.5 * (1 + slope)
        if not kappa > 0:
            raise ParticleError(f"slope is {slope!r}, expected more than −1")
        values, vectors = np.linalg.eigh(0.5 * (sigma + sigma.T))
        kept = values > 1e-12 * values[-1]
        optimum = vectors[:, kept] @ ((vectors[:, kept].T @ mean) / values[kept])
        c = start / kappa
        if np.any(c):
            whole = np.block([[np.array([[a]]), c[None]], [c[:, None], moment]])
            eta = 2 * kappa**2 * np.linalg.eigvalsh(whole)[0]
        else:
            eta = kappa**2 * (a + np.linalg.eigvalsh(moment)[0])
        lowest = values[0] if kept.all() else 0.0
        args = {
            "sigma": jnp.asarray(sigma), "mean": jnp.asarray(mean), "power": jnp.asarray(square),
            "kappa": jnp.asarray(kappa), "optimum": jnp.asarray(optimum), "singular": jnp.asarray(not kept.all()),
        }  # fmt: skip
        fields = {
            "flow": Flow(_field, args),
            "state0": jnp.asarray(np.concatenate([[a], c, moment.ravel()])),
            "observables": dict(_OBSERVABLES),
            "description": f"moments of an odd target in {d} dimensions",
            "optimum": optimum,
            "limit_risk": 0.5 * (square - float(mean @ optimum)),
            "rate_bound": float(max(eta, 0.0) * lowest),
            "residuals": {},
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)


def _moments(state: Array) -> tuple[Array, Array, Array]:
    d = int(np.sqrt(state.shape[0] - 0.75))  # n = d² + d + 1
    return state[0], state[1 : 1 + d], state[1 + d :].reshape(d, d)


def _field(state: Array, args: dict[str, Array]) -> Array:
    a, c, b = _moments(state)
    kappa = args["kappa"]
    q = args["mean"] - kappa * (args["sigma"] @ c)
    outer = q[:, None] * c[None, :]
    moved = kappa * (outer + outer.T)
    return jnp.concatenate([(2 * kappa * (c @ q))[None], kappa * (a * q + b @ q), moved.ravel()])


def _predictor(state: Array, args: dict[str, Array]) -> Array:
    return args["kappa"] * _moments(state)[1]


def _risk(state: Array, args: dict[str, Array]) -> Array:
    w = _predictor(state, args)
    return 0.5 * (args["power"] - 2 * (w @ args["mean"]) + w @ (args["sigma"] @ w))


def _gap(state: Array, args: dict[str, Array]) -> Array:
    """|w − w*|, in the norm of Σ where that is singular: the rest of w does not matter there."""
    off = _predictor(state, args) - args["optimum"]
    return jnp.sqrt(jnp.where(args["singular"], off @ (args["sigma"] @ off), off @ off))


def _outgoing(state: Array, args: dict[str, Array]) -> Array:
    return state[0]


def _incoming(state: Array, args: dict[str, Array]) -> Array:
    return _moments(state)[2]


def _metric(state: Array, args: dict[str, Array]) -> Array:
    a, c, b = _moments(state)
    return args["kappa"] ** 2 * (a * jnp.eye(c.shape[0]) + b)


_OBSERVABLES = {
    "risk": _risk, "predictor": _predictor, "gap": _gap, "outgoing_moment": _outgoing, "incoming_moment": _incoming,
    "metric": _metric,
}  # fmt: skip


def odd_reduction(
    problem: Problem, theta0: Float[Array | np.ndarray, " P"] | None = None, *, strict: bool = True
) -> OddReduction:
    """The moment equations of a problem with an odd target.

    Arguments:
        problem: a population risk, or an empirical one whose data are closed under (x, y) → (−x, −y).
        theta0 (P,): a start that is invariant under (a, b) → (−a, −b); None for infinite width on the unit sphere.
        strict: refuse when a hypothesis fails; otherwise run from the moments of theta0 and tell the residuals.

    Raises:
        HypothesisError: inputs not symmetric, target not odd, start not invariant, or another activation.

    Example:
        >>> import thetadot as td
        >>> network = td.two_layer(3, 8, "relu", scaling="mean_field")
        >>> problem = td.PopulationRisk(network, td.LinearTarget([1.0, 0.0, 0.0]), td.GaussianInputs(3))
        >>> odd_reduction(problem).optimum.round(12).tolist()
        [1.0, 0.0, 0.0]
    """
    kappa = kappa_of(problem)
    if isinstance(problem, PopulationRisk):
        sigma, mean = problem.inputs.second_moment, problem.target.correlation(problem.inputs)
        power = problem.power
    elif isinstance(problem, EmpiricalRisk):
        y = problem.y.reshape(-1)
        sigma, mean = problem.x.T @ problem.x / problem.samples, problem.x.T @ y / problem.samples
        power = jnp.mean(y**2)
    else:
        raise SymmetryError(
            f"{problem.description}: the moment equations need a PopulationRisk or an EmpiricalRisk"
        )
    minus = -np.eye(network_of(problem).dimension)
    checked = check_symmetry(problem, minus, -1.0)
    residuals = {"symmetric inputs": checked.input_residual, "odd target": checked.target_residual}
    options: dict = {}
    if theta0 is not None:
        cloud = to_particles(problem, jnp.asarray(theta0))
        residuals["start invariant under (a, b) → (−a, −b)"] = _start_residual(cloud, minus)
        scale = network_of(problem).chain.output_scale
        a, b = scale * cloud.outgoing, cloud.incoming
        options = {
            "outgoing_moment": a @ cloud.outgoing, "incoming_moment": scale * (b.T @ b), "predictor": kappa * (a @ b),
        }  # fmt: skip
    failed = {name: value for name, value in residuals.items() if not value <= _TOLERANCE}
    if strict and failed:
        listed = ", ".join(f"{name} ({value:.2g})" for name, value in failed.items())
        raise HypothesisError(
            f"the linear-predictor reduction does not apply, residuals above {_TOLERANCE:.0e}: {listed}; start from "
            'sample_particles(…, scheme="antithetic"), or pass strict=False to run from the moments all the same'
        )
    found = OddReduction(sigma, mean, power, slope=2 * kappa - 1, **options)
    object.__setattr__(found, "residuals", residuals)
    return found


def _start_residual(cloud: Particles, minus: np.ndarray) -> float:
    half, rest = divmod(cloud.width, 2)
    if not rest:  # the order in which `sample_particles` lays antithetic pairs
        gaps = (cloud.outgoing[:half] + cloud.outgoing[half:], cloud.incoming[:half] + cloud.incoming[half:])
        residual = max(float(jnp.max(jnp.abs(gap))) for gap in gaps)
        if residual <= _TOLERANCE:
            return residual
    return matching_residual(cloud, minus, -1.0)
