"""Imbalance of deep linear networks: C_i = U_{i+1}ᵀU_{i+1} − U_iU_iᵀ, and starts where it is λ_i times the identity."""

import dataclasses
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.conservation.errors import ConservationError, InfeasibleImbalanceError
from thetadot.conservation.lift import Lift, LinearLift


@dataclasses.dataclass(frozen=True)
class Imbalance:
    """What `imbalance` found.

    Attributes:
        values (L−1,): λ_i = tr C_i / n_i.
        residuals (L−1,): ‖C_i − λ_iI‖ relative to ‖θ‖².
        relaxed: all residuals are within the tolerance. balanced: so are all |λ_i| relative to ‖θ‖².
    """

    values: Float[np.ndarray, " hidden"]
    residuals: Float[np.ndarray, " hidden"]
    relaxed: bool
    balanced: bool


def imbalance(lift: Lift, theta: Float[Array | np.ndarray, " P"], tolerance: float = 1e-8) -> Imbalance:
    """How far the weights of a deep linear network are from (relaxed) balance.

    Raises:
        ConservationError: the lift is not a `LinearLift`.

    Example:
        >>> imbalance(LinearLift((1, 1, 1)), np.array([1.0, 2.0])).values.tolist()
        [3.0]
    """
    if not isinstance(lift, LinearLift):
        raise ConservationError(f"imbalance is one of linear networks: expected a LinearLift, given {lift!r}")
    point = np.asarray(theta, float)
    if point.shape != (lift.size,):
        raise ConservationError(f"theta has shape {point.shape}, expected ({lift.size},)")
    norm = float(point @ point) or 1.0
    matrices = gaps_of(lift, point)
    values = np.array([np.trace(matrix) / len(matrix) for matrix in matrices])
    residuals = np.array(
        [
            np.linalg.norm(matrix - value * np.eye(len(matrix))) / norm
            for matrix, value in zip(matrices, values, strict=True)
        ]
    )
    relaxed = bool(np.all(residuals <= tolerance))
    balanced = relaxed and bool(np.all(np.abs(values) <= tolerance * norm))
    return Imbalance(values, residuals, relaxed, balanced)


def gaps_of(lift: LinearLift, theta: Float[np.ndarray, " P"]) -> list[Float[np.ndarray, "n n"]]:
    """[C_1, …, C_{L−1}]."""
    factors = lift.factors(np.asarray(theta, float))
    return [above.T @ above - below @ below.T for below, above in itertools.pairwise(factors)]


def offsets_of(imbalances: Sequence[float] | np.ndarray) -> Float[np.ndarray, " L"]:
    """(μ_1, …, μ_L) with μ_i = λ_i + … + λ_{L−1}: along a singular direction |U_i|² = x − μ_i."""
    return np.append(np.cumsum(np.asarray(imbalances, float)[::-1])[::-1], 0.0)


def relaxed_balanced_init(
    key: PRNGKeyArray, widths: Sequence[int], imbalances: Sequence[float], scale: float = 1.0
) -> Float[Array, " P"]:
    """Random weights (P,) of a deep linear network with C_i = λ_iI for all hidden layers.

    Arguments:
        widths: (n_0, …, n_L).
        imbalances: λ_1 … λ_{L−1}.
        scale: the directions of full depth have squared singular values max μ + scale²·(0.5 … 1.5).

    Raises:
        InfeasibleImbalanceError: no weights of these widths have these imbalances.

    Example:
        >>> theta = relaxed_balanced_init(jax.random.key(0), (4, 2, 5), (0.9,))
        >>> bool(imbalance(LinearLift((4, 2, 5)), theta).relaxed)
        True
    """
    lift = LinearLift(widths)
    if len(imbalances) != lift.depth - 1:
        raise InfeasibleImbalanceError(
            f"{len(imbalances)} imbalances were given, a network of widths {lift.widths} has {lift.depth - 1}"
        )
    offsets = offsets_of(imbalances)
    narrow = min(lift.widths)
    keys = jax.random.split(key, lift.depth + 2)
    heights = np.asarray(jax.random.uniform(keys[-1], (narrow,), minval=0.5, maxval=1.5))
    through = offsets.max() + scale**2 * heights
    squares = [
        np.zeros((above, below)) for below, above in zip(lift.widths[:-1], lift.widths[1:], strict=True)
    ]
    for layer, square in enumerate(squares):
        square[np.arange(narrow), np.arange(narrow)] = through - offsets[layer]
    for extra in range(narrow, max(lift.widths)):
        layers = [k for k, width in enumerate(lift.widths) if width > extra]
        for run in np.split(layers, np.flatnonzero(np.diff(layers) > 1) + 1):
            for start, stop, x in _segments(int(run[0]), int(run[-1]), offsets, lift):
                for layer in range(start, stop):
                    squares[layer][extra, extra] = x - offsets[layer]
    frames = [_orthogonal(frame_key, width) for frame_key, width in zip(keys[:-1], lift.widths, strict=True)]
    factors = [
        frames[layer + 1] @ np.sqrt(np.maximum(square, 0.0)) @ frames[layer].T
        for layer, square in enumerate(squares)
    ]
    return jnp.concatenate([jnp.asarray(factor).ravel() for factor in factors])


def _segments(first: int, last: int, offsets: np.ndarray, lift: LinearLift) -> list[tuple[int, int, float]]:
    """Cut a run of layers that have one more direction into pieces (start, stop, x) that can stand alone.

    Along a piece |U_i|² = x − μ_i; it starts or stops inside the network only where x − μ is zero there.
    """
    depth, tiny = lift.depth, 1e-12 * max(1.0, float(np.abs(offsets).max()))
    best: dict[int, list[tuple[int, int, float]] | None] = {last + 1: []}

    def piece(start: int, stop: int) -> float | None:
        if start == stop and 0 < start < depth:
            return 0.0 if abs(offsets[start - 1] - offsets[start]) <= tiny else None
        inner = offsets[start:stop]
        wanted = ([offsets[start - 1]] if start > 0 else []) + ([offsets[stop]] if stop < depth else [])
        x = wanted[0] if wanted else float(inner.max(initial=0.0))
        fits = all(abs(x - value) <= tiny for value in wanted) and np.all(x - inner >= -tiny)
        return float(x) if fits else None

    for start in range(last, first - 1, -1):
        best[start] = None
        for stop in range(start, last + 1):
            x, rest = piece(start, stop), best[stop + 1]
            if x is not None and rest is not None:
                best[start] = [(start, stop, x), *rest]
                break
    found = best[first]
    if found is None:
        raise InfeasibleImbalanceError(
            f"no weights of widths {lift.widths} have these imbalances: λ_i > 0 needs n_i ≤ n_(i+1), λ_i < 0 "
            f"needs n_i ≤ n_(i−1); layers {first} to {last} are too wide"
        )
    return found


def _orthogonal(key: PRNGKeyArray, size: int) -> Float[np.ndarray, "n n"]:
    q, r = np.linalg.qr(np.asarray(jax.random.normal(key, (size, size))))
    return q * np.where(np.diag(r) < 0, -1.0, 1.0)
