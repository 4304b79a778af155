"""The exponential Rosenbrock method of order 5 with 4 stages, in the eigenbasis of a symmetric Jacobian."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import diffrax
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from thetadot.numerics.phi import phi
from thetadot.numerics.solvers.flat_term import flat_term
from thetadot.numerics.solvers.stepping import RightSide, Step, Stepper

_ORDER = 5
_NODES = (0.25, 0.5, 0.9)
_GAUSS = tuple(0.5 * (1 + node) for node in np.polynomial.legendre.leggauss(9)[0])
_GAUSS_WEIGHTS = tuple(0.5 * np.polynomial.legendre.leggauss(9)[1])
_NEAR = 2.0

# What is left of the field beside its linear part, D(s) = F(y(s)) − F₀ − J·(y(s) − y₀) at s = t/h, vanishes with its
# first derivative at 0: it is d₂s² + d₃s³, fitted to two stages. Rows: d₂, d₃; columns: D at ¼, ½, 0.9.
_FIT = np.zeros((2, 3))
_FIT[:, 1:] = np.linalg.inv([[c**2, c**3] for c in _NODES[1:]])
_EMBEDDED_FIT = np.zeros((2, 3))
_EMBEDDED_FIT[:, :2] = np.linalg.inv([[c**2, c**3] for c in _NODES[:2]])


class Modes(NamedTuple):
    """A step in the eigenbasis (columns of `basis`): what y(s) = y₀ + basis·x(s) is made of.

    Each mode obeys x′ = h·(f + s·g) + z·x + h·(d₂s² + d₃s³), z = h·λ, of which `at` is the exact solution.
    """

    basis: Float[Array, "n n"]
    z: Float[Array, " n"]
    first: Float[Array, " n"]  # h·f
    drift: Float[Array, " n"]  # h·g, of a field that depends on time
    rest: Float[Array, "2 n"]  # h·d₂, h·d₃

    def at(self, s: Float[Array, ""]) -> Float[Array, " n"]:
        """x(s) for s in [0, 1]."""
        one, two, three, four = phi(s * self.z)
        square, cube = self.rest
        return (
            s * one * self.first
            + s**2 * two * self.drift
            + 2 * s**3 * three * square
            + 6 * s**4 * four * cube
        )


class ExponentialStep(NamedTuple):
    """A step: new state, field, loss and error; its modes, also with the embedded fit; the spectral radius."""

    y: Float[Array, " n"]
    field: Float[Array, " n"]
    loss: Float[Array, ""]
    error: Float[Array, " n"]
    modes: Modes
    embedded: Modes
    radius: Float[Array, ""]
    finite: Bool[Array, ""]


def exponential_step(
    evaluate: Callable[[Float[Array, " n"], Float[Array, ""]], tuple[Array, Array]],
    y: Float[Array, " n"],
    field: Float[Array, " n"],
    rate: Float[Array, " n"],
    jacobian: Float[Array, "n n"],
    h: Float[Array, ""],
) -> ExponentialStep:
    """One step, given the field, its partial time derivative (`rate`) and its symmetric Jacobian at y.

    `evaluate` gives field and loss at a state and a time after the step's start.
    """
    usable = jnp.all(jnp.isfinite(jacobian))
    values, basis = jnp.linalg.eigh(jnp.where(usable, jacobian, 0.0))
    z = h * values
    first, drift = h * (basis.T @ field), h**2 * (basis.T @ rate)
    empty = Modes(basis, z, first, drift, jnp.zeros((2, y.size), y.dtype))
    # Stages at ¼, ½, 0.9 and the end. The third function of each weighs the rest at the stage before: 4φ₃(z/2),
    # (729/125)φ₃(0.9z); the end takes the fit.
    times = jnp.asarray((*_NODES, 1.0), y.dtype)
    _, _, three, four = phi(times[:, None] * z[None])
    weights = jnp.zeros((4, 3, y.size), y.dtype)
    for stage in (1, 2):
        scale = 2 * _NODES[stage] ** 3 / _NODES[stage - 1] ** 2
        weights = weights.at[stage, stage - 1].set(scale * three[stage])
    weights = weights.at[3].set(_weights(_FIT, three[3], four[3]))

    def make(rests, stage):
        time, weight, index = stage
        move = empty.at(time) + jnp.sum(weight * rests, axis=0)
        slope, loss = evaluate(y + basis @ move, time * h)
        rest = h * (basis.T @ (slope - field)) - z * move - time * drift
        return rests.at[index].set(rest, mode="drop"), (move, slope, loss)

    rests, (moves, slopes, losses) = jax.lax.scan(
        make, jnp.zeros((3, y.size), y.dtype), (times, weights, jnp.arange(4))
    )
    wrong = weights[3] - _weights(_EMBEDDED_FIT, three[3], four[3])
    return ExponentialStep(
        y + basis @ moves[3],
        slopes[3],
        losses[3],
        basis @ jnp.sum(wrong * rests, axis=0),
        empty._replace(rest=jnp.asarray(_FIT, y.dtype) @ rests),
        empty._replace(rest=jnp.asarray(_EMBEDDED_FIT, y.dtype) @ rests),
        jnp.max(jnp.abs(values)),
        usable,
    )


def _weights(fit: np.ndarray, three: Float[Array, " n"], four: Float[Array, " n"]) -> Float[Array, "3 n"]:
    """Weights of the three rests in the increment: 2φ₃·d₂ + 6φ₄·d₃."""
    square, cube = jnp.asarray(fit, three.dtype)
    return 2 * jnp.outer(square, three) + 6 * jnp.outer(cube, four)


def squared_speed(modes: Modes, h: Float[Array, ""]) -> Float[Array, ""]:
    """∫|F|² over a step of an autonomous field, exact for the modes.

    With h·F = x′, each mode's h·F is (hf)·e^{zs} + 2s²φ₂(zs)·hd₂ + 6s³φ₃(zs)·hd₃. Where |z| < 2 its square is
    integrated by Gauss's rule; elsewhere it is A·e^{zs} + α + βs + γs², whose square is integrated term by term:
    no rule sees a mode that dies within a small part of the step.
    """
    square, cube = modes.rest
    near = jnp.abs(modes.z) < _NEAR
    small, z = jnp.where(near, modes.z, 0.0), jnp.where(near, _NEAR, modes.z)

    def speed(s):
        _, two, three, _ = phi(s * small)
        return jnp.exp(s * small) * modes.first + 2 * s**2 * two * square + 6 * s**3 * three * cube

    by_rule = jnp.asarray(_GAUSS_WEIGHTS, z.dtype) @ jax.vmap(speed)(jnp.asarray(_GAUSS, z.dtype)) ** 2

    c = -3 * cube / z
    b = 2 * (c - square) / z
    a = b / z
    amplitude = modes.first - a
    zeroth = jnp.expm1(z) / z  # moments of e^{zs}
    first = (jnp.exp(z) - zeroth) / z
    second = (jnp.exp(z) - 2 * first) / z
    by_term = (
        amplitude**2 * jnp.expm1(2 * z) / (2 * z)
        + 2 * amplitude * (a * zeroth + b * first + c * second)
        + a**2 + a * b + (b**2 + 2 * a * c) / 3 + b * c / 2 + c**2 / 5
    )  # fmt: skip
    return jnp.sum(jnp.where(near, by_rule, by_term)) / h


class ModesInterpolation(diffrax.AbstractLocalInterpolation):
    """The state inside a step of `ExponentialRosenbrock`, of order 4 and exact for linear fields."""

    t0: Any
    t1: Any
    y0: Any
    modes: Modes

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> Any:
        """The state at t0, or the increment from t0 to t1."""
        del left
        if t1 is not None:
            return jax.tree.map(lambda late, early: late - early, self.evaluate(t1), self.evaluate(t0))
        y, unravel = jax.flatten_util.ravel_pytree(self.y0)
        length = self.t1 - self.t0
        s = jnp.where(length == 0, 0.0, (t0 - self.t0) / jnp.where(length == 0, 1.0, length))
        return unravel(y + self.modes.basis @ self.modes.at(s))


class ExponentialRosenbrock(diffrax.AbstractAdaptiveSolver):
    """Exponential Rosenbrock method exprb54s4, of order 5 with an estimate of order 4, for symmetric Jacobians.

    The linear part of each step is solved exactly, in the eigenbasis of the Jacobian, so that a stiff gradient flow
    takes steps that only the nonlinearity limits, and a quadratic one step. Each step costs one Jacobian, one
    eigendecomposition and four evaluations: for up to about 50 parameters. Directions of negative curvature, as at
    saddles, are nothing special.

    Runs in `thetadot.flow` and in `diffrax.diffeqsolve`, there with any pytree as state, with fields that depend on
    time, and with an interpolation of its own. In `diffeqsolve` the Jacobian comes from forward-mode differentiation
    and MUST be symmetric: that cannot be checked while tracing, and the method is wrong where it does not hold.

    Source: V. T. Luan, A. Ostermann, J. Comput. Appl. Math. 255 (2014) 417 (exprb54s4).

    Example:
        >>> import diffrax, jax.numpy as jnp
        >>> term = diffrax.ODETerm(lambda t, y, rates: -rates * y)
        >>> out = diffrax.diffeqsolve(term, ExponentialRosenbrock(), 0.0, 1.0, 1.0, jnp.ones(2), jnp.array([1.0, 1e9]))
        >>> print(f"{out.ys[0, 0]:.14f}")
        0.36787944117144
    """

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar = ModesInterpolation

    def order(self, terms: Any) -> int:
        return _ORDER

    def error_order(self, terms: Any) -> int:
        return _ORDER

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> Any:
        """The field at the start."""
        y, _, field = flat_term(terms, t0, y0, args)
        return field(y, jnp.zeros((), y.dtype))

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any
    ) -> tuple:
        """One step; see `diffrax.AbstractSolver.step`."""
        y, unravel, field_at = flat_term(terms, t0, y0, args)
        h = jnp.asarray(t1 - t0, y.dtype)
        zero = jnp.zeros_like(h)
        field = jax.lax.cond(made_jump, lambda: field_at(y, zero), lambda: solver_state)
        _, rate = jax.jvp(lambda elapsed: field_at(y, elapsed), (zero,), (jnp.ones_like(h),))
        jacobian = jax.jacfwd(lambda state: field_at(state, zero))(y)
        made = exponential_step(
            lambda state, elapsed: (field_at(state, elapsed), zero), y, field, rate, jacobian, h
        )
        dense = {"y0": y0, "modes": made.modes}
        return unravel(made.y), unravel(made.error), dense, made.field, diffrax.RESULTS.successful

    def stepper(self) -> "ExponentialRosenbrockStep":
        """The method as `thetadot.flow` runs it."""
        return ExponentialRosenbrockStep()


class ExponentialRosenbrockStep(Stepper):
    """One step of `ExponentialRosenbrock` along a flow, with its loss and ∫|F|²."""

    @property
    def name(self) -> str:
        return "ExponentialRosenbrock"

    @property
    def error_order(self) -> int:
        return _ORDER

    @property
    def needs_symmetry(self) -> bool:
        return True

    def step(
        self,
        right_side: RightSide,
        args: Any,
        y: Float[Array, " n"],
        field: Float[Array, " n"],
        h: Float[Array, ""],
        tolerance: Float[Array, " n"],
        memory: Any,
    ) -> Step:
        """Attempt one step; see `Stepper.step`."""
        del tolerance, memory
        made = exponential_step(
            lambda state, elapsed: right_side.evaluate(state, args),
            y, field, jnp.zeros_like(y), right_side.jacobian(y, args), h,
        )  # fmt: skip
        integral = squared_speed(made.modes, h)
        return Step(
            y=made.y,
            field=made.field,
            loss=made.loss,
            error=made.error,
            squared_speed=integral,
            squared_speed_error=integral - squared_speed(made.embedded, h),
            stiffness=h * made.radius,
            solved=made.finite,
            evaluations=jnp.asarray(4, jnp.int64),
            jacobians=jnp.asarray(1, jnp.int64),
        )
