"""Finite-time exponents: growth over one window, as singular values of the product of tangents or along a frame.

Singular values of T_N⋯T_1 come from sweeps: a QR pass forward with T_n, one backward with T_nᵀ. They separate values
whose logarithms differ; those that do not part (totals closer than 3) are singular values of the product of their
diagonal blocks of R_n. The product itself, whose small singular values would be rounding, is never formed.
"""

import dataclasses
import enum
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.dynamics import Flow, StepMap
from thetadot.numerics.linalg import qr_positive
from thetadot.stability.blocks import advance
from thetadot.stability.errors import SizeError, StabilityError
from thetadot.stability.labels import dataset, lines_of, per, unit_words
from thetadot.stability.runs import block_length, blocks_in, checked_length, prepare
from thetadot.stability.tangent import LARGEST_MATRIX, System, dense_pays, pull, push
from thetadot.stability.triangles import log_singular_values

_GUARD = 8
_MOST_SWEEPS = 60
_PRODUCT_ALLOWED = 7.0  # the square of the product spans twice that
_MATRIX_BYTES = 2**28
_STATE_NUMBERS = 2**22
KINDS = ("singular", "orthogonal", "covariant")


class FiniteTimeStatus(enum.Enum):
    """How well finite-time exponents are known; the value is a sentence for summaries."""

    CONVERGED = "the sweeps agree to tolerance"
    UNRESOLVED = "the sweeps did not settle"
    SUPERSTABLE = "a step's tangent is singular: some exponents are −∞"
    DIVERGED = "the state stopped being finite inside the window"


@dataclasses.dataclass(frozen=True)
class FiniteTimeExponents:
    """Growth over a window, natural logarithms per unit.

    Attributes:
        exponents (k,): descending for "singular", in the frame's order otherwise.
        spread (k,): standard deviation over random start bases ("orthogonal"), 0 for "singular".
        kind: "singular", "orthogonal" or "covariant".
        window: its length, in units. unit: "step" or "time".
        sweeps: forward passes made (products, where values lie too close for sweeps). residual: change of the
            exponents in the last one.
        status: how well they are known.
    """

    exponents: Float[np.ndarray, " k"]
    spread: Float[np.ndarray, " k"]
    kind: str
    window: float | int
    unit: str
    sweeps: int
    residual: float
    status: FiniteTimeStatus

    def to_xarray(self):
        """Dataset with dimension `exponent`."""
        unit = per(self.unit)
        values = {"finite_time_exponent": ("exponent", self.exponents, {"units": unit})}
        values["spread"] = ("exponent", self.spread, {"units": unit})
        attributes = {
            "kind": self.kind, "window": self.window, "unit": self.unit, "sweeps": self.sweeps,
            "residual": self.residual, "status": self.status.name,
        }  # fmt: skip
        return dataset(values, {"exponent": np.arange(1, len(self.exponents) + 1)}, attributes)

    def __repr__(self) -> str:
        shown = ", ".join(f"{value:.4g}" for value in self.exponents[:6])
        rows = {
            "exponents": shown + (" …" if len(self.exponents) > 6 else "") + f" per {self.unit}",
            "status": f"{self.status.name}: {self.status.value}",
        }
        if self.kind == "orthogonal":
            rows["spread"] = ", ".join(f"{value:.2g}" for value in self.spread[:6]) + " over start bases"
        return lines_of(
            f"Finite-time exponents ({self.kind}) over {self.window:g} {unit_words(self.unit, self.window)}",
            rows,
        )


def finite_time_exponents(
    system: System,
    state: Any,
    window: float,
    *,
    count: int | None = None,
    kind: str = "singular",
    repeats: int = 8,
    tolerance: float = 1e-10,
    key: PRNGKeyArray | None = None,
) -> FiniteTimeExponents:
    """Finite-time Lyapunov exponents of the `window` units after `state`.

    Three things go by this name. "singular": logarithms of the singular values of T_N⋯T_1, divided by N, which need no
    start basis. "orthogonal": mean log R_ii of the QR method, which depends on the random start basis (mean and
    spread over `repeats`). "covariant": growth of covariant vectors, which need a past: use `covariant_vectors`.

    Arguments:
        system, state, count: as in `lyapunov`.
        window: steps of a map, time of a flow.
        kind: see above.
        repeats: start bases of "orthogonal".
        tolerance: of the exponents per unit, for the sweeps of "singular".
        key: draws start bases; `jax.random.key(0)`.

    Raises:
        StabilityError: options that do not fit; kind "covariant".
        SizeError: singular exponents of a flow of more than 2000 variables.

    Example:
        >>> shear = td.StepMap(lambda s, n, aux: jnp.array([[1.0, 1.0], [0.0, 1.0]]) @ s)
        >>> found = finite_time_exponents(shear, np.zeros(2), 1)
        >>> [round(float(value), 12) for value in found.exponents]
        [0.48121182506, -0.48121182506]
    """
    if kind not in KINDS:
        raise StabilityError(f"kind = {kind!r}: expected one of {', '.join(KINDS)}")
    if kind == "covariant":
        raise StabilityError(
            "covariant growth needs a past, which a window alone does not have: use covariant_vectors(..., "
            "transient=…, window=…, tail=…).exponents"
        )
    key = jax.random.key(0) if key is None else key
    first = prepare(system, state, count, None, "auto", 1e-9, key)
    length = checked_length(first, window, "window", least=1e-300)
    if kind == "orthogonal":
        return _orthogonal(system, state, length, first.count, repeats, key)
    if isinstance(system, Flow):
        return _of_matrices(*_flow_matrices(first, length), first.count, length, "time", tolerance, key)
    if 8 * length * first.size**2 <= _MATRIX_BYTES and (first.size <= 64 or first.count > first.size // 4):
        states, matrices = _map_matrices(system, first.carry.state, int(length))
        return _of_matrices(states, matrices, first.count, length, "step", tolerance, key)
    return _matrix_free(system, first.carry.state, length, first.count, tolerance, key)


def _orthogonal(system, state, length, count, repeats, key) -> FiniteTimeExponents:
    if not repeats >= 1:
        raise StabilityError(f"repeats = {repeats}: expected at least 1")
    means, good = [], True
    every: Any = None
    for number in range(repeats):
        start = prepare(system, state, count, None, "auto", 1e-9, jax.random.fold_in(key, number))
        every = block_length(start, "auto", length) if every is None else every
        whole, left = blocks_in(length, every)
        made = advance(start.mover, start.carry, every, whole)
        logs = made.rows.logs.sum(axis=0)
        if made.good == whole and left:
            rest = advance(start.mover, made.carry, left, 1)
            logs, whole_good = logs + rest.rows.logs.sum(axis=0), rest.good == 1
        else:
            whole_good = made.good == whole
        good = good and whole_good
        means.append(logs / length if whole_good else np.full(count, np.nan))
    table = np.array(means)
    singular = np.isneginf(table).any()
    with np.errstate(invalid="ignore"):
        spread = np.where(np.isfinite(table).all(axis=0), np.nan_to_num(table, neginf=0.0).std(axis=0), 0.0)
    status = FiniteTimeStatus.SUPERSTABLE if singular else FiniteTimeStatus.CONVERGED
    status = status if good else FiniteTimeStatus.DIVERGED
    unit = "time" if isinstance(system, Flow) else "step"
    return FiniteTimeExponents(table.mean(axis=0), spread, "orthogonal", length, unit, repeats, 0.0, status)


@eqx.filter_jit
def _matrices(system: StepMap, state: Array, numbers: Array) -> tuple[Array, Array]:
    dense = dense_pays(system, state.size)
    unit = jnp.eye(state.size)

    def one(state, n):
        new, rows = push(system, dense, state, unit, n)
        return new, rows.T

    return jax.lax.scan(one, state, numbers)


def _map_matrices(system: StepMap, state: Array, length: int) -> tuple[Array, Array]:
    return _matrices(system, state, jnp.arange(length, dtype=jnp.int32))


def _flow_matrices(start, length: float) -> tuple[Array, Array]:
    if start.size > LARGEST_MATRIX:
        raise SizeError(
            f"singular exponents of a flow of {start.size} variables need its tangent matrices, formed up to "
            f'{LARGEST_MATRIX}: use kind="orthogonal"'
        )
    every = block_length(start, "auto", length)
    whole, left = blocks_in(length, every)
    carry, matrices = start.carry._replace(basis=jnp.eye(start.size)), []
    mover = start.mover
    for size in [every] * whole + [left] * bool(left):
        made = advance(mover, carry, size, 1, keep=True, room=1)
        if not made.good or made.rows.triangles is None:
            return jnp.full(start.size, jnp.nan), jnp.zeros((0, start.size, start.size))
        matrices.append(np.asarray(made.carry.basis).T @ made.rows.triangles[0])
        carry = made.carry._replace(basis=carry.basis)
    return carry.state, jnp.asarray(np.array(matrices))


@jax.jit
def _sweep_matrices(matrices: Array, frame: Array) -> tuple[Array, Array]:
    def forward(q, matrix):
        q, r = qr_positive(matrix @ q)
        return q, r

    return jax.lax.scan(forward, frame, matrices)


@jax.jit
def _back_matrices(matrices: Array, frame: Array) -> Array:
    return jax.lax.scan(lambda q, m: (qr_positive(m.T @ q)[0], None), frame, matrices, reverse=True)[0]


def _of_matrices(end, matrices, count, length, unit, tolerance, key) -> FiniteTimeExponents:
    size = end.shape[0]
    if not bool(jnp.all(jnp.isfinite(end))):
        return _lost(count, length, unit)
    frame = _random_frame(size, size, key)
    sweep = lambda q: _sweep_matrices(matrices, q)  # noqa: E731
    return _sweeps(sweep, lambda q: _back_matrices(matrices, q), frame, count, length, unit, tolerance)


@eqx.filter_jit
def _forward(system: StepMap, dense: bool, state: Array, frame: Array, numbers: Array):
    def one(carry, n):
        state, rows = push(system, dense, carry[0], carry[1], n)
        q, r = qr_positive(rows.T)
        return (state, q.T), r

    return jax.lax.scan(one, (state, frame), numbers)


@eqx.filter_jit
def _states(system: StepMap, state: Array, numbers: Array) -> Array:
    return jax.lax.scan(lambda x, n: (system(x, n), x), state, numbers)[1]


@eqx.filter_jit
def _backward(system: StepMap, states: Array, frame: Array, numbers: Array) -> Array:
    def one(rows, now):
        rows = pull(system, now[0], rows, now[1])
        return qr_positive(rows.T)[0].T, None

    return jax.lax.scan(one, frame, (states, numbers), reverse=True)[0]


def _matrix_free(system, state, length, count, tolerance, key) -> FiniteTimeExponents:
    """Sweeps without matrices: only states at the borders of stretches are kept, those between computed again."""
    size = state.size
    width = min(size, count + _GUARD)
    dense = dense_pays(system, width)
    stretch = max(1, min(length, max(math.isqrt(length), _STATE_NUMBERS // size)))
    borders = list(range(0, length, stretch))
    numbers = [jnp.arange(a, min(a + stretch, length), dtype=jnp.int32) for a in borders]
    kept = [state]

    def forward(frame):
        (at, rows), rs = (state, frame.T), []
        del kept[1:]
        for part in numbers:
            (at, rows), r = _forward(system, dense, at, rows, part)
            kept.append(at)
            rs.append(np.asarray(r))
        return rows.T, np.concatenate(rs)

    def backward(frame):
        rows = frame.T
        for begin, part in zip(reversed(kept[:-1]), reversed(numbers), strict=True):
            rows = _backward(system, _states(system, begin, part), rows, part)
        return rows.T

    frame = _random_frame(size, width, key)
    first = forward(frame)
    if not bool(jnp.all(jnp.isfinite(kept[-1]))):
        return _lost(count, length, "step")
    totals = np.log(np.maximum(np.diagonal(first[1], axis1=1, axis2=2), 1e-300)).sum(axis=0)
    if count < size - 1 and np.ptp(totals) < _PRODUCT_ALLOWED:
        return _by_lanczos(system, kept[:-1], numbers, count, length, tolerance, key)
    return _sweeps(forward, backward, frame, count, length, "step", tolerance, first)


@eqx.filter_jit
def _carried(system: StepMap, state: Array, row: Array, numbers: Array) -> Array:
    def one(carry, n):
        return push(system, False, carry[0], carry[1], n), None

    return jax.lax.scan(one, (state, row), numbers)[0][1]


@eqx.filter_jit
def _pulled(system: StepMap, states: Array, row: Array, numbers: Array) -> Array:
    def one(row, now):
        return pull(system, now[0], row, now[1]), None

    return jax.lax.scan(one, row, (states, numbers), reverse=True)[0]


def _by_lanczos(system, borders, numbers, count, length, tolerance, key) -> FiniteTimeExponents:
    """Leading values that lie too close together for sweeps: eigenvalues of PᵀP by ARPACK, P the product as an
    operator. Its values span less than e^15, so that rounding leaves them their digits."""
    size, products = borders[0].size, 0

    def squared(vector: np.ndarray) -> np.ndarray:
        nonlocal products
        products += 1
        row = jnp.asarray(vector.reshape(1, -1))
        for begin, part in zip(borders, numbers, strict=True):
            row = _carried(system, begin, row, part)
        for begin, part in zip(reversed(borders), reversed(numbers), strict=True):
            row = _pulled(system, _states(system, begin, part), row, part)
        return np.asarray(row).ravel()

    operator = scipy.sparse.linalg.LinearOperator((size, size), matvec=squared, dtype=np.dtype(float))  # pyright: ignore
    start = np.asarray(jax.random.normal(key, (size,)))
    status = FiniteTimeStatus.CONVERGED
    try:
        values = scipy.sparse.linalg.eigsh(
            operator, count, v0=start, tol=tolerance * length, return_eigenvectors=False
        )
    except scipy.sparse.linalg.ArpackNoConvergence as error:
        values, status = np.full(count, np.nan), FiniteTimeStatus.UNRESOLVED
        values[: len(error.eigenvalues)] = error.eigenvalues
    values = np.sort(0.5 * np.log(values) / length)[::-1]
    return FiniteTimeExponents(
        values, np.zeros(count), "singular", length, "step", products, tolerance, status
    )


def _lost(count, length, unit) -> FiniteTimeExponents:
    nothing = np.full(count, np.nan)
    return FiniteTimeExponents(
        nothing, np.zeros(count), "singular", length, unit, 0, math.inf, FiniteTimeStatus.DIVERGED
    )


def _random_frame(size: int, width: int, key: PRNGKeyArray) -> Array:
    draw = np.asarray(jax.random.normal(key, (size, width)))
    return jnp.asarray(np.linalg.qr(draw)[0])


def _sweeps(forward, backward, frame, count, length, unit, tolerance, first=None) -> FiniteTimeExponents:
    before, residual = None, math.inf
    for sweep in range(1, _MOST_SWEEPS + 1):
        end, rs = first if first is not None and sweep == 1 else forward(frame)
        values = log_singular_values(np.asarray(rs))[:count] / length
        if before is not None:
            finite = np.isfinite(values) & np.isfinite(before)
            residual = float(np.max(np.abs(values[finite] - before[finite]), initial=0.0))
            if residual <= tolerance and np.array_equal(np.isfinite(values), np.isfinite(before)):
                break
        before = values
        frame = backward(end)
    status = FiniteTimeStatus.CONVERGED if residual <= tolerance else FiniteTimeStatus.UNRESOLVED
    if np.isneginf(values).any():
        status = FiniteTimeStatus.SUPERSTABLE
    return FiniteTimeExponents(
        values, np.zeros(len(values)), "singular", length, unit, sweep, residual, status
    )
