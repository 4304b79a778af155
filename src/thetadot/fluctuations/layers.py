"""How fluctuations are shared out among layers: the projector on what the outputs see, block by block."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from thetadot.fluctuations.errors import FluctuationsError
from thetadot.fluctuations.gradient_noise import gradient_noise
from thetadot.fluctuations.matrices import finite, positive, require_dense, symmetric, whole
from thetadot.fluctuations.multiplicative import sample_jacobians
from thetadot.fluctuations.sampling import require_independent
from thetadot.problems import EmpiricalRisk, Problem, squared


@dataclasses.dataclass(frozen=True)
class LayerFluctuations:
    """Fluctuations layer by layer, where D = σ²H: Σ = (ησ²/2S)·Π, Π the projector on range(Jᵀ).

    Attributes:
        covariance (P, P): Σ. hessian (P, P): H.
        blocks, hessian_blocks: their diagonal blocks by layer (row-major weights).
        names: of the layers. rank: of Π; the other directions are gauge, and frozen at first order.
        variance: ησ²/(2S), Σ's only eigenvalue but 0.
        noise_mismatch: ‖D − σ²H‖/‖D‖ on the data, None where there are none.
        rate_times_trace: η·tr H, the relative size of second-order corrections.
    """

    covariance: Float[np.ndarray, "P P"]
    hessian: Float[np.ndarray, "P P"]
    blocks: tuple[Float[np.ndarray, "_ _"], ...]
    hessian_blocks: tuple[Float[np.ndarray, "_ _"], ...]
    names: tuple[str, ...]
    rank: int
    variance: float
    noise_mismatch: float | None
    rate_times_trace: float

    def principal(self, layer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Variances (n,) descending, axes (n, n) of a layer's block, and the curvature (n,) along each."""
        values, axes = np.linalg.eigh(self.blocks[layer])
        axes = axes[:, ::-1]
        curvatures = np.einsum("ik,ij,jk->k", axes, self.hessian_blocks[layer], axes)
        return values[::-1], axes, curvatures

    def to_xarray(self):
        """Dataset with dimensions `parameter` and `parameter_`; `layer` names the block of each parameter."""
        import xarray

        owners = np.repeat(np.arange(len(self.names)), [len(block) for block in self.blocks])
        square = ("parameter", "parameter_")
        attrs: dict[str, Any] = {
            "rank": self.rank, "variance": self.variance, "rate_times_trace": self.rate_times_trace,
            "names": ", ".join(self.names), "loss": "mean loss, squared with ½",
        }  # fmt: skip
        if self.noise_mismatch is not None:
            attrs["noise_mismatch"] = self.noise_mismatch
        return xarray.Dataset(
            {
                "covariance": (square, self.covariance, {"units": "weight²"}),
                "hessian": (square, self.hessian, {"units": "loss/weight²"}),
                "layer": ("parameter", owners),
            },
            attrs=attrs,
        )


def projector_covariance(
    jacobian: Any,
    *,
    learning_rate: float,
    batch_size: int,
    label_variance: float,
    tolerance: float | None = None,
) -> Float[np.ndarray, "P P"]:
    """Σ = (ησ²/2S)·Π, which solves HΣ + ΣH = (η/S)σ²H for every H = JᵀGJ with G ≻ 0.

    Arguments:
        jacobian: J (M, P), of the outputs in θ; rows may repeat.
        learning_rate: η. batch_size: S. label_variance: σ², a variance.
        tolerance: singular values up to this fraction of the largest count as 0; by default max(M, P)·ε·10.

    Example:
        >>> projector_covariance(np.array([[1.0, 1.0]]), learning_rate=0.2, batch_size=1, label_variance=1.0).round(3)
        array([[0.05, 0.05],
               [0.05, 0.05]])
    """
    scale = _variance(learning_rate, batch_size, label_variance)
    rows = _range_of(finite(jacobian, "jacobian"), tolerance)
    return scale * rows.T @ rows


def _variance(learning_rate: float, batch_size: int, label_variance: float) -> float:
    eta, size = positive(learning_rate, "learning_rate"), whole(batch_size, "batch_size")
    return eta * positive(label_variance, "label_variance", zero=True) / (2 * size)


def _range_of(J: np.ndarray, tolerance: float | None) -> Float[np.ndarray, "r P"]:
    """Orthonormal rows that span range(Jᵀ)."""
    if J.ndim != 2 or 0 in J.shape:
        raise FluctuationsError(f"jacobian has shape {J.shape}: expected (M, P), one row per output")
    _, sizes, rows = np.linalg.svd(J, full_matrices=False)
    share = 10 * max(J.shape) * np.finfo(float).eps if tolerance is None else tolerance
    return rows[sizes > share * sizes[0]]


def linear_layer_jacobian(weights: Sequence[Any]) -> Float[np.ndarray, "M P"]:
    """J of f = W_L…W₁ in row-major weights: blocks (W_L…W_{l+1}) ⊗ (W_{l−1}…W₁)ᵀ; rows are row-major entries of f.

    Arguments:
        weights: W_1 … W_L, input to output, W_l (n_l, n_{l−1}).

    Example:
        >>> linear_layer_jacobian([np.array([[2.0]]), np.array([[3.0]])]).tolist()
        [[3.0, 2.0]]
    """
    layers = [finite(weight, f"weights[{number}]") for number, weight in enumerate(weights)]
    if not layers or any(layer.ndim != 2 for layer in layers):
        raise FluctuationsError(
            f"weights have shapes {[w.shape for w in layers]}: expected matrices (n_l, n_(l−1))"
        )
    for before, after in itertools.pairwise(layers):
        if after.shape[1] != before.shape[0]:
            raise FluctuationsError(
                f"weights of shapes {before.shape} and {after.shape} do not follow each other: expected input to output"
            )

    def product(part: Sequence[np.ndarray], empty: int) -> np.ndarray:
        return functools.reduce(lambda below, above: above @ below, part, np.eye(empty))

    blocks = []
    for number, layer in enumerate(layers):
        above = product(layers[number + 1 :], layer.shape[0])
        below = product(layers[:number], layers[0].shape[1])
        blocks.append(np.kron(above, below.T))
    return np.concatenate(blocks, axis=1)


def linear_layer_fluctuations(
    weights: Sequence[Any],
    *,
    learning_rate: float,
    batch_size: int,
    label_variance: float,
    input_moment: Any = None,
) -> LayerFluctuations:
    """Fluctuations of a deep linear network at its best weights, fresh samples, labels with independent noise.

    Arguments:
        weights: W_1 … W_L, input to output, W_l (n_l, n_{l−1}).
        learning_rate: η. batch_size: S. label_variance: σ² of each output, a variance.
        input_moment: C = E xxᵀ (n_0, n_0); by default the identity. Σ does not depend on it unless it is singular.

    Source: the question is that of arXiv 2311.14120 (abstract); derived here.

    Example:
        >>> weights = [np.diag([1.0, 0.5]), np.eye(2)]
        >>> found = linear_layer_fluctuations(weights, learning_rate=0.1, batch_size=1, label_variance=1.0)
        >>> found.rank, [block.shape for block in found.blocks]
        (4, [(4, 4), (4, 4)])
    """
    J = linear_layer_jacobian(weights)
    inputs = np.asarray(weights[0]).shape[1]
    C = np.eye(inputs) if input_moment is None else symmetric(input_moment, "input_moment")
    if len(C) != inputs:
        raise FluctuationsError(
            f"input_moment is {C.shape}, the first layer has {inputs} inputs: both must agree"
        )
    values, axes = np.linalg.eigh(C)
    if values[0] < -1e-12 * abs(values[-1]):
        raise FluctuationsError(f"input_moment has the eigenvalue {values[0]:.3g}: expected none below zero")
    outputs = len(J) // inputs
    root = np.kron(np.eye(outputs), np.sqrt(np.maximum(values, 0.0))[:, None] * axes.T)
    seen = root @ J
    sizes = [int(np.size(weight)) for weight in weights]
    names = tuple(f"layer{number}.weight" for number in range(1, len(sizes) + 1))
    return _shared_out(seen, seen.T @ seen, sizes, names, learning_rate, batch_size, label_variance, None)


def layer_fluctuations(
    problem: Problem, theta: Any, rule: Any, *, label_variance: float | None = None
) -> LayerFluctuations:
    """Fluctuations of a network at θ layer by layer, as if D = σ²H; `noise_mismatch` says how far that is from true.

    Arguments:
        problem: an `EmpiricalRisk`. theta: (P,), a minimum.
        rule: a `MiniBatch` with independent batches, S much smaller than N.
        label_variance: σ²; by default the mean squared residual per output (squared loss only; for cross-entropy
            of a well-specified model it is 1).

    Returns:
        one block for each slice of the layout (weights and biases apart).

    Raises:
        FluctuationsError: no samples, or no label_variance for another loss.

    Example:
        >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> problem = td.EmpiricalRisk(td.linear([2, 1]), td.squared, x, np.array([[1.0], [2.0], [4.0]]))
        >>> rule = td.MiniBatch(0.1, 1, jax.random.key(0), replace=True)
        >>> found = layer_fluctuations(problem, np.array([4 / 3, 7 / 3]), rule)
        >>> found.names, found.rank, round(found.noise_mismatch, 3)  # residuals of equal size: D = σ²H
        (('layer1.weight',), 2, 0.0)
    """
    plain = require_independent(rule)
    if not isinstance(problem, EmpiricalRisk):
        raise FluctuationsError(f"{type(problem).__name__} has no samples: pose the problem as EmpiricalRisk")
    require_dense(problem.size)
    noise = gradient_noise(problem, theta)
    if label_variance is None:
        if problem.sample_loss != squared:
            raise FluctuationsError(
                "label_variance is known for the squared loss only: give it (cross-entropy: 1.0)"
            )
        off = np.asarray(problem.predict(theta, problem.x)) - np.asarray(problem.y)
        label_variance = float(np.mean(off**2))
    J = sample_jacobians(problem, theta).reshape(-1, problem.size)
    H, D = np.asarray(problem.hessian(noise.theta)), noise.covariance
    size = float(np.linalg.norm(D))
    mismatch = float(np.linalg.norm(D - label_variance * H) / size) if size else 0.0
    names = tuple(problem.layout.slices)
    sizes = [part.stop - part.start for part in problem.layout.slices.values()]
    rate: Any = plain.learning_rate
    return _shared_out(J, H, sizes, names, float(rate), plain.batch_size, label_variance, mismatch)


def _shared_out(
    J,
    H,
    sizes: Sequence[int],
    names: tuple[str, ...],
    rate: float,
    batch_size: int,
    label_variance: float,
    mismatch,
) -> LayerFluctuations:
    scale = _variance(rate, batch_size, label_variance)
    rows = _range_of(J, None)
    sigma = scale * rows.T @ rows
    ends = np.cumsum([0, *sizes])
    parts = [slice(start, stop) for start, stop in itertools.pairwise(ends)]
    return LayerFluctuations(
        covariance=sigma,
        hessian=H,
        blocks=tuple(sigma[part, part] for part in parts),
        hessian_blocks=tuple(H[part, part] for part in parts),
        names=names,
        rank=len(rows),
        variance=scale,
        noise_mismatch=mismatch,
        rate_times_trace=rate * float(np.trace(H)),
    )
