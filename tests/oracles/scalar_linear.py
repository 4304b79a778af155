"""Two-layer scalar linear network f(x) = a·w·x under L = ½·mean (awx − y)²: closed form for any imbalance.

With s = mean x², ρ = mean xy and C = a² − w² (conserved), M = (a+w)² obeys M′ = −(s/2)M² + 2ρM + sC²/2,
so that (M−M₊)/(M−M₋) = k₀ exp(−(s/2)(M₊−M₋)t) with M± = (2ρ ± √(4ρ²+s²C²))/s. a+w keeps its sign, and
a−w = C/(a+w).
"""

import dataclasses

import mpmath as mp
import numpy as np

DIGITS = 50


def moments(x: np.ndarray, y: np.ndarray) -> tuple[mp.mpf, mp.mpf]:
    """s = mean x² and ρ = mean xy of float samples, without rounding."""
    with mp.workdps(DIGITS):
        xs, ys = [mp.mpf(float(v)) for v in np.ravel(x)], [mp.mpf(float(v)) for v in np.ravel(y)]
        return mp.fsum(v * v for v in xs) / len(xs), mp.fsum(
            u * v for u, v in zip(xs, ys, strict=True)
        ) / len(xs)


@dataclasses.dataclass(frozen=True)
class ScalarLinearFlow:
    """The flow from (a0, w0)."""

    a0: float
    w0: float
    s: mp.mpf
    rho: mp.mpf

    def squared_sum(self, t) -> mp.mpf:
        """M(t) = (a+w)²."""
        with mp.workdps(DIGITS):
            return self._riccati((mp.mpf(self.a0) + mp.mpf(self.w0)) ** 2, mp.mpf(self.rho), t)

    def time_to_reach(self, squared_sum) -> mp.mpf:
        """The time at which M has the given value, between its start and its limit."""
        with mp.workdps(DIGITS):
            start = (mp.mpf(self.a0) + mp.mpf(self.w0)) ** 2
            upper, lower = self._roots(mp.mpf(self.rho))
            ratio = (start - upper) * (squared_sum - lower) / ((start - lower) * (squared_sum - upper))
            return mp.log(ratio) / (self.s / 2 * (upper - lower))

    def state(self, t) -> tuple[mp.mpf, mp.mpf]:
        """(a, w) at time t."""
        with mp.workdps(DIGITS):
            sum0, difference0 = mp.mpf(self.a0) + mp.mpf(self.w0), mp.mpf(self.a0) - mp.mpf(self.w0)
            if sum0 == 0:
                total = mp.mpf(0)
                # a−w obeys the same equation with ρ → −ρ, since exchanging them turns aw into −aw
                difference = mp.sign(difference0) * mp.sqrt(
                    self._riccati(difference0**2, -mp.mpf(self.rho), t)
                )
            else:
                total = mp.sign(sum0) * mp.sqrt(self.squared_sum(t))
                difference = sum0 * difference0 / total
            return (total + difference) / 2, (total - difference) / 2

    def thetas(self, ts) -> np.ndarray:
        """(w, a) at times ts, (T, 2): first layer first, as θ runs."""
        rows = [self.state(mp.mpf(float(t))) for t in ts]
        return np.array([[float(w), float(a)] for a, w in rows])

    def _roots(self, rho) -> tuple[mp.mpf, mp.mpf]:
        imbalance = mp.mpf(self.a0) ** 2 - mp.mpf(self.w0) ** 2
        root = mp.sqrt(4 * rho**2 + self.s**2 * imbalance**2)
        return (2 * rho + root) / self.s, (2 * rho - root) / self.s

    def _riccati(self, start, rho, t) -> mp.mpf:
        upper, lower = self._roots(rho)
        if upper == lower:  # ρ = C = 0: M′ = −(s/2)M²
            return start / (1 + self.s * start * t / 2)
        if start == lower:  # the unstable rest point
            return start
        k = (start - upper) / (start - lower) * mp.exp(-self.s / 2 * (upper - lower) * t)
        return (upper - k * lower) / (1 - k)
