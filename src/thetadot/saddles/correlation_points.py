"""Correlation points: where the neural correlation function is stationary on the unit sphere."""

import dataclasses
import enum

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy.optimize import minimize

from thetadot.problems import EmpiricalRisk
from thetadot.saddles.correlation import NeuralCorrelation
from thetadot.saddles.sparsity import _seed

_SAME = 1e-6
_NULL = 1e-8


class SecondOrderStatus(enum.Enum):
    """How the second derivative bends across the direction."""

    STRICT = "positive gap: nearby directions are attracted"
    DEGENERATE_SYMMETRIC = "flat along symmetries only: an orbit of points attracts"
    DEGENERATE = "flat in directions that no symmetry explains"
    NOT_SECOND_ORDER = "some directions are repelled"
    NONSMOOTH = "a kink of the activation passes too near"


@dataclasses.dataclass(frozen=True)
class SecondOrder:
    """Second-order data of a correlation point.

    Attributes:
        eigenvalues (F−1,): of ∇²𝒩 on the tangent space, descending.
        gap: λ − largest eigenvalue that is not flat by symmetry.
        alignment_exponent: β = gap/λ, nan where there is none.
        null_dimension: number of flat directions, eigenvalue λ to 1e-8.
        symmetry_dimension: dimension of the orbit through the point that explains flat directions.
        kink_distance: smallest |pre-activation| of a live neuron over the largest, inf for smooth activations.
        status: STRICT, DEGENERATE_SYMMETRIC, DEGENERATE, NOT_SECOND_ORDER or NONSMOOTH.
    """

    eigenvalues: Float[np.ndarray, " n"]
    gap: float
    alignment_exponent: float
    null_dimension: int
    symmetry_dimension: int
    kink_distance: float
    status: SecondOrderStatus


@dataclasses.dataclass(frozen=True)
class CorrelationPoint:
    """A direction w* with ∇𝒩(w*) = λ w*.

    Attributes:
        correlation: the function.
        direction (F,): w*, of norm 1.
        value: 𝒩(w*).
        multiplier: λ = D·𝒩(w*).
        residual: ‖∇𝒩 − λw*‖.
        multiplicity: how many starts found it, up to permutations of neurons.
        second_order: gap, alignment exponent, status.
    """

    correlation: NeuralCorrelation
    direction: Float[np.ndarray, " F"]
    value: float
    multiplier: float
    residual: float
    multiplicity: int
    second_order: SecondOrder


def refine_point(correlation: NeuralCorrelation, direction: Float[np.ndarray, " F"]) -> CorrelationPoint:
    """Bordered Newton from a direction that is nearly stationary.

    Arguments:
        correlation: the function.
        direction (F,): of any length.

    Example:
        >>> import numpy as np, thetadot as td
        >>> problem = td.EmpiricalRisk(td.two_layer(2, 1, "square"), td.squared, np.eye(2), np.array([3.0, 0.0]))
        >>> point = refine_point(td.saddles.neural_correlation(problem), np.array([1.0, 0.1, 0.7]))
        >>> round(float(point.value) * 3**0.5, 12)  # 3/2 · 2/(3√3)
        1.0
    """
    w, residual = newton_direction(correlation, direction)
    return _point(correlation, w, residual, 1)


def newton_direction(correlation: NeuralCorrelation, direction: np.ndarray) -> tuple[np.ndarray, float]:
    """(w*, ‖∇𝒩 − λw*‖), without second-order data."""
    w = np.asarray(direction, float) / np.linalg.norm(direction)
    g = correlation.gradient(w)
    best, least = w, float(np.linalg.norm(g - (g @ w) * w))
    for _ in range(8):
        multiplier = g @ w
        if least <= 1e-15 * abs(multiplier):
            break
        matrix = np.zeros((w.size + 1, w.size + 1))
        matrix[:-1, :-1] = correlation.hessian(w) - multiplier * np.eye(w.size)
        matrix[:-1, -1] = matrix[-1, :-1] = -w
        sizes, vectors = np.linalg.eigh(matrix)
        keep = np.abs(sizes) > 1e-10 * np.abs(sizes).max()
        right = vectors[:, keep].T @ np.append(-(g - multiplier * w), 0.0)
        step = (vectors[:, keep] @ (right / sizes[keep]))[:-1]
        if np.linalg.norm(step) > 0.3:
            break
        w = (w + step) / np.linalg.norm(w + step)
        g = correlation.gradient(w)
        residual = float(np.linalg.norm(g - (g @ w) * w))
        if residual < least:
            best, least = w, residual
        elif residual > 10 * least:
            break
    return best, least


def correlation_points(
    correlation: NeuralCorrelation, *, starts: int = 32, key: PRNGKeyArray | None = None
) -> tuple[CorrelationPoint, ...]:
    """Local maxima of 𝒩 on the unit sphere from random starts, by value, descending.

    Limited-memory quasi-Newton on −𝒩(z/‖z‖), then bordered Newton. Points that differ by a permutation of neurons count
    as one. Which point a start of the *flow* selects is `correlation_flow`'s to say.

    Arguments:
        correlation: the function.
        starts: number of random starts.
        key: of the starts.

    Example:
        >>> import numpy as np, thetadot as td
        >>> problem = td.EmpiricalRisk(td.diagonal(2), td.squared, np.eye(2), np.array([3.0, 1.0]))
        >>> correlation = td.saddles.neural_correlation(problem)
        >>> [round(float(point.value), 9) for point in correlation_points(correlation, starts=4)]
        [0.75]
    """
    tops: list[list] = []
    for w, value in _maxima(correlation, starts, key):
        marks = _marks(correlation, w)
        for known in tops:
            same = abs(known[1] - value) <= _SAME * max(abs(value), 1e-300)
            if same and np.allclose(known[2], marks, atol=1e-4):
                known[3] += 1
                break
        else:
            tops.append([w, value, marks, 1])
    found = []
    for w, _, _, count in sorted(tops, key=lambda top: -top[1]):
        w, residual = newton_direction(correlation, w)
        found.append(_point(correlation, w, residual, count))
    return tuple(found)


def supremum(correlation: NeuralCorrelation, *, starts: int = 16, key: PRNGKeyArray | None = None) -> float:
    """The largest value of 𝒩 on the unit sphere that was found; 0 if there are no free weights."""
    if correlation.free.size == 0:
        return 0.0
    if correlation.quadratic:
        return float(np.linalg.eigvalsh(correlation.hessian(np.zeros(correlation.free.size)))[-1] / 2)
    return max((value for _, value in _maxima(correlation, starts, key)), default=0.0)


def _maxima(correlation: NeuralCorrelation, starts: int, key: PRNGKeyArray | None):
    rng = np.random.default_rng(_seed(key))
    degree = correlation.degree
    # In units of a typical slope, so that the optimiser's own thresholds mean something.
    probes = rng.normal(size=(4, correlation.free.size))
    typical = max(float(np.linalg.norm(correlation.gradient(u / np.linalg.norm(u)))) for u in probes)
    if typical == 0.0:
        return

    def negative(z: np.ndarray) -> tuple[float, np.ndarray]:
        size = np.linalg.norm(z)
        w = z / size
        g = correlation.gradient(w) / typical
        value = float(w @ g) / degree
        return -value, -(g - (w @ g) * w) / size

    for start in rng.normal(size=(starts, correlation.free.size)):
        best = minimize(
            negative, start / np.linalg.norm(start), jac=True, method="L-BFGS-B",
            options={"maxiter": 300, "gtol": 1e-9, "ftol": 1e-15},
        )  # fmt: skip
        yield best.x / np.linalg.norm(best.x), -float(best.fun) * typical


def _marks(correlation: NeuralCorrelation, w: np.ndarray) -> np.ndarray:
    """Sorted norms of the neurons, the same for permuted neurons."""
    neurons = correlation._problem.layout.neurons
    whole = correlation.embed(w)
    return np.sort([np.linalg.norm(whole[neuron.indices]) for neuron in neurons]) if neurons else np.abs(w)


def _point(
    correlation: NeuralCorrelation, w: np.ndarray, residual: float, multiplicity: int
) -> CorrelationPoint:
    value = correlation.value(w)
    multiplier = correlation.degree * value
    return CorrelationPoint(
        correlation, w, value, multiplier, residual, multiplicity, _second_order(correlation, w, multiplier)
    )


def _second_order(correlation: NeuralCorrelation, w: np.ndarray, multiplier: float) -> SecondOrder:
    frame = np.linalg.svd(w[None, :])[2][1:].T
    matrix = frame.T @ correlation.hessian(w) @ frame
    eigenvalues = np.linalg.eigvalsh(0.5 * (matrix + matrix.T))[::-1]
    scale = max(abs(multiplier), 1e-300)
    null = int(np.sum(np.abs(eigenvalues - multiplier) <= _NULL * scale))
    orbit = _orbit_dimension(correlation, w, scale)
    kink = _kink_distance(correlation, w)
    below = eigenvalues[eigenvalues < multiplier - _NULL * scale]
    gap = float(multiplier - below[0]) if below.size else float(multiplier)
    beta = gap / scale
    if kink < 1e-6:
        status, beta = SecondOrderStatus.NONSMOOTH, float("nan")
    elif eigenvalues.size and eigenvalues[0] > multiplier + _NULL * scale:
        status, gap = SecondOrderStatus.NOT_SECOND_ORDER, float(multiplier - eigenvalues[0])
        beta = gap / scale
    elif null == 0:
        status = SecondOrderStatus.STRICT
    elif orbit >= null:
        status = SecondOrderStatus.DEGENERATE_SYMMETRIC
    else:
        status, gap, beta = SecondOrderStatus.DEGENERATE, 0.0, float("nan")
    return SecondOrder(eigenvalues, gap, beta, null, min(orbit, null), kink, status)


def _orbit_dimension(correlation: NeuralCorrelation, w: np.ndarray, scale: float) -> int:
    """Dimension of the orbit of w under rotations among pairs of neurons of one layer that leave 𝒩 unchanged.

    Rotations mix neurons of linear layers freely; neurons of degree-1 activations that share a direction exchange
    weight in the same way.
    """
    neurons = correlation._problem.layout.neurons
    whole = correlation.embed(w)
    tangents = []
    for place, one in enumerate(neurons):
        for other in neurons[place + 1 :]:
            if one.layer != other.layer or one.indices.size != other.indices.size:
                continue
            turn = np.zeros_like(whole)
            turn[one.indices] -= whole[other.indices]
            turn[other.indices] += whole[one.indices]
            tangents.append(turn[correlation.free])
    if not tangents:
        return 0
    moves = np.array(tangents)
    moves = moves[np.linalg.norm(moves, axis=1) > 1e-9]
    matrix = correlation.hessian(w) if len(moves) else np.zeros((w.size, w.size))
    # A rotation is a symmetry here if the gradient turns with it: ∇²𝒩·v = λ v.
    multiplier = float(w @ correlation.gradient(w))
    flat = [
        move
        for move in moves
        if np.linalg.norm(matrix @ move - multiplier * move) <= 1e-7 * scale * np.linalg.norm(move)
    ]
    if not flat:
        return 0
    sizes = np.linalg.svd(np.array(flat), compute_uv=False)
    return int(np.sum(sizes > 1e-7 * sizes[0]))


def _kink_distance(correlation: NeuralCorrelation, w: np.ndarray) -> float:
    """Smallest |pre-activation| over the largest, of neurons that live in w; inf for smooth activations."""
    problem = correlation._problem
    network = getattr(problem, "network", None)
    preactivations = getattr(network, "preactivations", None)
    name = getattr(getattr(network, "activation", None), "name", "")
    if not isinstance(problem, EmpiricalRisk) or preactivations is None or "relu" not in name:
        return float("inf")
    whole = correlation.base + correlation.embed(w)
    arguments = preactivations(jax.numpy.asarray(whole), problem.x)
    smallest, largest = np.inf, 0.0
    for values in arguments.values():
        rows = np.abs(np.asarray(values))
        alive = rows.max(axis=1) > 1e-6 * max(rows.max(), 1e-300)
        if alive.any():
            smallest, largest = min(smallest, rows[alive].min()), max(largest, rows.max())
    return float(smallest / largest) if largest > 0 else float("inf")
