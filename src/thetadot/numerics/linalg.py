"""Matrix-free linear algebra: Lanczos, power iteration, conjugate gradients; QR with a positive diagonal.

An operator is a callable `matvec(vector, args) -> vector` and its arguments: what it depends on (a
problem, a point, a linearisation) travels in `args`, a pytree, so that another point of the same shape
compiles nothing. Pass functions that live at the top of a module, or pytrees such as
`jax.tree_util.Partial`; a fresh lambda is compiled afresh. Everything here is traceable.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from thetadot.errors import ThetadotError

Matvec = Callable[[Any, Any], Any]

_LANCZOS_ITERATIONS = 128
_CHECK_EVERY = 8


class LinearAlgebraError(ThetadotError):
    """Sizes or options that do not fit together."""


class Lanczos(NamedTuple):
    """What `lanczos` found; m is the largest number of iterations, of which `steps` were made.

    Attributes:
        values (m,): Ritz values, ascending; the last m − steps are NaN.
        residuals (m,): ‖A v − value·v‖ of each, for unit v: an eigenvalue lies within this distance.
        largest, smallest: algebraic extremes of the Ritz values.
        largest_vector, smallest_vector (P,): their unit Ritz vectors.
        largest_residual, smallest_residual: their residuals.
        steps: matrix-vector products made.
        converged: both wanted residuals are at most tolerance · max |Ritz value|.
    """

    values: Float[Array, " m"]
    residuals: Float[Array, " m"]
    largest: Float[Array, ""]
    smallest: Float[Array, ""]
    largest_vector: Float[Array, " P"]
    smallest_vector: Float[Array, " P"]
    largest_residual: Float[Array, ""]
    smallest_residual: Float[Array, ""]
    steps: Int[Array, ""]
    converged: Bool[Array, ""]


class _Krylov(NamedTuple):
    basis: Float[Array, "m P"]
    alphas: Float[Array, " m"]
    betas: Float[Array, " m"]
    vector: Float[Array, " P"]
    step: Int[Array, ""]
    done: Bool[Array, ""]


def _ritz(krylov: _Krylov) -> tuple[Array, Array, Array]:
    """Ritz values of the steps made so far, ascending, then NaN; residuals; Krylov coefficients."""
    made = jnp.arange(krylov.alphas.shape[0]) < krylov.step
    # Padding above the range (Gershgorin) decouples and is sorted to the end, whatever the scale of A.
    above = 4.0 * (jnp.max(jnp.abs(krylov.alphas)) + jnp.max(krylov.betas))
    diagonal = jnp.where(made, krylov.alphas, above)
    beside = jnp.where(made[1:], krylov.betas[:-1], 0.0)
    values, coefficients = jnp.linalg.eigh(jnp.diag(diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1))
    last = krylov.step - 1
    residuals = jnp.abs(krylov.betas[last] * coefficients[last])
    return jnp.where(made, values, jnp.nan), jnp.where(made, residuals, jnp.nan), coefficients


@eqx.filter_jit
def _lanczos(
    matvec: Matvec, args: Any, start: Array, iterations: int, tolerance: Array, ends: tuple[bool, bool]
) -> Lanczos:
    epsilon = jnp.finfo(start.dtype).eps

    def good_enough(values: Array, residuals: Array, steps: Array) -> Array:
        low, high = 0, steps - 1
        scale = jnp.maximum(jnp.abs(values[low]), jnp.abs(values[high]))
        good = (residuals[low] <= tolerance * scale) | (not ends[0])
        return good & ((residuals[high] <= tolerance * scale) | (not ends[1]))

    def advance(krylov: _Krylov) -> _Krylov:
        step, vector = krylov.step, krylov.vector
        basis = krylov.basis.at[step].set(vector)
        image = matvec(vector, args)
        alpha = vector @ image
        for _ in range(2):  # once is not enough for orthogonality to rounding, twice is
            image = image - basis.T @ (basis @ image)
        beta = jnp.linalg.norm(image)
        alphas, betas = krylov.alphas.at[step].set(alpha), krylov.betas.at[step].set(beta)
        size = jnp.maximum(jnp.max(jnp.abs(alphas)), jnp.max(betas))
        exhausted = ~(beta > 32 * epsilon * size)  # an invariant subspace, a zero operator, or NaN
        betas = betas.at[step].set(jnp.where(exhausted & jnp.isfinite(beta), 0.0, beta))
        ahead = krylov._replace(
            basis=basis,
            alphas=alphas,
            betas=betas,
            vector=jnp.where(exhausted, vector, image / jnp.where(exhausted, 1.0, beta)),
            step=step + 1,
            done=exhausted,
        )
        check = (ahead.step % _CHECK_EVERY == 0) & ~exhausted & (ahead.step < iterations)

        def settled(krylov: _Krylov) -> Array:
            return good_enough(*_ritz(krylov)[:2], krylov.step)

        return ahead._replace(done=jax.lax.cond(check, settled, lambda krylov: krylov.done, ahead))

    zeros = jnp.zeros(iterations, start.dtype)
    basis = jnp.zeros((iterations, start.size), start.dtype)
    krylov = jax.lax.while_loop(
        lambda krylov: ~krylov.done & (krylov.step < iterations),
        advance,
        _Krylov(basis, zeros, zeros, start / jnp.linalg.norm(start), jnp.array(0), jnp.array(False)),
    )
    values, residuals, coefficients = _ritz(krylov)
    high = krylov.step - 1
    low = jnp.zeros_like(high)
    vectors = krylov.basis.T @ coefficients[:, jnp.stack([low, high])]
    return Lanczos(
        values,
        residuals,
        values[high],
        values[low],
        vectors[:, 1],
        vectors[:, 0],
        residuals[high],
        residuals[low],
        krylov.step,
        good_enough(values, residuals, krylov.step),
    )


def lanczos(
    matvec: Matvec,
    size: int,
    *,
    args: Any = None,
    iterations: int | None = None,
    tolerance: float | Array = 1e-8,
    ends: str = "both",
    start: Float[Array, " P"] | None = None,
    key: PRNGKeyArray | None = None,
) -> Lanczos:
    """Extreme eigenvalues of a symmetric operator, by the Lanczos method with full reorthogonalisation.

    Arguments:
        matvec: (vector (P,), args) → A·vector, A symmetric.
        size: P.
        args: what A depends on, any pytree.
        iterations: largest number of products; by default min(P, 128). Memory is iterations · P numbers.
        tolerance: stop when the wanted residuals are at most tolerance · max |Ritz value| (looked at every
            8th step). The eigenvalue itself is then much closer: its error falls with the square of the
            residual.
        ends: which end must converge: "largest", "smallest" or "both".
        start: first vector (P,), not zero; by default random.
        key: draws the start; by default `jax.random.key(0)`.

    Returns:
        Ritz values with residuals, both ends with vectors. A repeated eigenvalue is found once.

    Raises:
        LinearAlgebraError: size below 1, an unknown end, or a start of another shape.

    Source: C. Paige, The computation of eigenvalues of very large sparse matrices (1971).

    Example:
        >>> def scaled(vector, diagonal):
        ...     return diagonal * vector
        >>> found = lanczos(scaled, 5, args=jnp.arange(5.0) - 1.0)
        >>> [round(float(value), 9) for value in (found.smallest, found.largest)]
        [-1.0, 3.0]
    """
    wanted = {"largest": (False, True), "smallest": (True, False), "both": (True, True)}
    if ends not in wanted:
        raise LinearAlgebraError(f'ends is {ends!r}, expected "largest", "smallest" or "both"')
    count = min(size, _LANCZOS_ITERATIONS if iterations is None else iterations)
    if count < 1:
        raise LinearAlgebraError(f"size is {size} and iterations {iterations}, both must be at least 1")
    vector = _start(size, start, key)
    return _lanczos(matvec, args, vector, count, jnp.asarray(tolerance, vector.dtype), wanted[ends])


def _start(size: int, start: Array | None, key: PRNGKeyArray | None) -> Float[Array, " P"]:
    if start is None:
        return jax.random.normal(jax.random.key(0) if key is None else key, (size,))
    if start.shape != (size,):
        raise LinearAlgebraError(f"start has shape {start.shape}, expected ({size},)")
    return start


class PowerIteration(NamedTuple):
    """What `power_iteration` found.

    Attributes:
        radius: ‖A v‖ for the last unit vector v: a lower bound of the spectral radius of a symmetric A.
        value: the Rayleigh quotient vᵀAv; its sign tells at which end the radius lies.
        vector (P,): A v / ‖A v‖, from which to start next time.
        residual: ‖A v − value·v‖.
    """

    radius: Float[Array, ""]
    value: Float[Array, ""]
    vector: Float[Array, " P"]
    residual: Float[Array, ""]


@eqx.filter_jit
def _power_iteration(matvec: Matvec, args: Any, start: Array, iterations: Array) -> PowerIteration:
    def advance(_, found: PowerIteration) -> PowerIteration:
        image = matvec(found.vector, args)
        value, radius = found.vector @ image, jnp.linalg.norm(image)
        ahead = jnp.where(radius > 0, image / jnp.where(radius > 0, radius, 1.0), found.vector)
        return PowerIteration(radius, value, ahead, jnp.linalg.norm(image - value * found.vector))

    zero = jnp.zeros((), start.dtype)
    first = PowerIteration(zero, zero, start / jnp.linalg.norm(start), zero)
    return jax.lax.fori_loop(0, iterations, advance, first)


def power_iteration(
    matvec: Matvec,
    size: int,
    *,
    args: Any = None,
    iterations: int | Int[Array, ""] = 30,
    start: Float[Array, " P"] | None = None,
    key: PRNGKeyArray | None = None,
) -> PowerIteration:
    """The spectral radius of a symmetric operator, roughly, by power iteration.

    Arguments:
        matvec: (vector (P,), args) → A·vector.
        size: P.
        args: what A depends on, any pytree.
        iterations: number of products; another number compiles nothing.
        start: first vector (P,), such as an earlier `vector`; by default random.
        key: draws the start; by default `jax.random.key(0)`.

    Example:
        >>> def scaled(vector, diagonal):
        ...     return diagonal * vector
        >>> found = power_iteration(scaled, 3, args=jnp.array([1.0, -4.0, 2.0]), iterations=60)
        >>> round(float(found.radius), 9), round(float(found.value), 9)
        (4.0, -4.0)
    """
    if size < 1:
        raise LinearAlgebraError(f"size is {size}, it must be at least 1")
    return _power_iteration(matvec, args, _start(size, start, key), jnp.asarray(iterations))


class ConjugateGradients(NamedTuple):
    """What `conjugate_gradients` found.

    Attributes:
        solution (P,): x with A x ≈ b.
        residual_norm: ‖weights ∘ (b − A x)‖, by recurrence.
        steps: matrix-vector products made.
        converged: the residual met the tolerance.
        indefinite: a direction p with pᵀAp ≤ 0 was met: A is not positive definite, and x is the last
        point before. direction (P,): the last search direction; that p if `indefinite`.
    """

    solution: Float[Array, " P"]
    residual_norm: Float[Array, ""]
    steps: Int[Array, ""]
    converged: Bool[Array, ""]
    indefinite: Bool[Array, ""]
    direction: Float[Array, " P"]


class _Descent(NamedTuple):
    solution: Array
    residual: Array
    direction: Array
    product: Array
    steps: Array
    indefinite: Array


@eqx.filter_jit
def _conjugate_gradients(
    matvec: Matvec,
    args: Any,
    b: Array,
    start: Array,
    tolerance: Array,
    iterations: Array,
    weights: Array,
    precondition,
) -> ConjugateGradients:
    def size_of(residual: Array) -> Array:
        return jnp.linalg.norm(weights * residual)

    def improved(residual: Array) -> Array:
        return residual if precondition is None else precondition(residual, args)

    def going(state: _Descent) -> Array:
        return (size_of(state.residual) > tolerance) & (state.steps < iterations) & ~state.indefinite

    def advance(state: _Descent) -> _Descent:
        image = matvec(state.direction, args)
        curvature = state.direction @ image
        indefinite = ~(curvature > 0)
        length = jnp.where(indefinite, 0.0, state.product / jnp.where(indefinite, 1.0, curvature))
        residual = state.residual - length * image
        better = improved(residual)
        product = residual @ better
        onward = better + (product / state.product) * state.direction
        return _Descent(
            state.solution + length * state.direction,
            residual,
            jnp.where(indefinite, state.direction, onward),
            product,
            state.steps + 1,
            indefinite,
        )

    residual = b - matvec(start, args)
    better = improved(residual)
    first = _Descent(start, residual, better, residual @ better, jnp.array(0), jnp.array(False))
    state = jax.lax.while_loop(going, advance, first)
    left = size_of(state.residual)
    return ConjugateGradients(
        state.solution, left, state.steps + 1, left <= tolerance, state.indefinite, state.direction
    )


def conjugate_gradients(
    matvec: Matvec,
    b: Float[Array, " P"],
    *,
    args: Any = None,
    start: Array | None = None,
    tolerance: float | Array = 1e-10,
    absolute: float | Array = 0.0,
    iterations: int | Int[Array, ""] | None = None,
    weights: Float[Array, " P"] | None = None,
    precondition: Matvec | None = None,
) -> ConjugateGradients:
    """Solve A x = b for a symmetric positive definite operator, by preconditioned conjugate gradients.

    Arguments:
        matvec: (vector (P,), args) → A·vector.
        b: right-hand side (P,).
        args: what A (and the preconditioner) depends on, any pytree.
        start: first guess (P,); by default 0.
        tolerance, absolute: stop at ‖w ∘ (b − A x)‖ ≤ max(tolerance · ‖w ∘ b‖, absolute).
        iterations: largest number of steps; by default 10 P. Another number compiles nothing.
        weights: w (P,); by default 1.
        precondition: (residual (P,), args) → M⁻¹·residual, symmetric positive definite; by default the
            identity.

    Returns:
        The solution and how it was reached; `steps` counts the product at the start. Indefiniteness ends the
        iteration and is reported, not raised.

    Source: M. Hestenes, E. Stiefel, J. Res. Nat. Bur. Standards 49 (1952) 409.

    Example:
        >>> def scaled(vector, diagonal):
        ...     return diagonal * vector
        >>> found = conjugate_gradients(scaled, jnp.ones(2), args=jnp.array([1.0, 4.0]))
        >>> [round(float(entry), 12) for entry in found.solution]
        [1.0, 0.25]
    """
    first = jnp.zeros_like(b) if start is None else start
    if first.shape != b.shape:
        raise LinearAlgebraError(f"start has shape {first.shape}, b has {b.shape}: they must be equal")
    scale = jnp.ones_like(b) if weights is None else weights
    target = jnp.maximum(
        jnp.asarray(tolerance, b.dtype) * jnp.linalg.norm(scale * b), jnp.asarray(absolute, b.dtype)
    )
    limit = jnp.asarray(10 * b.size if iterations is None else iterations)
    return _conjugate_gradients(matvec, args, b, first, target, limit, scale, precondition)


def qr_positive(matrix: Float[Array, "n k"]) -> tuple[Float[Array, "n r"], Float[Array, "r k"]]:
    """QR decomposition with non-negative diagonal of R, which makes it unique for full rank; r = min(n, k).

    Example:
        >>> q, r = qr_positive(jnp.array([[-3.0, 1.0], [4.0, 1.0]]))
        >>> bool(jnp.all(jnp.diag(r) > 0)), round(float(r[0, 0]), 12)
        (True, 5.0)
    """
    q, r = jnp.linalg.qr(matrix)
    signs = jnp.where(jnp.diagonal(r) < 0, -1.0, 1.0)
    return q * signs[None, :], r * signs[:, None]
