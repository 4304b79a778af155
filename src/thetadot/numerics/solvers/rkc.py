"""Runge–Kutta–Chebyshev: an explicit method of order 2 with as many stages as stability asks for."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from thetadot.numerics.solvers.controller import accepted_factor
from thetadot.numerics.solvers.errors import SolverError
from thetadot.numerics.solvers.flat_term import flat_term
from thetadot.numerics.solvers.stepping import RightSide, Step, Stepper, Verdict

_DAMPING = 2 / 13
_FIRST_PRODUCTS, _WARM_PRODUCTS = 30, 4
_LASTS = 25  # accepted steps that an estimate of the spectral radius serves
_MARGIN = 1.2  # the curvature may grow that much before the next estimate
_ERROR_ORDER = 3


def stages_for(reach: Float[Array, ""]) -> Int[Array, ""]:
    """The number of stages that is stable for h·ρ = reach: ⌈1 + √(1 + 1.54·reach)⌉."""
    return jnp.ceil(1 + jnp.sqrt(1 + 1.54 * reach)).astype(jnp.int64)


def stability_limit(stages: int) -> float:
    """The largest h·ρ for which `stages_for` asks for at most that many stages."""
    return ((stages - 1) ** 2 - 1) / 1.54


class Chebyshev(NamedTuple):
    """A step: the increment and the field at its end, with the loss there, the error estimate, and ∫|F|² with its."""

    increment: Float[Array, " n"]
    field: Float[Array, " n"]
    loss: Float[Array, ""]
    error: Float[Array, " n"]
    squared_speed: Float[Array, ""]
    squared_speed_error: Float[Array, ""]


class _Stage(NamedTuple):
    increment: Float[Array, " n"]
    squared_speed: Float[Array, ""]
    elapsed: Float[Array, ""]  # the stage's time, as a part of h
    polynomial: Float[Array, "3"]  # T_j, T_j′, T_j″ at w0
    b: Float[Array, ""]


class _Loop(NamedTuple):
    made: Int[Array, ""]
    stage: _Stage
    before: _Stage
    field: Float[Array, " n"]
    loss: Float[Array, ""]


def chebyshev_step(
    evaluate: Callable[[Float[Array, " n"], Float[Array, ""]], tuple[Array, Array]],
    y: Float[Array, " n"],
    field: Float[Array, " n"],
    h: Float[Array, ""],
    stages: Int[Array, ""],
    most_stages: int,
    kind: Literal["lax", "checkpointed"] = "lax",
) -> Chebyshev:
    """One step with a traced number of stages ≥ 2 (with none, nothing is evaluated and the result means nothing).

    `evaluate` gives field and loss at a state and a time after the step's start. ∫|F|² and the stages' times go
    through the recurrence of the state, as components of rates |F|² and 1.
    """
    s = stages.astype(y.dtype)
    w0 = 1 + _DAMPING / s**2
    root = jnp.sqrt((w0 - 1) * (w0 + 1))
    angle = s * jnp.log1p(w0 - 1 + root)
    # T_s′(w0)/T_s″(w0), with T_s(cosh x) = cosh(s·x)
    w1 = jnp.sinh(angle) * root**2 / (jnp.cosh(angle) * s * root - w0 * jnp.sinh(angle))
    zero, one = jnp.zeros((), y.dtype), jnp.ones((), y.dtype)
    speed = jnp.sum(field**2)
    b = 1 / (4 * w0**2)

    def going_on(loop: _Loop):
        return loop.made < stages

    def advance(loop: _Loop) -> _Loop:
        last, before = loop.stage, loop.before
        slope, loss = evaluate(y + last.increment, last.elapsed * h)
        t, t1, t2 = last.polynomial
        u, u1, u2 = before.polynomial
        ahead = jnp.stack([2 * w0 * t - u, 2 * t + 2 * w0 * t1 - u1, 4 * t1 + 2 * w0 * t2 - u2])
        b_ahead = ahead[2] / ahead[1] ** 2
        mu, nu = 2 * b_ahead * w0 / last.b, -b_ahead / before.b
        step = 2 * b_ahead * w1 / last.b
        first = -(1 - last.b * t) * step

        def recur(now, earlier, rate, rate0):
            return mu * now + nu * earlier + step * rate + first * rate0

        stage = _Stage(
            recur(last.increment, before.increment, h * slope, h * field),
            recur(last.squared_speed, before.squared_speed, h * jnp.sum(slope**2), h * speed),
            recur(last.elapsed, before.elapsed, one, one),
            ahead,
            b_ahead,
        )
        return _Loop(loop.made + 1, stage, last, slope, loss)

    start = _Stage(jnp.zeros_like(y), zero, zero, jnp.stack([one, zero, zero]), b)
    first = _Stage(b * w1 * h * field, b * w1 * h * speed, b * w1, jnp.stack([w0, one, zero]), b)
    begin = _Loop(jnp.zeros_like(stages), first, start, field, zero)
    # The last round evaluates the field at the new point; the stage it prepares beyond that is not used.
    end = eqxi.while_loop(going_on, advance, begin, max_steps=most_stages, kind=kind)
    new = end.before
    return Chebyshev(
        new.increment,
        end.field,
        end.loss,
        0.4 * h * (field + end.field) - 0.8 * new.increment,
        new.squared_speed,
        0.4 * h * (speed + jnp.sum(end.field**2)) - 0.8 * new.squared_speed,
    )


class _Radius(NamedTuple):
    """The spectral radius of the Jacobian: an eigenvector, the estimate, accepted steps since, products still due."""

    vector: Float[Array, " n"]
    value: Float[Array, ""]
    age: Int[Array, ""]
    due: Int[Array, ""]

    def refreshed(self, linearize: Callable) -> "_Radius":
        """After the products that are due; `linearize` gives the product with the Jacobian at the present state."""

        def iterate():
            product = linearize()

            def once(_, found):
                image = product(found[0])
                size = jnp.linalg.norm(image)
                usable = (size > 0) & jnp.isfinite(size)
                return jnp.where(usable, image / jnp.where(usable, size, 1.0), found[0]), size

            return jax.lax.fori_loop(0, self.due, once, (self.vector, self.value))

        vector, value = jax.lax.cond(self.due > 0, iterate, lambda: (self.vector, self.value))
        none = jnp.zeros_like(self.age)
        return _Radius(vector, value, jnp.where(self.due > 0, none, self.age), none)

    def aged(self, accepted: Bool[Array, ""]) -> "_Radius":
        """After a step: the next one measures anew if this one failed or the estimate has served its time."""
        age = self.age + accepted.astype(jnp.int64)
        return self._replace(age=age, due=jnp.where(accepted & (age < _LASTS), 0, _WARM_PRODUCTS))


def _unknown_radius(y: Float[Array, " n"]) -> _Radius:
    vector = jax.random.normal(jax.random.key(0), y.shape, y.dtype)
    zero = jnp.asarray(0, jnp.int64)
    return _Radius(vector / jnp.linalg.norm(vector), jnp.zeros((), y.dtype), zero, zero + _FIRST_PRODUCTS)


class RKC2(diffrax.AbstractAdaptiveSolver):
    """Runge–Kutta–Chebyshev method of order 2: explicit, with stages added until the step is stable.

    s stages reach 0.65·s² along the negative real axis where s steps of an explicit method reach about 3s: mildly
    stiff problems that are too large for a matrix cost √(h·ρ) gradients a step. The spectral radius ρ of the Jacobian
    is measured by power iteration on Jacobian–vector products (30 at the start, 4 again every 25 accepted steps and
    after a rejection) and taken 20 % larger. The error estimate 0.8(y−y₁)+0.4h(F₀+F₁) is of order 3.

    Runs in `thetadot.flow` and in `diffrax.diffeqsolve`, there with any pytree as state, and with reverse-mode
    differentiation. A step that needs more than `most_stages` is rejected; with a constant step size, where nothing
    can be rejected, the state becomes NaN.

    Arguments:
        most_stages: largest number of stages of a step.

    Raises:
        SolverError: most_stages below 3.

    Source: B. P. Sommeijer, L. F. Shampine, J. G. Verwer, J. Comput. Appl. Math. 88 (1998) 315.

    Example:
        >>> import diffrax, jax.numpy as jnp
        >>> term = diffrax.ODETerm(lambda t, y, rates: -rates * y)
        >>> out = diffrax.diffeqsolve(term, RKC2(), 0.0, 1.0, None, jnp.ones(2), jnp.array([1.0, 3000.0]),
        ...     stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-9))
        >>> print(f"{out.ys[0, 0]:.3f}")
        0.368
    """

    most_stages: int = eqx.field(static=True, default=1000)

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar = diffrax.ThirdOrderHermitePolynomialInterpolation

    def __check_init__(self):
        if self.most_stages < 3:
            raise SolverError(f"most_stages is {self.most_stages}: expected an integer of at least 3")

    def order(self, terms: Any) -> int:
        return 2

    def error_order(self, terms: Any) -> int:
        return _ERROR_ORDER

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> Any:
        """Field, spectral radius and length of the last step."""
        y, _, field = flat_term(terms, t0, y0, args)
        zero = jnp.zeros((), y.dtype)
        return field(y, zero), _unknown_radius(y), zero

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any
    ) -> tuple:
        """One step; see `diffrax.AbstractSolver.step`."""
        y, unravel, rate = flat_term(terms, t0, y0, args)
        h = jnp.asarray(t1 - t0, y.dtype)
        field, radius, last_h = solver_state
        field = jax.lax.cond(made_jump, lambda: rate(y, jnp.zeros_like(h)), lambda: field)
        # A rejected step leaves no trace in the state: that the length has shrunk is how the retry is known.
        retried = h < 0.8 * last_h
        radius = radius._replace(due=jnp.where(retried, jnp.maximum(radius.due, _WARM_PRODUCTS), radius.due))
        held = jax.tree.map(_held, (terms, args))
        frozen = flat_term(held[0], _held(t0), jax.tree.map(_held, y0), held[1])
        radius = radius.refreshed(
            lambda: jax.linearize(lambda v: frozen.field(v, jnp.zeros_like(h)), frozen.y)[1]
        )
        stages = stages_for(_held(h) * _MARGIN * radius.value)
        possible = stages <= self.most_stages
        made = chebyshev_step(
            lambda state, elapsed: (rate(state, elapsed), jnp.zeros_like(h)),
            y, field, h, jnp.where(possible, stages, 0), self.most_stages, "checkpointed",
        )  # fmt: skip
        new = jnp.where(possible, y + made.increment, jnp.nan)
        error = jnp.where(possible, made.error, jnp.inf)
        y1 = unravel(new)
        dense = {"y0": y0, "y1": y1, "k0": unravel(h * field), "k1": unravel(h * made.field)}
        state = (made.field, radius.aged(jnp.asarray(True)), _held(h))
        return y1, unravel(error), dense, state, diffrax.RESULTS.successful

    def stepper(self) -> "RKC2Step":
        """The method as `thetadot.flow` runs it."""
        return RKC2Step(self.most_stages)


def _held(value: Any) -> Any:
    return jax.lax.stop_gradient(value) if eqx.is_inexact_array(value) else value


class _Memory(NamedTuple):
    radius: _Radius
    too_long: Bool[Array, ""]  # the step would have needed too many stages
    previous: Float[Array, ""]  # error of the last accepted step


class RKC2Step(Stepper):
    """One step of `RKC2` along a flow, with its loss and ∫|F|²."""

    most_stages: int = eqx.field(static=True)

    @property
    def name(self) -> str:
        return "RKC2"

    @property
    def error_order(self) -> int:
        return _ERROR_ORDER

    @property
    def stability_limit(self) -> float:
        return stability_limit(self.most_stages) / _MARGIN

    def start(
        self,
        right_side: RightSide,
        args: Any,
        y: Float[Array, " n"],
        field: Float[Array, " n"],
        h: Float[Array, ""],
    ) -> _Memory:
        """Nothing is known yet: the first step makes the products, and counts them."""
        del right_side, args, field
        return _Memory(_unknown_radius(y), jnp.asarray(False), jnp.ones_like(h))

    def step(
        self,
        right_side: RightSide,
        args: Any,
        y: Float[Array, " n"],
        field: Float[Array, " n"],
        h: Float[Array, ""],
        tolerance: Float[Array, " n"],
        memory: _Memory,
    ) -> Step:
        """Attempt one step; see `Stepper.step`."""
        del tolerance
        products = memory.radius.due
        radius = memory.radius.refreshed(lambda: right_side.linearize(y, args)[2])
        stages = stages_for(h * _MARGIN * radius.value)
        possible = stages <= self.most_stages
        stages = jnp.where(possible, stages, 0)
        made = chebyshev_step(
            lambda state, elapsed: right_side.evaluate(state, args), y, field, h, stages, self.most_stages
        )
        return Step(
            y=y + made.increment,
            field=made.field,
            loss=made.loss,
            error=made.error,
            squared_speed=made.squared_speed,
            squared_speed_error=made.squared_speed_error,
            stiffness=h * radius.value,
            solved=possible,
            evaluations=stages + (products > 0).astype(jnp.int64),
            jacobians=jnp.asarray(0, jnp.int64),
            products=products,
            memory=memory._replace(radius=radius, too_long=~possible),
        )

    def settle(self, step: Step, verdict: Verdict) -> tuple[_Memory, Float[Array, ""]]:
        """The memory for the next step, which is never so long as to need too many stages."""
        memory: _Memory = step.memory
        longest = 0.999 * stability_limit(self.most_stages) / jnp.maximum(_MARGIN * step.stiffness, 1e-300)
        grown = jnp.minimum(accepted_factor(verdict.error, memory.previous, _ERROR_ORDER), longest)
        factor = jnp.where(verdict.accepted, grown, jnp.where(memory.too_long, longest, math.nan))
        radius = memory.radius.aged(verdict.accepted | memory.too_long)
        previous = jnp.where(verdict.accepted, verdict.error, memory.previous)
        return memory._replace(radius=radius, previous=previous), factor
