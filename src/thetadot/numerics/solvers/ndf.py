"""Numerical differentiation formulas of order 1 to 5 with variable steps, for gradient flow."""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from thetadot.numerics.solvers import ndf_table as table
from thetadot.numerics.solvers.ndf_dense import DenseAlgebra
from thetadot.numerics.solvers.ndf_krylov import KrylovAlgebra
from thetadot.numerics.solvers.stepping import RightSide, Step, Stepper, Verdict

_NEWTON = 0.05
_ITERATIONS = 4
_DIVERGES = 2.0
_WORTHWHILE = 1.2  # growth of the step that is worth a change of the grid
_LOWER, _SAME, _HIGHER = 1.3, 1.2, 1.4  # bias of the choice of order


class History(NamedTuple):
    """What a multistep method knows of the past."""

    differences: Float[Any, "rows m"]  # backward differences of y and of ∫|F|²
    order: Int[Any, ""]
    took: Int[Any, ""]  # order of the last accepted step
    h: Float[Any, ""]  # width of the grid of the differences
    equal: Int[Any, ""]  # steps since the grid changed
    failures: Int[Any, ""]  # rejections in a row
    rate: Float[Any, ""]  # Newton's contraction
    algebra: Any


class _Newton(NamedTuple):
    correction: Float[Any, " n"]
    point: Float[Any, " n"]
    field: Float[Any, " n"]
    loss: Float[Any, ""]
    move: Float[Any, " n"]
    size: Float[Any, ""]
    rate: Float[Any, ""]
    count: Int[Any, ""]
    evaluations: Int[Any, ""]
    products: Int[Any, ""]
    radius: Float[Any, ""]  # largest curvature met
    converged: Bool[Any, ""]
    diverged: Bool[Any, ""]


class NDF(Stepper):
    """The work horse for stiff flows: about one gradient a step at any stiffness.

    Backward differences of variable order on a grid whose width changes only when that pays. Newton's matrix
    I − cJ belongs to an earlier point as long as Newton converges. The states inside a step come from the polynomial
    that the formula itself uses.

    Arguments:
        linear: "cholesky" factors I + cH (LU where the Jacobian is not symmetric); "cg" needs no matrix.

    Source: Shampine & Reichelt (1997), The MATLAB ODE suite, SIAM J. Sci. Comput. 18; Newton's stopping rule:
        Hindmarsh et al. (2005), SUNDIALS.
    """

    linear: Literal["cholesky", "cg"] = eqx.field(static=True, default="cholesky")

    @property
    def name(self) -> str:
        return "NDF" if self.linear == "cholesky" else "NDF-cg"

    @property
    def error_order(self) -> int:
        return 2  # of the first step

    @property
    def interpolates(self) -> bool:
        return True

    @property
    def multistep(self) -> bool:
        return True

    @property
    def _algebra(self):
        return DenseAlgebra() if self.linear == "cholesky" else KrylovAlgebra()

    @property
    def needs_symmetry(self) -> bool:
        return self.linear == "cg"

    def start(self, right_side, args, y, field, h) -> History:
        """The first step is of order 1."""
        speed = jnp.sum(field**2)
        differences = jnp.zeros((table.ROWS, y.size + 1), y.dtype)
        differences = differences.at[0, :-1].set(y).at[1, :-1].set(h * field).at[1, -1].set(h * speed)
        one = jnp.asarray(1, jnp.int64)
        return History(
            differences, order=one, took=one, h=jnp.asarray(h), equal=0 * one, failures=0 * one,
            rate=jnp.ones_like(h), algebra=self._algebra.start(right_side, y, args),
        )  # fmt: skip

    def step(
        self,
        right_side: RightSide,
        args: Any,
        y: Float[Array, " n"],
        field: Float[Array, " n"],
        h: Float[Array, ""],
        tolerance: Float[Array, " n"],
        memory: History,
    ) -> Step:
        """Attempt one step; see `Stepper.step`."""
        del field
        order = memory.order
        differences = jax.lax.cond(
            h == memory.h,
            lambda: memory.differences,
            lambda: table.rescaled(memory.differences, order, h / memory.h),
        )
        alpha = jnp.asarray(table.ALPHA)[order]
        error_constant = jnp.asarray(table.ERROR)[order]
        past = jnp.arange(table.ROWS) <= order
        gamma = jnp.where(past, jnp.pad(jnp.asarray(table.GAMMA), (0, table.ROWS - table.GAMMA.size)), 0.0)
        predicted = past.astype(y.dtype) @ differences
        slope = (gamma @ differences) / alpha
        c = h / alpha
        algebra, solve, first, renewed, cost = self._algebra.prepare(
            memory.algebra, right_side, args, predicted[:-1], c
        )
        newton = self._newton(
            right_side, args, predicted[:-1], slope[:-1], c, tolerance, solve,
            first, jnp.where(renewed, 1.0, memory.rate), _NEWTON / error_constant,
        )  # fmt: skip
        solved = newton.converged & jnp.all(jnp.isfinite(newton.correction))
        correction = jnp.where(solved, newton.correction, 0.0)
        new = predicted[:-1] + correction
        # The formula itself gives the field at the new point: exact if Newton's equation is solved exactly.
        implied = (slope[:-1] + correction) / c
        work = c * jnp.sum(implied**2) - slope[-1]
        error = error_constant * correction
        half = 0.5 * right_side.loss_change(newton.field + implied, newton.move, args)
        curved = jnp.abs(0.5 * right_side.loss_change(implied - newton.field, newton.move, args))
        # What a state within its tolerance may lose or gain: near a minimum there is nothing else left to see.
        noise = jnp.abs(right_side.loss_change(algebra.spectral_radius * tolerance, tolerance, args))
        return Step(
            y=jnp.where(solved, new, y),
            field=implied,
            loss=newton.loss + half,
            error=error,
            squared_speed=predicted[-1] + work - differences[0, -1],
            squared_speed_error=error_constant * work,
            stiffness=h * algebra.spectral_radius,
            solved=solved,
            evaluations=newton.evaluations + cost.evaluations,
            jacobians=cost.jacobians,
            products=newton.products + cost.products,
            loss_error=curved + noise,
            memory=memory._replace(
                differences=differences, h=h, rate=newton.rate,
                algebra=algebra.after(newton.converged, newton.products, newton.radius),
            ),
        )  # fmt: skip

    def _newton(
        self, right_side, args, predicted, slope, c, tolerance, solve, first, rate, allowed
    ) -> _Newton:
        """Simplified Newton for correction = c·F(predicted + correction) − slope.

        The contraction of earlier steps decides whether the first iteration is enough, so that most steps cost one
        evaluation. What is left after an iteration is estimated as in CVODE.
        """

        def unfinished(state: _Newton):
            return ~state.converged & ~state.diverged & (state.count < _ITERATIONS)

        def iterate(state: _Newton):
            field, loss = jax.lax.cond(
                state.count == 0, lambda: first, lambda: right_side.evaluate(state.point, args)
            )
            residual = c * field - slope - state.correction
            move, products, radius = solve(residual, tolerance, allowed)
            size = jnp.sqrt(jnp.mean((move / tolerance) ** 2))
            fresh = jnp.where(state.count == 0, state.rate, jnp.maximum(0.3 * state.rate, size / state.size))
            # Beyond rounding nothing can be gained.
            floor = 10 * jnp.finfo(move.dtype).eps * jnp.sqrt(jnp.mean((state.point / tolerance) ** 2))
            converged = (size * jnp.minimum(1.0, fresh) <= allowed) | (size <= floor)
            diverged = ~jnp.isfinite(size) | ((state.count > 0) & (size > _DIVERGES * state.size))
            return _Newton(
                state.correction + move, state.point + move, field, loss, move, size, fresh, state.count + 1,
                state.evaluations + (state.count > 0).astype(jnp.int64), state.products + products,
                jnp.maximum(state.radius, radius), converged & ~diverged, diverged,
            )  # fmt: skip

        zero, none, no = jnp.zeros_like(c), jnp.asarray(0, jnp.int64), jnp.asarray(False)
        blank = jnp.zeros_like(predicted)
        return jax.lax.while_loop(
            unfinished, iterate,
            _Newton(blank, predicted, blank, zero, blank, zero + 1.0, rate, none, none, none, zero, no, no),
        )  # fmt: skip

    def settle(self, step: Step, verdict: Verdict) -> tuple[History, Float[Array, ""]]:
        """Order and width for the next step: changed only after order + 1 equal steps, and only if it pays."""
        memory: History = step.memory
        order, error_row = memory.order, jnp.asarray(table.ERROR)
        correction = step.error / error_row[order]
        work = step.squared_speed_error / error_row[order]
        moved = table.shifted(memory.differences, order, jnp.append(correction, work))
        moved = moved.at[0, :-1].set(step.y)
        accepted, error, _, norm = verdict
        equal = memory.equal + 1

        def wanted(bias, error, of_order):
            return 1.0 / (
                bias * jnp.maximum(error, 1e-10) ** (1.0 / (of_order + 1).astype(error.dtype)) + 1e-6
            )

        same = wanted(_SAME, error, order)
        lower_rows = jnp.where(accepted, moved, memory.differences)

        def size(rows, of_order):
            row = error_row[of_order] * jnp.take(rows, of_order + 1, axis=0)
            return norm(row[:-1], row[-1])

        below, above = size(lower_rows, order - 1), size(moved, order + 1)
        lower = jnp.where(order > 1, wanted(_LOWER, below, order - 1), 0.0)
        higher = jnp.where(order < table.HIGHEST, wanted(_HIGHER, above, order + 1), 0.0)
        best = jnp.maximum(same, jnp.maximum(lower, higher))
        change = accepted & (equal >= order + 1) & (best > _WORTHWHILE)
        chosen = order + jnp.where(same >= best, 0, jnp.where(higher >= best, 1, -1))

        # A failed error test: shrink as the error says, once with a lower order if that allows more.
        first = memory.failures == 0
        shorter = jnp.clip(jnp.where(first, jnp.maximum(same, lower), 0.5), 0.1, 0.9)
        reduced = jnp.where(first & (lower > same), order - 1, order)
        # A Newton iteration that fails with an old matrix is repeated with a new one, at the same step.
        unsolved = jnp.where(memory.algebra.wanted, 1.0, 0.3)
        retry = jnp.where(step.solved, jnp.where(jnp.isfinite(error), shorter, 0.25), unsolved)
        factor = jnp.where(accepted, jnp.where(change, jnp.minimum(best, 10.0), 1.0), retry)
        next_order = jnp.where(
            accepted, jnp.where(change, chosen, order), jnp.where(step.solved, reduced, order)
        )
        return memory._replace(
            differences=jnp.where(accepted, moved, memory.differences),
            order=next_order,
            took=jnp.where(accepted, order, memory.took),
            equal=jnp.where(accepted, jnp.where(change, 0, equal), 0),
            failures=jnp.where(accepted, 0, memory.failures + step.solved.astype(jnp.int64)),
        ), factor

    def interpolant(self, memory: History) -> Float[Array, "m k"]:
        """Backward differences at the end of the last step."""
        rows = memory.differences[: table.HIGHEST + 1]
        return jnp.where((jnp.arange(table.HIGHEST + 1) <= memory.took)[:, None], rows, 0.0)

    def basis(self, position: Float[Array, ""]) -> Float[Array, " m"]:
        """Newton's weights."""
        return table.basis(position - 1.0)
