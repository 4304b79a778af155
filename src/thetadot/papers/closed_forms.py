"""Gradient flows in closed form, in float64: what the `analytic` claims predict.

Every form is arranged so that no difference of nearly equal numbers enters it; measured against 50 digits,
all are accurate to 5e-15. All are re-derived; the balanced two-layer mode is that of Saxe, McClelland and
Ganguli (arXiv 1312.6120).
"""

import math

import numpy as np
from jaxtyping import Float

from thetadot.papers.errors import ClaimError


def quadratic(
    rates: Float[np.ndarray, " n"], basis: Float[np.ndarray, "n n"], theta0: Float[np.ndarray, " n"], ts
) -> Float[np.ndarray, "T n"]:
    """exp(−At)θ0, the flow of L = ½θᵀAθ, at times ts (T,).

    Arguments:
        rates: eigenvalues of A.
        basis: its eigenvectors in columns.
        theta0: the start.

    Example:
        >>> quadratic(np.array([1.0, 2.0]), np.eye(2), np.ones(2), [0.0, math.log(2)]).tolist()
        [[1.0, 1.0], [0.5, 0.25]]
    """
    decays = np.exp(-np.multiply.outer(np.asarray(ts, float), rates))
    return (decays * (basis.T @ theta0)) @ basis.T


def scalar_linear(
    a0: float, w0: float, mean_square: float, correlation: float, ts
) -> Float[np.ndarray, "T 2"]:
    """(w, a) at times ts (T,) of f(x) = a·w·x under L = ½·mean (awx − y)², for any imbalance C = a² − w².

    M = (a+w)² obeys M′ = −(s/2)M² + 2ρM + sC²/2, and (a−w)² the same with ρ → −ρ; both keep their signs.

    Arguments:
        a0, w0: the start.
        mean_square: s = mean x² > 0.
        correlation: ρ = mean xy.

    Example:
        >>> scalar_linear(1.0, 1.0, 1.0, 0.0, [0.0, 1.5])[:, 0].tolist()  # a = w: w′ = −w³
        [1.0, 0.5]
    """
    times, imbalance = np.asarray(ts, float), (a0 - w0) * (a0 + w0)
    total = math.copysign(1.0, a0 + w0) * np.sqrt(
        _riccati((a0 + w0) ** 2, imbalance, mean_square, correlation, times)
    )
    difference = math.copysign(1.0, a0 - w0) * np.sqrt(
        _riccati((a0 - w0) ** 2, imbalance, mean_square, -correlation, times)
    )
    return np.stack([(total - difference) / 2, (total + difference) / 2], axis=1)


def scalar_linear_time(a0: float, w0: float, mean_square: float, correlation: float, product: float) -> float:
    """The time at which a·w reaches `product`, a value between its start and its limit.

    Raises:
        ClaimError: a·w never has this value.

    Example:
        >>> round(scalar_linear_time(1e-3, 1e-3, 1.0, 1.0, 0.5), 6)  # logistic: ½ ln(1e6 − 1)
        6.907755
    """
    imbalance = (a0 - w0) * (a0 + w0)
    start = (a0 + w0) ** 2
    level = 2 * product + math.hypot(2 * product, imbalance)
    upper, lower = _rest_points(imbalance, mean_square, correlation)
    passed = (upper - level) * (start - lower)
    total = (level - lower) * (upper - start)
    if total == 0 or not 0 < passed / total <= 1:
        raise ClaimError(f"the product never reaches {product:g} from {a0 * w0:g}")
    return -math.log(passed / total) / math.hypot(2 * correlation, mean_square * imbalance)


def _rest_points(imbalance: float, s: float, rho: float) -> tuple[float, float]:
    """M₊ ≥ 0 ≥ M₋; the smaller from M₊M₋ = −C²."""
    root = math.hypot(2 * rho, s * imbalance)
    larger = (2 * abs(rho) + root) / s
    smaller = imbalance**2 / larger if larger else 0.0
    return (larger, -smaller) if rho >= 0 else (smaller, -larger)


def _riccati(start: float, imbalance: float, s: float, rho: float, times: np.ndarray) -> np.ndarray:
    """M(t) from M(0): a ratio of sums of terms ≥ 0."""
    upper, lower = _rest_points(imbalance, s, rho)
    if upper == lower:  # ρ = C = 0
        return start / (1 + s * start * times / 2)
    rate = math.hypot(2 * rho, s * imbalance)
    left, gone = np.exp(-rate * times), -np.expm1(-rate * times)
    return (start * (upper - lower * left) + imbalance**2 * gone) / (start * gone - lower + upper * left)


def deep_linear_mode(strength: float, start: float, depth: int, ts) -> Float[np.ndarray, " T"]:
    """σ(t) (T,) of one mode of a deep linear network on whitened inputs: σ′ = σ^{D−1}(S − σ^D).

    σ is the mode's share in every layer. D = 2 is logistic. Deeper, with σ = S^{1/D}r, the time is
    S^{2/D−2}(τ(r) − τ(r₀)) with τ(r) = ∫dr r^{1−D}/(1−r^D) = −r^{2−D}/(D−2) − (1/D) Σ_k ω^{−2k} ln(1 − ω^k r)
    and ω = e^{2πi/D}, inverted by bisection in ln(r^D/(1−r^D)).

    Arguments:
        strength: S ≥ 0, singular value of (1/N) Σ y xᵀ.
        start: σ(0), with 0 < σ(0) and, unless S = 0, σ(0)^D < S.
        depth: D ≥ 2, number of weight matrices.

    Raises:
        ClaimError: the start is outside this range.

    Example:
        >>> deep_linear_mode(0.0, 1.0, 2, [0.0, 1.5]).tolist()  # σ′ = −σ³
        [1.0, 0.5]
    """
    times = np.asarray(ts, float)
    if not start > 0 or (strength > 0 and not start**depth < strength) or strength < 0 or depth < 2:
        raise ClaimError(f"no closed form for S = {strength:g}, σ(0) = {start:g}, D = {depth}")
    if strength == 0:
        power = 2 * depth - 2
        return (start**-power + power * times) ** (-1 / power)
    if depth == 2:
        return np.sqrt(strength / (1 + (strength / start**2 - 1) * np.exp(-2 * strength * times)))
    level = math.log(start**depth / (strength - start**depth))
    wanted = _mode_clock(np.float64(level), depth) + strength ** (2 - 2 / depth) * times
    low, high = np.full(times.shape, level), np.full(times.shape, 800.0)
    for _ in range(200):
        middle = (low + high) / 2
        early = _mode_clock(middle, depth) < wanted
        low, high = np.where(early, middle, low), np.where(early, high, middle)
    return (strength / (1 + np.exp(-low))) ** (1 / depth)


def _mode_clock(level, depth: int):
    """τ(r) at level = ln(r^D/(1−r^D)); the one term that grows, k = 0, is taken from the level itself."""
    r = (1 / (1 + np.exp(-level))) ** (1 / depth)
    powers = sum(r**k for k in range(depth))  # 1 − r = (1 − r^D)/(1 + r + … + r^{D−1})
    clock = -(r ** (2 - depth)) / (depth - 2) + (np.logaddexp(0.0, level) + np.log(powers)) / depth
    for k in range(1, depth):
        root = np.exp(2j * np.pi * k / depth)
        clock = clock - (root**-2 * np.log(1 - root * r)).real / depth
    return clock
