"""Problems whose gradient flow has a closed form, with starts and save times, for the `analytic` claims."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.papers import closed_forms
from thetadot.papers.workbench import Workbench
from thetadot.problems import EmpiricalRisk, FunctionRisk, linear, squared

MODES = {2: ((2.0, 0.7, 0.3), (0.03, 0.02, 0.05)), 3: ((2.0, 0.9), (0.2, 0.15)), 4: ((1.5, 0.0), (0.4, 0.3))}
WIDTHS = {2: (6, 5, 4), 3: (4, 5, 4, 3), 4: (4, 3, 4, 3, 5)}
SCALAR_STARTS = {"imbalanced": (0.3, -1.2, 1.0), "balanced": (0.01, 0.01, 1.0), "negative": (1.5, 0.2, -1.0)}


@dataclasses.dataclass(frozen=True)
class System:
    """A problem, a start, save times (T,), and the closed form: times (T,) → θ (T, P)."""

    problem: Any
    theta0: Float[np.ndarray, " P"]
    ts: Float[np.ndarray, " T"]
    truth: Callable


class Valley(eqx.Module):
    """½‖Fθ‖². The factor, not A = FᵀF, is kept: rounding A would move its smallest eigenvalues."""

    factor: Float[Array, "n n"]

    def __call__(self, theta: Float[Array, " n"]) -> Float[Array, ""]:
        return 0.5 * jnp.sum((self.factor @ theta) ** 2)


def quadratic_valley(workbench: Workbench) -> System:
    """Ten directions, eigenvalues 1 … 1e-10, turned at random, t to 1e8."""
    rng = np.random.default_rng(0)
    basis, rates = np.linalg.qr(rng.normal(size=(10, 10)))[0], np.geomspace(1.0, 1e-10, 10)
    theta0 = rng.normal(size=10)
    problem = FunctionRisk(Valley(jnp.asarray(np.sqrt(rates)[:, None] * basis.T)), jnp.asarray(theta0))
    ts = np.concatenate([[0.0], np.geomspace(1e-2, 1e8, 41)])
    return System(problem, theta0, ts, lambda times: closed_forms.quadratic(rates, basis, theta0, times))


def scalar_network(workbench: Workbench, start: str) -> System:
    """f(x) = a·w·x on 20 noisy samples; `start` names (a, w, sign of the correlation)."""
    a0, w0, sign = SCALAR_STARTS[start]
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 1))
    problem = EmpiricalRisk(linear([1, 1, 1]), squared, x, sign * 0.8 * x + 0.3 * rng.normal(size=(20, 1)))
    s, rho = moments(problem)
    ts = np.concatenate([[0.0], np.geomspace(1e-2, 60.0, 40)])
    return System(problem, np.array([w0, a0]), ts, lambda t: closed_forms.scalar_linear(a0, w0, s, rho, t))


def moments(problem: EmpiricalRisk) -> tuple[float, float]:
    """s = mean x² and ρ = mean xy, which are all that a scalar linear network sees of its data."""
    return float(jnp.mean(problem.x**2)), float(jnp.mean(problem.x * problem.y))


def deep_network(workbench: Workbench, depth: int) -> System:
    """A deep linear network on whitened inputs from W_l = R_l diag(σ) R_{l−1}ᵀ with orthonormal R_l."""
    (strengths, starts), widths = MODES[depth], WIDTHS[depth]
    frames = frames_of(depth)
    noise = np.random.default_rng(3).normal(size=(30, widths[0]))
    x = np.sqrt(30) * np.linalg.qr(noise)[0]
    y = x @ frames[0] @ np.diag(strengths) @ frames[-1].T

    def truth(times) -> np.ndarray:
        modes = zip(strengths, starts, strict=True)
        sigmas = np.stack(
            [closed_forms.deep_linear_mode(s, start, depth, times) for s, start in modes], axis=1
        )
        layers = [np.einsum("ik,tk,jk->tij", frames[k + 1], sigmas, frames[k]) for k in range(depth)]
        return np.concatenate([layer.reshape(len(layer), -1) for layer in layers], axis=1)

    ts = np.concatenate([[0.0], np.geomspace(1e-2, 60.0, 30)])
    return System(EmpiricalRisk(linear(list(widths)), squared, x, y), truth([0.0])[0], ts, truth)


def frames_of(depth: int) -> list[np.ndarray]:
    """R_0 … R_depth, each (width, modes) with orthonormal columns."""
    rng, modes = np.random.default_rng(2), len(MODES[depth][0])
    return [np.linalg.qr(rng.normal(size=(width, modes)))[0] for width in WIDTHS[depth]]


SYSTEMS: dict[str, tuple] = {
    "quadratic": (quadratic_valley,),
    **{f"scalar {start}": (scalar_network, start) for start in SCALAR_STARTS},
    **{f"depth {depth}": (deep_network, depth) for depth in MODES},
}
