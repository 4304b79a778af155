"""Newton's equation of a multistep method by conjugate gradients, deflated by the leading curvatures."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from thetadot.numerics.linalg import qr_positive
from thetadot.numerics.solvers.ndf_dense import Cost
from thetadot.numerics.solvers.stepping import RightSide

_RESIDUAL = 0.5  # residual of the linear solve, as a part of what Newton may leave
_MOST_PRODUCTS = 200
_ENOUGH = 3  # products a step that deflation is not expected to save
_LARGEST_BASIS = 32
_BASIS_NUMBERS = 4_000_000  # numbers in the basis and its image


class Deflation(NamedTuple):
    """Approximate eigenvectors of −J of an earlier point, with their curvatures."""

    vectors: Float[Any, "m n"]
    images: Float[Any, "m n"]  # −J times them
    curvatures: Float[Any, " m"]
    ready: Bool[Any, ""]
    excess: Int[Any, ""]  # products beyond the usual since the basis was made
    spectral_radius: Float[Any, ""]
    wanted: Bool[Any, ""]  # never: the linearisation belongs to the step itself

    def after(self, converged: Bool[Any, ""], products: Int[Any, ""], radius: Float[Any, ""]) -> "Deflation":
        """The state after Newton's iteration."""
        del converged
        excess = self.excess + jnp.maximum(products - _ENOUGH, 0)
        return self._replace(excess=excess, spectral_radius=jnp.maximum(radius, 0.9 * self.spectral_radius))


class KrylovAlgebra(eqx.Module):
    """Conjugate gradients on I − cJ with products only.

    The preconditioner inverts I − cJ on the leading eigenvectors of an earlier point. When the products that a better
    basis would have saved amount to its cost, the basis is renewed by one block power step with Rayleigh–Ritz.
    """

    def start(self, right_side: RightSide, y: Float[Array, " n"], args: Any) -> Deflation:
        """A block of fixed vectors that no problem is likely to be orthogonal to."""
        del right_side, args
        count = int(np.clip(_BASIS_NUMBERS // (2 * y.size), 4, min(_LARGEST_BASIS, max(1, y.size // 2))))
        block = np.cos(np.outer(np.arange(1.0, count + 1), np.arange(1.0, y.size + 1) ** 1.5))
        vectors = qr_positive(jnp.asarray(block).T)[0].T
        zero = jnp.zeros((), y.dtype)
        return Deflation(
            vectors, vectors, jnp.zeros((count,), y.dtype), ready=jnp.asarray(False),
            excess=jnp.asarray(0, jnp.int64), spectral_radius=zero, wanted=jnp.asarray(False),
        )  # fmt: skip

    def prepare(
        self,
        state: Deflation,
        right_side: RightSide,
        args: Any,
        predicted: Float[Array, " n"],
        c: Float[Array, ""],
    ):
        """The state for this step, the solver of (I − cJ)·move = residual, field and loss at the predicted point,
        whether the solver is a new one, and what that took."""
        field, loss, product = right_side.linearize(predicted, args)
        count = state.curvatures.size
        renew = state.excess > count
        powers = jnp.where(renew, jnp.where(state.ready, 1, 3), 0)
        state = jax.lax.cond(renew, lambda: _renewed(state, product, powers), lambda: state)
        # Nothing is gained on directions that the step leaves alone, or that grow.
        shrink = jnp.where(
            state.ready & (c * state.curvatures > 0), 1 / (1 + c * jnp.abs(state.curvatures)) - 1, 0.0
        )

        def operator(vector):
            return vector - c * product(vector)

        def precondition(residual):
            return residual + (shrink * (state.vectors @ residual)) @ state.vectors

        def solve(residual, tolerance, allowed):
            found = _conjugate_gradients(operator, precondition, residual, tolerance, _RESIDUAL * allowed)
            move = jnp.where(found.indefinite, jnp.nan, found.solution)
            return move, found.products, found.largest / c

        one = jnp.asarray(1, jnp.int64)
        return state, solve, (field, loss), jnp.asarray(False), Cost(one, 0 * one, powers * count)


def _renewed(state: Deflation, product: Callable, powers: Int[Array, ""]) -> Deflation:
    """Power steps on the block, then Rayleigh–Ritz."""

    def power(_, pair):
        vectors = qr_positive(pair[0].T)[0].T
        # One product at a time: a batch of them leaves the caches and costs up to three times as much.
        return -jax.lax.map(product, vectors), vectors

    images, vectors = jax.lax.fori_loop(0, powers, power, (state.images, state.vectors))
    projected = images @ vectors.T
    curvatures, rotation = jnp.linalg.eigh(0.5 * (projected + projected.T))
    return state._replace(
        vectors=rotation.T @ vectors, images=rotation.T @ images, curvatures=curvatures,
        ready=jnp.asarray(True), excess=jnp.zeros_like(state.excess),
        spectral_radius=jnp.max(jnp.abs(curvatures)),
    )  # fmt: skip


class _Descent(NamedTuple):
    solution: Float[Any, " n"]
    residual: Float[Any, " n"]
    better: Float[Any, " n"]
    direction: Float[Any, " n"]
    power: Float[Any, ""]
    products: Int[Any, ""]
    largest: Float[Any, ""]
    indefinite: Bool[Any, ""]


def _conjugate_gradients(operator, precondition, residual, tolerance, target) -> _Descent:
    """Preconditioned conjugate gradients from 0 until the preconditioned residual is `target` in the step's norm.

    I − cJ ≥ I where nothing grows, so that the residual bounds the error. `largest` is the largest Rayleigh quotient
    of −cJ met on the way.
    """

    def size(vector):
        return jnp.sqrt(jnp.mean((vector / tolerance) ** 2))

    def going(state: _Descent):
        # A correction that is left out for being small would freeze the field: one product is always taken.
        large = (size(state.better) > target) | (state.products == 0)
        return large & (state.products < _MOST_PRODUCTS) & ~state.indefinite

    def advance(state: _Descent):
        image = operator(state.direction)
        along, square = state.direction @ image, state.direction @ state.direction
        indefinite = ~(along > 0) & (square > 0)
        length = jnp.where(indefinite, 0.0, state.power / jnp.where(indefinite, 1.0, along))
        left = state.residual - length * image
        better = precondition(left)
        power = left @ better
        return _Descent(
            state.solution + length * state.direction, left, better,
            better + power / jnp.maximum(state.power, 1e-300) * state.direction, power, state.products + 1,
            jnp.maximum(state.largest, along / jnp.maximum(square, 1e-300) - 1), indefinite,
        )  # fmt: skip

    better = precondition(residual)
    zero = jnp.zeros((), residual.dtype)
    first = _Descent(
        jnp.zeros_like(residual), residual, better, better, residual @ better, jnp.asarray(0, jnp.int64), zero,
        jnp.asarray(False),
    )  # fmt: skip
    return jax.lax.while_loop(going, advance, first)
