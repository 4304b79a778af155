"""Training in the lifted variable alone: the reduced flow of a problem, and how well it agrees with full training."""

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.conservation.architecture import lift_of
from thetadot.conservation.balance import imbalance, offsets_of
from thetadot.conservation.errors import (
    ConservationError,
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
from thetadot.conservation.known_laws import known_laws, rescalings_of
from thetadot.conservation.laws import Laws
from thetadot.conservation.lift import Lift, LinearLift, MonomialLift
from thetadot.conservation.linear_reduction import (
    augmented_linear_field,
    beyond_of,
    relaxed_velocity,
)
from thetadot.conservation.path_lift import PathLift
from thetadot.conservation.relu_reduction import (
    Context,
    activations_of,
    directions_of,
    parameters_of,
    product_field,
    products_of,
    turned,
)
from thetadot.conservation.restricted import ZeroSumLift
from thetadot.dynamics import Event, Flow, Outcome, Path, Until, integrate
from thetadot.problems import Problem
from thetadot.problems.chain import Chain

COORDINATES = ("auto", "closed", "augmented", "gauge", "paths")
_MOST_STEPS = 20_000
_MOST_FLIPS = 5
_PROBE_STEPS = 4000
_RELAXED = 1e-8
_RANK_FLOOR = 1e-7


class ReducedStatus(enum.Enum):
    """How a reduced run ended.

    DONE: all times reached. SLIDING: activations chatter along a kink, steps were used up. SIGN_CHANGE: a path
    vanished, where these coordinates end. RANK_DROP: a singular value of z vanished. STOPPED: steps were used up, or
    the run diverged.
    """

    DONE = "done"
    SLIDING = "sliding"
    SIGN_CHANGE = "sign change"
    RANK_DROP = "rank drop"
    STOPPED = "stopped"


@dataclasses.dataclass(frozen=True)
class ReducedPath:
    """A run of a reduced flow; rows up to where it ended.

    Attributes:
        times (S,): in the units of the loss gradient.
        lifted (S, d): φ(θ(t)), the components of `lift_of(problem, loss="any")`.
        thetas (S, P): parameters, or None where the coordinates do not determine them.
        coordinates: "closed", "augmented", "gauge" or "paths". state_size: how many numbers were integrated.
        law_residual (S,): largest relative deviation of the laws (of the relaxed balance of the start, for a closed
            linear flow, whose form has the laws built in).
        events: (time, what happened). status: how it ended.
        activation_flips: sign changes of hidden neurons at samples between rows, or None if unknown.
        stats: {evaluations, accepted, rejected, seconds, charts}.
    """

    times: Float[np.ndarray, " S"]
    lifted: Float[np.ndarray, "S d"]
    thetas: Float[np.ndarray, "S P"] | None
    coordinates: str
    state_size: int
    law_residual: Float[np.ndarray, " S"]
    events: tuple[tuple[float, str], ...]
    status: ReducedStatus
    activation_flips: int | None
    stats: dict[str, float]

    def to_xarray(self):
        """The run as an `xarray.Dataset` with dimensions `save`, `component` and, where known, `parameter`."""
        import xarray

        variables: dict[str, Any] = {
            "lifted": (("save", "component"), self.lifted),
            "law_residual": ("save", self.law_residual),
        }
        if self.thetas is not None:
            variables["theta"] = (("save", "parameter"), self.thetas)
        attributes: dict[str, Any] = {"coordinates": self.coordinates, "status": self.status.name}
        attributes |= {"state_size": self.state_size, "source": "arXiv 2508.07370 (abstract); derived here"}
        time = ("save", self.times, {"units": "units of the loss gradient"})
        return xarray.Dataset(variables, {"time": time}, attributes | self.stats)


@dataclasses.dataclass
class _Run:
    """One kind of coordinates: how to start, what to watch, how to go on after an event, how to read rows."""

    coordinates: str
    flow: Flow
    state: Any
    read: Callable[[Any, Any], tuple[np.ndarray, np.ndarray | None]]
    events: list[Event] = dataclasses.field(default_factory=list)
    renew: Callable[[Any, Any], tuple[Flow, Any]] | None = None
    final: ReducedStatus = ReducedStatus.STOPPED
    residual: Callable[[np.ndarray, np.ndarray | None], np.ndarray] | None = None


def reduced_flow(
    problem: Problem,
    theta0: Float[Array | np.ndarray, " P"],
    times: Float[Array | np.ndarray, " S"],
    coordinates: str = "auto",
    rtol: float = 1e-10,
    atol: float = 1e-12,
) -> ReducedPath:
    """Follow training in the lifted variable alone, from the levels of its conservation laws at θ₀.

    Arguments:
        problem: a linear network, or one of ReLU or leaky ReLU neurons.
        times: of the rows, ascending, from 0.
        coordinates: "closed" (two-layer ReLU; linear networks from relaxed-balanced starts), "augmented" (two-layer
            linear, any start), "gauge" (any gated network, P − H coordinates), "paths" (all components), "auto".
        rtol, atol: local tolerances.

    Raises:
        NotRelaxedBalancedError: no reduced flow is known from here.
        ZeroWeightError: a neuron with vanishing incoming or outgoing weights (for "paths": any vanishing weight).
        RankDropError: the product's rank is below what the closed flow needs.
        UnsupportedArchitectureError: no lift is known, or coordinates that do not fit the network.
        ConservationError: an unknown name, or times that do not ascend.

    Source: arXiv 2508.07370 (abstract); all formulas are derived here.

    Example:
        >>> import thetadot as td
        >>> problem = td.EmpiricalRisk(td.linear([1, 1, 1]), td.squared, np.ones((1, 1)), np.ones((1, 1)))
        >>> reduced_flow(problem, jnp.array([1.0, 1.0]), np.array([0.0, 1.0])).lifted.tolist()
        [[1.0], [1.0]]
    """
    if coordinates not in COORDINATES:
        raise ConservationError(f"coordinates is {coordinates!r}, expected one of {COORDINATES}")
    rows = np.asarray(times, float)
    if rows.ndim != 1 or rows.size == 0 or rows[0] < 0 or np.any(np.diff(rows) <= 0):
        raise ConservationError("times must be one ascending row of numbers that starts at 0 or later")
    lift = lift_of(problem, loss="any")
    theta = np.asarray(theta0, float)
    if theta.shape != (lift.size,):
        raise ConservationError(f"theta0 has shape {theta.shape}, expected ({lift.size},)")
    run = _choose(problem, lift, theta, coordinates)
    return _follow(run, problem, lift, theta, rows, rtol, atol)


def _choose(problem: Any, lift: Lift, theta: np.ndarray, coordinates: str) -> _Run:
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
            return _closed_relu(problem, lift, theta, chain)
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


class _ClosedLinear(eqx.Module):
    rank: int

    def __call__(self, z: Array, args: Any) -> Array:
        problem, offsets, ahead, behind = args
        return relaxed_velocity(z, _product_slope(z, problem), offsets, (ahead, behind), self.rank)


def _closed_linear(problem: Any, lift: LinearLift, theta: np.ndarray, values: np.ndarray) -> _Run:
    z = np.asarray(lift(jnp.asarray(theta))).reshape(lift.widths[-1], lift.widths[0])
    values = np.where(np.abs(values) <= _RELAXED * (theta @ theta), 0.0, values)
    ahead, behind, rank = beyond_of(values, (z.shape[0], z.shape[1]), min(lift.widths[1:-1], default=None))
    needs = _needs_rank(lift, values, rank)
    sigma = np.linalg.svd(z, compute_uv=False)
    if needs and sigma[rank - 1] <= _RANK_FLOOR * max(sigma[0], 1e-300):
        raise RankDropError(
            f"z has rank below {rank}, the width of the hidden layer, and the imbalance is not zero: its flow is "
            "not a function of z from here; kernel_test shows it"
        )
    if rank < needs:
        raise RankDropError(
            f"{needs} directions of the hidden layer carry weight, z has only {rank}: its flow is not a function "
            "of z; kernel_test shows it"
        )
    events = []
    if needs:
        events = [Event(_smallest_value(rank), name="rank drop", terminal=True)]
    args = (problem, jnp.asarray(offsets_of(values)), jnp.asarray(ahead), jnp.asarray(behind))
    residual = float(imbalance(lift, theta).residuals.max(initial=0.0))
    return _Run(
        "closed",
        Flow(_ClosedLinear(rank), args),
        jnp.asarray(z),
        lambda states, _: (states, None),
        events,
        final=ReducedStatus.RANK_DROP,
        residual=lambda states, _: np.full(len(states), residual),
    )


def _needs_rank(lift: LinearLift, values: np.ndarray, rank: int) -> int:
    """Rank that z must keep: 0 if z may lose rank; the width of the layer whose weights fill one side only partly."""
    needed = 0
    for layer, value in enumerate(values, start=1):
        width = lift.widths[layer]
        side = lift.widths[-1] if value > 0 else lift.widths[0]
        if value != 0 and width < side:
            needed = max(needed, width)
    return needed


def _smallest_value(rank: int) -> Callable:
    return _SmallestValue(rank)


class _SmallestValue(eqx.Module):
    rank: int

    def __call__(self, z: Array, args: Any) -> Array:
        sigma = jnp.linalg.svd(z, compute_uv=False)
        return sigma[self.rank - 1] - _RANK_FLOOR * sigma[0]


class _Augmented(eqx.Module):
    outputs: int

    def __call__(self, s: Array, problem: Any) -> Array:
        return augmented_linear_field(lambda z: _product_slope(z, problem), self.outputs)(s)


def _augmented(problem: Any, lift: LinearLift, theta: np.ndarray) -> _Run:
    first, second = lift.factors(theta)
    stack = np.concatenate([second, first.T])
    outputs = lift.widths[-1]

    def read(states: np.ndarray, _: Any) -> tuple[np.ndarray, None]:
        return states[:, :outputs, outputs:], None

    def residual(states: np.ndarray, _: Any) -> np.ndarray:
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
    return _Run("augmented", flow, jnp.asarray(stack @ stack.T), read, residual=residual)


def _closed_relu(problem: Any, lift: Lift, theta: np.ndarray, chain: Chain) -> _Run:
    state, levels, directions = products_of(chain, jnp.asarray(theta))

    def read(states: Any, context: Context) -> tuple[np.ndarray, np.ndarray]:
        thetas = jax.lax.map(lambda one: parameters_of(chain, one, context), states)
        return np.asarray(jax.lax.map(lift.__call__, thetas)), np.asarray(thetas)

    def renew(found: Any, context: Context) -> tuple[Flow, Any]:
        fresh = directions_of(found, context.directions)
        return Flow(product_field, context._replace(directions=fresh)), found

    flow = Flow(product_field, Context(problem, levels, directions))
    events = [Event(turned, name="new directions", terminal=True)]
    return _Run("closed", flow, state, read, events, renew)


def _gauge(problem: Any, lift: Any, theta: np.ndarray) -> _Run:
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
    return _Run("gauge", Flow(gauge_field, chart), state, read, events, renew)


def _paths(problem: Any, lift: Any, theta: np.ndarray) -> _Run:
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
    return _Run(
        "paths", Flow(PathField(lift), chart), jnp.asarray(z), read, events, final=ReducedStatus.SIGN_CHANGE
    )


def _follow(
    run: _Run, problem: Any, lift: Lift, theta: np.ndarray, rows: np.ndarray, rtol: float, atol: float
) -> ReducedPath:
    now, state, flow = 0.0, run.state, run.flow
    lifted, thetas, done, residuals, seen = [], [], [], [], []
    stats = {"evaluations": 0.0, "accepted": 0.0, "rejected": 0.0, "seconds": 0.0, "charts": 1.0}
    status = ReducedStatus.DONE
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(state))
    first: np.ndarray | None = None
    while True:
        left = rows[rows > now] if now else rows
        asked = left - now
        asked = asked if asked[0] == 0 else np.concatenate([[0.0], asked])
        if asked.size == 1:  # only the start itself is wanted
            asked = np.append(asked, np.nextafter(0.0, 1.0))
        path = integrate(
            flow,
            state,
            until=Until(time=float(asked[-1]), steps=_MOST_STEPS),
            rtol=rtol,
            atol=atol,
            solver="Dopri8",
            saves=asked,
            events=run.events,
            progress=False,
        )
        for name, value in (
            ("evaluations", path.stats.gradients),
            ("accepted", path.stats.accepted),
            ("rejected", path.stats.rejected),
            ("seconds", path.stats.seconds),
        ):
            stats[name] += float(value)
        kept = np.flatnonzero(np.isin(path.ts, left - now))
        states = _unstack(path.thetas[kept], run.state)
        found, parameters = run.read(states, flow.args)
        if run.residual is not None:
            whole = np.asarray(states)
            first = whole[:1] if first is None else first
            residuals.append(run.residual(np.concatenate([first, whole]), None)[1:])
        lifted.append(np.asarray(found).reshape(len(kept), -1))
        thetas.append(parameters)
        done.append(path.ts[kept] + now)
        if path.outcome is Outcome.REACHED_TIME:
            break
        if path.outcome is not Outcome.EVENT:
            status = _why_stopped(problem, thetas, path, float(rows[-1]))
            break
        moment = path.events[-1]
        seen.append((now + moment.time, moment.name))
        if run.renew is None:
            status = run.final
            break
        now += moment.time
        flow, state = run.renew(_unstack(moment.theta[None], run.state, single=True), flow.args)
        stats["charts"] += 1
    all_thetas = None if thetas[0] is None else np.concatenate(thetas)
    if run.residual is not None:
        law_residual = np.concatenate(residuals)
    else:
        laws, start = _rescaling_laws(lift), theta[None]
        law_residual = _deviation(laws, start, all_thetas)
    return ReducedPath(
        np.concatenate(done),
        np.concatenate(lifted),
        all_thetas,
        run.coordinates,
        int(size),
        law_residual,
        tuple(seen),
        status,
        _flips(problem, all_thetas),
        stats,
    )


def _rescaling_laws(lift: Lift) -> Laws:
    return known_laws(lift)


def _deviation(laws: Laws, start: np.ndarray, thetas: np.ndarray | None) -> np.ndarray:
    assert thetas is not None
    if not len(laws):
        return np.zeros(len(thetas))
    values, first = laws.values(thetas), laws.values(start)
    scale = np.maximum(np.sum(start**2), 1e-300)
    return np.abs(values - first).max(axis=1) / scale


def _unstack(rows: np.ndarray, like: Any, single: bool = False) -> Any:
    """Rows of flat states as one pytree with a leading axis (or the one state itself)."""
    leaves, tree = jax.tree.flatten(like)
    cuts = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
    parts = [
        jnp.asarray(part).reshape((len(rows), *np.shape(leaf)))
        for part, leaf in zip(np.split(rows, cuts, axis=1), leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, [part[0] for part in parts] if single else parts)


def _patterns(problem: Any, thetas: np.ndarray) -> np.ndarray | None:
    chain = getattr(problem.network, "chain", None)
    if not isinstance(chain, Chain) or chain.activation.name not in ("relu", "leaky_relu"):
        return None
    rows = jax.lax.map(lambda theta: activations_of(chain, theta, problem.x), jnp.asarray(thetas))
    return np.asarray(rows)


def _flips(problem: Any, thetas: np.ndarray | None) -> int | None:
    patterns = None if thetas is None or len(thetas) == 0 else _patterns(problem, thetas)
    return None if patterns is None else int(np.sum(patterns[1:] != patterns[:-1]))


def _why_stopped(problem: Any, thetas: list, path: Path, horizon: float) -> ReducedStatus:
    """SLIDING if full training from the last row flips one neuron at one sample again and again."""
    if path.outcome is not Outcome.REACHED_STEPS or thetas[-1] is None or not len(thetas[-1]):
        return ReducedStatus.STOPPED
    from thetadot.dynamics import training_flow

    probe = integrate(
        training_flow(problem),
        jnp.asarray(thetas[-1][-1]),
        until=Until(steps=_PROBE_STEPS, time=2 * horizon),
        rtol=1e-6,
        atol=1e-8,
        solver="Dopri5",
        saves="steps",
        progress=False,
    )
    patterns = _patterns(problem, probe.thetas)
    if patterns is None:
        return ReducedStatus.STOPPED
    flips = np.sum(patterns[1:] != patterns[:-1], axis=0).max()
    return ReducedStatus.SLIDING if flips > _MOST_FLIPS else ReducedStatus.STOPPED


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        times (S,), error (S,): ‖φ(θ(t)) − z(t)‖ relative to the largest ‖φ‖. maximum: its largest value.
        full (S, d), reduced (S, d): both paths of z.
        sign_changes: sign changes of parameters between rows of full training.
        activation_flips: of hidden neurons at samples between rows of the reduced run, or None.
    """

    times: Float[np.ndarray, " S"]
    error: Float[np.ndarray, " S"]
    maximum: float
    full: Float[np.ndarray, "S d"]
    reduced: Float[np.ndarray, "S d"]
    sign_changes: int
    activation_flips: int | None


def compare(lift: Lift, path: Path | Any, reduced: ReducedPath) -> Comparison:
    """Compare full training with its reduced flow, row by row.

    Arguments:
        lift: `lift_of(problem)`; one restricted to zero-sum gradients is taken without its restriction.
        path: a `Path` with rows at the reduced run's times, or states (S, P) at exactly these.

    Raises:
        ConservationError: a time of the reduced run is missing in the path.

    Example:
        >>> import thetadot as td
        >>> problem = td.EmpiricalRisk(td.linear([1, 1, 1]), td.squared, np.ones((1, 1)), np.ones((1, 1)))
        >>> reduced = reduced_flow(problem, jnp.array([1.0, 1.0]), np.array([0.0, 1.0]))
        >>> compare(lift_of(problem), np.ones((2, 2)), reduced).maximum
        0.0
    """
    lift = lift.lift if isinstance(lift, ZeroSumLift) else lift
    if isinstance(path, Path):
        places = np.searchsorted(path.ts, reduced.times)
        places = np.minimum(places, len(path.ts) - 1)
        if not np.allclose(path.ts[places], reduced.times, rtol=1e-12, atol=0):
            raise ConservationError(
                "the path lacks times of the reduced run: run flow(..., saves=times) with the same times"
            )
        thetas = path.thetas[places]
    else:
        thetas = np.asarray(path, float)[: len(reduced.times)]
    full = np.asarray(jax.lax.map(lift.__call__, jnp.asarray(thetas)))
    norm = np.linalg.norm(full, axis=1).max(initial=0.0) or 1.0
    error = np.linalg.norm(full - reduced.lifted, axis=1) / norm
    changes = int(np.sum(np.sign(thetas[1:]) != np.sign(thetas[:-1])))
    maximum = float(error.max(initial=0.0))
    return Comparison(reduced.times, error, maximum, full, reduced.lifted, changes, reduced.activation_flips)
