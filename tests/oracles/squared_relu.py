"""Two-layer squared-ReLU networks from small starts: when does the flow leave the origin?

f(x) = Σ_j a_j max(0, ⟨w_j, x⟩)², degree 3, L = 1/(2N) Σ (f − y)². Near the origin −∇L = ∇𝒩 + O(‖θ‖⁵) with
the neural correlation function 𝒩(θ) = (1/N) Σ_i y_i f(x_i; θ), so that θ(t) ≈ δ·u(δt) with u′ = ∇𝒩(u), which
blows up at T* in a direction w*. After that all starts follow the orbit of the full flow that leaves the
origin along w*. Both parts are integrated here with SciPy, the first in the direction and the logarithm of
the radius, where it costs nothing. θ is (W row-major; a): first layer first.
"""

import dataclasses

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq


@dataclasses.dataclass(frozen=True)
class SquaredReluNetwork:
    """Risk on x (N, d), y (N,) with `width` neurons."""

    x: np.ndarray
    y: np.ndarray
    width: int

    def loss(self, theta: np.ndarray) -> float:
        """L(θ)."""
        w, a = self._split(theta)
        return 0.5 * float(np.mean((np.maximum(self.x @ w.T, 0) ** 2 @ a - self.y) ** 2))

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """∇L(θ), (P,)."""
        w, a = self._split(theta)
        residuals = self.y - np.maximum(self.x @ w.T, 0) ** 2 @ a
        return -self._ascent(theta, residuals)

    def correlation_gradient(self, theta: np.ndarray) -> np.ndarray:
        """∇𝒩(θ), (P,)."""
        return self._ascent(theta, self.y)

    def _split(self, theta):
        cut = self.width * self.x.shape[1]
        return theta[:cut].reshape(self.width, -1), theta[cut:]

    def _ascent(self, theta, labels):
        w, a = self._split(theta)
        active = np.maximum(self.x @ w.T, 0)
        to_w = 2 * a[:, None] * ((active * labels[:, None]).T @ self.x)
        return np.concatenate([to_w.ravel(), (active**2).T @ labels]) / labels.size


@dataclasses.dataclass(frozen=True)
class EscapePrediction:
    """The walk out of the origin.

    Attributes:
        blow_up_time: T* of the correlation flow from the unit start.
        multiplier: λ = 3𝒩(w*).
        direction: w*, (P,), dead neurons exactly zero.
        delay: τ, from the clock T*/δ to the crossing of `level` on the limiting path (may be negative).
        level: the loss halfway between the origin and the first saddle.
        saddle_loss: loss at the first saddle.
    """

    blow_up_time: float
    multiplier: float
    direction: np.ndarray
    delay: float
    level: float
    saddle_loss: float

    def time(self, scale: float) -> float:
        """Time at which the flow from scale·θ0/‖θ0‖ crosses `level`."""
        return self.blow_up_time / scale + self.delay


def predict_escape(
    network: SquaredReluNetwork, start: np.ndarray, *, start_radius: float = 1e-4
) -> EscapePrediction:
    """T*, w* and the delay for the start δ·start/‖start‖, δ → 0."""
    blow_up, direction, multiplier = _correlation_flow(network, start / np.linalg.norm(start))
    norms = _neuron_norms(network, direction)
    alive = norms > 1e-3 * norms.max()
    direction, multiplier = _polish(network, direction * _mask(network, alive))
    clock = -1 / (multiplier * start_radius)
    path = solve_ivp(
        lambda _, theta: -network.gradient(theta),
        (clock, clock + 1 / (multiplier * start_radius) + 4000 / multiplier),
        start_radius * direction,
        method="DOP853",
        rtol=1e-11,
        atol=1e-15,
        dense_output=True,
    )
    origin, saddle = 0.5 * float(np.mean(network.y**2)), network.loss(path.y[:, -1])
    level = 0.5 * (origin + saddle)
    losses = np.array([network.loss(theta) for theta in path.y.T])
    after = int(np.argmax(losses < level))
    delay = brentq(lambda t: network.loss(path.sol(t)) - level, path.t[after - 1], path.t[after], xtol=1e-10)
    return EscapePrediction(blow_up, multiplier, direction, float(delay), level, saddle)


def _correlation_flow(network, direction, log_growth: float = 25.0):
    size = direction.size

    def field(_, state):
        unit = state[:size] / np.linalg.norm(state[:size])
        ascent = network.correlation_gradient(unit)
        rate = ascent @ unit
        return np.concatenate([ascent - rate * unit, [rate, np.exp(-state[size])]])

    def grown(_, state):
        return state[size] - log_growth

    grown.terminal = True
    start = np.concatenate([direction, [0.0, 0.0]])
    run = solve_ivp(field, (0, 1e6), start, method="DOP853", rtol=1e-12, atol=1e-15, events=grown)
    unit = run.y[:size, -1] / np.linalg.norm(run.y[:size, -1])
    multiplier = float(network.correlation_gradient(unit) @ unit)
    return run.y[size + 1, -1] + np.exp(-run.y[size, -1]) / multiplier, unit, multiplier


def _polish(network, direction):
    for _ in range(20_000):  # shifted power iteration: ∇𝒩(w) = λw, with the live neurons only
        previous, direction = direction, network.correlation_gradient(direction) + 0.05 * direction
        direction /= np.linalg.norm(direction)
        if np.abs(direction - previous).max() < 1e-16:
            break
    return direction, float(network.correlation_gradient(direction) @ direction)


def _neuron_norms(network, theta):
    w, a = network._split(theta)
    return np.hypot(np.linalg.norm(w, axis=1), a)


def _mask(network, alive):
    return np.concatenate([np.repeat(alive, network.x.shape[1]), alive]).astype(float)


def benchmark_network() -> tuple[SquaredReluNetwork, np.ndarray]:
    """20 neurons, 60 unit inputs in R¹⁰, y = 5x₁₊² + 4x₂₊² − 3x₁₋²; and a start (P,), not normalised."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 10))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    positive, negative = np.maximum(x, 0), np.maximum(-x, 0)
    y = 5 * positive[:, 0] ** 2 + 4 * positive[:, 1] ** 2 - 3 * negative[:, 0] ** 2
    drawn = rng.normal(size=220)
    return SquaredReluNetwork(x, y, 20), np.concatenate([drawn[20:], drawn[:20]])  # drawn as (a; W)
