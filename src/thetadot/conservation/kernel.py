"""Does the flow close on the lifted variable? The test by kernels, at one point of an orbit."""

import dataclasses
import enum
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg
from jaxtyping import Array, Float

from thetadot.conservation.brackets import grow_real, null_space
from thetadot.conservation.errors import ConservationError
from thetadot.conservation.fields import gradient_fields
from thetadot.conservation.known_laws import known_laws
from thetadot.conservation.laws import Laws
from thetadot.conservation.lift import Lift, LinearLift

_CLEAR_GAP = 1e3
_MAX_DEPTH = 8


class KernelStatus(enum.Enum):
    """What the kernels say about the flow from this point.

    RECOVERABLE: the parameters are locally a function of z and the laws, so the flow closes. KERNEL_INCLUDED: the
    necessary condition for a flow in z alone holds here. NOT_INTRINSIC: it is violated, and the laws are complete.
    UNDECIDED: it is violated, but the laws were not shown complete. AMBIGUOUS: a rank has no clear gap.
    """

    RECOVERABLE = "recoverable"
    KERNEL_INCLUDED = "kernel included"
    NOT_INTRINSIC = "not intrinsic"
    UNDECIDED = "undecided"
    AMBIGUOUS = "ambiguous"


@dataclasses.dataclass(frozen=True)
class KernelTest:
    """What `kernel_test` found.

    Attributes:
        rank: of J = Dφ. kernel_dimension: of ker J.
        level_kernel_dimension: of ker J inside the tangent space T of the orbit (or of the laws' level set).
        recoverable: that is zero.
        variation: largest ‖DM[v]‖/‖M‖ over an orthonormal basis of it, M = JJᵀ (units of 1/θ).
        gap: the smallest ratio of singular values at a cut. status: the conclusion.
    """

    rank: int
    kernel_dimension: int
    level_kernel_dimension: int
    recoverable: bool
    variation: float
    gap: float
    status: KernelStatus


@eqx.filter_jit
def _jacobian(lift: Lift, theta: Array) -> Array:
    return jax.jacobian(lift.__call__)(theta)


@eqx.filter_jit
def _changes(lift: Lift, theta: Array, directions: Array) -> tuple[Array, Array]:
    """M and DM along each direction."""

    def metric(point: Array) -> Array:
        jacobian = jax.jacobian(lift.__call__)(point)
        return jacobian @ jacobian.T

    return metric(theta), jax.lax.map(lambda v: jax.jvp(metric, (theta,), (v,))[1], directions)


def lift_metric(lift: Lift, theta: Float[Array | np.ndarray, " P"]) -> scipy.sparse.linalg.LinearOperator:
    """M(θ) = J(θ)J(θ)ᵀ (d, d), which moves z: z′ = −M∇f; as an operator that never forms it.

    Example:
        >>> lift_metric(LinearLift((1, 1, 1)), np.array([1.0, 2.0])).matvec(np.ones(1)).tolist()
        [5.0]
    """
    point = jnp.asarray(theta)
    _, pull = jax.vjp(lift.__call__, point)

    def apply(vector: np.ndarray) -> np.ndarray:
        back = pull(jnp.asarray(np.ravel(vector), float))[0]
        return np.asarray(jax.jvp(lift.__call__, (point,), (back,))[1])

    size = lift.dimension
    return scipy.sparse.linalg.LinearOperator(dtype=float, shape=(size, size), matvec=apply, rmatvec=apply)  # pyright: ignore[reportCallIssue]


def kernel_test(
    lift: Lift,
    theta: Float[Array | np.ndarray, " P"],
    laws: str | Laws | None = "complete",
    tolerance: float = 1e-8,
) -> KernelTest:
    """Test at a point whether M = JJᵀ can be a function of z = φ(θ) along the orbit: ker J ∩ T ⊂ ker DM.

    Arguments:
        laws: what spans T. "complete": brackets at θ (so(n, m)·Y for two-layer linear networks); "known": the level
            set of `known_laws(lift)`; laws of your own; None: every direction (then a pass means that M is a
            function of φ alone, a failure decides nothing).
        tolerance: on `variation` for KERNEL_INCLUDED.

    Raises:
        ConservationError: an unknown name for laws, or a point of another size.

    Source: the inclusion is that of arXiv 2508.07370 (abstract); its use on orbits is derived here.

    Example:
        >>> kernel_test(LinearLift((2, 1, 2)), np.array([1.0, 2.0, 0.5, -1.0])).status.name
        'RECOVERABLE'
    """
    point = np.asarray(theta, float)
    if point.shape != (lift.size,):
        raise ConservationError(f"theta has shape {point.shape}, expected ({lift.size},)")
    tangent, gaps = _tangent(lift, point, laws)
    jacobian = np.asarray(_jacobian(lift, jnp.asarray(point)))
    rank, gap, kernel = null_space(jacobian)
    gaps.append(gap)
    if len(tangent):
        _, gap, within = null_space(jacobian @ tangent.T)
        gaps.append(gap)
        directions = within @ tangent
    else:
        directions = np.zeros((0, lift.size))
    variation = 0.0
    if len(directions):
        metric, changes = _changes(lift, jnp.asarray(point), jnp.asarray(directions))
        norm = np.linalg.norm(np.asarray(metric))
        variation = float(np.max(np.linalg.norm(np.asarray(changes), axis=(1, 2))) / norm) if norm else 0.0
    gap = min(gaps)
    if gap < _CLEAR_GAP:
        status = KernelStatus.AMBIGUOUS
    elif len(directions) == 0:
        status = KernelStatus.RECOVERABLE
    elif variation <= tolerance:
        status = KernelStatus.KERNEL_INCLUDED
    else:
        complete = isinstance(laws, str) and laws == "complete"
        status = KernelStatus.NOT_INTRINSIC if complete else KernelStatus.UNDECIDED
    return KernelTest(rank, len(kernel), len(directions), len(directions) == 0, variation, gap, status)


def _tangent(lift: Lift, point: np.ndarray, laws: Any) -> tuple[np.ndarray, list[float]]:
    """Orthonormal rows that span T, and the gaps of the ranks on the way."""
    if laws is None:
        return np.eye(lift.size), []
    if isinstance(laws, str) and laws == "known":
        laws = known_laws(lift)
    if isinstance(laws, Laws):
        if laws.size != lift.size:
            raise ConservationError(f"the laws are of {laws.size} numbers, the lift of {lift.size}")
        _, gap, level = null_space(np.asarray(laws.gradient(jnp.asarray(point))).reshape(-1, lift.size))
        return level, [gap]
    if laws != "complete":
        raise ConservationError(f'laws is {laws!r}: expected "complete", "known", Laws or None')
    if isinstance(lift, LinearLift) and lift.depth == 2:
        return _two_layer_orbit(lift, point)
    growth = grow_real(gradient_fields(lift), point, seed=0, max_depth=_MAX_DEPTH)
    return growth.basis, [growth.gap if growth.closed else 0.0]


def _two_layer_orbit(lift: LinearLift, point: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """so(n, m)·Y: the orbit's tangent space at every point, special ones included."""
    outputs = lift.widths[-1]
    first, second = lift.factors(point)
    stack = np.concatenate([second, first.T])
    signs = np.concatenate([np.ones(outputs), -np.ones(lift.widths[0])])
    rows = []
    for i in range(len(stack)):
        for j in range(i + 1, len(stack)):
            moved = np.zeros_like(stack)
            moved[i], moved[j] = stack[j], -signs[i] * signs[j] * stack[i]
            rows.append(np.concatenate([moved[outputs:].T.ravel(), moved[:outputs].ravel()]))
    if not rows or not np.any(rows):
        return np.zeros((0, lift.size)), []
    rank, gap, _ = null_space(np.array(rows))
    normed = np.array(rows) / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    return np.linalg.svd(normed, full_matrices=False)[2][:rank], [gap]
