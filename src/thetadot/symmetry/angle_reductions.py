"""Targets that see the length of a projection, or one direction: infinitely wide networks as laws of an angle.

c′ = 2εcG(θ), θ′ = εG′(θ), G(θ) = T(θ) − Σ_i q_iK̄(θ, θ_i), q_i = w_iε_ic_i, on the Gauss nodes of the start law, with
both signs. The averaged kernel is a short series in the orthonormal polynomials of that law.
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.dynamics import Flow, Path
from thetadot.numerics.gaussian import relu_field, zonal_coefficients
from thetadot.numerics.gaussian.moments import (
    half_line_rule,
    norm_bend,
    norm_profile,
    norm_scale,
    ridge_parts,
)
from thetadot.symmetry.alignment import Alignment, weighted_angles
from thetadot.symmetry.errors import ParticleError
from thetadot.symmetry.particles import Particles
from thetadot.symmetry.reduction import Reduction
from thetadot.symmetry.zonal_series import averaged_kernel, cosine_coefficients, gauss_rule


class _NormPull(eqx.Module):
    """T(θ) = (c_k/π)h(sinθ) and its slope."""

    k: int = eqx.field(static=True)

    def __call__(self, angles: Array, waves: Array, slopes: Array) -> tuple[Array, Array]:
        sine, scale = jnp.sin(angles), norm_scale(self.k) / np.pi
        bend = norm_bend(self.k, sine**2)
        return scale * norm_profile(self.k, sine**2), scale * bend * sine * jnp.cos(angles)


class _SeriesPull(eqx.Module):
    """T(θ) as a cosine series."""

    terms: Array

    def __call__(self, angles: Array, waves: Array, slopes: Array) -> tuple[Array, Array]:
        return self.terms @ waves, self.terms @ slopes


class _RidgePull(eqx.Module):
    """T(θ) = E[g(z)(z cosθ Φ + sinθ ϕ)]."""

    function: Callable = eqx.field(static=True)

    def __call__(self, angles: Array, waves: Array, slopes: Array) -> tuple[Array, Array]:
        cosine, sine = jnp.cos(angles), jnp.abs(jnp.sin(angles))
        mean, bend = ridge_parts(self.function, cosine, sine)
        return cosine * mean + sine**2 * bend, sine * (cosine * bend - mean)


class _Law(eqx.Module):
    """What the field needs: K̄ = Σ_jk kernel_jk cos(jrθ)cos(krθ′) with r = `rate`, and T."""

    kernel: Array
    pull: Any
    signs: Array
    weights: Array
    power: Array
    rate: int = eqx.field(static=True)  # 2: θ ∈ [0, π/2] to a subspace; 1: θ ∈ [0, π] to a direction

    def parts(self, state: Array) -> tuple[Array, Array, Array]:
        """Angles, masses w_ic_i, and signed masses."""
        count = self.signs.shape[0]
        masses = self.weights * jnp.exp(state[:count])
        return state[count:], masses, self.signs * masses

    def waves(self, angles: Array) -> tuple[Array, Array]:
        """cos(jrθ) (n, m), and their slopes in θ."""
        rates = self.rate * jnp.arange(float(self.kernel.shape[0]))[:, None]
        phases = rates * angles[None, :]
        return jnp.cos(phases), -rates * jnp.sin(phases)


def _field(state: Array, law: _Law) -> Array:
    angles, _, charge = law.parts(state)
    waves, slopes = law.waves(angles)
    pull, bend = law.pull(angles, waves, slopes)
    drive = law.kernel @ (waves @ charge)
    return jnp.concatenate([2.0 * law.signs * (pull - drive @ waves), law.signs * (bend - drive @ slopes)])


def _risk(state: Array, law: _Law) -> Array:
    angles, _, charge = law.parts(state)
    waves, slopes = law.waves(angles)
    pull, _ = law.pull(angles, waves, slopes)
    moments = waves @ charge
    return 0.5 * (law.power - 2.0 * (charge @ pull) + moments @ (law.kernel @ moments))


def _angles(state: Array, law: _Law) -> Array:
    return law.parts(state)[0]


def _masses(state: Array, law: _Law) -> Array:
    return law.parts(state)[1]


def _by_sign(state: Array, law: _Law) -> Array:
    return jnp.where(law.signs[None, :] == jnp.array([[1.0], [-1.0]]), law.parts(state)[1][None, :], 0.0)


def _alignment(state: Array, law: _Law) -> Alignment:
    return weighted_angles(_by_sign(state, law), law.parts(state)[0])


def _mass(state: Array, law: _Law) -> Array:
    return _by_sign(state, law).sum(axis=1)


def _mean_sine_squared(state: Array, law: _Law) -> Array:
    return _alignment(state, law).mean_sine_squared


def _distance_to_subspace(state: Array, law: _Law) -> Array:
    return _alignment(state, law).distance_to_subspace


def _distance_to_complement(state: Array, law: _Law) -> Array:
    return _alignment(state, law).distance_to_complement


def _mean_cosine(state: Array, law: _Law) -> Array:
    weights = _by_sign(state, law)
    return (weights @ jnp.cos(law.parts(state)[0])) / weights.sum(axis=1)


_SHARED = {"risk": _risk, "angles": _angles, "masses": _masses, "mass": _mass}
_RADIAL = _SHARED | {
    "mean_sine_squared": _mean_sine_squared, "distance_to_subspace": _distance_to_subspace,
    "distance_to_complement": _distance_to_complement,
}  # fmt: skip
_RIDGE = _SHARED | {"mean_cosine": _mean_cosine}


@dataclasses.dataclass(frozen=True)
class AngleReduction(Reduction):
    """An infinitely wide network as masses at angles; the state is log c, then θ, of 2·nodes particles.

    Attributes:
        signs, weights (2·nodes,): ε and the start law's weights, which add up to 1.
        finer: makes the same reduction with 3/2 of the nodes and twice the degrees.
    """

    flow: Flow
    state0: Float[Array, " n"]
    observables: Mapping[str, Callable]
    description: str
    signs: Float[np.ndarray, " both"]
    weights: Float[np.ndarray, " both"]
    finer: Callable[[], "AngleReduction"]

    def solve(
        self,
        times: Float[np.ndarray, " S"] | list[float],
        *,
        accuracy: float = 1e-9,
        rtol: float | None = None,
        atol: float | None = None,
        certify: bool = False,
    ) -> Path:
        """As every reduction; `certify=True` also solves with 3/2 of the nodes and twice the degrees, and reports the
        difference of risk, masses and mean angles, relative to their largest values, in `accuracy`."""
        options = {"accuracy": accuracy, "rtol": rtol, "atol": atol}
        path = super().solve(times, **options, certify=certify)
        if not certify:
            return path
        finer = Reduction.solve(self.finer(), times, **options)
        gaps = [float(path.accuracy.global_error or 0.0)]
        for name in ("risk", "mass", "mean_sine_squared", "mean_cosine"):
            if name in path.observed:
                here, there = path.observed[name], finer.observed[name]
                gaps.append(float(np.nanmax(np.abs(here - there)) / np.nanmax(np.abs(there))))
        stated = dataclasses.replace(
            path.accuracy,
            global_error=max(gaps),
            note="the larger of the estimate in time and the difference to 3/2 of the nodes and twice the degrees",
        )
        return dataclasses.replace(path, accuracy=stated)

    def mean_square_distance(
        self,
        state: Float[Array | np.ndarray, " n"],
        particles: Particles,
        basis: Float[Array | np.ndarray, "d k"] | None = None,
    ) -> float:
        """E[(f_reduced − f_particles)²] over x ~ N(0, I), with f_particles in mean-field scaling, by the series.

        Arguments:
            state: of this reduction.
            particles: of ReLU neurons.
            basis (d, k): of the subspace that the target sees; the first k axes if left out.
        """
        law: _Law = self.flow.args
        angles, _, charge = law.parts(jnp.asarray(state))
        moments = law.waves(angles)[0] @ charge
        weights = particles.outgoing / particles.width
        axes = jnp.eye(particles.dimension)[:, : self._seen] if basis is None else jnp.asarray(basis)
        inside = particles.incoming @ axes
        across = particles.incoming - inside @ axes.T
        along = jnp.sqrt(jnp.sum(inside**2, axis=1)) if law.rate == 2 else inside[:, 0]
        other = jnp.arctan2(jnp.sqrt(jnp.sum(across**2, axis=1)), along)
        lengths = jnp.sqrt(jnp.sum(particles.incoming**2, axis=1))
        theirs = law.waves(other)[0] @ (weights * lengths)
        own = weights @ relu_field(particles.incoming, particles.incoming, weights)[0]
        return float(moments @ (law.kernel @ (moments - 2.0 * theirs)) + own)

    @property
    @abc.abstractmethod
    def _seen(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class RadialReduction(AngleReduction):
    """θ ∈ [0, π/2] is the angle to the subspace; see `radial_reduction`."""

    subspace_dimension: int = 1

    @property
    def _seen(self) -> int:
        return self.subspace_dimension


@dataclasses.dataclass(frozen=True)
class RidgeReduction(AngleReduction):
    """θ ∈ [0, π] is the angle to the direction; see `ridge_reduction`."""

    @property
    def _seen(self) -> int:
        return 1


def _doubled(
    rule: tuple[np.ndarray, np.ndarray], angles: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(state, signs, weights) of the start: both signs at every node."""
    count = angles.size
    state = np.concatenate([np.zeros(2 * count), angles, angles])
    return state, np.repeat([1.0, -1.0], count), np.tile(rule[1] / 2, 2)


def _require_counts(**given: int) -> None:
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 2:
            raise ParticleError(f"{name} is {value!r}, expected a whole number of at least 2")


def radial_reduction(
    dimension: int,
    subspace_dimension: int,
    *,
    profile: str | Callable = "norm",
    nodes: int = 32,
    degrees: int = 20,
) -> RadialReduction:
    """The infinitely wide ReLU network on f*(x) = h(|x_H|), x ~ N(0, I), from the unit sphere and ±1.

    Arguments:
        dimension, subspace_dimension: d and k, 1 ≤ k < d.
        profile: "norm" (h(ρ) = ρ), or h as a smooth elementwise JAX function.
        nodes: per sign. degrees: terms of the averaged kernel.

    Raises:
        ParticleError: k not in [1, d − 1], or too few nodes or degrees.

    Source: that the dynamics reduce is stated in the abstract of arXiv 2211.08771; the equations are re-derived.

    Example:
        >>> path = radial_reduction(20, 5, nodes=16).solve([0.0, 1.0])
        >>> path.losses.round(6).tolist()
        [2.5, 1.07435]
    """
    d, k = dimension, subspace_dimension
    _require_counts(dimension=d, nodes=nodes, degrees=degrees)
    if not 1 <= k < d:
        raise ParticleError(f"the subspace has dimension {k}, expected 1 ≤ k ≤ {d - 1}")
    alpha, beta = (d - k) / 2 - 1, k / 2 - 1
    sigma = zonal_coefficients(d, 2 * np.arange(degrees))
    if isinstance(profile, str):
        if profile != "norm":
            raise ParticleError(f'profile is {profile!r}, expected "norm" or a function')
        pull, power = _NormPull(k), float(k)
    else:
        pull, power = _profile_pull(profile, sigma, d, k)
    rule = gauss_rule(nodes, alpha, beta)
    state, signs, weights = _doubled(rule, 0.5 * np.arccos(rule[0]))
    kernel = jnp.asarray(averaged_kernel(d * sigma**2, alpha, beta))
    law = _Law(kernel, pull, jnp.asarray(signs), jnp.asarray(weights), jnp.asarray(power), rate=2)
    return RadialReduction(
        Flow(_field, law), jnp.asarray(state), dict(_RADIAL),
        f"infinite width, target of the length of {k} of {d} coordinates ({nodes} nodes, {degrees} degrees)",
        signs, weights,
        lambda: radial_reduction(d, k, profile=profile, nodes=-(-3 * nodes // 2), degrees=2 * degrees), k,
    )  # fmt: skip


def _profile_pull(profile: Callable, sigma: np.ndarray, d: int, k: int) -> tuple[_SeriesPull, float]:
    """t_l = σ_{2l}E_θ[p_l E_r[r h(r cosθ)]] with r ~ χ_d, and E f*²."""
    alpha, beta, degrees = (d - k) / 2 - 1, k / 2 - 1, len(sigma)
    x, w = gauss_rule(200, alpha, beta)
    cosines = np.sqrt(0.5 * (1 + x))
    r, r_weights = _chi_rule(d)
    inner = np.asarray(profile(jnp.asarray(np.outer(r, cosines))))
    table = cosine_coefficients(degrees, alpha, beta)
    values = table @ np.cos(np.outer(np.arange(degrees), np.arccos(x)))
    terms = (sigma * (values @ (w * ((r_weights * r) @ inner)))) @ table
    rho, rho_weights = _chi_rule(k)
    return _SeriesPull(jnp.asarray(terms)), float(rho_weights @ np.asarray(profile(jnp.asarray(rho))) ** 2)


def _chi_rule(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for the length of a Gaussian vector in R^d: Gauss–Legendre where its density is."""
    middle = np.sqrt(d)
    low, high = max(0.0, middle - 10), middle + 10
    x, w = np.polynomial.legendre.leggauss(300)
    r = 0.5 * (high + low) + 0.5 * (high - low) * x
    log_density = (d - 1) * np.log(r) - 0.5 * r**2
    weights = w * np.exp(log_density - log_density.max())
    return r, weights / weights.sum()


def ridge_reduction(
    dimension: int, function: Callable, *, nodes: int = 32, degrees: int = 60
) -> RidgeReduction:
    """The infinitely wide ReLU network on f*(x) = g(e·x), x ~ N(0, I), from the unit sphere and ±1.

    Arguments:
        dimension: d ≥ 2.
        function: g, elementwise, smooth on each half-line.
        nodes: per sign. degrees: terms of the averaged kernel (degrees 0, 1, 2, 4, 6, …).

    Example:
        >>> import jax
        >>> reduction = ridge_reduction(10, jax.nn.relu, nodes=8)
        >>> f"{reduction.observables['risk'](reduction.state0, reduction.flow.args):.3f}"
        '0.250'
    """
    d = dimension
    _require_counts(dimension=d, nodes=nodes, degrees=degrees)
    half = (d - 3) / 2
    l = np.arange(2 * degrees - 3)  # noqa: E741
    kernel = averaged_kernel(d * zonal_coefficients(d, l) ** 2, half, half)
    rule = gauss_rule(nodes, half, half)
    state, signs, weights = _doubled(rule, np.arccos(rule[0]))
    z, w = half_line_rule()
    power = float(w @ np.asarray(function(jnp.asarray(z))) ** 2)
    signs_and_weights = jnp.asarray(signs), jnp.asarray(weights)
    law = _Law(jnp.asarray(kernel), _RidgePull(function), *signs_and_weights, jnp.asarray(power), rate=1)
    return RidgeReduction(
        Flow(_field, law), jnp.asarray(state), dict(_RIDGE),
        f"infinite width, ridge target in {d} dimensions ({nodes} nodes, {degrees} degrees)", signs, weights,
        lambda: ridge_reduction(d, function, nodes=-(-3 * nodes // 2), degrees=2 * degrees),
    )  # fmt: skip
