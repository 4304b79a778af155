"""The tangent operator of one step: how a nudge of the state is carried on, and its transpose."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from thetadot.dynamics import Flow, GradientDescent, HeavyBall, StateError, StepMap
from thetadot.dynamics.maps import TrainingStep, flat_state
from thetadot.dynamics.rates import rate_at
from thetadot.problems.chain import Chain
from thetadot.stability.errors import SizeError, StabilityError
from thetadot.stability.visible import check_visible

LARGEST_MATRIX = 2000
System = StepMap | Flow


def dense_pays(system: System, count: int) -> bool:
    """Whether T comes cheaper from the structured Hessian than from `count` products with it.

    Only where T is a function of H (descent, heavy ball), for chains of dense layers of at most 2000 parameters, and
    for more than outputs·P/5 tangents: a count, never a timing, so that the choice is reproducible.
    """
    problem = system.problem
    if not isinstance(system, StepMap) or not isinstance(system.step, TrainingStep) or problem is None:
        return False
    chain = getattr(getattr(problem, "network", None), "chain", None)
    if type(system.step.rule) not in (GradientDescent, HeavyBall) or not isinstance(chain, Chain):
        return False
    return problem.size <= LARGEST_MATRIX and count > chain.widths[-1] * problem.size / 5


def push(
    system: StepMap, dense: bool, state: Float[Array, " d"], rows: Float[Array, "k d"], n: Int[Array, ""]
) -> tuple[Float[Array, " d"], Float[Array, "k d"]]:
    """The state after step n, and tangents (rows) after it: one linearisation, or one Hessian if `dense`."""
    if dense:
        return _dense_push(system, state, rows, n)
    new, linear = jax.linearize(lambda point: system(point, n), state)
    return new, jax.vmap(linear)(rows)


def _dense_push(system: StepMap, state, rows, n):
    problem, rule = system.step.problem, system.step.rule
    hessian = problem.hessian(state[: problem.size])
    new = system(state, n)
    rate = rate_at(rule.learning_rate, n)
    if isinstance(rule, GradientDescent):
        return new, rows - rate * (rows @ hessian)
    positions, velocities = rows[:, : problem.size], rows[:, problem.size :]
    velocities = rate_at(rule.momentum, n) * velocities - rate * (positions @ hessian)
    return new, jnp.concatenate([positions + velocities, velocities], axis=1)


def pull(
    system: StepMap, state: Float[Array, " d"], rows: Float[Array, "k d"], n: Int[Array, ""]
) -> Float[Array, "k d"]:
    """Covectors (rows) pulled back through step n: Tᵀ of each."""
    _, back = jax.vjp(lambda point: system(point, n), state)
    return jax.vmap(lambda row: back(row)[0])(rows)


@eqx.filter_jit
def _tangent(system: StepMap, state: Array, rows: Array, n: Array) -> tuple[Array, Array]:
    return push(system, False, state, rows, n)


@eqx.filter_jit
def _adjoint(system: StepMap, state: Array, rows: Array, n: Array) -> Array:
    return pull(system, state, rows, n)


@eqx.filter_jit
def _matrix(system: StepMap, state: Array, n: Array) -> Array:
    dense = dense_pays(system, state.size)
    return push(system, dense, state, jnp.eye(state.size), n)[1].T


def tangent(
    system: System, state: Any, tangents: Any, n: int = 0, *, interval: float | None = None
) -> tuple[Float[Array, " d"], Float[Array, "d k"]]:
    """The state one step on, and what tangents become on the way.

    Arguments:
        system: a `StepMap`, or a `Flow` (which needs `interval`).
        state: (d,) float64; of a training map, what `system.start(theta)` gives.
        tangents: (d, k), one nudge per column.
        n: number of steps made before this one.
        interval: time over which a flow is followed; its tangents obey V′ = Df(x)V, to a local error of 1e-12.

    Returns:
        The state (d,) and the tangents (d, k) after the step.

    Raises:
        StateError, PrecisionError: a state of the wrong kind or size.
        StabilityError: tangents of another shape; a flow without interval.
        HiddenDependenceError: `stop_gradient` hides part of the derivative.

    Example:
        >>> henon = td.StepMap(lambda s, n, aux: jnp.stack([1 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]]))
        >>> state, moved = tangent(henon, np.array([0.5, 0.0]), np.eye(2))
        >>> moved.tolist()
        [[-1.4, 1.0], [0.3, 0.0]]
    """
    start = checked_state(system, state)
    rows = checked_columns(tangents, start.size, "tangents").T
    check_visible(system, start, n)
    if isinstance(system, Flow):
        from thetadot.stability.variational import propagate

        new, moved = propagate(system, start, rows, _positive(interval), method="auto", tolerance=1e-12)
    else:
        _no_interval(interval)
        new, moved = _tangent(system, start, rows, jnp.asarray(n, jnp.int32))
    return new, moved.T


def adjoint(system: System, state: Any, covectors: Any, n: int = 0) -> Float[Array, "d k"]:
    """Covectors pulled back through one step: TᵀU, by reverse differentiation.

    Arguments:
        system: a `StepMap`.
        state: (d,) before the step.
        covectors: (d, k).
        n: number of steps made before this one.

    Raises:
        StabilityError: a flow, or covectors of another shape.
        HiddenDependenceError: as in `tangent`.

    Example:
        >>> henon = td.StepMap(lambda s, n, aux: jnp.stack([1 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]]))
        >>> adjoint(henon, np.array([0.5, 0.0]), np.eye(2)).tolist()
        [[-1.4, 0.3], [1.0, 0.0]]
    """
    if isinstance(system, Flow):
        raise StabilityError(
            "adjoint is of one step of a StepMap; given a Flow: use tangent_matrix(...).T (interval=…)"
        )
    start = checked_state(system, state)
    rows = checked_columns(covectors, start.size, "covectors").T
    check_visible(system, start, n)
    return _adjoint(system, start, rows, jnp.asarray(n, jnp.int32)).T


def tangent_matrix(
    system: System, state: Any, n: int = 0, *, interval: float | None = None
) -> Float[Array, "d d"]:
    """T = ∂F/∂x of one step (of a flow: of the time-`interval` map) as a matrix.

    Arguments:
        system, state, n, interval: as in `tangent`.

    Raises:
        SizeError: d > 2000.
        HiddenDependenceError: as in `tangent`.

    Example:
        >>> cat = td.StepMap(lambda s, n, aux: jnp.array([[2.0, 1.0], [1.0, 1.0]]) @ s)
        >>> tangent_matrix(cat, np.array([0.1, 0.2])).tolist()
        [[2.0, 1.0], [1.0, 1.0]]
    """
    start = checked_state(system, state)
    if start.size > LARGEST_MATRIX:
        raise SizeError(
            f"the tangent matrix of {start.size} state variables was asked for, at most {LARGEST_MATRIX} are formed: "
            "use tangent and adjoint, which never form it"
        )
    if isinstance(system, Flow):
        return tangent(system, start, jnp.eye(start.size), interval=interval)[1]
    _no_interval(interval)
    check_visible(system, start, n)
    return _matrix(system, start, jnp.asarray(n, jnp.int32))


def checked_state(system: System, state: Any) -> Float[Array, " d"]:
    """`state` as a flat float64 vector of the system's size.

    Raises:
        StateError, PrecisionError: it is not.
    """
    vector = flat_state(state, "the state")
    problem = system.problem
    if problem is not None:
        wanted = jax.eval_shape(
            lambda theta: system.start(theta), jax.ShapeDtypeStruct((problem.size,), np.float64)
        ).shape[0]
        if vector.size != wanted:
            raise StateError(
                f"the state has {vector.size} entries, this system has {wanted}: make it by system.start(theta), "
                f"theta ({problem.size},)"
            )
        return vector
    out = (
        jax.eval_shape(lambda y: system.field(y, system.args), vector)
        if isinstance(system, Flow)
        else eqx.filter_eval_shape(system, vector, jnp.zeros((), jnp.int32))
    )
    if getattr(out, "shape", None) != vector.shape:
        raise StateError(f"the state has shape {vector.shape}, the system makes {out} of it: they must agree")
    return vector


def checked_starts(system: System, states: Any) -> Float[np.ndarray, "R d"]:
    """`states` as float64 rows, one start each, of a system whose tangents can be trusted.

    Raises:
        StateError, PrecisionError, StabilityError, HiddenDependenceError: they are not.
    """
    rows = np.asarray(states)
    if rows.ndim != 2 or len(rows) == 0:
        raise StabilityError(f"states have shape {rows.shape}: expected (R, d), one start per row")
    check_visible(system, checked_state(system, rows[0]))
    return np.asarray(rows, float)


def checked_columns(columns: Any, size: int, what: str) -> Float[Array, "d k"]:
    """`columns` as a float64 matrix (d, k) with d = size.

    Raises:
        StabilityError: another shape or precision.
    """
    matrix = jnp.asarray(columns)
    if matrix.ndim != 2 or matrix.shape[0] != size or matrix.shape[1] == 0 or matrix.dtype != np.float64:
        raise StabilityError(
            f"{what} are {matrix.dtype}{list(matrix.shape)}: expected float64 of shape ({size}, k), one per column"
        )
    return matrix


def _positive(interval: float | None) -> float:
    if interval is None or not interval > 0:
        raise StabilityError(f"interval = {interval}: the tangent of a Flow needs a positive time interval")
    return float(interval)


def _no_interval(interval: float | None) -> None:
    if interval is not None:
        raise StabilityError(f"interval = {interval}: a StepMap takes one step; only a Flow has an interval")
