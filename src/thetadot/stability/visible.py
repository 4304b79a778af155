"""Whether differentiation sees all that a step does: `stop_gradient` hides part of it, and tangents would be wrong."""

from typing import Any

import equinox as eqx
import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jaxtyping import Array, Float

from thetadot.dynamics import Flow
from thetadot.stability.errors import HiddenDependenceError

_VISIBLE = 1e-11
# These bring a derivative of their own; what their authors stop inside is their authors' business.
_OWN_RULE = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_lin")


def check_visible(system: Any, state: Float[Array, " d"], n: int = 0) -> None:
    """Refuse a step (of a flow: a field) whose derivative is not what differentiation makes of it.

    That a step contains `stop_gradient` says little: log-softmax stops the gradient of a shift which cancels. So its
    tangent along a random nudge is compared with that of the same program without the stops.

    Raises:
        HiddenDependenceError: they differ.
    """
    hidden = float(_hidden(system, state, jnp.asarray(n, jnp.int32)))
    what = "field" if isinstance(system, Flow) else "step"
    if hidden > _VISIBLE:
        raise HiddenDependenceError(
            f"the {what} hides part of its dependence on the state behind stop_gradient: tangents would be off by "
            f"{hidden:.1e} of their size. Leave stop_gradient out, or make what it stops a part of the state"
        )


@eqx.filter_jit
def _hidden(system: Any, state: Array, n: Array) -> Array:
    """Largest difference of tangents with and without stops, relative to the largest tangent; 0 without stops."""

    def step(point: Array) -> Array:
        return system.field(point, system.args) if isinstance(system, Flow) else system(point, n)

    program = jax.make_jaxpr(step)(state)
    if not _stops(program.jaxpr):
        return jnp.zeros(())
    opened = jex.jaxpr_as_fun(program.replace(jaxpr=_without_stops(program.jaxpr)))
    nudge, aside, elsewhere = jax.random.normal(jax.random.key(0), (3, *state.shape))

    def sizes(point: Array) -> tuple[Array, Array]:
        seen = jax.jvp(step, (point,), (nudge,))[1]
        true = jax.jvp(lambda x: opened(x)[0], (point,), (nudge,))[1]
        return jnp.linalg.norm(true - seen), jnp.linalg.norm(true)

    # Where the state stands, what is hidden may vanish, so it is looked at beside it. Late in training a field's
    # tangents are smaller than the rounding errors of stops that cancel, so that a point elsewhere sets the scale.
    points = jnp.stack([state, state + 1e-2 * (1.0 + jnp.abs(state)) * aside, elsewhere])
    away, size = jax.lax.map(sizes, points)
    finite = jnp.isfinite(away) & jnp.isfinite(size)
    return jnp.max(jnp.where(finite, away, 0.0)) / (jnp.max(jnp.where(finite, size, 0.0)) + 1e-300)


def _stops(jaxpr: Any) -> bool:
    return any(
        equation.primitive is jex.primitives.stop_gradient_p
        or (
            equation.primitive.name not in _OWN_RULE
            and any(map(_stops, jex.jaxprs_in_params(equation.params)))
        )
        for equation in jaxpr.eqns
    )


def _without_stops(jaxpr: Any) -> Any:
    """The same program with copies in the place of stops."""

    def inner(value: Any) -> Any:
        if isinstance(value, jex.Jaxpr):
            return _without_stops(value)
        if isinstance(value, jex.ClosedJaxpr):
            return value.replace(jaxpr=_without_stops(value.jaxpr))
        return tuple(map(inner, value)) if type(value) is tuple else value

    def opened(equation: Any) -> Any:
        if equation.primitive is jex.primitives.stop_gradient_p:
            return equation.replace(primitive=jex.primitives.copy_p)
        if equation.primitive.name in _OWN_RULE:
            return equation
        return equation.replace(params={name: inner(value) for name, value in equation.params.items()})

    return jaxpr.replace(eqns=[opened(equation) for equation in jaxpr.eqns])
