"""Which coordinates a network's reduced flow takes: how each starts, what it watches, how its rows are read."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thetadot.conservation.balance import imbalance, offsets_of
from thetadot.conservation.errors import (
    NotRelaxedBalancedError,
    RankDropError,
    UnsupportedArchitectureError,
    ZeroWeightError,
)
from thetadot.conservation.gauge import (
    PathChart,
    PathField,
    chart_at,
    gauge_field,
    gauge_parameters,
    path_parameters,
    smallest_path,
    worn_out,
)
from thetadot.conservation.known_laws import rescalings_of
from thetadot.conservation.lift import Lift, LinearLift, MonomialLift
from thetadot.conservation.linear_reduction import (
    augmented_linear_field,
    beyond_of,
    relaxed_velocity,
)
from thetadot.conservation.path_lift import PathLift
from thetadot.conservation.reduced_path import ReducedStatus
from thetadot.conservation.relu_reduction import (
    Context,
    crossed,
    parameters_of,
    product_field,
    products_of,
    renewed,
    turned,
)
from thetadot.dynamics import Event, Flow
from thetadot.problems.chain import Chain

_RELAXED = 1e-8
_RANK_FLOOR = 1e-7
_RANK_LOST = (
    0.02  # of its value before; dense output is rough across the kink where a singular value vanishes
)


@dataclasses.dataclass
class ReducedRun:
    """One kind of coordinates: how to start, what to watch, how to go on after an event, how to read rows.

    Where `renew` is missing or returns None, the run ends with the status `final`.
    """

    coordinates: str
    flow: Flow
    state: Any
    read: Callable[[Any, Any], tuple[Any, Any]]
    events: list[Event] = dataclasses.field(default_factory=list)
    renew: Callable[[Any, Any], tuple[Flow, Any] | None] | None = None
    final: ReducedStatus = ReducedStatus.STOPPED
    residual: Callable[[Any, Any], np.ndarray] | None = None


def choose(problem: Any, lift: Lift, theta: np.ndarray, coordinates: str) -> ReducedRun:
    """The coordinates that fit, set up at θ₀."""
    if isinstance(lift, LinearLift):
        if coordinates in ("auto", "closed"):
            found = imbalance(lift, theta, _RELAXED)
            if found.relaxed:
                return _closed_linear(problem, lift, theta, found.values)
            if coordinates == "closed" or lift.depth != 2:
                raise NotRelaxedBalancedError(
                    f"the start is not relaxed balanced (residual {float(found.residuals.max()):.2g}, at most "
                    f"{_RELAXED:g}): the product alone need not determine its flow; kernel_test(lift, theta0) "
                    'tells, and "augmented" works for two layers'
                )
        if coordinates in ("auto", "augmented") and lift.depth == 2:
            return _augmented(problem, lift, theta)
    elif isinstance(lift, (PathLift, MonomialLift)):
        chain = getattr(problem.network, "chain", None)
        two_layer = isinstance(chain, Chain) and len(chain.widths) == 3 and _is_gated(lift)
        if coordinates in ("auto", "closed") and two_layer:
            return _closed_relu(problem, lift, theta, problem.network.chain)
        if coordinates in ("auto", "gauge"):
            return _gauge(problem, lift, theta)
        if coordinates == "paths":
            return _paths(problem, lift, theta)
    raise UnsupportedArchitectureError(
        f"coordinates {coordinates!r} do not fit {problem.description}: linear networks take closed or augmented, "
        "two-layer ReLU closed, gated networks gauge or paths"
    )


def _is_gated(lift: Lift) -> bool:
    return isinstance(lift, PathLift) and not lift.graph.linear.any()


@jax.jit
def _product_slope(z: Array, problem: Any) -> Array:
    chain = problem.network.chain

    def risk(product: Array) -> Array:
        outputs = chain.output_scale * (problem.x @ product.T)
        return jnp.mean(jax.vmap(problem.sample_loss)(outputs, problem.y))

    return problem.time_scale * jax.grad(risk)(z)


class _Directions(NamedTuple):
    """Arguments of a closed linear flow; `left` (n, r) and `right` (m, r) were singular vectors of z not long ago, and
    `smallest` the last singular value."""

    problem: Any
    offsets: Array
    ahead: Array
    behind: Array
    left: Array
    right: Array
    smallest: Array


class _ClosedLinear(eqx.Module):
    rank: int

    def __call__(self, z: Array, args: _Directions) -> Array:
        slope = _product_slope(z, args.problem)
        return relaxed_velocity(z, slope, args.offsets, (args.ahead, args.behind), self.rank)


def _block_determinant(z: Array, args: _Directions) -> Array:
    """Changes its sign where z loses rank, which the singular values, being positive, do not; it also does where the
    singular vectors have turned by a right angle."""
    return jnp.linalg.det(args.left.T @ z @ args.right)


def _closed_linear(problem: Any, lift: LinearLift, theta: np.ndarray, values: np.ndarray) -> ReducedRun:
    z = np.asarray(lift(jnp.asarray(theta))).reshape(lift.widths[-1], lift.widths[0])
    values = np.where(np.abs(values) <= _RELAXED * (theta @ theta), 0.0, values)
    ahead, behind, rank = beyond_of(values, (z.shape[0], z.shape[1]), min(lift.widths[1:-1], default=None))
    needs = _needs_rank(lift, values)

    def directions(product: np.ndarray, floor: float) -> _Directions | None:
        left, sigma, right = np.linalg.svd(product, full_matrices=False)
        if needs and sigma[rank - 1] <= floor:
            return None
        arrays = (offsets_of(values), ahead, behind, left[:, :rank], right[:rank].T, sigma[rank - 1])
        return _Directions(problem, *(jnp.asarray(part) for part in arrays))

    args = directions(z, _RANK_FLOOR * float(np.linalg.norm(theta)) ** lift.depth)
    if args is None or rank < needs:
        raise RankDropError(
            f"{max(needs, rank)} directions of the hidden layer carry weight, z has fewer: its flow is not a "
            "function of z from here; kernel_test shows it"
        )
    flow = Flow(_ClosedLinear(rank), args)

    def renew(found: Any, args: _Directions) -> tuple[Flow, Any] | None:
        fresh = directions(np.asarray(found), _RANK_LOST * float(args.smallest))
        return None if fresh is None else (Flow(flow.field, fresh), found)

    residual = float(imbalance(lift, theta).residuals.max(initial=0.0))
    return ReducedRun(
        "closed",
        flow,
        jnp.asarray(z),
        lambda states, _: (states, None),
        [Event(_block_determinant, name="new directions", terminal=True)] if needs else [],
        renew,
        ReducedStatus.RANK_DROP,
        lambda states, _: np.full(len(states), residual),
    )


def _needs_rank(lift: LinearLift, values: np.ndarray) -> int:
    """Rank that z must keep: 0 if z may lose rank; the width of the layer whose weights fill one side only partly."""
    needed = 0
    for layer, value in enumerate(values, start=1):
        width = lift.widths[layer]
        side = lift.widths[-1] if value > 0 else lift.widths[0]
        if value != 0 and width < side:
            needed = max(needed, width)
    return needed


class _Augmented(eqx.Module):
    outputs: int

    def __call__(self, s: Array, problem: Any) -> Array:
        return augmented_linear_field(lambda z: _product_slope(z, problem), self.outputs)(s)


def _augmented(problem: Any, lift: LinearLift, theta: np.ndarray) -> ReducedRun:
    first, second = lift.factors(theta)
    stack = np.concatenate([second, first.T])
    outputs = lift.widths[-1]

    def read(states: Any, _: Any) -> tuple[np.ndarray, None]:
        return np.asarray(states)[:, :outputs, outputs:], None

    def residual(states: Any, _: Any) -> np.ndarray:
        # tr (SJ)^k = tr (YᵀJY)^k: what the balancedness laws say about S.
        sign = np.concatenate([np.ones(outputs), -np.ones(len(stack) - outputs)])
        powers, traces, sizes = states * sign, [], []
        current = powers
        for _k in range(min(4, stack.shape[1])):
            traces.append(np.trace(current, axis1=1, axis2=2))
            sizes.append(np.linalg.norm(powers, axis=(1, 2)).max() ** (_k + 1))
            current = current @ powers
        return np.max([np.abs(t - t[0]) / size for t, size in zip(traces, sizes, strict=True)], axis=0)

    flow = Flow(_Augmented(outputs), problem)
    return ReducedRun("augmented", flow, jnp.asarray(stack @ stack.T), read, residual=residual)


def _closed_relu(problem: Any, lift: Lift, theta: np.ndarray, chain: Chain) -> ReducedRun:
    state, context = products_of(problem, jnp.asarray(theta))

    def read(states: Any, context: Context) -> tuple[np.ndarray, np.ndarray]:
        thetas = jax.lax.map(lambda one: parameters_of(chain, one, context), states)
        return np.asarray(jax.lax.map(lift.__call__, thetas)), np.asarray(thetas)

    def renew(found: Any, context: Context) -> tuple[Flow, Any] | None:
        fresh = renewed(found, context)
        return None if fresh is None else (Flow(product_field, fresh), found)

    events = [
        Event(turned, name="new directions", terminal=True),
        Event(crossed, name="opposite weights", terminal=True),
    ]
    return ReducedRun(
        "closed", Flow(product_field, context), state, read, events, renew, ReducedStatus.SIGN_CHANGE
    )


def _gauge(problem: Any, lift: Any, theta: np.ndarray) -> ReducedRun:
    matrix = rescalings_of(lift).matrix
    levels = np.asarray(matrix.T @ theta**2)
    chart, state = chart_at(problem, matrix, theta, levels)

    def read(states: Any, chart: Any) -> tuple[np.ndarray, np.ndarray]:
        thetas = jax.lax.map(lambda one: gauge_parameters(one, chart), states)
        return np.asarray(jax.lax.map(lift.__call__, thetas)), np.asarray(thetas)

    def renew(found: Any, chart: Any) -> tuple[Flow, Any]:
        following, start = chart_at(problem, matrix, np.asarray(gauge_parameters(found, chart)), levels)
        return Flow(gauge_field, following), start

    events = [Event(worn_out, name="new chart", terminal=True)]
    return ReducedRun("gauge", Flow(gauge_field, chart), state, read, events, renew)


def _paths(problem: Any, lift: Any, theta: np.ndarray) -> ReducedRun:
    if isinstance(lift, PathLift) and lift.graph.linear.any():
        raise UnsupportedArchitectureError('paths with linear nodes are summed: take coordinates="gauge"')
    matrix, _, dead = rescalings_of(lift)
    is_dead = np.zeros(theta.size)
    is_dead[list(dead)] = 1.0
    if np.any((theta == 0) & (is_dead == 0)):
        parameter = int(np.flatnonzero((theta == 0) & (is_dead == 0))[0])
        raise ZeroWeightError(
            f'parameter {parameter} is zero: path coordinates need every weight, coordinates="gauge" do not'
        )
    exponents = (lift.incidence() if isinstance(lift, PathLift) else lift.exponents).toarray().astype(float)
    z = np.asarray(lift(jnp.asarray(theta)))
    constants = np.log(np.abs(z)) - exponents @ np.log(np.where(theta == 0, 1.0, np.abs(theta)))
    chart = PathChart(
        problem,
        jnp.asarray(matrix.toarray().astype(float)),
        jnp.asarray(matrix.T @ theta**2),
        jnp.asarray(np.linalg.pinv(exponents)),
        jnp.asarray(theta),
        jnp.asarray(is_dead),
        jnp.asarray(constants),
        jnp.asarray(np.sign(z)),
    )

    def read(states: Any, chart: PathChart) -> tuple[np.ndarray, np.ndarray]:
        thetas = jax.lax.map(lambda one: path_parameters(one, chart), states)
        return np.asarray(states), np.asarray(thetas)

    events = [Event(smallest_path, name="sign change", terminal=True)]
    return ReducedRun(
        "paths", Flow(PathField(lift), chart), jnp.asarray(z), read, events, final=ReducedStatus.SIGN_CHANGE
    )
