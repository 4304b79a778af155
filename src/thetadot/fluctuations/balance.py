"""Detailed balance: whether the fluctuations are those of an equilibrium, and how probability circulates if not."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from thetadot.dynamics.wording import number
from thetadot.fluctuations.errors import NoStationaryStateError
from thetadot.fluctuations.matrices import positive, symmetric

_SPAN = 1e-12
_BALANCED = 1e-10


@dataclasses.dataclass(frozen=True)
class DetailedBalance:
    """What `detailed_balance` found; all of it independent of learning rate and batch size.

    Attributes:
        defect: ‖HD − DH‖/‖HD‖ (Frobenius), 0 at balance.
        circulation (P, P): Q, antisymmetric; probability flows with the local velocity −QΣ₁⁻¹δ.
        entropy_production: ≥ 0, in units of curvature; 0 iff balanced; ∞ if the noise does not span what Q drives.
        covariance (P, P): Σ₁ on range(H), HΣ₁ + Σ₁H = D.
        balanced: the defect is at most 1e-10.
        lower_bound: the matrices are projections, and the whole process produces at least as much entropy.
    """

    defect: float
    circulation: Float[np.ndarray, "P P"]
    entropy_production: float
    covariance: Float[np.ndarray, "P P"]
    balanced: bool
    lower_bound: bool = False

    def __str__(self) -> str:
        bound = "at least " if self.lower_bound else ""
        words = (
            "detailed balance holds" if self.balanced else f"detailed balance broken by {number(self.defect)}"
        )
        return f"{words}, entropy production {bound}{number(self.entropy_production)}"


def detailed_balance(
    hessian: Any, noise: Any, *, tolerance: float | None = None, projected: bool = False
) -> DetailedBalance:
    """How far dδ = −Hδ dt + noise of diffusion matrix D/2 is from equilibrium.

    Balance holds iff HD = DH. The circulation Q = HΣ₁ − D/2 has the entries D_ij(h_i − h_j)/(2(h_i + h_j)) in the
    eigenbasis of H; entropy is produced at the rate tr((D/2)⁻¹ Q Σ₁⁻¹ Qᵀ). On range(H) where H is singular.

    Arguments:
        hessian, noise: H and D, symmetric (P, P).
        tolerance: |h| up to which curvature counts as none; by default 10·P·ε·h_max.
        projected: both are projections on some directions; then the entropy production is only a lower bound.

    Raises:
        NoStationaryStateError: H has a negative eigenvalue.

    Example:
        >>> found = detailed_balance(np.diag([1.0, 3.0]), np.array([[1.0, 0.5], [0.5, 1.0]]))
        >>> round(float(found.circulation[1, 0]), 3), round(found.entropy_production, 3)
        (0.125, 0.333)
    """
    H = symmetric(hessian, "hessian")
    D = symmetric(noise, "noise", len(H))
    values, axes = np.linalg.eigh(H)
    floor = 10 * len(H) * np.finfo(float).eps * np.abs(values).max()
    if tolerance is not None:
        floor = positive(tolerance, "tolerance", zero=True)
    if values[0] < -floor:
        raise NoStationaryStateError(
            f"the Hessian has the eigenvalue {values[0]:.3g}: there is no stationary state at a saddle; go to a "
            "minimum first, or say with tolerance=… which curvatures count as flat"
        )
    curved = values > floor
    h, U = values[curved], axes[:, curved]
    E = U.T @ D @ U
    total = h[:, None] + h[None, :]
    covariance = E / total
    circulation = 0.5 * E * (h[:, None] - h[None, :]) / total
    product = np.linalg.norm(h[:, None] * E)
    defect = 0.0 if product == 0 else float(np.linalg.norm((h[:, None] - h[None, :]) * E) / product)
    return DetailedBalance(
        defect,
        U @ circulation @ U.T,
        _entropy_production(E, covariance, circulation),
        U @ covariance @ U.T,
        defect <= _BALANCED,
        projected,
    )


def _entropy_production(D: np.ndarray, covariance: np.ndarray, Q: np.ndarray) -> float:
    """2‖D^−½ Q Σ₁^−½‖² on the ranges of D and Σ₁; ∞ where QΣ₁^−½ leaves the range of D."""
    if not Q.any():
        return 0.0
    d, V = np.linalg.eigh(D)
    s, W = np.linalg.eigh(covariance)
    moving, driven = s > _SPAN * s[-1], d > _SPAN * d[-1]
    flow = V.T @ Q @ (W[:, moving] / np.sqrt(s[moving]))
    if np.linalg.norm(flow[~driven]) > 1e-6 * np.linalg.norm(flow):
        return float("inf")
    return float(2 * np.sum(flow[driven] ** 2 / d[driven, None]))
