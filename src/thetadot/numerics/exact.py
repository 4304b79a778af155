"""Ranks, null spaces and spans over GF(p) and over the rationals, without rounding (FLINT does the elimination)."""

import math
from collections.abc import Sequence
from fractions import Fraction

import flint
import numpy as np
from jaxtyping import Int

from thetadot.errors import ThetadotError

PRIME = 2**31 - 1
"""The default prime: the largest for which a product of two residues fits into int64."""


class ExactArithmeticError(ThetadotError):
    """A modulus that is no prime below 2³¹, or a matrix that is not one of integers."""


def require_prime(prime: int) -> int:
    """`prime` if it is a prime between 5 and 2³¹.

    Raises:
        ExactArithmeticError: it is not.
    """
    if not (5 <= prime < 2**31 and flint.fmpz(prime).is_prime()):
        raise ExactArithmeticError(f"prime is {prime}: expected a prime between 5 and 2**31")
    return int(prime)


def _modular(rows: Int[np.ndarray, "m n"], prime: int) -> flint.nmod_mat:
    rows = np.asarray(rows)
    if rows.ndim != 2 or rows.dtype.kind not in "iuO":
        raise ExactArithmeticError(f"expected a matrix of integers, given {rows.dtype} of shape {rows.shape}")
    height, width = rows.shape
    return flint.nmod_mat(height, width, (rows % prime).ravel().tolist(), prime)


def rank_mod(rows: Int[np.ndarray, "m n"], prime: int = PRIME) -> int:
    """Rank of an integer matrix over GF(prime); never above its rank over the rationals.

    Example:
        >>> rank_mod(np.array([[1, 2], [2, 4], [0, 5]]))
        2
    """
    return _modular(rows, prime).rank() if rows.size else 0


def pivots_mod(rows: Int[np.ndarray, "m n"], prime: int = PRIME) -> list[int]:
    """Indices of the first rows that are independent over GF(prime) of those before them.

    Example:
        >>> pivots_mod(np.array([[1, 2], [2, 4], [0, 5]]))
        [0, 2]
    """
    if not rows.size:
        return []
    reduced, rank = _modular(np.asarray(rows).T, prime).rref()
    pivots, column = [], 0
    for row in range(rank):
        while int(reduced[row, column]) == 0:
            column += 1
        pivots.append(column)
    return pivots


def null_space_mod(rows: Int[np.ndarray, "m n"], prime: int = PRIME) -> Int[np.ndarray, "k n"]:
    """Basis of {v : rows·v = 0} over GF(prime), one vector a row, in reduced echelon form of the free columns.

    Example:
        >>> null_space_mod(np.array([[1, 2]]), 7).tolist()
        [[5, 1]]
    """
    width = rows.shape[1]
    if not rows.size:
        return np.eye(width, dtype=np.int64)
    reduced, rank = _modular(rows, prime).rref()
    pivots, column = [], 0
    for row in range(rank):
        while int(reduced[row, column]) == 0:
            column += 1
        pivots.append(column)
    free = [column for column in range(width) if column not in set(pivots)]
    basis = np.zeros((len(free), width), dtype=np.int64)
    for k, column in enumerate(free):
        basis[k, column] = 1
        for row, pivot in enumerate(pivots):
            basis[k, pivot] = -int(reduced[row, column]) % prime
    return basis


def rational(residue: int, prime: int = PRIME) -> Fraction | None:
    """The fraction n/d ≡ residue with |n|, d ≤ √(prime/2), or None.

    Example:
        >>> rational(pow(3, -1, 101) * 2, 101)
        Fraction(2, 3)
    """
    bound = math.isqrt(prime // 2)
    (r0, t0), (r1, t1) = (prime, 0), (residue % prime, 1)
    while r1 > bound:
        quotient = r0 // r1
        (r0, t0), (r1, t1) = (r1, t1), (r0 - quotient * r1, t0 - quotient * t1)
    if t1 == 0 or abs(t1) > bound or math.gcd(r1, t1) != 1:
        return None
    return Fraction(r1, t1)


def integral(vector: Sequence[int] | np.ndarray, prime: int = PRIME) -> list[int] | None:
    """The primitive integer vector proportional to the rational one with these residues, or None.

    Example:
        >>> integral([1, pow(2, -1, 101), 0], 101)
        [2, 1, 0]
    """
    fractions = [rational(int(entry), prime) for entry in vector]
    if any(entry is None for entry in fractions):
        return None
    scale = math.lcm(*(entry.denominator for entry in fractions if entry is not None))
    whole = [int(entry * scale) for entry in fractions if entry is not None]
    divisor = math.gcd(*whole) or 1
    return [entry // divisor for entry in whole]


def rank(rows: Sequence[Sequence[int]] | np.ndarray) -> int:
    """Rank of an integer matrix over the rationals; entries may be Python integers of any size.

    Example:
        >>> rank([[1, 2], [2, 4], [0, 10**30]])
        2
    """
    rows = [[int(entry) for entry in row] for row in rows]
    return flint.fmpz_mat(rows).rank() if rows and rows[0] else 0
