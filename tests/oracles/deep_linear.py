"""Deep linear networks on whitened inputs from a spectral start: every mode moves alone.

(1/N) XᵀX = I and (1/N) YᵀX = U S Vᵀ; W_l(0) = R_l diag(σ) R_{l−1}ᵀ with orthonormal R, R_0 = V, R_D = U,
D the depth. Then W_l(t) = R_l diag(σ(t)) R_{l−1}ᵀ with σ′ = σ^{D−1}(S − σ^D). For D = 2 the strength σ² is
logistic; for deeper nets t is an integral over ln σ, taken here by tanh–sinh quadrature and inverted by
bracketing.
"""

import dataclasses
import functools

import mpmath as mp
import numpy as np

DIGITS = 40


def mode(strength: float, start: float, depth: int, t) -> mp.mpf:
    """σ(t) of one mode: target singular value `strength` ≥ 0, σ(0) = start > 0 below strength^(1/depth)."""
    with mp.workdps(DIGITS):
        target, sigma0, t = mp.mpf(float(strength)), mp.mpf(float(start)), mp.mpf(t)
        if target == 0:
            power = 2 * depth - 2
            return (sigma0 ** (-power) + power * t) ** (-mp.mpf(1) / power)
        if depth == 2:
            return mp.sqrt(target / (1 + (target / sigma0**2 - 1) * mp.exp(-2 * target * t)))
        if t == 0:
            return sigma0
        return _invert(target, sigma0, depth, t)


def _elapsed(target, depth: int, low, high):
    """Time between two values of v = ln(σ^D/(S−σ^D)); dt/dv = 1/(D·S·σ^{D−2})."""

    def rate(v):
        sigma_to_depth = target / (1 + mp.exp(-v))
        return 1 / (depth * target * sigma_to_depth ** (1 - mp.mpf(2) / depth))

    points = [low, *range(int(mp.ceil(low)) + 2, int(mp.floor(high)) - 1, 4), high]
    return mp.quad(rate, points)


def _invert(target, sigma0, depth: int, t):
    low = mp.log(sigma0**depth / (target - sigma0**depth))
    step, high, before = mp.mpf(4), low, mp.mpf(0)
    while True:  # walk up until the time is bracketed
        following = high + step
        passed = before + _elapsed(target, depth, high, following)
        if passed >= t:
            break
        high, before = following, passed
    start, offset = high, before
    v = mp.findroot(
        lambda v: offset + _elapsed(target, depth, start, v) - t,
        (start, following),
        solver="anderson",
        tol=1e-50,
    )
    return (target / (1 + mp.exp(-v))) ** (mp.mpf(1) / depth)


@dataclasses.dataclass(frozen=True)
class DeepLinearFlow:
    """The flow of a deep linear network with one orthonormal frame per interface.

    Attributes:
        strengths (k,): singular values S of the input–output correlation.
        starts (k,): σ(0) of each mode.
        frames: R_0 … R_depth, each (width, k) with orthonormal columns.
    """

    strengths: np.ndarray
    starts: np.ndarray
    frames: tuple[np.ndarray, ...]

    @property
    def depth(self) -> int:
        """Number of weight matrices."""
        return len(self.frames) - 1

    def sigmas(self, t) -> np.ndarray:
        """σ(t) of all modes, (k,)."""
        pairs = zip(self.strengths, self.starts, strict=True)
        return np.array([float(mode(strength, start, self.depth, t)) for strength, start in pairs])

    def weights(self, t) -> list[np.ndarray]:
        """W_1 … W_depth at time t, each (out, in)."""
        sigmas = self.sigmas(t)
        return [
            out @ np.diag(sigmas) @ into.T
            for into, out in zip(self.frames[:-1], self.frames[1:], strict=True)
        ]

    def thetas(self, ts) -> np.ndarray:
        """All weights as one vector at times ts, (T, P): layer by layer, row-major."""
        return np.array([np.concatenate([w.ravel() for w in self.weights(float(t))]) for t in ts])

    def data(self, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """x (samples, d) with (1/N) xᵀx = I and y = x (U S Vᵀ)ᵀ."""
        into, out = self.frames[0], self.frames[-1]
        noise = np.random.default_rng(seed).normal(size=(samples, into.shape[0]))
        x = np.sqrt(samples) * np.linalg.qr(noise)[0]
        return x, x @ into @ np.diag(self.strengths) @ out.T


@functools.cache
def spectral_flow(
    widths: tuple[int, ...], strengths: tuple[float, ...], starts: tuple[float, ...], seed: int
) -> DeepLinearFlow:
    """A flow with random frames; the number of modes is len(strengths) ≤ min(widths)."""
    rng = np.random.default_rng(seed)
    frames = tuple(np.linalg.qr(rng.normal(size=(width, len(strengths))))[0] for width in widths)
    return DeepLinearFlow(np.array(strengths), np.array(starts), frames)
