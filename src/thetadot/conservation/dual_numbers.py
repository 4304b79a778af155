"""Nested dual numbers over GF(p): GF(p)[e₁, …, e_k]/(e₁², …, e_k²), on whole arrays at once.

An array of such numbers has the 2^k coefficients on its FIRST axis; entry S belongs to the product of the units
whose bits are set in S. Length 1 means a number without units, which combines with any length. Derivatives of
polynomials come out exactly: f(x + e·v) = f(x) + e·Df(x)v.
"""

import functools

import numpy as np
from jaxtyping import Int

Numbers = Int[np.ndarray, "..."]

_PAIRS_UP_TO = 16
_EXACT = 64  # terms of 47 bits whose sum a double holds exactly


@functools.cache
def _pairs(length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Disjoint (S, T), sorted by S ∪ T, and where each union starts."""
    found = sorted((s | t, s, t) for s in range(length) for t in range(length) if not s & t)
    union, left, right = np.array(found).T
    return left, right, np.searchsorted(union, np.arange(length))


class DualRing:
    """Arithmetic of nested dual numbers over GF(prime), prime < 2³¹."""

    def __init__(self, prime: int):
        self.prime = prime

    def lift(self, residues: Numbers) -> Numbers:
        """Residues as numbers without units."""
        return np.asarray(residues, np.int64)[None] % self.prime

    def perturbed(self, point: Numbers, direction: Numbers) -> Numbers:
        """point + e·direction with a new unit e."""
        point, direction = self.matched(point, direction)
        return np.concatenate([point, direction])

    def unit_part(self, number: Numbers, length: int) -> Numbers:
        """What stands with the newest unit, given the number of coefficients without it."""
        return number[length:] if number.shape[0] > length else np.zeros_like(number[:1])

    def matched(self, a: Numbers, b: Numbers) -> tuple[Numbers, Numbers]:
        """Both with equally many coefficients."""
        length = max(a.shape[0], b.shape[0])

        def padded(number: Numbers) -> Numbers:
            if number.shape[0] == length:
                return number
            zeros = np.zeros((length - number.shape[0], *number.shape[1:]), np.int64)
            return np.concatenate([number, zeros])

        return padded(a), padded(b)

    def add(self, a: Numbers, b: Numbers) -> Numbers:
        """a + b."""
        a, b = self.matched(a, b)
        return (a + b) % self.prime

    def subtract(self, a: Numbers, b: Numbers) -> Numbers:
        """a − b."""
        a, b = self.matched(a, b)
        return (a - b) % self.prime

    def multiply(self, a: Numbers, b: Numbers) -> Numbers:
        """a·b, entry by entry (shapes behind the first axis broadcast)."""
        return self._product(a, b, lambda x, y: x * y % self.prime)

    def matmul(self, a: Numbers, b: Numbers) -> Numbers:
        """a @ b on the last two axes."""
        return self._product(a, b, self._residue_matmul)

    def _product(self, a: Numbers, b: Numbers, base) -> Numbers:
        if a.shape[0] == 1 or b.shape[0] == 1:
            return base(a, b)
        length = a.shape[0]
        if length <= _PAIRS_UP_TO:
            left, right, starts = _pairs(length)
            return np.add.reduceat(base(a[left], b[right]), starts, axis=0) % self.prime
        half = length // 2
        mixed = self._product(a[:half], b[half:], base) + self._product(a[half:], b[:half], base)
        return np.concatenate([self._product(a[:half], b[:half], base), mixed % self.prime])

    def _residue_matmul(self, a: Numbers, b: Numbers) -> Numbers:
        """Through doubles, exactly: the left factor in two halves of 16 bits, at most 64 terms at a time."""
        total = np.zeros((), np.int64)
        for start in range(0, a.shape[-1], _EXACT):
            x, y = a[..., start : start + _EXACT], b[..., start : start + _EXACT, :].astype(float)
            high = ((x >> 16).astype(float) @ y).astype(np.int64) % self.prime
            low = ((x & 0xFFFF).astype(float) @ y).astype(np.int64)
            total = (total + (high << 16) + low) % self.prime
        return total

    def segment_sum(
        self, terms: Numbers, order: np.ndarray, starts: np.ndarray, filled: np.ndarray, size: int
    ):
        """Sums over groups of the last axis: `terms[..., order]` starts group `filled[i]` at `starts[i]`."""
        total = np.zeros((*terms.shape[:-1], size), np.int64)
        if order.size:
            total[..., filled] = np.add.reduceat(terms[..., order], starts, axis=-1) % self.prime
        return total


def grouped(owner: Int[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(order, starts, filled) for `segment_sum` from the group of each term."""
    order = np.argsort(owner, kind="stable")
    filled, starts = np.unique(owner[order], return_index=True)
    return order, starts, filled


def random_residues(labels: Int[np.ndarray, " B"], count: int, prime: int) -> Int[np.ndarray, "B count"]:
    """The `count` residues that belong to each label: splitmix64 of label·2³² + position, modulo the prime.

    Source: S. Vigna's splitmix64 generator (public domain).
    """
    with np.errstate(over="ignore"):
        state = (np.asarray(labels, np.uint64)[:, None] << np.uint64(32)) + np.arange(count, dtype=np.uint64)
        state = state + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return (state % np.uint64(prime)).astype(np.int64)
