"""From the function a gated network computes and the values of its laws back to its parameters."""

import dataclasses
import enum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Array, Float

from thetadot.conservation.errors import ConservationError, ZeroWeightError
from thetadot.conservation.known_laws import rescalings_of
from thetadot.conservation.lift import Lift

_DENSE = 2000
_FILLED = 0.05


class RecoveryStatus(enum.Enum):
    """CONVERGED: the levels are met. STALLED: the iterations were used up, or rounding stopped them before."""

    CONVERGED = "converged"
    STALLED = "stalled"


@dataclasses.dataclass(frozen=True)
class Recovery:
    """What `recover` found.

    Attributes:
        theta (P,): the parameters. residual: largest |law − level| over Σθ² around the law's neuron.
        iterations: Newton steps. status: CONVERGED or STALLED.
    """

    theta: Float[np.ndarray, " P"]
    residual: float
    iterations: int
    status: RecoveryStatus


def recover(
    lift: Lift,
    reference: Float[Array | np.ndarray, " P"],
    levels: Float[Array | np.ndarray, " laws"],
    tolerance: float = 1e-13,
    max_iterations: int = 100,
) -> Recovery:
    """The one rescaling of reference weights whose neuron laws have given values; φ and all signs stay.

    θ_e = reference_e·exp(s_head − s_tail), where s minimises ½Σθ² − ⟨levels, s⟩, a strictly convex function that has a
    minimum for every choice of levels.

    Arguments:
        lift: a `PathLift` (linear nodes taken as gated) or `MonomialLift`.
        reference: weights that compute the wanted function.
        levels: values of the laws, in the order of `PathLift.potentials` and of `known_laws(lift)`.
        tolerance: on the residual, relative.

    Raises:
        ZeroWeightError: a live weight of the reference vanishes: the levels cannot all be reached.
        ConservationError: shapes that do not fit, or a lift that is not one of monomials.

    Source: derived here; existence and uniqueness by strict convexity and coercivity.

    Example:
        >>> from thetadot.conservation import MonomialLift
        >>> product = MonomialLift(np.array([[1, 1]]))
        >>> recover(product, np.array([4.0, 1.0]), np.array([0.0])).theta.round(12).tolist()
        [2.0, 2.0]
    """
    matrix, _, dead = rescalings_of(lift)
    start, wanted = np.asarray(reference, float), np.asarray(levels, float)
    if start.shape != (lift.size,) or wanted.shape != (matrix.shape[1],):
        raise ConservationError(
            f"reference has shape {start.shape} and levels {wanted.shape}: expected ({lift.size},) and "
            f"({matrix.shape[1]},)"
        )
    live = np.ones(lift.size, bool)
    live[list(dead)] = False
    if np.any(start[live] == 0):
        parameter = int(np.flatnonzero(live & (start == 0))[0])
        raise ZeroWeightError(
            f"parameter {parameter} of the reference is zero: rescaling cannot move it; move it off zero first"
        )
    pot: Any = scipy.sparse.csr_array(matrix.astype(float))
    touching = abs(pot).T
    shift = np.zeros(pot.shape[1])
    theta, iterations = start.copy(), 0

    def gradient_at(weights: np.ndarray) -> np.ndarray:
        return pot.T @ weights**2 - wanted

    def residual_of(weights: np.ndarray, gradient: np.ndarray) -> float:
        size = touching @ weights**2 + np.abs(wanted)
        return float(np.max(np.abs(gradient) / np.where(size > 0, size, 1.0), initial=0.0))

    gradient = gradient_at(theta)
    while residual_of(theta, gradient) > tolerance and iterations < max_iterations:
        step = _newton_step(pot, theta, gradient)
        energy = 0.5 * theta @ theta - wanted @ shift
        length = 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            while length > 1e-12:
                trial = start * np.exp(pot @ (shift + length * step))
                following = gradient_at(trial)
                decrease = energy - (0.5 * trial @ trial - wanted @ (shift + length * step))
                # Near the minimum the energy no longer resolves the step, the gradient still does.
                better = decrease >= -1e-4 * length * (gradient @ step) or (
                    length == 1.0 and np.linalg.norm(following) < 0.5 * np.linalg.norm(gradient)
                )
                if np.all(np.isfinite(trial)) and better:
                    break
                length *= 0.5
            else:
                break
        shift, theta, gradient = shift + length * step, trial, following
        iterations += 1
    residual = residual_of(theta, gradient)
    # Rounding of Σθ² can stop the descent a little above the tolerance; ten times it is as good.
    status = RecoveryStatus.CONVERGED if residual <= 10 * tolerance else RecoveryStatus.STALLED
    return Recovery(theta, residual, iterations, status)


def _newton_step(pot: Any, theta: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    hessian = (2 * (pot.T @ scipy.sparse.diags_array(theta**2) @ pot)).tocsc()
    laws = pot.shape[1]
    if laws <= _DENSE and hessian.nnz > _FILLED * laws**2:
        factor = scipy.linalg.cho_factor(hessian.toarray(), check_finite=False)
        return -scipy.linalg.cho_solve(factor, gradient, check_finite=False)
    return -scipy.sparse.linalg.spsolve(hessian, gradient)


def rebalance(lift: Lift, theta: Float[Array | np.ndarray, " P"]) -> Recovery:
    """The rescaling of θ with all neuron laws zero: the least-norm parameters that compute the same function.

    Example:
        >>> from thetadot.conservation import PathLift, layered_graph
        >>> lift = PathLift(layered_graph((1, 1, 1)))
        >>> rebalance(lift, np.array([8.0, 2.0])).theta.round(12).tolist()
        [4.0, 4.0]
    """
    return recover(lift, theta, np.zeros(rescalings_of(lift).matrix.shape[1]))


def recover_traced(
    pot: Float[Array, "P laws"],
    reference: Float[Array, " P"],
    levels: Float[Array, " laws"],
    tolerance: float = 1e-13,
    iterations: int = 40,
) -> tuple[Float[Array, " P"], Float[Array, " laws"]]:
    """(θ, s) as `recover` finds them, traceable, with dense potentials; reference weights may vanish."""

    def gradient_at(shift: Array) -> tuple[Array, Array]:
        theta = reference * jnp.exp(pot @ shift)
        return theta, pot.T @ theta**2 - levels

    def energy(shift: Array) -> Array:
        theta, _ = gradient_at(shift)
        return 0.5 * theta @ theta - levels @ shift

    def going(state: tuple[Array, Array, Array]) -> Array:
        _, count, change = state
        return (count < iterations) & (change > tolerance)

    def advance(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        shift, count, _ = state
        theta, gradient = gradient_at(shift)
        hessian = 2 * (pot.T * theta[None, :] ** 2) @ pot
        step = -jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(hessian), gradient)
        lengths = 0.5 ** jnp.arange(12.0)
        energies = jax.vmap(lambda length: energy(shift + length * step))(lengths)
        decreases = energy(shift) - energies
        enough = decreases >= -1e-4 * lengths * (gradient @ step)
        close = jnp.max(jnp.abs(pot @ step)) < 0.1  # Newton converges from here, whatever rounding says
        length = jnp.where(close | ~jnp.any(enough), 1.0, lengths[jnp.argmax(enough)])
        return shift + length * step, count + 1, length * jnp.max(jnp.abs(step))

    start = (jnp.zeros(pot.shape[1]), jnp.array(0), jnp.array(jnp.inf))
    shift, _, _ = jax.lax.while_loop(going, advance, start)
    return gradient_at(shift)[0], shift
