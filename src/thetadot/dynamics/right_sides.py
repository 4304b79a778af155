"""Flows as solvers see them: a flat state, its field and its loss."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.errors import PrecisionError, ThetadotError
from thetadot.numerics.solvers import RightSide


class StateError(ThetadotError):
    """A state of the wrong kind, size or content."""


class TrainingSide(RightSide):
    """Gradient flow of the problem that is passed as args: field −time_scale·∇L, loss L, Jacobian −time_scale·H."""

    def evaluate(self, y: Float[Array, " n"], args: Any) -> tuple[Float[Array, " n"], Float[Array, ""]]:
        """Field and loss from one gradient."""
        loss, gradient = args.value_and_grad(y)
        return -args.time_scale * gradient, loss

    def jacobian(self, y: Float[Array, " n"], args: Any) -> Float[Array, "n n"]:
        """−time_scale·H."""
        return -args.time_scale * args.hessian(y)

    def linearize(
        self, y: Float[Array, " n"], args: Any
    ) -> tuple[Float[Array, " n"], Float[Array, ""], Callable[[Float[Array, " n"]], Float[Array, " n"]]]:
        """Field, loss, and the product with −time_scale·H."""
        loss, gradient, push = args.linearize(y)
        return -args.time_scale * gradient, loss, lambda vector: -args.time_scale * push(vector)

    def loss_change(self, field: Float[Array, " n"], move: Float[Array, " n"], args: Any) -> Float[Array, ""]:
        """∇L·move, with ∇L from the field."""
        return -(field @ move) / args.time_scale

    @property
    def symmetric(self) -> bool:
        return True

    @property
    def has_loss(self) -> bool:
        return True


class StateShape(eqx.Module):
    """How a flat vector is a user's pytree; hashable, so that an equal shape does not retrace."""

    structure: Any = eqx.field(static=True)
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    def unravel(self, flat: Float[Array, " n"]) -> Any:
        """The pytree of a flat vector."""
        leaves, start = [], 0
        for shape in self.shapes:
            size = int(np.prod(shape, dtype=int))
            leaves.append(flat[start : start + size].reshape(shape))
            start += size
        return jax.tree.unflatten(self.structure, leaves)

    @property
    def groups(self) -> np.ndarray:
        """Index of the leaf of each component."""
        return np.repeat(np.arange(len(self.shapes)), [int(np.prod(s, dtype=int)) for s in self.shapes])


def ravel(tree: Any) -> Float[Array, " n"]:
    """All leaves of a pytree in tree order, as one vector."""
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(tree)])


class SystemSide(RightSide):
    """A user's field (state, args) → d state/dt on a pytree state; its loss is evaluated at saves only."""

    field: Callable
    shape: StateShape

    def evaluate(self, y: Float[Array, " n"], args: Any) -> tuple[Float[Array, " n"], Float[Array, ""]]:
        """Field; the loss is NaN."""
        return ravel(self.field(self.shape.unravel(y), args)), jnp.asarray(jnp.nan, y.dtype)

    def jacobian(self, y: Float[Array, " n"], args: Any) -> Float[Array, "n n"]:
        """∂F/∂y by forward mode."""
        return jax.jacfwd(lambda state: self.evaluate(state, args)[0])(y)

    def loss_change(self, field: Float[Array, " n"], move: Float[Array, " n"], args: Any) -> Float[Array, ""]:
        """NaN: no loss."""
        return jnp.asarray(jnp.nan, field.dtype)

    @property
    def symmetric(self) -> bool:
        return False

    @property
    def has_loss(self) -> bool:
        return False


class OnState(eqx.Module):
    """A user's function of (pytree state, args), as a function of the flat state."""

    fn: Callable
    shape: StateShape

    def __call__(self, y: Float[Array, " n"], args: Any) -> Any:
        return self.fn(self.shape.unravel(y), args)


def flat_state(state: Any, what: str) -> tuple[Float[Array, " n"], StateShape]:
    """A float64 vector and its shape from a user's state.

    Raises:
        PrecisionError: float32 leaves, or float64 is switched off.
        StateError: integer, empty or non-finite leaves.
    """
    leaves, structure = jax.tree.flatten(state)
    if not leaves:
        raise StateError(f"{what} has no arrays: expected float64 arrays")
    if not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise PrecisionError(
            "float64 is switched off: unset THETADOT_X64, or set jax_enable_x64 before anything else"
        )
    for leaf in leaves:
        kind = np.asarray(leaf).dtype
        if kind in (np.float32, np.float16) or kind.name == "bfloat16":
            raise PrecisionError(f"{what} is {kind}: expected float64; convert with x.astype('float64')")
        if kind != np.float64:
            raise StateError(f"{what} is {kind}: expected float64")
        if not np.all(np.isfinite(np.asarray(leaf))):
            raise StateError(f"{what} contains NaN or infinite values")
    arrays = [jnp.asarray(leaf) for leaf in leaves]
    shape = StateShape(structure, tuple(tuple(a.shape) for a in arrays))
    flat = jnp.concatenate([jnp.ravel(a) for a in arrays])
    if flat.size == 0:
        raise StateError(f"{what} is empty")
    return flat, shape
