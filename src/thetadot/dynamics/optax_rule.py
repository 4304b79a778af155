"""Any Optax transformation as a learning rule whose whole memory is one vector of floats."""

import contextlib
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from thetadot.dynamics.closures import shared
from thetadot.dynamics.rates import Rate, RuleError, as_rate, rate_in_words
from thetadot.dynamics.right_sides import StateError
from thetadot.dynamics.rules import Rule
from thetadot.errors import PrecisionError

# Step numbers at which counters are probed; periods that divide none of their successors would have to be
# longer.
_PROBED = (0, 1, 2, 3, 10, 99, 1000, 1_234_567)


class Optax(Rule):
    """A gradient transformation of Optax, θ′ = θ + update(∇L(θ)).

    The state is θ followed by the float leaves of Optax's state in tree order. Integer leaves are not
    state: at step n they are set to n, the number of updates made so far, so that any step can be replayed
    and linearised. Updates that ask for them get `value=L(θ)` and `grad=∇L(θ)`.

    Arguments:
        transformation: an `optax.GradientTransformation` for a flat float64 vector.
        learning_rate: what one step counts on the time axis, a number (may be traced) or a schedule n →
            number. It does not change the updates: state the learning rate that the transformation has.
            Without it a path's time is its step number.
        name: what summaries call the transformation.

    Raises:
        StateError: counters that do not count updates (gradient accumulation, `apply_every`, random keys
            and flags in the state): they could not be set from n.
        PrecisionError: float leaves that are not float64.
        RuleError: not a transformation, or one that cannot take a flat vector.

    Example:
        >>> import optax
        >>> Optax(optax.adam(1e-3), learning_rate=1e-3, name="adam").description
        'adam (Optax), learning rate 0.001'
    """

    transformation: optax.GradientTransformation
    learning_rate: Rate | None
    name: str = eqx.field(static=True)

    def __init__(self, transformation, learning_rate=None, name="transformation"):
        if not callable(getattr(transformation, "init", None)) or not callable(
            getattr(transformation, "update", None)
        ):
            raise RuleError(
                f"Optax got a {type(transformation).__name__}: expected a transformation as optax.adam(1e-3)"
            )
        self.transformation = shared(transformation)
        self.learning_rate = None if learning_rate is None else as_rate(learning_rate, "learning_rate")
        self.name = name
        _check_counters(transformation)

    @property
    def needs_loss(self) -> bool:
        """Whether the transformation asks for more than the gradient."""
        return isinstance(self.transformation, optax.GradientTransformationExtraArgs)

    def start(self, theta: Float[Array, " P"]) -> Float[Array, " d"]:
        """θ and the floats of Optax's initial state."""
        with _lenient_promotion():
            memory = self.transformation.init(theta)
        return jnp.concatenate([theta, *_floats(memory)])

    def apply(
        self,
        state: Float[Array, " d"],
        n: Int[Array, ""],
        loss: Float[Array, ""],
        gradient: Float[Array, " P"],
    ) -> Float[Array, " d"]:
        """One update of θ and of the floats."""
        theta, floats = state[: gradient.size], state[gradient.size :]
        with _lenient_promotion():
            shapes = jax.eval_shape(self.transformation.init, theta)
            change, memory = _update(self.transformation, _with(shapes, floats, n), theta, loss, gradient)
        return jnp.concatenate([jnp.asarray(optax.apply_updates(theta, change)), *_floats(memory)])

    @property
    def description(self) -> str:
        """Name and, where given, learning rate."""
        text = f"{self.name} (Optax)"
        return (
            text
            if self.learning_rate is None
            else f"{text}, learning rate {rate_in_words(self.learning_rate)}"
        )


@contextlib.contextmanager
def _lenient_promotion():
    """Optax mixes integer counters with floats, which strict promotion forbids."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def _update(transformation, memory, theta, loss, gradient):
    complete = optax.with_extra_args_support(transformation)
    try:
        return complete.update(gradient, memory, theta, value=loss, grad=gradient)
    except TypeError as error:
        raise RuleError(
            f"the transformation's update cannot be called: {error}. A rule of a map hands on value=L(θ) and "
            "grad=∇L(θ) only, in float64; line searches and accumulators in float32 cannot be used"
        ) from error


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _floats(memory: Any) -> Sequence[Float[Array, " leaf"]]:
    return [jnp.ravel(leaf) for leaf in jax.tree.leaves(memory) if _is_float(leaf)]


def _with(shapes: Any, floats: Float[Array, " floats"], n: Int[Array, ""]) -> Any:
    """Optax's state of these shapes from its floats, all counters at n."""
    leaves, structure = jax.tree.flatten(shapes)
    filled, place = [], 0
    for leaf in leaves:
        if _is_float(leaf):
            filled.append(floats[place : place + leaf.size].reshape(leaf.shape).astype(leaf.dtype))
            place += leaf.size
        else:
            filled.append(jnp.broadcast_to(jnp.asarray(n).astype(leaf.dtype), leaf.shape))
    return jax.tree.unflatten(structure, filled)


def _check_counters(transformation: Any) -> None:
    """Raise unless every integer leaf is the number of updates made so far, whichever number it is set to."""
    theta = jnp.asarray([0.5, -1.0, 2.0])
    gradient = jnp.asarray([0.25, 1.0, -0.5])
    # Counters are evaluated at once even where a traced learning rate is in the transformation.
    with jax.ensure_compile_time_eval(), _lenient_promotion():
        try:
            memory = transformation.init(theta)
        except Exception as error:
            raise RuleError(f"the transformation cannot take a flat vector of parameters: {error}") from error
        named = [
            (jax.tree_util.keystr(path), jnp.asarray(leaf))
            for path, leaf in jax.tree.leaves_with_path(memory)
        ]
        for name, leaf in named:
            _check_kind(name, leaf)
        floats = jnp.concatenate([jnp.zeros(0), *(leaf.astype(float) for leaf in _floats(memory))])

        def after(n):
            _, new = _update(transformation, _with(memory, floats, n), theta, jnp.asarray(1.0), gradient)
            return [leaf for leaf in jax.tree.leaves(new) if not _is_float(leaf)]

        counters = [name for name, leaf in named if not _is_float(leaf)]
        numbers = jnp.asarray(_PROBED, jnp.int32)
        # Without counters a trace shows whether the update can be called.
        counted = jax.vmap(after)(numbers) if counters else jax.eval_shape(after, numbers[0])
    for name, values in zip(counters, counted, strict=True):
        for n, value in zip(_PROBED, np.asarray(values), strict=True):
            if np.any(value != n + 1):
                raise StateError(
                    f"the counter {name} of the transformation is {value} after an update from {n}: integers "
                    "of an optimizer must count its updates, since they are set from the step number. "
                    "Gradient accumulation cannot be run as a map; use a rule whose every step is an update"
                )
    for name, leaf in named:
        if _is_float(leaf) and leaf.dtype != np.float64:
            raise PrecisionError(f"{name} of the transformation's state is {leaf.dtype}: expected float64")


def _check_kind(name: str, leaf: Array) -> None:
    kind = leaf.dtype
    if _is_float(leaf):
        return
    if not jnp.issubdtype(kind, jnp.integer):
        raise StateError(
            f"{name} of the transformation's state is {kind}: expected float64 numbers and integer counters. "
            "Flags and random keys cannot be set from the step number; noise is what MiniBatch offers"
        )
    if np.any(np.asarray(leaf) != 0):
        raise StateError(
            f"the integer {name} of the transformation's state starts at {np.asarray(leaf)}: expected 0, "
            "since it must count the updates made so far"
        )
