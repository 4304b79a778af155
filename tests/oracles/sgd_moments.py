"""Second moments of SGD by brute force: NumPy loops and dense Kronecker systems, sharing nothing with the lens."""

import numpy as np


def linear_regression(samples, inputs, *, label_noise=0.5, seed=0):
    """(x, y, θ*) of a least-squares problem with noisy labels."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, inputs))
    y = x @ rng.normal(size=inputs) + label_noise * rng.normal(size=samples)
    return x, y, np.linalg.lstsq(x, y, rcond=None)[0]


def curvature_and_noise(x, y, theta):
    """(H, D) of the mean of ½(θᵀx − y)², sample by sample."""
    n, _size = x.shape
    gradients = np.array([(theta @ row - label) * row for row, label in zip(x, y, strict=True)])
    hessian = sum(np.outer(row, row) for row in x) / n
    mean = gradients.mean(axis=0)
    return hessian, sum(np.outer(g, g) for g in gradients) / n - np.outer(mean, mean)


def by_kronecker(hessian, noise, rate, scale, rows=None):
    """Σ = (1−ηH)Σ(1−ηH) + η²ν(D + M(Σ)) as one linear system of P² unknowns, and the spectral radius of its map."""
    size = len(hessian)
    step = np.eye(size) - rate * hessian
    matrix = np.kron(step, step)
    if rows is not None:
        parts = [np.outer(row, row) for row in rows]
        second = sum(np.kron(part, part) for part in parts) / len(parts)
        matrix = matrix + rate**2 * scale * (second - np.kron(hessian, hessian))
    solution = np.linalg.solve(np.eye(size**2) - matrix, rate**2 * scale * noise.ravel())
    return solution.reshape(size, size), np.abs(np.linalg.eigvals(matrix)).max()


def random_pair(size, seed):
    """Positive definite (H, D) that do not commute."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, size, 2 * size))
    return a @ a.T / size, b @ b.T / size


def rotation(size, seed):
    """A random orthogonal matrix."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]
