"""Orthonormal polynomials of a start law of angles, and the averaged ReLU kernel in them."""

import numpy as np
from jaxtyping import Float
from scipy.special import roots_jacobi


def jacobi_coefficients(degrees: int, alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """(d, o) of the recurrence o_{l+1}p_{l+1} = (x − d_l)p_l − o_l p_{l−1} under the law ∝ (1 − x)^α(1 + x)^β."""
    l = np.arange(degrees + 1, dtype=float)  # noqa: E741
    total = alpha + beta
    with np.errstate(divide="ignore", invalid="ignore"):
        diagonal = (beta**2 - alpha**2) / ((2 * l + total) * (2 * l + total + 2))
        square = 4 * l * (l + alpha) * (l + beta) * (l + total)
        square = square / ((2 * l + total) ** 2 * (2 * l + total + 1) * (2 * l + total - 1))
    diagonal[0] = (beta - alpha) / (total + 2)
    square[0] = 0.0
    if degrees:  # where 2l + α + β − 1 vanishes with l + α + β
        square[1] = 4 * (1 + alpha) * (1 + beta) / ((2 + total) ** 2 * (3 + total))
    return diagonal, np.sqrt(square)


def gauss_rule(nodes: int, alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes x and weights (sum 1) of the Gauss rule for the law ∝ (1 − x)^α(1 + x)^β on [−1, 1]."""
    x, w = roots_jacobi(nodes, alpha, beta)
    return x, w / w.sum()


def cosine_coefficients(degrees: int, alpha: float, beta: float) -> np.ndarray:
    """(degrees, degrees): row l holds the c_j with p_l(cos φ) = Σ_j c_j cos jφ."""
    diagonal, off = jacobi_coefficients(degrees - 1, alpha, beta)
    angles = (np.arange(degrees) + 0.5) * np.pi / degrees
    x, rows = np.cos(angles), [np.ones(degrees)]
    before = np.zeros(degrees)
    for l in range(degrees - 1):  # noqa: E741
        following = ((x - diagonal[l]) * rows[-1] - off[l] * before) / off[l + 1]
        before = rows[-1]
        rows.append(following)
    table = 2 / degrees * np.array(rows) @ np.cos(np.outer(angles, np.arange(degrees)))
    table[:, 0] /= 2
    return table


def averaged_kernel(eigenvalues: Float[np.ndarray, " n"], alpha: float, beta: float) -> np.ndarray:
    """Q (n, n) with K̄(φ, φ′) = Σ_l λ_lp_l(cos φ)p_l(cos φ′) = Σ_jk Q_jk cos jφ cos kφ′, p_l orthonormal under the law
    ∝ (1 − x)^α(1 + x)^β."""
    table = cosine_coefficients(len(eigenvalues), alpha, beta)
    return table.T @ (eigenvalues[:, None] * table)
