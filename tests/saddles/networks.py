"""Problems of the specification's test cases, shared by the tests of this lens."""

import numpy as np

import thetadot as td


def place(theta: np.ndarray, dimension: int, width: int) -> np.ndarray:
    """(a; W row-major) in the order of `two_layer`'s layout."""
    return np.concatenate([theta[width:].reshape(width, dimension).ravel(), theta[:width]])


def squares(y=(3.0, 2.0, -1.5, 0.5), width: int = 6) -> td.EmpiricalRisk:
    """two_layer(4, width, square) on the unit vectors."""
    return td.EmpiricalRisk(td.two_layer(4, width, "square"), td.squared, np.eye(4), np.array(y))


def top_direction(width: int = 6) -> np.ndarray:
    """One live neuron, a = 1/√3, w = √(2/3)e₁."""
    direction = np.zeros(5 * width)
    direction[4 * width], direction[0] = 1 / np.sqrt(3), np.sqrt(2 / 3)
    return direction


def nudged(width: int = 6) -> np.ndarray:
    """The start of cases 8 and 9, normalised."""
    start = top_direction(width) + 0.1 * place(np.random.default_rng(0).normal(size=5 * width), 4, width)
    return start / np.linalg.norm(start)


def generic(activation: str = "squared_relu") -> tuple[td.EmpiricalRisk, np.ndarray]:
    """Case 16: two_layer(10, 20, squared_relu) on 60 unit inputs, and its start."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 10))
    x /= np.linalg.norm(x, axis=1, keepdims=True)

    def bump(z):
        return np.maximum(z, 0.0) ** 2

    y = 5 * bump(x[:, 0]) + 4 * bump(x[:, 1]) - 3 * bump(-x[:, 0])
    start = place(rng.normal(size=220), 10, 20)
    return td.EmpiricalRisk(td.two_layer(10, 20, activation), td.squared, x, y), start / np.linalg.norm(start)


def sparse_regression() -> tuple[td.EmpiricalRisk, np.ndarray, np.ndarray]:
    """Case 13: a diagonal network of five inputs; (problem, x, y)."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(7, 5)) @ (np.eye(5) + 0.6 * rng.normal(size=(5, 5)) / np.sqrt(5)) / np.sqrt(7)
    y = x @ np.array([2, -1, 0.5, 0, 0]) + 0.05 * rng.normal(size=7)
    x, y = np.sqrt(7) * x, np.sqrt(7) * y
    return td.EmpiricalRisk(td.diagonal(5), td.squared, x, y), x, y


def whitened(degree: int, outputs_of: np.ndarray | None = None) -> tuple[td.EmpiricalRisk, float]:
    """A deep linear network of hidden width 4 with one output on whitened data, and b = ‖XᵀY/N‖."""
    rng = np.random.default_rng(3)
    x = np.linalg.qr(rng.normal(size=(12, 3)))[0] * np.sqrt(12)
    y = x @ (np.array([1.0, -2.0, 0.5]) if outputs_of is None else outputs_of)
    problem = td.EmpiricalRisk(td.linear([3, *[4] * (degree - 1), 1]), td.squared, x, y)
    return problem, float(np.linalg.norm(x.T @ y / 12))
