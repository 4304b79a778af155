"""Data of dynamics on graphs: independent states with their derivatives, observed series, and training on them."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.problems import EmpiricalRisk
from thetadot.problems.checks import Numbers
from thetadot.problems.layout import Layout
from thetadot.simulators.checks import as_numbers, in_range
from thetadot.simulators.errors import MatrixError, SettingError
from thetadot.simulators.graph import Graph
from thetadot.simulators.graph_field import GraphField, absolute_with_spread
from thetadot.simulators.node_dynamics import NodeDynamics

_GAP_SPREAD, _SMALLEST_GAP = 0.5, 0.1
_MOST_STEPS, _EXACT = 4096, 1e-9


def independent_states(
    key: PRNGKeyArray,
    dynamics: NodeDynamics,
    graph: Graph,
    *,
    samples: int,
    low: float = 0.0,
    high: float = 1.0,
) -> tuple[Float[Array, "N n d"], Float[Array, "N n d"]]:
    """States with independent uniform entries, and their derivatives.

    Arguments:
        key: the draw. dynamics, graph: what moves. samples: N. low, high: range of every entry.

    Returns:
        (states (N, n, d), derivatives (N, n, d)).

    Raises:
        SettingError: no samples, or low ≥ high. DomainError: states where the dynamics is not defined.

    Example:
        >>> from thetadot.simulators import erdos_renyi, heat_diffusion
        >>> x, y = independent_states(
        ...     jax.random.key(0), heat_diffusion(), erdos_renyi(jax.random.key(1), 5, 0.5), samples=3)
        >>> x.shape, bool(abs(y.sum()) < 1e-12)
        ((3, 5, 1), True)
    """
    if samples < 1 or not low < high:
        raise SettingError(f"{samples} samples from {low:g} to {high:g}: expected some, and low < high")
    states = jax.random.uniform(key, (samples, graph.size, dynamics.components), minval=low, maxval=high)
    dynamics.require_domain(states)
    return states, _derivatives(dynamics, graph, states)


@eqx.filter_jit
def _derivatives(dynamics: NodeDynamics, graph: Graph, states: Array) -> Array:
    return jax.vmap(lambda one: dynamics(one, graph))(states)


@eqx.filter_jit
def _solved(dynamics: NodeDynamics, graph: Graph, starts: Array, times: Array) -> Array:
    def one(start, ts):
        return _along(lambda t, x, _: dynamics(x, graph), start, ts, _EXACT, 16 * _MOST_STEPS)

    return jax.vmap(one)(starts, times)


def _along(field: Callable, start: Array, times: Array, rtol: float, most: int, args: Any = None) -> Array:
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field), diffrax.Tsit5(), times[0], times[-1], None, start, args,
        saveat=diffrax.SaveAt(ts=times), stepsize_controller=diffrax.PIDController(rtol=rtol, atol=1e-3 * rtol),
        max_steps=most,
    )  # fmt: skip
    assert solution.ys is not None
    return solution.ys


def observed_series(
    key: PRNGKeyArray,
    dynamics: NodeDynamics,
    graph: Graph,
    *,
    series: int,
    times: Numbers,
    noise: float = 0.0,
    irregular: bool = False,
    low: float = 0.0,
    high: float = 1.0,
) -> tuple[Float[Array, "K T"], Float[Array, "K T n d"]]:
    """Series of states from independent uniform starts, observed with noise.

    Arguments:
        key: the draw. dynamics, graph: what moves. series: K.
        times: (T,), ascending, at which states are observed; the first is that of the start.
        noise: standard deviation of Gaussian noise on every observed number.
        irregular: each series at times of its own: Gaussian gaps around their mean with half of it as standard
            deviation, not below a tenth of it, rescaled to the span of `times`.
        low, high: range of every entry of a start.

    Returns:
        (times (K, T), states (K, T, n, d)), integrated to a relative tolerance of 1e-9.

    Raises:
        SettingError: no series, times that do not ascend, a negative noise.

    Example:
        >>> from thetadot.simulators import erdos_renyi, heat_diffusion
        >>> graph = erdos_renyi(jax.random.key(1), 4, 0.7)
        >>> ts, xs = observed_series(
        ...     jax.random.key(0), heat_diffusion(), graph, series=2, times=np.linspace(0, 1.5, 4))
        >>> ts.shape, xs.shape
        ((2, 4), (2, 4, 4, 1))
    """
    grid = as_numbers(times, "times", 1)
    if series < 1 or len(grid) < 2 or np.any(np.diff(grid) <= 0):
        raise SettingError(
            f"{series} series at {len(grid)} times: expected some, and at least 2 ascending times"
        )
    in_range(noise, "noise", 0.0)
    draw_start, draw_gaps, draw_noise = jax.random.split(key, 3)
    every = jnp.broadcast_to(jnp.asarray(grid)[None], (series, len(grid)))
    if irregular:
        drawn = 1 + _GAP_SPREAD * jax.random.normal(draw_gaps, (series, len(grid) - 1))
        gaps = jnp.maximum(drawn, _SMALLEST_GAP)
        passed = jnp.cumsum(gaps, axis=1) / gaps.sum(axis=1, keepdims=True)
        every = jnp.concatenate([every[:, :1], grid[0] + (grid[-1] - grid[0]) * passed], axis=1)
    shape = (series, graph.size, dynamics.components)
    starts = jax.random.uniform(draw_start, shape, minval=low, maxval=high)
    states = _solved(dynamics, graph, starts, every)
    return every, states + noise * jax.random.normal(draw_noise, states.shape)


class FieldSeries(eqx.Module):
    """A graph field integrated from a first state: the network of a trajectory problem.

    One sample is (T + n·d,): its times, then the first state row by row; the prediction its states (T, n, d).
    """

    field: GraphField
    rows: int = eqx.field(static=True)
    rtol: float = eqx.field(static=True)

    @property
    def size(self) -> int:
        """P, of the field."""
        return self.field.size

    @property
    def layout(self) -> Layout:
        """That of the field."""
        return self.field.layout

    @property
    def time_scale(self) -> float:
        """1.0."""
        return 1.0

    @property
    def description(self) -> str:
        """The field, and how long a series is."""
        return f"series of {self.rows} states of a {self.field.description}"

    def initial(self, key: PRNGKeyArray, scale: float | Array = 1.0) -> Float[Array, " P"]:
        """As the field."""
        return self.field.initial(key, scale)

    def evaluate(self, theta: Float[Array, " P"], sample: Float[Array, "..."]) -> Float[Array, "T n d"]:
        """States (T, n, d) at the times of the sample."""
        shape = (self.field.graph.size, self.field.components)
        times, start = sample[: self.rows], sample[self.rows :].reshape(shape)

        def velocity(t, x, parameters):
            return self.field.evaluate(parameters, x)

        return _along(velocity, start, times, self.rtol, _MOST_STEPS, theta)


def trajectory_problem(
    field: GraphField, times: Numbers, states: Numbers, *, rtol: float = 1e-6
) -> EmpiricalRisk:
    """Training on series: the field is integrated from the first state of each window and compared with the rest.

    The loss of a window is the mean of |error| over its states. Gradients are those of the discretised solution; second
    derivatives are not available, since diffrax's checkpointed adjoint has none.

    Arguments:
        field: the network. times: (K, T), ascending. states: (K, T, n, d), one window each. rtol: of the integrator.

    Returns:
        An `EmpiricalRisk` with K samples.

    Raises:
        MatrixError: shapes that do not fit together. SettingError: times that do not ascend.

    Example:
        >>> from thetadot.simulators import erdos_renyi, graph_field
        >>> field = graph_field(erdos_renyi(jax.random.key(0), 4, 0.5), width=2, channels=2)
        >>> trajectory_problem(field, np.array([[0.0, 1.0]]), np.ones((1, 2, 4, 1))).samples
        1
    """
    ts, xs = as_numbers(times, "times", 2), as_numbers(states, "states", 4)
    nodes = (field.graph.size, field.components)
    if ts.shape != xs.shape[:2] or xs.shape[2:] != nodes:
        raise MatrixError(
            f"times {ts.shape} and states {xs.shape} do not fit: expected (K, T) and (K, T, {nodes[0]}, {nodes[1]})"
        )
    if ts.shape[1] < 2 or np.any(np.diff(ts, axis=1) <= 0):
        raise SettingError("times must ascend along every window, at least 2 of them")
    in_range(rtol, "rtol", 0.0, 1.0, open_low=True)
    samples = np.concatenate([ts, xs[:, 0].reshape(len(xs), -1)], axis=1)
    return EmpiricalRisk(FieldSeries(field, ts.shape[1], float(rtol)), absolute_with_spread(0.0), samples, xs)
