"""Deep linear networks in the product alone: closed flows from relaxed-balanced starts, and from any two-layer start.

A flow z′ = −Σ_j A_j G B_j with G = ∇f(z), A_j = (U_L…U_{j+1})(U_L…U_{j+1})ᵀ and B_j = (U_{j−1}…U_1)ᵀ(U_{j−1}…U_1). If
U_{i+1}ᵀU_{i+1} − U_iU_iᵀ = λ_iI, both are functions of z: along its k-th singular direction |U_i|² = x_k − μ_i with
μ_i = λ_i + … + λ_{L−1} and Π_i(x_k − μ_i) = σ_k².
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.conservation.balance import offsets_of
from thetadot.conservation.errors import ConservationError

_ROOT_STEPS = 80

Gradient = Callable[[Float[Array, "n m"]], Float[Array, "n m"]]


def heights_above(squares: Float[Array, " k"], depths: Float[Array | np.ndarray, " L"]) -> Float[Array, " k"]:
    """y ≥ 0 with Π_i(y + depths_i) = squares, depths ≥ 0 and one of them 0: Newton from above, monotone."""
    depths = jnp.asarray(depths)
    order = depths.shape[0]

    def advance(_, y: Array) -> Array:
        terms = y[:, None] + depths[None, :]
        product = jnp.prod(terms, axis=1)
        slope = jnp.sum(_products_without(terms), axis=1)
        step = jnp.where(slope > 0, (product - squares) / jnp.where(slope > 0, slope, 1.0), 0.0)
        return jnp.clip(y - step, 0.0, y)

    above = squares ** (1.0 / order)
    found = jax.lax.fori_loop(0, _ROOT_STEPS, advance, above)
    return jnp.where(squares > 0, found, 0.0)


def _products_without(terms: Float[Array, "k L"]) -> Float[Array, "k L"]:
    """Product of all other columns, without division."""
    ones = jnp.ones((terms.shape[0], 1))
    before = jnp.cumprod(jnp.concatenate([ones, terms[:, :-1]], axis=1), axis=1)
    after = jnp.cumprod(jnp.concatenate([ones, terms[:, :0:-1]], axis=1), axis=1)[:, ::-1]
    return before * after


def relaxed_velocity(
    z: Float[Array, "n m"],
    slope: Float[Array, "n m"],
    offsets: Float[Array | np.ndarray, " L"],
    beyond: tuple[Float[Array | np.ndarray, " L"], Float[Array | np.ndarray, " L"]],
    rank: int,
) -> Float[Array, "n m"]:
    """−Σ_j A_j·slope·B_j; `beyond` holds the factors of A_j and B_j on the complements of the leading directions."""
    left, sigma, right_t = jnp.linalg.svd(z, full_matrices=False)
    left, sigma, right = left[:, :rank], sigma[:rank], right_t[:rank].T
    offsets = jnp.asarray(offsets)
    depths = jnp.max(offsets) - offsets
    heights = heights_above(sigma**2, depths)
    terms = heights[:, None] + depths[None, :]
    ones = jnp.ones((rank, 1))
    ahead = jnp.cumprod(jnp.concatenate([ones, terms[:, :0:-1]], axis=1), axis=1)[:, ::-1]  # Π_{i>j}
    behind = jnp.cumprod(jnp.concatenate([ones, terms[:, :-1]], axis=1), axis=1)  # Π_{i<j}
    total = jnp.zeros_like(z)
    for j in range(offsets.shape[0]):
        moved = _weighted(left, ahead[:, j], beyond[0][j], slope)
        total = total + _weighted(right, behind[:, j], beyond[1][j], moved.T).T
    return -total


def _weighted(frame: Array, weights: Array, rest: Array | float, matrix: Array) -> Array:
    """(frame·diag(weights)·frameᵀ + rest·(1 − frame·frameᵀ))·matrix."""
    inside = frame.T @ matrix
    return frame @ ((weights - rest)[:, None] * inside) + rest * matrix


def beyond_of(
    imbalances: Sequence[float] | np.ndarray, shape: tuple[int, int], hidden: int | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """(factors of A_j, of B_j on the complements, number of leading directions) for a product of this shape.

    `hidden` is the narrowest hidden width. Two layers with a hidden layer as wide as one side fill that side.
    """
    outputs, inputs = shape
    depth = len(imbalances) + 1
    rank = min(outputs, inputs) if hidden is None else min(outputs, inputs, hidden)
    ahead, behind = np.zeros(depth), np.zeros(depth)
    ahead[-1] = behind[0] = 1.0
    if depth == 2:
        width = max(outputs, inputs) if hidden is None else hidden
        ahead[0] = max(imbalances[0], 0.0) if width >= outputs else 0.0
        behind[1] = max(-imbalances[0], 0.0) if width >= inputs else 0.0
    return ahead, behind, rank


def relaxed_linear_field(
    gradient: Gradient, imbalances: Sequence[float] | np.ndarray, rank: int | None = None
) -> Callable[[Float[Array, "n m"]], Float[Array, "n m"]]:
    """The flow of the product z of a deep linear network from a relaxed-balanced start, in z alone.

    Arguments:
        gradient: z (n, m) → ∇f(z) (n, m), traceable, f the loss as a function of the product (with its ½ and mean).
        imbalances: λ_1 … λ_{L−1}; zeros for balanced starts.
        rank: width of the narrowest hidden layer if that is below max(n, m); the singular values up to there must
            stay positive where an imbalance is not zero, which the bare field cannot check (`reduced_flow` does).

    Returns:
        field(z) → z′, traceable; it has no second derivative where singular values meet.

    Source: relaxed balance is from arXiv 2508.07370 (abstract); the formulas are derived here.

    Example:
        >>> field = relaxed_linear_field(lambda z: z, (0.0,))
        >>> field(jnp.array([[2.0]])).tolist()
        [[-8.0]]
    """
    offsets = offsets_of(imbalances)

    def field(z: Float[Array, "n m"]) -> Float[Array, "n m"]:
        ahead, behind, leading = beyond_of(imbalances, (z.shape[0], z.shape[1]), rank)
        return relaxed_velocity(z, gradient(z), offsets, (ahead, behind), leading)

    return field


def augmented_linear_field(
    gradient: Gradient, output_width: int
) -> Callable[[Float[Array, "s s"]], Float[Array, "s s"]]:
    """The flow of S = YYᵀ, Y = [U_2; U_1ᵀ], of a two-layer linear network from any start, whatever its width.

    S′ = −(ΓS + SΓ) with Γ = [[0, G], [Gᵀ, 0]] and G = ∇f at z, the upper right (n, m) block of S.

    Arguments:
        gradient: z (n, m) → ∇f(z).
        output_width: n.

    Example:
        >>> field = augmented_linear_field(lambda z: z, 1)
        >>> field(jnp.array([[1.0, 2.0], [2.0, 4.0]])).tolist()
        [[-8.0, -10.0], [-10.0, -8.0]]
    """
    if output_width < 1:
        raise ConservationError(f"output_width is {output_width}, expected at least 1")

    def field(s: Float[Array, "s s"]) -> Float[Array, "s s"]:
        slope = gradient(s[:output_width, output_width:])
        upper = slope @ s[output_width:]
        lower = slope.T @ s[:output_width]
        moved = jnp.concatenate([upper, lower])
        return -(moved + moved.T)

    return field
