"""Problems with known flows: the problem, a start, save times, and θ at those times from `tests.oracles`."""

import dataclasses
import functools
import itertools
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.integrate import solve_ivp

import thetadot as td
from tests.oracles import deep_linear, quadratic, scalar_linear, squared_relu, sundials, tanh_network


@dataclasses.dataclass(frozen=True)
class Case:
    """A problem whose flow is known.

    Attributes:
        problem, theta0 (P,), ts (T,): what to run; ts[0] = 0.
        truth: θ (T, P) at ts, from an oracle.
    """

    problem: td.Problem
    theta0: np.ndarray
    ts: np.ndarray
    truth: np.ndarray

    def follow(self, **settings) -> td.Path:
        """The path by `flow`."""
        end = td.Until(time=float(self.ts[-1]))
        start = jnp.asarray(self.theta0)
        return td.flow(self.problem, start, until=end, saves=self.ts, progress=False, **settings)

    def error(self, path: td.Path) -> float:
        """max over the saves of ‖θ − θ*‖/‖θ*‖."""
        assert np.array_equal(path.ts, self.ts)
        distances = np.linalg.norm(path.thetas - self.truth, axis=1)
        return float((distances / np.linalg.norm(self.truth, axis=1)).max())


class HalfSquare(eqx.Module):
    """½‖Fθ‖²."""

    factor: Float[Array, "n n"]

    def __call__(self, theta: Float[Array, " n"]) -> Float[Array, ""]:
        return 0.5 * jnp.sum((self.factor @ theta) ** 2)


def _times(first: float, last: float, count: int) -> np.ndarray:
    return np.concatenate([[0.0], np.geomspace(first, last, count)])


def ill_conditioned_quadratic(end: float = 1e8) -> Case:
    """Eight directions, condition number 1e10."""
    factor, theta0 = quadratic.ill_conditioned_factor(8, 1e10, seed=11), np.linspace(1.0, 2.0, 8)
    ts = _times(1e-1, end, 25)
    problem = td.FunctionRisk(HalfSquare(jnp.asarray(factor)), jnp.asarray(theta0))
    return Case(problem, theta0, ts, quadratic.QuadraticFlow(factor, theta0).thetas(ts))


def scalar_network(a0: float, w0: float, sign: float, rows: int = 25) -> Case:
    """f = a·w·x on 20 samples with mean xy of the given sign."""
    rng = np.random.default_rng(12)
    x = rng.normal(size=(20, 1))
    y = sign * 0.9 * x + 0.2 * rng.normal(size=(20, 1))
    ts = _times(1e-1, 40.0, rows)
    truth = scalar_linear.ScalarLinearFlow(a0, w0, *scalar_linear.moments(x, y)).thetas(ts)
    problem = td.EmpiricalRisk(td.linear([1, 1, 1]), td.squared, x, y)
    return Case(problem, np.array([w0, a0]), ts, truth)


def deep_network(widths: tuple[int, ...], strengths: tuple[float, ...], starts: tuple[float, ...]) -> Case:
    """A deep linear network from a spectral start on whitened inputs."""
    flow = deep_linear.spectral_flow(widths, strengths, starts, 13)
    x, y = flow.data(30, seed=14)
    ts = _times(1e-1, 40.0, 9)
    truth = flow.thetas(ts)
    return Case(td.EmpiricalRisk(td.linear(list(widths)), td.squared, x, y), truth[0], ts, truth)


def teacher_student(end: float = 1e6) -> Case:
    """The tanh teacher and student of d = 3, width 5, N = 1000; truth by CVODE at 1e-12."""
    network, theta0 = tanh_network.teacher_student()
    ts = _times(1e-2, end, 25)
    problem = td.EmpiricalRisk(td.mlp([3, 5, 1], "tanh"), td.squared, network.x, network.y)
    truth = sundials.cvode_flow(network.gradient, theta0, ts, hessian=network.hessian, rtol=1e-12)
    return Case(problem, theta0, ts, truth)


def squared_relu_escape(scale: float = 1e-2) -> Case:
    """20 squared-ReLU neurons from a small start past their escape; truth by Dormand–Prince 8(5,3)."""
    network, start = squared_relu.benchmark_network()
    theta0 = scale * start / np.linalg.norm(start)
    escape = squared_relu.predict_escape(network, start).time(scale)
    ts = np.concatenate(
        [[0.0], escape - np.geomspace(0.9 * escape, 3.0, 12), escape + np.linspace(3.0, 200.0, 12)]
    )
    # At rtol 1e-12 the chatter at the kinks moves the escape by 3e-8 from one BLAS kernel to another; at the
    # tightest tolerance, restarted at each save to avoid interpolation, by 2e-9.
    truth = [theta0]
    for begin, end in itertools.pairwise(ts):
        leg = solve_ivp(
            lambda _, theta: -network.gradient(theta),
            (begin, end),
            truth[-1],
            method="DOP853",
            rtol=3e-14,
            atol=1e-14 * scale,
        )
        truth.append(leg.y[:, -1])
    problem = td.EmpiricalRisk(td.two_layer(10, 20, "squared_relu"), td.squared, network.x, network.y)
    return Case(problem, theta0, ts, np.array(truth))


MAKERS: dict[str, Callable[[], Case]] = {
    "quadratic": ill_conditioned_quadratic,
    "scalar imbalanced": functools.partial(scalar_network, 0.3, -1.2, 1.0),
    "scalar balanced": functools.partial(scalar_network, 0.01, 0.01, 1.0),
    "scalar negative": functools.partial(scalar_network, 1.5, 0.2, -1.0),
    "two linear layers": functools.partial(deep_network, (6, 5, 4), (2.0, 0.7, 0.3), (0.05, 0.04, 0.1)),
    "three linear layers": functools.partial(deep_network, (4, 5, 4, 3), (2.0, 0.9), (0.2, 0.3)),
    "teacher and student": functools.partial(teacher_student, 1e4),
    "squared ReLU": squared_relu_escape,
}


@functools.cache
def case(name: str) -> Case:
    """The case of this name, built once."""
    return MAKERS[name]()
