"""A tanh network with one hidden layer and one output, its loss, gradient and Hessian by hand in NumPy.

θ runs first-layer weight (width, d) row-major, first bias (width), second-layer weight (width), second
bias (1); L = 1/(2N) Σ (f(x) − y)².
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class TanhNetwork:
    """Risk of f(x) = Σ_j a_j tanh(⟨w_j, x⟩ + b_j) + c on x (N, d), y (N,)."""

    x: np.ndarray
    y: np.ndarray
    width: int

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.width * (self.x.shape[1] + 2) + 1

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """(w (width, d), b (width,), a (width,), c)."""
        cut = self.width * self.x.shape[1]
        w = theta[:cut].reshape(self.width, -1)
        return w, theta[cut : cut + self.width], theta[cut + self.width : -1], theta[-1]

    def loss(self, theta: np.ndarray) -> float:
        """L(θ)."""
        return 0.5 * float(np.mean(self._forward(theta)[1] ** 2))

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """∇L(θ), (P,)."""
        _, error, jacobian = self._forward(theta)
        return jacobian.T @ error / error.size

    def hessian(self, theta: np.ndarray) -> np.ndarray:
        """∇²L(θ), (P, P): JᵀJ/N plus the residuals times each neuron's own second derivatives."""
        hidden, error, jacobian = self._forward(theta)
        samples, d = self.x.shape
        a = self.split(theta)[2]
        full = jacobian.T @ jacobian / samples
        slope = 1 - hidden**2
        curvature = -2 * hidden * slope
        inputs = np.hstack([self.x, np.ones((samples, 1))])
        for j in range(self.width):
            incoming = [*range(j * d, (j + 1) * d), self.width * d + j]
            outgoing = self.width * (d + 1) + j
            weighted = (error * a[j] * curvature[:, j])[:, None] * inputs
            full[np.ix_(incoming, incoming)] += inputs.T @ weighted / samples
            mixed = inputs.T @ (error * slope[:, j]) / samples
            full[incoming, outgoing] += mixed
            full[outgoing, incoming] += mixed
        return full

    def _forward(self, theta: np.ndarray):
        w, b, a, c = self.split(theta)
        hidden = np.tanh(self.x @ w.T + b)
        error = hidden @ a + c - self.y
        back = a * (1 - hidden**2)
        samples = self.x.shape[0]
        to_weights = (back[:, :, None] * self.x[:, None, :]).reshape(samples, -1)
        jacobian = np.hstack([to_weights, back, hidden, np.ones((samples, 1))])
        return hidden, error, jacobian


def teacher_student(
    seed: int = 0, d: int = 3, width: int = 5, samples: int = 1000
) -> tuple[TanhNetwork, np.ndarray]:
    """The risk of a student of a tanh teacher of the same shape on Gaussian inputs, and a start θ0 (P,)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, d))
    teacher = TanhNetwork(x, np.zeros(samples), width)
    truth = rng.normal(size=teacher.size)
    y = teacher._forward(truth)[1]
    return TanhNetwork(x, y, width), rng.normal(size=teacher.size) / np.sqrt(d)
