"""Expectations over Gaussian inputs by quadrature that shares nothing with the closed forms."""

from collections.abc import Callable

import numpy as np


def rays(kinks: list[float], nodes: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Angles and weights of Gauss–Legendre rules between the given angles (mod 2π)."""
    edges = np.sort(np.mod(kinks, 2 * np.pi))
    edges = np.append(edges, edges[0] + 2 * np.pi)
    x, w = np.polynomial.legendre.leggauss(nodes)
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    return (middle[:, None] + half[:, None] * x).ravel(), (half[:, None] * w).ravel()


def product_of_rays(
    first: Callable, second: Callable, u: np.ndarray, v: np.ndarray, degree: int = 2
) -> float:
    """E[first(u·x)second(v·x)] for x ~ N(0, I) and functions whose product is homogeneous of `degree`.

    In the plane of u and v: the radial moment is closed, the angle is split where either argument changes sign.
    """
    length = np.linalg.norm(u)
    e = u / length
    rest = v - (v @ e) * e
    far = np.linalg.norm(rest)
    a, b = np.array([length, 0.0]), np.array([v @ e, far])
    kinks = [np.pi / 2, 3 * np.pi / 2]
    tilt = np.arctan2(b[1], b[0])
    kinks += [tilt + np.pi / 2, tilt - np.pi / 2]
    angles, weights = rays(kinks)
    x = np.stack([np.cos(angles), np.sin(angles)])
    from scipy.special import gamma

    radial = 2 ** (degree / 2) * gamma(1 + degree / 2)
    return float(weights @ (first(a @ x) * second(b @ x))) * radial / (2 * np.pi)


def dense_plane(step: float = 0.05, reach: float = 9.0) -> tuple[np.ndarray, np.ndarray]:
    """Points (2, n) and weights of a dense trapezoid rule for N(0, I) in the plane; for smooth integrands."""
    line = np.arange(-reach, reach + step / 2, step)
    z, w = np.meshgrid(line, line)
    weights = np.exp(-0.5 * (z**2 + w**2)) * step**2 / (2 * np.pi)
    return np.stack([z.ravel(), w.ravel()]), weights.ravel()


def within_four_errors(values: np.ndarray, claimed: float) -> bool:
    """Whether the mean of independent draws is within four standard errors of a claimed value."""
    return bool(abs(values.mean() - claimed) <= 4 * values.std() / np.sqrt(values.size))
