"""Zonal coefficients of the ReLU on the sphere, and moments of the length of a Gaussian vector."""

import numpy as np
from jaxtyping import Float
from scipy.special import gammaln

from thetadot.errors import ThetadotError


class DimensionError(ThetadotError):
    """A dimension or a degree for which a formula has no meaning."""


def zonal_coefficients(dimension: int, degrees: np.ndarray) -> Float[np.ndarray, " n"]:
    """Funk–Hecke coefficients σ_l of the ReLU on the unit sphere of R^d; 0 for odd l ≥ 3.

    On x ~ N(0, I), E[relu(û·x)relu(v̂·x)] = d Σ_l σ_l² N_l P_l(û·v̂), N_l the number of harmonics of degree l and P_l
    their zonal one with P_l(1) = 1.

    Arguments:
        dimension: d ≥ 2.
        degrees (n,): whole numbers l ≥ 0.

    Raises:
        DimensionError: d < 2, or degrees that are not whole numbers ≥ 0.

    Example:
        >>> zonal_coefficients(4, np.array([0, 1, 2, 3])).round(6).tolist()
        [0.212207, 0.125, 0.042441, 0.0]
    """
    l = np.asarray(degrees)  # noqa: E741
    if dimension < 2:
        raise DimensionError(f"dimension is {dimension}, expected at least 2")
    if l.dtype.kind not in "iu" or (l.size and l.min() < 0):
        raise DimensionError(f"degrees are {l.tolist()}, expected whole numbers of at least 0")
    d = float(dimension)
    found = np.zeros(l.shape)
    found[l == 0] = np.exp(gammaln(d / 2) - gammaln((d + 1) / 2)) / (2 * np.sqrt(np.pi))
    found[l == 1] = 1 / (2 * d)
    even = (l >= 2) & (l % 2 == 0)
    e = l[even].astype(float)
    size = gammaln(d / 2) + gammaln(e - 1) - e * np.log(2) - gammaln(e / 2) - gammaln((e + d + 1) / 2)
    found[even] = np.where(l[even] // 2 % 2 == 1, 1.0, -1.0) * np.exp(size) / np.sqrt(np.pi)
    return found


def chi_moment(dimension: int, power: float) -> float:
    """E|x|^power for x ~ N(0, I) in R^d: 2^(q/2)Γ((d + q)/2)/Γ(d/2).

    Example:
        >>> round(chi_moment(3, 2), 12)
        3.0
    """
    if dimension < 1 or dimension + power <= 0:
        raise DimensionError(f"E|x|^{power} in dimension {dimension} does not exist")
    return float(np.exp(0.5 * power * np.log(2) + gammaln((dimension + power) / 2) - gammaln(dimension / 2)))
