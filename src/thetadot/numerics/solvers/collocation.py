"""Collocation at the Radau IIA points: nodes, matrix, and its inverse shifted by any eigenvalue.

Nothing is tabulated: the nodes are found in rational arithmetic, so that every coefficient is right to the last
digit for any number of stages, and the matrix follows from them.
"""

import dataclasses
import functools
import math
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_BITS = 200
_HIGHEST = 13


@dataclasses.dataclass(frozen=True, eq=False)
class Collocation:
    """Coefficients of the method with s stages, of order 2s − 1.

    Attributes:
        nodes: c (s,), ascending, the last is 1.
        matrix: A (s, s), A_ij = ∫₀^{c_i} ℓ_j with the Lagrange polynomials ℓ_j of the nodes.
        inverse: A⁻¹.
        initial: ℓ_j(0) (s,): extrapolates the slopes to the start of the step.
        gamma: the real eigenvalue of A.
        poles: its complex eigenvalues (s // 2,), one of each pair.
        parts: (s, s, s): (I − zA)⁻¹ = Σ_m w_m(z)·parts_m, see `resolvent`.
    """

    nodes: np.ndarray
    matrix: np.ndarray
    inverse: np.ndarray
    initial: np.ndarray
    gamma: float
    poles: np.ndarray
    parts: np.ndarray

    @property
    def stages(self) -> int:
        return self.nodes.size

    @property
    def points(self) -> np.ndarray:
        """The start and the nodes (s + 1,): where the collocation polynomial is known."""
        return np.append(0.0, self.nodes)

    @property
    def constant(self) -> float:
        """C in R(z) − e^z ≈ C·z^{2s} with the stability function R."""
        s = self.stages
        return math.factorial(s) * math.factorial(s - 1) / math.factorial(2 * s - 1) / math.factorial(2 * s)

    def resolvent(self, z: Float[Array, " n"]) -> Float[Array, "n s s"]:
        """(I − zA)⁻¹ for each z, by partial fractions: real arithmetic and one product of matrices."""
        a, b = jnp.asarray(np.real(self.poles))[:, None], jnp.asarray(np.imag(self.poles))[:, None]
        rows = z[None]
        size = (1 - rows * a) ** 2 + (rows * b) ** 2
        weights = jnp.concatenate([1 / (1 - rows * self.gamma), (1 - rows * a) / size, -rows * b / size])
        s = self.stages
        return (weights.T @ jnp.asarray(self.parts).reshape(s, s * s)).reshape(z.size, s, s)


@functools.cache
def radau(stages: int) -> Collocation:
    """The coefficients for an odd number of stages (an even one has no real eigenvalue, which the estimate needs).

    Source: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, §IV.5 and §IV.8.
    """
    if stages % 2 == 0 or not 3 <= stages <= _HIGHEST:
        raise ValueError(f"stages = {stages}: expected an odd number from 3 to {_HIGHEST}")
    exact = _nodes(stages)
    basis = [_lagrange(exact, j) for j in range(stages)]
    matrix = np.array([[float(_integral(part, c)) for part in basis] for c in exact])
    values, vectors = np.linalg.eig(matrix)
    inverse = np.linalg.inv(vectors)
    real = int(np.argmin(np.abs(np.imag(values))))
    upper = np.flatnonzero(np.imag(values) > 1e-8)
    rank_one = [np.outer(vectors[:, m], inverse[m]) for m in (real, *upper)]
    twice = 2 * np.array(rank_one[1:])
    return Collocation(
        nodes=np.array([float(c) for c in exact]),
        matrix=matrix,
        inverse=np.linalg.inv(matrix),
        initial=np.array([float(part[0]) for part in basis]),
        gamma=float(np.real(values[real])),
        poles=values[upper],
        parts=np.concatenate([[np.real(rank_one[0])], np.real(twice), np.imag(twice)]),
    )


def lagrange(nodes: np.ndarray, positions: Float[Array, " k"]) -> Float[Array, "k m"]:
    """Values of the Lagrange polynomials of the nodes (m,); exactly 0 and 1 at the nodes."""
    other = ~np.eye(nodes.size, dtype=bool)
    gaps = np.where(other, nodes[:, None] - nodes, 1.0)
    ratios = (positions[:, None, None] - nodes[None, None]) / gaps[None]
    values = jnp.prod(jnp.where(other[None], ratios, 1.0), axis=-1)
    return values / jnp.sum(
        values, axis=1, keepdims=True
    )  # their sum is 1 up to what compilers make of divisions


def _nodes(stages: int) -> list[Fraction]:
    """Zeros of P_s − P_{s−1} on [0, 1], where P is Legendre's polynomial in 2x − 1, to 200 bits."""
    coefficients = [a - b for a, b in zip(_legendre(stages), [*_legendre(stages - 1), 0], strict=True)]
    slope = [k * c for k, c in enumerate(coefficients)][1:]
    rough = np.sort(np.roots([float(c) for c in reversed(coefficients)]).real)
    exact = [Fraction(float(x)) for x in rough[:-1]]
    for _ in range(5):
        exact = [_rounded(x - _evaluate(coefficients, x) / _evaluate(slope, x)) for x in exact]
    return [*exact, Fraction(1)]


def _legendre(degree: int) -> list[int]:
    """Coefficients of P(2x − 1), constant first."""
    sign = (-1) ** degree
    return [sign * (-1) ** k * math.comb(degree, k) * math.comb(degree + k, k) for k in range(degree + 1)]


def _lagrange(nodes: list[Fraction], index: int) -> list[Fraction]:
    """Coefficients of one Lagrange polynomial, constant first."""
    found = [Fraction(1)]
    for m, node in enumerate(nodes):
        if m != index:
            gap = nodes[index] - node
            shifted = [Fraction(0), *found]
            found = [
                _rounded((high - node * low) / gap) for high, low in zip(shifted, [*found, 0], strict=True)
            ]
    return found


def _evaluate(coefficients, x: Fraction) -> Fraction:
    value = Fraction(0)
    for c in reversed(coefficients):
        value = value * x + c
    return value


def _integral(coefficients: list[Fraction], upper: Fraction) -> Fraction:
    return upper * _evaluate([c / (k + 1) for k, c in enumerate(coefficients)], upper)


def _rounded(x: Fraction) -> Fraction:
    return Fraction(round(x * 2**_BITS), 2**_BITS)
