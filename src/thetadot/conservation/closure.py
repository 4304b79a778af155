"""Proof that vector fields and their brackets span no more than they do at one point: as identities of polynomials.

Fields B_1 … B_r, independent at a point, span Lie(W) over the function field iff every generator X and every [X, B_j]
lies in their span. With r columns in which the minor Δ of B is not zero, Cramer's rule makes each membership one
identity of polynomials per column, Δ·X_c = Σ_j Δ_j·B_jc.
"""

from typing import Any, NamedTuple

import numpy as np

from thetadot.conservation.brackets import random_point
from thetadot.conservation.errors import ConservationError
from thetadot.conservation.fields import VectorFields
from thetadot.conservation.polynomials import Polynomials, flint_context
from thetadot.numerics.exact import PRIME, pivots_mod, rank_mod

_MOST_TERMS = 1_000_000
_MOST_FIELDS = 80


class Closure(NamedTuple):
    """A proved closure: generic dimension, the words of generators whose brackets are a basis, ranks by depth."""

    dimension: int
    words: tuple[tuple[int, ...], ...]
    ranks: tuple[int, ...]


class _TooLargeError(Exception):
    pass


def prove_closure(fields: VectorFields, expected: int, seed: int = 0) -> Closure | None:
    """Prove that the generic dimension of the Lie algebra is `expected`, or None if that is out of reach."""
    try:
        generators = fields.generators()
    except ConservationError:
        return None
    if len(generators) > _MOST_FIELDS:
        return None
    context = flint_context(fields.size)
    polynomials = [Polynomials.from_terms(fields.size, field).as_flint(context) for field in generators]
    point = random_point(fields.size, PRIME, seed + 17)
    try:
        return _prove(polynomials, [int(entry) for entry in point], expected)
    except _TooLargeError:
        return None


def _prove(generators: list[list[Any]], point: list[int], expected: int) -> Closure | None:
    pivots = pivots_mod(_at(generators, point))
    words: list[tuple[int, ...]] = [(k,) for k in pivots]
    basis = [generators[k] for k in pivots]
    ranks, fresh = [len(basis)], list(zip(words, basis, strict=True))
    waiting = [generators[k] for k in range(len(generators)) if k not in set(pivots)]
    while fresh:
        grown = []
        for word, field in fresh:
            for number, generator in enumerate(generators):
                new = _bracket(generator, field)
                if all(entry == 0 for entry in new):
                    continue
                stack = _at([*basis, new], point)
                if rank_mod(stack) > len(basis):
                    basis.append(new)
                    words.append((number, *word))
                    grown.append((words[-1], new))
                    if len(basis) > expected:
                        return None
                else:
                    waiting.append(new)
        fresh = grown
        if grown:
            ranks.append(len(basis))
    if len(basis) != expected or not _members(basis, waiting, point):
        return None
    return Closure(len(basis), tuple(words), tuple(ranks))


def _at(fields: list[list[Any]], point: list[int]) -> np.ndarray:
    rows = []
    for field in fields:
        rows.append([_value(entry, point) for entry in field])
    return np.array(rows, np.int64)


def _value(polynomial: Any, point: list[int]) -> int:
    total = 0
    for exponents, coefficient in polynomial.to_dict().items():
        term = int(coefficient)
        for k, e in enumerate(exponents):
            if e:
                term = term * pow(point[k], e, PRIME) % PRIME
        total += term
    return int(total % PRIME)


def _bracket(x: list[Any], y: list[Any]) -> list[Any]:
    """DY·X − DX·Y."""

    def along(field: list[Any], direction: list[Any]) -> list[Any]:
        moved = []
        for entry in field:
            total = 0 * entry
            for k, speed in enumerate(direction):
                if speed != 0:
                    slope = entry.derivative(k)
                    if slope != 0:
                        total += slope * speed
            _guard(total)
            moved.append(total)
        return moved

    return [a - b for a, b in zip(along(y, x), along(x, y), strict=True)]


def _guard(polynomial: Any) -> None:
    if len(polynomial) > _MOST_TERMS:
        raise _TooLargeError


def _members(basis: list[list[Any]], others: list[list[Any]], point: list[int]) -> bool:
    """Whether all other fields lie in the span of the basis over the function field."""
    r, size = len(basis), len(basis[0])
    columns = _sparsest_columns(basis, point)
    # Rows of the adjugate of the chosen minor: weights of each chosen entry of a field on each basis field.
    chosen = [[basis[j][c] for c in columns] for j in range(r)]
    minor, adjugate = _adjugate(chosen)
    rest = [c for c in range(size) if c not in set(columns)]
    for field in others:
        weights = []
        for j in range(r):
            weight = 0 * minor
            for k, c in enumerate(columns):
                if field[c] != 0 and adjugate[k][j] != 0:
                    weight += field[c] * adjugate[k][j]
            _guard(weight)
            weights.append(weight)
        for c in rest:
            total = minor * field[c]
            for j in range(r):
                if weights[j] != 0 and basis[j][c] != 0:
                    total -= weights[j] * basis[j][c]
                _guard(total)
            if total != 0:
                return False
    return True


def _sparsest_columns(basis: list[list[Any]], point: list[int]) -> list[int]:
    """r columns with a minor that is not zero at the point, short polynomials preferred."""
    size = len(basis[0])
    order = sorted(range(size), key=lambda c: sum(len(field[c]) for field in basis))
    pivots = pivots_mod(_at(basis, point).T[order])
    return [order[k] for k in pivots]


def _adjugate(matrix: list[list[Any]]) -> tuple[Any, list[list[Any]]]:
    """(Δ, A) with field[columns]·A = Δ·coefficients, by Faddeev and LeVerrier, who divide by integers only."""
    r = len(matrix)
    zero = 0 * matrix[0][0]
    one = zero + 1

    def product(a: list[list[Any]], b: list[list[Any]]) -> list[list[Any]]:
        found = []
        for row in a:
            line = []
            for j in range(r):
                total = zero
                for k in range(r):
                    if row[k] != 0 and b[k][j] != 0:
                        total = total + row[k] * b[k][j]
                _guard(total)
                line.append(total)
            found.append(line)
        return found

    identity = [[one if i == j else zero for j in range(r)] for i in range(r)]
    current, coefficient = identity, one
    for k in range(1, r + 1):
        moved = product(matrix, current)
        trace = zero
        for i in range(r):
            trace = trace + moved[i][i]
        coefficient = -_divided(trace, k)
        if k < r:
            current = [[moved[i][j] + (coefficient if i == j else zero) for j in range(r)] for i in range(r)]
    sign = 1 if r % 2 else -1
    return -sign * coefficient, [[sign * entry for entry in row] for row in current]


def _divided(polynomial: Any, k: int) -> Any:
    return (
        polynomial
        if k == 1
        else polynomial.context().from_dict(
            {exponents: int(c) // k for exponents, c in polynomial.to_dict().items()}
        )
    )
