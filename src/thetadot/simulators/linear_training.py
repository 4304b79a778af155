"""Training of a linear simulator in closed form: every step, the flow, the limit, and the spectrum of the limit.

L = 1/(2N) Σ‖Wx − y‖² + ½μ‖W‖², ∇L = WC − K + μW. In the eigenbasis of C every column of W moves on its own.
"""

import dataclasses
import enum
import warnings
from typing import Any

import numpy as np
import scipy.sparse.linalg
from jaxtyping import Complex, Float

from thetadot.problems.checks import Numbers
from thetadot.simulators.checks import as_square, in_range
from thetadot.simulators.data_energy import DataEnergy
from thetadot.simulators.errors import MatrixError, SettingError, UnstableStepWarning
from thetadot.simulators.moments import Moments, checked_grid, checked_initial


def simulator_path(
    moments: Moments, initial: Numbers, steps: Numbers, *, learning_rate: float, weight_decay: float = 0.0
) -> Float[np.ndarray, "S m n"]:
    """Weights after any numbers of gradient-descent steps, without making the steps.

    W_n = W∞ + (W₀ − W∞)(I − learning_rate·(C + μI))ⁿ, in the eigenbasis of C.

    Arguments:
        moments: of the data.
        initial: W₀ (m, n).
        steps: numbers of steps (S,), whole, in any order.
        learning_rate: of each step, for the loss with ½ and mean (without the ½ hand in twice as much).
        weight_decay: μ of ½μ‖W‖².

    Returns:
        (S, m, n).

    Raises:
        MatrixError, SettingError: shapes or numbers that do not fit.

    Warns:
        UnstableStepWarning: learning_rate·(c_max + μ) ≥ 2: descent diverges, and so does the formula, rightly.

    Source: re-derived; oracle of `thetadot.descend`.

    Example:
        >>> from thetadot.simulators import moments_of
        >>> path = simulator_path(moments_of([[2.0]], [[1.0]]), [[0.0]], [0, 1, 2], learning_rate=0.5)
        >>> path[:, 0, 0].tolist()
        [0.0, 1.0, 1.5]
    """
    start, decay = checked_initial(moments, initial), in_range(weight_decay, "weight_decay", 0.0)
    rate = in_range(learning_rate, "learning_rate", 0.0, open_low=True)
    grid = checked_grid(steps, "steps")
    if np.any(grid != np.round(grid)):
        raise SettingError("steps must be whole numbers; for times use simulator_flow")
    fastest = rate * (float(moments.energy.energies.max(initial=0.0)) + decay)
    if fastest >= 2:
        warnings.warn(
            f"learning_rate·(c_max + weight_decay) = {fastest:.4g} ≥ 2: gradient descent diverges; take a learning "
            f"rate below {2 * rate / fastest:.4g}",
            UnstableStepWarning,
            stacklevel=2,
        )

    def factors(stiffness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shrunk = rate * stiffness
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            # For shrunk < 1 the digits of 1 − (1 − x)ⁿ are kept; beyond, the factor may change sign.
            small = np.minimum(shrunk, 0.5)
            exponent = grid[:, None] * np.log1p(-small)
            direct = (1.0 - shrunk) ** grid[:, None]
            gone = np.where(shrunk <= 0.5, -np.expm1(exponent), 1.0 - direct)
            keep = np.where(shrunk <= 0.5, np.exp(exponent), direct)
            gain = np.where(stiffness > 0, gone / stiffness, rate * grid[:, None])
        return keep, gain

    return _assembled(
        moments, start, decay, *factors(_stiffness(moments, decay)), factors(np.array([decay]))[0]
    )


def simulator_flow(
    moments: Moments, initial: Numbers, times: Numbers, *, weight_decay: float = 0.0
) -> Float[np.ndarray, "S m n"]:
    """Weights along the gradient flow, exactly: as `simulator_path` with exp(−(C + μI)t).

    Arguments:
        moments, initial, weight_decay: as in `simulator_path`. times: (S,), units of the loss gradient.

    Returns:
        (S, m, n).

    Raises:
        MatrixError, SettingError: shapes or numbers that do not fit.

    Example:
        >>> from thetadot.simulators import moments_of
        >>> flow = simulator_flow(moments_of([[2.0]], [[1.0]]), [[0.0]], [0.0, 1.0])
        >>> bool(abs(flow[1, 0, 0] - 2 * (1 - np.exp(-1))) < 1e-15)
        True
    """
    start, decay = checked_initial(moments, initial), in_range(weight_decay, "weight_decay", 0.0)
    grid = checked_grid(times, "times")

    def factors(stiffness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        exponent = -grid[:, None] * stiffness
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where(stiffness > 0, -np.expm1(exponent) / stiffness, grid[:, None])
        return np.exp(exponent), gain

    return _assembled(
        moments, start, decay, *factors(_stiffness(moments, decay)), factors(np.array([decay]))[0]
    )


def simulator_limit(
    moments: Moments, initial: Numbers, *, weight_decay: float = 0.0
) -> Float[np.ndarray, "m n"]:
    """Where training ends: K(C + μI)⁻¹ with weight decay, without it A·P + W₀·(I − P), A = K·C⁺.

    Arguments:
        moments, initial, weight_decay: as in `simulator_path`.

    Returns:
        W∞ (m, n). Without weight decay what is not learned is the initial weights.

    Raises:
        MatrixError, SettingError: shapes or numbers that do not fit.

    Example:
        >>> from thetadot.simulators import moments_of
        >>> simulator_limit(moments_of(np.zeros((2, 2)), np.diag([1.0, 0.0])), np.eye(2)).tolist()
        [[0.0, 0.0], [0.0, 1.0]]
    """
    start, decay = checked_initial(moments, initial), in_range(weight_decay, "weight_decay", 0.0)
    stiffness = _stiffness(moments, decay)[None]
    gain = np.divide(1.0, stiffness, out=np.zeros_like(stiffness), where=stiffness > 0)
    null = np.full((1, 1), float(decay == 0))
    return _assembled(moments, start, decay, np.zeros_like(gain), gain, null)[0]


def _stiffness(moments: Moments, decay: float) -> Float[np.ndarray, " k"]:
    """c_i + μ of the directions with energy, and of those that weight decay empties."""
    energy = moments.energy
    return energy.energies[: energy.rank] + decay


def _assembled(
    moments: Moments, start: np.ndarray, decay: float, keep: np.ndarray, gain: np.ndarray, null: np.ndarray
) -> Float[np.ndarray, "S m n"]:
    """W = Σ_i (keep_i·W₀u_i + gain_i·Ku_i)u_iᵀ + null·W₀(I − P); K has no part outside of range(C)."""
    U = moments.energy.learnable
    inside, driven = start @ U, moments.cross @ U
    outside = start - inside @ U.T
    return (inside * keep[:, None] + driven * gain[:, None]) @ U.T + null[:, :, None] * outside


class SpectrumStatus(enum.StrEnum):
    """Whether the spectrum of the limit is the union of a learned and an inherited part."""

    SPLIT = "split"
    NOT_INVARIANT = "not_invariant"


@dataclasses.dataclass(frozen=True)
class InheritedSpectrum:
    """Eigenvalues of the trained weights, and where they come from.

    Attributes:
        eigenvalues (n,): of W∞.
        learned (r,): of UᵀAU; inherited (n − r,): of NᵀW₀N. Their union is the spectrum if the status is `split`;
            otherwise they are only labels of the two blocks.
        invariance_defect: ‖(I − P)AP‖_F / ‖AP‖_F; 0 for noise-free trajectory data.
        status: `split` or `not_invariant`.
    """

    eigenvalues: Complex[np.ndarray, " n"]
    learned: Complex[np.ndarray, " r"]
    inherited: Complex[np.ndarray, " q"]
    invariance_defect: float
    status: SpectrumStatus


def inherited_spectrum(moments: Moments, initial: Numbers, *, tolerance: float = 1e-8) -> InheritedSpectrum:
    """Which eigenvalues of the trained simulator were learned, and which are left over from the initial weights.

    If the range of C is invariant under A = K·C⁺, spec W∞ = spec(UᵀAU) ∪ spec(NᵀW₀N).

    Arguments:
        moments: of the data, as many targets as inputs. initial: W₀ (n, n).
        tolerance: on the invariance defect.

    Raises:
        MatrixError: targets and inputs of different sizes.

    Source: re-derived; block triangular form of W∞ in the basis (U, N).

    Example:
        >>> from thetadot.simulators import moments_of
        >>> found = inherited_spectrum(moments_of(0.5 * np.eye(2), np.diag([1.0, 0.0])), 3 * np.eye(2))
        >>> found.learned.real.tolist(), found.inherited.real.tolist(), str(found.status)
        ([0.5], [3.0], 'split')
    """
    as_square(moments.cross, "the cross moment")
    start = checked_initial(moments, initial)
    U, N = moments.energy.learnable, moments.energy.unlearnable
    c = moments.energy.energies[: moments.energy.rank]
    AU = (moments.cross @ U) / c
    size = float(np.linalg.norm(AU))
    defect = float(np.linalg.norm(AU - U @ (U.T @ AU))) / size if size > 0 else 0.0
    learned, inherited = ordered(np.linalg.eigvals(U.T @ AU)), ordered(np.linalg.eigvals(N.T @ start @ N))
    if defect <= tolerance:
        return InheritedSpectrum(
            np.concatenate([learned, inherited]), learned, inherited, defect, SpectrumStatus.SPLIT
        )
    whole = ordered(np.linalg.eigvals(AU @ U.T + start - (start @ U) @ U.T))
    return InheritedSpectrum(whole, learned, inherited, defect, SpectrumStatus.NOT_INVARIANT)


def leading_inherited(energy: DataEnergy, initial: Numbers, count: int = 6) -> Complex[np.ndarray, " count"]:
    """The inherited eigenvalues of largest modulus alone, by Arnoldi iteration: for thousands of inputs.

    The compression acts as (I − P)W₀(I − P), so that neither N nor P is formed.

    Arguments:
        energy: of the data. initial: W₀ (n, n). count: eigenvalues wanted, fewer than n − 1.

    Raises:
        MatrixError: W₀ is not (n, n). SettingError: more eigenvalues than there are.

    Example:
        >>> from thetadot.simulators import data_energy
        >>> energy = data_energy(np.eye(6)[:1])
        >>> leading_inherited(energy, np.diag([9.0, 1.0, 2.0, 3.0, 4.0, 5.0]), count=2).real.round(9).tolist()
        [5.0, 4.0]
    """
    W, size = as_square(initial, "initial"), energy.size
    if len(W) != size:
        raise MatrixError(f"initial has shape {W.shape}, the energy is of {size} inputs")
    if not 1 <= count < min(size - 1, size - energy.rank + 1):
        raise SettingError(
            f"count is {count}, expected 1 up to n − 2 and at most {size - energy.rank} inherited ones"
        )
    U = energy.learnable

    def outside(v: np.ndarray) -> np.ndarray:
        return v - U @ (U.T @ v)

    operator: Any = scipy.sparse.linalg.LinearOperator
    compression = operator((size, size), matvec=lambda v: outside(W @ outside(np.ravel(v))), dtype=np.float64)
    begin = outside(np.random.default_rng(0).normal(size=size))
    eigs: Any = scipy.sparse.linalg.eigs
    return ordered(eigs(compression, k=count, v0=begin, return_eigenvectors=False))


def ordered(eigenvalues: np.ndarray) -> Complex[np.ndarray, " n"]:
    """Descending by modulus, then by real and imaginary part, so that equal runs print equally."""
    values: Any = np.asarray(eigenvalues, complex)
    return values[np.lexsort((-values.imag, -values.real, -np.abs(values).round(12)))]
