"""Training in the lifted variable alone: the reduced flow of a problem."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.conservation.architecture import lift_of
from thetadot.conservation.errors import ConservationError
from thetadot.conservation.known_laws import known_laws
from thetadot.conservation.laws import Laws
from thetadot.conservation.lift import Lift
from thetadot.conservation.reduced_charts import ReducedRun, choose
from thetadot.conservation.reduced_path import ReducedPath, ReducedStatus
from thetadot.conservation.relu_reduction import activations_of
from thetadot.dynamics import Outcome, Path, Until, integrate, training_flow
from thetadot.problems import Problem
from thetadot.problems.chain import Chain

COORDINATES = ("auto", "closed", "augmented", "gauge", "paths")
_MOST_STEPS = 20_000
_MOST_FLIPS = 5
_PROBE_STEPS = 4000


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
    run = choose(problem, lift, theta, coordinates)
    return _follow(run, problem, lift, theta, rows, rtol, atol)


def _follow(
    run: ReducedRun, problem: Any, lift: Lift, theta: np.ndarray, rows: np.ndarray, rtol: float, atol: float
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
        reached = np.isin(left - now, path.ts)
        kept = np.searchsorted(path.ts, (left - now)[reached])
        if path.outcome is Outcome.CONVERGED:  # at rest, exactly: later rows are the last one
            kept = np.append(kept, np.full(int(np.sum(~reached)), len(path.ts) - 1))
            reached[:] = True
        states = _unstack(path.thetas[kept], run.state)
        found, parameters = run.read(states, flow.args)
        if run.residual is not None:
            whole = np.asarray(states)
            first = whole[:1] if first is None else first
            residuals.append(run.residual(np.concatenate([first, whole]), None)[1:])
        lifted.append(np.asarray(found).reshape(len(kept), lift.dimension))
        thetas.append(parameters)
        done.append(left[reached])
        if path.outcome in (Outcome.REACHED_TIME, Outcome.CONVERGED):
            break
        if path.outcome is not Outcome.EVENT:
            status = _why_stopped(problem, thetas, path, float(rows[-1]))
            break
        moment = path.events[-1]
        here = _unstack(moment.theta[None], run.state, single=True)
        following = None if run.renew is None else run.renew(here, flow.args)
        now += moment.time
        seen.append((now, run.final.value if following is None else moment.name))
        if following is None:
            status = run.final
            break
        flow, state = following
        stats["charts"] += 1
    all_thetas = None if thetas[0] is None else np.concatenate(thetas)
    if run.residual is not None:
        law_residual = np.concatenate(residuals)
    else:
        law_residual = _deviation(known_laws(lift), theta[None], all_thetas)
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
