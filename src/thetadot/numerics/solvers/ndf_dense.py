"""Newton's matrix I − cJ of a multistep method, factored."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from thetadot.numerics.solvers.stepping import RightSide

_DRIFT = 0.25  # relative change of c that a factorisation survives
_FACTOR_AGE, _JACOBIAN_AGE = 20, 50  # steps for which factors and Jacobian are used


class Cost(NamedTuple):
    """Evaluations, Jacobians and Jacobian–vector products."""

    evaluations: Int[Any, ""]
    jacobians: Int[Any, ""]
    products: Int[Any, ""]


class Factored(NamedTuple):
    """The Jacobian of an earlier point and the factors for an earlier c."""

    jacobian: Float[Any, "n n"]
    factor: Any
    c: Float[Any, ""]
    spectral_radius: Float[Any, ""]
    wanted: Bool[Any, ""]  # a new Jacobian is due
    stale: Bool[Any, ""]  # the Jacobian belongs to an earlier step
    factor_age: Int[Any, ""]
    jacobian_age: Int[Any, ""]

    def after(self, converged: Bool[Any, ""], products: Int[Any, ""], radius: Float[Any, ""]) -> "Factored":
        """The state after Newton's iteration; a failure with an old Jacobian asks for a new one."""
        del products, radius
        return self._replace(
            wanted=~converged & self.stale, stale=self.stale | converged,
            factor_age=self.factor_age + 1, jacobian_age=self.jacobian_age + 1,
        )  # fmt: skip


class DenseAlgebra(eqx.Module):
    """Cholesky factors of I − cJ where the Jacobian is symmetric, LU factors otherwise."""

    def start(self, right_side: RightSide, y: Float[Array, " n"], args: Any) -> Factored:
        """Nothing is computed before the first step."""
        del args
        identity = jnp.eye(y.size, dtype=y.dtype)
        zero, yes, none = jnp.zeros((), y.dtype), jnp.asarray(True), jnp.asarray(0, jnp.int64)
        return Factored(
            jnp.zeros_like(identity),
            _factor(identity, right_side.symmetric),
            zero,
            zero,
            yes,
            yes,
            none,
            none,
        )

    def prepare(
        self,
        state: Factored,
        right_side: RightSide,
        args: Any,
        predicted: Float[Array, " n"],
        c: Float[Array, ""],
    ):
        """The state for this step, the solver of (I − cJ)·move = residual, field and loss at the predicted point,
        whether the solver is a new one, and what that took."""
        first = right_side.evaluate(predicted, args)
        renew = state.wanted | (state.jacobian_age >= _JACOBIAN_AGE)
        jacobian, radius = jax.lax.cond(
            renew,
            lambda: _jacobian(right_side, args, predicted, first[0]),
            lambda: (state.jacobian, state.spectral_radius),
        )
        again = renew | ~(jnp.abs(c / state.c - 1) <= _DRIFT) | (state.factor_age >= _FACTOR_AGE)
        factor = jax.lax.cond(
            again,
            lambda: _factor(jnp.eye(predicted.size) - c * jacobian, right_side.symmetric),
            lambda: state.factor,
        )
        factored = jnp.where(again, c, state.c)

        def solve(residual, tolerance, allowed):
            del tolerance, allowed
            # Between the true matrix and one for another c: the best scalar for stiff and slow directions alike.
            move = _solve(factor, residual, right_side.symmetric) * (2 / (1 + c / factored))
            return move, jnp.asarray(0, jnp.int64), jnp.zeros_like(c)

        one = jnp.asarray(1, jnp.int64)
        fresh = Factored(
            jacobian, factor, factored, radius, wanted=jnp.asarray(False), stale=state.stale & ~renew,
            factor_age=jnp.where(again, 0, state.factor_age), jacobian_age=jnp.where(renew, 0, state.jacobian_age),
        )  # fmt: skip
        return fresh, solve, first, again, Cost(one, renew.astype(jnp.int64), 0 * one)


def _jacobian(right_side: RightSide, args: Any, y, field):
    """The Jacobian and an estimate of its spectral radius, by a few power iterations."""
    matrix = right_side.jacobian(y, args)

    def iterate(_, vector):
        image = matrix @ vector
        return image / jnp.maximum(jnp.sqrt(jnp.sum(image**2)), 1e-300)

    vector = jax.lax.fori_loop(0, 8, iterate, field)
    return matrix, jnp.sqrt(jnp.sum((matrix @ vector) ** 2))


def _factor(matrix: Float[Array, "n n"], symmetric: bool):
    if symmetric:
        return jax.scipy.linalg.cholesky(matrix, lower=True)
    return jax.scipy.linalg.lu_factor(matrix)


def _solve(factor, right: Float[Array, " n"], symmetric: bool) -> Float[Array, " n"]:
    if symmetric:
        return jax.scipy.linalg.cho_solve((factor, True), right)
    return jax.scipy.linalg.lu_solve(factor, right)
