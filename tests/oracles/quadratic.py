"""θ̇ = −Aθ, the flow of L = ½‖Fθ‖² with A = FᵀF: exact for the very floats of F, however ill-conditioned."""

import mpmath as mp
import numpy as np

DIGITS = 50


def ill_conditioned_factor(size: int, condition: float, seed: int) -> np.ndarray:
    """F (size, size), randomly turned, whose FᵀF has eigenvalues from 1 to 1/condition, evenly in log."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(size, size)))[0]
    return np.sqrt(np.geomspace(1.0, 1.0 / condition, size))[:, None] * rotation.T


class QuadraticFlow:
    """exp(−At)θ0 in the eigenbasis of A = FᵀF, formed and diagonalised with 50 digits.

    Rounding a matrix A to float64 moves its smallest eigenvalue by 1e-16 of the largest, which at condition
    1e10 and t = 1e8 already shows in the ninth digit; so A is never rounded here.
    """

    def __init__(self, factor: np.ndarray, theta0: np.ndarray):
        with mp.workdps(DIGITS):
            exact = mp.matrix(factor.tolist())
            self.matrix = exact.T * exact
            self.eigenvalues, self.basis = mp.eigsy(self.matrix)
            self.theta0 = mp.matrix(theta0.tolist())
            self._coefficients = self.basis.T * self.theta0

    def state(self, t) -> mp.matrix:
        """θ(t) with 50 digits."""
        with mp.workdps(DIGITS):
            decays = [
                mp.exp(-rate * t) * c for rate, c in zip(self.eigenvalues, self._coefficients, strict=True)
            ]
            return self.basis * mp.matrix(decays)

    def thetas(self, ts) -> np.ndarray:
        """θ at times ts, (T, n), rounded once."""
        return np.array([[float(x) for x in self.state(mp.mpf(float(t)))] for t in ts])

    def loss(self, t) -> float:
        """L(θ(t)) = ½ θᵀAθ."""
        with mp.workdps(DIGITS):
            theta = self.state(mp.mpf(float(t)))
            return float((theta.T * self.matrix * theta)[0] / 2)
