"""Frames along flows: V′ = Df(x)V with x′ = f(x), by one explicit integration of both, or by exponentials.

Joint: x and V by one method of order 8, the error of x and of each column controlled apart. Exponential, for gradient
flows, whose Df = −time_scale·H is symmetric: θ(t) by `integrate` with dense output, and

    V ← exp(h(α₂A₁ + α₁A₂)) exp(h(α₁A₁ + α₂A₂)) V,   A₁,₂ = A(t + (½ ∓ √3/6)h),   α₁,₂ = ¼ ± √3/6,

of order 4 and exact for constant A whatever h, so that steps grow freely late in training.

Source: S. Blanes, P. Moan, Fourth- and sixth-order commutator-free Magnus integrators (2006), in the symmetric form.
"""

import math
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.dynamics import Flow, Outcome, Until, integrate
from thetadot.dynamics.flows import training_field
from thetadot.stability.blocks import Advance, Carry, Rows, joined
from thetadot.stability.errors import StabilityError
from thetadot.stability.frames import orthonormalise

METHODS = ("auto", "joint", "exponential")
DENSE_EXPONENTIAL = 500
KRYLOV_TANGENTS = 20
_PIECES = 16
_KRYLOV = 30
_ALPHA = (0.25 + math.sqrt(3) / 6, 0.25 - math.sqrt(3) / 6)
_NODES = np.array([0.5 - math.sqrt(3) / 6, 0.5 + math.sqrt(3) / 6])
_SMALLEST = 1e-13
_LARGEST = 1e150
"""Beyond this the square of a tangent's norm overflows, and with it the control of its error."""


class JointMover(eqx.Module):
    """Moves a state and a frame along any flow by Dormand and Prince's method of order 8; the clock is the step size
    to try next, so that a restart repeats the bits."""

    system: Flow
    tolerance: Float[Array, ""]

    @property
    def floor(self) -> float:
        """Flows cannot be singular: there is no size below which R_ii would be zero."""
        return 0.0

    def clock(self) -> Float[Array, ""]:
        """No guess yet."""
        return jnp.zeros(())

    def pieces(self, length: float) -> tuple[int, float]:
        """Into how many pieces a block is cut when it is redone, and their length."""
        return _PIECES, length / _PIECES

    def move(self, carry: Carry, length: Array) -> tuple[Carry, Array]:
        """On by the time `length`; the number of accepted steps."""
        system = self.system
        k, d = carry.basis.shape
        table = diffrax.Dopri8.tableau
        stages = len(table.b_sol)
        lower = np.zeros((stages, stages))
        for i, row in enumerate(table.a_lower):
            lower[i + 1, : i + 1] = row
        lower, weights, error_weights = (
            jnp.asarray(array) for array in (lower, np.asarray(table.b_sol), np.asarray(table.b_error))
        )

        def field(both):
            rate, linear = jax.linearize(lambda point: system.field(point, system.args), both[:d])
            return jnp.concatenate([rate, jax.vmap(linear)(both[d:].reshape(k, d)).ravel()])

        def going(now):
            t, both, h, _ = now
            return (t < length) & (h > _SMALLEST * length) & (jnp.max(jnp.abs(both[d:])) < _LARGEST)

        def step(now):
            t, both, h, accepted = now
            last = t + h >= length * (1 - 1e-14)
            taken = jnp.where(last, length - t, h)

            def stage(i, slopes):
                return slopes.at[i].set(field(both + taken * (lower[i] @ slopes)))

            slopes = jax.lax.fori_loop(0, stages, stage, jnp.zeros((stages, both.size)))
            new = both + taken * (weights @ slopes)
            size = _error(both, new, taken * (error_weights @ slopes), d) / self.tolerance
            good = size <= 1.0
            factor = jnp.where(
                jnp.isfinite(size), jnp.clip(0.9 * jnp.maximum(size, 1e-12) ** (-1 / 8), 0.2, 4.0), 0.2
            )
            # A step cut short by the end says nothing about the step that could have been.
            shortened = good & last & (factor * taken < h)
            return (
                jnp.where(good, jnp.where(last, length, t + taken), t),
                jnp.where(good, new, both),
                jnp.where(shortened, h, factor * taken),
                accepted + good.astype(jnp.int32),
            )

        zero = jnp.zeros((), jnp.int32)
        start = jnp.concatenate([carry.state, carry.basis.ravel()])
        guess = jnp.where(carry.clock > 0, carry.clock, 1e-3 * length)
        t, both, h, accepted = jax.lax.while_loop(going, step, (jnp.zeros(()), start, guess, zero))
        rows, short = both[d:].reshape(k, d), t < length
        grown = jnp.max(jnp.abs(rows)) >= _LARGEST
        state = jnp.where(short & ~grown, jnp.nan, both[:d])  # a step size of zero: the solution blows up
        rows = jnp.where(
            short & grown, jnp.inf, rows
        )  # the block is too long for its tangents, and done in pieces
        return Carry(state, rows, h), accepted


def _error(old: Array, new: Array, error: Array, d: int) -> Float[Array, ""]:
    """Local error, relative: of x by components on their scales, of each tangent on its own norm."""
    scale = jnp.maximum(jnp.abs(old[:d]), jnp.abs(new[:d])) + jnp.sqrt(jnp.mean(old[:d] ** 2)) + 1e-300

    def norms(both):
        return jnp.sqrt(jnp.sum(both[d:].reshape(-1, d) ** 2, axis=1))

    of_rows = jnp.max(norms(error) / (jnp.maximum(norms(old), norms(new)) + 1e-300))
    return jnp.maximum(jnp.sqrt(jnp.mean((error[:d] / scale) ** 2)), of_rows)


def _exponential(matrix: Float[Array, "d d"], rows: Float[Array, "k d"]) -> Float[Array, "k d"]:
    values, vectors = jnp.linalg.eigh(matrix)
    return ((rows @ vectors) * jnp.exp(values)[None]) @ vectors.T


def exponential_step(
    first: Float[Array, "d d"], second: Float[Array, "d d"], rows: Float[Array, "k d"], h: Any
) -> Float[Array, "k d"]:
    """One step of order 4 from A at the two Gauss nodes."""
    larger, smaller = _ALPHA
    rows = _exponential(h * (larger * first + smaller * second), rows)
    return _exponential(h * (smaller * first + larger * second), rows)


def _krylov_exponential(product, rows: Float[Array, "k d"]) -> tuple[Float[Array, "k d"], Float[Array, ""]]:
    """exp(B) of each row by Lanczos' method for a symmetric B, and the largest error estimate, relative."""
    d = rows.shape[1]
    steps = min(_KRYLOV, d)

    def one(row: Array) -> tuple[Array, Array]:
        size = jnp.linalg.norm(row)

        def advance(carry, j):
            basis, vector = carry
            basis = basis.at[j].set(vector)
            image = product(vector)
            alpha = vector @ image
            for _ in range(2):
                image = image - basis.T @ (basis @ image)
            beta = jnp.linalg.norm(image)
            alive = beta > 1e-13 * (jnp.abs(alpha) + 1e-300)
            following = jnp.where(alive, image / jnp.where(alive, beta, 1.0), 0.0)
            return (basis, following), (alpha, jnp.where(alive, beta, 0.0))

        start = (jnp.zeros((steps, d)), row / jnp.where(size > 0, size, 1.0))
        (basis, _), (alphas, betas) = jax.lax.scan(advance, start, jnp.arange(steps))
        beside = betas[:-1]
        values, vectors = jnp.linalg.eigh(jnp.diag(alphas) + jnp.diag(beside, 1) + jnp.diag(beside, -1))
        weights = vectors @ (jnp.exp(values) * vectors[0])
        return size * (weights @ basis), betas[-1] * jnp.abs(weights[-1])

    moved, errors = jax.vmap(one)(rows)
    return moved, jnp.max(errors)


def _krylov_step(pushes, scale, rows, h):
    larger, smaller = _ALPHA
    first, second = pushes

    def weighted(a, b):
        return lambda v: -scale * h * (a * first(v) + b * second(v))

    rows, one = _krylov_exponential(weighted(larger, smaller), rows)
    rows, two = _krylov_exponential(weighted(smaller, larger), rows)
    return rows, one + two


@eqx.filter_jit
def _doubled(problem, thetas: Float[Array, "6 d"], rows: Float[Array, "k d"], h: Array, dense: bool):
    """Rows after two steps of h/2, and how far one step of h is from them, each row relative to its norm.

    `thetas` are those at the Gauss nodes of the whole step and of its halves.
    """
    scale = problem.time_scale
    if dense:
        matrices = jax.lax.map(lambda theta: -scale * problem.hessian(theta), thetas)
        coarse = exponential_step(matrices[0], matrices[1], rows, h)
        fine = exponential_step(matrices[2], matrices[3], rows, 0.5 * h)
        fine = exponential_step(matrices[4], matrices[5], fine, 0.5 * h)
        lost = jnp.zeros(())
    else:
        pushes = [problem.linearize(theta)[2] for theta in thetas]
        coarse, a = _krylov_step(pushes[:2], scale, rows, h)
        fine, b = _krylov_step(pushes[2:4], scale, rows, 0.5 * h)
        fine, c = _krylov_step(pushes[4:], scale, fine, 0.5 * h)
        lost = a + b + c
    norms = jnp.sqrt(jnp.sum(fine**2, axis=1)) + 1e-300
    away = jnp.sqrt(jnp.sum((fine - coarse) ** 2, axis=1))
    return fine, jnp.max(away / norms) / 15 + lost


def _bare_field(theta: Array, problem: Any) -> Array:
    return training_field(theta, problem)


@eqx.filter_jit
def _rate(system: Flow, state: Array) -> Array:
    return system.field(state, system.args)


@jax.jit
def _factors(rows):
    return orthonormalise(rows)


class ExponentialMover:
    """Moves a state and a frame along a gradient flow, driven from the host; the clock is the step size to try next.

    Every block follows θ afresh from its start, so that a restart at any block repeats the bits.
    """

    def __init__(self, system: Flow, tolerance: float, dense: bool):
        self.system, self.tolerance, self.dense = system, tolerance, dense
        self.floor = 0.0

    def clock(self) -> Float[Array, ""]:
        """No guess yet."""
        return jnp.zeros(())

    def move(self, carry: Carry, length: float) -> tuple[Carry, int]:
        """On by the time `length`; the number of steps accepted. A state of NaN if the flow fails."""
        follow = self._follow(carry.state, length)
        if follow is None:
            return carry._replace(state=jnp.full_like(carry.state, jnp.nan)), 0
        theta, end = follow
        t, h, rows, accepted = 0.0, float(carry.clock) or length, carry.basis, 0
        while t < length:
            last = t + h >= length * (1 - 1e-14)
            step = length - t if last else h
            at = t + step * np.concatenate([_NODES, 0.5 * _NODES, 0.5 + 0.5 * _NODES])
            thetas = jnp.asarray(theta(np.minimum(at, length)))
            new, error = _doubled(self.system.problem, thetas, rows, jnp.asarray(step), self.dense)
            size = float(error) / self.tolerance
            factor = min(max(0.9 * max(size, 1e-12) ** -0.2, 0.1), 5.0) if math.isfinite(size) else 0.1
            if size <= 1.0:
                t, rows, accepted = (length if last else t + step), new, accepted + 1
                h = h if last and factor * step < h else factor * step
            else:
                h = factor * step
            if h < _SMALLEST * length:
                return carry._replace(state=jnp.full_like(carry.state, jnp.nan)), accepted
        return Carry(jnp.asarray(end), rows, jnp.asarray(h)), accepted

    def _follow(self, state: Array, length: float) -> tuple[Callable, np.ndarray] | None:
        """(θ at times (T,) → (T, d), θ at the end); None if the flow fails."""
        problem, start = self.system.problem, np.asarray(state)
        rate = np.asarray(_rate(self.system, state))
        moves = np.linalg.norm(rate) * length / max(np.linalg.norm(start), 1e-300)
        if moves <= 1e-14:
            # It moves by rounding errors only, which step-size control would follow for nothing.
            return lambda times: start + np.outer(times, rate), start + length * rate
        # A flow known as training is guarded against a rising loss. Close to a minimum, where rounding lifts the
        # loss, that guard makes steps without end; so the field goes bare wherever its Jacobian stays affordable.
        bare = self.dense or moves <= 1e-6
        system = Flow(_bare_field, problem) if bare else self.system
        path = integrate(
            system,
            state,
            until=Until(time=length),
            rtol=max(1e-2 * self.tolerance, 1e-13),
            saves=np.array([0.0, length]),
            dense=True,
            progress=False,
        )
        if path.outcome is not Outcome.REACHED_TIME:
            return None
        return path.at, path.thetas[-1]

    def advance(self, carry: Carry, length: float, count: int, keep: bool) -> Advance:
        """On by `count` blocks, as `blocks.advance`."""
        parts, good, redone, spent = [], 0, 0, 0
        for _ in range(count):
            after, steps = self.move(carry, length)
            if not bool(jnp.all(jnp.isfinite(after.state))):
                break
            q, r = _factors(after.basis)
            spent += steps
            logs = np.log(np.maximum(np.asarray(jnp.diagonal(r)), 1e-300))
            if np.min(logs) < np.max(logs) + math.log(1e-8):
                redone += 1
                after, r, logs, more = self._in_pieces(carry, length / _PIECES)
                q, spent = after.basis, spent + more
            row = (logs, r, carry.basis, carry.state, carry.clock) if keep else (logs,)
            parts.append(tuple(np.asarray(value)[None] for value in row))
            carry, good = after._replace(basis=q), good + 1
        rows = joined(parts) if parts else Rows(np.zeros((0, carry.basis.shape[0])))
        return Advance(carry, rows, good, redone, spent)

    def _in_pieces(self, carry: Carry, piece: float):
        total, logs, spent = np.eye(carry.basis.shape[0]), 0.0, 0
        for _ in range(_PIECES):
            carry, steps = self.move(carry, piece)
            q, r = _factors(carry.basis)
            carry, spent = carry._replace(basis=q), spent + steps
            logs, total = logs + np.log(np.asarray(jnp.diagonal(r))), np.asarray(r) @ total
        return carry, total, logs, spent


def flow_mover(system: Flow, size: int, count: int, method: str, tolerance: float) -> tuple[Any, str]:
    """The mover of a flow, and its method in words.

    Raises:
        StabilityError: an unknown method, or exponentials of a flow that is not a gradient flow.
    """
    if method not in METHODS:
        raise StabilityError(f"method = {method!r}: expected one of {', '.join(METHODS)}")
    training = system.problem is not None and system.field is training_field
    if method == "exponential" and not training:
        raise StabilityError(
            'method="exponential" needs a symmetric Jacobian, which only training_flow(problem) is known to have: '
            'use method="joint"'
        )
    fits = size <= DENSE_EXPONENTIAL or count <= KRYLOV_TANGENTS
    if method == "exponential" or (method == "auto" and training and fits):
        dense = size <= DENSE_EXPONENTIAL
        how = "eigendecompositions" if dense else "Lanczos"
        return ExponentialMover(system, tolerance, dense), f"exponential ({how})"
    return JointMover(system, jnp.asarray(tolerance)), "joint (Dopri8)"


def propagate(
    system: Flow, state: Array, rows: Array, interval: float, *, method: str, tolerance: float
) -> tuple[Float[Array, " d"], Float[Array, "k d"]]:
    """State and tangents (rows) a time `interval` on, not made orthonormal.

    Raises:
        StabilityError: the flow leaves the finite numbers on the way.
    """
    mover, _ = flow_mover(system, state.size, rows.shape[0], method, tolerance)
    carry = Carry(state, rows, mover.clock())
    if isinstance(mover, ExponentialMover):
        moved, _ = mover.move(carry, interval)
    else:
        moved, _ = _move(mover, carry, jnp.asarray(interval))
    if not bool(jnp.all(jnp.isfinite(moved.state))):
        raise StabilityError(f"the flow leaves the finite numbers before the time {interval}")
    return moved.state, moved.basis


@eqx.filter_jit
def _move(mover: JointMover, carry: Carry, length: Array) -> tuple[Carry, Array]:
    return mover.move(carry, length)
