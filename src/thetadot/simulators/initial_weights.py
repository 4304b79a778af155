"""Initial weights, and what of them training leaves: how unstable it is, and weights for which it cannot be.

What is left is the compression NᵀW₀N on the directions without energy. Its spectrum lies in the numerical range of W₀,
not in that of its eigenvalues: spec(W₀) decides nothing.
"""

import math

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from thetadot.problems.checks import Numbers
from thetadot.simulators.checks import as_matrix, as_time, in_range, one_of
from thetadot.simulators.data_energy import DataEnergy
from thetadot.simulators.errors import MatrixError, SettingError

METHODS = ("norm", "gershgorin")


def unlearned_radius(size: int, rank: int, entry_variance: float) -> float:
    """Radius of the disc that the inherited eigenvalues of random initial weights fill: √(q(n − r)).

    Asymptotic in n − r. At n = 64 the largest modulus was 4 to 7 % above it on average. A map is unstable if the
    radius exceeds 1; half the disc of a generator lies in Re > 0, so that it is unstable always.

    Arguments:
        size: n. rank: r. entry_variance: q of the independent entries of W₀: 1/(3n) for PyTorch's Linear, 1/n for
            LeCun and square Glorot, 2/n for He.

    Raises:
        SettingError: a rank outside 0…n, a negative variance.

    Source: circular law for NᵀW₀N, which has independent entries again (in law, for Gaussian ones exactly).

    Example:
        >>> unlearned_radius(64, 48, 1 / 64)
        0.5
    """
    if not 0 <= rank <= size:
        raise SettingError(f"rank is {rank} of {size} directions: expected 0 to {size}")
    return math.sqrt(in_range(entry_variance, "entry_variance", 0.0) * (size - rank))


def stable_initial_weights(
    key: PRNGKeyArray,
    size: int,
    *,
    time: str,
    margin: float = 0.05,
    method: str = "norm",
) -> Float[np.ndarray, "n n"]:
    """Random initial weights that cannot make a linear simulator unstable, whatever the data leave of them.

    Discrete: ‖W‖₂ ≤ 1 − margin. Continuous: (W + Wᵀ)/2 has no eigenvalue above −margin. Both survive compression to
    any subspace.

    Arguments:
        key: the draw. size: n. time: "discrete" (a map) or "continuous" (a generator).
        margin: how far inside, below 1 for maps.
        method: "norm" uses the norm or the eigenvalues of the symmetric part themselves; "gershgorin" bounds them by
            absolute row and column sums (‖W‖₂² ≤ ‖W‖₁‖W‖_∞) or by the discs of the symmetric part: further inside.

    Returns:
        W₀ (n, n).

    Raises:
        SettingError: an unknown time or method, a margin or size out of range.

    Source: re-derived; numerical range.

    Example:
        >>> W = stable_initial_weights(jax.random.key(0), 5, time="discrete")
        >>> round(float(np.linalg.norm(W, 2)), 12)
        0.95
    """
    as_time(time)
    one_of(method, METHODS, "method")
    if size < 1:
        raise SettingError(f"size is {size}, expected at least 1")
    margin = in_range(margin, "margin", 0.0, 1.0 if time == "discrete" else np.inf)
    draw = np.asarray(jax.random.normal(key, (size, size))) / math.sqrt(size)
    if time == "discrete":
        sums = np.abs(draw)
        largest = np.linalg.norm(draw, 2) if method == "norm" else max(sums.sum(0).max(), sums.sum(1).max())
        return draw * ((1 - margin) / largest)
    symmetric = (draw + draw.T) / 2
    if method == "norm":
        top = float(np.linalg.eigvalsh(symmetric)[-1])
    else:
        diagonal = np.diag(symmetric)
        top = float((diagonal + np.abs(symmetric).sum(1) - np.abs(diagonal)).max())
    return draw - (top + margin) * np.eye(size)


def project_weights(weights: Numbers, energy: DataEnergy, *, fill: float = 0.0) -> Float[np.ndarray, "m n"]:
    """Weights with nothing inherited: W·P + fill·(I − P).

    The spectrum is then spec(UᵀWU) ∪ {fill}. A map needs |fill| < 1, a generator fill < 0 (0 is neutral). Also for the
    first layer (hidden, n) of a network, with fill 0: the network is then blind outside of the data's span.

    Arguments:
        weights: W (m, n). energy: of the inputs. fill: eigenvalue of the directions without energy.

    Raises:
        MatrixError: W has another number of columns than the data, or is not square and fill is not 0.

    Example:
        >>> from thetadot.simulators import data_energy
        >>> project_weights(np.ones((2, 2)), data_energy([[1.0, 0.0]]), fill=-1.0).tolist()
        [[1.0, 0.0], [1.0, -1.0]]
    """
    W = as_matrix(weights, "weights", (None, energy.size))
    kept = energy.onto_data(W)
    if fill == 0:
        return kept
    if W.shape[0] != W.shape[1]:
        raise MatrixError(f"weights have shape {W.shape}: a fill other than 0 needs a square matrix")
    return kept + fill * (np.eye(energy.size) - energy.learnable @ energy.learnable.T)
