"""What noise in the inputs does to a learned map: how far it moves the eigenvalues, and how much it damps."""

import dataclasses
import enum
from typing import Any

import numpy as np
import scipy.linalg
from jaxtyping import Complex, Float

from thetadot.problems.checks import Numbers
from thetadot.simulators.checks import as_square, in_range
from thetadot.simulators.data_energy import energy_of_moment
from thetadot.simulators.errors import MatrixError

_ROUNDING = 1e-12


def eigenvalue_shift(
    operator: Numbers, input_moment: Numbers, variance: float
) -> tuple[Complex[np.ndarray, " n"], Complex[np.ndarray, " n"]]:
    """Eigenvalues of A, and how white input noise shifts them in what is learned, to first order.

    Noise of variance s² turns A into AC(C + s²I)⁻¹, and λ_j moves by −s²·λ_j·(l_jᴴC⁻¹r_j)/(l_jᴴr_j), l and r the
    left and right eigenvectors of A. The error is O(s⁴); it is useless once s² is near the smallest energy.

    Arguments:
        operator: A (n, n), with distinct eigenvalues. input_moment: C (n, n), positive definite. variance: s².

    Returns:
        (eigenvalues (n,), shifts (n,)), complex, in the same order.

    Raises:
        MatrixError: C is singular, or A has a defective eigenvalue.

    Source: re-derived.

    Example:
        >>> values, shifts = eigenvalue_shift(np.diag([0.5, 0.9]), np.diag([1.0, 2.0]), 0.01)
        >>> dict(zip(values.real.tolist(), shifts.real.round(6).tolist()))
        {0.5: -0.005, 0.9: -0.0045}
    """
    A, C = _pair(operator, input_moment)
    variance = in_range(variance, "variance", 0.0)
    energy = energy_of_moment(C)
    if energy.rank < len(C):
        raise MatrixError(
            f"input_moment has rank {energy.rank} of {len(C)}: directions without energy do not move to first order; "
            "restrict A and C to the learnable directions"
        )
    eig: Any = scipy.linalg.eig
    values, left, right = eig(A, left=True, right=True)
    overlap = np.einsum("ij,ij->j", left.conj(), right)
    if np.any(np.abs(overlap) < 1e-10):
        worst = values[int(np.argmin(np.abs(overlap)))]
        raise MatrixError(f"the eigenvalue {worst:.4g} of A is defective: it has no first-order shift")
    weighted = np.einsum("ij,ij->j", left.conj(), np.linalg.solve(C, right))
    return values.astype(complex), -variance * values * weighted / overlap


class NoiseStatus(enum.StrEnum):
    """Whether the data are stationary enough for the bound."""

    HOLDS = "holds"
    HYPOTHESIS_FAILS = "hypothesis_fails"


@dataclasses.dataclass(frozen=True)
class NoiseBound:
    """How far noise damps a learned map.

    Attributes:
        bound: c_max/(c_max + s²), a bound on the spectral radius if the status is `holds`.
        spectral_radius: measured, of AC(C + s²I)⁻¹.
        hypothesis_margin: λ_min(C − ACAᵀ)/c_max; at least 0 for stationary data.
        status: `holds` or `hypothesis_fails`; then the bound says nothing.
    """

    bound: float
    spectral_radius: float
    hypothesis_margin: float
    status: NoiseStatus


def noise_stability_bound(operator: Numbers, input_moment: Numbers, variance: float) -> NoiseBound:
    """A bound on the spectral radius of a map learned from noisy inputs.

    If C − ACAᵀ ⪰ 0, then ρ(W*) ≤ q = c_max/(c_max + s²) for W* = AC(C + s²I)⁻¹: with S = C + s²I, C ⪯ qS gives
    W*SW*ᵀ ⪯ qACAᵀ ⪯ qC ⪯ q²S. Sharp for orthogonal A and C = I.

    Arguments:
        operator: A (n, n). input_moment: C (n, n). variance: s² ≥ 0.

    Raises:
        MatrixError: shapes that do not fit, or C = 0.

    Source: re-derived; the hypothesis is checked and its margin told.

    Example:
        >>> found = noise_stability_bound([[0.0, -1.0], [1.0, 0.0]], np.eye(2), 0.25)
        >>> found.bound, round(found.spectral_radius, 12), str(found.status)
        (0.8, 0.8, 'holds')
    """
    A, C = _pair(operator, input_moment)
    variance = in_range(variance, "variance", 0.0)
    largest = float(energy_of_moment(C).energies.max(initial=0.0))
    if largest == 0:
        raise MatrixError("input_moment is 0: there are no data to bound anything with")
    learned = learned_with_noise(A, C, variance)
    margin = float(np.linalg.eigvalsh(C - A @ C @ A.T)[0]) / largest
    status = NoiseStatus.HOLDS if margin >= -_ROUNDING * len(C) else NoiseStatus.HYPOTHESIS_FAILS
    radius = float(np.abs(np.linalg.eigvals(learned)).max())
    return NoiseBound(largest / (largest + variance), radius, margin, status)


def learned_with_noise(
    A: Float[np.ndarray, "n n"], C: Float[np.ndarray, "n n"], variance: float
) -> Float[np.ndarray, "n n"]:
    """AC(C + s²I)⁻¹, with the pseudoinverse of C for s = 0."""
    energy = energy_of_moment(C)
    V, c = energy.directions, energy.energies + variance
    kept = np.arange(len(C)) < energy.rank if variance == 0 else c > 0
    return (A @ C @ V[:, kept]) / c[kept] @ V[:, kept].T


def _pair(operator: Numbers, input_moment: Numbers) -> tuple[np.ndarray, np.ndarray]:
    A, C = as_square(operator, "operator"), as_square(input_moment, "input_moment")
    if A.shape != C.shape:
        raise MatrixError(f"operator has shape {A.shape}, input_moment {C.shape}: expected the same")
    return A, C
