"""Radau IIA methods for diffrax."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from diffrax import RESULTS
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from thetadot.numerics.solvers.collocation import lagrange, radau
from thetadot.numerics.solvers.radau_equations import Eigenbasis, Field, LastStep, before_any_step, solve
from thetadot.numerics.solvers.radau_step import ITERATIONS


class CollocationInterpolation(diffrax.AbstractLocalInterpolation):
    """The collocation polynomial of one step, of degree s.

    Arguments:
        t0, t1: the step.
        states: pytree of (s + 1, …): at t0 and at the nodes.
    """

    t0: Any
    t1: Any
    states: Any

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> Any:
        """State at t0, or its change from t0 to t1."""
        del left
        if t1 is not None:
            return jax.tree.map(lambda after, before: after - before, self.evaluate(t1), self.evaluate(t0))
        length = jnp.where(self.t1 == self.t0, 1.0, self.t1 - self.t0)
        points = radau(jax.tree.leaves(self.states)[0].shape[0] - 1).points
        weights = lagrange(points, jnp.asarray((t0 - self.t0) / length)[None])[0]
        return jax.tree.map(lambda rows: jnp.tensordot(weights, rows, 1), self.states)


class _State(NamedTuple):
    basis: Eigenbasis
    last: LastStep
    field: Float[Any, " n"]


class RadauIIA(diffrax.AbstractAdaptiveSolver, diffrax.AbstractImplicitSolver):
    """Radau IIA collocation of order 2s − 1 for fields with a symmetric Jacobian, such as gradient flow.

    Stiffly accurate and L-stable. Newton's equations fall apart in the eigenbasis of the Jacobian, which is kept as
    long as it serves: take it up to a few hundred components, where high accuracy is wanted. In `thetadot.flow` pass
    it by name or as an instance; in `diffrax.diffeqsolve` it is a solver like any other. There the Jacobian is found
    by forward mode; a field of t is allowed, as are pytrees of float64. Where the Jacobian is not symmetric the
    steps stay right, but Newton's iteration may need many of them. There is no reverse-mode derivative.

    Arguments:
        stages: s, odd, from 3 to 13.
        root_finder: where rtol and atol of the stage equations are taken from; the default takes the controller's. With
            `diffrax.ConstantStepSize` pass `diffrax.VeryChord(rtol=…, atol=…)`.
        root_find_max_steps: most Newton iterations.

    Raises:
        ValueError: another number of stages.

    Source: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, §IV.5, §IV.8; (1999) Stiff differential
        equations solved by Radau methods, J. Comput. Appl. Math. 111.

    Example:
        >>> import diffrax, jax.numpy as jnp
        >>> from thetadot.numerics.solvers import RadauIIA
        >>> term = diffrax.ODETerm(lambda t, y, rate: -rate * y**3)
        >>> control = diffrax.PIDController(rtol=1e-10, atol=1e-10)
        >>> found = diffrax.diffeqsolve(
        ...     term, RadauIIA(5), 0.0, 2.0, None, jnp.ones(1), args=2.0, stepsize_controller=control
        ... )
        >>> print(abs(found.ys[0, 0] - 1 / 3) < 1e-9)
        True
    """

    stages: int = 5
    root_finder: Any = diffrax.with_stepsize_controller_tols(diffrax.VeryChord)()
    root_find_max_steps: int = ITERATIONS

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., CollocationInterpolation]] = CollocationInterpolation

    def __check_init__(self):
        radau(self.stages)

    def order(self, terms):
        """2s − 1."""
        del terms
        return 2 * self.stages - 1

    def error_order(self, terms):
        """The estimate compares with a method of order s."""
        del terms
        return self.stages + 1

    def func(self, terms, t0, y0, args):
        """The field."""
        return terms.vf(t0, y0, args)

    def init(self, terms, t0, t1, y0, args) -> _State:
        """No basis and no last step."""
        flat, unravel = ravel_pytree(y0)
        field = _flat_field(terms, t0, t1, unravel, args)(jnp.asarray(t0), flat)
        return _State(*before_any_step(self.stages, flat, field), field)

    def step(self, terms, t0, t1, y0, args, solver_state: _State, made_jump):
        """One step; a step whose equations are not solved has an infinite error."""
        rule, h = radau(self.stages), jnp.asarray(t1 - t0)
        y, unravel = ravel_pytree(y0)
        field = _flat_field(terms, t0, t1, unravel, args)
        side = Field(
            lambda positions, states: (
                jax.vmap(field)(t0 + positions * h, states),
                jnp.zeros_like(positions),
            ),
            lambda position, state: _symmetric(jax.jacfwd(lambda x: field(t0 + position * h, x))(state)),
        )
        slope = jax.lax.cond(made_jump, lambda: field(jnp.asarray(t0), y), lambda: solver_state.field)
        basis = solver_state.basis._replace(stale=solver_state.basis.stale | made_jump)
        last = solver_state.last._replace(h=jnp.where(made_jump, 0.0, solver_state.last.h))
        tolerance = jnp.maximum(self.root_finder.atol + self.root_finder.rtol * jnp.abs(y), 1e-290)
        found = solve(rule, side, y, slope, h, tolerance, basis, last, self.root_find_max_steps)
        states = jnp.concatenate([y[None], y[None] + found.step.moves])
        state = _State(found.basis, found.step, found.step.slopes[-1])
        error = jnp.where(found.converged, found.error, jnp.inf)
        failed: Any = RESULTS.nonlinear_max_steps_reached
        result = RESULTS.where(found.converged, RESULTS.successful, failed)
        return unravel(states[-1]), unravel(error), {"states": jax.vmap(unravel)(states)}, state, result


def _flat_field(terms, t0, t1, unravel, args):
    """The field of flat states, with the direction of time that diffrax's terms carry."""
    control = terms.contr(t0, t1)

    def field(t: Float[Array, ""], flat: Float[Array, " n"]) -> Float[Array, " n"]:
        gained, _ = ravel_pytree(terms.vf_prod(t, unravel(flat), args, control))
        return gained / (t1 - t0)

    return field


def _symmetric(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    return 0.5 * (matrix + matrix.T)
